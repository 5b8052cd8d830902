"""Check one file of a stem: its header and, decoded, its level, silence, clipping, DC offset and channels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...audio.io import Header, align, blocks, header, mono, summed
from ...audio.levels import ACTIVITY_BLOCK, ACTIVITY_DBFS, active_spans, block_length
from ...errors import AudioFileError, DataError
from ..mixture_files import fit_mixture
from ..tracks import Track, cut
from .findings import Finding, StemRow

# A stem whose peak is below this share of full scale is silent: 3 steps of a 16-bit file, so that dither counts as silence.
SILENCE = 1e-4
# Bach10's stems have an offset of 1 % of full scale, a clean recording one of less than 0.01 %.
DC_OFFSET = 1e-3
# Full scale of a 16-bit file, and how many equal samples in a row at full scale count as clipping: a slow wave that just
# touches full scale may have two or three.
_FULL_SCALE, _CLIPPED_RUN = 1 - 2**-15, 4
# A mean over channels this many dB below the channels has lost most of the sound.
MONO_LOSS_DB = -20.0
# A peak above this means integer samples in a float file; no mix reaches +30 dBFS.
_INTEGERS = 30.0
_SILENT_ADVICE = (
    "Export it again, or skip its label (--ignore). `finetune` and `prepare` keep silent stems with --silent keep, "
    "and leave their tracks out with --silent skip. In Python: ignore and StemOptions(silent='keep')."
)


def silent_stem(track: str, label: str, cancels: bool = False) -> Finding:
    """Return the error for a silent stem, or for one whose channels cancel."""
    if cancels:
        what = "has channels that cancel: left is the negative of right, and a store takes their mean, which is zero"
        advice = "Invert one channel, or export the stem in mono."
        return Finding("error", track, label, what, advice)
    return Finding("error", track, label, f"is silent (below {SILENCE:g} of full scale throughout)", _SILENT_ADVICE)


def header_row(track: Track, label: str, path: Path) -> list[StemRow | Finding]:
    """Return the row of a stem's file as its header describes it, or what is wrong with the header."""
    try:
        head: Header = header(path)
    except AudioFileError as error:
        return [Finding("error", track.name, label, f"{path} {error.what}", error.what_to_do)]
    seconds = head.seconds
    if (span := track.spans.get(path)) is not None:
        seconds = (min(head.seconds, span[1]) if span[1] is not None else head.seconds) - span[0]
        if seconds <= 0:
            what = f"the part from {span[0]:g} s lies outside {path}, which has {head.seconds:.2f} s"
            return [Finding("error", track.name, label, what, "Correct start and end in the stem list.")]
    return [StemRow(track.name, label, str(path), head.sample_rate, head.channels, seconds, head.subtype, track.split)]


def decoded_row(track: Track, label: str, path: Path) -> list[StemRow | Finding]:
    """Return the row of a stem's file, measured on its samples, and what is wrong with them."""
    found = header_row(track, label, path)
    row = found[0]
    if isinstance(row, Finding):
        return found
    levels = _Levels(block_length(row.sample_rate))
    faults = []
    try:
        if label in track.minus:
            rest, fault = _rest(track, label, row.sample_rate)
            levels.add(rest[:, None])
            faults = [Finding("error", track.name, label, fault, "Look at both files in an audio editor.")] if fault else []
        else:
            for block in _blocks(track, path, row.sample_rate):
                levels.add(block)
    except AudioFileError as error:
        return [Finding("error", track.name, label, f"{path} {error.what}", error.what_to_do)]
    except DataError as error:
        return [Finding("error", track.name, label, str(error).rstrip("."))]
    return [levels.of(row), *faults]


def _blocks(track: Track, path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """Yield the blocks of a file, or of the part of it that is used."""
    start, end = track.spans.get(path, (0.0, None))
    first, last = round(start * sample_rate), None if end is None else round(end * sample_rate)
    passed = 0
    for block in blocks(path):
        part = block[max(0, first - passed) : None if last is None else max(0, last - passed)]
        passed += len(block)
        if len(part):
            yield part


def _rest(track: Track, label: str, sample_rate: int) -> tuple[np.ndarray, str]:
    """Return a mixture minus its stems, in mono, and what is wrong with it."""
    paths = [*track.stems[label], *track.minus[label]]
    signals = {path: cut(mono(path, sample_rate), sample_rate, track.spans.get(path)) for path in paths}
    signals = align(signals)
    mixture = summed(signals[path] for path in track.stems[label])
    stems = summed(signals[path] for path in track.minus[label])
    return mixture - stems, fit_mixture(mixture, stems, sample_rate).fault


class _Levels:
    """Gather the levels of a file block by block.

    Shape:
        blocks [frames, channels]
    """

    def __init__(self, step: int):
        self.step, self.frames, self.clipped = step, 0, 0
        self.total, self.power, self.peak, self.low, self.high = 0.0, 0.0, 0.0, np.inf, -np.inf
        self.channel_total, self.channel_power = 0.0, 0.0
        self.digest = hashlib.blake2b(digest_size=16)
        self.rest = np.zeros(0)
        self.active: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        mean = block.mean(axis=1, dtype=np.float64)
        self.frames += len(block)
        self.total += mean.sum()
        self.power += np.square(mean).sum()
        self.low, self.high = min(self.low, mean.min()), max(self.high, mean.max())
        self.channel_total += block.sum(axis=0, dtype=np.float64)
        self.channel_power += np.square(block, dtype=np.float64).sum(axis=0)
        self.peak = max(self.peak, float(np.abs(block).max()))
        self.clipped += _clipped(block)
        self.digest.update(np.ascontiguousarray(block).data)
        power = np.concatenate([self.rest, np.square(mean)])
        whole = len(power) // self.step * self.step
        self.active.append(power[:whole].reshape(-1, self.step).mean(axis=1))
        self.rest = power[whole:]

    def of(self, row: StemRow) -> StemRow:
        mean = self.total / self.frames
        variance = max(0.0, self.power / self.frames - mean**2)
        in_channels = float(np.mean(self.channel_power / self.frames - np.square(self.channel_total / self.frames)))
        mono_db = None
        if row.channels > 1 and in_channels > SILENCE**2:
            mono_db = float(10 * np.log10(max(variance / in_channels, 1e-12)))
        peak = 0.0 if max(self.high - mean, mean - self.low) < SILENCE else self.peak  # an offset alone is silence
        powers = np.concatenate([*self.active, [self.rest.mean()] if len(self.rest) else []])
        spans = active_spans(powers - mean**2, row.sample_rate, self.frames)
        seconds = self.frames / row.sample_rate
        ends = np.minimum(np.round(spans / row.sample_rate, 2), seconds)
        return replace(
            row, seconds=seconds, rms=float(np.sqrt(variance)), peak=peak, mean=float(mean), clipped=self.clipped,
            digest=self.digest.hexdigest(), active=tuple(map(tuple, ends.tolist())),
            mono_db=mono_db,
        )  # fmt: skip


def _clipped(block: np.ndarray) -> int:
    """Return the number of places where a channel stays at one value at full scale or above."""
    if len(block) < _CLIPPED_RUN:
        return 0
    full = np.abs(block[_CLIPPED_RUN - 1 :]) >= _FULL_SCALE
    if not full.any():
        return 0
    same = np.diff(block, axis=0) == 0
    stays = same[2:] & same[1:-1] & same[:-2]
    return int((full & stays).any(axis=1).sum())


def silent_stems(rows: Sequence[StemRow]) -> list[Finding]:
    """Return an error for each silent stem, a warning for each too quiet to be active, a note on single silent files."""
    stems: dict[tuple[str, str], list[StemRow]] = {}
    for row in rows:
        if row.peak is not None:
            stems.setdefault((row.track, row.label), []).append(row)
    found = []
    for (track, label), files in stems.items():
        silent = [row for row in files if row.peak is not None and row.peak < SILENCE]
        if len(silent) == len(files):
            found.append(silent_stem(track, label, cancels=any(row.mono_db is not None for row in files)))
        elif silent:
            names = ", ".join(Path(row.file).name for row in silent)
            found.append(Finding("note", track, label, f"some of its files are silent: {names}"))
        elif not any(row.active for row in files):
            rms = 20 * np.log10(max(1e-9, *(row.rms for row in files if row.rms is not None)))
            what = f"is never above {ACTIVITY_DBFS:g} dBFS (over {ACTIVITY_BLOCK:g} s; its RMS is {rms:.0f} dBFS)"
            advice = "Such a stem counts as silent where excerpts are drawn and scored. Export it louder."
            found.append(Finding("warning", track, label, what, advice))
    return found


def low_rates(rows: Sequence[StemRow], sample_rate: int) -> list[Finding]:
    """Return a warning for each sample rate below that of the training."""
    low = Counter(row.sample_rate for row in rows if row.sample_rate < sample_rate)
    return [
        Finding(
            "warning",
            None,
            None,
            f"{count} of {len(rows)} files have {rate} Hz, less than the {sample_rate} Hz to train at",
            f"Find copies of a higher rate, or train at {rate} Hz: the files hold nothing above {rate // 2} Hz.",
        )
        for rate, count in sorted(low.items())
    ]


def findings_of_row(row: StemRow) -> list[Finding]:
    """Return what is unusual in one file: an offset, clipping, levels above full scale, channels that nearly cancel."""
    name = Path(row.file).name
    found: list[Finding] = []
    if row.peak is None or row.mean is None:
        return found

    def add(level: str, what: str, advice: str) -> None:
        found.append(Finding(level, row.track, row.label, what, advice))

    if abs(row.mean) > DC_OFFSET:
        add("note", f"{name} has a DC offset of {row.mean:.2%} of full scale", "Preparing a store removes it.")
    # Samples stored as integers repeat at the top of every slow wave.
    if row.clipped and row.peak <= _INTEGERS:
        add("warning", f"{name} is clipped at {row.clipped} samples", "Export it with a lower gain.")
    if row.peak > _INTEGERS:
        what = f"{name} peaks at {row.peak:.0f} times full scale, as integer samples in a float file do"
        add("warning", what, "Divide its samples by 32768 (or 8388608 for 24 bits).")
    elif row.peak > 1:
        what = f"{name} peaks at {20 * np.log10(row.peak):+.1f} dBFS"
        add("note", what, "That is no fault in a float file; an integer file would clip.")
    if row.mono_db is not None and row.mono_db < MONO_LOSS_DB and row.peak >= SILENCE:
        what = f"{name} has channels that nearly cancel: their mean is {-row.mono_db:.0f} dB below them"
        add("warning", what, "A store takes the mean of the channels. Invert one channel, or export the stem in mono.")
    return found
