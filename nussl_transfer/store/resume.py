"""Stage 2, the entries of finished tracks, by which an interrupted preparation goes on where it stopped.

Each finished track of a store leaves ``<store>/.parts/<track>.json``: what the manifest will say of it, and
the size and time of each file it was made from. Stems are written before their entry and the manifest after
all entries, so nothing that was cut short is ever taken for whole.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from ..audio.io import header
from ..audio.stem_mp4 import on_disk
from ..datasets.tracks import Track
from ..errors import AudioFileError
from ..runtime.files import write_json
from .manifest import MANIFEST, MIXTURE, StoredStem, StoredTrack

PARTS = ".parts"
# What a file that is no entry, or one of an older form, may raise on the way.
_NO_ENTRY = (OSError, ValueError, KeyError, TypeError, AttributeError)


def describe_sources(track: Track) -> dict[str, list[dict]]:
    """Return path, size and modification time of each file of each stem; of a stream, those of its container.

    The files of a mixture that is used are listed under ``MIXTURE``, and files that are subtracted with their stem.

    Raises:
        OSError: A file is not there.
    """
    files_of = {label: (*files, *track.minus.get(label, ())) for label, files in sorted(track.stems.items())}
    if track.uses_mixture:
        files_of[MIXTURE] = (track.mixture,)
    return {label: [_describe(path, track) for path in files] for label, files in files_of.items()}


def _describe(path: Path, track: Track) -> dict:
    status = os.stat(on_disk(path))
    about = {"path": os.path.abspath(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    return about | ({"span": list(track.spans[path])} if path in track.spans else {})


def write_part(store: Path, entry: StoredTrack, sample_rate: int) -> None:
    """Writes the entry of a track whose stems are in the store."""
    write_json(_path(store, entry.name), {"sample_rate": sample_rate, "track": asdict(entry)})


def load_entry(store: Path, track: Track, sample_rate: int) -> StoredTrack | None:
    """Returns the entry of a track that an earlier run finished, if all it says still holds."""
    try:
        part = json.loads(_path(store, track.name).read_text(encoding="utf-8"))
        entry = part["track"]
        stems = {label: StoredStem(**stem) for label, stem in entry["stems"].items()}
        mixture = StoredStem(**entry["mixture"]) if entry.get("mixture") else None
        stored = stems if mixture is None else {**stems, MIXTURE: mixture}
        same_rate = part["sample_rate"] == sample_rate
        same_sources = {label: stem.sources for label, stem in stored.items()} == describe_sources(track)
        whole = all(header(store / stem.file).frames == entry["frames"] for stem in stored.values())
    except (*_NO_ENTRY, AudioFileError):
        return None
    if not (same_rate and same_sources and whole):
        return None
    # The split and the origin are the data set's to say; they may have changed without the audio.
    return StoredTrack(track.name, track.split, entry["frames"], stems, track.origin, mixture)


def discard_entry(store: Path, name: str) -> None:
    """Removes what is in the store of a track that is to be made anew; a manifest of it goes first."""
    if (store / name).exists():
        (store / MANIFEST).unlink(missing_ok=True)
    _remove(store, _path(store, name))


def drop_other_parts(store: Path, names: set[str]) -> None:
    """Removes stems and entries of tracks that the data set has no longer."""
    folder = store / PARTS
    for path in sorted(folder.rglob("*.json")):
        if path.relative_to(folder).as_posix().removesuffix(".json") not in names:
            _remove(store, path)


def _path(store: Path, name: str) -> Path:
    return store / PARTS / f"{name}.json"


def _remove(store: Path, path: Path) -> None:
    """Removes an entry and the stems it names."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))["track"]
        files = [Path(stem["file"]) for stem in (*entry["stems"].values(), entry.get("mixture")) if stem]
    except _NO_ENTRY:
        files = []
    path.unlink(missing_ok=True)
    for file in files:
        # An entry is a file like any other: it cannot have anything removed outside the store.
        if not file.is_absolute() and ".." not in file.parts:
            (store / file).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                (store / file).parent.rmdir()  # only when empty
