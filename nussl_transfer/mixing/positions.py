"""Find where an excerpt can start: anywhere in a track, or wherever enough of its stems are active."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..audio.levels import block_length
from ..store.manifest import StoredTrack


class Pool:
    """Draw tracks in proportion to their weights.

    Args:
        tracks: The tracks.
        weights: Whole numbers; None: the lengths of the tracks, so that every second of music is equally likely.
    """

    def __init__(self, tracks: Sequence[StoredTrack], weights: Iterable[int] | None = None):
        self.tracks = list(tracks)
        self.ends = np.cumsum([track.frames for track in tracks] if weights is None else list(weights))

    def draw(self, rng: np.random.Generator) -> StoredTrack:
        """Draw one track."""
        return self.tracks[int(np.searchsorted(self.ends, rng.integers(self.ends[-1]), side="right"))]


class Positions:
    """List the starts of excerpts in a track.

    Args:
        sample_rate: Rate of the store in Hz.
        span: The part of every track that is used, as fractions of its length.
    """

    def __init__(self, sample_rate: int, span: tuple[float, float]):
        self.span = span
        self.block = block_length(sample_rate)

    def limits(self, track: StoredTrack) -> tuple[int, int]:
        """Return the first sample that is used, and the one after the last."""
        first, end = (round(part * track.frames) for part in self.span)
        return first, end

    def starts(self, track: StoredTrack, frames: int) -> np.ndarray:
        """Return every start that leaves room for an excerpt; only the first sample where the track is too short.

        Args:
            track: The track.
            frames: Length of the excerpt in samples.

        Shape:
            int64 [1, 2]: first start, and the one after the last
        """
        first, end = self.limits(track)
        return np.array([[first, max(first, end - frames) + 1]])

    def active_starts(self, track: StoredTrack, labels: Iterable[str], frames: int, at_least: int) -> np.ndarray:
        """Return the starts of all excerpts in which enough stems are active.

        A stem is active in an excerpt that contains a tenth of a second in which the manifest lists it as active.

        Args:
            track: The track.
            labels: The stems that count.
            frames: Length of the excerpt in samples.
            at_least: How many of these stems must be active.

        Shape:
            int64 [n, 2]: intervals [first start, one after the last), disjoint and in order
        """
        (first, last) = self.starts(track, frames)[0]
        kept = min(frames, self.limits(track)[1] - first)
        found = []
        for label in labels:
            active = np.array(track.stems[label].active, dtype=np.int64).reshape(-1, 2)
            needed = np.minimum(min(self.block, kept), active[:, 1] - active[:, 0])
            starts = np.stack([active[:, 0] + needed - kept, active[:, 1] - needed + 1], axis=1)
            found.append(covered(starts.clip(first, last), 1))
        return covered(np.concatenate(found), at_least)

    def is_active(self, track: StoredTrack, label: str, start: int, frames: int) -> bool:
        """Return whether a stem is active in the excerpt that begins at ``start``."""
        return any(low <= start < high for low, high in self.active_starts(track, [label], frames, 1))


def covered(intervals: np.ndarray, at_least: int) -> np.ndarray:
    """Return where at least ``at_least`` intervals overlap.

    Shape:
        int64 [n, 2] -> int64 [m, 2], disjoint and in order

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
    """Draw a start, each with equal probability.

    Shape:
        starts int64 [n, 2], as from `Positions`
    """
    if len(starts) == 1:
        return int(rng.integers(starts[0, 0], starts[0, 1]))
    ends = np.cumsum(starts[:, 1] - starts[:, 0])
    number = int(rng.integers(ends[-1]))
    which = int(np.searchsorted(ends, number, side="right"))
    return int(starts[which, 1] - (ends[which] - number))


def count(starts: np.ndarray) -> int:
    """Count the starts in a list of intervals."""
    return int((starts[:, 1] - starts[:, 0]).sum())
