"""Ctrl-C and SIGTERM: noted when they come, obeyed where a run can be gone on from."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

from .process_group import all_reduce_max, is_single_process

# `timeout` and `torchrun` send a signal to a process and to its group: it comes twice, and was meant once.
SECONDS_OF_ONE = 0.5
NAMES = (None, "Ctrl-C", "SIGTERM")


class Interrupts:
    """Within the block, Ctrl-C and SIGTERM are only noted, for who looks at ``name``; a second Ctrl-C acts at once.

    In a thread other than the main one, where Python handles no signals, nothing is changed.

    Attributes:
        name: 'Ctrl-C' or 'SIGTERM' once one has come, until then None; where processes work together, once they agreed.
        noted: The same for this process alone.
    """

    def __init__(self):
        self.name: str | None = None
        self.noted: str | None = None
        self._came = 0.0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._previous = {
                number: signal.signal(number, handler)
                for number, handler in ((signal.SIGINT, self._on_ctrl_c), (signal.SIGTERM, self._on_sigterm))
            }
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            # None: a handler that was not installed from Python, and cannot be put back by it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous = {}

    def agree(self) -> None:
        """Lets all processes know what came to any; call it in all of them at the same place."""
        if not is_single_process():
            self.name = NAMES[all_reduce_max(NAMES.index(self.noted))]

    def leave(self, message: str) -> None:
        """Ends what was interrupted, as its signal would have it; what was not goes on.

        Args:
            message: What was told of it.

        Raises:
            KeyboardInterrupt: It was Ctrl-C; whoever lets it end the process makes that status 130.
            SystemExit: It was SIGTERM; status 0, for nothing is lost.
        """
        if self.name == "Ctrl-C":
            raise KeyboardInterrupt(message)
        if self.name == "SIGTERM":
            raise SystemExit(0)

    def _on_ctrl_c(self, number: int, frame: FrameType | None) -> None:
        if self.noted is None:
            self._note("Ctrl-C")
        elif time.monotonic() - self._came > SECONDS_OF_ONE:
            raise KeyboardInterrupt

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if self.noted is None:
            self._note("SIGTERM")

    def _note(self, name: str) -> None:
        self.noted, self._came = name, time.monotonic()
        if is_single_process():
            self.name = name
