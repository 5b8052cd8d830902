"""Batches to threads, where that is faster: on the CPU, each batch on a thread that computes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")


def workers_on(device: str) -> int:
    """Returns how many items `results_of` has in work at once."""
    return torch.get_num_threads() if torch.device(device).type == "cpu" else 1


def results_of(function: Callable[[Item], Result], items: Iterable[Item], device: str) -> Iterator[Result]:
    """Yields what a function makes of each item, in their order; on the CPU as many at once as torch may use threads.

    A recurrent network multiplies a small matrix a frame. Threads that share it wait for each other at each; threads with
    a batch each never do. In the meantime torch computes with one thread wherever else it is called.

    Args:
        function: It leaves alone what other threads use. Modes of torch, such as inference, are a thread's own: it enters
            them itself.
        items: All are taken at once.
        device: 'cpu' or 'cuda', where one item comes after the other.
    """
    threads = workers_on(device)
    if threads == 1:
        yield from map(function, items)
        return
    torch.set_num_threads(1)  # what new threads begin with
    pool = ThreadPoolExecutor(threads, thread_name_prefix="batch")
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
