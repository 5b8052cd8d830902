"""Stage 2, the manifest: what a store says is in it, as ``manifest.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import DataError
from ..runtime.files import write_json

FORMAT = 1
MANIFEST = "manifest.json"
# The name of a given mixture among the files of a track.
MIXTURE = "mixture"


@dataclass(frozen=True)
class StoredStem:
    """What the manifest says of one stem: its file, its level, where it sounds, what it was made from.

    ``active`` holds ``[start, end)`` pairs in frames. ``sources`` holds the path, size and modification time
    of each file that was summed, by which a stale entry is noticed.
    """

    file: str
    rms: float
    peak: float
    active: list[list[int]]
    sources: list[dict] = field(default_factory=list)


@dataclass(frozen=True)
class StoredTrack:
    """One track of a store: every stem has ``frames`` samples.

    ``origin`` is that of the data set's track; ``mixture`` is a given mixture that is not the sum of the stems, if such
    mixtures are the input of the training.
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
        missing: 'silence' where a label that a track lacks is silent in it; else 'error'.
    """

    sample_rate: int
    dataset: str
    tracks: tuple[StoredTrack, ...]
    missing: str = "error"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes a manifest, aside and renamed."""
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
    """Returns the manifest in a folder.

    Raises:
        DataError: There is none, or it is not as it was written, or is of another format.
    """
    path = folder / MANIFEST
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"A store was asked for in {folder}: it holds no {MANIFEST}. Make one with "
            f"`nussl-transfer prepare DATA --out {folder}`."
        ) from None
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}. Prepare the store again.") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else type(about).__name__
        raise DataError(f"{path} should be of format {FORMAT}: found {found}. Prepare the store again.")
    try:
        tracks = tuple(_track_from_json(entry) for entry in about["tracks"])
        return Manifest(about["sample_rate"], about["dataset"], tracks, about.get("missing", "error"))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not as it was written ({error}). Prepare the store again.") from error


def _track_from_json(entry: dict) -> StoredTrack:
    stems = {label: StoredStem(**stem) for label, stem in entry["stems"].items()}
    # Manifests of before there were origins have none.
    mixture = entry.get("mixture")
    mixture = None if mixture is None else StoredStem(**mixture)
    return StoredTrack(entry["name"], entry["split"], entry["frames"], stems, entry.get("origin"), mixture)
