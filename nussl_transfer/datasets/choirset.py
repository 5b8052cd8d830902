"""Dagstuhl ChoirSet: a choir and two quartets, each singer on microphones of their own."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..errors import ConfigError, DataError
from .base import StemDataset, Track
from .folders import few
from .labels import Groups, is_ignored, labels_of, members_of
from .scan import find_audio

LOGGER = logging.getLogger(__name__)
VOICES = {"S": "soprano", "A": "alto", "T": "tenor", "B": "bass"}
# The paper's two sources.
SECTIONS = {"female": ("alto", "soprano"), "male": ("bass", "tenor")}
SOURCES = ("paper", "voices")
MICROPHONES = ("DYN", "LRX")
SPLIT_SCHEMES = ("song", "quartet")
# All names of version 1.2.3: the song or the exercises (SE), who sings, the take, the singer, the microphone.
_NAME = re.compile(
    r"^DCS_(?P<take>(?P<song>LI|TP|SE)_(?P<choir>FullChoir|QuartetA|QuartetB|Basses)_"
    r"(?P<kind>(?:Take|Solo|ScaleUpDown|ScaleUpDownPiano|Tuning|Unison|CadenceMajor|CadenceMajorPiano|CadenceMinor"
    r"|CadenceMinorPiano|HummingPiano)\d{2}|Outtake|Overacted))_"
    r"(?P<singer>S[12]|A[12]|T[12]|B[1-5]|Stereo|StereoReverb|Piano)_(?P<microphone>DYN|HSM|LRX|STM|STL|STR|SPL|SPR)$"
)
_EXAMPLE = "audio_wav_22050_mono/DCS_LI_QuartetA_Take01_S2_DYN.wav"


class ChoirSet(StemDataset):
    """Hook for Dagstuhl ChoirSet 1.2.3: 23 takes of two songs for four voices, sources female and male.

    The folder may be the data set's own, ``DagstuhlChoirSet_V1.2.3``, lie above it, or be what is in it. A take is
    used when four voices sing it, each with a microphone of its own: solos and the takes of the basses alone are not.
    Recordings of the room and of the piano are no stems.

    All singers sang in one room. A dynamic microphone hears the neighbours too, so a reference holds some of what is to
    be removed from it; a larynx microphone hears its singer only, through the throat. Of the full choir, four of eight
    singers have a dynamic microphone: their sum is not the choir. Everything is mono at 22,050 Hz, so that nothing
    is above 11 kHz.

    The takes of a song are the same music, and the singers are the same in both, so there is no split in which all is
    new. A split by random excerpt, or by take, tests on what was trained on.

    Args:
        folder: Where the data set lies.
        sources: 'paper' gives female (soprano and alto) and male (tenor and bass), 'voices' the four voices.
        microphone: 'DYN', dynamic and hand-held, or 'LRX', at the larynx; with that all eight of the choir are heard.
        exercises: Take also the 60 takes of scales, cadences and tuning: they are no song of the test.
        split_scheme: 'song' trains on Locus Iste (16 takes) and tests on Tebe Poem (7). 'quartet' trains on quartet B
            and the full choir, whose dynamic microphones have the same four singers (14), and tests on quartet A, the
            other four (9); with 'LRX' all eight are heard in the full choir, and it is left out.
        kwargs: As ``StemDataset``.
    """

    NAME = "ChoirSet"
    LABELS = ("female", "male")
    LICENSE = "CC BY 4.0"
    URL = "https://doi.org/10.5281/zenodo.4618287"
    CITATION = (
        "S. Rosenzweig, H. Cuesta, C. Weiss, F. Scherbaum, E. Gomez and M. Mueller, 'Dagstuhl ChoirSet: a multitrack "
        "dataset for MIR research on choral singing', TISMIR 3(1), 2020"
    )

    def __init__(
        self,
        folder: str | Path,
        sources: str = "paper",
        microphone: str = "DYN",
        exercises: bool = False,
        split_scheme: str = "song",
        **kwargs,
    ):
        options = {"sources": sources, "microphone": microphone, "exercises": exercises, "split_scheme": split_scheme}
        super().__init__(folder, find=options, **kwargs)

    @classmethod
    def recognises(cls, folder: str | Path) -> bool:
        """Tells whether a folder holds files of ChoirSet and no other audio."""
        try:
            return all(_NAME.match(file.stem) for file in find_audio(folder))
        except DataError:
            return False

    @classmethod
    def _find(
        cls,
        folder: Path,
        groups: Groups | None = None,
        ignore: Sequence[str] = (),
        sources: str = "paper",
        microphone: str = "DYN",
        exercises: bool = False,
        split_scheme: str = "song",
    ) -> list[Track]:
        _check_options(sources, microphone, split_scheme)
        takes = _takes(folder, find_audio(folder, ignore))
        tracks, solos = [], 0
        for take, files in takes.items():
            of = _NAME.match(files[0].stem)
            if of["choir"] == "Basses" or of["kind"].startswith("Solo"):
                solos += 1
            elif exercises or of["song"] != "SE":
                tracks.append(_track(folder, take, files, microphone, _split_of(of, split_scheme)))
        if split_scheme == "quartet" and microphone == "LRX":
            tracks = [track for track in tracks if "_FullChoir_" not in track.name]
        if not tracks:
            raise DataError(_no_takes(folder, takes, solos))
        LOGGER.info("ChoirSet: %d of %d takes are used (%s)", len(tracks), len(takes), microphone)
        asked = members_of(groups) if groups else {}
        if asked.keys() & set(VOICES.values()):
            return tracks
        wanted = {voice for voice in VOICES.values() if not is_ignored(voice, ignore)}
        if absent := wanted - set(labels_of(tracks)):
            raise DataError(
                f"ChoirSet was asked for in {folder}: takes looked at: {len(tracks)}, and in none is a microphone "
                f"{microphone} of {few(absent)}. Copy the data set again, or pass over these voices with `ignore`."
            )
        return tracks if sources == "voices" else [_sections(track, wanted) for track in tracks]


def _check_options(sources: str, microphone: str, split_scheme: str) -> None:
    if sources not in SOURCES:
        raise ConfigError(f"sources={sources!r} was asked for of ChoirSet. It is one of {', '.join(SOURCES)}.")
    if microphone == "HSM":
        raise ConfigError(
            "microphone='HSM' was asked for: no soprano of ChoirSet wore a headset, so no take has all four voices on it. "
            "Say 'DYN' (dynamic) or 'LRX' (larynx)."
        )
    if microphone not in MICROPHONES:
        raise ConfigError(
            f"microphone={microphone!r} was asked for. It is one of {', '.join(MICROPHONES)}: all others hear the room, "
            "or the piano."
        )
    if split_scheme not in SPLIT_SCHEMES:
        raise ConfigError(f"split_scheme={split_scheme!r} was asked for. It is one of {', '.join(SPLIT_SCHEMES)}.")


def _takes(folder: Path, files: Sequence[PurePosixPath]) -> dict[str, list[Path]]:
    """Returns the files of each take that are named as ChoirSet names them.

    Raises:
        DataError: There is none, or one is there twice.
    """
    takes: dict[str, dict[str, Path]] = {}
    for file in files:
        if not (match := _NAME.match(file.stem)):
            continue
        found = takes.setdefault(match["take"], {})
        if file.stem in found:
            raise DataError(
                f"ChoirSet was asked for in {folder}: {file.name} is there twice, {found[file.stem]} and {folder / file}. "
                "Give one copy."
            )
        found[file.stem] = folder / file
    if not takes:
        raise DataError(
            f"ChoirSet was asked for in {folder}: files such as {_EXAMPLE} were looked for, none found. Give the folder "
            "DagstuhlChoirSet_V1.2.3 as unpacked; for stems of your own use a stem folder."
        )
    return {take: list(found.values()) for take, found in takes.items()}


def _track(folder: Path, take: str, files: Sequence[Path], microphone: str, split: str) -> Track:
    stems: dict[str, tuple[Path, ...]] = {}
    for path in files:
        match = _NAME.match(path.stem)
        if match["microphone"] == microphone:
            voice = VOICES[match["singer"][0]]
            stems[voice] = (*stems.get(voice, ()), path)
    twice = [paths for paths in stems.values() if len(paths) > 1]
    if microphone == "DYN" and twice:
        names = " and ".join(path.name for path in twice[0])
        raise DataError(
            f"ChoirSet was asked for in {folder}: one singer a voice has a dynamic microphone, and take {take} has "
            f"{names}. Remove the one that the data set does not have."
        )
    used = {path for paths in stems.values() for path in paths}
    left = tuple(path for path in files if path not in used)
    return Track(take, dict(sorted(stems.items())), split, left_out=left, origin=_music_of(take))


def _music_of(take: str) -> str:
    """Returns what is sung in a take: the song, or the exercise.

    >>> _music_of('LI_QuartetA_Take01'), _music_of('SE_QuartetA_CadenceMajor03')
    ('LI', 'SE_CadenceMajor')
    """
    song, _, kind = take.split("_")
    return f"{song}_{kind.rstrip('0123456789')}" if song == "SE" else song


def _sections(track: Track, wanted: set[str]) -> Track:
    """Merges the voices into the paper's sources; half a section is none, so that it is seen to be missing."""
    stems, left = {}, []
    for section, members in SECTIONS.items():
        files = [path for voice in members if voice in wanted for path in track.stems.get(voice, ())]
        lacking = [voice for voice in members if voice in wanted and voice not in track.stems]
        if lacking:
            LOGGER.warning("take %s lacks %s, so it has no source %r", track.name, " and ".join(lacking), section)
            left += files
        elif files:
            stems[section] = tuple(files)
    return replace(track, stems=stems, left_out=(*track.left_out, *left))


def _split_of(of: re.Match, scheme: str) -> str:
    test = of["song"] == "TP" if scheme == "song" else of["choir"] == "QuartetA"
    return "test" if test else "train"


def _no_takes(folder: Path, takes: dict[str, list[Path]], solos: int) -> str:
    songs = Counter(take[:2] for take in takes)
    return (
        f"ChoirSet was asked for in {folder}: of its {len(takes)} takes (Locus Iste {songs['LI']}, Tebe Poem "
        f"{songs['TP']}, exercises {songs['SE']}) none is of a song for four voices; {solos} are of one voice. Give the "
        "whole data set, or say exercises=True."
    )
