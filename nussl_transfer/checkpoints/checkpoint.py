"""Checkpoints: nussl's own files, with what this package adds to them as plain values.

A checkpoint of this package is written in the form of ``SeparationModel.save`` and holds nothing but nussl's
classes, so nussl alone opens it (contract 5). Labels, mode, parent and data stand in
``metadata['nussl_transfer']``; nussl's loader passes over that key, so it is read here, from the file. Files
are opened under an allow-list (contract 6).
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import nussl
import torch
from nussl import STFTParams
from nussl.datasets import transforms as tfm
from nussl.ml import SeparationModel

from ..errors import CheckpointError
from ..networks.chimera import MASK_HEAD
from ..runtime.device import resolve_device
from ..runtime.files import write_durably
from ..safe_loading.safe_load import safe_load
from ..safe_loading.weights_audit import SkipWeightInit, config_of
from .zoo import resolve

KEY = "nussl_transfer"
# Above what any network works with: a file that says more asks for memory that nothing needs.
MOST_HZ = 1_000_000
MOST_SECONDS = 3600.0


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself.

    Attributes:
        labels: What the masks are of, in their order; empty where no mask head was trained.
        mode: 'pretrain', 'whole', 'mask', or 'unknown' for a file of nussl's own.
        sample_rate: Rate of the audio in Hz.
        stft_params: Window length and hop in samples, and window.
        excerpt_seconds: Length of the mixtures it was trained on.
        parent: Name of the checkpoint it was fine-tuned from; None when it started from scratch.
        data: What it was trained on, as plain values.
    """

    labels: tuple[str, ...]
    mode: str
    sample_rate: int
    stft_params: STFTParams
    excerpt_seconds: float = 10.0
    parent: str | None = None
    data: dict = field(default_factory=dict)


def write_checkpoint(
    path: str | Path,
    model: SeparationModel,
    info: CheckpointInfo,
    training: dict | None = None,
    half: bool = False,
) -> Path:
    """Writes a checkpoint that nussl's own separators load; aside, then renamed.

    Args:
        path: File to write.
        model: The network.
        info: What the file is to say of itself.
        training: Metadata of nussl's trainer: any of 'optimizer', 'loss_dictionary', 'trainer.state_dict',
            'trainer.state.epoch_history'.
        half: Whether to store the weights in half precision; whoever loads them computes in float32.
    """
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if half:
        state = {
            name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()
        }
    dataset = {
        "name": KEY,
        "folder": str(info.data.get("name", "")),
        "num_channels": 1,
        "sample_rate": info.sample_rate,
        "stft_params": info.stft_params,
        # What a separator has to do to audio before the network, whatever the training did (host.md).
        "transforms": tfm.Compose(
            [tfm.MagnitudeSpectrumApproximation(), tfm.MagnitudeWeights(), tfm.ToSeparationModel()]
        ),
    }
    ours = {key: value for key, value in asdict(info).items() if key not in ("sample_rate", "stft_params")}
    ours["labels"] = list(info.labels)
    metadata = {
        "config": model.config,
        "nussl_version": nussl.__version__,
        "num_channels": 1,
        "sample_rate": info.sample_rate,
        "stft_params": info.stft_params,
        "train_dataset": dataset,
        "val_dataset": dataset,
        **(training or {}),
        KEY: ours,
    }
    save_durably(path, {"state_dict": state, "config": json.dumps(model.config), "metadata": metadata})
    return Path(path)


def save_durably(path: str | Path, value: object) -> None:
    """Writes what ``torch.save`` makes of a value, whole or not at all.

    By way of memory: where the disk is full in the middle, torch says that something failed, and Python what.
    """
    content = io.BytesIO()
    torch.save(value, content)
    write_durably(path, content.getbuffer())


def fingerprint(model: SeparationModel) -> str:
    """Returns the SHA-256 of a network's weights and buffers: the same for the same network on any machine."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_checkpoint(path: str | Path) -> tuple[SeparationModel, CheckpointInfo]:
    """Opens a checkpoint of this package or of nussl, and trusts nothing in it.

    Returns:
        The network in float32, in evaluation mode on the CPU, and what the file says of itself.

    Raises:
        CheckpointError: The file is not a checkpoint, holds what is not allowed, or does not fit its own
            configuration.
    """
    content = safe_load(path)
    info = _info(path, content)
    try:
        with SkipWeightInit():
            model = SeparationModel(config_of(content))
        model.load_state_dict(_weights(model, content["state_dict"]), assign=True)
    except Exception as error:  # a configuration may name any layer, and give it any argument
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CheckpointError(
            f"{path} was opened as a checkpoint: its weights do not fit its own configuration ({first_line}). "
            "Fetch or make it again."
        ) from error
    return model.eval(), info


@dataclass(frozen=True)
class Checkpoint:
    """A network, ready to use, and what its file says about it.

    Attributes:
        model: The network, in float32, in evaluation mode, on its device.
        info: Everything the file says about itself.
        path: The file.
    """

    model: SeparationModel
    info: CheckpointInfo
    path: Path

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the sources, in the order of the masks. Empty for a network whose mask head was not trained."""
        return self.info.labels

    @property
    def sample_rate(self) -> int:
        """Sample rate of the audio in Hz."""
        return self.info.sample_rate

    @property
    def stft_params(self) -> STFTParams:
        """Window length and hop in samples, and window."""
        return self.info.stft_params


def load(name_path_or_url: str | Path, device: str = "auto") -> Checkpoint:
    """Load a network by name, path, folder of a run, or address.

    Args:
        name_path_or_url: What :func:`~nussl_transfer.checkpoints.zoo.resolve` takes: the name of a published model such
            as 'quartet', a checkpoint file, the folder of a run, or an address on the web.
        device: 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.

    Raises:
        CheckpointError: There is no such model, or its file is damaged or holds something not allowed.
        ConfigError: The device is not available.

    Example:
        >>> quartet = load("quartet", device="cpu")
        >>> quartet.labels, quartet.sample_rate
        (('bassoon', 'clarinet', 'saxophone', 'violin'), 16000)
    """
    device = resolve_device(device)
    path = resolve(name_path_or_url)
    model, info = read_checkpoint(path)
    return Checkpoint(model.to(device), info, path)


def _weights(model: SeparationModel, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns a file's weights as a network may have them for its own: of its types, each in memory of its own."""
    types, taken, weights = {name: tensor.dtype for name, tensor in model.state_dict().items()}, set(), {}
    for name, tensor in state.items():
        tensor = tensor.to(types.get(name, tensor.dtype))
        storage = tensor.untyped_storage()
        if storage.data_ptr() in taken or storage.nbytes() != tensor.nbytes or not tensor.is_contiguous():
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        taken.add(tensor.untyped_storage().data_ptr())
        weights[name] = tensor
    return weights


def read_info(path: str | Path) -> CheckpointInfo:
    """Returns what a checkpoint says of itself, without building the network.

    Raises:
        CheckpointError: The file is not a checkpoint, or holds what is not allowed.
    """
    return _info(path, safe_load(path))


def _info(path: str | Path, content: object) -> CheckpointInfo:
    metadata = content.get("metadata") if isinstance(content, dict) else None
    if not isinstance(metadata, dict) or "state_dict" not in content:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path} was opened as a checkpoint of nussl: it should hold state_dict and metadata, it holds {found}. Give "
            "a file that nussl or nussl-transfer saved."
        )
    stft_params, sample_rate = metadata.get("stft_params"), metadata.get("sample_rate")
    if not isinstance(stft_params, STFTParams) or not isinstance(sample_rate, int):
        raise CheckpointError(
            f"{path} does not say at what rate and with what STFT its network works (found {sample_rate!r} and "
            f"{stft_params!r}). A network trained at another scale hears another world; take a file that says it."
        )
    try:
        masks = _count_masks(content)
        ours = metadata.get(KEY) or {"labels": [f"source{number}" for number in range(masks)]}
        info = CheckpointInfo(
            labels=tuple(str(label) for label in ours["labels"]),
            mode=str(ours.get("mode", "unknown")),
            sample_rate=sample_rate,
            stft_params=_resolved(stft_params, sample_rate),
            excerpt_seconds=float(ours.get("excerpt_seconds", 10.0)),
            parent=ours.get("parent"),
            data=dict(ours.get("data") or {}),
        )
        window, hop = int(info.stft_params.window_length), int(info.stft_params.hop_length)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} was opened as a checkpoint: what it says of itself is damaged ({error!r}). Fetch or make it again."
        ) from error
    if not (0 < sample_rate <= MOST_HZ and 0 < info.excerpt_seconds <= MOST_SECONDS and 0 < hop <= window <= MOST_HZ):
        raise CheckpointError(
            f"{path} was opened as a checkpoint: it says that it works at {sample_rate} Hz, with a window of {window} and "
            f"a hop of {hop} samples, on {info.excerpt_seconds} seconds. No network does. Fetch or make it again."
        )
    if info.labels and len(info.labels) != masks:
        raise CheckpointError(
            f"{path} names {len(info.labels)} sources and makes {masks} masks. Fetch or make it again."
        )
    return info


def _count_masks(content: dict) -> int:
    head = config_of(content)["modules"].get(MASK_HEAD, {})
    return int(head.get("args", {}).get("embedding_size", 0))


def _resolved(stft_params: STFTParams, sample_rate: int) -> STFTParams:
    """Returns STFT parameters with nussl's defaults at this rate for those that are None."""
    if None not in stft_params:
        return stft_params
    return nussl.AudioSignal(
        audio_data_array=np.zeros((1, 1)), sample_rate=sample_rate, stft_params=stft_params
    ).stft_params
