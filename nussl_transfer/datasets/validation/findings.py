"""What an inspection of a data set says: a row for each file, findings, and both as text or plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

LEVELS = ("error", "warning", "note")
# So many warnings or notes with one and the same advice are shown in full.
FEW = 4
# So many files are listed one by one, unless it is asked for.
MOST_FILES = 60
OVERVIEW = ("split", "label", "tracks", "files", "minutes", "rate", "ch", "coding")


@dataclass(frozen=True)
class Finding:
    """One thing worth saying: an error stops the use of a data set, a warning may spoil it, a note tells."""

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
    """One file of a stem: what its header says; where it was decoded, how it sounds.

    Level and offset are of full scale; ``digest`` is of the samples; ``active`` has where it sounds, in seconds.
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


@dataclass(frozen=True)
class Usable:
    """How many excerpts there are in a split, of one label or (None) of all, and in how many all sources sound."""

    split: str | None
    label: str | None
    seconds: float
    count: int
    sounding: int | None

    def __str__(self) -> str:
        parts = [part for part in (self.split, self.label) if part]
        heard = "" if self.sounding is None else f", {self.sounding} in which {self.label or 'every source'} sounds"
        length = f"at most {self.seconds:g} s"  # a shorter track is one, whole
        return f"{' '.join(parts) + ': ' if parts else ''}{_number(self.count, 'excerpt')} of {length}{heard}"


@dataclass(frozen=True)
class Inspection:
    """What ``inspect`` saw: a row for each file, and the findings, errors first."""

    rows: list[StemRow]
    findings: list[Finding] = field(default_factory=list)
    usable: list[Usable] = field(default_factory=list)

    @property
    def fatal(self) -> bool:
        """Tells whether the data set cannot be used as it is."""
        return any(finding.level == "error" for finding in self.findings)

    @property
    def untrainable(self) -> str:
        """Tells why nothing can be trained on it, though it can be prepared and scored; '' where something can."""
        if len({row.label for row in self.rows}) == 1:
            return "it has one label only, and there is nothing to separate that from"
        if self.rows and all(row.split in ("valid", "test") for row in self.rows):
            return "all its tracks are for validation or testing"
        return ""

    def table(self, files: bool | None = None) -> str:
        """Returns the rows, what there is of each label in each split, and the findings, as text for a terminal.

        Args:
            files: Whether to list every file; None lists them where they are few.
        """
        listing = len(self.rows) <= MOST_FILES if files is None else files
        head = ("track", "label", "rate", "ch", "seconds", "coding", "peak", "mean", "file")
        table = [*aligned([head, *map(_cells, self.rows)]), ""] if listing and self.rows else []
        overview = aligned([OVERVIEW, *self._overview()])
        return "\n".join([*table, *overview, *map(str, self.usable), "", *listed(self.findings), self.summary()])

    def _overview(self) -> list[tuple[str, ...]]:
        """Returns the cells of each label in each split."""
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
        """Returns one line: how much there is, how many findings of each level."""
        sizes = [_number(len({row.track for row in self.rows}), "track"), _number(len(self.rows), "file")]
        counts = [_number(sum(finding.level == level for finding in self.findings), level) for level in LEVELS]
        return f"{', '.join(sizes)}, {_minutes(self.rows):.1f} minutes of stems: {', '.join(counts)}."

    def to_json(self) -> dict:
        """Returns the same as plain values."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "findings": [asdict(finding) for finding in self.findings],
            "usable": [asdict(usable) for usable in self.usable],
            "fatal": self.fatal,
            "untrainable": self.untrainable,
        }


def format_errors(findings: Iterable[Finding]) -> str:
    """Returns the errors among findings as one message; '' when there is none."""
    errors = [finding for finding in findings if finding.level == "error"]
    if not errors:
        return ""
    lines = "\n".join(f"  {line.removeprefix('error: ')}" for line in listed(errors))
    return f"{len(errors)} thing{'s are' if len(errors) > 1 else ' is'} wrong with the data set:\n{lines}"


def listed(findings: Iterable[Finding]) -> list[str]:
    """Returns findings as lines: those with one and the same advice together, and the advice once, below them.

    Errors are listed to the last; of warnings and notes that are alike, the first few.
    """
    alike: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.level, finding.what_to_do), []).append(finding)
    lines = []
    for (level, advice), group in alike.items():
        shown = len(group) if level == "error" or not advice else FEW
        lines += map(str, group[:shown])
        lines += [f"{level}: and {len(group) - shown} more like this."] * (len(group) > shown)
        lines += [f"    {advice}"] * bool(advice)
    return lines


def aligned(lines: list[tuple[str, ...]]) -> list[str]:
    """Returns lines of cells as text, in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def on_one_line(text: str) -> str:
    """Returns a text whose names of files cannot move the cursor, or pass for another line.

    >>> on_one_line("ba\\nss.wav")
    'ba\\\\nss.wav'
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _minutes(rows: Iterable[StemRow]) -> float:
    """Returns the minutes of all stems; the files of one stem of one track sound at once."""
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
