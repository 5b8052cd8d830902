"""What takes the steps: the optimizer, and the schedule of its learning rate."""

from __future__ import annotations

import math

import torch
from nussl.ml import SeparationModel

from ..networks.freezing import parameter_groups
from .config import FitConfig


def optimizer_of(model: SeparationModel, config: FitConfig) -> torch.optim.Optimizer:
    """Returns Adam on what the mode trains, and on nothing that is frozen; its first group has the heads."""
    groups = parameter_groups(model, config.mode, config.frozen, config.learning_rate, config.body_learning_rate)
    # Fused, it can be told on the device to skip a step.
    return torch.optim.Adam(groups, fused=True)


def schedule_of(optimizer: torch.optim.Optimizer, config: FitConfig) -> torch.optim.lr_scheduler.ReduceLROnPlateau:
    """Returns the paper's schedule, to be stepped with the loss of each validation.

    "The learning rate is halved if the validation loss averaged across every 100 iterations plateaus after 500
    iterations": it falls at the fifth validation in a row that is not better than the best, however little better
    would have been enough.
    """
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=config.plateau_factor,
        # torch's "patience" is how many validations may pass; the one after them lowers the rate.
        patience=math.ceil(config.plateau_iterations / config.validate_every) - 1,
        threshold=0.0,
    )
