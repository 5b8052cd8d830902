"""Define where a signal is active: the one definition for the store's manifest, the mixtures, `check` and `separate`."""

from __future__ import annotations

import numpy as np

# A stem is active in every block of this many seconds whose power is above this level. -60 dBFS is below the quietest note
# of the recordings that this was tried on, and above the noise of a rendered or edited silence.
ACTIVITY_BLOCK = 0.1
ACTIVITY_DBFS = -60.0
_ACTIVITY_POWER = 10 ** (ACTIVITY_DBFS / 10)


def block_length(sample_rate: int) -> int:
    """Return the samples in a block of `ACTIVITY_BLOCK` seconds."""
    return max(1, round(ACTIVITY_BLOCK * sample_rate))


def block_powers(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the mean square of each block of a signal; the last block may be shorter.

    Shape:
        [frames] -> float64 [blocks]
    """
    step = block_length(sample_rate)
    edges = np.arange(0, len(audio), step)
    return np.add.reduceat(np.square(audio, dtype=np.float64), edges) / np.minimum(step, len(audio) - edges)


def active_spans(powers: np.ndarray, sample_rate: int, frames: int) -> np.ndarray:
    """Return the spans in which a signal is active, as start and end (exclusive) in samples.

    Args:
        powers: Mean square of each block, from `block_powers`.
        sample_rate: In Hz.
        frames: Length of the signal.

    Shape:
        [blocks] -> int64 [spans, 2]

    >>> active_spans(np.array([0.0, 0.1, 0.1, 0.0, 0.1]), sample_rate=100, frames=45).tolist()
    [[10, 30], [40, 45]]
    """
    active = powers > _ACTIVITY_POWER
    # A span starts or ends where neighbouring blocks differ. The padding ends a span that touches an end of the signal.
    changes = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]])))
    return np.minimum(changes * block_length(sample_rate), frames).reshape(-1, 2)


class Activity:
    """Tell whether a signal that arrives in pieces is active in any block of any channel.

    Args:
        sample_rate: In Hz.

    Examples:
        >>> activity = Activity(sample_rate=100)
        >>> for piece in (np.zeros((7, 1)), np.full((7, 1), 0.1)):
        ...     activity.push(piece)
        >>> activity.found()
        True
    """

    def __init__(self, sample_rate: int):
        self.sample_rate = sample_rate
        self._found = False
        self._rest: np.ndarray | None = None  # the samples of an incomplete block

    def push(self, piece: np.ndarray) -> None:
        """Add samples at the end.

        Shape:
            [frames, nc]
        """
        if self._found:
            return
        audio = piece if self._rest is None else np.concatenate([self._rest, piece])
        whole = len(audio) - len(audio) % block_length(self.sample_rate)
        self._found = self._any(audio[:whole])
        self._rest = audio[whole:].copy()

    def found(self) -> bool:
        """Return whether any block so far is active; the last one may be shorter."""
        return self._found or (self._rest is not None and self._any(self._rest))

    def _any(self, audio: np.ndarray) -> bool:
        if not len(audio):
            return False
        return any(bool((block_powers(channel, self.sample_rate) > _ACTIVITY_POWER).any()) for channel in audio.T)
