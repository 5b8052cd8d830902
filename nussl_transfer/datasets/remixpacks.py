"""Remixpacks: single instruments from remix packs, a folder for each; none of the files were played together.

File names and links tell which files belong to one song (``songs_of``), and the splits keep a song on one side
(``split_by_song``).
"""

from __future__ import annotations

import hashlib
import os
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from ..runtime.log import logger
from .base import StemDataset
from .folders import few, find_audio, split_of
from .labels import Groups, IgnorePatterns, group_of, members_of, normalise, without_number
from .options import check_choice
from .stem_folder import STEM_WORDS, tracks_of_pool
from .tracks import Track

SPLIT_SCHEMES = ("song", "author")
# Spellings of the paper's sources: the list of names that the labellers chose from was not published.
SPELLINGS = {
    "cymbals": ("cymbal", "crash", "crashes", "crash_cymbal", "crash_cymbals", "ride", "rides", "ride_cymbal",
                "ride_cymbals"),
    "kick_drum": ("kick", "kicks", "kick_drums", "kickdrum", "bass_drum", "bass_drums", "bassdrum", "bd"),
    "snare": ("snares", "snare_drum", "snare_drums", "snaredrum", "sd"),
}  # fmt: skip
_LABEL_OF = {spelling: label for label, spellings in SPELLINGS.items() for spelling in (label, *spellings)}
_LINK = "(symlink)"
# The folder that links point into. It lies beside the folders of labels and is not a label itself.
_PACKS = "original_files"
# The longest name of a track in bytes: a store appends to it, and a file system takes 255.
_LONGEST = 200
# The first two words of a name identify the song. They are often the artist's; keeping an artist on one side is harmless.
_WORDS = 2
# Words that describe a file, not a song.
_FILE_WORDS = STEM_WORDS | {"bpm", "crash", "loop", "mono", "multitrack", "multitracks", "ride", "stem", "stems", "stereo",
                            "take", "wav", "wavs"}  # fmt: skip
# The share of each label's files that goes to the test, and again to validation.
_HELD_OUT_SHARE = 0.1
# The share of a folder's files that the script of Remixpacks' author trains on.
_AUTHOR_SHARE = 0.9


class Remixpacks(StemDataset):
    """Hook for Remixpacks: snare, kick drum and cymbals, each file a track of one stem.

    The data set was never published: its sounds are parts of commercial remix packs and may not be redistributed. Copies
    have the layout of the author's scripts: a folder for each fine label, and most files are links into the packs::

        symlinks_to_files/fine/{Pure,Mixed}/<Fine_Label>/<pack> <file>(symlink).<ext>
        fine_16k/Pure/<Fine_Label>/<file>.wav
        [{train,test}/]<label>/<file>.wav

    Different files were never played together, so mixtures of them can only be incoherent, in training and in the test.
    Labels are the folders' names; the usual names of the paper's three sources become one label ('Kick' and 'Bass_Drum'
    are kick_drum). In 'Mixed' a file holds several instruments and lies in the folder of each.

    Args:
        folder: Where the data set lies: the folder of the labels, or one above it.
        sources: 'paper' takes the paper's three labels, 'all' every label, 'kick+snare' these two. ``groups`` also
            selects labels.
        mixed: Also use the files that hold several instruments.
        split_scheme: For a tree that is not split on disk. 'song' draws whole songs for the splits, so that no song is
            on two sides, until validation and test each have one file in ten of each label. 'author' is the split of the
            author's public script: one file in ten of each folder for the test, songs on both sides. The paper's own
            split is unknown: its Table 1 has 192 minutes for training and 96 for testing, 2 : 1; the script splits 9 : 1.
        song: Regular expression that finds the song in a file's name, where the rule of ``songs_of`` fails. Its first
            group is the song, or the whole match if it has no group.
        kwargs: As ``StemDataset``.
    """

    NAME = "Remixpacks"
    LABELS = ("cymbals", "kick_drum", "snare")
    LICENSE = "none: parts of commercial recordings, not redistributable"
    URL = "https://github.com/abugler/RemixPacksUtils"
    CITATION = "A. Bugler, B. Pardo and P. Seetharaman, 'A study of transfer learning in music source separation', 2020"

    def __init__(
        self,
        folder: str | Path,
        sources: str | Sequence[str] = "paper",
        mixed: bool = False,
        split_scheme: str = "song",
        song: str | None = None,
        **kwargs: Any,
    ) -> None:
        find = {"sources": sources, "mixed": mixed, "split_scheme": split_scheme, "song": song}
        super().__init__(folder, find=find, **kwargs)

    @classmethod
    def recognises(cls, folder: str | Path) -> bool:
        """Tell whether most of a folder is laid out as by the author's scripts, by the names of folders or links."""
        try:
            files = find_audio(folder)
        except DataError:
            return False
        above = Path(folder).absolute().parts[-2:]
        sorted_out = [file for file in files if _PACKS not in file.parts]
        known = [
            file for file in sorted_out if file.stem.endswith(_LINK) or _has_script_folders((*above, *file.parts[:-1]))
        ]
        return 2 * len(known) > len(sorted_out)

    @classmethod
    def _find(
        cls,
        folder: Path,
        groups: Groups | None,
        ignore: IgnorePatterns,
        sources: str | Sequence[str] = "paper",
        mixed: bool = False,
        split_scheme: str = "song",
        song: str | None = None,
    ) -> list[Track]:
        check_choice("split_scheme", split_scheme, SPLIT_SCHEMES)
        roots = _roots(folder, find_audio(folder, ignore), mixed)
        tracks = []
        for root, files in roots.items():
            found = tracks_of_pool(root, files)
            if split_scheme == "author" and all(track.split is None for track in found):
                found = split_as_author(root, found)
            prefix = root.name if len(roots) > 1 else ""
            tracks += [replace(track, name=_short(PurePosixPath(prefix, track.name))) for track in found]
        members = members_of(groups) if groups else {}
        tracks = [replace(track, stems=_labelled(track.stems, members)) for track in tracks]
        if groups:
            # Only the tracks that are used are split; where there are none, `group_tracks` raises the error.
            tracks = [track for track in tracks if any(group_of(label, members) for label in track.stems)] or tracks
        else:
            tracks = _chosen(folder, tracks, sources, ignore)
        songs = songs_of(tracks, _PACKS, song)
        return [replace(track, origin=songs[track.name] or None) for track in _split(tracks, songs)]


def _roots(folder: Path, files: Sequence[PurePosixPath], mixed: bool) -> dict[Path, list[PurePosixPath]]:
    """Return the folder whose subfolders are the labels, with its files; with ``mixed``, also that of the mixed files.

    Raises:
        DataError: There is no such folder, or more than one, or audio lies in the folder itself.
    """
    kinds: dict[str, set[PurePosixPath]] = {}
    inside: dict[PurePosixPath, list[PurePosixPath]] = {}
    for file in files:
        if _PACKS in file.parts:
            continue
        if len(file.parts) == 1:
            raise DataError(
                f"{folder} should hold a folder for each label of Remixpacks, and {file} lies in it directly. Give the "
                "folder above, or move the file away."
            )
        above = file.parent.parent
        root = above.parent if split_of(above.name) else above
        kinds.setdefault(_kind(root), set()).add(root)
        inside.setdefault(root, []).append(file.relative_to(root))
    chosen = kinds.get("pure") or kinds.get("simple") or set()
    if mixed:
        chosen = chosen | (kinds.get("mixed") or kinds.get("simple mixed") or set())
    if not chosen:
        found = "files of several instruments (Mixed)" if kinds else _PACKS
        what_to_do = "Use mixed=True to take them." if kinds else "Sort them into a folder for each label."
        raise DataError(f"{folder} holds only {found} of Remixpacks. {what_to_do}")
    for kind in kinds:
        of_kind = kinds[kind] & chosen
        if len(of_kind) > 1:
            raise DataError(
                f"{folder} holds folders of labels of Remixpacks at {len(of_kind)} places, {few(of_kind)}. Give one of "
                "them."
            )
    left = sorted(str(root) for roots in kinds.values() for root in roots - chosen)
    if left:
        logger.info("Remixpacks: skipped %s", ", ".join(left))
    return {folder / root: inside[root] for root in sorted(chosen)}


def _kind(root: PurePosixPath) -> str:
    """Return the kind of the files below a folder: 'pure', 'mixed', or, with coarse labels, 'simple' or 'simple mixed'."""
    names = {part.lower() for part in root.parts}
    if "mixed" in names:
        return "mixed"
    if "mix" in names:
        return "simple mixed"
    return "simple" if "simple" in names else "pure"


def _has_script_folders(parts: Sequence[str]) -> bool:
    """Tell whether the parts of a path include the folders that the author's scripts make."""
    names = [part.lower() for part in parts]
    pairs = set(zip(names, names[1:], strict=False))
    return bool({"symlinks_to_files", "fine_16k"} & set(names) or {("fine", "pure"), ("fine", "mixed")} & pairs)


def _short(name: PurePosixPath) -> str:
    """Return a track's name without the mark of a link, shortened to what a file system accepts."""
    last = name.name.removesuffix(_LINK)
    cut = last.encode()[:_LONGEST].decode(errors="ignore")
    if cut != last:
        cut = f"{cut}-{hashlib.sha256(last.encode()).hexdigest()[:8]}"
    return str(name.with_name(cut.strip() or name.name))


def _labelled(stems: Mapping[str, tuple], members: Mapping[str, str]) -> dict[str, tuple]:
    """Rename folders to the paper's sources, unless a group uses the folder's own name."""
    return {
        label if group_of(label, members) else _LABEL_OF.get(label, _LABEL_OF.get(without_number(label), label)): files
        for label, files in stems.items()
    }


def _chosen(folder: Path, tracks: Sequence[Track], sources: str | Sequence[str], ignore: IgnorePatterns) -> list[Track]:
    if sources == "all":
        return list(tracks)
    named = sources.split("+") if isinstance(sources, str) else sources
    asked = Remixpacks.LABELS if sources == "paper" else [normalise(label) for label in named]
    wanted = {_LABEL_OF.get(label, label) for label in asked if not ignore.fits(label)}
    found = Counter(label for track in tracks for label in track.stems)
    if lacking := wanted - set(found):
        listed = ", ".join(f"{label} ({count} files)" for label, count in sorted(found.items()))
        raise DataError(
            f"{folder} has no {', '.join(sorted(lacking))} of Remixpacks, only {listed}. Choose labels by `sources`, or by "
            "`groups`: kick_drum=Kick+Boom."
        )
    if left := set(found) - wanted:
        logger.info("Remixpacks: left out labels %s", ", ".join(f"{label} ({found[label]})" for label in sorted(left)))
    return [track for track in tracks if set(track.stems) <= wanted]


def _split(tracks: Sequence[Track], songs: Mapping[str, str]) -> list[Track]:
    """Return the tracks split by song, or as they are split on disk; log the songs that are in two splits."""
    unknown = sum(not songs[track.name] for track in tracks)
    if unknown:
        logger.warning(
            "the names of %d of %d files do not contain a song, so each counts as a song of its own; set the option `song` "
            "to a regular expression that finds it", unknown, len(tracks),
        )  # fmt: skip
    if all(track.split is None for track in tracks):
        return split_by_song(tracks, songs)
    if both := on_two_sides(tracks, songs):
        logger.warning("%d songs are in more than one split, such as %s", len(both), few(both, 3))
    return list(tracks)


# Songs and splits


def songs_of(tracks: Sequence[Track], packs: str, pattern: str | None = None) -> dict[str, str]:
    """Return track -> song; '' where the file's name has none.

    If every file is a link into a folder of packs, each pack is a song. Otherwise files belong to one song if their names
    begin with the same two words, or with the same one word before an instrument or a number. Instruments and numbers at
    the beginning are skipped.

    Args:
        tracks: Tracks with one file each.
        packs: Name of the folder whose folders are the packs.
        pattern: Regular expression that finds the song in a file's name instead.

    Raises:
        ConfigError: The pattern is not a regular expression.
    """
    files = {track.name: path for track in tracks for paths in track.stems.values() for path in paths}
    if pattern is not None:
        try:
            found = {name: re.search(pattern, path.stem) for name, path in files.items()}
        except re.error as error:
            raise ConfigError(f"song is {pattern!r}, which is no regular expression ({error}).") from None
        return {name: normalise(match[match.re.groups and 1] or "") if match else "" for name, match in found.items()}
    linked = {name: _pack(path, packs) for name, path in files.items()}
    if all(linked.values()):
        return linked
    words = {name: song_words(path.stem) for name, path in files.items()}
    short = {found for found in words.values() if len(found) == 1}
    return {name: " ".join(found[:1] if found[:1] in short else found) for name, found in words.items()}


def song_words(name: str) -> tuple[str, ...]:
    """Return the words at the beginning of a file's name that identify its song.

    >>> song_words('Artist Name - Some Song Kick 1'), song_words('02 Snare_Umbrella_120bpm'), song_words('kick 01')
    (('artist', 'name'), ('umbrella',), ())
    """
    words = [word for word in re.split(r"[\W_]+", name.lower()) if word]
    of_song = [word not in _FILE_WORDS and not word[0].isdigit() for word in words]
    first = of_song.index(True) if True in of_song else len(words)
    end = of_song.index(False, first) if False in of_song[first:] else len(words)
    return tuple(words[first : min(end, first + _WORDS)])


def split_by_song(tracks: Sequence[Track], songs: Mapping[str, str], seed: int = 0) -> list[Track]:
    """Return the tracks with splits drawn by seed, whole songs at a time.

    Songs go to the test until it has one file in ten of each label, then to validation; the others are for training, which
    keeps at least half of each label. Where validation would lack a label, there is no validation split.

    Args:
        tracks: Tracks with one stem each.
        songs: Track -> song; a track with song '' counts as a song of its own.
        seed: Seed of the draw, which does not depend on the order of the tracks.
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
                logger.warning("too few songs: none with %s is left for the test", few(lacking))
            else:
                side_of = {song: "train" if found == "valid" else found for song, found in side_of.items()}
    return [replace(track, split=side_of[songs[track.name] or f"/{track.name}"]) for track in tracks]


def _draw(side: str, order: list[str], labels: dict, total: Counter, left: Counter, side_of: dict[str, str]) -> Counter:
    """Move songs from training to another side, in order, and return the number of files of each label there."""
    taken: Counter[str] = Counter()

    def is_full(label: str) -> bool:
        return taken[label] >= max(1, round(_HELD_OUT_SHARE * total[label]))

    # Rare labels come first, and songs that overfill no other label: else a side would take too much of common labels.
    for label in sorted(total, key=lambda label: (total[label], label)):
        for overfill in (False, True):
            for song in order:
                if is_full(label) or side_of[song] != "train" or label not in labels[song]:
                    continue
                train_keeps_half = all(2 * (left[other] - count) >= total[other] for other, count in labels[song].items())
                if train_keeps_half and (overfill or not any(map(is_full, labels[song]))):
                    side_of[song] = side
                    taken.update(labels[song])
                    left.subtract(labels[song])
    return taken


def split_as_author(root: Path, tracks: Sequence[Track]) -> list[Track]:
    """Return the tracks split as by the author's ``train_test_split_incoherent.py`` with p = 0.9.

    One random stream draws from every file of every folder of labels, used or not. Songs are on both sides. The paper's
    Table 1 (192 and 96 minutes, 2 : 1) shows that its own split was another one.

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
    return [replace(track, split=sides[_label_and_file(track) in train]) for track in tracks]


def on_two_sides(tracks: Sequence[Track], songs: Mapping[str, str]) -> list[str]:
    """Return the songs that are in more than one split."""
    sides: dict[str, set] = {}
    for track in tracks:
        sides.setdefault(songs[track.name], set()).add(track.split)
    return sorted(song for song, splits in sides.items() if song and len(splits) > 1)


def _pack(path: Path, packs: str) -> str:
    """Return the pack that a link points into, directly or through other links, even if it does not exist; else ''."""
    parts = PurePath(os.path.realpath(path)).parts if path.is_symlink() else ()
    index = parts.index(packs) + 1 if packs in parts else len(parts)
    return normalise(parts[index]) if len(parts) > index + 1 else ""


def _label_and_file(track: Track) -> tuple[str, str]:
    (path,) = next(iter(track.stems.values()))
    return path.parent.name, path.name
