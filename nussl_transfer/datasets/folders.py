"""The folders that directly hold audio: where they lie below a data set's root, and in which split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import DataError
from .labels import normalise

# The names that separation tools give the three splits.
SPLIT_NAMES = {
    "train": ("train", "tr"),
    "valid": ("valid", "validation", "val", "dev", "cv"),
    "test": ("test", "tt", "eval"),
}
_SPLIT_OF = {alias: split for split, aliases in SPLIT_NAMES.items() for alias in aliases}
# In the order in which they are preferred for checking.
MIXTURES = ("mixture", "mix", "linear_mixture")
# Sums of other stems: to take them for stems would count these twice.
SUBMIXES = ("accompaniment", "residual", "residuals", "instrumental", "instrumentals")


class LayoutError(DataError):
    """Audio does not lie as in any layout that is known, or in more than one."""


@dataclass(frozen=True)
class AudioFolder:
    """A folder that directly holds audio: its place below the root (the split taken off), split, and files.

    ``prefix`` is the split's folder as it is spelt on disk, or ''.
    """

    place: PurePosixPath
    split: str | None
    prefix: str
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Returns the place below the root, the split's folder included; '' for the root itself."""
        name = str(PurePosixPath(self.prefix, self.place))
        return "" if name == "." else name


def is_reserved(label: str) -> bool:
    """Tells whether a normalised name is that of a mixture or of a sum of stems, never of a stem."""
    return label in MIXTURES or label in SUBMIXES


def split_of(name: str) -> str | None:
    """Returns the split that a folder of this name holds: 'train', 'valid', 'test' or None."""
    return _SPLIT_OF.get(name.lower())


def find_units(folder: Path, files: Sequence[PurePosixPath]) -> list[AudioFolder]:
    """Returns the folders that hold audio, sorted; levels above them that mean nothing are taken off.

    Args:
        folder: The folder that was given.
        files: The audio files below it, relative to it.

    Raises:
        LayoutError: Audio lies where no layout has any: beside the splits, or beside the folders of stems.
    """
    root, files = _without_outer_levels(folder, files)
    tops = {file.parts[0] for file in files if len(file.parts) > 1}
    stray = [file for file in files if len(file.parts) == 1]
    splits = {top for top in tops if split_of(top)}
    _check_placement(root, tops, splits, stray)
    places: dict[PurePosixPath, list[Path]] = {}
    for file in files:
        # Beside folders of stems only mixtures are left at this point: they belong to no track.
        if len(file.parts) > 1 or not tops:
            places.setdefault(file.parent, []).append(root / file)
    if not splits:
        return [AudioFolder(place, None, "", tuple(inside)) for place, inside in sorted(places.items())]
    return [_unit_in_split(root, place, inside) for place, inside in sorted(places.items())]


def few(names: Iterable, most: int = 4) -> str:
    """Returns the first of some names, for a message."""
    names = sorted(map(str, names))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _without_outer_levels(folder: Path, files: Sequence[PurePosixPath]) -> tuple[Path, list[PurePosixPath]]:
    """Goes down while there is one way and folders of audio lie deeper: what unpacking an archive adds."""
    files = list(files)
    while len({file.parts[0] for file in files}) == 1 and all(len(file.parts) > 2 for file in files):
        if split_of(files[0].parts[0]):
            break
        folder = folder / files[0].parts[0]
        files = [PurePosixPath(*file.parts[1:]) for file in files]
    return folder, files


def _check_placement(root: Path, tops: set[str], splits: set[str], stray: Sequence[PurePosixPath]) -> None:
    what_to_do = "Move that away, or name it in `ignore`."
    if splits and (splits != tops or stray):
        others = few([*(tops - splits), *stray])
        raise LayoutError(f"{root} has the splits {few(splits)}, and audio beside them: {others}. {what_to_do}")
    loose = [file for file in stray if not is_reserved(normalise(file.stem))]
    if tops and loose:
        raise LayoutError(f"{root} has folders of audio ({few(tops)}), and audio beside them: {few(loose)}. {what_to_do}")


def _unit_in_split(root: Path, place: PurePosixPath, files: Sequence[Path]) -> AudioFolder:
    prefix, *inner = place.parts
    if not inner:
        raise LayoutError(
            f"{root / place} holds audio directly ({few(file.name for file in files)}): a folder for each "
            f"track was looked for in it, {place}/<track>/<stem>.wav. Make these folders."
        )
    return AudioFolder(PurePosixPath(*inner), split_of(prefix), prefix, tuple(files))
