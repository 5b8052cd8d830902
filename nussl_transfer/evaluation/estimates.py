"""What is scored: a network's estimates, the mixture itself, and masks made from the references. All stay on the device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from nussl import STFTParams
from nussl.ml import SeparationModel

from ..audio.stft import istft, stft
from ..checkpoints.checkpoint import read_checkpoint
from ..errors import CheckpointError
from ..networks.chimera import PAPER
from ..runtime.device import check_device
from ..separation.network import require_trained_masks, run_network
from ..store.store import Store

MIXTURE, ORACLE = "mixture", "oracle"
PAPER_STFT = STFTParams(PAPER.window_length, PAPER.hop_length, PAPER.window_type)

# (mixtures [nb, samples], references [nb, ns, samples]) -> items, and their estimates [k, ns, samples], or [k, 1, samples]
Estimator = Callable[[torch.Tensor, torch.Tensor], Iterator[tuple[slice, torch.Tensor]]]


def estimator_of(model: str | Path, store: Store, device: str = "cpu", stft_params: STFTParams = PAPER_STFT) -> Estimator:
    """Returns what yields the estimates of a checkpoint, of 'mixture' or of 'oracle', on a device.

    Raises:
        CheckpointError: See `load_for`.
    """
    if model == MIXTURE:
        return of_mixture
    if model == ORACLE:
        return lambda mixtures, references: _of_oracle(mixtures, references, stft_params)
    network, own_params = load_for(store, model, device)
    return lambda mixtures, references: of_network(_view_of(network), mixtures, own_params)


def of_mixture(mixtures: torch.Tensor, references: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yields the mixture as the estimate of everything."""
    for part in _parts(mixtures):
        yield part, mixtures[part, None]


def of_network(
    model: SeparationModel, mixtures: torch.Tensor, stft_params: STFTParams
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yields a model's estimates; the network hears all at once."""
    masks, spectra = _masks(model, mixtures, stft_params)  # [nb, ns, nf, nt]; [k, nf, nt] each
    for part, spectrum in zip(_parts(mixtures), spectra, strict=True):
        yield part, istft(masks[part] * spectrum[:, None], stft_params, mixtures.shape[-1])


def _view_of(model: SeparationModel) -> SeparationModel:
    """Returns a model with the same weights in memory: what one thread sets while it runs it is not another's."""
    weights = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, memo={id(weight): weight for weight in weights})


def _of_oracle(
    mixtures: torch.Tensor, references: torch.Tensor, stft_params: STFTParams
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yields estimates by the masks min(|S| / |X|, 1)."""
    for part in _parts(mixtures):
        spectrum = stft(mixtures[part, None], stft_params)  # [k, 1, nf, nt]
        masks = stft(references[part], stft_params).abs() / spectrum.abs().clamp(min=1e-12)  # [k, ns, nf, nt]
        yield part, istft(masks.clamp(max=1) * spectrum, stft_params, mixtures.shape[-1])


@torch.inference_mode()
def estimate_sources(
    model: SeparationModel, mixtures: torch.Tensor, stft_params: STFTParams
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns a model's estimates of equally long mono mixtures, and its masks, on its own device.

    They are those of nussl's ``DeepMaskEstimation`` on each mixture alone.

    Shape:
        [nb, samples] -> float32 [nb, ns, samples], float32 [nb, ns, nf, nt]
    """
    masks, spectra = _masks(model, mixtures, stft_params)
    return istft(masks * torch.cat(spectra)[:, None], stft_params, mixtures.shape[-1]), masks


def _masks(
    model: SeparationModel, mixtures: torch.Tensor, stft_params: STFTParams
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Returns masks [nb, ns, nf, nt] and the spectra of the parts, [k, nf, nt]; the model is left as it was."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        mixtures = mixtures.to(next(model.parameters()).device)
        spectra = [stft(mixtures[part], stft_params) for part in _parts(mixtures)]
        magnitude = torch.cat([spectrum.transpose(1, 2).abs() for spectrum in spectra])[..., None]  # [nb, nt, nf, nc = 1]
        masks = run_network(model, magnitude, "mask", exact=False)[..., 0, :]  # [nb, nt, nf, ns]
    finally:
        # Not model.train(): a frozen part may have been left in eval on purpose.
        for module, training in flags:
            module.training = training
    return masks.permute(0, 3, 2, 1), spectra


def _parts(batch: torch.Tensor) -> Iterator[slice]:
    """Yields items of a batch: on the CPU two at a time, for what they need stays in the processor's cache; else all."""
    step = 2 if batch.device.type == "cpu" else len(batch)
    yield from (slice(first, min(first + step, len(batch))) for first in range(0, len(batch), step))


def load_for(store: Store, path: str | Path, device: str = "cpu") -> tuple[SeparationModel, STFTParams]:
    """Returns a checkpoint's network and STFT, after making sure that it separates what the store holds.

    Raises:
        CheckpointError: The checkpoint has no trained mask head, or its labels, sample rate or channels are not the
            store's.
        ConfigError: There is no such device.
    """
    check_device(device)
    model, info = read_checkpoint(path)
    require_trained_masks(path, info.mode, model)
    asked = f"{path} was to be scored on {store.folder}"
    if tuple(sorted(info.labels)) != store.labels:
        raise CheckpointError(
            f"{asked}: it separates {', '.join(info.labels)}, the store holds {', '.join(store.labels)}. Prepare the "
            "store with the checkpoint's labels: group stems, or leave some out."
        )
    if info.sample_rate != store.sample_rate:
        raise CheckpointError(
            f"{asked}: it works at {info.sample_rate} Hz, the store at {store.sample_rate} Hz. Prepare the store at "
            f"{info.sample_rate} Hz."
        )
    channels = model.layers["mask"].num_audio_channels
    if channels != 1:
        raise CheckpointError(
            f"{asked}: it separates {channels} channels together, a store is mono. Take a mono checkpoint."
        )
    return model.to(device), info.stft_params
