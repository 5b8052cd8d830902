"""Resume an interrupted preparation, by an entry for each finished track.

The entry ``<store>/.parts/<track>.json`` holds the track's part of the manifest, and the size and time of each source file.
Stems are written before their entry, and the manifest after all entries, so nothing incomplete is ever read as complete.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from pathlib import Path

from ..audio.io import header
from ..audio.stem_mp4 import on_disk
from ..datasets.tracks import Track
from ..errors import DataError
from ..runtime.files import read_json, write_json
from .manifest import MANIFEST, MIXTURE, StoredStem, StoredTrack

PARTS = ".parts"
# Errors from reading a file that is not an entry, or is an entry in an older format.
_NO_ENTRY = (DataError, OSError, ValueError, KeyError, TypeError, AttributeError)


def describe_sources(track: Track) -> dict[str, list[dict]]:
    """Return path, size and modification time of each file of each stem; for a stream, those of its container.

    A given mixture is listed under ``MIXTURE``, and subtracted files with the stem that they are subtracted from.

    Raises:
        OSError: A file is not there.
    """
    files_of = {label: (*files, *track.minus.get(label, ())) for label, files in sorted(track.stems.items())}
    if track.given_mixture is not None:
        files_of[MIXTURE] = (track.given_mixture,)
    return {label: [_describe(path, track) for path in files] for label, files in files_of.items()}


def _describe(path: Path, track: Track) -> dict:
    status = os.stat(on_disk(path))
    about = {"path": os.path.abspath(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    return about | ({"span": list(track.spans[path])} if path in track.spans else {})


def write_part(store: Path, entry: StoredTrack, sample_rate: int) -> None:
    """Write the entry of a track whose stems are in the store."""
    write_json(_path(store, entry.name), {"sample_rate": sample_rate, "track": asdict(entry)})


def load_entry(store: Path, track: Track, sample_rate: int) -> StoredTrack | None:
    """Load the entry of a track that an earlier run finished; None where its sources or its stems have changed."""
    try:
        part = read_json(_path(store, track.name))
        entry = part["track"]
        stems = {label: StoredStem(**stem) for label, stem in entry["stems"].items()}
        mixture = StoredStem(**entry["mixture"]) if entry.get("mixture") else None
        stored = stems if mixture is None else {**stems, MIXTURE: mixture}
        same_rate = part["sample_rate"] == sample_rate
        same_sources = {label: stem.sources for label, stem in stored.items()} == describe_sources(track)
        whole = all(header(store / stem.file).frames == entry["frames"] for stem in stored.values())
    except _NO_ENTRY:
        return None
    if not (same_rate and same_sources and whole):
        return None
    # Split and origin come from the data set: they may have changed without the audio.
    return StoredTrack(track.name, track.split, entry["frames"], stems, track.origin, mixture)


def discard_entry(store: Path, name: str) -> None:
    """Remove a track before it is prepared again; first remove the manifest, which lists it."""
    if (store / name).exists():
        (store / MANIFEST).unlink(missing_ok=True)
    _remove(store, _path(store, name))


def drop_other_parts(store: Path, names: set[str]) -> None:
    """Remove stems and entries of tracks that are no longer in the data set."""
    folder = store / PARTS
    for path in sorted(folder.rglob("*.json")):
        if path.relative_to(folder).as_posix().removesuffix(".json") not in names:
            _remove(store, path)


def _path(store: Path, name: str) -> Path:
    return store / PARTS / f"{name}.json"


def _remove(store: Path, path: Path) -> None:
    """Remove an entry and the stems it names."""
    try:
        entry = read_json(path)["track"]
        files = [Path(stem["file"]) for stem in (*entry["stems"].values(), entry.get("mixture")) if stem]
    except _NO_ENTRY:
        files = []
    path.unlink(missing_ok=True)
    for file in files:
        # The entry may have been edited: it must not remove anything outside of the store.
        if not file.is_absolute() and ".." not in file.parts:
            (store / file).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                (store / file).parent.rmdir()  # only when empty
