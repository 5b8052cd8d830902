"""Remixpacks: single instruments out of remix packs, a folder for each, nothing that was played together."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..errors import ConfigError, DataError
from .base import StemDataset, Track
from .folders import few, split_of
from .labels import Groups, group_of, is_ignored, members_of, normalise, without_number
from .pools import on_two_sides, songs_of, split_as_author, split_by_song
from .scan import find_audio
from .stem_folder import tracks_of_pool

LOGGER = logging.getLogger(__name__)
SPLIT_SCHEMES = ("song", "paper")
# What the paper's sources may be called: nobody wrote down the names that the labellers chose from.
SPELLINGS = {
    "cymbals": ("cymbal", "crash", "crashes", "crash_cymbal", "crash_cymbals", "ride", "rides", "ride_cymbal",
                "ride_cymbals"),
    "kick_drum": ("kick", "kicks", "kick_drums", "kickdrum", "bass_drum", "bass_drums", "bassdrum", "bd"),
    "snare": ("snares", "snare_drum", "snare_drums", "snaredrum", "sd"),
}  # fmt: skip
_LABEL_OF = {spelling: label for label, spellings in SPELLINGS.items() for spelling in (label, *spellings)}
_LINK = "(symlink)"
# The links point into it; beside the folders of labels it is no label itself.
_PACKS = "original_files"
# The longest name of a track, in bytes: what a store writes beside it must not pass the 255 of a file system.
_LONGEST = 200


class Remixpacks(StemDataset):
    """Hook for Remixpacks: snare, kick drum and cymbals, each file a track of one stem.

    The data set was never published: its sounds are parts of commercial remix packs, may not be passed on, and are
    not to be had from here. Who has them has them as the paper's author laid them out, a folder for each fine label,
    most files links into the packs::

        symlinks_to_files/fine/{Pure,Mixed}/<Fine_Label>/<pack> <file>(symlink).<ext>
        fine_16k/Pure/<Fine_Label>/<file>.wav
        [{train,test}/]<label>/<file>.wav

    Sounds of different files were never played together, so mixtures of them can only be incoherent, in training and
    in the test. Labels are the folders' names, with the usual names of the paper's three sources made one ('Kick' and
    'Bass_Drum' are kick_drum). In 'Mixed' a file sounds of several instruments and lies in the folder of each.

    Args:
        folder: Where the data set lies: the folder of the labels, or one above it.
        sources: 'paper' takes the paper's three, 'all' every label; or labels, 'kick+snare'. ``groups`` chooses too.
        mixed: Take the files of several instruments too.
        split_scheme: For a tree that is not split already. 'song' draws whole songs for the splits, so that no song is
            on two sides, until one file in ten of each label is for validation and one for the test. 'paper' is the
            split of the author's script, one file in ten of each folder for the test, songs on both sides.
        song: Regular expression that finds the song in a file's name, where the rule of ``songs_of`` does not: its first
            group, or all that it matches.
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
        **kwargs,
    ):
        find = {"sources": sources, "mixed": mixed, "split_scheme": split_scheme, "song": song}
        super().__init__(folder, find=find, **kwargs)

    @classmethod
    def recognises(cls, folder: str | Path) -> bool:
        """Tells whether most of a folder is laid out as by the author's scripts: by its folders' names, or its links'."""
        try:
            files = find_audio(folder)
        except DataError:
            return False
        above = Path(folder).absolute().parts[-2:]
        sorted_out = [file for file in files if _PACKS not in file.parts]
        known = [file for file in sorted_out if file.stem.endswith(_LINK) or _is_marked((*above, *file.parts[:-1]))]
        return 2 * len(known) > len(sorted_out)

    @classmethod
    def _find(
        cls,
        folder: Path,
        groups: Groups | None = None,
        ignore: Sequence[str] = (),
        sources: str | Sequence[str] = "paper",
        mixed: bool = False,
        split_scheme: str = "song",
        song: str | None = None,
    ) -> list[Track]:
        if split_scheme not in SPLIT_SCHEMES:
            raise ConfigError(f"split_scheme={split_scheme!r} was asked for. It is one of {', '.join(SPLIT_SCHEMES)}.")
        roots = _roots(folder, find_audio(folder, ignore), mixed)
        tracks = []
        for root, files in roots.items():
            found = tracks_of_pool(root, files)
            if split_scheme == "paper" and all(track.split is None for track in found):
                found = split_as_author(root, found)
            prefix = root.name if len(roots) > 1 else ""
            tracks += [replace(track, name=_short(PurePosixPath(prefix, track.name))) for track in found]
        members = members_of(groups) if groups else {}
        tracks = [replace(track, stems=_labelled(track.stems, members)) for track in tracks]
        if groups:
            # The split is made for what is used; where that is nothing, the groups' own error says so.
            tracks = [track for track in tracks if any(group_of(label, members) for label in track.stems)] or tracks
        else:
            tracks = _chosen(folder, tracks, sources, ignore)
        songs = songs_of(tracks, _PACKS, song)
        return [replace(track, origin=songs[track.name] or None) for track in _split(tracks, songs)]


def _roots(folder: Path, files: Sequence[PurePosixPath], mixed: bool) -> dict[Path, list[PurePosixPath]]:
    """Returns the folders whose folders are labels, one, or with ``mixed`` that of the mixed files too; and their files.

    Raises:
        DataError: There is none, or more than one, or audio lies in the folder itself.
    """
    kinds: dict[str, set[PurePosixPath]] = {}
    inside: dict[PurePosixPath, list[PurePosixPath]] = {}
    for file in files:
        if _PACKS in file.parts:
            continue
        if len(file.parts) == 1:
            raise DataError(
                f"Remixpacks was asked for in {folder}: a folder for each label was looked for in it, and {file} lies in "
                "it directly. Give the folder above, or move that away."
            )
        above = file.parent.parent
        root = above.parent if split_of(above.name) else above
        kinds.setdefault(_kind(root), set()).add(root)
        inside.setdefault(root, []).append(file.relative_to(root))
    chosen = kinds.get("pure") or kinds.get("simple") or set()
    if mixed:
        chosen = chosen | (kinds.get("mixed") or kinds.get("simple mixed") or set())
    if not chosen:
        found = "only files of several instruments (Mixed)" if kinds else f"only {_PACKS}"
        what_to_do = "Say mixed=True to take them." if kinds else "Sort them into a folder for each label."
        raise DataError(f"Remixpacks was asked for in {folder}: {found} lie there. {what_to_do}")
    for kind in kinds:
        alike = kinds[kind] & chosen
        if len(alike) > 1:
            raise DataError(
                f"Remixpacks was asked for in {folder}: folders of labels lie at {len(alike)} places, {few(alike)}. Give "
                "one of them."
            )
    left = sorted(str(root) for roots in kinds.values() for root in roots - chosen)
    if left:
        LOGGER.info("Remixpacks: passed over %s", ", ".join(left))
    return {folder / root: inside[root] for root in sorted(chosen)}


def _kind(root: PurePosixPath) -> str:
    """Returns what the files below a folder are: 'pure' (one fine label each), 'mixed', 'simple' (coarse labels) ..."""
    names = {part.lower() for part in root.parts}
    if "mixed" in names:
        return "mixed"
    if "mix" in names:
        return "simple mixed"
    return "simple" if "simple" in names else "pure"


def _is_marked(parts: Sequence[str]) -> bool:
    names = [part.lower() for part in parts]
    pairs = set(zip(names, names[1:], strict=False))
    return bool({"symlinks_to_files", "fine_16k"} & set(names) or {("fine", "pure"), ("fine", "mixed")} & pairs)


def _short(name: PurePosixPath) -> str:
    """Returns a track's name without the mark of a link, cut where a file system would not take what is made of it."""
    last = name.name.removesuffix(_LINK)
    cut = last.encode()[:_LONGEST].decode(errors="ignore")
    if cut != last:
        cut = f"{cut}-{hashlib.sha256(last.encode()).hexdigest()[:8]}"
    return str(name.with_name(cut.strip() or name.name))


def _labelled(stems: Mapping[str, tuple], members: Mapping[str, str]) -> dict[str, tuple]:
    """Gives the paper's sources one name, where no group asks for the name that the folder has."""
    return {
        label if group_of(label, members) else _LABEL_OF.get(label, _LABEL_OF.get(without_number(label), label)): files
        for label, files in stems.items()
    }


def _chosen(folder: Path, tracks: Sequence[Track], sources: str | Sequence[str], ignore: Sequence[str]) -> list[Track]:
    if sources == "all":
        return list(tracks)
    named = sources.split("+") if isinstance(sources, str) else sources
    asked = Remixpacks.LABELS if sources == "paper" else [normalise(label) for label in named]
    wanted = {_LABEL_OF.get(label, label) for label in asked if not is_ignored(label, ignore)}
    found = Counter(label for track in tracks for label in track.stems)
    if lacking := wanted - set(found):
        listed = ", ".join(f"{label} ({count} files)" for label, count in sorted(found.items()))
        raise DataError(
            f"{', '.join(sorted(wanted))} of Remixpacks were asked for in {folder}: {', '.join(sorted(lacking))} is not "
            f"there. There are {listed}. Choose by `sources`, or by `groups`: kick_drum=Kick+Boom."
        )
    if left := set(found) - wanted:
        LOGGER.info("Remixpacks: other labels are %s", ", ".join(f"{label} ({found[label]})" for label in sorted(left)))
    return [track for track in tracks if set(track.stems) <= wanted]


def _split(tracks: Sequence[Track], songs: Mapping[str, str]) -> list[Track]:
    """Splits by song what is not split, and says where songs are on two sides."""
    unknown = sum(not songs[track.name] for track in tracks)
    if unknown:
        LOGGER.warning(
            "the song of %d of %d files cannot be told from their names: each is taken for a song of its own; `song` is "
            "a regular expression that finds it", unknown, len(tracks),
        )  # fmt: skip
    if all(track.split is None for track in tracks):
        return split_by_song(tracks, songs)
    if both := on_two_sides(tracks, songs):
        LOGGER.warning("%d songs are in more than one split, such as %s", len(both), few(both, 3))
    return list(tracks)
