"""What a folder looks like that is not read: the nearest of the known layouts, and what it lacks of it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..audio.io import EXTENSIONS
from ..audio.stem_mp4 import SUFFIX
from .folders import few, is_reserved, split_of
from .labels import normalise
from .layout import has_stem_word


class DatasetSignature(NamedTuple):
    """A data set by what its files are called.

    ``sign`` is found in the path of each of its files and in no other's; ``needs`` are what it must have besides, by
    what they are called; ``tree`` shows how it lies on disk.
    """

    dataset: str
    sign: str
    needs: dict[str, str]
    tree: str


_PARTS = ("violin", "clarinet", "saxo?phone", "bassoon")
KINDRED = (
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
        "ChoirSet",
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
# Sets that are not read: a stem folder's reading of them would be a wrong one. What they are, and what to do.
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
    """Returns which data set a folder is nearest to that none recognises, and what it lacks; '' for a stranger to all.

    Args:
        folder: The folder.
        files: Every file below it, relative to it.
    """
    heard = [file for file in files if file.suffix.lower() in EXTENSIONS or file.name.lower().endswith(SUFFIX)]
    for kin in KINDRED:
        if signed := [file for file in files if re.search(kin.sign, str(file))]:
            return _what_is_missing(folder, kin, signed, heard)
    for sign, (name, what_to_do) in UNSUPPORTED.items():
        if found := [file for file in heard if re.search(sign, str(file))]:
            return (
                f"This looks like {name}: {len(found)} of {len(heard)} audio files are named like {found[0]}. It is not "
                f"read as it is. {what_to_do}; or, for stems of your own, say dataset='StemFolder'."
            )
    return ""


def nearest_layouts(files: Sequence[PurePosixPath]) -> str:
    """Returns what lies in a folder of audio, and the layouts of a stem folder, the nearest first, with what fits them.

    Args:
        files: The audio files, relative to the folder.
    """
    names = Counter(normalise(file.stem) for file in files)
    depths = Counter(len(file.parts) - 1 for file in files)
    often = ", ".join(f"{name} ({count})" for name, count in names.most_common(4))
    levels = ", ".join(f"{count} files {depth} folders deep" for depth, count in sorted(depths.items()))
    lines = [f"There are {levels}, such as {files[0]}; the most frequent names are {often}."]
    lines.append("Known layouts, the nearest first:")
    beside = Counter((file.parent, _track_in(file.stem)) for file in files)
    fitting = {
        "<track>/<stem>.wav": [file for file in files if _depth(file) in (1, 2) and _is_stem(file.stem, names)],
        "<stem>/<track>.wav": [file for file in files if _depth(file) == 1 and _is_stem(file.parent.name, {})],
        "<stem>.wav": [
            file for file in files if len(file.parts) == 1 and _is_stem(file.stem, {}) and not _track_in(file.stem)
        ],
        "<track>_<stem>.wav, which is not read: make each track a folder": [
            file for file in files if _track_in(file.stem) and beside[file.parent, _track_in(file.stem)] > 1
        ],
    }
    for tree, fit in sorted(fitting.items(), key=lambda item: -len(item[1])):
        rest = sorted(set(files) - set(fit))
        but = f", not {few(rest, 2)}" if fit and rest else ""
        lines.append(f"  {tree}: {len(fit)} of {len(files)} files lie so and are named so{but}")
    lines.append("Folders train, valid and test may lie above.")
    return "\n".join(lines)


def _what_is_missing(folder: Path, kin: DatasetSignature, signed: list[PurePosixPath], heard: list[PurePosixPath]) -> str:
    absolute = [str(PurePosixPath(folder.absolute().as_posix(), file)) for file in signed]
    lacking = [what for what, need in kin.needs.items() if not any(re.search(need, path) for path in absolute)]
    others = sorted(set(heard) - set(signed))
    said = [f"This is nearest to {kin.dataset}: {len(signed)} files are named as there, such as {signed[0]}"]
    said[0] += f", and {len(others)} audio files are not, such as {few(others, 2)}." if others else "."
    if lacking:
        said.append(f"Not found: {', '.join(lacking)}.")
    said.append(f"{kin.dataset} lies as {kin.tree}.")
    if others and not lacking:
        own = Path(os.path.commonpath([os.path.dirname(path) for path in absolute]))
        where = f"give its own folder, {own}, or " if own != folder.absolute() else ""
        said.append(f"To read it alone, {where}say dataset={kin.dataset!r}.")
    else:
        said.append(
            f"Copy it again as unpacked; to read what is there, say dataset={kin.dataset!r}, or 'StemFolder' for stems of "
            "your own."
        )
    return " ".join(said)


def _depth(file: PurePosixPath) -> int:
    """Returns how many folders a file lies deep, below its split."""
    above = file.parts[:-1]
    return len(above) - bool(above and split_of(above[0]))


def _is_stem(name: str, names: dict[str, int]) -> bool:
    """Tells whether a name is that of a stem or a mixture, or comes back as those of stems do."""
    label = normalise(name)
    return is_reserved(label) or has_stem_word(label) or names.get(label, 0) > 1


def _track_in(name: str) -> str:
    """Returns what stands before the last word of a name, where that is a stem's; '' where it is not."""
    track, _, stem = normalise(name).rpartition("_")
    return track if track and not has_stem_word(track) and has_stem_word(stem) else ""
