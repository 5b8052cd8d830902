"""What lies on disk of Slakh: folders of tracks, at any depth, and which of their files are stems."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..audio.io import EXTENSIONS
from ..errors import DataError
from .scan import find_files

_TRACK = re.compile(r"^Track(\d{5})$")
_STEM = re.compile(r"^(S\d{2})\.(flac|wav)$")
_MIXTURE = re.compile(r"^mix\.(flac|wav)$")


@dataclass
class TrackFiles:
    """What lies on disk of one track: ``stems`` by their names, 'S00'; ``extra`` is audio that is no stem."""

    folder: Path
    stems: dict[str, Path] = field(default_factory=dict)
    mixture: Path | None = None
    midi: Path | None = None
    extra: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Returns the name of the track, which is that of its folder."""
        return self.folder.name

    @property
    def number(self) -> int:
        """Returns the number in the name."""
        return int(self.name.removeprefix("Track"))


def find_track_files(folder: Path, ignore: Sequence[str]) -> tuple[list[TrackFiles], list[Path]]:
    """Returns what there is of each track below a folder, and what other audio there is."""
    places: dict[Path, TrackFiles] = {}
    others: list[Path] = []
    for file in find_files(folder, ignore):
        path = folder / file
        # The folder that was given may itself be a track: its name is not in the relative path.
        whole = Path(os.path.abspath(path))
        audio = path.suffix.lower() in EXTENSIONS
        above = next((up for up in whole.parents if _TRACK.match(up.name)), None)
        if above is None:
            others += [path] * audio
            continue
        place = places.setdefault(above, TrackFiles(above))
        inside = whole.relative_to(above).parts
        if len(inside) == 2 and inside[0] == "stems" and (stem := _STEM.match(inside[1])):
            # Of a stem that is there twice, flac comes before the wav made of it.
            kept = place.stems.setdefault(stem[1], path)
            place.extra += [path] * (kept != path)
        elif len(inside) == 1 and _MIXTURE.match(inside[0]) and place.mixture is None:
            place.mixture = path
        elif inside == ("all_src.mid",):
            place.midi = path
        elif audio:
            place.extra.append(path)
    return list(places.values()), others


def check_unique(folder: Path, places: Sequence[TrackFiles]) -> None:
    """Raises DataError where two folders are of one track."""
    seen: dict[str, Path] = {}
    for place in places:
        if place.name in seen:
            raise DataError(
                f"Slakh was asked for in {folder}: {place.name} is there twice, {seen[place.name]} and {place.folder}. "
                "Give the folder of one copy."
            )
        seen[place.name] = place.folder
