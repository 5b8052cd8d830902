"""Make the optimizer and its learning rate schedules: lower the rate on a plateau, warm it up at the start."""

from __future__ import annotations

import math

import torch
from nussl.ml import SeparationModel

from ..networks.freezing import parameter_groups
from .config import FitConfig


def optimizer_of(model: SeparationModel, config: FitConfig) -> torch.optim.Optimizer:
    """Return Adam, or AdamW with weight decay, on exactly what the mode trains. Its first group holds the heads."""
    groups = parameter_groups(model, config.mode, config.frozen, config.learning_rate, config.body_learning_rate)
    # A fused optimizer can skip a step without the host reading the device.
    if config.weight_decay:
        return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
    return torch.optim.Adam(groups, fused=True)


def schedule_of(optimizer: torch.optim.Optimizer, config: FitConfig) -> torch.optim.lr_scheduler.ReduceLROnPlateau:
    """Return the paper's schedule. Step it with the loss of each validation after the warm-up.

    "The learning rate is halved if the validation loss averaged across every 100 iterations plateaus after 500
    iterations": it is halved at the fifth validation in a row that is not below the lowest. Any improvement counts.
    """
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=config.plateau_factor,
        # torch lowers the rate at the validation after `patience` validations without improvement.
        patience=math.ceil(config.plateau_iterations / config.validate_every) - 1,
        threshold=0.0,
    )


class WarmUp:
    """Raise the learning rate linearly over the first iterations, from ``1 / iterations`` of the full rate to all of it.

    The rate depends on the iteration alone, so a resumed run needs no state of this class.

    Args:
        optimizer: Its groups hold their full learning rates.
        iterations: Length of the warm-up. 0: none.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, iterations: int):
        self.optimizer, self.iterations = optimizer, iterations
        self.rates = [group["lr"] for group in optimizer.param_groups]

    def set_rate(self, iteration: int) -> None:
        """Set the learning rates for an iteration, counted from 1. After the warm-up, leave them as they are."""
        if iteration <= self.iterations:
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * iteration / self.iterations
