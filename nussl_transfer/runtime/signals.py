"""Handle SIGTERM and Ctrl-C: unwind at once (`terminated_as_interrupted`), or stop at a safe point (`Interrupts`).

Python handles signals only in the main thread. In other threads nothing here changes anything.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType

# `timeout` and `torchrun` send a signal to a process and to its group, so one stop may arrive twice within this time.
SAME_SIGNAL_SECONDS = 0.5
NAMES = (None, "Ctrl-C", "SIGTERM")


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM."""


@contextmanager
def _handling(handlers: Mapping[int, Callable[[int, FrameType | None], None]]) -> Iterator[None]:
    """Install signal handlers for the block, and restore the previous ones after it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            # None: a handler that was not installed from Python, and that Python cannot restore.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Within the block, SIGTERM raises Terminated, so that temporary files are removed; by default Python just exits.

    Raises:
        Terminated: SIGTERM arrived.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    with _handling({signal.SIGTERM: stop}):
        yield


class Interrupts:
    """Within the block, note Ctrl-C and SIGTERM for the caller to stop at a safe point. A second Ctrl-C acts at once.

    Attributes:
        name: 'Ctrl-C' or 'SIGTERM' once one has arrived, else None. With several processes, set by `agree`.
        noted: The same for this process alone.
    """

    def __init__(self) -> None:
        from .process_group import all_reduce_max, is_single_process  # imports torch, which the command line avoids

        self.name: str | None = None
        self.noted: str | None = None
        self._came = 0.0
        self._single, self._largest = is_single_process(), all_reduce_max
        self._stack = ExitStack()

    def __enter__(self) -> Interrupts:
        self._stack.enter_context(_handling({signal.SIGINT: self._on_ctrl_c, signal.SIGTERM: self._on_sigterm}))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def agree(self) -> None:
        """Share a noted signal among all processes. All of them must call this at the same point."""
        if not self._single:
            self.name = NAMES[self._largest(NAMES.index(self.noted))]

    def leave(self, message: str) -> None:
        """End the process as the signal that arrived demands; without one, do nothing.

        Args:
            message: The message of the exception, as logged.

        Raises:
            KeyboardInterrupt: After Ctrl-C; the command line turns it into status 130.
            SystemExit: After SIGTERM, with status 0: nothing is lost.
        """
        if self.name == "Ctrl-C":
            raise KeyboardInterrupt(message)
        if self.name == "SIGTERM":
            raise SystemExit(0)

    def _on_ctrl_c(self, number: int, frame: FrameType | None) -> None:
        if self.noted is None:
            self._note("Ctrl-C")
        elif time.monotonic() - self._came > SAME_SIGNAL_SECONDS:
            raise KeyboardInterrupt

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if self.noted is None:
            self._note("SIGTERM")

    def _note(self, name: str) -> None:
        self.noted, self._came = name, time.monotonic()
        if self._single:
            self.name = name
