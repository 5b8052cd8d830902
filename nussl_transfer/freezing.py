"""Stage 6, freezing: which layers a mode trains, which it runs at all, and how the others are kept as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nussl.ml import SeparationModel
from torch import nn

from .builders import EMBEDDING_HEAD, MASK_HEAD
from .errors import ConfigError

MODES = ("pretrain", "whole", "mask")


def refuse_unknown(mode: str) -> None:
    """Raises ConfigError unless there is such a mode."""
    if mode not in MODES:
        raise ConfigError(f"Mode {mode!r} was asked for: there are {', '.join(MODES)}.")


def outputs_of_mode(mode: str) -> list[str]:
    """Returns the outputs of the network that a mode's losses need."""
    refuse_unknown(mode)
    masks = [MASK_HEAD, "estimates"]
    return {"pretrain": [EMBEDDING_HEAD], "whole": [EMBEDDING_HEAD, *masks], "mask": masks}[mode]


def layers_of_mode(model: SeparationModel, mode: str, frozen: Sequence[str] = ()) -> list[str]:
    """Returns the layers that a mode freezes, and those named besides.

    Raises:
        ConfigError: A layer that is named or needed is not in the network, or nothing would be left to train.
    """
    names = list(model.layers)
    lacking = [name for name in outputs_of_mode(mode) if name not in names]
    if lacking:
        raise ConfigError(
            f"Mode {mode!r} was asked for: it needs {', '.join(lacking)}, and the network has {', '.join(names)}. "
            "Take a ChimeraNet, or mode 'mask' for a mask inference network."
        )
    unknown = sorted(set(frozen) - set(names))
    if unknown:
        raise ConfigError(f"Layers {', '.join(unknown)} were to be frozen: the network has {', '.join(names)}.")
    by_mode = {"pretrain": [MASK_HEAD], "mask": [name for name in names if name != MASK_HEAD]}.get(mode, [])
    held = [name for name in names if name in by_mode or name in frozen]
    if not any(True for name in names if name not in held for _ in model.layers[name].parameters()):
        raise ConfigError(
            f"Mode {mode!r} with {', '.join(frozen)} frozen leaves nothing to train. Freeze fewer layers."
        )
    return held


def trainable_parameters(model: SeparationModel, mode: str, frozen: Sequence[str] = ()) -> list[nn.Parameter]:
    """Returns the parameters that a mode trains: what the optimizer must hold."""
    held = layers_of_mode(model, mode, frozen)
    return [
        parameter
        for name, layer in model.layers.items()
        if name not in held
        for parameter in layer.parameters()
    ]


def freeze(model: SeparationModel, layers: Sequence[str]) -> None:
    """Makes these layers' parameters constants, and all others' trainable."""
    for name, layer in model.layers.items():
        layer.requires_grad_(name not in layers)


def hold(model: SeparationModel, layers: Sequence[str]) -> None:
    """Keeps the buffers of frozen layers as they are, and their dropout off; call it after ``model.train()``.

    ``requires_grad`` alone does not: batch normalisation would go on averaging. A recurrent layer stays in
    training mode with dropout 0, which computes the same, because cuDNN cannot take gradients through one in
    evaluation mode; it has its own dropout back when it is held no more.
    """
    for name, layer in model.layers.items():
        for module in layer.modules():
            if isinstance(module, nn.RNNBase):
                module.own_dropout = getattr(module, "own_dropout", module.dropout)
                module.dropout = 0.0 if name in layers else module.own_dropout
            elif name in layers:
                module.training = False


@contextmanager
def outputs_only(model: SeparationModel, outputs: Sequence[str]) -> Iterator[None]:
    """Within the block, the network computes these outputs and what they need, and nothing else.

    Args:
        model: The network.
        outputs: Names of layers, such as 'mask'.
    """
    connections, output_keys = model.connections, model.output_keys
    needed, kept = set(outputs), []
    for connection in reversed(connections):
        if connection[0] in needed:
            kept.append(connection)
            # An input is a name or {argument: name}; a name with ':' is a part of what a layer gives.
            for given in connection[1] if len(connection) == 2 else ():
                names = given.values() if isinstance(given, dict) else (given,)
                needed.update(str(name).split(":")[0] for name in names)
    model.connections, model.output_keys = kept[::-1], list(outputs)
    try:
        yield
    finally:
        model.connections, model.output_keys = connections, output_keys
