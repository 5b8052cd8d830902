"""Define where a stem is active: the one definition for the store's manifest, the mixtures and `check`."""

from __future__ import annotations

import numpy as np

# A stem is active in a block of this many seconds whose power is above this level. -60 dBFS is below the quietest note
# of the recordings that this was tried on, and above the noise of a rendered or edited silence.
ACTIVITY_BLOCK = 0.1
ACTIVITY_DBFS = -60.0


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


def active_stretches(powers: np.ndarray, sample_rate: int, frames: int) -> np.ndarray:
    """Return where a signal is active, as start and end of each stretch in samples; the end is exclusive.

    Args:
        powers: Mean square of each block, as of `block_powers`.
        sample_rate: In Hz.
        frames: Length of the signal.

    Shape:
        [blocks] -> int64 [stretches, 2]

    >>> active_stretches(np.array([0.0, 0.1, 0.1, 0.0, 0.1]), sample_rate=100, frames=45).tolist()
    [[10, 30], [40, 45]]
    """
    active = powers > 10 ** (ACTIVITY_DBFS / 10)
    # A stretch starts or ends where neighbouring blocks differ; padding makes both ends of the signal such places.
    changes = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]])))
    return np.minimum(changes * block_length(sample_rate), frames).reshape(-1, 2)
