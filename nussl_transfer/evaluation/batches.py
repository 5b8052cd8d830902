"""Excerpts that are scored together: which, and their audio."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import ConfigError
from ..mixing.excerpt import Excerpt, read_excerpt, sounds
from ..store.manifest import StoredTrack
from ..store.store import Store
from .excerpts import MixtureExcerpt

# 64 s at 16 kHz: enough for a network to be as fast as it gets on the CPU; some 300 MB with the paper's, each thread.
SAMPLES_AT_ONCE = 1_024_000
# Of what is read at once, this part at least is asked for; several excerpts may ask for the same.
ASKED_FOR = 0.5


def batches(excerpts: Sequence[MixtureExcerpt], size: int | None = None, workers: int = 1) -> Iterator[list[int]]:
    """Yields the places of excerpts in batches that are equally long, the length of the first one first.

    Args:
        excerpts: In any order.
        size: Excerpts in a batch; when None, at most as many as come to `SAMPLES_AT_ONCE`.
        workers: How many take batches side by side; without a size, each gets as many, and as large ones.

    Raises:
        ConfigError: ``size`` is below 1.
    """
    if size is not None and size < 1:
        raise ConfigError(f"Batches of {size} excerpts were asked for: take 1 at least.")
    of_length: dict[int, list[int]] = {}
    for place, excerpt in enumerate(excerpts):
        of_length.setdefault(excerpt.frames, []).append(place)
    for frames, places in of_length.items():
        count = size or max(1, SAMPLES_AT_ONCE // frames)
        if size is None:
            rounds = math.ceil(len(places) / (count * workers))
            count = math.ceil(len(places) / (rounds * workers))
        yield from (places[first : first + count] for first in range(0, len(places), count))


def load_excerpts(store: Store, excerpts: Sequence[MixtureExcerpt]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the references of equally long excerpts, and which of them sound.

    A reference sounds where the manifest says so: where any tenth of a second of it is above -60 dBFS. A label that a
    track does not have is silent. The mixture is the sum of the references.

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
            place = index, labels[source.label]
            references[place] = read_excerpt(nearby, source, excerpt.frames)
            sounding[place] = sounds(source) and np.ptp(references[place]) > 0
    return references, sounding


class _Nearby:
    """A store, of which the parts of a stem that lie close together are read at once: to open a file takes longest."""

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
            if len(sources) > 1 and sum(one.frames for one in sources) >= ASKED_FOR * frames:
                self.read_already[key] = first, store.read(track, label, first, frames)

    def read(self, track: StoredTrack, label: str, start: int, frames: int) -> np.ndarray:
        """Returns a part of one stem, float32 [frames]."""
        first, audio = self.read_already.get((track.name, label), (0, np.empty(0)))
        if first <= start and start + frames <= first + len(audio):
            return audio[start - first : start - first + frames]
        return self.store.read(track, label, start, frames)  # with what a vocoder needs around it, or alone
