"""AutoClip: clip gradients at a percentile of their norms so far.

Norms, percentile and factor are computed on the gradients' device and never read, so nothing waits for a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..errors import ConfigError


class AutoClip:
    """Clip gradients at a percentile of the history of their norms, including the current one.

    A norm that is not finite is recorded but does not count. The caller must skip the step of such a gradient.

    Args:
        parameters: Their gradients are clipped together.
        percentile: 0 to 100. The paper takes 10, which shortens nine of ten steps.

    Raises:
        ConfigError: The percentile is out of range.

    References:
        Seetharaman, Wichern, Pardo, Le Roux, "AutoClip: adaptive gradient clipping for source separation
        networks", MLSP 2020.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], percentile: float):
        if not 0 <= percentile <= 100:
            raise ConfigError(f"percentile must be a number from 0 to 100: got {percentile}.")
        self.parameters = list(parameters)
        self.percentile = percentile
        self._buffer = torch.empty(0)
        self._seen = 0

    @property
    def history(self) -> torch.Tensor:
        """Norms so far, float32 [steps], on the gradients' device."""
        return self._buffer[: self._seen]

    @torch.no_grad()
    def __call__(self, loss: torch.Tensor | None = None) -> torch.Tensor:
        """Clip the gradients in place, and return their norm before clipping, on their device.

        Args:
            loss: The loss of these gradients. If it is not finite, the norm is NaN.
        """
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if loss is not None:
            norm = torch.where(loss.isfinite(), norm, torch.nan)
        self._remember(norm)
        # torch.nn.utils.clip_grads_with_norm_ would read its limit as a float, and wait for the device.
        factor = (percentile_of(self.history, self.percentile) / (norm + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(factor)
        return norm

    def state_dict(self) -> dict:
        """Return the history as a tensor on the CPU."""
        return {"history": self.history.cpu().clone()}

    def load_state_dict(self, state: dict) -> None:
        """Resume from the result of :meth:`state_dict`."""
        self._buffer = state["history"].float()
        self._seen = len(self._buffer)

    def _remember(self, norm: torch.Tensor) -> None:
        if self._seen == len(self._buffer) or self._buffer.device != norm.device:
            larger = norm.new_empty(max(1024, 2 * self._seen))
            larger[: self._seen] = self.history
            self._buffer = larger
        self._buffer[self._seen] = norm
        self._seen += 1


def percentile_of(values: torch.Tensor, percentile: float) -> torch.Tensor:
    """Return a percentile of the finite values, interpolated as by ``numpy.percentile``; NaN if none is finite.

    ``torch.nanquantile`` would count infinite values.

    Args:
        values: In any order. They are not read from their device.
        percentile: 0 to 100.

    Shape:
        [n] -> scalar
    """
    ordered = torch.where(values.isfinite(), values, torch.inf).sort().values
    last = values.isfinite().sum() - 1
    position = last.clamp(min=0).double() * (percentile / 100)
    below = position.long()
    above = torch.minimum(below + 1, last.clamp(min=0))
    low, high = ordered[torch.stack([below, above])]
    limit = low + (high - low) * (position - below)
    return torch.where(last >= 0, limit, torch.nan).to(values.dtype)
