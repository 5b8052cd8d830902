"""Find audio below a folder, and sort it by the folders that hold it.

``scan`` walks the folder: it follows links, and skips hidden files, this program's own output (stores, runs, separated
stems) and what the user ignores. ``find_audio_folders`` groups the files by folder and split.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

from ..audio.io import EXTENSIONS, UNREADABLE_EXTENSIONS
from ..audio.stem_mp4 import SUFFIX as STEM_MP4
from ..errors import DataError
from ..runtime.log import logger
from .labels import IgnorePatterns, normalise

# Extensions of audio that is not read. MIDI files are not reported: they hold no audio that a user would miss.
UNREAD = frozenset(UNREADABLE_EXTENSIONS) - {".mid", ".midi"}
# Folders that Finder adds to zip files.
_JUNK_FOLDERS = ("__macosx",)
# The record that separating writes beside its outputs: {"files": [names]}.
SEPARATED = ".separated.json"
# The names that separation tools give the three splits.
SPLIT_NAMES = {
    "train": ("train", "tr"),
    "valid": ("valid", "validation", "val", "dev", "cv"),
    "test": ("test", "tt", "eval"),
}
_SPLIT_OF = {alias: split for split, aliases in SPLIT_NAMES.items() for alias in aliases}
# Names of mixture files. A track's mixture is the first of these that it has.
MIXTURES = ("mixture", "mix", "linear_mixture")
# Sums of other stems. Read as stems, they would count the others twice.
SUBMIXES = ("accompaniment", "residual", "residuals", "instrumental", "instrumentals")


class LayoutError(DataError):
    """Audio lies in no known layout, or in more than one."""


@dataclass
class Scan:
    """The files below a folder, relative to it, sorted.

    Attributes:
        files: Every file that is neither hidden nor ignored.
        hidden: Hidden audio files, and hidden folders that hold audio.
        own: Folders that this program wrote, each with its kind: 'a store', 'a training run' or 'separated stems'.
    """

    files: list[PurePosixPath] = field(default_factory=list)
    hidden: list[PurePosixPath] = field(default_factory=list)
    own: dict[PurePosixPath, str] = field(default_factory=dict)

    @property
    def audio(self) -> list[PurePosixPath]:
        """Return the audio files that can be read."""
        return [file for file in self.files if is_audio(file)]

    @property
    def unread(self) -> list[PurePosixPath]:
        """Return the audio files in formats that cannot be read."""
        return [file for file in self.files if file.suffix.lower() in UNREAD and not is_stem_mp4(file)]


@dataclass(frozen=True)
class AudioFolder:
    """A folder that directly holds audio.

    Attributes:
        path: Its path below the root, without the folder of the split.
        split: 'train', 'valid', 'test' or None.
        prefix: The folder of the split as it is spelt on disk, or ''.
        files: Its audio files.
    """

    path: PurePosixPath
    split: str | None
    prefix: str
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Return the path below the root, with the folder of the split; '' for the root itself."""
        name = str(PurePosixPath(self.prefix, self.path))
        return "" if name == "." else name


def is_audio(path: PurePosixPath | Path) -> bool:
    """Tell whether a file is audio that can be read, by the end of its name."""
    return path.suffix.lower() in EXTENSIONS


def is_stem_mp4(path: PurePosixPath | Path) -> bool:
    """Tell whether a file is a ``.stem.mp4``, by the end of its name."""
    return path.name.lower().endswith(STEM_MP4)


def is_reserved(label: str) -> bool:
    """Tell whether a normalised name is that of a mixture or of a sum of stems."""
    return label in MIXTURES or label in SUBMIXES


def split_of(name: str) -> str | None:
    """Return the split that a folder of this name holds: 'train', 'valid', 'test' or None."""
    return _SPLIT_OF.get(name.lower())


def few(names: Iterable, most: int = 4) -> str:
    """Return the first of some names, for a message."""
    names = sorted(map(str, names))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# Walking


def find_audio(folder: str | Path, ignore: Sequence[str] | IgnorePatterns = ()) -> list[PurePosixPath]:
    """Return the audio files below a folder, relative to it and sorted.

    Args:
        folder: Where to look.
        ignore: Patterns of names of files and folders to skip.

    Raises:
        DataError: The folder is absent, is a file, cannot be listed, or holds no audio.
    """
    found = scan(folder, ignore)
    if not found.audio:
        others = "; ".join(describe_skipped(found))
        raise DataError(
            f"{folder} holds no audio file ({', '.join(EXTENSIONS)}). Found {_census(found.files)}"
            f"{f' ({others})' if others else ''}. Give the folder that holds the tracks, unpack an archive first, or "
            "convert the audio to one of these formats."
        )
    return found.audio


def find_files(folder: str | Path, ignore: Sequence[str] | IgnorePatterns = ()) -> list[PurePosixPath]:
    """Return every file below a folder that is not hidden and not ignored, as ``find_audio`` does."""
    return scan(folder, ignore).files


def scan(folder: str | Path, ignore: Sequence[str] | IgnorePatterns = ()) -> Scan:
    """Return the files below a folder, and those that are skipped; follow links, but no loops of links.

    Raises:
        DataError: The folder is absent, is a file, or cannot be listed.
    """
    folder = Path(folder)
    try:
        is_folder = stat.S_ISDIR(os.stat(folder).st_mode)
    except OSError as error:
        raise DataError(_no_folder(folder, error)) from None
    if not is_folder:
        raise DataError(f"{folder} is a file. Give the folder that holds the stems (unpack an archive first).")
    found = Scan()
    _walk(folder, PurePosixPath(), (), IgnorePatterns.of(ignore), found)
    found.files.sort()
    return found


def own_kind(folder: str | Path) -> str:
    """Return what this program wrote into a folder: 'a store', 'a training run', 'separated stems'; '' for others."""
    folder = Path(folder)
    if os.path.isdir(folder / ".parts") or _mentions(folder / "manifest.json", b'"sample_rate"'):
        return "a store"
    if os.path.isfile(folder / "config.yml") and os.path.isdir(folder / "checkpoints"):
        return "a training run"
    outputs = separated_files(folder)
    if outputs and outputs.issuperset(name for name in os.listdir(folder) if not name.startswith(".")):
        return "separated stems"
    return ""


def separated_files(folder: str | Path) -> set[str]:
    """Return the names of the files in a folder that are outputs of a separation; empty without a valid record."""
    try:
        record = json.loads(Path(folder, SEPARATED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    names = record.get("files") if isinstance(record, dict) else None
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def describe_skipped(found: Scan) -> list[str]:
    """Return a sentence for each kind of audio that a scan skipped."""
    sentences = []
    if found.unread:
        sentences.append(
            f"skipped {_files(found.unread)} in formats that cannot be read: {few(found.unread)}. Convert them to WAV "
            "or FLAC"
        )
    if found.hidden:
        sentences.append(
            f"{len(found.hidden)} hidden, skipped: {few(found.hidden)}. Rename them without the leading dot to use them"
        )
    for path, kind in sorted(found.own.items()):
        verb = "holds" if kind == "separated stems" else "is"  # it may hold other files too
        sentences.append(f"{path} {verb} {kind} of this program, skipped")
    return sentences


def _files(paths: Sequence) -> str:
    return f"{len(paths)} audio file{'s' * (len(paths) != 1)}"


def _walk(folder: Path, relative: PurePosixPath, above: tuple, ignore: IgnorePatterns, found: Scan) -> None:
    try:
        status = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}. Fix its permissions, or ignore it.") from None
    here = (status.st_dev, status.st_ino)
    if here in above:
        _warn_once(f"{folder} links back to a folder above it and is skipped")
        return
    names = {entry.name for entry in entries}
    if above and names & {".parts", "manifest.json", "config.yml", SEPARATED} and (kind := own_kind(folder)):
        found.own[relative] = kind
        return
    outputs = separated_files(folder) & names if above and SEPARATED in names else set()
    if outputs:
        found.own[relative] = "separated stems"
    for entry in entries:
        path = relative / entry.name
        if entry.name in outputs or entry.name.lower() in _JUNK_FOLDERS or _ignored(path, ignore):
            continue
        if entry.name.startswith("."):
            _note_hidden(entry, path, names, found)
        elif _is_folder(entry):
            _walk(folder / entry.name, path, (*above, here), ignore, found)
        else:
            if entry.is_symlink() and not path.suffix and not os.path.exists(entry.path):
                _warn_once(f"{entry.path} is a broken link to {os.readlink(entry.path)}")
            found.files.append(path)


def _note_hidden(entry: os.DirEntry, path: PurePosixPath, names: set[str], found: Scan) -> None:
    """Note a hidden audio file or folder of audio, except the files that macOS writes beside each file."""
    if entry.name.startswith("._") and entry.name[2:] in names:
        return
    if _is_folder(entry):
        try:
            inside = [PurePosixPath(child.name) for child in os.scandir(entry.path)]
        except OSError:
            return
        if any(is_audio(child) and not child.name.startswith("._") for child in inside):
            found.hidden.append(path)
    elif is_audio(path) or PurePosixPath(entry.name.lstrip(".")).suffix.lower() in UNREAD:
        found.hidden.append(path)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: the error is raised when it is opened
        return False


@lru_cache(maxsize=1024)
def _warn_once(what: str) -> None:
    """Warn once, even though recognising a data set walks its folder several times."""
    logger.warning("%s", what)


def _ignored(path: PurePosixPath, ignore: IgnorePatterns) -> bool:
    return any([ignore.fits(form) for form in (path.name, path.stem, str(path))]) if ignore.patterns else False


def _mentions(path: Path, word: bytes) -> bool:
    try:
        return word in path.read_bytes()[:1000]
    except OSError:
        return False


def _census(files: Sequence[PurePosixPath]) -> str:
    if not files:
        return "nothing at all"
    kinds = Counter(file.suffix.lower() or "without extension" for file in files)
    tops = sorted({file.parts[0] for file in files})
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
    return f"{len(files)} other files ({listed}) in {', '.join(tops[:4])}{', ...' if len(tops) > 4 else ''}"


def _no_folder(folder: Path, error: OSError) -> str:
    """Explain why a folder cannot be opened, and name the nearest folder above it that exists."""
    if os.path.islink(folder):
        return f"{folder} is a link to {os.readlink(folder)}, which leads nowhere. Give the folder itself."
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return f"{folder} cannot be opened: {error.strerror}. Check the name and its permissions."
    near = ""
    for parent in folder.absolute().parents:
        if os.path.isdir(parent):
            try:
                inside = sorted(entry.name for entry in os.scandir(parent) if _is_folder(entry))[:5]
            except OSError:
                inside = []
            near = f"; {parent} exists" + (f" and holds {', '.join(inside)}" if inside else "")
            break
    return f"{folder}: there is no such folder. Check the spelling of the path{near}."


# Sorting by folder


def find_audio_folders(folder: Path, files: Sequence[PurePosixPath]) -> list[AudioFolder]:
    """Return the folders that hold audio, sorted, without the outer levels that all of them share.

    Args:
        folder: The folder that was given.
        files: The audio files below it, relative to it.

    Raises:
        LayoutError: Audio lies beside the splits, or beside the folders of stems.
    """
    root, files = _without_outer_levels(folder, files)
    tops = {file.parts[0] for file in files if len(file.parts) > 1}
    stray = [file for file in files if len(file.parts) == 1]
    splits = _split_folders(tops, files)
    _check_placement(root, tops, splits, stray)
    files_in: dict[PurePosixPath, list[Path]] = {}
    for file in files:
        # Loose files beside folders can only be mixtures (others raised an error above); they belong to no track.
        if len(file.parts) > 1 or not tops:
            files_in.setdefault(file.parent, []).append(root / file)
    if not splits:
        return [AudioFolder(path, None, "", tuple(inside)) for path, inside in sorted(files_in.items())]
    return [_folder_in_split(root, path, inside) for path, inside in sorted(files_in.items())]


def _split_folders(tops: set[str], files: Sequence[PurePosixPath]) -> set[str]:
    """Return the folders of splits; a song called 'Test' beside other songs is not one."""
    splits = {top for top in tops if split_of(top)}
    if splits != tops and all(len(file.parts) == 2 for file in files if file.parts[0] in splits):
        return set()
    return splits


def _without_outer_levels(folder: Path, files: Sequence[PurePosixPath]) -> tuple[Path, list[PurePosixPath]]:
    """Skip outer folders that hold nothing but one folder, such as those that unpacking an archive adds."""
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


def _folder_in_split(root: Path, path: PurePosixPath, files: Sequence[Path]) -> AudioFolder:
    prefix, *inner = path.parts
    if not inner:
        raise LayoutError(
            f"{root / path} holds audio directly ({few(file.name for file in files)}); expected a folder for each track, "
            f"{path}/<track>/<stem>.wav. Make these folders."
        )
    return AudioFolder(PurePosixPath(*inner), split_of(prefix), prefix, tuple(files))
