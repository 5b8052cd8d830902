"""A stem list: a CSV file with a row for each stem, ``track,label,file,split,start,end``."""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import DataError
from .base import StemDataset
from .folders import MIXTURES, split_of
from .labels import Groups, IgnorePatterns, normalise
from .tracks import Track

COLUMNS = ("track", "label", "file", "split", "start", "end")
_REQUIRED = COLUMNS[:3]
_EXAMPLE = "track,label,file,split,start,end"


class StemList(StemDataset):
    """Hook for a stem list, a CSV file that names the stems wherever they lie.

    The first line names the columns; ``split``, ``start`` and ``end`` may be absent or empty::

        track,label,file,split,start,end
        Song A,vocals,a/take 3.wav,train,12.5,95
        Song A,piano,/recordings/keys.flac,train,12.5,95
        Song B,vocals,b/vox.wav,valid,,

    A file is relative to the folder of the list. Rows with the same track and label are summed. ``start`` and ``end`` are
    seconds or minutes and seconds (``1:35``) in the file; the parts that a track is made of must be equally long. The label
    ``mixture`` gives the track's mixture file. Columns may be separated by commas, semicolons or tabs.

    Args:
        folder: The CSV file.
        kwargs: As ``StemDataset``.
    """

    NAME = "StemList"
    LABELS = ()  # whatever the list names
    LICENSE = "the owner's"
    URL = ""
    CITATION = ""

    @classmethod
    def recognises(cls, folder: str | Path) -> bool:
        """Tell whether this is a CSV file."""
        return is_stem_list(folder)

    @classmethod
    def _find(cls, folder: Path, groups: Groups | None, ignore: IgnorePatterns) -> list[Track]:
        tracks: dict[str, _Listed] = {}
        wrong: list[str] = []
        for line, row in _rows(folder):
            try:
                _add(tracks, row, folder, ignore)
            except ValueError as error:
                wrong.append(f"\n  line {line}: {error}")
        if wrong:
            count = f"{len(wrong)} row{'s are' if len(wrong) > 1 else ' is'}"
            raise DataError(f"{count} wrong in {folder}:{''.join(wrong)}\nThe columns are {_EXAMPLE}.")
        found = [
            Track(
                name,
                {label: tuple(files) for label, files in sorted(about.stems.items())},
                about.split,
                about.mixture,
                spans=about.spans,
            )
            for name, about in tracks.items()
            if about.stems
        ]
        if not found:
            raise DataError(f"{folder} names no stem. Give a row for each stem: {_EXAMPLE}.")
        return found


def is_stem_list(path: str | Path) -> bool:
    """Tell whether a path is a file whose name ends in .csv or .tsv."""
    return Path(path).suffix.lower() in (".csv", ".tsv") and Path(path).is_file()


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows with their line numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}). Save the list as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Give a CSV file with the columns {_EXAMPLE}.") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    names = [name.strip().lower() for name in next(reader, [])]
    absent = [name for name in _REQUIRED if name not in names]
    unknown = [name for name in names if name not in COLUMNS]
    if absent or unknown or len(set(names)) < len(names):
        raise DataError(
            f"The first line of {path} should name the columns {_EXAMPLE}: got {first.strip()!r}. "
            f"{'Missing: ' + ', '.join(absent) if absent else 'Unknown or twice: ' + ', '.join(unknown or names)}."
        )
    rows = []
    for row in reader:
        if any(cell.strip() for cell in row):
            cells = [cell.strip() for cell in row] + [""] * (len(names) - len(row))
            rows.append((reader.line_num, dict(zip(names, cells, strict=False)) | {"": ",".join(cells[len(names) :])}))
    return rows


@dataclass
class _Listed:
    """The rows of one track read so far; ``has_rows`` is True after the first row, which decides the split."""

    stems: dict[str, list[Path]] = field(default_factory=dict)
    split: str | None = None
    mixture: Path | None = None
    spans: dict[Path, tuple[float, float | None]] = field(default_factory=dict)
    has_rows: bool = False


def _add(tracks: dict[str, _Listed], row: dict[str, str], path: Path, ignore: IgnorePatterns) -> None:
    """Add a row to its track.

    Raises:
        ValueError: The row is wrong; the message says how.
    """
    if row[""]:
        raise ValueError("it has more cells than the first line; put quotes around a name that contains the separator")
    for name in _REQUIRED:
        if not row[name]:
            raise ValueError(f"its {name} is empty")
    name, label = row["track"], normalise(row["label"])
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not label:
        raise ValueError(f"its label {row['label']!r} has no letter or digit")
    if ".." in parts or PurePosixPath(name).is_absolute():
        raise ValueError(f"its track {name!r} is not a relative path")
    file = Path(os.path.normpath(path.parent / Path(row["file"]).expanduser()))
    if any([ignore.fits(one) for one in (name, label, file.name, file.stem, row["file"])]):
        return
    about = tracks.setdefault(name, _Listed())
    split = None
    if row.get("split"):
        split = split_of(row["split"])
        if split is None:
            raise ValueError(f"its split is {row['split']!r}; it is train, valid or test")
    if about.has_rows and split != about.split:
        raise ValueError(f"it puts {name!r} into split {split}, and an earlier row into {about.split}")
    about.split, about.has_rows = split, True
    span = _span(row.get("start", ""), row.get("end", ""))
    if file == about.mixture or any(file in files for files in about.stems.values()):
        raise ValueError(f"{file} is in {name!r} already")
    if label in MIXTURES:
        if about.mixture is not None:
            raise ValueError(f"{name!r} has a mixture already, {about.mixture}")
        about.mixture = file
    else:
        about.stems.setdefault(label, []).append(file)
    if span is not None:
        about.spans[file] = span


def _span(start: str, end: str) -> tuple[float, float | None] | None:
    if not start and not end:
        return None
    first = _seconds(start, "start") if start else 0.0
    last = _seconds(end, "end") if end else None
    if last is not None and last <= first:
        raise ValueError(f"it ends at {last:g} s, and starts at {first:g} s")
    return first, last


def _seconds(text: str, name: str) -> float:
    *minutes, seconds = text.split(":")
    try:
        value = float(seconds) + sum(60 ** (power + 1) * int(part) for power, part in enumerate(reversed(minutes)))
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf or len(minutes) > 2:
        raise ValueError(f"its {name} is {text!r}; give seconds, such as 12.5, or minutes and seconds, such as 1:35")
    return value
