"""Estimate the sources of a batch of mixtures: by a network, an ensemble, the mixture itself, or the oracle mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from nussl import STFTParams

from ..audio.si_sdr import si_sdr
from ..audio.stft import istft, stft
from ..errors import CheckpointError
from ..networks.chimera import PAPER
from ..separation.ensemble import Ensemble
from ..store.store import Store

MIXTURE, ORACLE = "mixture", "oracle"
PAPER_STFT = STFTParams(PAPER.window_length, PAPER.hop_length, PAPER.window_type)

# A checkpoint, or several whose masks are averaged.
Model = str | Path | Sequence[str | Path]
# Magnitudes [nb, nt, nf, nc] -> masks [nb, nt, nf, nc, ns]
Masks = Callable[[torch.Tensor], torch.Tensor]
# (mixtures [nb, samples], references [nb, ns, samples]) -> slices of the batch, and the estimates of each slice,
# [k, ns, samples]; [k, 1, samples] if one estimate stands for all sources.
Estimator = Callable[[torch.Tensor, torch.Tensor], Iterator[tuple[slice, torch.Tensor]]]


def make_estimator(model: Model, store: Store, device: str = "cpu", stft_params: STFTParams = PAPER_STFT) -> Estimator:
    """Return the estimator for a checkpoint, an ensemble, 'mixture' or 'oracle'.

    Raises:
        CheckpointError: See `open_for`.
        ConfigError: See `open_for`.
    """
    if model == MIXTURE:
        return of_mixture
    if model == ORACLE:
        return partial(_of_oracle, stft_params)
    ensemble, order = open_for(store, model, device)
    return partial(of_masks, ensemble.masks, ensemble.stft_params, order)


def of_mixture(mixtures: torch.Tensor, references: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the mixture as the estimate of every source."""
    for part in _parts(mixtures):
        yield part, mixtures[part, None]


def of_masks(
    masks: Masks,
    stft_params: STFTParams,
    order: Sequence[int] | None,
    mixtures: torch.Tensor,
    references: torch.Tensor,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the masked mixtures, with the sources in the given order; the masks are computed once for the whole batch."""
    found, spectra = _masks(masks, mixtures, stft_params, order)  # [nb, ns, nf, nt]; [k, nf, nt] each
    for part, spectrum in zip(_parts(mixtures), spectra, strict=True):
        yield part, istft(found[part] * spectrum[:, None], stft_params, mixtures.shape[-1])


def _of_oracle(
    stft_params: STFTParams, mixtures: torch.Tensor, references: torch.Tensor
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the mixtures masked by the oracle magnitude masks min(|S| / |X|, 1)."""
    for part in _parts(mixtures):
        spectrum = stft(mixtures[part, None], stft_params)  # [k, 1, nf, nt]
        masks = stft(references[part], stft_params).abs() / spectrum.abs().clamp(min=1e-12)  # [k, ns, nf, nt]
        yield part, istft(masks.clamp(max=1) * spectrum, stft_params, mixtures.shape[-1])


@torch.inference_mode()
def estimate_sources(
    masks: Masks, mixtures: torch.Tensor, stft_params: STFTParams, order: Sequence[int] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the estimates of equally long mono mixtures, and their masks.

    The estimates are those of nussl's ``DeepMaskEstimation`` on each mixture alone.

    Args:
        masks: Computes masks, such as `Ensemble.masks`.
        mixtures: Equally long mono mixtures, on the device of the networks.
        stft_params: STFT of the networks.
        order: Indices of the masks to return; by default all, in their own order.

    Shape:
        [nb, samples] -> float32 [nb, ns, samples], float32 [nb, ns, nf, nt]
    """
    found, spectra = _masks(masks, mixtures, stft_params, order)
    return istft(found * torch.cat(spectra)[:, None], stft_params, mixtures.shape[-1]), found


def _masks(
    masks: Masks, mixtures: torch.Tensor, stft_params: STFTParams, order: Sequence[int] | None
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return masks [nb, ns, nf, nt] and the spectra of the parts, [k, nf, nt]."""
    spectra = [stft(mixtures[part], stft_params) for part in _parts(mixtures)]
    magnitude = torch.cat([spectrum.transpose(1, 2).abs() for spectrum in spectra])[..., None]  # [nb, nt, nf, nc = 1]
    found = masks(magnitude)[..., 0, :].permute(0, 3, 2, 1)
    return found if order is None or list(order) == sorted(order) else found[:, list(order)], spectra


def _parts(batch: torch.Tensor) -> Iterator[slice]:
    """Yield slices of a batch: on the CPU two items at a time, which fit into its cache; on a GPU the whole batch."""
    step = 2 if batch.device.type == "cpu" else len(batch)
    yield from (slice(first, min(first + step, len(batch))) for first in range(0, len(batch), step))


def open_for(store: Store, model: Model, device: str = "cpu") -> tuple[Ensemble, list[int]]:
    """Open a checkpoint or an ensemble, check that it fits a store, and return it with the mask index of each label.

    Raises:
        CheckpointError: A checkpoint has no trained mask head, or its labels, sample rate or channels are not those of
            the store.
        ConfigError: There is no such device, or the checkpoints do not separate together.
    """
    ensemble = Ensemble(model, device)
    cannot = f"{ensemble.members[0].path} cannot be scored on {store.folder}"
    if tuple(sorted(ensemble.labels)) != store.labels:
        raise CheckpointError(
            f"{cannot}: it separates {', '.join(ensemble.labels)}, the store holds {', '.join(store.labels)}. Prepare the "
            "store with the checkpoint's labels: group stems, or leave some out."
        )
    if ensemble.sample_rate != store.sample_rate:
        raise CheckpointError(
            f"{cannot}: it works at {ensemble.sample_rate} Hz, the store at {store.sample_rate} Hz. Prepare the store at "
            f"{ensemble.sample_rate} Hz."
        )
    if ensemble.channels != 1:
        raise CheckpointError(
            f"{cannot}: it separates {ensemble.channels} channels together, a store is mono. Take a mono checkpoint."
        )
    return ensemble, [ensemble.labels.index(label) for label in store.labels]


def batch_si_sdr(estimator: Estimator, mixtures: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Return the SI-SDR in dB of an estimator on a batch, [nb, ns]."""
    return torch.cat([si_sdr(references[part], estimates) for part, estimates in estimator(mixtures, references)])


def to_device(device: torch.device | str, audio: np.ndarray) -> torch.Tensor:
    """Return audio on a device; the copy to a GPU runs while the CPU reads the next batch."""
    tensor = torch.from_numpy(audio)
    kind = torch.device(device).type
    if kind == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor if kind == "cpu" else tensor.to(device)
