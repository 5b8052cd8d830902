"""Count the steps that were skipped because their loss or gradient was not finite."""

from __future__ import annotations

import torch

from ..errors import TransferError
from ..runtime.log import logger
from ..runtime.process_group import main_rank_error
from .config import FitConfig


class SkippedSteps:
    """Count skipped steps over the whole run, log each, and end the run above ``skip_limit``.

    Args:
        config: How to train.
    """

    def __init__(self, config: FitConfig):
        self.config = config
        self.iterations: list[int] = []
        self._unread: list[tuple[int, torch.Tensor]] = []

    def note(self, iteration: int, skipped: bool | torch.Tensor) -> None:
        """Record whether an iteration's step was skipped. A flag on a GPU is read later, by :meth:`settle`.

        Raises:
            TransferError: More steps were skipped than the limit.
        """
        if isinstance(skipped, torch.Tensor) and skipped.device.type != "cpu":
            self._unread.append((iteration, skipped.detach()))
        elif skipped:
            self._count(iteration)

    def settle(self) -> None:
        """Read the flags that have not been read.

        Raises:
            TransferError: More steps were skipped than the limit.
        """
        unread, self._unread = self._unread, []
        if unread:
            flags = torch.stack([flag for _, flag in unread]).tolist()
            for (iteration, _), flag in zip(unread, flags, strict=True):
                if flag:
                    self._count(iteration)

    def state_dict(self) -> dict:
        """Return the iterations whose steps were skipped."""
        return {"iterations": list(self.iterations)}

    def load_state_dict(self, state: dict) -> None:
        """Resume from the result of :meth:`state_dict`."""
        self.iterations = list(state["iterations"])

    def _count(self, iteration: int) -> None:
        self.iterations.append(iteration)
        count, limit = len(self.iterations), self.config.skip_limit
        logger.warning(
            "iteration %d: loss or gradient is not finite, the step is skipped (%d of at most %d); items %s",
            iteration, count, limit, self._items(iteration),
        )  # fmt: skip
        if count > limit:
            shown = "; ".join(f"iteration {number}, items {self._items(number)}" for number in self.iterations)
            raise main_rank_error(TransferError(
                f"Too many steps were skipped because their loss or gradient was not finite: got {count} ({shown}), "
                f"expected at most {limit}. The last good state is saved. Look at these items, lower the learning rate, or "
                "raise skip_limit."
            ))  # fmt: skip

    def _items(self, iteration: int) -> str:
        end = iteration * self.config.batch_size
        return f"{end - self.config.batch_size} to {end - 1}"
