"""Stage 1, data sets: stems on disk become tracks, ``{label: [files to sum]}``, and nussl's items.

One module a data set, all with the face of ``StemDataset``. ``open_tracks`` recognises which one a folder
holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError, DataError
from .bach10 import Bach10
from .base import StemDataset, Track, complete_tracks, in_split, split_tracks
from .choirset import ChoirSet
from .folders import LayoutError
from .labels import Groups, counted, labels_of, missing_labels, normalise
from .musdb18 import MUSDB18
from .nearest import nearest_dataset, nearest_layouts
from .remixpacks import Remixpacks
from .scan import find_audio, find_files
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
        if chosen is StemFolder and (sentence := nearest_dataset(folder, find_files(folder))):
            raise DataError(f"Stems were asked for in {folder}: no data set is recognised. {sentence}")
    try:
        return chosen.NAME, chosen.find_tracks(folder, groups=groups, ignore=ignore, **options)
    except LayoutError as error:
        raise DataError(f"{error}\n{nearest_layouts(find_audio(folder, ignore))}") from None


def _is_store(folder: Path) -> bool:
    manifest = folder / "manifest.json"
    return manifest.is_file() and b'"sample_rate"' in manifest.read_bytes()[:1000]
