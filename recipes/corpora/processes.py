"""Results computed by several processes, in order, that all end when the first one is killed."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process


def in_order(function: Callable, arguments: Iterable, workers: int) -> Iterator[tuple]:
    """Yield (argument, function(argument)) in the order of the arguments, of which there may be no end.

    Args:
        function: Of a module, so that other processes find it.
        arguments: Drawn only a few ahead of what is yielded.
        workers: Processes; 1 for this one alone.
    """
    if workers == 1:
        yield from ((argument, function(argument)) for argument in arguments)
        return
    arguments = iter(arguments)
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=end_with_parent)
    try:
        waiting = deque((a, pool.submit(function, a)) for a in itertools.islice(arguments, 3 * workers))
        while waiting:
            argument, future = waiting.popleft()
            yield argument, future.result()
            waiting.extend((a, pool.submit(function, a)) for a in itertools.islice(arguments, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """End this process when its parent is gone: after SIGKILL nobody else tells it that no more work will come."""

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
