"""Where an excerpt may start: anywhere in a track, or wherever enough of its stems sound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..store.manifest import StoredTrack
from ..store.store import ACTIVITY_BLOCK


class Pool:
    """Tracks, drawn in proportion to their weights: to their length, so that every second is as likely as any other."""

    def __init__(self, tracks: Sequence[StoredTrack], weights: Iterable[int] | None = None):
        self.tracks = list(tracks)
        self.ends = np.cumsum([track.frames for track in tracks] if weights is None else list(weights))

    def draw(self, rng: np.random.Generator) -> StoredTrack:
        """Returns one of the tracks."""
        return self.tracks[int(np.searchsorted(self.ends, rng.integers(self.ends[-1]), side="right"))]


class Places:
    """The places of a track at which an excerpt may start.

    Args:
        sample_rate: Of the store, in Hz.
        span: The part of every track that is used, as fractions of its length.
    """

    def __init__(self, sample_rate: int, span: tuple[float, float]):
        self.span = span
        self.block = max(1, round(ACTIVITY_BLOCK * sample_rate))

    def limits(self, track: StoredTrack) -> tuple[int, int]:
        """Returns the first sample that is used, and the one after the last."""
        first, end = (round(part * track.frames) for part in self.span)
        return first, end

    def everywhere(self, track: StoredTrack, frames: int) -> np.ndarray:
        """Returns every start that leaves room for so many frames; the first alone where there is no room.

        Shape:
            int64 [1, 2]: first start, and the one after the last
        """
        first, end = self.limits(track)
        return np.array([[first, max(first, end - frames) + 1]])

    def sounding(self, track: StoredTrack, labels: Iterable[str], frames: int, at_least: int) -> np.ndarray:
        """Returns the starts from which at least so many of these stems sound within so many frames.

        A stem sounds in an excerpt that holds a tenth of a second of it which the manifest counts as sounding.

        Shape:
            int64 [n, 2]: starts, from the first to before the second; apart and in order
        """
        (first, last) = self.everywhere(track, frames)[0]
        kept = min(frames, self.limits(track)[1] - first)
        found = []
        for label in labels:
            active = np.array(track.stems[label].active, dtype=np.int64).reshape(-1, 2)
            needed = np.minimum(min(self.block, kept), active[:, 1] - active[:, 0])
            starts = np.stack([active[:, 0] + needed - kept, active[:, 1] - needed + 1], axis=1)
            found.append(covered(starts.clip(first, last), 1))
        return covered(np.concatenate(found), at_least)

    def sounds(self, track: StoredTrack, label: str, start: int, frames: int) -> bool:
        """Returns whether a stem sounds in the excerpt from ``start`` on, as `sounding` has it."""
        return any(low <= start < high for low, high in self.sounding(track, [label], frames, 1))


def covered(intervals: np.ndarray, at_least: int) -> np.ndarray:
    """Returns where at least so many intervals lie over each other.

    Shape:
        int64 [n, 2] -> int64 [m, 2], apart and in order

    >>> covered(np.array([[0, 4], [2, 6], [8, 9]]), 2)
    array([[2, 4]])
    >>> covered(np.array([[0, 4], [4, 6], [8, 9]]), 1)
    array([[0, 6],
           [8, 9]])
    """
    edges, where = np.unique(intervals.ravel(), return_inverse=True)
    steps = np.bincount(where[::2], minlength=len(edges)) - np.bincount(where[1::2], minlength=len(edges))
    inside = np.concatenate([[False], np.cumsum(steps) >= at_least])
    return edges[np.flatnonzero(np.diff(inside))].reshape(-1, 2)


def draw_start(rng: np.random.Generator, starts: np.ndarray) -> int:
    """Returns one of the starts, each as likely as any other.

    Shape:
        starts int64 [n, 2], as from `Places`
    """
    if len(starts) == 1:
        return int(rng.integers(starts[0, 0], starts[0, 1]))
    ends = np.cumsum(starts[:, 1] - starts[:, 0])
    number = int(rng.integers(ends[-1]))
    which = int(np.searchsorted(ends, number, side="right"))
    return int(starts[which, 1] - (ends[which] - number))


def count(starts: np.ndarray) -> int:
    """Returns how many starts there are."""
    return int((starts[:, 1] - starts[:, 0]).sum())
