"""Write and read checkpoints: nussl's own files, with this package's metadata as plain values.

A checkpoint has the form of nussl's ``SeparationModel.save`` and contains only nussl's classes, so nussl opens it without
this package. Labels, mode, parent and data are in ``metadata['nussl_transfer']``. nussl's loader drops that key, so this
module reads it from the file. Every file is opened under an allow-list (`nussl_transfer.safe_loading`).
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import nussl
import torch
from nussl import STFTParams
from nussl.ml import SeparationModel

from ..errors import CheckpointError
from ..networks.chimera import MASK_HEAD
from ..runtime.device import resolve_device
from ..runtime.files import write_durably
from ..safe_loading.hub_format import KEY, content_of, write_hub_format
from ..safe_loading.safe_load import safe_load
from ..safe_loading.weights_audit import SkipWeightInit, config_of
from .zoo import resolve

# Larger values in a file are wrong, and would only cost memory.
MOST_HZ = 1_000_000
MOST_SECONDS = 3600.0
# Names of losses in nussl's loss dictionaries: losses of embeddings, and losses of masks in a fixed order.
CLUSTERING_LOSSES = frozenset(
    ("DeepClusteringLoss", "WhitenedKMeansLoss", "GramDeepClusteringLoss", "GramWhitenedKMeansLoss")
)
MASK_LOSSES = frozenset(("L1Loss", "MSELoss"))


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint records about itself.

    Attributes:
        labels: Names of the sources, in the order of the masks. Empty if no mask head was trained.
        mode: 'pretrain', 'whole' or 'mask'; 'unknown' for a file that another program trained.
        sample_rate: Sample rate of the audio in Hz.
        stft_params: Window length and hop in samples, and window type.
        excerpt_seconds: Length of the training mixtures.
        parent: Name of the pretrained model it was fine-tuned from. None: trained from scratch.
        data: The training data, as plain values.
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
    """Write a checkpoint that nussl's own separators load. The write is atomic.

    Args:
        path: File to write.
        model: The network.
        info: What the file records about itself.
        training: Metadata of nussl's trainer: any of 'optimizer', 'loss_dictionary', 'trainer.state_dict',
            'trainer.state.epoch_history'.
        half: Store the weights in half precision. Networks are loaded in float32.
    """
    save_durably(path, _content(model, info, training, half))
    return Path(path)


def save_safetensors(
    folder: str | Path, model: SeparationModel, info: CheckpointInfo, half: bool = False
) -> tuple[Path, Path]:
    """Write a network as ``model.safetensors`` and ``config.json``, the form of the Hugging Face hub.

    :func:`read_checkpoint` reads ``<folder>/model.safetensors`` as any checkpoint.

    Args:
        folder: Made when absent.
        model: The network.
        info: What the files record about themselves.
        half: Store the weights in half precision.

    Returns:
        The paths of the two files.
    """
    return write_hub_format(Path(folder), _content(model, info, None, half))


def _content(model: SeparationModel, info: CheckpointInfo, training: dict | None, half: bool) -> dict:
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if half:
        state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    ours = {key: value for key, value in asdict(info).items() if key not in ("sample_rate", "stft_params")}
    ours["labels"] = list(info.labels)
    return content_of(state, model.config, info.sample_rate, info.stft_params, ours, training)


def save_durably(path: str | Path, value: object) -> None:
    """Save a value with ``torch.save``, atomically.

    The file is built in memory first and written by Python, whose error says that the disk is full; torch's does not.
    """
    content = io.BytesIO()
    torch.save(value, content)
    write_durably(path, content.getbuffer())


def fingerprint(model: SeparationModel) -> str:
    """Return the SHA-256 of a network's weights and buffers. It is the same on every machine."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_checkpoint(path: str | Path) -> tuple[SeparationModel, CheckpointInfo]:
    """Read a checkpoint of this package or of nussl, or a ``model.safetensors``, without trusting it.

    Returns:
        The network in float32, in evaluation mode on the CPU, and what the file records about itself.

    Raises:
        CheckpointError: The file is not a checkpoint, holds something not allowed, has weights that are not finite, or
            its weights do not fit its own configuration.
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
            f"Checkpoint {path} is wrong: its weights do not fit its configuration ({first_line}). Download or train it "
            "again."
        ) from error
    return model.eval(), info


@dataclass(frozen=True)
class Checkpoint:
    """A network, ready to use, and what its file records about it.

    Attributes:
        model: The network, in float32, in evaluation mode, on its device.
        info: Everything that the file records about itself.
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
        """Window length and hop in samples, and window type."""
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
    """Return a file's weights in the network's types, each in memory of its own."""
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
    """Return what a checkpoint records about itself, without building the network.

    Raises:
        CheckpointError: The file is not a checkpoint, or holds something not allowed.
    """
    return _info(path, safe_load(path))


def _info(path: str | Path, content: object) -> CheckpointInfo:
    metadata = content.get("metadata") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(metadata, dict) or "state_dict" not in content:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path} is not a checkpoint of nussl: got {found}, expected state_dict and metadata. Give a file that nussl "
            "or nussl-transfer saved."
        )
    stft_params, sample_rate = metadata.get("stft_params"), metadata.get("sample_rate")
    if not isinstance(stft_params, STFTParams) or not isinstance(sample_rate, int):
        raise CheckpointError(
            f"Checkpoint {path} lacks its sample rate or its STFT parameters: got {sample_rate!r} and {stft_params!r}. "
            "Without them it cannot be used. Use a file that has them."
        )
    try:
        masks = _count_masks(content)
        ours = metadata.get(KEY) or _infer_from_nussl(metadata, masks)
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
            f"Checkpoint {path} is wrong: its metadata is damaged ({error!r}). Download or train it again."
        ) from error
    if not (0 < sample_rate <= MOST_HZ and 0 < info.excerpt_seconds <= MOST_SECONDS and 0 < hop <= window <= MOST_HZ):
        raise CheckpointError(
            f"Checkpoint {path} is wrong: its metadata is impossible: got a sample rate of {sample_rate} Hz, a window of "
            f"{window} and a hop of {hop} samples, and mixtures of {info.excerpt_seconds} s. Download or train it again."
        )
    if info.labels and len(info.labels) != masks:
        raise CheckpointError(
            f"Checkpoint {path} is wrong: it names {len(info.labels)} sources and has {masks} masks. Download or train it "
            "again."
        )
    return info


def _infer_from_nussl(metadata: dict, masks: int) -> dict:
    """Return labels, mode and data of a checkpoint that nussl's own handlers saved.

    If the training data was a data set of this package, the labels are those of the data, in alphabetical order, because
    nussl's transforms order sources so. Otherwise they are numbered, also after a permutation-invariant loss, which leaves
    the order of the masks open. The mode follows from the losses.
    """
    dataset, losses = metadata.get("train_dataset"), metadata.get("loss_dictionary")
    dataset = dataset if isinstance(dataset, dict) else {}
    kinds = {str(value.get("class", name)) for name, value in losses.items()} if isinstance(losses, dict) else set()
    mode = "unknown"
    if kinds and kinds <= CLUSTERING_LOSSES:
        mode = "pretrain"
    elif kinds and kinds <= CLUSTERING_LOSSES | MASK_LOSSES:
        mode = "whole" if kinds & CLUSTERING_LOSSES else "mask"
    listed = dataset.get("labels")
    if mode == "pretrain":
        labels = []
    elif isinstance(listed, (list, tuple)) and len(listed) == masks and mode != "unknown":
        labels = sorted(map(str, listed))
    else:
        labels = [f"source{number}" for number in range(masks)]
    name = dataset.get("name")
    return {"labels": labels, "mode": mode, "data": {"name": str(name)} if name else {}}


def _count_masks(content: dict) -> int:
    head = config_of(content)["modules"].get(MASK_HEAD, {})
    return int(head.get("args", {}).get("embedding_size", 0))


def _resolved(stft_params: STFTParams, sample_rate: int) -> STFTParams:
    """Return STFT parameters in which nussl's defaults at this rate replace None."""
    if None not in stft_params:
        return stft_params
    return nussl.AudioSignal(
        audio_data_array=np.zeros((1, 1)), sample_rate=sample_rate, stft_params=stft_params
    ).stft_params
