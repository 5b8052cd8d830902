"""Fit a new mask head by least squares, before the first iteration.

A new head on a pretrained body starts from random weights, and needs about a hundred iterations to use what the body has
learned. Its best weights are nearly those of a linear regression, which `fit_mask_head` solves in closed form on some
training mixtures. So fine-tuning starts where a random head would be after about a hundred iterations.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from nussl.ml import SeparationModel
from nussl.ml.networks.modules import Embedding

from ..networks.chimera import MASK_HEAD
from ..networks.forward import forward
from ..runtime.log import logger
from ..runtime.process_group import synchronized
from ..runtime.reduce import sum_over_processes
from .loader import Batches, SizedDataset, loader_processes

BATCH = 8
FRAME_STEP = 8  # neighbouring frames are similar: more mixtures help more than more frames of each
BANDS = 32  # all bins of a band give a frame the same weight, so they share one Gram matrix
FLOOR = 0.01  # smallest share of the mixture that a source is taken to have
LARGEST = 3.0  # largest logit that is fitted: beyond it a mask hardly changes
RIDGE = 0.01  # as a share of the mean energy of the inputs
SHARPEN = 1.5  # least squares pulls logits towards 0; this factor gave the lowest mask loss in all trials


@torch.no_grad()
def fit_mask_head(
    model: SeparationModel,
    train: SizedDataset,
    targets: Callable[[dict], dict],
    mixtures: int,
    device: str = "cpu",
    workers: int = 0,
) -> bool:
    """Set the weights of the mask head by least squares, on the first mixtures of a data set.

    The head is linear, followed by a softmax over the sources or a sigmoid. The regression fits the logits of the targets'
    masks; for a softmax those are log magnitudes, less their mean over the sources. The mixture's magnitude weights the
    frames, as it does in the mask loss.

    Args:
        model: The network, on the device. Only its mask head is changed.
        train: The data set.
        targets: Adds spectra and targets to a batch of audio; batches that hold spectra already are not passed to it.
        mixtures: Number of items to use.
        device: Device to compute on.
        workers: Number of loader processes.

    Returns:
        Whether the head was fitted. A head with other activations keeps its weights.
    """
    head = model.layers[MASK_HEAD]
    below = input_of_head(model)
    if below is None or not can_fit(head):
        logger.info(
            "The mask head keeps its random weights: only a linear head on one layer, with a softmax or a sigmoid, can be "
            "fitted."
        )
        return False
    was_training, _ = model.training, model.eval()
    softmax = "softmax" in head.activation
    bins = head.num_features * head.num_audio_channels
    bands = bands_of(bins)
    inputs = head.linear.in_features + 1
    gram = torch.zeros(len(bands), inputs, inputs, dtype=torch.float64)
    product = torch.zeros(inputs, bins, head.embedding_size, dtype=torch.float64)
    batches = Batches(train, range(min(mixtures, len(train))), BATCH, workers, "training", device)
    with synchronized(), loader_processes(batches):
        for number, batch in enumerate(batches):
            made = batch if "source_magnitudes" in batch else targets(batch)
            frames = slice(number % FRAME_STEP, None, FRAME_STEP)
            hidden = forward(model, made, [below])[below][:, frames].flatten(0, 1)
            hidden = torch.cat([hidden, hidden.new_ones(len(hidden), 1)], dim=1)  # [rows, inputs]
            mixture = made["mix_magnitude"][:, frames].flatten(0, 1).flatten(1)  # [rows, bins]
            sources = made["source_magnitudes"][:, frames].flatten(0, 1).flatten(1, 2)  # [rows, bins, ns]
            logits = logits_of(sources, mixture, softmax)
            # Sum in float64: float32 loses small magnitudes beside large ones. On the CPU: MPS has no float64.
            hidden, mixture, logits = (values.cpu().double() for values in (hidden, mixture, logits))
            for band, (low, high) in enumerate(bands):
                weighted = (hidden * mixture[:, low:high].mean(dim=1, keepdim=True)).T
                gram[band] += weighted @ hidden
                product[:, low:high] += (weighted @ logits[:, low:high].flatten(1)).unflatten(1, (high - low, -1))
    gram, product = sum_over_processes(gram), sum_over_processes(product)
    solution = torch.cat([solve(g, product[:, low:high]) for g, (low, high) in zip(gram, bands, strict=True)], dim=1)
    solution = SHARPEN * solution.movedim(0, -1).flatten(0, 1)  # [bins * ns, inputs]
    head.linear.weight.copy_(solution[:, :-1])
    head.linear.bias.copy_(solution[:, -1])
    model.train(was_training)
    return True


def can_fit(head: torch.nn.Module) -> bool:
    """Return whether a head is linear with a bias, and then a softmax over the sources or a sigmoid."""
    if not isinstance(head, Embedding) or type(head) is not Embedding:  # a subclass may compute something else
        return False
    return head.linear.bias is not None and list(head.activation) in (["softmax"], ["sigmoid"])


def input_of_head(model: SeparationModel) -> str | None:
    """Return the name of the layer below the mask head, or None where the head has other inputs than one layer."""
    (inputs,) = [connection[1:] for connection in model.connections if connection[0] == MASK_HEAD]
    names = inputs[0] if inputs else []
    return names[0] if len(names) == 1 and isinstance(names[0], str) else None


def bands_of(bins: int) -> list[tuple[int, int]]:
    """Return the first and the last bin (exclusive) of each band; the widths grow with the frequency.

    >>> bands_of(5)
    [(0, 1), (1, 2), (2, 3), (3, 5)]
    """
    edges = np.unique(np.geomspace(1, bins + 1, min(bins, BANDS) + 1).round().astype(int) - 1)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def logits_of(sources: torch.Tensor, mixture: torch.Tensor, softmax: bool) -> torch.Tensor:
    """Return what the linear layer should give, so that its activation gives the masks of the sources.

    Shape:
        [rows, bins, ns], [rows, bins] -> [rows, bins, ns]
    """
    floor = FLOOR * mixture.unsqueeze(-1) + torch.finfo(mixture.dtype).tiny
    if softmax:
        logits = torch.log(sources.clamp(min=0) + floor)
        logits = logits - logits.mean(dim=-1, keepdim=True)
    else:
        mask = (sources / (mixture.unsqueeze(-1) + torch.finfo(mixture.dtype).tiny)).clamp(FLOOR, 1 - FLOOR)
        logits = torch.logit(mask)
    return logits.clamp(-LARGEST, LARGEST)


def solve(gram: torch.Tensor, product: torch.Tensor) -> torch.Tensor:
    """Solve a ridge regression; the last input is constant 1 and is not shrunk.

    Shape:
        [inputs, inputs], [inputs, bins, ns] -> [inputs, bins, ns]
    """
    energy = gram.diagonal()[:-1].mean()
    ridge = torch.full_like(gram.diagonal(), RIDGE) * energy
    # The constant gets a tiny ridge: without it, silent training data would have no solution.
    ridge[-1] = 1e-9 * energy
    ridge = ridge + torch.finfo(gram.dtype).tiny ** 0.5
    solved = torch.linalg.solve(gram + torch.diag(ridge), product.flatten(1))
    return solved.unflatten(1, product.shape[1:])
