"""Compute results in several processes, in order. The processes end when their parent is killed."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process


def in_order(function: Callable, arguments: Iterable, workers: int) -> Iterator[tuple]:
    """Yield (argument, function(argument)) in the order of the arguments, which may be endless.

    Args:
        function: A module-level function, so that other processes can import it.
        arguments: The arguments. Only a few are drawn ahead of the results.
        workers: Number of processes; 1 computes in this process.
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
    """End this process when its parent has ended; a parent killed by SIGKILL cannot stop its workers itself."""

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
