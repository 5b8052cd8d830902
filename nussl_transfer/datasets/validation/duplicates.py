"""Find music that occurs twice, by its samples or by its origin; music in two splits makes test scores too good."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..folders import few
from ..tracks import Track
from .findings import Finding, StemRow
from .stems import SILENCE

SPLITS = "Keep the same music in one split: scores on music that was trained on are too good."
ONCE = "Keep one of them, unless the music has the part twice."


def find_duplicate_audio(rows: Sequence[StemRow]) -> list[Finding]:
    """Return a warning for audio that is in two splits or two labels, and a note for audio that is in two tracks.

    Decoded files are compared by their samples; else files of equal length and size are compared byte by byte.
    """
    alike: dict[object, list[StemRow]] = {}
    for row in rows:
        if row.peak is None or row.peak >= SILENCE:  # all silent files are alike
            alike.setdefault((row.digest or _size(row), row.seconds, row.sample_rate, row.channels), []).append(row)
    found: list[Finding] = []
    for group in alike.values():
        if len(group) > 1 and group[0].digest is None:
            for same in _by_bytes(group):
                found += _about(same)
        elif len(group) > 1:
            found += _about(group)
    return found


def same_origins(tracks: Sequence[Track]) -> list[Finding]:
    """Return a warning where tracks of one origin, a MIDI file or a song, are in different splits; else a note.

    In a pool, where each stem of a song is a track, these tracks are not the same music.
    """
    by_origin: dict[str, list[Track]] = {}
    for track in tracks:
        if track.origin is not None:
            by_origin.setdefault(track.origin, []).append(track)
    groups = [group for group in by_origin.values() if len(group) > 1]
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
    """Yield the finding for files of the same audio."""
    files = few(f"{row.track} {row.label} ({Path(row.file).name})" for row in rows)
    labels = {(row.track, row.label) for row in rows}
    splits = {row.split for row in rows}
    if len(splits) > 1:
        named = " and ".join(sorted(map(str, splits)))
        yield Finding("warning", None, None, f"the same audio is in {named}: {files}", SPLITS)
    elif len({row.label for row in rows}) > 1 and len({row.track for row in rows}) < len(labels):
        what = f"two of its stems are the same audio: {files}"
        yield Finding("warning", rows[0].track, None, what, "No network can separate them. Leave one out, or merge them.")
    elif len({row.track for row in rows}) > 1:
        yield Finding("note", None, None, f"the same audio is in several tracks: {files}", ONCE)
    else:
        yield Finding("note", rows[0].track, rows[0].label, f"the same audio is in it twice: {files}", ONCE)


def _by_bytes(rows: Sequence[StemRow]) -> Iterable[list[StemRow]]:
    same: dict[bytes, list[StemRow]] = {}
    for row in rows:
        try:
            with open(row.file, "rb") as file:
                digest = hashlib.blake2b()
                while block := file.read(2**20):
                    digest.update(block)
        except OSError:  # a stream in a container, which a deep check compares; or a file that is gone
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
