"""The audio files below a folder: hidden files, link loops and wrong folders dealt with, no audio read."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from ..audio.io import EXTENSIONS
from ..errors import DataError
from .labels import is_ignored

LOGGER = logging.getLogger(__name__)
# What Finder, Windows and unpacked zip files leave behind.
_JUNK_FOLDERS = ("__macosx",)


def find_audio(folder: str | Path, ignore: Sequence[str] = ()) -> list[PurePosixPath]:
    """Returns the audio files below a folder, relative to it and sorted; links are followed, loops are not.

    Args:
        folder: Where to look.
        ignore: Patterns of names of files and folders to pass over.

    Raises:
        DataError: The folder is not there, is a file, may not be listed, or holds no audio.
    """
    files = find_files(folder, ignore)
    audio = [file for file in files if file.suffix.lower() in EXTENSIONS]
    if not audio:
        raise DataError(
            f"Stems were asked for in {folder}: no audio file ({', '.join(EXTENSIONS)}) lies below it. Found "
            f"{_census(files)}. Give the folder that holds the tracks, unpack an archive first, or convert the "
            "audio to one of these formats."
        )
    return audio


def find_files(folder: str | Path, ignore: Sequence[str] = ()) -> list[PurePosixPath]:
    """Returns every file below a folder that is not hidden and not ignored, as ``find_audio`` does."""
    folder = Path(folder)
    if not folder.exists():
        raise DataError(
            f"Stems were asked for in {folder}: there is no such folder. Look for a typing error in the "
            f"path{_nearest_parent(folder)}."
        )
    if not folder.is_dir():
        raise DataError(
            f"Stems were asked for in {folder}: that is a file. Give the folder that holds the stems (unpack "
            "an archive first)."
        )
    return sorted(_walk(folder, PurePosixPath(), (), ignore))


def _walk(folder: Path, relative: PurePosixPath, above: tuple, ignore: Sequence[str]) -> Iterator[PurePosixPath]:
    try:
        status = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}. Mend its permissions, or ignore it.") from None
    here = (status.st_dev, status.st_ino)
    if here in above:
        # A link to a folder that is being walked: its files were seen already.
        _warn_once(f"{folder} links back to a folder above it and is passed over")
        return
    for entry in entries:
        path = relative / entry.name
        if entry.name.startswith(".") or entry.name.lower() in _JUNK_FOLDERS or _ignored(path, ignore):
            continue
        if _is_folder(entry):
            yield from _walk(folder / entry.name, path, (*above, here), ignore)
        else:
            if entry.is_symlink() and not path.suffix and not os.path.exists(entry.path):
                _warn_once(f"{entry.path} is a broken link to {os.readlink(entry.path)}")
            yield path


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: what it is, is asked when it is opened
        return False


@lru_cache(maxsize=1024)
def _warn_once(what: str) -> None:
    """Warns of a place once, however often a folder is walked until it is known what it holds."""
    LOGGER.warning("%s", what)


def _ignored(path: PurePosixPath, ignore: Sequence[str]) -> bool:
    return bool(ignore) and any(is_ignored(way, ignore) for way in (path.name, path.stem, str(path)))


def _census(files: Sequence[PurePosixPath]) -> str:
    if not files:
        return "nothing at all"
    kinds = Counter(file.suffix.lower() or "without extension" for file in files)
    tops = sorted({file.parts[0] for file in files})
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
    return f"{len(files)} other files ({listed}) in {', '.join(tops[:4])}{', ...' if len(tops) > 4 else ''}"


def _nearest_parent(folder: Path) -> str:
    for parent in folder.absolute().parents:
        if parent.is_dir():
            inside = sorted(entry.name for entry in os.scandir(parent) if entry.is_dir())[:5]
            return f"; {parent} exists" + (f" and holds {', '.join(inside)}" if inside else "")
    return ""
