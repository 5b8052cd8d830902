"""From a gradient to new weights, or to none; all of it where the network is.

Nothing is read of the device: whether a step was taken is a flag there, for whoever has time to look. That
is why weights are averaged by torch's function and not by torch's ``AveragedModel``, which reads its counter
at every step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from nussl.ml import SeparationModel
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .autoclip import AutoClip


class Stepping:
    """Clips each gradient, skips the steps whose loss or gradient is not a number, and averages the weights.

    Args:
        model: The network.
        optimizer: A fused one of torch's, which skips where its ``found_inf`` says so.
        parameters: What it trains.
        percentile: Of AutoClip.
        ema_decay: Of the average of the weights; 0: there is none.

    Attributes:
        shown: The network that is validated and written into checkpoints: the average, where there is one.
    """

    def __init__(
        self,
        model: SeparationModel,
        optimizer: torch.optim.Optimizer,
        parameters: Iterable[torch.nn.Parameter],
        percentile: float,
        ema_decay: float = 0.0,
    ):
        self.model, self.optimizer = model, optimizer
        self.autoclip = AutoClip(parameters, percentile)
        self.average = Average(model, ema_decay) if ema_decay else None
        self.shown = self.average.model if self.average else model

    def begin(self) -> None:
        """Call before a batch goes through the network: what is not a number gets into running statistics there."""
        self._buffers = [buffer.clone() for buffer in self.model.buffers()]
        self._spoilt = torch.zeros((), dtype=torch.bool, device=next(self.model.parameters()).device)

    def judge(self, loss: torch.Tensor) -> None:
        """Call between gradient and step: clips, and tells the optimizer whether to take the step.

        Args:
            loss: Of the batch; it may be not a number where the gradient is.
        """
        self._spoilt = ~self.autoclip(loss).isfinite()
        self.optimizer.found_inf = self._spoilt.float()

    def end(self) -> torch.Tensor:
        """Call after the step; returns whether it was skipped, as a flag on the device."""
        for buffer, before in zip(self.model.buffers(), self._buffers, strict=True):
            buffer.copy_(torch.where(self._spoilt, before, buffer))
        if self.average is not None:
            self.average.update(self.model)
        return self._spoilt

    def finish(self) -> None:
        """Gives the network the weights that were shown."""
        if self.average is not None:
            self.model.load_state_dict(self.shown.state_dict())

    def state_dict(self) -> dict:
        """Returns the norms so far, and the average."""
        average = None if self.average is None else self.average.state_dict()
        return {"autoclip": self.autoclip.state_dict(), "average": average}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from what :meth:`state_dict` gave."""
        self.autoclip.load_state_dict(state["autoclip"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


class Average:
    """The exponential moving average of a network's weights; its buffers are the network's own.

    The first steps count for more, by min(decay, (1 + n) / (10 + n)) at the n-th, so that a short run is not
    averaged with its beginning.

    Args:
        model: The network as it begins.
        decay: What is kept of the average at each step, 0 to 1.

    References:
        Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992. The first steps are
        those of TensorFlow's ``ExponentialMovingAverage``.
    """

    def __init__(self, model: SeparationModel, decay: float):
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self, model: SeparationModel) -> None:
        """Takes in the network as it is now."""
        self.steps += 1
        average = get_ema_multi_avg_fn(min(self.decay, (1 + self.steps) / (10 + self.steps)))
        average([*self.model.parameters()], [*model.parameters()], None)
        for own, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            own.copy_(buffer)

    def state_dict(self) -> dict:
        """Returns the average, and the steps in it."""
        return {"model": self.model.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from what :meth:`state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.steps = state["steps"]
