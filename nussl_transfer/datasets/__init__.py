"""Stage 1, data sets: stems on disk become tracks, ``{label: [files to sum]}``, and nussl's items.

One module a data set, all with the face of ``StemDataset``. ``open_tracks`` recognises which one a folder
holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError, DataError
from .bach10 import Bach10
from .base import StemDataset, Track, complete_tracks, in_split, split_tracks
from .choirset import ChoirSet
from .labels import Groups, counted, labels_of, missing_labels, normalise
from .musdb18 import MUSDB18
from .remixpacks import Remixpacks
from .scan import find_files
from .slakh import Slakh
from .stem_folder import StemFolder

__all__ = [
    "Bach10",
    "ChoirSet",
    "DATASETS",
    "MUSDB18",
    "Remixpacks",
    "Slakh",
    "StemDataset",
    "StemFolder",
    "Track",
    "complete_tracks",
    "counted",
    "in_split",
    "labels_of",
    "missing_labels",
    "open_tracks",
    "split_tracks",
]

# The specific before the general: the first that recognises a folder reads it.
_ALL = (Bach10, ChoirSet, MUSDB18, Slakh, Remixpacks, StemFolder)
DATASETS: dict[str, type[StemDataset]] = {dataset.NAME: dataset for dataset in _ALL}

# Trees that are known and not read: a stem folder's error, or a stem folder's reading of them, would mislead.
_FOREIGN = (
    (
        r"(^|/)\d{2}-\w+/\d{2}-\w+-(violin|clarinet|saxo?phone|bassoon)\.wav$",
        "Bach10 lies in it, with other audio beside it: give the folder Bach10_v1.1 itself, or say dataset='Bach10'.",
    ),
    (
        r"(^|/)Track\d{5}/(stems/S\d\d|mix)\.(wav|flac)$",
        "Slakh2100 lies in it, with other audio beside it: give its own folder, or say dataset='Slakh'.",
    ),
    (
        r"(^|/)DCS_(LI|TP|SE)_[^/]*\.wav$",
        "Dagstuhl ChoirSet lies in it, with other audio beside it: give its own folder, or say dataset='ChoirSet'.",
    ),
    (
        r"\.stem\.mp4$",
        "It holds .stem.mp4 files, and other audio or other songs than MUSDB18's. If their streams are mixture, drums, "
        "bass, other, vocals, give their own folder and say dataset='MUSDB18'.",
    ),
    (
        r"(^|/)\d{2}[_-][A-Za-z]+_([a-z]+_)?(violin|clarinet|saxophone|bassoon)[^/]*\.wav$",
        "This looks like a set derived from Bach10 (Sibelius, mf0-synth): sort its stems into a folder for each piece.",
    ),
)


def open_tracks(
    folder: str | Path,
    dataset: str | None = None,
    groups: Groups | None = None,
    ignore: Sequence[str] = (),
    **options,
) -> tuple[str, list[Track]]:
    """Returns the name of the data set that a folder holds, and its tracks; no audio is read.

    Args:
        folder: The folder.
        dataset: Name of a data set ('Bach10', 'StemFolder', in any spelling); None recognises it.
        groups: Stems to merge, ``{'male': ['tenor', 'bass']}``: see ``labels.group_tracks``.
        ignore: Patterns of labels, files, folders and tracks to pass over.
        options: The data set's own, such as ``layout`` of StemFolder or ``held_out`` of Bach10.

    Raises:
        DataError: The folder is not there, is empty, or holds nothing that is known.
        ConfigError: There is no such data set.
    """
    folder = Path(folder)
    if _is_store(folder):
        raise DataError(f"Stems were asked for in {folder}: it is a store already. Use it as it is, or give its source.")
    if dataset is not None:
        named = {normalise(name).replace("_", ""): found for name, found in DATASETS.items()}
        chosen = named.get(normalise(dataset).replace("_", ""))
        if chosen is None:
            raise ConfigError(f"Data set {dataset!r} was asked for. Known are {', '.join(DATASETS)}.")
    else:
        specific = [known for known in DATASETS.values() if known is not StemFolder]
        chosen = next((known for known in specific if known.recognises(folder)), StemFolder)
        if chosen is StemFolder and (hint := _foreign(folder)):
            raise DataError(f"Stems were asked for in {folder}. {hint}")
    return chosen.NAME, chosen.find_tracks(folder, groups=groups, ignore=ignore, **options)


def _is_store(folder: Path) -> bool:
    manifest = folder / "manifest.json"
    return manifest.is_file() and b'"sample_rate"' in manifest.read_bytes()[:1000]


def _foreign(folder: Path) -> str:
    """Returns what a folder looks like that no data set here reads; '' if like nothing."""
    for path in map(str, find_files(folder)):
        for tree, sentence in _FOREIGN:
            if re.search(tree, path):
                return sentence
    return ""
