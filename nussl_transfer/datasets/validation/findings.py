"""The result of a check: a row for each file, findings, and both as text or plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tabulate import tabulate

LEVELS = ("error", "warning", "note")
# At most this many warnings or notes with the same advice are shown.
FEW = 4
# At most this many files are listed one by one by default.
MOST_FILES = 60
OVERVIEW = ("split", "label", "tracks", "files", "minutes", "rate", "ch", "coding")


@dataclass(frozen=True)
class Finding:
    """One finding: an error (the data set is unusable), a warning (results may suffer) or a note."""

    level: str
    track: str | None
    label: str | None
    what: str
    what_to_do: str = ""

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.track, self.label) if part)
        return on_one_line(f"{self.level}: {where + ': ' if where else ''}{self.what}.")


@dataclass(frozen=True)
class StemRow:
    """One file of a stem: values of its header and, if it was decoded, of its samples.

    ``rms``, ``peak`` and ``mean`` are shares of full scale; ``digest`` is a hash of the samples; ``active`` lists the
    intervals [start, end) in seconds in which it is active; ``mono_db`` is the level of the mean over channels relative to
    the channels.
    """

    track: str
    label: str
    file: str
    sample_rate: int
    channels: int
    seconds: float
    subtype: str
    split: str | None = None
    rms: float | None = None
    peak: float | None = None
    mean: float | None = None
    clipped: int | None = None
    digest: str | None = None
    active: tuple[tuple[float, float], ...] | None = None
    mono_db: float | None = None


@dataclass(frozen=True)
class ExcerptCount:
    """The number of excerpts in a split, for one label or (None) for all, and of those in which every source is active."""

    split: str | None
    label: str | None
    seconds: float
    count: int
    sounding: int | None

    def __str__(self) -> str:
        parts = [part for part in (self.split, self.label) if part]
        heard = "" if self.sounding is None else f", {self.sounding} in which {self.label or 'every source'} sounds"
        length = f"at most {self.seconds:g} s"  # a shorter track counts as one
        return f"{' '.join(parts) + ': ' if parts else ''}{_number(self.count, 'excerpt')} of {length}{heard}"


@dataclass(frozen=True)
class Inspection:
    """The result of a check: a row for each file, and the findings, errors first."""

    rows: list[StemRow]
    findings: list[Finding] = field(default_factory=list)
    usable: list[ExcerptCount] = field(default_factory=list)

    @property
    def fatal(self) -> bool:
        """Tell whether the data set cannot be used as it is."""
        return any(finding.level == "error" for finding in self.findings)

    @property
    def untrainable(self) -> str:
        """Return why one cannot train on it, although it can be prepared and scored; '' if one can."""
        if len({row.label for row in self.rows}) == 1:
            return "it has one label only, and separation needs two"
        if self.rows and all(row.split in ("valid", "test") for row in self.rows):
            return "all its tracks are for validation or testing"
        return ""

    def table(self, files: bool | None = None) -> str:
        """Return the rows, an overview of labels and splits, and the findings, as text for a terminal.

        Args:
            files: Whether to list every file; None lists at most ``MOST_FILES``.
        """
        listing = len(self.rows) <= MOST_FILES if files is None else files
        head = ("track", "label", "rate", "ch", "seconds", "coding", "peak", "mean", "file")
        table = [*aligned([head, *map(_cells, self.rows)]), ""] if listing and self.rows else []
        overview = aligned([OVERVIEW, *self._overview()])
        return "\n".join([*table, *overview, *map(str, self.usable), "", *listed(self.findings), self.summary()])

    def _overview(self) -> list[tuple[str, ...]]:
        """Return the cells of each label in each split."""
        groups: dict[tuple[str, str], list[StemRow]] = {}
        for row in self.rows:
            groups.setdefault((row.split or "-", row.label), []).append(row)
        lines = []
        for (split, label), rows in sorted(groups.items()):
            minutes = _minutes(rows)
            several = [sorted({getattr(row, key) for row in rows}) for key in ("sample_rate", "channels", "subtype")]
            kinds = ["/".join(map(str, values)) for values in several]
            counts = (f"{len({row.track for row in rows})}", f"{len(rows)}", f"{minutes:.1f}")
            lines.append((split, label, *counts, *kinds))
        return lines

    def summary(self) -> str:
        """Return one line: the amount of audio, and the number of findings of each level."""
        sizes = [_number(len({row.track for row in self.rows}), "track"), _number(len(self.rows), "file")]
        counts = [_number(sum(finding.level == level for finding in self.findings), level) for level in LEVELS]
        return f"{', '.join(sizes)}, {_minutes(self.rows):.1f} minutes of stems: {', '.join(counts)}."

    def to_json(self) -> dict:
        """Return the result as plain values."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "findings": [asdict(finding) for finding in self.findings],
            "usable": [asdict(usable) for usable in self.usable],
            "fatal": self.fatal,
            "untrainable": self.untrainable,
        }


def format_errors(findings: Iterable[Finding]) -> str:
    """Return the errors among findings as one message; '' when there is none."""
    errors = [finding for finding in findings if finding.level == "error"]
    if not errors:
        return ""
    lines = "\n".join(f"  {line.removeprefix('error: ')}" for line in listed(errors))
    return f"The data set has {len(errors)} error{'s' * (len(errors) > 1)}:\n{lines}"


def listed(findings: Iterable[Finding]) -> list[str]:
    """Return findings as lines, those with the same advice together, and the advice once below them.

    All errors are listed, and the first few of similar warnings and notes.
    """
    alike: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.level, finding.what_to_do), []).append(finding)
    lines: list[str] = []
    for (level, advice), group in alike.items():
        shown = len(group) if level == "error" or not advice else FEW
        lines += map(str, group[:shown])
        lines += [f"{level}: and {len(group) - shown} more like this."] * (len(group) > shown)
        lines += [f"    {advice}"] * bool(advice)
    return lines


def aligned(lines: list[tuple[str, ...]]) -> list[str]:
    """Return lines of cells as text, in columns."""
    table = tabulate(lines, tablefmt="plain", disable_numparse=True, preserve_whitespace=True)
    return [line.rstrip() for line in table.splitlines()]


def on_one_line(text: str) -> str:
    """Return a text with control characters escaped, so that a file name cannot move the cursor or fake a line.

    >>> on_one_line("ba\\nss.wav")
    'ba\\\\nss.wav'
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _minutes(rows: Iterable[StemRow]) -> float:
    """Return the minutes of all stems; the files of one stem of one track are summed, so the longest counts."""
    stems: dict[tuple[str, str], float] = {}
    for row in rows:
        stems[row.track, row.label] = max(row.seconds, stems.get((row.track, row.label), 0.0))
    return sum(stems.values()) / 60


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _cells(row: StemRow) -> tuple[str, ...]:
    levels = ("", "") if row.peak is None else (f"{row.peak:.3f}", f"{row.mean:.4f}")
    described = (f"{row.sample_rate}", f"{row.channels}", f"{row.seconds:.2f}", row.subtype)
    return (on_one_line(row.track), row.label, *described, *levels, on_one_line(Path(row.file).name))
