"""Build the learning curve: one point per validation; decide which network is the best and when to stop early."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from .validation import Measures


class Curve:
    """Keep the points of the curve and the losses since the last one, and decide which network is the best.

    Its state includes the losses gathered since the last validation.

    Args:
        choose_by: What makes a network the best: 'loss', 'mask_loss' or 'si_sdr'.
        clock: Gives the time in seconds.

    Attributes:
        points: One per validation, the first before training; ``curve.json`` holds them.
    """

    def __init__(self, choose_by: str = "loss", clock: Callable[[], float] = time.monotonic):
        self.choose_by, self.clock = choose_by, clock
        self.points: list[dict] = []
        self.started = clock()
        self._losses: list[float | torch.Tensor] = []

    @property
    def last(self) -> int | None:
        """Iteration of the last point."""
        return self.points[-1]["iteration"] if self.points else None

    def gather(self, loss: float | torch.Tensor) -> None:
        """Add the loss of an iteration. A loss on a GPU is read later."""
        self._losses.append(loss.detach() if isinstance(loss, torch.Tensor) else loss)

    def add(self, iteration: int, measures: Measures, learning_rate: float, test_si_sdr: float | None = None) -> dict:
        """Add a point, and return it.

        Args:
            iteration: Number of iterations done.
            measures: What the validation measured. Without a validation loss, the mean training loss takes its place.
            learning_rate: Learning rate of these iterations.
            test_si_sdr: SI-SDR that the probe measured, in dB.
        """
        # The loss of a skipped step may not be finite.
        losses = [loss for loss in self._floats() if math.isfinite(loss)]
        self._losses.clear()
        train_loss = sum(losses) / len(losses) if losses else None
        point = {
            "iteration": iteration,
            "train_loss": train_loss,
            "valid_loss": train_loss if measures.loss is None else measures.loss,
            "valid_mask_loss": measures.mask_loss,
            "valid_si_sdr": measures.si_sdr,
            "learning_rate": learning_rate,
            "test_si_sdr": test_si_sdr if test_si_sdr is None or math.isfinite(test_si_sdr) else None,
            "seconds": round(self.clock() - self.started, 2),
        }
        self.points.append(point)
        return point

    def is_best(self) -> bool:
        """Return whether no network was better than the last. The one before training does not count."""
        costs = self._costs()
        return costs[-1] == min(costs) < math.inf

    def without_improvement(self) -> int:
        """Return the number of iterations since a network was better than all before it."""
        costs = self._costs()
        if not costs:
            return 0
        return self.points[-1]["iteration"] - self.points[1 + costs.index(min(costs))]["iteration"]

    def history(self) -> dict[str, list[float]]:
        """Return the values that nussl's handlers read, one per validation."""
        points = self.points[1:]
        names = {
            "train/loss": "train_loss",
            "validation/loss": "valid_loss",
            "validation/mask_loss": "valid_mask_loss",
            "validation/si_sdr": "valid_si_sdr",
            "train/learning_rate": "learning_rate",
            "test/si_sdr": "test_si_sdr",
        }
        columns = {name: [point[key] for point in points] for name, key in names.items()}
        return {name: column for name, column in columns.items() if None not in column}

    def state_dict(self) -> dict:
        """Return the points, and the losses gathered for the next one."""
        losses = torch.tensor(self._floats(), dtype=torch.float64)
        return {"points": list(self.points), "losses": losses, "seconds": self.clock() - self.started}

    def load_state_dict(self, state: dict) -> None:
        """Resume from the result of :meth:`state_dict`. The time in between does not count."""
        self.points = list(state["points"])
        self._losses = state["losses"].tolist()
        self.started = self.clock() - state["seconds"]

    def _floats(self) -> list[float]:
        losses = [float(loss) for loss in self._losses]
        self._losses = [*losses]
        return losses

    def _costs(self) -> list[float]:
        """Return the value to minimise at each point after training began; inf where it was not measured."""
        key, sign = {"loss": ("valid_loss", 1), "mask_loss": ("valid_mask_loss", 1), "si_sdr": ("valid_si_sdr", -1)}[
            self.choose_by
        ]
        values = [point[key] for point in self.points if point["iteration"] > 0]
        return [math.inf if value is None else sign * value for value in values]
