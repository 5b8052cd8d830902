"""Stage 11, SIGTERM as an interruption, so that what is half done is cleared away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Within the block, SIGTERM unwinds the program as Ctrl-C does; Python's own way is to end it on the spot.

    In a thread other than the main one, where Python handles no signals, nothing is changed.

    Raises:
        Terminated: It came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        # None: a handler that was not installed from Python, and cannot be put back by it.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if previous is None else previous)
