"""Group excerpts into batches, read their audio, and run a function over the batches on several threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from ..errors import ConfigError
from ..mixing.excerpt import Excerpt, read_excerpt, sounds
from ..store.manifest import MIXTURE, StoredTrack
from ..store.store import Store
from .excerpts import MixtureExcerpt

Item = TypeVar("Item")
Result = TypeVar("Result")

# Samples in a batch: 64 s at 16 kHz. Larger batches make a network on the CPU no faster. With the paper's network, a batch
# takes about 300 MB in each thread.
SAMPLES_AT_ONCE = 1_024_000
# Excerpts of one stem are read in one piece if they cover at least this share of it.
COVERED = 0.5


def batches(excerpts: Sequence[MixtureExcerpt], size: int | None = None, workers: int = 1) -> Iterator[list[int]]:
    """Yield the indices of excerpts in batches of equal length.

    Args:
        excerpts: The excerpts, in any order.
        size: Excerpts in a batch; by default as many as `SAMPLES_AT_ONCE` allows.
        workers: Number of threads; without ``size``, all threads get the same number of batches, of about equal size.

    Raises:
        ConfigError: ``size`` is below 1.
    """
    if size is not None and size < 1:
        raise ConfigError(f"batch_size is wrong: got {size}, expected 1 or more.")
    of_length: dict[int, list[int]] = {}
    for index, excerpt in enumerate(excerpts):
        of_length.setdefault(excerpt.frames, []).append(index)
    for frames, indices in of_length.items():
        count = size or max(1, SAMPLES_AT_ONCE // frames)
        if size is None:
            rounds = math.ceil(len(indices) / (count * workers))
            count = math.ceil(len(indices) / (rounds * workers))
        yield from (indices[first : first + count] for first in range(0, len(indices), count))


def load_excerpts(store: Store, excerpts: Sequence[MixtureExcerpt]) -> tuple[np.ndarray, np.ndarray]:
    """Return the references of equally long excerpts, and which of them sound.

    A reference sounds if any tenth of a second of it is above -60 dBFS by the manifest. A label that a track lacks is
    silent.

    Shape:
        float32 [nb, ns, samples], bool [nb, ns]
    """
    labels = {label: number for number, label in enumerate(store.labels)}
    shape = (len(excerpts), len(labels))
    references = np.zeros((*shape, excerpts[0].frames), dtype=np.float32)
    nearby = _Nearby(store, excerpts)
    sounding = np.zeros(shape, dtype=bool)
    for index, excerpt in enumerate(excerpts):
        for source in excerpt.sources:
            cell = index, labels[source.label]
            references[cell] = read_excerpt(nearby, source, excerpt.frames)
            sounding[cell] = sounds(source) and np.ptp(references[cell]) > 0
    return references, sounding


def load_mixtures(store: Store, excerpts: Sequence[MixtureExcerpt], references: np.ndarray) -> np.ndarray:
    """Return the mixtures of equally long excerpts: the store's own mixtures if it has them, else sums of references.

    Shape:
        references [nb, ns, samples]; out float32 [nb, samples]
    """
    mixtures = references.sum(axis=1)
    for index, excerpt in enumerate(excerpts):
        source, *others = excerpt.sources
        alike = all((one.track.name, one.start) == (source.track.name, source.start) for one in others)
        if source.track.mixture is not None and alike:
            mixtures[index] = read_excerpt(store, replace(source, label=MIXTURE), excerpt.frames)
    return mixtures


class _Nearby:
    """A store that reads nearby excerpts of a stem in one piece, because opening a file is the slowest part."""

    def __init__(self, store: Store, excerpts: Sequence[MixtureExcerpt]):
        self.store, self.sample_rate = store, store.sample_rate
        asked: dict[tuple[str, str], list[Excerpt]] = {}
        for excerpt in excerpts:
            for source in excerpt.sources:
                asked.setdefault((source.track.name, source.label), []).append(source)
        self.read_already: dict[tuple[str, str], tuple[int, np.ndarray]] = {}
        for key, sources in asked.items():
            track, label = sources[0].track, sources[0].label
            first, last = min(one.start for one in sources), max(one.start + one.frames for one in sources)
            frames = min(last, track.frames) - first
            if len(sources) > 1 and sum(one.frames for one in sources) >= COVERED * frames:
                self.read_already[key] = first, store.read(track, label, first, frames)

    def read(self, track: StoredTrack, label: str, start: int, frames: int) -> np.ndarray:
        """Return a part of one stem, float32 [frames]."""
        first, audio = self.read_already.get((track.name, label), (0, np.empty(0)))
        if first <= start and start + frames <= first + len(audio):
            return audio[start - first : start - first + frames]
        return self.store.read(track, label, start, frames)  # a single excerpt, or one with context for the vocoder


def count_workers(device: str) -> int:
    """Return how many threads `map_batches` uses on a device."""
    return torch.get_num_threads() if torch.device(device).type == "cpu" else 1


def map_batches(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    device: str,
    done: Callable[[Result], object] = lambda result: None,
) -> list[Result]:
    """Apply a function to all items, and return the results in order; on the CPU, several threads process the items.

    A recurrent network multiplies one small matrix per frame. Threads that share the multiplication wait for each other at
    each frame; threads that process a batch each do not. While this function runs, torch computes with one thread
    everywhere in the process. It returns a list instead of a generator, so that the number of threads is always restored.

    Args:
        function: It must be thread-safe, and must enter torch's modes, such as inference mode, itself.
        items: Its arguments.
        device: 'cpu', or another device, which processes one item after the other.
        done: Called with each result, in order.
    """
    threads = count_workers(device)
    results = []
    if threads == 1:
        for result in map(function, items):
            results.append(result)
            done(result)
        return results
    torch.set_num_threads(1)  # new threads start with this number
    pool = ThreadPoolExecutor(threads, thread_name_prefix="batch")
    try:
        for result in pool.map(function, items):
            results.append(result)
            done(result)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
    return results
