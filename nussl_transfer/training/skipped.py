"""Steps that were skipped because their loss or gradient was not a number."""

from __future__ import annotations

import torch

from ..errors import TransferError
from ..runtime.log import logger
from ..runtime.process_group import main_rank_error
from .config import FitConfig


class SkippedSteps:
    """Counts them over the whole run, tells of each, and ends the run when there are too many.

    Args:
        config: How is trained; ``skip_limit`` of it.
    """

    def __init__(self, config: FitConfig):
        self.config = config
        self.iterations: list[int] = []
        self._unread: list[tuple[int, torch.Tensor]] = []

    def note(self, iteration: int, skipped: bool | torch.Tensor) -> None:
        """Takes whether the step of an iteration was skipped; a flag that lies on a GPU is read later, by `settle`.

        Raises:
            TransferError: There are more than the limit.
        """
        if isinstance(skipped, torch.Tensor) and skipped.device.type != "cpu":
            self._unread.append((iteration, skipped.detach()))
        elif skipped:
            self._count(iteration)

    def settle(self) -> None:
        """Reads what has not been read.

        Raises:
            TransferError: There are more than the limit.
        """
        unread, self._unread = self._unread, []
        if unread:
            flags = torch.stack([flag for _, flag in unread]).tolist()
            for (iteration, _), flag in zip(unread, flags, strict=True):
                if flag:
                    self._count(iteration)

    def state_dict(self) -> dict:
        """Returns the iterations whose steps were skipped."""
        return {"iterations": list(self.iterations)}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from what :meth:`state_dict` gave."""
        self.iterations = list(state["iterations"])

    def _count(self, iteration: int) -> None:
        self.iterations.append(iteration)
        count, limit = len(self.iterations), self.config.skip_limit
        logger.warning(
            "iteration %d: loss or gradient is not a number, the step is skipped (%d of at most %d); items %s",
            iteration, count, limit, self._items(iteration),
        )  # fmt: skip
        if count > limit:
            shown = "; ".join(f"iteration {number}, items {self._items(number)}" for number in self.iterations)
            raise main_rank_error(TransferError(
                f"{count} steps were skipped because their loss or gradient was not a number ({shown}): at most {limit} "
                "may be. The last good state is saved. Look at these items, lower the learning rate, or raise the limit."
            ))  # fmt: skip

    def _items(self, iteration: int) -> str:
        end = iteration * self.config.batch_size
        return f"{end - self.config.batch_size} to {end - 1}"
