"""Before anything is trained: what is in a data set, and what is wrong with it.

A header-only look finds what cannot be read, what is missing and what does not fit together; a deep one
decodes every file and finds what cannot be heard, or should not be: cut files, NaN, silence, DC, clipping,
mixtures that are not the sum of their stems.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from ...errors import DataError
from ..base import Track
from ..options import StemOptions
from .duplicates import find_duplicate_audio, same_origins
from .excerpts import usable_excerpts
from .findings import LEVELS, Finding, Inspection, StemRow
from .stems import SILENCE, decoded_row, findings_of_row, header_row, low_rates, silent_stem, silent_stems
from .tracks import check_mixture, findings_of_tracks, missing_stems

__all__ = ["SILENCE", "check", "missing_stems", "silent_stem"]

PAPER_SECONDS = 10.0  # a mixture of the paper


def check(
    tracks: Sequence[Track],
    deep: bool = False,
    sample_rate: int | None = None,
    options: StemOptions | None = None,
    workers: int | None = None,
    progress: bool = True,
    seconds: float = PAPER_SECONDS,
) -> Inspection:
    """Looks at the files of a data set and returns what is there and what is wrong.

    Args:
        tracks: The tracks.
        deep: Decode every file; else read headers only.
        sample_rate: Rate in Hz that is to be trained at, to say where files have less.
        options: The options that the tracks were read with.
        workers: Threads; None for as many as there are cores.
        progress: Show a bar, on a terminal, when it takes longer than two seconds.
        seconds: Length of an excerpt, to count those that there are.

    Raises:
        DataError: There are no tracks.
    """
    if not tracks:
        raise DataError("A data set without tracks was to be inspected. Give a folder that holds stems.")
    options = options or StemOptions()
    jobs = [(track, label, path) for track in tracks for label, files in track.stems.items() for path in files]
    look = decoded_row if deep else header_row
    rows: list[StemRow] = []
    findings: list[Finding] = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        seen = pool.map(lambda job: look(*job), jobs)
        for found in tqdm(seen, "checking", len(jobs), delay=2, disable=None if progress else True, unit="file"):
            (rows if isinstance(found, StemRow) else findings).append(found)
        if deep:
            findings += [finding for found in pool.map(check_mixture, tracks) for finding in found]
    findings += [finding for row in rows for finding in findings_of_row(row)]
    findings += silent_stems(rows)
    findings += low_rates(rows, sample_rate or 0)
    findings += findings_of_tracks(tracks, rows, options.length_tolerance)
    findings += missing_stems(tracks, options.missing)
    findings += find_duplicate_audio(rows)
    findings += same_origins(tracks)
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return Inspection(rows, findings, usable_excerpts(tracks, rows, seconds))
