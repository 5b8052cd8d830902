"""Open the networks of one or several checkpoints, and average their masks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from nussl import STFTParams
from nussl.ml import SeparationModel

from ..checkpoints.checkpoint import CheckpointInfo, read_checkpoint
from ..checkpoints.zoo import models, resolve
from ..errors import CheckpointError, ConfigError
from ..networks.forward import needed_connections, run_network
from ..runtime.device import resolve_device

Checkpoints: TypeAlias = str | Path | Sequence[str | Path]


class Member(NamedTuple):
    """One network of an ensemble, its checkpoint, and for each label of the ensemble the index of its mask."""

    path: Path
    network: SeparationModel
    order: list[int]


class Ensemble:
    """Estimate masks with one network, or with the mean of the masks of several.

    Attributes:
        labels: One name per mask: the labels of the first network, in its order.
        sample_rate: Rate in Hz that all networks work at.
        stft_params: The STFT of all networks.
        excerpt_seconds: Length in seconds of the networks' training mixtures; if they differ, the shortest.
        channels: Number of channels that the networks separate together; 1 if they separate each channel alone.
        device: Device of the networks.
        members: The networks.

    Args:
        checkpoints: A checkpoint, a run, a published name or an address; a folder of runs, such as the folds of
            ``finetune --folds``; or several of these.
        device: 'auto', 'cpu', 'cuda' or 'mps'.

    Raises:
        CheckpointError: A checkpoint cannot be read, has no trained mask head, or has weights that are not finite.
        ConfigError: The networks differ in labels, rate, STFT or channels; or there is no such device.

    Examples:
        >>> ensemble = Ensemble(["fold1", "fold2"])  # doctest: +SKIP
        >>> ensemble.masks(magnitude).shape  # [nb, nt, nf, nc, ns]  # doctest: +SKIP
    """

    def __init__(self, checkpoints: Checkpoints, device: str = "auto"):
        self.device = resolve_device(device)
        self.members: list[Member] = []
        for path in find_checkpoints(checkpoints):
            network, info = open_mask_network(path, self.device)
            channels = network.layers["mask"].num_audio_channels
            if not self.members:
                self.labels: tuple[str, ...] = info.labels
                self.sample_rate: int = info.sample_rate
                self.stft_params: STFTParams = info.stft_params
                self.excerpt_seconds: float = info.excerpt_seconds
                self.channels: int = channels
            self._check(path, info, channels)
            self.excerpt_seconds = min(self.excerpt_seconds, info.excerpt_seconds)
            self.members.append(Member(path, network, [info.labels.index(label) for label in self.labels]))

    def _check(self, path: Path, info: CheckpointInfo, channels: int) -> None:
        first = self.members[0].path if self.members else path
        for what, own, expected in (
            ("labels", sorted(info.labels), sorted(self.labels)),
            ("sample rate", info.sample_rate, self.sample_rate),
            ("STFT", info.stft_params, self.stft_params),
            ("number of channels", channels, self.channels),
        ):
            if own != expected:
                shown = [", ".join(value) if isinstance(value, list) else value for value in (own, expected)]
                raise ConfigError(
                    f"{path} and {first} cannot separate together. They differ in {what}: {shown[0]} in the first, "
                    f"{shown[1]} in the second. Use models with the same {what}."
                )

    def masks(self, magnitude: torch.Tensor, bf16: bool = False, exact: bool = False) -> torch.Tensor:
        """Return the mean of the networks' masks, in the order of `labels`.

        The networks run one after the other, so memory holds the output of only one of them, and the sum.

        Args:
            magnitude: Magnitude spectrograms.
            bf16: Whether the networks multiply in bfloat16.
            exact: See `run_network`.

        Shape:
            [nb, nt, nf, nc] -> float32 [nb, nt, nf, nc, ns]
        """
        total: torch.Tensor | None = None
        for member in self.members:
            masks = run_network(member.network, magnitude, "mask", bf16, exact)
            if member.order != sorted(member.order):
                masks = masks[..., member.order]
            total = masks if total is None else total + masks
        if total is None:
            raise ConfigError("An ensemble needs at least one checkpoint.")
        return total / len(self.members) if len(self.members) > 1 else total


def find_checkpoints(checkpoints: Checkpoints) -> list[Path]:
    """Return the checkpoint files of names, runs, files and folders of runs, in order.

    Args:
        checkpoints: What `zoo.resolve` takes; or a folder that is not a run and has runs at any depth below it; or a list
            of these.

    Raises:
        CheckpointError: A name or path does not exist, or no checkpoint is given.
    """
    given = [checkpoints] if isinstance(checkpoints, (str, Path)) else list(checkpoints)
    found: list[Path] = []
    for one in given:
        folder, best = Path(one), Path("checkpoints", "best.model.pth")
        if folder.is_dir() and not (folder / best).is_file() and str(one) not in models():
            runs = sorted(folder.glob(f"**/{best}"), key=lambda path: (len(str(path)), str(path)))  # fold2 before fold10
            if runs:
                found += runs
                continue
        found.append(resolve(one))
    if not found:
        raise CheckpointError("No checkpoint is given. Give a name, a file, a run, or a folder of runs.")
    return found


def open_mask_network(path: str | Path, device: str = "cpu") -> tuple[SeparationModel, CheckpointInfo]:
    """Return the network of a checkpoint with trained masks, on a device, and the checkpoint's information.

    The network computes masks only; layers that masks do not need are dropped.

    Raises:
        CheckpointError: The checkpoint cannot be read, has no trained mask head, or has weights that are not finite.
    """
    model, info = read_checkpoint(path)
    require_trained_masks(path, info.mode, model)
    require_finite_weights(path, model)
    connections = needed_connections(model, ["mask"])
    model.connections, model.output_keys = connections, ["mask"]
    for name in set(model.layers) - {connection[0] for connection in connections}:
        del model.layers[name]
    return model.to(device), info


def require_trained_masks(path: str | Path, mode: str, model: SeparationModel) -> None:
    """Raise CheckpointError if a checkpoint has no mask head, or one that was never trained.

    Args:
        path: The checkpoint, for the message.
        mode: The mode it was trained in, as in its `CheckpointInfo`.
        model: Its network.
    """
    if mode == "pretrain":
        raise CheckpointError(
            f"{path} is a pretrained model without a trained mask head. Fine-tune it first "
            f"(`nussl-transfer finetune STEMS --checkpoint {shlex.quote(str(path))} --out RUN`), or use it for clustering: "
            "TransferDeepClustering, or nussl.separation.deep.DeepClustering."
        )
    require_output(path, model, "mask")


def require_output(path: str | Path, model: SeparationModel, output: str) -> None:
    """Raise CheckpointError if a network lacks an output, or needs more input than a magnitude spectrogram.

    Args:
        path: The checkpoint, for the message.
        model: Its network.
        output: 'mask' or 'embedding'.
    """
    head = {"mask": "a mask head", "embedding": "an embedding"}[output]
    if output not in model.output_keys:
        raise CheckpointError(
            f"{path} lacks {head}: its network {model.config['name']!r} gives {', '.join(model.output_keys)}. "
            f"Use a checkpoint with {head}."
        )
    if set(model.input) != {"mix_magnitude"}:
        raise CheckpointError(
            f"{path} cannot run in chunks: its network {model.config['name']!r} takes {', '.join(model.input)}, and "
            "only mix_magnitude can be cut. Use nussl's own separators, which run it on a whole signal."
        )


def require_finite_weights(path: str | Path, model: SeparationModel) -> None:
    """Raise CheckpointError if a weight of a network is NaN or infinite: every estimate would be, too."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{path} has weights that are NaN or infinite, in {name}: its training failed. Use an earlier "
                "checkpoint, or train again with a lower learning rate."
            )
