"""A checkpoint's network, and how one of its outputs is asked for."""

from __future__ import annotations

from pathlib import Path

from nussl.ml import SeparationModel

from ..checkpoints.checkpoint import CheckpointInfo, read_checkpoint
from ..errors import CheckpointError
from ..networks.forward import needed_connections
from ..runtime.device import check_device


def require_trained_masks(path: str | Path, mode: str, model: SeparationModel) -> None:
    """Raises CheckpointError where a checkpoint has no mask head, or one that was never trained.

    Args:
        path: The checkpoint, for the message.
        mode: How it was trained, as in its `CheckpointInfo`.
        model: Its network.
    """
    if mode == "pretrain":
        raise CheckpointError(
            f"{path} was asked for masks: it is a pretrained body, whose mask head was never trained. Fine-tune it "
            f"first (`nussl-transfer finetune STEMS --from {path} --out RUN`); as it is, only clustering can use it: "
            "TransferDeepClustering, or nussl.separation.deep.DeepClustering."
        )
    require_output(path, model, "mask")


def require_output(path: str | Path, model: SeparationModel, output: str) -> None:
    """Raises CheckpointError where a network does not give an output, or listens to more than a magnitude spectrogram.

    Args:
        path: The checkpoint, for the message.
        model: Its network.
        output: 'mask' or 'embedding'.
    """
    head = {"mask": "a mask head", "embedding": "an embedding"}[output]
    if output not in model.output_keys:
        raise CheckpointError(
            f"{path} was asked for {head}: its network {model.config['name']!r} gives {', '.join(model.output_keys)}. "
            f"Take a checkpoint with {head}."
        )
    if set(model.input) != {"mix_magnitude"}:
        raise CheckpointError(
            f"{path} was to be run in chunks: its network {model.config['name']!r} takes {', '.join(model.input)}, and "
            "only mix_magnitude can be cut. nussl's own separators run it on a whole signal."
        )


def open_mask_network(path: str | Path, device: str = "cpu") -> tuple[SeparationModel, CheckpointInfo]:
    """Returns the network of a checkpoint with trained masks, on a device, and what the checkpoint says of itself.

    It gives masks and nothing else: the other layers are let go.

    Raises:
        CheckpointError: It cannot be read, or has no trained mask head.
        ConfigError: There is no such device.
    """
    check_device(device)
    model, info = read_checkpoint(path)
    require_trained_masks(path, info.mode, model)
    connections = needed_connections(model, ["mask"])
    model.connections, model.output_keys = connections, ["mask"]
    for name in set(model.layers) - {connection[0] for connection in connections}:
        del model.layers[name]
    return model.to(device), info
