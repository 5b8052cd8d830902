"""How many excerpts a data set has, and in how many of them every source sounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...audio.levels import ACTIVITY_BLOCK
from ..base import Track
from ..labels import labels_of
from .findings import StemRow, Usable


def usable_excerpts(tracks: Sequence[Track], rows: Sequence[StemRow], seconds: float) -> list[Usable]:
    """Returns, for each split, how many excerpts side by side its tracks have.

    Of tracks with all labels; a track that is shorter than an excerpt is one, whole. Where no track has all of them,
    as in a pool of stems, they are counted for each label: mixtures are made of different tracks then. In which of
    them every source sounds is known where the files were decoded.

    Args:
        tracks: The tracks.
        rows: Of their files.
        seconds: Length of an excerpt.
    """
    labels = labels_of(tracks)
    mine: dict[str, list[StemRow]] = {}
    for row in rows:
        mine.setdefault(row.track, []).append(row)
    whole = [track for track in tracks if {row.label for row in mine.get(track.name, [])} == set(labels)]
    kinds = [(tuple(labels), whole)] if whole else [((label,), [t for t in tracks if label in t.stems]) for label in labels]
    found = []
    for names, some in kinds:
        for split in dict.fromkeys(track.split for track in some):
            counts = [_count(mine[t.name], names, seconds) for t in some if t.split == split and t.name in mine]
            sounding = None if any(s is None for _, s in counts) else sum(s for _, s in counts)
            label = None if whole else names[0]
            found.append(Usable(split, label, seconds, sum(n for n, _ in counts), sounding))
    return found


def _count(rows: Sequence[StemRow], labels: Sequence[str], seconds: float) -> tuple[int, int | None]:
    length = min(row.seconds for row in rows)
    count = max(1, int(length / seconds + 1e-6))
    if any(row.active is None for row in rows):
        return count, None
    edges = np.arange(count + 1) * min(seconds, length)
    sounding = np.ones(count, dtype=bool)
    for label in labels:
        heard = np.zeros(count, dtype=bool)
        for start, end in (span for row in rows if row.label == label for span in row.active):
            # A tenth of a second at least: what only touches an excerpt is not heard in it.
            inside = np.minimum(end, edges[1:]) - np.maximum(start, edges[:-1])
            heard |= inside >= min(ACTIVITY_BLOCK, end - start) - 1e-6
        sounding &= heard
    return count, int(sounding.sum())
