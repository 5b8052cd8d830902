"""MUSDB18 and MUSDB18-HQ: 150 songs in four stems, as WAV or in .stem.mp4 files.

``musdb18_tracks.json`` lists the songs as they are named on disk (some names are misspelt by the data set itself), and the
14 songs of train that the package musdb uses for validation (its mus.yaml).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..audio.stem_mp4 import STREAMS, SUFFIX
from ..errors import DataError
from ..runtime.files import read_json
from ..runtime.log import logger
from .base import StemDataset
from .folders import find_files, is_audio, is_stem_mp4
from .labels import Groups, IgnorePatterns, members_of, normalise
from .options import check_choice
from .tracks import Track

_LISTED = read_json(Path(__file__).parent / "musdb18_tracks.json")
TRACKS, VALIDATION = frozenset(_LISTED["tracks"]), frozenset(_LISTED["validation"])
MIXTURE, *STEMS = STREAMS
# Source -> stems that are summed; stems in no source are left out.
SOURCES: dict[str, dict[str, tuple[str, ...]]] = {
    "paper": {"accompaniment": ("bass", "drums", "other"), "vocals": ("vocals",)},
    "stems": {stem: (stem,) for stem in sorted(STEMS)},
    "common": {"bass": ("bass",), "drums": ("drums",), "other": ("other",)},
}
_SUBSETS = ("train", "test")


class MUSDB18(StemDataset):
    """Hook for MUSDB18 and MUSDB18-HQ: vocals and accompaniment, or the four stems, of 150 songs.

    It reads ``train/Artist - Title/vocals.wav`` (MUSDB18-HQ, and MUSDB18 as ``musdbconvert`` decodes it) and
    ``train/Artist - Title.stem.mp4`` (MUSDB18; opening one needs the program ffmpeg). Where both lie side by side, it
    takes the WAV files. The folder may lie above train and test, or be one of them, and need not hold all songs.

    The mixture on disk is used for checking only: MUSDB18 encodes it separately, so it is not exactly the sum of the
    stems. The files that ``musdbconvert`` adds, accompaniment and linear_mixture, are not stems.

    Known defects (the data set's own errata): 'PR - Oh No' has a mixture that is not the sum of its stems; in
    'Al James - Schoolboy Facination' the stem ``other`` holds vocals; in 'Chris Durban - Celebrate' and 'Hop Along -
    Sister Cities' ``vocals`` holds sounds of other stems; in 'Detsky Sad - Walkie Talkie' and 'Leaf - Wicked' ``drums``
    holds sounds of ``other``; in 'Enda Reilly - Cur An Long Ag Seol' ``other`` holds speech.

    Args:
        folder: Where the data set lies.
        sources: 'paper' gives accompaniment (bass, drums and other) and vocals; 'stems' gives bass, drums, other
            and vocals; 'common' gives bass, drums and other, the labels that ``Slakh`` has as well (MUSDB+Slakh).
        kwargs: As ``StemDataset``. The splits are the usual ones: 14 songs of train, always the same, are
            'valid', 86 'train', 50 'test'.
    """

    NAME = "MUSDB18"
    LABELS = ("accompaniment", "vocals")
    LICENSE = "for academic use only; each song has its own: CC BY-NC-SA (48), restricted (102)"
    URL = "https://doi.org/10.5281/zenodo.3338373"
    CITATION = (
        "Z. Rafii, A. Liutkus, F.-R. Stoeter, S. I. Mimilakis and R. Bittner, 'The MUSDB18 corpus for music separation', "
        "2017"
    )

    def __init__(self, folder: str | Path, sources: str = "paper", **kwargs: Any) -> None:
        super().__init__(folder, find={"sources": sources}, **kwargs)

    @classmethod
    def recognises(cls, folder: str | Path) -> bool:
        """Tell whether a folder holds songs of MUSDB18, by their names, and no other audio."""
        try:
            songs, others = _songs(Path(folder), IgnorePatterns())
        except DataError:
            return False
        known = sum(song.name in TRACKS for song in songs)
        return not others and 2 * known > len(songs)

    @classmethod
    def _find(cls, folder: Path, groups: Groups | None, ignore: IgnorePatterns, sources: str = "paper") -> list[Track]:
        check_choice("sources", sources, tuple(SOURCES))
        if groups and members_of(groups).keys() & {"bass", "drums", "other"}:
            sources = "stems"  # groups of the user's own, made of the four stems
        songs = [song for song in _songs(folder, ignore)[0] if song.stems or song.container]
        if not songs:
            raise DataError(
                f"{folder} holds no song of MUSDB18: neither 'train/Artist - Title/vocals.wav', with drums, bass and other "
                "beside it, nor 'train/Artist - Title.stem.mp4'. Give the folder that holds train and test, as unpacked; "
                "for your own stems use StemFolder."
            )
        _check_unique(folder, songs)
        outside = [song.name for song in songs if song.subset is None]
        if outside:
            logger.warning("%d songs lie neither in train nor in test, and have no split", len(outside))
        logger.info("MUSDB18: found %d of 150 songs", len(songs))
        return [_track(song, SOURCES[sources], ignore) for song in songs]


@dataclass
class _Song:
    """The files of one song; ``subset`` is 'train', 'test' or None."""

    name: str
    folder: Path
    stems: dict[str, Path] = field(default_factory=dict)
    container: Path | None = None
    mixture: Path | None = None
    extra: list[Path] = field(default_factory=list)

    @property
    def subset(self) -> str | None:
        name = self.folder.name.lower()
        return name if name in _SUBSETS else None


def _songs(folder: Path, ignore: IgnorePatterns) -> tuple[list[_Song], list[Path]]:
    """Return the songs below a folder, and the other audio files."""
    songs: dict[Path, _Song] = {}
    extra: list[Path] = []
    for file in find_files(folder, ignore):
        path, label = folder / file, normalise(file.stem)
        # The folder that was given may itself be one song: its name is not in the relative path.
        inside = Path(os.path.abspath(path)).parent
        if is_stem_mp4(path):
            name = path.name[: -len(SUFFIX)]
            songs.setdefault(inside / name, _Song(name, inside)).container = path
        elif path.suffix.lower() == ".wav" and label in STREAMS:
            song = songs.setdefault(inside, _Song(inside.name, inside.parent))
            if label == MIXTURE:
                song.mixture = path
            else:
                song.stems[label] = path
        elif is_audio(path):
            extra.append(path)
    others: list[Path] = []
    for path in extra:
        owner = songs.get(Path(os.path.abspath(path)).parent)
        (others if owner is None else owner.extra).append(path)
    return list(songs.values()), others


def _track(song: _Song, sources: dict[str, tuple[str, ...]], ignore: IgnorePatterns) -> Track:
    files, mixture, skipped = _files(song)
    stems = {}
    for source, members in sources.items():
        wanted = [stem for stem in members if not ignore.fits(stem)]
        lacking = [stem for stem in wanted if stem not in files]
        if lacking:
            # A sum without one of its stems would be taken for the whole accompaniment.
            logger.warning("song %r lacks %s, so it has no source %r", song.name, " and ".join(lacking), source)
        elif wanted:
            stems[source] = tuple(files[stem] for stem in wanted)
    used = {path for paths in stems.values() for path in paths}
    left = [*skipped, *(path for path in files.values() if path not in used)]
    split = "valid" if song.subset == "train" and song.name in VALIDATION else song.subset
    return Track(song.name, dict(sorted(stems.items())), split, mixture, tuple(sorted(left)))


def _files(song: _Song) -> tuple[dict[str, Path], Path | None, list[Path]]:
    """Return the four stems, the mixture and the files left out; complete decoded files come before a container."""
    if song.container is None or set(song.stems) == set(STEMS):
        return dict(song.stems), song.mixture, song.extra
    if song.stems:
        logger.warning("song %r is only partly decoded: reading %s instead", song.name, song.container.name)
    decoded = [*song.stems.values(), *([song.mixture] if song.mixture else [])]
    return {stem: song.container / stem for stem in STEMS}, song.container / MIXTURE, [*song.extra, *decoded]


def _check_unique(folder: Path, songs: Sequence[_Song]) -> None:
    folders: dict[str, Path] = {}
    for song in songs:
        if song.name in folders:
            raise DataError(
                f"{folder} holds song {song.name!r} of MUSDB18 twice, in {folders[song.name]} and in {song.folder}. Give "
                "the folder of one copy."
            )
        folders[song.name] = song.folder
