"""The curve of a run: a point at each validation, what has gathered since the last, and what follows from them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch


class Curve:
    """Losses as they come, points made of them, and the judgement whether they still fall.

    What is saved of it is where the run is within its hundred iterations, too.

    Args:
        clock: Gives the time in seconds.

    Attributes:
        points: One a validation, the first before training: what ``curve.json`` holds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.points: list[dict] = []
        self.started = clock()
        self._losses: list[float | torch.Tensor] = []

    @property
    def last(self) -> int | None:
        """The iteration of the last point."""
        return self.points[-1]["iteration"] if self.points else None

    def gather(self, loss: float | torch.Tensor) -> None:
        """Takes the loss of an iteration; nothing is computed, so a loss on a GPU is not waited for."""
        self._losses.append(loss.detach() if isinstance(loss, torch.Tensor) else loss)

    def add(self, iteration: int, valid_loss: float | None, learning_rate: float, test_si_sdr: float | None) -> dict:
        """Makes a point of what was gathered, and returns it.

        Args:
            iteration: Iterations done.
            valid_loss: None takes the training loss in its place.
            learning_rate: With which these iterations were done.
            test_si_sdr: In dB, where it was asked for.
        """
        # Of a step that was skipped the loss may not be a number.
        losses = [loss for loss in self._floats() if math.isfinite(loss)]
        self._losses.clear()
        train_loss = sum(losses) / len(losses) if losses else None
        point = {
            "iteration": iteration,
            "train_loss": train_loss,
            "valid_loss": train_loss if valid_loss is None else valid_loss,
            "learning_rate": learning_rate,
            "test_si_sdr": test_si_sdr if test_si_sdr is None or math.isfinite(test_si_sdr) else None,
            "seconds": round(self.clock() - self.started, 2),
        }
        self.points.append(point)
        return point

    def is_best(self) -> bool:
        """Returns whether no validation loss is lower than the last; that before training does not count."""
        losses = self._losses_of_points()
        return losses[-1] == min(losses) < math.inf

    def without_improvement(self) -> int:
        """Returns the iterations since the validation loss was last below all those before it."""
        losses = self._losses_of_points()
        if not losses:
            return 0
        return self.points[-1]["iteration"] - self.points[1 + losses.index(min(losses))]["iteration"]

    def history(self) -> dict[str, list[float]]:
        """Returns what nussl's handlers read, one value a validation: the last of each list goes to TensorBoard."""
        points = self.points[1:]
        names = {
            "train/loss": "train_loss",
            "validation/loss": "valid_loss",
            "train/learning_rate": "learning_rate",
            "test/si_sdr": "test_si_sdr",
        }
        columns = {name: [point[key] for point in points] for name, key in names.items()}
        return {name: column for name, column in columns.items() if None not in column}

    def state_dict(self) -> dict:
        """Returns the points, and all that has gathered for the next."""
        losses = torch.tensor(self._floats(), dtype=torch.float64)
        return {"points": list(self.points), "losses": losses, "seconds": self.clock() - self.started}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from what :meth:`state_dict` gave; the time between counts for nothing."""
        self.points = list(state["points"])
        self._losses = state["losses"].tolist()
        self.started = self.clock() - state["seconds"]

    def _floats(self) -> list[float]:
        self._losses = [float(loss) for loss in self._losses]
        return self._losses

    def _losses_of_points(self) -> list[float]:
        """Returns the validation losses but that before training; where every step was skipped there may be none."""
        losses = [point["valid_loss"] for point in self.points if point["iteration"] > 0]
        return [math.inf if loss is None else loss for loss in losses]
