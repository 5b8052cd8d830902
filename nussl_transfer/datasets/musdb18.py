"""MUSDB18 and MUSDB18-HQ: 150 songs in four stems, as WAV or in .stem.mp4 files."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..audio.io import EXTENSIONS
from ..audio.stem_mp4 import STREAMS, SUFFIX
from ..errors import ConfigError, DataError
from .base import StemDataset, Track
from .labels import Groups, is_ignored, members_of, normalise
from .musdb18_names import TRACKS, VALIDATION
from .scan import find_files

LOGGER = logging.getLogger(__name__)
MIXTURE, *STEMS = STREAMS
# What can be made of the four stems; what is in no source is left out.
SOURCES = {
    "paper": {"accompaniment": ("bass", "drums", "other"), "vocals": ("vocals",)},
    "stems": {stem: (stem,) for stem in sorted(STEMS)},
    "common": {"bass": ("bass",), "drums": ("drums",), "other": ("other",)},
}
_SUBSETS = ("train", "test")


class MUSDB18(StemDataset):
    """Hook for MUSDB18 and MUSDB18-HQ: vocals and accompaniment, or the four stems, of 150 songs.

    Read are ``train/Artist - Title/vocals.wav`` (MUSDB18-HQ, and MUSDB18 as ``musdbconvert`` decodes it) and
    ``train/Artist - Title.stem.mp4`` (MUSDB18; to open one takes the program ffmpeg). Where both are there, side
    by side, the WAV files are taken. The folder may lie above train and test, or be one of these; some of the 150
    songs will do.

    The mixture on disk is kept for checking only: in MUSDB18 it was coded on its own, so it is not quite the sum
    of the stems. What ``musdbconvert`` adds, accompaniment and linear_mixture, is no stem.

    Known defects (the data set's own errata): 'PR - Oh No' has a mixture that is not the sum of its stems; in
    'Al James - Schoolboy Facination' vocals are heard in other, in 'Chris Durban - Celebrate' and 'Hop Along - Sister
    Cities' other stems in vocals, in 'Detsky Sad - Walkie Talkie' and 'Leaf - Wicked' other in drums, in 'Enda
    Reilly - Cur An Long Ag Seol' speech in other.

    Args:
        folder: Where the data set lies.
        sources: 'paper' gives accompaniment (bass, drums and other) and vocals; 'stems' gives bass, drums, other
            and vocals; 'common' gives bass, drums and other, as ``Slakh`` does: MUSDB+Slakh is both of these.
        kwargs: As ``StemDataset``. The splits are the usual ones: 14 songs of train, always the same, are
            'valid', 86 'train', 50 'test'.
    """

    NAME = "MUSDB18"
    LABELS = ("accompaniment", "vocals")
    LICENSE = "for academic use only; each song has its own: CC BY-NC-SA (48), restricted (102)"
    URL = "https://doi.org/10.5281/zenodo.3338373"
    CITATION = (
        "Z. Rafii, A. Liutkus, F.-R. Stoeter, S. I. Mimilakis and R. Bittner, 'The MUSDB18 corpus for music "
        "separation', 2017"
    )

    def __init__(self, folder: str | Path, sources: str = "paper", **kwargs):
        super().__init__(folder, find={"sources": sources}, **kwargs)

    @classmethod
    def recognises(cls, folder: str | Path) -> bool:
        """Tells whether a folder holds songs of MUSDB18, by their names, and no other audio."""
        try:
            songs, others = _songs(Path(folder), ())
        except DataError:
            return False
        known = sum(song.name in TRACKS for song in songs)
        return not others and 2 * known > len(songs)

    @classmethod
    def _find(
        cls, folder: Path, groups: Groups | None = None, ignore: Sequence[str] = (), sources: str = "paper"
    ) -> list[Track]:
        if sources not in SOURCES:
            raise ConfigError(f"sources={sources!r} was asked for of MUSDB18. It is one of {', '.join(SOURCES)}.")
        if groups and members_of(groups).keys() & {"bass", "drums", "other"}:
            sources = "stems"  # groups of the user's own, made of the four stems
        songs = [song for song in _songs(folder, ignore)[0] if song.stems or song.container]
        if not songs:
            raise DataError(
                f"MUSDB18 was asked for in {folder}: 'train/Artist - Title/vocals.wav', with drums, bass and other beside "
                "it, or 'train/Artist - Title.stem.mp4' were looked for, none found. Give the folder that holds train "
                "and test, as unpacked; for stems of your own use a stem folder."
            )
        _check_unique(folder, songs)
        outside = [song.name for song in songs if song.subset is None]
        if outside:
            LOGGER.warning("%d songs lie neither in train nor in test: they have no split of MUSDB18's", len(outside))
        LOGGER.info("MUSDB18: %d of 150 songs are here", len(songs))
        return [_track(song, SOURCES[sources], ignore) for song in songs]


@dataclass
class _Song:
    """What lies on disk of one song; ``subset`` is 'train', 'test' or None."""

    name: str
    place: Path
    stems: dict[str, Path] = field(default_factory=dict)
    container: Path | None = None
    mixture: Path | None = None
    extra: list[Path] = field(default_factory=list)

    @property
    def subset(self) -> str | None:
        name = self.place.name.lower()
        return name if name in _SUBSETS else None


def _songs(folder: Path, ignore: Sequence[str]) -> tuple[list[_Song], list[Path]]:
    """Returns the songs below a folder, and what other audio there is."""
    songs: dict[Path, _Song] = {}
    extra: list[Path] = []
    for file in find_files(folder, ignore):
        path, label = folder / file, normalise(file.stem)
        # The folder that was given may itself be one song: its name is not in the relative path.
        inside = Path(os.path.abspath(path)).parent
        if path.name.lower().endswith(SUFFIX):
            name = path.name[: -len(SUFFIX)]
            songs.setdefault(inside / name, _Song(name, inside)).container = path
        elif path.suffix.lower() == ".wav" and label in STREAMS:
            song = songs.setdefault(inside, _Song(inside.name, inside.parent))
            if label == MIXTURE:
                song.mixture = path
            else:
                song.stems[label] = path
        elif path.suffix.lower() in EXTENSIONS:
            extra.append(path)
    others = []
    for path in extra:
        song = songs.get(Path(os.path.abspath(path)).parent)
        (others if song is None else song.extra).append(path)
    return list(songs.values()), others


def _track(song: _Song, sources: dict[str, tuple[str, ...]], ignore: Sequence[str]) -> Track:
    files, mixture, left = _files(song)
    stems = {}
    for source, members in sources.items():
        wanted = [stem for stem in members if not is_ignored(stem, ignore)]
        lacking = [stem for stem in wanted if stem not in files]
        if lacking:
            # Less than the whole accompaniment would be taken for all of it.
            LOGGER.warning("song %r lacks %s, so it has no source %r", song.name, " and ".join(lacking), source)
        elif wanted:
            stems[source] = tuple(files[stem] for stem in wanted)
    used = {path for paths in stems.values() for path in paths}
    left += [path for path in files.values() if path not in used]
    split = "valid" if song.subset == "train" and song.name in VALIDATION else song.subset
    return Track(song.name, dict(sorted(stems.items())), split, mixture, tuple(sorted(left)))


def _files(song: _Song) -> tuple[dict[str, Path], Path | None, list[Path]]:
    """Returns the four stems, the mixture, and what is left out: decoded files before a container, if they are whole."""
    if song.container is None or set(song.stems) == set(STEMS):
        return dict(song.stems), song.mixture, song.extra
    if song.stems:
        LOGGER.warning("song %r is decoded in part: %s is read instead", song.name, song.container.name)
    decoded = [*song.stems.values(), *([song.mixture] if song.mixture else [])]
    return {stem: song.container / stem for stem in STEMS}, song.container / MIXTURE, [*song.extra, *decoded]


def _check_unique(folder: Path, songs: Sequence[_Song]) -> None:
    places: dict[str, Path] = {}
    for song in songs:
        if song.name in places:
            raise DataError(
                f"MUSDB18 was asked for in {folder}: {song.name!r} is there twice, in {places[song.name]} and in "
                f"{song.place}. Give the folder of one copy."
            )
        places[song.name] = song.place
