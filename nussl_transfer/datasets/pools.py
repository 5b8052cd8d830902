"""Pools, files that were never played together: which are of one song all the same, and how they are split."""

from __future__ import annotations

import logging
import os
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np

from ..errors import ConfigError
from .base import Track
from .folders import few
from .labels import normalise
from .layout import STEM_WORDS

LOGGER = logging.getLogger(__name__)
# A song is known by so many words: often the artist's name, and to keep an artist on one side does no harm.
_WORDS = 2
# Words that tell of a file, not of a song.
_FILE_WORDS = STEM_WORDS | {"bpm", "crash", "loop", "mono", "multitrack", "multitracks", "ride", "stem", "stems", "stereo",
                            "take", "wav", "wavs"}  # fmt: skip
_SHARE = 0.1
# The share of a folder's files that the script of Remixpacks' author trains on.
_AUTHOR_SHARE = 0.9


def songs_of(tracks: Sequence[Track], packs: str, pattern: str | None = None) -> dict[str, str]:
    """Returns track -> song, '' where a file's name does not tell.

    Where every file is a link into a folder of packs, a pack is a song. Else files are of one song when their names
    begin with the same two words, or with the same one before a word that names an instrument or a number; such words
    at the beginning are passed over.

    Args:
        tracks: Tracks with one file each.
        packs: Name of the folder whose folders are the packs.
        pattern: Regular expression that finds the song in a file's name instead.

    Raises:
        ConfigError: The pattern is none.
    """
    files = {track.name: path for track in tracks for paths in track.stems.values() for path in paths}
    if pattern is not None:
        try:
            found = {name: re.search(pattern, path.stem) for name, path in files.items()}
        except re.error as error:
            raise ConfigError(f"song={pattern!r} was asked for: that is no regular expression ({error}).") from None
        return {name: normalise(match[match.re.groups and 1] or "") if match else "" for name, match in found.items()}
    linked = {name: _pack(path, packs) for name, path in files.items()}
    if all(linked.values()):
        return linked
    words = {name: song_words(path.stem) for name, path in files.items()}
    short = {found for found in words.values() if len(found) == 1}
    return {name: " ".join(found[:1] if found[:1] in short else found) for name, found in words.items()}


def song_words(name: str) -> tuple[str, ...]:
    """Returns the words at the beginning of a file's name that tell its song.

    >>> song_words('Artist Name - Some Song Kick 1'), song_words('02 Snare_Umbrella_120bpm'), song_words('kick 01')
    (('artist', 'name'), ('umbrella',), ())
    """
    words = [word for word in re.split(r"[\W_]+", name.lower()) if word]
    telling = [word not in _FILE_WORDS and not word[0].isdigit() for word in words]
    first = telling.index(True) if True in telling else len(words)
    end = telling.index(False, first) if False in telling[first:] else len(words)
    return tuple(words[first : min(end, first + _WORDS)])


def split_by_song(tracks: Sequence[Track], songs: Mapping[str, str], seed: int = 0) -> list[Track]:
    """Returns the tracks with splits drawn by seed, whole songs at a time.

    Songs go to the test until it has one file in ten of each label, then to validation, and the rest to training, which
    keeps half of each label at least. Validation without one of the labels is none.

    Args:
        tracks: Tracks with one stem each.
        songs: track -> song; a track whose song is '' is a song of its own.
        seed: Of the draw, which does not depend on the order of the tracks.
    """
    members: dict[str, list[Track]] = {}
    for track in sorted(tracks, key=lambda track: track.name):
        members.setdefault(songs[track.name] or f"/{track.name}", []).append(track)
    order = sorted(members)
    random.Random(seed).shuffle(order)
    labels = {song: Counter(label for track in members[song] for label in track.stems) for song in order}
    total = sum(labels.values(), Counter())
    left, side_of = Counter(total), dict.fromkeys(order, "train")
    for side in ("test", "valid"):
        taken = _draw(side, order, labels, total, left, side_of)
        if lacking := set(total) - set(taken):
            if side == "test":
                LOGGER.warning("no song with %s could be spared for the test: there are too few", few(lacking))
            else:
                side_of = {song: "train" if found == "valid" else found for song, found in side_of.items()}
    return [replace(track, split=side_of[songs[track.name] or f"/{track.name}"]) for track in tracks]


def _draw(side: str, order: list[str], labels: dict, total: Counter, left: Counter, side_of: dict[str, str]) -> Counter:
    """Moves songs from training to another side, in this order; returns how many files of each label that then has."""
    taken: Counter[str] = Counter()

    def is_full(label: str) -> bool:
        return taken[label] >= max(1, round(_SHARE * total[label]))

    # The rarest label first, and first the songs that would overfill no other: else common labels take too much of it.
    for label in sorted(total, key=lambda label: (total[label], label)):
        for overfill in (False, True):
            for song in order:
                if is_full(label) or side_of[song] != "train" or label not in labels[song]:
                    continue
                spared = all(2 * (left[other] - count) >= total[other] for other, count in labels[song].items())
                if spared and (overfill or not any(map(is_full, labels[song]))):
                    side_of[song] = side
                    taken.update(labels[song])
                    left.subtract(labels[song])
    return taken


def split_as_author(root: Path, tracks: Sequence[Track]) -> list[Track]:
    """Returns the tracks split as ``train_test_split_incoherent.py`` of Remixpacks' author does with p = 0.9.

    One stream of draws goes over all folders of labels, those that are not used too, and counts everything in them.
    Songs are on both sides.

    Args:
        root: The folder of the folders of labels.
        tracks: Tracks of files in them.

    References:
        https://github.com/abugler/RemixPacksUtils
    """
    draws = np.random.RandomState(0)
    train = set()
    for label in sorted(os.listdir(root)):
        if not (root / label).is_dir():
            continue
        names = sorted(os.listdir(root / label))
        chosen = draws.choice(len(names), size=int(np.floor(len(names) * _AUTHOR_SHARE)), replace=False)
        train |= {(label, names[index]) for index in chosen}
    sides = {True: "train", False: "test"}
    return [replace(track, split=sides[_place(track) in train]) for track in tracks]


def on_two_sides(tracks: Sequence[Track], songs: Mapping[str, str]) -> list[str]:
    """Returns the songs that are in more than one split."""
    sides: dict[str, set] = {}
    for track in tracks:
        sides.setdefault(songs[track.name], set()).add(track.split)
    return sorted(song for song, splits in sides.items() if song and len(splits) > 1)


def _pack(path: Path, packs: str) -> str:
    """Returns the pack that a link points into, over other links too; '' for another file. It need not be there."""
    parts = PurePath(os.path.realpath(path)).parts if path.is_symlink() else ()
    place = parts.index(packs) + 1 if packs in parts else len(parts)
    return normalise(parts[place]) if len(parts) > place + 1 else ""


def _place(track: Track) -> tuple[str, str]:
    (path,) = next(iter(track.stems.values()))
    return path.parent.name, path.name
