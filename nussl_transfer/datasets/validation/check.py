"""Check a data set before training: what it holds, and what is wrong with it.

A check of headers finds unreadable files, missing stems, and files that do not fit together. A deep check decodes every
file as well, and finds cut files, NaN, silence, DC offsets, clipping, and mixtures that are not the sum of their stems.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from ...audio.levels import ACTIVITY_BLOCK
from ...errors import ConfigError, DataError
from ..options import StemOptions
from ..tracks import Track, labels_of
from .duplicates import find_duplicate_audio, same_origins
from .findings import LEVELS, ExcerptCount, Finding, Inspection, StemRow
from .stems import (
    SILENCE,
    decoded_row,
    findings_of_row,
    header_row,
    low_rates,
    silent_stem,
    silent_stems,
)
from .tracks import check_mixture, findings_of_tracks, missing_stems

__all__ = ["SILENCE", "check", "missing_stems", "silent_stem"]

PAPER_SECONDS = 10.0  # length of a mixture in the paper


def check(
    tracks: Sequence[Track],
    deep: bool = False,
    sample_rate: int | None = None,
    options: StemOptions | None = None,
    workers: int | None = None,
    progress: bool = True,
    seconds: float = PAPER_SECONDS,
) -> Inspection:
    """Check the files of a data set, and return what it holds and every fault at once.

    Args:
        tracks: The tracks.
        deep: Decode every file; else read headers only.
        sample_rate: Rate in Hz to train at, to warn about files with a lower rate.
        options: The options that the tracks were read with.
        workers: Threads; None for one per core.
        progress: Show a bar, on a terminal, when it takes longer than two seconds.
        seconds: Length of an excerpt, to count the excerpts.

    Raises:
        DataError: There are no tracks.
        ConfigError: ``seconds`` or ``workers`` is not above zero.
    """
    if not tracks:
        raise DataError("There are no tracks to check. Give a folder that holds stems.")
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"The length of an excerpt is {seconds} s. Give a number above 0.")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}. Give at least 1 thread.")
    options = options or StemOptions()
    jobs = [(track, label, path) for track in tracks for label, files in track.stems.items() for path in files]
    row_of = decoded_row if deep else header_row
    rows: list[StemRow] = []
    findings: list[Finding] = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        results = pool.map(lambda job: row_of(*job), jobs)
        for result in tqdm(results, "checking", len(jobs), delay=2, disable=None if progress else True, unit="file"):
            for found in result:
                (rows if isinstance(found, StemRow) else findings).append(found)
        if deep:
            compared = pool.map(check_mixture, tracks)
            findings += [finding for found in compared for finding in found]
    findings += [finding for row in rows for finding in findings_of_row(row)]
    findings += silent_stems(rows)
    findings += low_rates(rows, sample_rate or 0)
    findings += findings_of_tracks(tracks, rows, options.length_tolerance)
    findings += missing_stems(tracks, options.missing)
    findings += find_duplicate_audio(rows)
    findings += same_origins(tracks)
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return Inspection(rows, findings, usable_excerpts(tracks, rows, seconds))


def usable_excerpts(tracks: Sequence[Track], rows: Sequence[StemRow], seconds: float) -> list[ExcerptCount]:
    """Return, for each split, the number of consecutive excerpts of its tracks.

    Only tracks with all labels count; a track that is shorter than an excerpt counts as one. Where no track has all
    labels, as in a pool, the excerpts of each label are counted, because mixtures then combine tracks. If the files were
    decoded, the excerpts in which every source is active are counted as well.

    Args:
        tracks: The tracks.
        rows: Rows of their files.
        seconds: Length of an excerpt.
    """
    labels = labels_of(tracks)
    rows_of: dict[str, list[StemRow]] = {}
    for row in rows:
        rows_of.setdefault(row.track, []).append(row)
    whole = [track for track in tracks if {row.label for row in rows_of.get(track.name, [])} == set(labels)]
    kinds = [(tuple(labels), whole)] if whole else [((label,), [t for t in tracks if label in t.stems]) for label in labels]
    found = []
    for names, some in kinds:
        for split in dict.fromkeys(track.split for track in some):
            counts = [_count(rows_of[t.name], names, seconds) for t in some if t.split == split and t.name in rows_of]
            known = [active for _, active in counts if active is not None]
            sounding = sum(known) if len(known) == len(counts) else None
            label = None if whole else names[0]
            found.append(ExcerptCount(split, label, seconds, sum(n for n, _ in counts), sounding))
    return found


def _count(rows: Sequence[StemRow], labels: Sequence[str], seconds: float) -> tuple[int, int | None]:
    """Return the number of excerpts of a track, and of those in which all labels are active, if that is known."""
    length = min(row.seconds for row in rows)
    count = max(1, int(length / seconds + 1e-6))
    active = [(row.label, row.active) for row in rows if row.active is not None]
    if len(active) < len(rows):
        return count, None
    edges = np.arange(count + 1) * min(seconds, length)
    sounding = np.ones(count, dtype=bool)
    for label in labels:
        label_active = np.zeros(count, dtype=bool)
        for start, end in (span for own, spans in active if own == label for span in spans):
            # At least a tenth of a second must lie inside the excerpt.
            inside = np.minimum(end, edges[1:]) - np.maximum(start, edges[:-1])
            label_active |= inside >= min(ACTIVITY_BLOCK, end - start) - 1e-6
        sounding &= label_active
    return count, int(sounding.sum())
