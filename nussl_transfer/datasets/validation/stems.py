"""One file of a stem: what its header says, and, decoded, how it sounds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...audio.io import Header, blocks, header
from ...audio.levels import active_stretches, block_length
from ...errors import AudioFileError
from ..base import Track
from .findings import Finding, StemRow

# Full scale below which a stem is silence: 3 steps of a 16-bit file, so that dither does not count as sound.
SILENCE = 1e-4
# Bach10's stems have an offset of 1 % of full scale, a clean recording one of less than 0.01 %.
DC_OFFSET = 1e-3


def silent_stem(track: str, label: str) -> Finding:
    """Returns the error for a stem in which nothing sounds."""
    what_to_do = "Export it again, pass over it with `ignore`, or say silent='keep' or silent='skip'."
    return Finding("error", track, label, f"is silent (below {SILENCE:g} of full scale throughout)", what_to_do)


def header_row(track: Track, label: str, path: Path) -> StemRow | Finding:
    """Returns what the header of a stem's file says, or what is wrong with it."""
    try:
        head: Header = header(path)
    except AudioFileError as error:
        return Finding("error", track.name, label, f"{path} {error.what}", error.what_to_do)
    return StemRow(track.name, label, str(path), head.sample_rate, head.channels, head.seconds, head.subtype, track.split)


def decoded_row(track: Track, label: str, path: Path) -> StemRow | Finding:
    """Returns what is heard in a stem's file, or what is wrong with it."""
    row = header_row(track, label, path)
    if isinstance(row, Finding):
        return row
    levels = _Levels(block_length(row.sample_rate))
    try:
        for block in blocks(path):
            levels.add(block)
    except AudioFileError as error:
        return Finding("error", track.name, label, f"{path} {error.what}", error.what_to_do)
    return levels.of(row)


class _Levels:
    """What is gathered of a file while it passes, block by block."""

    def __init__(self, step: int):
        self.step, self.frames, self.clipped = step, 0, 0
        self.total, self.power, self.peak, self.low, self.high = 0.0, 0.0, 0.0, np.inf, -np.inf
        self.digest = hashlib.blake2b(digest_size=16)
        self.rest, self.sounding = np.zeros(0), []

    def add(self, block: np.ndarray) -> None:
        mono = block.mean(axis=1, dtype=np.float64)
        self.frames += len(block)
        self.total += mono.sum()
        self.power += np.square(mono).sum()
        self.low, self.high = min(self.low, mono.min()), max(self.high, mono.max())
        full = np.abs(block) >= 1 - 2**-15
        self.peak = max(self.peak, float(np.abs(block).max()))
        # The top of a slow wave may be two or three samples at full scale; four in a row were cut off.
        self.clipped += int((full[3:] & full[2:-1] & full[1:-2] & full[:-3]).any(axis=1).sum())
        self.digest.update(np.ascontiguousarray(block))
        power = np.concatenate([self.rest, np.square(mono)])
        whole = len(power) // self.step * self.step
        self.sounding.append(power[:whole].reshape(-1, self.step).mean(axis=1))
        self.rest = power[whole:]

    def of(self, row: StemRow) -> StemRow:
        mean = self.total / self.frames
        peak = 0.0 if max(self.high - mean, mean - self.low) < SILENCE else self.peak  # an offset is no sound
        rms = float(np.sqrt(max(0.0, self.power / self.frames - mean**2)))
        powers = np.concatenate([*self.sounding, [self.rest.mean()] if len(self.rest) else []])
        stretches = active_stretches(powers - mean**2, row.sample_rate, self.frames)
        seconds = self.frames / row.sample_rate
        ends = np.minimum(np.round(stretches / row.sample_rate, 2), seconds)
        return replace(
            row, seconds=seconds, rms=rms, peak=peak, mean=float(mean), clipped=self.clipped,
            digest=self.digest.hexdigest(), active=tuple(map(tuple, ends.tolist())),
        )  # fmt: skip


def silent_stems(rows: Sequence[StemRow]) -> list[Finding]:
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


def low_rates(rows: Sequence[StemRow], sample_rate: int) -> list[Finding]:
    """Returns a warning for each rate below the one that is to be trained at."""
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


def findings_of_row(row: StemRow) -> list[Finding]:
    """Returns what there is to say of one file: an offset, clipping."""
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
