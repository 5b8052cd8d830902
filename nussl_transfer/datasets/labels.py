"""Names of stems: one spelling for each, groups of them, and which tracks lack one.

The rule of names, everywhere: case, blanks, hyphens and underscores do not count (``Soprano `` and
``soprano`` are one label, ``Practice only`` is ``practice_only``). A trailing number, arabic or roman, makes
another label (``TENOR II`` is ``tenor_ii``), but belongs to the plain name where a group asks for that
(``tenor`` takes ``TENOR I`` and ``Tenor 2``), unless some group names the number itself.
"""

from __future__ import annotations

import difflib
import fnmatch
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import DataError

if TYPE_CHECKING:
    from .base import Track

LOGGER = logging.getLogger(__name__)
Groups = Mapping[str, "str | Sequence[str]"]
# Digits may touch the name ('violin2'); a roman numeral must stand alone, or 'viola da i' and 'xi' would lose
# letters.
_NUMBERED = re.compile(r"^(?P<name>.*?[^\W\d_])(?:_?\d+|_(?:i{1,3}|iv|vi{0,3}|ix|x))$")


def normalise(name: str) -> str:
    """Returns the one spelling of a label.

    >>> normalise('Soprano '), normalise('TENOR II'), normalise('Practice only')
    ('soprano', 'tenor_ii', 'practice_only')
    """
    return re.sub(r"[\s_-]+", "_", unicodedata.normalize("NFC", name).lower()).strip("_")


def without_number(label: str) -> str:
    """Returns a normalised label without its trailing number.

    >>> without_number('tenor_ii'), without_number('violin2'), without_number('s1'), without_number('mix')
    ('tenor', 'violin', 's', 'mix')
    """
    match = _NUMBERED.match(label)
    return match["name"] if match else label


def members_of(groups: Groups) -> dict[str, str]:
    """Returns member -> group, both normalised.

    Raises:
        DataError: A group is empty, or a name is in two groups.
    """
    members: dict[str, str] = {}
    for group, names in groups.items():
        names = [names] if isinstance(names, str) else list(names)
        if not names:
            raise DataError(f"Group {group!r} was asked for without a stem in it. Name its stems, or leave it out.")
        for member in map(normalise, names):
            if members.setdefault(member, normalise(group)) != normalise(group):
                raise DataError(f"{member!r} was put into two groups, {members[member]!r} and {group!r}. Choose one.")
    return members


def group_of(label: str, members: Mapping[str, str]) -> str | None:
    """Returns the group that a normalised label belongs to: by its full name first, else without number."""
    return members.get(label) or members.get(without_number(label))


def group_tracks(tracks: Iterable[Track], groups: Groups) -> list[Track]:
    """Returns the tracks with their stems merged: ``{'male': ['tenor', 'bass']}`` makes one of two.

    Stems that belong to no group are left out of the track's ``stems`` and kept in its ``left_out``. A track
    may come out with a group missing: see ``missing_labels``. Of a pool only the tracks that a group takes remain.

    Raises:
        DataError: A group takes no stem of any track.
    """
    members = members_of(groups)
    tracks = list(tracks)
    labels = Counter(label for track in tracks for label in track.stems)
    taken = {group_of(label, members) for label in labels}
    for group in groups:
        if normalise(group) not in taken:
            asked = ", ".join(member for member, of in members.items() if of == normalise(group))
            raise DataError(
                f"Group {group!r} was to be made of {asked}: no track has such a stem. The stems are "
                f"{counted(labels, len(tracks))}.{_closest(asked.split(', '), labels)}"
            )
    used = set(labels) | {without_number(label) for label in labels}
    for member in members:
        if member not in used:
            LOGGER.warning("no track has a stem %r, named for group %r", member, members[member])
    grouped = [_grouped(track, members) for track in tracks]
    nowhere = Counter(label for track in tracks for label in track.stems if group_of(label, members) is None)
    if nowhere:
        LOGGER.warning("left out, in no group: %s", counted(nowhere, len(tracks)))
    # A file of a pool belongs to nothing that could miss it.
    pool = all(len(track.stems) == 1 for track in tracks)
    return [track for track in grouped if track.stems] if pool else grouped


def without_ignored(tracks: Iterable[Track], ignore: Sequence[str]) -> list[Track]:
    """Returns the tracks without those, and without the labels, that a pattern of ``ignore`` names."""
    kept = []
    for track in tracks:
        if not is_ignored(track.name, ignore):
            stems = {label: files for label, files in track.stems.items() if not is_ignored(label, ignore)}
            if stems:
                kept.append(replace(track, stems=stems))
    return kept


def is_ignored(name: str, ignore: Sequence[str]) -> bool:
    """Tells whether a label, file or track name fits a pattern: 'organ', '*_old.wav' or 'train/Song 3'."""
    ways = {name.lower(), normalise(name)}
    patterns = {spelt for pattern in ignore for spelt in (pattern.lower(), normalise(pattern))}
    return any(fnmatch.fnmatchcase(way, pattern) for way in ways for pattern in patterns)


def missing_labels(tracks: Sequence[Track]) -> dict[str, tuple[str, ...]]:
    """Returns, for each track that lacks labels which others have, those labels.

    A pool (files that belong to no common track, each a track with one stem) lacks nothing.
    """
    labels = labels_of(tracks)
    if all(len(track.stems) == 1 for track in tracks):
        return {}
    lacking = {track.name: tuple(label for label in labels if label not in track.stems) for track in tracks}
    return {name: missing for name, missing in lacking.items() if missing}


def labels_of(tracks: Iterable[Track]) -> tuple[str, ...]:
    """Returns every label that any track has, in alphabetical order."""
    return tuple(sorted({label for track in tracks for label in track.stems}))


def counted(labels: Mapping[str, int], total: int) -> str:
    """Returns 'alto (9 of 10 tracks), organ (1 of 10 tracks)', most frequent first."""
    ordered = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{label} ({count} of {total} tracks)" for label, count in ordered)


def _grouped(track: Track, members: Mapping[str, str]) -> Track:
    stems: dict[str, tuple] = {}
    left_out = list(track.left_out)
    for label, files in track.stems.items():
        group = group_of(label, members)
        if group is None:
            left_out.extend(files)
        else:
            stems[group] = stems.get(group, ()) + files
    return replace(track, stems=dict(sorted(stems.items())), left_out=tuple(left_out))


def _closest(asked: Iterable[str], labels: Iterable[str]) -> str:
    close = {match for name in asked for match in difflib.get_close_matches(name, list(labels), n=1)}
    return f" Did you mean {', '.join(sorted(close))}?" if close else " Name the group's stems as they are."
