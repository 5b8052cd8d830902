"""Bach10: ten four-part chorales, each part recorded separately."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DataError
from .base import StemDataset
from .folders import find_audio, split_of
from .labels import Groups, IgnorePatterns
from .tracks import Track, labels_of

# Rendered stand-ins in this layout may have more than ten pieces, so any two digits are accepted.
_PIECE = re.compile(r"^(?P<number>\d{2})-(?P<title>[A-Za-z0-9]+)$")
# v1.1 spells it 'saxphone'; some copies correct it.
_STEM = re.compile(r"^(?P<piece>\d{2}-[A-Za-z0-9]+)-(?P<label>violin|clarinet|saxo?phone|bassoon)$", re.IGNORECASE)
_SPELLING = {"saxphone": "saxophone"}


class Bach10(StemDataset):
    """Hook for Bach10 v1.1: violin, clarinet, saxophone and bassoon of ten chorales.

    The folder may be the data set's own, or any folder above it (such as the parent of ``Sources/``). The mixture file of a
    piece equals the sum of its stems and is used for checking only. Clarinet, saxophone and bassoon have a DC offset of
    about 1 % of full scale; preparing a store removes it.

    Args:
        folder: Where the data set lies.
        held_out: Pieces of the split 'test', by number or name ('10', 10 or '10-NunBitten'); all others are 'train'.
            Bach10 has no official split. None takes the split from folders train and test above the pieces, if there are
            any. ``folds`` gives all ten leave-one-out splits.
        kwargs: As ``StemDataset``.
    """

    NAME = "Bach10"
    LABELS = ("bassoon", "clarinet", "saxophone", "violin")
    LICENSE = "free for research, not to be passed on; no licence text is known"
    URL = "https://labsites.rochester.edu/air/resource.html"
    CITATION = (
        "Z. Duan and B. Pardo, 'Soundprism: an online system for score-informed source separation of music "
        "audio', IEEE J. Sel. Topics Signal Process. 5(6), 2011"
    )

    def __init__(self, folder: str | Path, held_out: int | str | Sequence[int | str] | None = None, **kwargs: Any) -> None:
        super().__init__(folder, find={"held_out": held_out}, **kwargs)

    @classmethod
    def recognises(cls, folder: str | Path) -> bool:
        """Tell whether a folder holds pieces of Bach10 and no other audio."""
        try:
            files = [(Path(folder) / file).absolute() for file in find_audio(folder)]
        except DataError:
            return False
        stems = [file for file in files if (match := _STEM.match(file.stem)) and match["piece"] == file.parent.name]
        return bool(stems) and all(_PIECE.match(file.parent.name) for file in files)

    @classmethod
    def _find(
        cls,
        folder: Path,
        groups: Groups | None,
        ignore: IgnorePatterns,
        held_out: int | str | Sequence[int | str] | None = None,
    ) -> list[Track]:
        pieces: dict[Path, list[Path]] = {}
        for file in find_audio(folder, ignore):
            path = folder / file
            # The given folder may itself be one piece: its name is not in the relative path.
            if _PIECE.match(path.absolute().parent.name) and path.suffix.lower() == ".wav":
                pieces.setdefault(path.parent, []).append(path)
        tracks = [track for piece, files in pieces.items() if (track := _track(piece, files)).stems]
        # The data set has no folders train and test; a user may have sorted the pieces into them.
        splits = {piece.absolute().name: _split_above(piece.relative_to(folder)) for piece in pieces}
        tracks = [replace(track, split=splits[track.name]) for track in tracks]
        if not tracks:
            raise DataError(
                f"{folder} holds no piece of Bach10, a folder such as 01-AchGottundHerr with files such as "
                "01-AchGottundHerr-violin.wav. Give the folder Bach10_v1.1 as unpacked; for your own stems use StemFolder."
            )
        _check_unique(folder, tracks, pieces)
        absent = [label for label in cls.LABELS if label not in labels_of(tracks) and not ignore.fits(label)]
        if absent and not groups:
            raise DataError(
                f"No piece of Bach10 in {folder} has a {' or a '.join(absent)} (of {len(tracks)} pieces). Copy the data "
                "set again, or name the stem in `ignore`."
            )
        return tracks if held_out is None else _held_out(tracks, held_out)

    @staticmethod
    def folds(tracks: Sequence[Track]) -> list[tuple[str, list[Track]]]:
        """Return the leave-one-out folds: the name of each piece, and all tracks with that piece in 'test'."""
        return [(track.name, _held_out(tracks, track.name)) for track in tracks]


def _split_above(piece: Path) -> str | None:
    return next((split for part in piece.parts if (split := split_of(part))), None)


def _track(folder: Path, files: Sequence[Path]) -> Track:
    name = folder.absolute().name
    stems: dict[str, tuple[Path, ...]] = {}
    mixture, left_out = None, []
    for path in files:
        match = _STEM.match(path.stem)
        if path.stem == name:
            mixture = path
        elif match is None or match["piece"] != name:
            left_out.append(path)
        else:
            label = match["label"].lower()
            label = _SPELLING.get(label, label)
            if label in stems:
                raise DataError(
                    f"Piece {name} has two files for {label}, {stems[label][0].name} and {path.name}. Remove one."
                )
            stems[label] = (path,)
    return Track(name, dict(sorted(stems.items())), mixture=mixture, left_out=tuple(left_out))


def _check_unique(folder: Path, tracks: Sequence[Track], pieces: dict[Path, list[Path]]) -> None:
    names = [track.name for track in tracks]
    for name in names:
        if names.count(name) > 1:
            where = " and ".join(str(piece) for piece in pieces if piece.absolute().name == name)
            raise DataError(f"{folder} holds piece {name} of Bach10 twice, {where}. Give one copy.")


def _held_out(tracks: Sequence[Track], held_out: int | str | Sequence[int | str]) -> list[Track]:
    asked = [held_out] if isinstance(held_out, (int, str)) else list(held_out)
    test = set()
    for piece in asked:
        number = str(piece).zfill(2)
        found = [track.name for track in tracks if piece == track.name or track.name.split("-")[0] == number]
        if not found:
            names = ", ".join(track.name for track in tracks)
            raise DataError(f"held_out: {piece!r} is not a piece of this Bach10. Its pieces are {names}.")
        test.update(found)
    return [replace(track, split="test" if track.name in test else "train") for track in tracks]
