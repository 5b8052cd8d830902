"""Dagstuhl ChoirSet: a choir and two quartets, each singer with one or more microphones."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import ConfigError, DataError
from ..runtime.log import logger
from .base import StemDataset
from .folders import few, find_audio
from .labels import Groups, IgnorePatterns, members_of
from .options import check_choice
from .tracks import Track, labels_of

VOICES = {"S": "soprano", "A": "alto", "T": "tenor", "B": "bass"}
# The paper's two sources.
SECTIONS = {"female": ("alto", "soprano"), "male": ("bass", "tenor")}
SOURCES = ("paper", "voices")
MICROPHONES = ("DYN", "LRX")
SPLIT_SCHEMES = ("song", "quartet", "paper")
# Table 1 of the paper: 70 minutes for training, 7 for testing.
_PAPER_SHARE = 7 / 77
# Names of version 1.2.3: the song or the exercises (SE), the ensemble, the take, the singer, the microphone.
_NAME = re.compile(
    r"^DCS_(?P<take>(?P<song>LI|TP|SE)_(?P<choir>FullChoir|QuartetA|QuartetB|Basses)_"
    r"(?P<kind>(?:Take|Solo|ScaleUpDown|ScaleUpDownPiano|Tuning|Unison|CadenceMajor|CadenceMajorPiano|CadenceMinor"
    r"|CadenceMinorPiano|HummingPiano)\d{2}|Outtake|Overacted))_"
    r"(?P<singer>S[12]|A[12]|T[12]|B[1-5]|Stereo|StereoReverb|Piano)_(?P<microphone>DYN|HSM|LRX|STM|STL|STR|SPL|SPR)$"
)
_EXAMPLE = "audio_wav_22050_mono/DCS_LI_QuartetA_Take01_S2_DYN.wav"


class DagstuhlChoirSet(StemDataset):
    """Hook for Dagstuhl ChoirSet 1.2.3: 23 takes of two songs for four voices, sources female and male.

    The folder may be the data set's own, ``DagstuhlChoirSet_V1.2.3``, a folder above it, or the folder of its audio. This
    class reads the takes of four voices, and neither solos nor the takes of the basses alone.
    Recordings of the room and of the piano are not stems.

    All singers sang in one room. A dynamic microphone picks up the neighbours too, so a reference holds some of the other
    source; a larynx microphone picks up its singer only, through the throat. In the full choir, four of eight singers
    have a dynamic microphone: their sum is not the whole choir. All audio is mono at 22,050 Hz, so nothing is above 11 kHz.

    The takes of a song are the same music, and the same singers sing both songs, so in every split the test shares music
    or singers with training. All training takes of a song have one origin. A validation split by song would leave no song
    for training, so validation is the last quarter of each training take, and training goes without that quarter.

    Args:
        folder: Where the data set lies.
        sources: 'paper' gives female (soprano and alto) and male (tenor and bass), 'voices' the four voices.
        microphone: 'DYN', dynamic and hand-held, or 'LRX', at the larynx, which all eight singers of the choir wore.
        exercises: Also use the 60 takes of scales, cadences and tuning, for training.
        split_scheme: 'song' trains on Locus Iste (16 takes) and tests on Tebe Poem (7). 'quartet' trains on quartet B
            and the full choir, whose dynamic microphones have the same four singers (14), and tests on quartet A, the
            other four (9); with 'LRX', which has all eight, it leaves the full choir out. 'paper' draws one take in
            eleven for the test, as Table 1 of the paper has 70 and 7 minutes; the paper does not say which takes.
            Training and test then share both songs and all singers, so scores are too good.
        kwargs: As ``StemDataset``.
    """

    NAME = "DagstuhlChoirSet"
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
        **kwargs: Any,
    ) -> None:
        options = {"sources": sources, "microphone": microphone, "exercises": exercises, "split_scheme": split_scheme}
        super().__init__(folder, find=options, **kwargs)

    @classmethod
    def recognises(cls, folder: str | Path) -> bool:
        """Tell whether a folder holds files of Dagstuhl ChoirSet and no other audio."""
        try:
            return all(_NAME.match(file.stem) for file in find_audio(folder))
        except DataError:
            return False

    @classmethod
    def _find(
        cls,
        folder: Path,
        groups: Groups | None,
        ignore: IgnorePatterns,
        sources: str = "paper",
        microphone: str = "DYN",
        exercises: bool = False,
        split_scheme: str = "song",
    ) -> list[Track]:
        _check_options(sources, microphone, split_scheme)
        takes = _takes(folder, find_audio(folder, ignore))
        tracks, solos = [], 0
        for take, files in takes.items():
            parts = _parts(files[0])
            if parts["choir"] == "Basses" or parts["kind"].startswith("Solo"):
                solos += 1
            elif exercises or parts["song"] != "SE":
                tracks.append(_track(folder, take, files, microphone, _split_of(parts, split_scheme)))
        if split_scheme == "quartet" and microphone == "LRX":
            tracks = [track for track in tracks if "_FullChoir_" not in track.name]
        if not tracks:
            raise DataError(_no_takes(folder, takes, solos))
        logger.info("Dagstuhl ChoirSet: using %d of %d takes (%s)", len(tracks), len(takes), microphone)
        if split_scheme == "paper":
            tracks = _drawn(tracks)
        asked = members_of(groups) if groups else {}
        if asked.keys() & set(VOICES.values()):
            return tracks
        wanted = {voice for voice in VOICES.values() if not ignore.fits(voice)}
        if absent := wanted - set(labels_of(tracks)):
            raise DataError(
                f"None of the {len(tracks)} takes in {folder} has a microphone {microphone} of {few(absent)}. Copy the "
                "data set again, or name these voices in `ignore`."
            )
        return tracks if sources == "voices" else [_sections(track, wanted) for track in tracks]


def _check_options(sources: str, microphone: str, split_scheme: str) -> None:
    check_choice("sources", sources, SOURCES)
    if microphone == "HSM":
        raise ConfigError(
            "microphone is 'HSM', and no soprano of Dagstuhl ChoirSet wore a headset, so no take has all four voices on "
            "it. Choose 'DYN' (dynamic) or 'LRX' (larynx)."
        )
    if microphone not in MICROPHONES:
        raise ConfigError(
            f"microphone is {microphone!r}. Choose one of {', '.join(MICROPHONES)}: the others record the room or the "
            "piano."
        )
    check_choice("split_scheme", split_scheme, SPLIT_SCHEMES)


def _takes(folder: Path, files: Sequence[PurePosixPath]) -> dict[str, list[Path]]:
    """Return the files of each take that are named as in Dagstuhl ChoirSet.

    Raises:
        DataError: There is no such file, or one lies at two places.
    """
    takes: dict[str, dict[str, Path]] = {}
    for file in files:
        if not (match := _NAME.match(file.stem)):
            continue
        found = takes.setdefault(match["take"], {})
        if file.stem in found:
            raise DataError(f"{folder} holds {file.name} twice, {found[file.stem]} and {folder / file}. Give one copy.")
        found[file.stem] = folder / file
    if not takes:
        raise DataError(
            f"{folder} holds no file of Dagstuhl ChoirSet, such as {_EXAMPLE}. Give the folder DagstuhlChoirSet_V1.2.3 as "
            "unpacked; for your own stems use StemFolder."
        )
    return {take: list(found.values()) for take, found in takes.items()}


def _parts(path: Path) -> re.Match[str]:
    """Return the parts of the name of a file; `_takes` returns no files of other names."""
    match = _NAME.match(path.stem)
    if match is None:
        raise ValueError(f"{path} is not named as the files of Dagstuhl ChoirSet are")
    return match


def _track(folder: Path, take: str, files: Sequence[Path], microphone: str, split: str) -> Track:
    stems: dict[str, tuple[Path, ...]] = {}
    for path in files:
        parts = _parts(path)
        if parts["microphone"] == microphone:
            voice = VOICES[parts["singer"][0]]
            stems[voice] = (*stems.get(voice, ()), path)
    twice = [paths for paths in stems.values() if len(paths) > 1]
    if microphone == "DYN" and twice:
        names = " and ".join(path.name for path in twice[0])
        raise DataError(
            f"Take {take} in {folder} has two dynamic microphones of one voice, {names}; in Dagstuhl ChoirSet each voice "
            "has one. Remove the file that the data set does not have."
        )
    used = {path for paths in stems.values() for path in paths}
    left = tuple(path for path in files if path not in used)
    return Track(take, dict(sorted(stems.items())), split, left_out=left, origin=_music_of(take))


def _music_of(take: str) -> str:
    """Return the song or exercise of a take.

    >>> _music_of('LI_QuartetA_Take01'), _music_of('SE_QuartetA_CadenceMajor03')
    ('LI', 'SE_CadenceMajor')
    """
    song, _, kind = take.split("_")
    return f"{song}_{kind.rstrip('0123456789')}" if song == "SE" else song


def _sections(track: Track, wanted: set[str]) -> Track:
    """Merge the voices into the paper's sources; a section that lacks a voice is left out and counts as missing."""
    stems, left = {}, []
    for section, members in SECTIONS.items():
        files = [path for voice in members if voice in wanted for path in track.stems.get(voice, ())]
        lacking = [voice for voice in members if voice in wanted and voice not in track.stems]
        if lacking:
            logger.warning("take %s lacks %s, so it has no source %r", track.name, " and ".join(lacking), section)
            left += files
        elif files:
            stems[section] = tuple(files)
    return replace(track, stems=stems, left_out=(*track.left_out, *left))


def _split_of(parts: re.Match, scheme: str) -> str:
    test = parts["song"] == "TP" if scheme == "song" else parts["choir"] == "QuartetA"
    return "test" if test else "train"


def _drawn(tracks: Sequence[Track]) -> list[Track]:
    """Return the tracks with one take in eleven in the test, drawn with seed 0; exercises stay in training."""
    names = sorted(track.name for track in tracks if not track.name.startswith("SE_"))
    random.Random(0).shuffle(names)
    test = set(names[: max(1, round(_PAPER_SHARE * len(names)))])
    logger.warning(
        "split_scheme='paper': %d of %d takes are for the test (%s), and training has the same songs and singers: scores "
        "on them are too good. 'song' and 'quartet' have fewer in common.",
        len(test), len(names), few(test),
    )  # fmt: skip
    return [replace(track, split="test" if track.name in test else "train") for track in tracks]


def _no_takes(folder: Path, takes: dict[str, list[Path]], solos: int) -> str:
    songs = Counter(take[:2] for take in takes)
    return (
        f"None of the {len(takes)} takes in {folder} (Locus Iste {songs['LI']}, Tebe Poem {songs['TP']}, exercises "
        f"{songs['SE']}) is a song for four voices; {solos} have one voice. Give the whole data set, or use "
        "exercises=True."
    )
