"""AutoClip: gradients are clipped at a percentile of the norms that the run has seen so far.

Norms, percentile and factor are computed where the gradients are, and none of them is read here: a GPU is
not waited for.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..errors import ConfigError


class AutoClip:
    """Clips gradients at the ``percentile`` of the history of their norms, the present one included.

    A norm that is not finite stands in the history, and counts for nothing; the gradient that it is of is for
    the caller to leave out.

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
        self._room = torch.empty(0)
        self._seen = 0

    @property
    def history(self) -> torch.Tensor:
        """The norms so far, float32 [steps], on the gradients' device."""
        return self._room[: self._seen]

    @torch.no_grad()
    def __call__(self, loss: torch.Tensor | None = None) -> torch.Tensor:
        """Clips what gradients there are now, and returns their norm before, where they are.

        Args:
            loss: What they are the gradient of. Where it is not finite, the norm is nan, whatever they are.
        """
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if loss is not None:
            norm = torch.where(loss.isfinite(), norm, torch.nan)
        self._remember(norm)
        # As torch.nn.utils.clip_grads_with_norm_, which reads its limit as a float, and waits for it.
        factor = (percentile_of(self.history, self.percentile) / (norm + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(factor)
        return norm

    def state_dict(self) -> dict:
        """Returns the history, as a tensor on the CPU."""
        return {"history": self.history.cpu().clone()}

    def load_state_dict(self, state: dict) -> None:
        """Takes up a history that :meth:`state_dict` gave."""
        self._room = state["history"].float()
        self._seen = len(self._room)

    def _remember(self, norm: torch.Tensor) -> None:
        if self._seen == len(self._room) or self._room.device != norm.device:
            room = norm.new_empty(max(1024, 2 * self._seen))
            room[: self._seen] = self.history
            self._room = room
        self._room[self._seen] = norm
        self._seen += 1


def percentile_of(values: torch.Tensor, percentile: float) -> torch.Tensor:
    """Returns a percentile of those values that are finite, as ``numpy.percentile`` interpolates; nan if none is.

    Args:
        values: In any order; nothing is read from their device.
        percentile: 0 to 100.

    Shape:
        [n] -> scalar
    """
    ordered = torch.where(values.isfinite(), values, torch.inf).sort().values
    last = values.isfinite().sum() - 1
    place = last.clamp(min=0).double() * (percentile / 100)
    below = place.long()
    above = torch.minimum(below + 1, last.clamp(min=0))
    low, high = ordered[torch.stack([below, above])]
    limit = low + (high - low) * (place - below)
    return torch.where(last >= 0, limit, torch.nan).to(values.dtype)
