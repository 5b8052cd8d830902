"""Read and write ``manifest.json``, the list of tracks and stems of a store."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import DataError
from ..runtime.files import read_json, write_json

FORMAT = 1
MANIFEST = "manifest.json"
# The name of a given mixture among the files of a track.
MIXTURE = "mixture"


@dataclass(frozen=True)
class StoredStem:
    """One stem of a store.

    Attributes:
        file: Path of its file below the store.
        rms: RMS level as a share of full scale.
        peak: Peak level as a share of full scale.
        active: Intervals ``[start, end)`` in frames in which the stem is active.
        sources: Path, size and modification time of each file that was summed; a change of one makes the stem stale.
    """

    file: str
    rms: float
    peak: float
    active: list[list[int]]
    sources: list[dict] = field(default_factory=list)


@dataclass(frozen=True)
class StoredTrack:
    """One track of a store.

    Attributes:
        name: Unique name.
        split: 'train', 'valid', 'test' or None.
        frames: Number of samples of every stem.
        stems: Stems by label.
        origin: What the track was made from: tracks of one origin are the same music.
        mixture: The given mixture, if training uses it as input instead of the sum of the stems.
    """

    name: str
    split: str | None
    frames: int
    stems: dict[str, StoredStem]
    origin: str | None = None
    mixture: StoredStem | None = None


@dataclass(frozen=True)
class Manifest:
    """The content of a store.

    Attributes:
        sample_rate: Rate of all stems in Hz.
        dataset: Name of the data set.
        tracks: Tracks in alphabetical order.
        missing: 'silence' if a label that a track lacks counts as a silent stem; else 'error'.
    """

    sample_rate: int
    dataset: str
    tracks: tuple[StoredTrack, ...]
    missing: str = "error"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest atomically."""
    about = {
        "format": FORMAT,
        "sample_rate": manifest.sample_rate,
        "dataset": manifest.dataset,
        "missing": manifest.missing,
        "labels": sorted({label for track in manifest.tracks for label in track.stems}),
        "tracks": [asdict(track) for track in manifest.tracks],
    }
    write_json(folder / MANIFEST, about)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        DataError: There is none, it is damaged, or it has another format.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(
            f"{folder} is not a store: it holds no {MANIFEST}. Make one with `nussl-transfer prepare DATA --out "
            f"{shlex.quote(str(folder))}`."
        )
    about = read_json(path, ("sample_rate", "dataset", "tracks"), "Prepare the store again.", FORMAT)
    try:
        tracks = tuple(_track_from_json(entry) for entry in about["tracks"])
        return Manifest(about["sample_rate"], about["dataset"], tracks, about.get("missing", "error"))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error}). Prepare the store again.") from error


def _track_from_json(entry: dict) -> StoredTrack:
    stems = {label: StoredStem(**stem) for label, stem in entry["stems"].items()}
    # Older manifests have neither origin nor mixture.
    mixture = entry.get("mixture")
    mixture = None if mixture is None else StoredStem(**mixture)
    return StoredTrack(entry["name"], entry["split"], entry["frames"], stems, entry.get("origin"), mixture)
