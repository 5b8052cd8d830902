"""AutoClip: gradients are clipped at a percentile of the norms that the run has seen so far."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from .errors import ConfigError


class AutoClip:
    """Clips gradients at the ``percentile`` of the history of their norms, the present one included.

    Args:
        parameters: Whose gradients are clipped, together.
        percentile: 0 to 100; the paper takes 10, so that nine steps of ten are shortened.

    Raises:
        ConfigError: The percentile is not one.

    References:
        Seetharaman, Wichern, Pardo, Le Roux, "AutoClip: adaptive gradient clipping for source separation
        networks", MLSP 2020.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], percentile: float):
        if not 0 <= percentile <= 100:
            raise ConfigError(f"AutoClip takes a percentile between 0 and 100: got {percentile}.")
        self.parameters = list(parameters)
        self.percentile = percentile
        self.history: list[float] = []

    def __call__(self) -> float:
        """Clips what gradients there are now, and returns their norm before."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.history.append(float(norm))
        limit = float(np.percentile(self.history, self.percentile))
        torch.nn.utils.clip_grads_with_norm_(self.parameters, limit, norm)
        return self.history[-1]

    def state_dict(self) -> dict:
        """Returns the history, as a tensor."""
        return {"history": torch.tensor(self.history, dtype=torch.float64)}

    def load_state_dict(self, state: dict) -> None:
        """Takes up a history that :meth:`state_dict` gave."""
        self.history = state["history"].tolist()
