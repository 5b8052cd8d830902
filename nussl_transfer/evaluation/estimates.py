"""What is scored: a network's estimates, the mixture itself, and masks made from the references. All stay on the device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from nussl import STFTParams
from nussl.ml import SeparationModel

from ..builders import PAPER
from ..checkpoints import read_checkpoint
from ..devices import refuse_absent
from ..errors import CheckpointError
from ..separators import refuse_untrained, run_network
from ..store import Store
from ..targets import istft, stft
from .metrics import item_by_item

MIXTURE, ORACLE = "mixture", "oracle"
PAPER_STFT = STFTParams(PAPER.window_length, PAPER.hop_length, PAPER.window_type)

# (mixtures [nb, samples], references [nb, ns, samples]) -> estimates [nb, ns, samples], or [nb, 1, samples] for all
Estimator = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def estimator_of(model: str | Path, store: Store, device: str = "cpu", stft_params: STFTParams = PAPER_STFT) -> Estimator:
    """Returns what makes the estimates of a checkpoint, of 'mixture' or of 'oracle', on a device.

    Raises:
        CheckpointError: See `load_for`.
    """
    if model == MIXTURE:
        return lambda mixtures, references: mixtures[:, None]
    if model == ORACLE:
        return lambda mixtures, references: _oracle(mixtures, references, stft_params)
    network, own_params = load_for(store, model, device)
    return lambda mixtures, references: estimate_sources(network, mixtures, own_params)[0]


@torch.inference_mode()
def estimate_sources(
    model: SeparationModel, mixtures: torch.Tensor, stft_params: STFTParams
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns a model's estimates of equally long mono mixtures, and its masks, all in one batch on its own device.

    They are those of nussl's ``DeepMaskEstimation`` on each mixture alone.

    Shape:
        [nb, samples] -> float32 [nb, ns, samples], float32 [nb, ns, nf, nt]
    """
    flags = [(module, module.training) for module in model.modules()]
    audio = mixtures.to(next(model.parameters()).device)
    try:
        model.eval()
        spectrum = stft(audio, stft_params)  # [nb, nf, nt]
        magnitude = spectrum.abs().transpose(1, 2)[..., None]  # [nb, nt, nf, nc = 1]
        masks = run_network(model, magnitude, "mask", exact=False)[..., 0, :].permute(0, 3, 2, 1)  # [nb, ns, nf, nt]
    finally:
        # Not model.train(): a frozen part may have been left in eval on purpose.
        for module, training in flags:
            module.training = training

    def masked(mask: torch.Tensor, mixture: torch.Tensor) -> torch.Tensor:
        return istft(mask * mixture[:, None], stft_params, audio.shape[-1])

    return item_by_item(masked, masks, spectrum), masks


def load_for(store: Store, path: str | Path, device: str = "cpu") -> tuple[SeparationModel, STFTParams]:
    """Returns a checkpoint's network and STFT, after making sure that it separates what the store holds.

    Raises:
        CheckpointError: The checkpoint has no trained mask head, or its labels, sample rate or channels are not the
            store's.
        ConfigError: There is no such device.
    """
    refuse_absent(device)
    model, info = read_checkpoint(path)
    refuse_untrained(path, info.mode, model)
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


def _oracle(mixtures: torch.Tensor, references: torch.Tensor, params: STFTParams) -> torch.Tensor:
    """Returns estimates by the masks min(|S| / |X|, 1)."""

    def masked(mixture: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
        spectrum = stft(mixture, params)[:, None]  # [nb, 1, nf, nt]
        masks = (stft(sources, params).abs() / spectrum.abs().clamp(min=1e-12)).clamp(max=1)  # [nb, ns, nf, nt]
        return istft(masks * spectrum, params, mixture.shape[-1])

    return item_by_item(masked, mixtures, references)
