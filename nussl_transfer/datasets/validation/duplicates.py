"""The same music twice: by its samples, and by what it was made from. Across splits it makes a test unfair."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..base import Track
from ..folders import few
from .findings import Finding, StemRow
from .stems import SILENCE

SPLITS = "Keep all that is the same music in one split: a test on what was trained on promises too much."
ONCE = "Keep one of them, unless the music has it twice."


def find_duplicate_audio(rows: Sequence[StemRow]) -> list[Finding]:
    """Returns a warning for each sound that is in two splits, or in two labels; a note where it is in two tracks.

    Decoded files are compared by their samples; where there are headers alone, files of one length and size are, byte
    by byte.
    """
    alike: dict[object, list[StemRow]] = {}
    for row in rows:
        if row.peak is None or row.peak >= SILENCE:  # silence is silence
            alike.setdefault((row.digest or _size(row), row.seconds, row.sample_rate, row.channels), []).append(row)
    found = []
    for group in alike.values():
        if len(group) > 1 and group[0].digest is None:
            for same in _by_bytes(group):
                found += _about(same)
        elif len(group) > 1:
            found += _about(group)
    return found


def same_origins(tracks: Sequence[Track]) -> list[Finding]:
    """Returns a warning where tracks of one origin, a MIDI file or a song, are in different splits; else a note.

    The stems of one song that are tracks each, as in a pool, are not the same music.
    """
    of: dict[str, list[Track]] = {}
    for track in tracks:
        if track.origin is not None:
            of.setdefault(track.origin, []).append(track)
    groups = [group for group in of.values() if len(group) > 1]
    crossing = [group for group in groups if len({track.split for track in group}) > 1]
    found = []
    for level, some, advice in (
        ("warning", crossing, SPLITS),
        ("note", [group for group in groups if group not in crossing and _share_a_label(group)], ""),
    ):
        if some:
            listed = "; ".join(_names(group) for group in some[:3])
            where = "different splits" if level == "warning" else "one split"
            more = f"; and {len(some) - 3} more such" if len(some) > 3 else ""
            what = f"the same music is in several tracks of {where}: {listed}{more}"
            found.append(Finding(level, None, None, what, advice))
    return found


def _about(rows: Sequence[StemRow]) -> Iterable[Finding]:
    """Yields what there is to say of files that are the same sound."""
    files = few(f"{row.track} {row.label} ({Path(row.file).name})" for row in rows)
    labels = {(row.track, row.label) for row in rows}
    splits = {row.split for row in rows}
    if len(splits) > 1:
        named = " and ".join(sorted(map(str, splits)))
        yield Finding("warning", None, None, f"the same sound is in {named}: {files}", SPLITS)
    elif len({row.label for row in rows}) > 1 and len({row.track for row in rows}) < len(labels):
        what = f"two of its stems are the same sound: {files}"
        yield Finding("warning", rows[0].track, None, what, "No network can tell them apart. Leave one out, or merge them.")
    elif len({row.track for row in rows}) > 1:
        yield Finding("note", None, None, f"the same sound is in several tracks: {files}", ONCE)
    else:
        yield Finding("note", rows[0].track, rows[0].label, f"the same sound is in it twice: {files}", ONCE)


def _by_bytes(rows: Sequence[StemRow]) -> Iterable[list[StemRow]]:
    same: dict[bytes, list[StemRow]] = {}
    for row in rows:
        try:
            with open(row.file, "rb") as file:
                digest = hashlib.blake2b()
                while block := file.read(2**20):
                    digest.update(block)
        except OSError:  # a stream within a file, or one that is gone: a deep look hears it
            continue
        same.setdefault(digest.digest(), []).append(row)
    return [group for group in same.values() if len(group) > 1]


def _share_a_label(tracks: Sequence[Track]) -> bool:
    return max(Counter(label for track in tracks for label in track.stems).values(), default=0) > 1


def _size(row: StemRow) -> int:
    try:
        return Path(row.file).stat().st_size
    except OSError:
        return -1


def _names(tracks: Sequence[Track]) -> str:
    splits = Counter(track.split for track in tracks)
    return ", ".join(f"{track.name} ({track.split})" if len(splits) > 1 else track.name for track in tracks)
