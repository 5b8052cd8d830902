"""Stage 1, data sets: stems on disk become tracks, ``{label: [files to sum]}``, and nussl's items.

One module a data set, all with the face of ``StemDataset``. ``open_tracks`` recognises which one a folder
holds.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError, DataError
from .bach10 import Bach10
from .base import StemDataset, Track, complete_tracks, in_split, split_tracks
from .choirset import ChoirSet
from .folders import LayoutError
from .labels import counted, labels_of, missing_labels, normalise
from .musdb18 import MUSDB18
from .nearest import nearest_dataset, nearest_layouts
from .options import StemOptions
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
    "StemOptions",
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


def open_tracks(folder: str | Path, options: StemOptions | None = None) -> tuple[str, list[Track]]:
    """Return the name of the data set that a folder holds, and its tracks; no audio is read.

    Args:
        folder: The folder.
        options: Which data set it is and which of its stems to read; None recognises it and reads all.

    Raises:
        DataError: The folder is not there, is empty, or holds nothing that is known.
        ConfigError: There is no such data set.
    """
    options = options or StemOptions()
    dataset, folder = options.dataset, Path(folder)
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
        return chosen.NAME, chosen.find_tracks(folder, groups=options.groups, ignore=options.ignore, **options.options)
    except LayoutError as error:
        raise DataError(f"{error}\n{nearest_layouts(find_audio(folder, options.ignore))}") from None


def _is_store(folder: Path) -> bool:
    manifest = folder / "manifest.json"
    return manifest.is_file() and b'"sample_rate"' in manifest.read_bytes()[:1000]
