"""Before anything is trained: what is in a data set, and what is wrong with it.

A header-only look finds what cannot be read, what is missing and what does not fit together; a deep one
decodes every file and finds what cannot be heard, or should not be: cut files, NaN, silence, DC, clipping,
mixtures that are not the sum of their stems.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .audio import LENGTH_TOLERANCE, AudioFileError, Header, blocks, header, too_unequal
from .datasets import Track, counted, labels_of, missing_labels
from .datasets.units import few
from .errors import DataError
from .inspection import LEVELS, Finding, Inspection, StemRow

# Full scale below which a stem is silence: 3 steps of a 16-bit file, so that dither does not count as sound.
SILENCE = 1e-4
# Bach10's stems have an offset of 1 % of full scale, a clean recording one of less than 0.01 %.
DC_OFFSET = 1e-3
# A residual above this (dB, relative to the mixture) is another mix, not rounding or a codec.
MIXTURE_RESIDUAL = -20.0
UNEQUAL = "Export them from the same start to the same end; if they do not belong together, say layout='pool'."


def inspect(
    tracks: Sequence[Track],
    deep: bool = False,
    sample_rate: int | None = None,
    length_tolerance: float = LENGTH_TOLERANCE,
    workers: int | None = None,
    progress: bool = True,
) -> Inspection:
    """Looks at the files of a data set and returns what is there and what is wrong.

    Args:
        tracks: The tracks.
        deep: Decode every file; else read headers only.
        sample_rate: Rate in Hz that is to be trained at, to say where files have less.
        length_tolerance: How much shorter than the longest a stem may be, as a share.
        workers: Threads; None for as many as there are cores.
        progress: Show a bar, on a terminal, when it takes longer than two seconds.

    Raises:
        DataError: There are no tracks.
    """
    if not tracks:
        raise DataError("A data set without tracks was to be inspected. Give a folder that holds stems.")
    jobs = [(track, label, path) for track in tracks for label, files in track.stems.items() for path in files]
    look = _decoded_row if deep else _header_row
    rows: list[StemRow] = []
    findings: list[Finding] = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        seen = pool.map(lambda job: look(*job), jobs)
        for found in tqdm(seen, "checking", len(jobs), delay=2, disable=None if progress else True, unit="file"):
            (rows if isinstance(found, StemRow) else findings).append(found)
        if deep:
            findings += [finding for found in pool.map(_check_mixture, tracks) for finding in found]
    findings += [finding for row in rows for finding in _findings_of_row(row)]
    findings += _silent_stems(rows)
    findings += _low_rates(rows, sample_rate or 0)
    findings += _findings_of_tracks(tracks, rows, length_tolerance)
    findings += missing_stems(tracks)
    return Inspection(rows, sorted(findings, key=lambda finding: LEVELS.index(finding.level)))


def missing_stems(tracks: Sequence[Track]) -> list[Finding]:
    """Returns an error for each track that lacks a label which others have; a warning if one label is all."""
    labels = labels_of(tracks)
    counts = Counter(label for track in tracks for label in track.stems)
    advice = (
        f"The labels are {counted(counts, len(tracks))}. Add the stem, pass over a label with `ignore`, merge labels "
        "with `groups`, or leave such tracks out with missing='skip'."
    )
    found = [
        Finding("error", name, None, f"lacks {', '.join(missing)}", advice)
        for name, missing in missing_labels(tracks).items()
    ]
    if len(labels) == 1:
        what = f"there is one label only, {labels[0]}"
        found.append(Finding("warning", None, labels[0], what, "To separate takes two: look for stems left out."))
    return found


def silent_stem(track: str, label: str) -> Finding:
    """Returns the error for a stem in which nothing sounds."""
    what_to_do = "Export it again, pass over it with `ignore`, or say silent='keep' or silent='skip'."
    return Finding("error", track, label, f"is silent (below {SILENCE:g} of full scale throughout)", what_to_do)


def _header_row(track: Track, label: str, path: Path) -> StemRow | Finding:
    try:
        head: Header = header(path)
    except AudioFileError as error:
        return Finding("error", track.name, label, f"{path} {error.what}", error.what_to_do)
    return StemRow(track.name, label, str(path), head.sample_rate, head.channels, head.seconds, head.subtype)


def _decoded_row(track: Track, label: str, path: Path) -> StemRow | Finding:
    row = _header_row(track, label, path)
    if isinstance(row, Finding):
        return row
    frames, total, power, peak, clipped = 0, 0.0, 0.0, 0.0, 0
    low, high = np.inf, -np.inf
    try:
        for block in blocks(path):
            mono = block.mean(axis=1, dtype=np.float64)
            frames += len(block)
            total += mono.sum()
            power += np.square(mono).sum()
            low, high = min(low, mono.min()), max(high, mono.max())
            full = np.abs(block) >= 1 - 2**-15
            peak = max(peak, float(np.abs(block).max()))
            # The top of a slow wave may be two or three samples at full scale; four in a row were cut off.
            clipped += int((full[3:] & full[2:-1] & full[1:-2] & full[:-3]).any(axis=1).sum())
    except AudioFileError as error:
        return Finding("error", track.name, label, f"{path} {error.what}", error.what_to_do)
    mean = total / frames
    if max(high - mean, mean - low) < SILENCE:
        peak = 0.0  # an offset is no sound
    rms = float(np.sqrt(max(0.0, power / frames - mean**2)))
    return replace(row, seconds=frames / row.sample_rate, rms=rms, peak=peak, mean=float(mean), clipped=clipped)


def _silent_stems(rows: Sequence[StemRow]) -> list[Finding]:
    """Returns an error for each stem that is silent; a note for each silent file beside one that sounds."""
    peaks: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row.peak is not None:
            peaks.setdefault((row.track, row.label), {})[row.file] = row.peak
    found = []
    for (track, label), files in peaks.items():
        silent = [Path(file).name for file, peak in files.items() if peak < SILENCE]
        if len(silent) == len(files):
            found.append(silent_stem(track, label))
        elif silent:
            found.append(Finding("note", track, label, f"of its files these are silent: {', '.join(silent)}"))
    return found


def _low_rates(rows: Sequence[StemRow], sample_rate: int) -> list[Finding]:
    low = Counter(row.sample_rate for row in rows if row.sample_rate < sample_rate)
    return [
        Finding(
            "warning",
            None,
            None,
            f"{count} of {len(rows)} files have {rate} Hz, less than the {sample_rate} Hz asked for",
            f"Look for better copies, or work at {rate} Hz: above {rate // 2} Hz they hold nothing.",
        )
        for rate, count in sorted(low.items())
    ]


def _findings_of_row(row: StemRow) -> list[Finding]:
    name, found = Path(row.file).name, []
    if row.peak is None:
        return found
    if abs(row.mean) > DC_OFFSET:
        what = f"{name} has a DC offset of {row.mean:.2%} of full scale"
        found.append(Finding("note", row.track, row.label, what, "A store has it removed."))
    if row.clipped:
        what = f"{name} is clipped at {row.clipped} samples"
        found.append(Finding("warning", row.track, row.label, what, "Export it with a lower gain."))
    return found


def _findings_of_tracks(tracks: Sequence[Track], rows: Sequence[StemRow], tolerance: float) -> list[Finding]:
    found = []
    rows_of: dict[str, list[StemRow]] = {}
    for row in rows:
        rows_of.setdefault(row.track, []).append(row)
    for track in tracks:
        mine = rows_of.get(track.name, [])
        rates = sorted({row.sample_rate for row in mine})
        lengths = [row.seconds for row in mine]
        if len(rates) > 1:
            what = f"its files have different rates, {', '.join(map(str, rates))} Hz"
            found.append(Finding("note", track.name, None, what, "A store has them resampled to one."))
        if mine and max(lengths) > min(lengths):
            listed = ", ".join(f"{Path(row.file).name} {row.seconds:.2f} s" for row in mine)
            if too_unequal(lengths, tolerance):
                what, what_to_do = f"its stems differ in length: {listed}", UNEQUAL
                found.append(Finding("error", track.name, None, what, what_to_do))
            else:
                what, what_to_do = (
                    f"its stems differ a little in length: {listed}",
                    "The shorter get silence.",
                )
                found.append(Finding("note", track.name, None, what, what_to_do))
        if track.left_out:
            names = few(path.name for path in track.left_out)
            found.append(Finding("note", track.name, None, f"left out: {names}"))
    return found


def _check_mixture(track: Track) -> list[Finding]:
    """Compares a mixture file with the sum of its track's stems: gain, and residual in dB of the mixture."""
    if track.mixture is None:
        return []
    files = [path for paths in track.stems.values() for path in paths]
    name = track.mixture.name
    try:
        heads = [header(path) for path in (track.mixture, *files)]
        if len({(head.sample_rate, head.frames) for head in heads}) > 1:
            what = f"{name} has another rate or length than the stems"
            return [Finding("note", track.name, None, what, "It is not used: mixtures are summed from stems.")]
        products = np.zeros(3)
        for mix, *stems in zip(*map(blocks, (track.mixture, *files)), strict=True):
            mono = mix.mean(axis=1, dtype=np.float64)
            summed = sum(stem.mean(axis=1, dtype=np.float64) for stem in stems)
            products += mono @ mono, mono @ summed, summed @ summed
    except (AudioFileError, ValueError) as error:
        what = f"the mixture cannot be compared with its stems: {error}"
        return [Finding("warning", track.name, None, what.rstrip("."), "It is not used, so it may be removed.")]
    power, cross, summed = products
    if power == 0 or summed == 0:
        return []
    gain = cross / summed
    # At least one rounding's worth, so that an exact sum has a level too.
    residual = 10 * np.log10(max(1 - gain * cross / power, 1e-12))
    what = f"{name} is {gain:.3f} x the sum of the stems, residual {residual:.0f} dB"
    if residual > MIXTURE_RESIDUAL and not track.left_out:
        what_to_do = "It holds more than these stems (other stems, bleed, mastering). It is not used."
        return [Finding("warning", track.name, None, what, what_to_do)]
    return [Finding("note", track.name, None, what)]
