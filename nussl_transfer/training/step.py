"""Take one optimizer step: clip the gradient, skip a step that is not finite, average the weights.

Nothing here reads a value from the device, which would synchronise with it: a flag on the device records whether a step was
skipped. For the same reason this module averages with torch's function, not with ``AveragedModel``, which reads its
counter at every step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from nussl.ml import SeparationModel
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .autoclip import AutoClip


class Stepping:
    """Clip each gradient, skip steps whose loss or gradient is not finite, and average the weights.

    Args:
        model: The network.
        optimizer: One of torch's fused optimizers, which skip a step where ``found_inf`` is set.
        parameters: The parameters it trains.
        percentile: Percentile of AutoClip.
        ema_decay: Decay of the average of the weights. 0: no average.

    Attributes:
        eval_model: The network that is validated and written into checkpoints: the average, if there is one.
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
        self.eval_model = self.average.model if self.average else model

    def begin(self) -> None:
        """Call before forward: saves the buffers, which a batch with NaN would corrupt."""
        self._buffers = [buffer.clone() for buffer in self.model.buffers()]
        self._spoilt = torch.zeros((), dtype=torch.bool, device=next(self.model.parameters()).device)

    def clip_and_check(self, loss: torch.Tensor) -> None:
        """Call between backward and step: clips, and tells the optimizer whether to skip the step.

        Args:
            loss: Loss of the batch. It may be NaN where the gradient is finite.
        """
        self._spoilt = ~self.autoclip(loss).isfinite()
        # A fused optimizer reads this attribute; torch declares it nowhere.
        setattr(self.optimizer, "found_inf", self._spoilt.float())  # noqa: B010

    def end(self) -> torch.Tensor:
        """Call after the step: restores the buffers of a skipped step. Returns whether it was skipped, on the device."""
        for buffer, before in zip(self.model.buffers(), self._buffers, strict=True):
            buffer.copy_(torch.where(self._spoilt, before, buffer))
        if self.average is not None:
            self.average.update(self.model)
        return self._spoilt

    def finish(self) -> None:
        """Copy the averaged weights, if there are any, into the network."""
        if self.average is not None:
            self.model.load_state_dict(self.eval_model.state_dict())

    def state_dict(self) -> dict:
        """Return the gradient norms so far, and the average."""
        average = None if self.average is None else self.average.state_dict()
        return {"autoclip": self.autoclip.state_dict(), "average": average}

    def load_state_dict(self, state: dict) -> None:
        """Resume from the result of :meth:`state_dict`."""
        self.autoclip.load_state_dict(state["autoclip"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


class Average:
    """The exponential moving average of a network's weights. Its buffers are copies of the network's.

    The decay of the n-th step is min(decay, (1 + n) / (10 + n)), so that the first weights do not dominate the average
    of a short run. (``ignite.handlers.EMAHandler`` raises its momentum linearly instead.)

    Args:
        model: The network before training.
        decay: Share of the average that each step keeps, 0 to 1.

    References:
        Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992. The first steps follow
        TensorFlow's ``ExponentialMovingAverage``.
    """

    def __init__(self, model: SeparationModel, decay: float):
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self, model: SeparationModel) -> None:
        """Add the network's current weights to the average."""
        self.steps += 1
        average = get_ema_multi_avg_fn(min(self.decay, (1 + self.steps) / (10 + self.steps)))
        average([*self.model.parameters()], [*model.parameters()], None)
        for own, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            own.copy_(buffer)

    def state_dict(self) -> dict:
        """Return the average and the number of steps in it."""
        return {"model": self.model.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        """Resume from the result of :meth:`state_dict`."""
        self.model.load_state_dict(state["model"])
        self.steps = state["steps"]
