"""Recognise the data set that a folder holds, or explain why none fits."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..errors import ConfigError, DataError
from .bach10 import Bach10
from .base import StemDataset, check_not_own_output
from .choirset import DagstuhlChoirSet
from .folders import LayoutError, few, find_audio, find_files, is_audio, is_reserved, is_stem_mp4, split_of
from .labels import fitting_names, normalise
from .mixture_files import with_mixtures, with_rest
from .musdb18 import MUSDB18
from .options import StemOptions
from .remixpacks import Remixpacks
from .slakh import Slakh
from .stem_folder import StemFolder, has_stem_word
from .stem_list import StemList, is_stem_list
from .tracks import Track

# Specific data sets come before general ones, since the first that recognises a folder reads it.
_ALL = (Bach10, DagstuhlChoirSet, MUSDB18, Slakh, Remixpacks, StemList, StemFolder)
DATASETS: dict[str, type[StemDataset]] = {dataset.NAME: dataset for dataset in _ALL}


def open_tracks(stems: str | Path | Sequence[str | Path], options: StemOptions | None = None) -> tuple[str, list[Track]]:
    """Return the name of the data set that a folder holds, and its tracks; no audio is read.

    Args:
        stems: A folder of stems, a stem list (``.csv``), or several of them, whose tracks are joined.
        options: Which data set it is and which of its stems to read; None recognises it and reads all.

    Raises:
        DataError: The folder is absent, empty or unknown; or two of several folders have the same name, and each has a
            track of the same name.
        ConfigError: There is no such data set.
    """
    options = options or StemOptions()
    if isinstance(stems, (str, os.PathLike)):
        name, tracks = _open(Path(stems), options)
    else:
        name, tracks = _joined([Path(folder) for folder in stems], options)
    if options.rest:
        tracks = with_rest(tracks)
    if options.use_mixtures:
        tracks = with_mixtures(tracks)
    return name, tracks


def find_dataset(name: str) -> type[StemDataset]:
    """Return the data set of this name, in any spelling; a part of the name is enough if it fits one data set only.

    Raises:
        ConfigError: The name fits none, or several.

    >>> find_dataset("dagstuhl").__name__, find_dataset("stem folder").__name__
    ('DagstuhlChoirSet', 'StemFolder')
    """
    fitting = fitting_names(name, DATASETS)
    if len(fitting) != 1:
        why = f"fits {' and '.join(fitting)}" if fitting else "is unknown"
        raise ConfigError(f"Data set {name!r} {why}. Choose one of {', '.join(DATASETS)}.")
    return DATASETS[fitting[0]]


def _open(folder: Path, options: StemOptions) -> tuple[str, list[Track]]:
    check_not_own_output(folder)
    if options.dataset is not None:
        chosen = find_dataset(options.dataset)
    elif "layout" in options.options:  # an option of StemFolder alone
        chosen = StemFolder
    elif is_stem_list(folder):
        chosen = StemList
    else:
        specific = [known for known in DATASETS.values() if known not in (StemFolder, StemList)]
        chosen = next((known for known in specific if known.recognises(folder)), StemFolder)
        if chosen is StemFolder and (sentence := nearest_dataset(folder, find_files(folder))):
            raise DataError(f"No data set is recognised in {folder}. {sentence}")
    try:
        return chosen.NAME, chosen.find_tracks(folder, options.groups, options.ignore, **options.options)
    except LayoutError as error:
        raise DataError(f"{error}\n{nearest_layouts(find_audio(folder, options.ignore))}") from None


def _joined(folders: Sequence[Path], options: StemOptions) -> tuple[str, list[Track]]:
    """Return the names of the data sets of several folders, and all tracks; equal track names get the folder's in front."""
    if not folders:
        raise DataError("No folder of stems was given. Give one or more.")
    opened = [_open(folder, options) for folder in folders]
    counts = Counter(track.name for _, tracks in opened for track in tracks)
    joined: dict[str, Track] = {}
    for folder, (_, tracks) in zip(folders, opened, strict=True):
        for track in tracks:
            name = track.name if counts[track.name] == 1 else str(PurePosixPath(folder.absolute().name, track.name))
            if name in joined:
                raise DataError(f"Track {name!r} is in two of the folders {few(folders)}. Rename one.")
            joined[name] = replace(track, name=name)
    return "+".join(dict.fromkeys(name for name, _ in opened)), sorted(joined.values(), key=lambda track: track.name)


# Explaining what is not recognised


class DatasetSignature(NamedTuple):
    """The names by which the files of a data set can be recognised.

    Attributes:
        dataset: Name of the data set.
        sign: Pattern that fits the path of each of its files, and no other path.
        needs: Description -> pattern that at least one path must fit as well.
        tree: Its layout on disk, for messages.
    """

    dataset: str
    sign: str
    needs: dict[str, str]
    tree: str


_PARTS = ("violin", "clarinet", "saxo?phone", "bassoon")
SIGNATURES = (
    DatasetSignature(
        "Bach10",
        rf"(^|/)\d{{2}}-[A-Za-z0-9]+-({'|'.join(_PARTS)})\.\w+$",
        {
            "a folder for each piece": r"(^|/)(\d{2}-[A-Za-z0-9]+)/\2-[a-z]+\.wav$",
            **{f"any {part.replace('o?', '')}": rf"-{part}\.wav$" for part in _PARTS},
        },
        "01-AchGottundHerr/01-AchGottundHerr-violin.wav, -clarinet.wav, -saxphone.wav, -bassoon.wav",
    ),
    DatasetSignature(
        "Slakh",
        r"(^|/)Track\d{5}/(.+/)?(S\d\d\.(wav|flac)|mix\.(wav|flac)|metadata\.yaml|all_src\.mid)$",
        {
            "any audio of stems, in a folder stems right below the track's": r"Track\d{5}/stems/S\d\d\.(wav|flac)$",
            "any metadata.yaml in the track's folder": r"Track\d{5}/metadata\.yaml$",
        },
        "Track00001/metadata.yaml, Track00001/stems/S00.flac",
    ),
    DatasetSignature(
        "DagstuhlChoirSet",
        r"(^|/)DCS_(LI|TP|SE)_[^/]*\.wav$",
        {"any dynamic microphone": r"_DYN\.wav$"},
        "audio_wav_22050_mono/DCS_LI_QuartetA_Take01_S2_DYN.wav",
    ),
    DatasetSignature(
        "MUSDB18",
        r"\.stem\.mp4$",
        {"a folder train or test": r"(^|/)(train|test)/[^/]*\.stem\.mp4$"},
        "train/Artist - Title.stem.mp4, test/Artist - Title.stem.mp4, the streams in the order mixture, drums, bass, "
        "other, vocals",
    ),
)
# Unsupported data sets, which StemFolder would misread: pattern -> (name, what to do).
UNSUPPORTED = {
    r"(^|/)\d{2}[_-][A-Za-z]+_([a-z]+_)?(violin|clarinet|saxophone|bassoon)[^/]*\.wav$": (
        "a set derived from Bach10 (Sibelius, mf0-synth)",
        "Sort its stems into a folder for each piece",
    ),
    r"_STEMS/[^/]*_STEM_\d\d\.wav$": (
        "MedleyDB",
        "Sum the stems of each instrument that you want, into <track>/<instrument>.wav",
    ),
    r"(^|/)([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})/\w+/[0-9a-f-]{36}\.wav$": (
        "MoisesDB",
        "Sum the files in each stem's folder, into <track>/<stem>.wav",
    ),
    r"(^|/)AuSep_\d+_[a-z]+_\d+_[^/]*\.wav$": (
        "URMP",
        "Copy the separate recordings, AuSep_1_vn_01_Jupiter.wav, to names of instruments, 01_Jupiter/violin.wav",
    ),
}


def nearest_dataset(folder: Path, files: Sequence[PurePosixPath]) -> str:
    """Return which data set a folder resembles, and what it lacks; '' where it resembles none.

    Args:
        folder: The folder.
        files: Every file below it, relative to it.
    """
    audio = [file for file in files if is_audio(file) or is_stem_mp4(file)]
    for known in SIGNATURES:
        if matching := [file for file in files if re.search(known.sign, str(file))]:
            return _what_is_missing(folder, known, matching, audio)
    for sign, (name, what_to_do) in UNSUPPORTED.items():
        if found := [file for file in audio if re.search(sign, str(file))]:
            return (
                f"This looks like {name}, which is not supported: {len(found)} of {len(audio)} audio files are named like "
                f"{found[0]}. {what_to_do}; or, for your own stems, use --dataset StemFolder."
            )
    return ""


def nearest_layouts(files: Sequence[PurePosixPath]) -> str:
    """Describe a folder of audio, and list the known layouts with how many of its files fit, the best first.

    Args:
        files: The audio files, relative to the folder.
    """
    names = Counter(normalise(file.stem) for file in files)
    depths = Counter(len(file.parts) - 1 for file in files)
    often = ", ".join(f"{name} ({count})" for name, count in names.most_common(4))
    levels = ", ".join(f"{count} files {depth} folders deep" for depth, count in sorted(depths.items()))
    lines = [f"There are {levels}, such as {files[0]}; the most frequent names are {often}."]
    lines.append("Known layouts, the best fitting first:")
    beside = Counter((file.parent, _track_in(file.stem)) for file in files)
    fitting = {
        "<track>/<stem>.wav": [file for file in files if _depth(file) in (1, 2) and _is_stem(file.stem, names)],
        "<stem>/<track>.wav": [file for file in files if _depth(file) == 1 and _is_stem(file.parent.name, {})],
        "<stem>.wav": [
            file for file in files if len(file.parts) == 1 and _is_stem(file.stem, {}) and not _track_in(file.stem)
        ],
        "<track>_<stem>.wav, which is not supported: make each track a folder": [
            file for file in files if _track_in(file.stem) and beside[file.parent, _track_in(file.stem)] > 1
        ],
    }
    for tree, fit in sorted(fitting.items(), key=lambda item: -len(item[1])):
        rest = sorted(set(files) - set(fit))
        but = f", not {few(rest, 2)}" if fit and rest else ""
        lines.append(f"  {tree}: {len(fit)} of {len(files)} files fit{but}")
    lines.append("Each layout may lie below folders train, valid and test.")
    return "\n".join(lines)


def _what_is_missing(
    folder: Path, known: DatasetSignature, matching: list[PurePosixPath], audio: list[PurePosixPath]
) -> str:
    absolute = [str(PurePosixPath(folder.absolute().as_posix(), file)) for file in matching]
    lacking = [what for what, need in known.needs.items() if not any(re.search(need, path) for path in absolute)]
    others = sorted(set(audio) - set(matching))
    sentences = [f"It resembles {known.dataset}: {len(matching)} files are named like its files, such as {matching[0]}"]
    sentences[0] += f", and {len(others)} audio files are not, such as {few(others, 2)}." if others else "."
    if lacking:
        sentences.append(f"Not found: {', '.join(lacking)}.")
    sentences.append(f"The layout of {known.dataset} is {known.tree}.")
    if others and not lacking:
        own = Path(os.path.commonpath([os.path.dirname(path) for path in absolute]))
        where = f"give its own folder, {own}, or " if own != folder.absolute() else ""
        sentences.append(f"To read it alone, {where}use --dataset {known.dataset}.")
    else:
        sentences.append(
            f"Copy it again as unpacked; to read the files as they are, use --dataset {known.dataset}, or --dataset "
            "StemFolder for your own stems."
        )
    return " ".join(sentences)


def _depth(file: PurePosixPath) -> int:
    """Return the number of folders above a file, below its split."""
    above = file.parts[:-1]
    return len(above) - bool(above and split_of(above[0]))


def _is_stem(name: str, names: dict[str, int]) -> bool:
    """Tell whether a name is that of a mixture, contains the word for a stem, or occurs more than once."""
    label = normalise(name)
    return is_reserved(label) or has_stem_word(label) or names.get(label, 0) > 1


def _track_in(name: str) -> str:
    """Return a name without its last word if that is the word for a stem; else ''."""
    track, _, stem = normalise(name).rpartition("_")
    return track if track and not has_stem_word(track) and has_stem_word(stem) else ""
