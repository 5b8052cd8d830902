"""Make the recurrent layers of a trained ChimeraNet wider without changing what it computes."""

from __future__ import annotations

import copy

import torch
from nussl.ml import SeparationModel

from ..errors import ConfigError

RECURRENT = "recurrent_stack"


def widen(model: SeparationModel, hidden_size: int) -> SeparationModel:
    """Return a network with wider BLSTM layers that gives the same outputs.

    The new units are initialised as in a new network. Every weight from a new unit to an old one, and to the heads, is 0.
    So the outputs stay the same, and training can use the new units from the first step. (Chen, Goodfellow and Shlens,
    "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016, double old units instead.)

    Args:
        model: A ChimeraNet of `build_transfer_chimera` with LSTM layers; it is not changed.
        hidden_size: Units of each direction, more than the network has.

    Raises:
        ConfigError: `hidden_size` is not above that of the network, or the layers are not LSTM layers.
    """
    old = model.layers[RECURRENT].rnn
    if not isinstance(old, torch.nn.LSTM):
        raise ConfigError(f"The recurrent layers are {type(old).__name__}. Only LSTM layers can be widened.")
    if hidden_size <= old.hidden_size:
        raise ConfigError(f"hidden_size is {hidden_size}. Give more than the {old.hidden_size} units of the network.")
    config = copy.deepcopy(model.config)
    directions = 2 if old.bidirectional else 1
    for name, module in config["modules"].items():
        arguments = module.get("args", {})
        if name == RECURRENT:
            arguments["hidden_size"] = hidden_size
        elif arguments.get("hidden_size") == directions * old.hidden_size:
            arguments["hidden_size"] = directions * hidden_size
    wider = SeparationModel(config)
    state = wider.state_dict()
    for name, weight in model.state_dict().items():
        state[name] = _widened(name, weight, state[name], old.hidden_size, hidden_size, directions)
    wider.load_state_dict(state)
    return wider


def _widened(name: str, weight: torch.Tensor, new: torch.Tensor, old_size: int, size: int, directions: int) -> torch.Tensor:
    """Return a tensor of the wider network: old values where both ends are old, 0 from new units to old ones."""
    if weight.shape == new.shape:
        return weight.clone()
    rows, columns = torch.arange(weight.shape[0]), torch.arange(weight.shape[-1])
    if f"{RECURRENT}.rnn." in name:
        rows = _new_indices(rows, old_size, size)  # the four gates stand one after another
    widened = new.clone()
    if weight.dim() == 1:
        widened[rows] = weight
        return widened
    if weight.shape[1] != new.shape[1]:
        widened[rows] = 0
        if weight.shape[1] == directions * old_size:
            columns = _new_indices(columns, old_size, size)
    widened[rows[:, None], columns] = weight
    return widened


def _new_indices(units: torch.Tensor, old_size: int, size: int) -> torch.Tensor:
    """Return the new indices of units when blocks of `old_size` units grow to blocks of `size`."""
    return units % old_size + units // old_size * size
