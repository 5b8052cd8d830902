"""Show progress: a bar on a terminal, and a log line every hundred iterations."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..runtime.log import logger
from .config import FitConfig

LINE_EVERY = 100
# Reading a loss waits for the GPU, so it is read rarely.
SECONDS_BETWEEN_READS = 0.5
BAR = "{n_fmt}/{total_fmt} |{bar}| {desc}"


class Progress:
    """Show iterations as they are done.

    Args:
        config: How to train.
        done: Number of iterations done before.
        clock: Gives the time in seconds.
    """

    def __init__(self, config: FitConfig, done: int, clock: Callable[[], float] = time.monotonic):
        self.config, self.clock = config, clock
        self.first, self.began = done, clock()
        self.last_read = self.began
        self.iteration = self.items = 0
        self.busy, self.since = 0.0, self.began
        self._stack = ExitStack()

    def __enter__(self) -> Progress:
        self.bar = self._stack.enter_context(
            tqdm(
                total=self.config.iterations,
                initial=self.first,
                bar_format=BAR,
                dynamic_ncols=True,
                disable=None if self.config.progress else True,  # None: only on a terminal
            )
        )
        if not self.bar.disable:
            self._stack.enter_context(logging_redirect_tqdm([logger]))
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.n = max(self.first, self.iteration)
        self._stack.close()

    def step(self, iteration: int, loss: float | torch.Tensor, learning_rate: float) -> None:
        """Count an iteration.

        Args:
            iteration: Its number, from 1.
            loss: Its loss. It is read only when it is shown.
            learning_rate: Its learning rate.
        """
        now = self.clock()
        self.busy, self.since = self.busy + now - self.since, now
        self.iteration, self.items = iteration, self.items + self.config.batch_size
        if not self.bar.disable and now - self.last_read >= SECONDS_BETWEEN_READS:
            self.last_read = now
            self.bar.n = iteration
            self.bar.set_description_str(self._description(loss, learning_rate), refresh=True)
        if iteration % LINE_EVERY == 0 and iteration % self.config.validate_every:
            self.line(iteration, loss=loss, learning_rate=learning_rate)

    def line(self, iteration: int, **values: float | torch.Tensor | None) -> None:
        """Log the iteration and these values, without those that are None."""
        shown = [f"{name} {float(value):.4g}" for name, value in values.items() if value is not None]
        logger.info("iteration %d of %d %s", iteration, self.config.iterations, " ".join([*shown, self._pace()]).rstrip())
        self.items, self.busy = 0, 0.0

    def resume(self) -> None:
        """Call after a validation, to leave its time out of the items per second."""
        self.since = self.clock()

    def _description(self, loss: float | torch.Tensor, learning_rate: float) -> str:
        return f"loss {float(loss):.4g}, lr {learning_rate:.1e}, {self._pace()}"

    def _pace(self) -> str:
        """Return items per second since the last line, and the time left at the mean pace so far."""
        done = self.iteration - self.first
        if done <= 0 or not self.busy:
            return ""
        left = (self.clock() - self.began) / done * (self.config.iterations - self.iteration)
        return f"{self.items / self.busy:.1f} items/s, {tqdm.format_interval(left)} left"
