"""Choose the layers that a mode trains, and freeze the others."""

from __future__ import annotations

from collections.abc import Sequence

from nussl.ml import SeparationModel
from torch import nn

from ..errors import ConfigError
from .chimera import EMBEDDING_HEAD, ESTIMATES, MASK_HEAD, PAPER

MODES = ("pretrain", "whole", "mask")


def check_mode(mode: str) -> None:
    """Raise ConfigError unless the mode exists."""
    if mode not in MODES:
        raise ConfigError(f"mode is {mode!r}. Choose one of {', '.join(MODES)}.")


def outputs_of_mode(mode: str) -> list[str]:
    """Return the outputs of the network that a mode's losses use."""
    check_mode(mode)
    masks = [MASK_HEAD, ESTIMATES]
    return {"pretrain": [EMBEDDING_HEAD], "whole": [EMBEDDING_HEAD, *masks], "mask": masks}[mode]


def frozen_layers(model: SeparationModel, mode: str, frozen: Sequence[str] = ()) -> list[str]:
    """Return the layers to freeze: those that the mode freezes, and those in ``frozen``.

    Raises:
        ConfigError: A layer that is named or needed is not in the network, or nothing would be left to train.
    """
    names = list(model.layers)
    lacking = [name for name in outputs_of_mode(mode) if name not in names]
    if lacking:
        raise ConfigError(
            f"Mode {mode!r} needs the layers {', '.join(lacking)}, and the network has {', '.join(names)}. "
            "Use a ChimeraNet, or mode 'mask' for a mask inference network."
        )
    unknown = sorted(set(frozen) - set(names))
    if unknown:
        raise ConfigError(f"Layers {', '.join(unknown)} cannot be frozen: the network has {', '.join(names)}.")
    by_mode = {"pretrain": [MASK_HEAD], "mask": [name for name in names if name != MASK_HEAD]}.get(mode, [])
    held = [name for name in names if name in by_mode or name in frozen]
    if not any(True for name in names if name not in held for _ in model.layers[name].parameters()):
        raise ConfigError(f"Mode {mode!r} with {', '.join(frozen)} frozen leaves nothing to train. Freeze fewer layers.")
    return held


def trainable_parameters(model: SeparationModel, mode: str, frozen: Sequence[str] = ()) -> list[nn.Parameter]:
    """Return the parameters that a mode trains: those that the optimizer must hold."""
    held = frozen_layers(model, mode, frozen)
    return [parameter for name, layer in model.layers.items() if name not in held for parameter in layer.parameters()]


def parameter_groups(
    model: SeparationModel,
    mode: str,
    frozen: Sequence[str] = (),
    learning_rate: float = PAPER.learning_rate,
    body_learning_rate: float | None = None,
) -> list[dict]:
    """Return the parameters that a mode trains as groups with their learning rates: the heads first, then the body.

    The heads are the mask head and the embedding head; the body is all layers before them. A pretrained body can thus be
    trained more slowly than a new mask head. A schedule that multiplies the rates of all groups, such as torch's
    ``ReduceLROnPlateau``, keeps their ratio.

    Args:
        model: The network.
        mode: 'pretrain', 'whole' or 'mask'.
        frozen: Layers to freeze besides those of the mode.
        learning_rate: Learning rate of the heads, and of the body where it has none of its own.
        body_learning_rate: Learning rate of the body. None: one group at one rate, as in the paper.

    Raises:
        ConfigError: As :func:`frozen_layers`; or the body has a rate of its own and is frozen, or the heads are.

    References:
        Howard, Ruder, "Universal language model fine-tuning for text classification", ACL 2018, section 3.2.
    """
    if body_learning_rate is None:
        return [{"params": trainable_parameters(model, mode, frozen), "lr": learning_rate}]
    body = [name for name in model.layers if name not in (EMBEDDING_HEAD, MASK_HEAD)]
    heads = [name for name in model.layers if name not in body]
    held = frozen_layers(model, mode, frozen)
    groups = []
    for part, layers, rate in (("heads", heads, learning_rate), ("body", body, body_learning_rate)):
        trained = [p for name in layers if name not in held for p in model.layers[name].parameters()]
        if not trained:
            besides = f" with {', '.join(frozen)} frozen" if frozen else ""
            raise ConfigError(
                f"body_learning_rate is {body_learning_rate:g}, and mode {mode!r}{besides} trains nothing of the {part}. "
                "Leave it out."
            )
        groups.append({"params": trained, "lr": rate})
    return groups


def freeze(model: SeparationModel, layers: Sequence[str]) -> None:
    """Turn gradients off for these layers, and on for all others."""
    for name, layer in model.layers.items():
        layer.requires_grad_(name not in layers)


def freeze_buffers_and_dropout(model: SeparationModel, layers: Sequence[str]) -> None:
    """Keep the buffers of frozen layers unchanged and their dropout off. Call this after ``model.train()``.

    ``requires_grad`` does not do that: batch normalisation would still update its running statistics. A recurrent layer
    stays in training mode, with dropout 0, because cuDNN cannot take gradients through one in evaluation mode. Its dropout
    rate is restored when it is unfrozen.
    """
    for name, layer in model.layers.items():
        for module in layer.modules():
            if isinstance(module, nn.RNNBase):
                module.own_dropout = getattr(module, "own_dropout", module.dropout)
                module.dropout = 0.0 if name in layers else module.own_dropout
            elif name in layers:
                module.training = False
