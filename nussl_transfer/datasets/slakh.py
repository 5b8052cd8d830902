"""Slakh2100: songs rendered from MIDI, a stem for each instrument, labelled by General MIDI program.

A track is a folder ``Track00001`` at any depth, with ``metadata.yaml`` and ``stems/S00.flac``. ``metadata.yaml`` gives each
stem's program number and the MD5 of the MIDI file that the track was rendered from.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError, DataError
from ..runtime.log import logger
from .base import StemDataset
from .folders import few, find_files, is_audio
from .labels import Groups, IgnorePatterns, members_of, normalise
from .slakh_splits import IDENTICAL, WHITE_NOISE, split_of_tracks
from .tracks import Track

_TRACK = re.compile(r"^Track(\d{5})$")
_STEM = re.compile(r"^(S\d{2})\.(flac|wav)$")
_MIXTURE = re.compile(r"^mix\.(flac|wav)$")
# The program number of drums.
DRUMS = 128
# The loader of `yaml.safe_load`, if possible in libyaml, which is six times as fast: there are 2100 files.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# General MIDI's families in the order of their programs; 119 (reverse cymbal) counts as a sound effect in Slakh.
_FAMILIES = (
    "piano chromatic_percussion organ guitar bass strings ensemble brass reed pipe synth_lead synth_pad synth_effects "
    "ethnic percussive sound_effects"
).split()
_CLASSES = {name: frozenset(range(8 * number, 8 * number + 8)) for number, name in enumerate(_FAMILIES)}
_CLASSES["percussive"] -= {119}
_CLASSES["sound_effects"] |= {119}
_CLASSES["drums"] = frozenset({DRUMS})
_BAND = {name: _CLASSES[name] for name in ("bass", "drums", "guitar", "piano")}
_PIANO_GUITAR = _CLASSES["piano"] | _CLASSES["guitar"]
# Label -> program numbers; stems in no source are left out.
SOURCES: dict[str, dict[str, frozenset[int]]] = {
    "paper": {"drums": _CLASSES["drums"], "piano_guitar": _PIANO_GUITAR},
    "paper+bass": {"bass": _CLASSES["bass"], "drums": _CLASSES["drums"], "piano_guitar": _PIANO_GUITAR},
    "band": _BAND,
    "band+other": {**_BAND, "other": frozenset(range(DRUMS)).difference(*_BAND.values())},
    "common": {"bass": _CLASSES["bass"], "drums": _CLASSES["drums"], "other": _PIANO_GUITAR},
    "classes": dict(sorted(_CLASSES.items())),
}


class Slakh(StemDataset):
    """Hook for Slakh2100 (original, redux, split2) and BabySlakh: drums, and piano with guitar, or other sources.

    A track is a folder ``Track00001`` with ``metadata.yaml`` and ``stems/S00.flac`` (or wav), in a split's folder or
    elsewhere. A stem's instrument is its program number in metadata.yaml. About 150 stems have MIDI but no audio. Nine
    stems of white noise are left out. Audio outside the folder ``stems``, such as submixes, is not used. The mixture is
    used for checking only: it also holds instruments that belong to no source.

    Args:
        folder: Where the data set lies.
        sources: 'paper' gives drums and piano_guitar, 'paper+bass' also bass; 'band' gives bass, drums, guitar and
            piano, 'band+other' also everything else as other; 'common' gives bass, drums and other (piano and guitar), the
            labels that ``MUSDB18`` has as well (MUSDB+Slakh); 'classes' a label for each General MIDI family (piano,
            strings, ensemble, ...), some of them in each track. Or label -> General MIDI programs, 0 to 127 and
            128 for drums: ``{'organ': range(16, 24), 'drums': [128]}``.
        split_scheme: 'grouped' draws 10 % of the tracks for the test so that no MIDI file is on two sides. 'paper'
            draws them regardless of it, as the paper did: about 31 % of the test tracks are songs of the training set,
            rendered with other sounds. The authors' splits go by track number: 'orig' (1500, 375 and 225 tracks),
            'split2' (as many tracks, and no MIDI file in two splits) and 'redux' (1289, 270 and 151, each MIDI file once).
        split_seed: Seed of the draw, which depends on the tracks that are present.
        kwargs: As ``StemDataset``. Some tracks have neither piano nor guitar: use ``missing='skip'`` or 'silence'.
    """

    NAME = "Slakh"
    LABELS = ("drums", "piano_guitar")
    LICENSE = "CC BY 4.0"
    URL = "https://doi.org/10.5281/zenodo.4599666"
    CITATION = (
        "E. Manilow, G. Wichern, P. Seetharaman and J. Le Roux, 'Cutting music source separation some Slakh: a dataset "
        "to study the impact of training data quality and quantity', WASPAA, 2019"
    )

    def __init__(
        self,
        folder: str | Path,
        sources: str | Mapping[str, Sequence[int]] = "paper",
        split_scheme: str = "grouped",
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        options = {"sources": sources, "split_scheme": split_scheme, "split_seed": split_seed}
        super().__init__(folder, find=options, **kwargs)

    @classmethod
    def recognises(cls, folder: str | Path) -> bool:
        """Tell whether a folder holds tracks of Slakh and no other audio."""
        try:
            track_folders, others = find_track_folders(Path(folder), IgnorePatterns())
        except DataError:
            return False
        return not others and any(one.stems or one.mixture for one in track_folders)

    @classmethod
    def _find(
        cls,
        folder: Path,
        groups: Groups | None,
        ignore: IgnorePatterns,
        sources: str | Mapping[str, Sequence[int]] = "paper",
        split_scheme: str = "grouped",
        split_seed: int = 0,
    ) -> list[Track]:
        if groups and members_of(groups).keys() & (SOURCES["classes"].keys() - SOURCES["paper"].keys()):
            sources = "classes"  # groups of the user's own, made of the families
        labels = label_of_programs(sources)
        track_folders = _with_stems(find_track_folders(folder, ignore)[0])
        if not track_folders:
            raise DataError(
                f"{folder} holds no track of Slakh, a folder such as Track00001 with metadata.yaml and stems/S00.flac. "
                "Give the folder that holds the tracks, or their splits, as unpacked."
            )
        check_unique(folder, track_folders)
        about = _metadata(folder, track_folders)
        # A track whose MIDI file is unknown is a group of its own.
        midi = {one.number: about[one.name].midi or midi_md5(one.midi) or one.name for one in track_folders}
        splits = split_of_tracks(midi, split_scheme, split_seed)
        if len(splits) < len(track_folders):
            left = len(track_folders) - len(splits)
            logger.info("split_scheme=%r leaves out %d of %d tracks", split_scheme, left, len(track_folders))
        used = [one for one in track_folders if one.number in splits]
        if not used:
            raise DataError(
                f"split_scheme={split_scheme!r} leaves out all {len(track_folders)} tracks of {folder}. Use "
                "split_scheme='grouped'."
            )
        _log_audio(used, about)
        return [replace(_track(one, about[one.name], labels, splits[one.number]), origin=midi[one.number]) for one in used]


def _with_stems(track_folders: Sequence[TrackFolder]) -> list[TrackFolder]:
    silent = [one.name for one in track_folders if not one.stems]
    if silent:
        logger.warning("left out, without audio in their folder stems: %s", few(silent))
    return [one for one in track_folders if one.stems]


def _metadata(folder: Path, track_folders: Sequence[TrackFolder]) -> dict[str, Metadata]:
    about, wrong = {}, []
    for track_folder in track_folders:
        try:
            about[track_folder.name] = read_metadata(track_folder.path / "metadata.yaml")
        except DataError as error:
            wrong.append(f"\n  {track_folder.name} {error}")
    if wrong:
        raise DataError(
            f"{len(wrong)} of {len(track_folders)} tracks in {folder} do not say which instruments their stems are:"
            f"{''.join(wrong)}\nCopy these files again from the archive, or skip the tracks with `ignore`."
        )
    return about


def _log_audio(track_folders: Sequence[TrackFolder], about: Mapping[str, Metadata]) -> None:
    """Log where the files and metadata.yaml differ, and the stems of white noise."""
    absent: list[str] = []
    never_made: list[str] = []
    unlisted: list[str] = []
    noise: list[str] = []
    for track_folder in track_folders:
        stems = about[track_folder.name].stems
        for name, entry in stems.items():
            if name not in track_folder.stems and entry.saved:
                (absent if entry.rendered else never_made).append(f"{track_folder.name} {name}")
        unlisted += [f"{track_folder.name} {name}" for name in track_folder.stems if name not in stems]
        noise += [f"{track_folder.name} {name}" for name in track_folder.stems if _is_noise(track_folder, name)]
    if never_made:
        logger.info("%d stems have MIDI and no audio: %s", len(never_made), few(never_made))
    for found, what in (
        (absent, "missing, although metadata.yaml lists them as rendered"),
        (unlisted, "left out, since metadata.yaml does not list them"),
        (noise, "left out, since they are white noise"),
    ):
        if found:
            logger.warning("%d stems are %s: %s", len(found), what, few(found, 9))


def _track(track_folder: TrackFolder, about: Metadata, labels: Mapping[int, str], split: str) -> Track:
    label_of = {
        name: labels[about.stems[name].program]
        for name in sorted(track_folder.stems)
        if name in about.stems and about.stems[name].program in labels and not _is_noise(track_folder, name)
    }
    for number, *pair in IDENTICAL:
        # Within one source the same sound may occur twice, as in the mixture; in two sources it could not be separated.
        if track_folder.name == f"Track{number}" and len({label_of.get(name) for name in pair} - {None}) == 2:
            logger.warning("%s: %s are the same sound in two sources, and left out", track_folder.name, " and ".join(pair))
            label_of = {name: label for name, label in label_of.items() if name not in pair}
    stems: dict[str, tuple[Path, ...]] = {}
    for name, label in label_of.items():
        stems[label] = (*stems.get(label, ()), track_folder.stems[name])
    left = [path for name, path in track_folder.stems.items() if name not in label_of]
    left_out = tuple(sorted([*left, *track_folder.extra]))
    return Track(track_folder.name, dict(sorted(stems.items())), split, track_folder.mixture, left_out)


def _is_noise(track_folder: TrackFolder, name: str) -> bool:
    return f"{track_folder.number:05d}-{name}" in WHITE_NOISE


# Sources


def label_of_programs(sources: str | Mapping[str, Iterable[int]]) -> dict[int, str]:
    """Return the label of each program number that is in a source.

    Args:
        sources: One of ``SOURCES``, or label -> program numbers.

    Raises:
        ConfigError: There is no such name or number, or a number is in two sources.
    """
    if isinstance(sources, str):
        if sources not in SOURCES:
            raise ConfigError(
                f"sources is {sources!r}. Choose one of {', '.join(SOURCES)}, or give the program numbers of each label."
            )
        sources = SOURCES[sources]
    labels: dict[int, str] = {}
    for label, programs in sources.items():
        for program in programs:
            if program not in range(DRUMS + 1):
                raise ConfigError(
                    f"Source {label!r} has program {program!r}, which is no number from 0 to 127, nor 128 for drums."
                )
            if labels.setdefault(program, normalise(label)) != normalise(label):
                both = f"{labels[program]!r} and {label!r}"
                raise ConfigError(f"Program {program} is in two sources, {both}. Choose one.")
    return labels


# Files


@dataclass
class TrackFolder:
    """The folder of one track: ``stems`` by their names, 'S00'; ``extra`` holds audio that is no stem."""

    path: Path
    stems: dict[str, Path] = field(default_factory=dict)
    mixture: Path | None = None
    midi: Path | None = None
    extra: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the name of the track, which is that of its folder."""
        return self.path.name

    @property
    def number(self) -> int:
        """Return the number in the name."""
        return int(self.name.removeprefix("Track"))


def find_track_folders(folder: Path, ignore: IgnorePatterns) -> tuple[list[TrackFolder], list[Path]]:
    """Return the folder of each track below a folder, and the audio files that are in none."""
    track_folders: dict[Path, TrackFolder] = {}
    others: list[Path] = []
    for file in find_files(folder, ignore):
        path = folder / file
        # The folder that was given may itself be a track: its name is not in the relative path.
        whole = Path(os.path.abspath(path))
        audio = is_audio(path)
        above = next((up for up in whole.parents if _TRACK.match(up.name)), None)
        if above is None:
            others += [path] * audio
            continue
        track_folder = track_folders.setdefault(above, TrackFolder(above))
        inside = whole.relative_to(above).parts
        if len(inside) == 2 and inside[0] == "stems" and (stem := _STEM.match(inside[1])):
            # A flac file comes before the wav file made of it.
            kept = track_folder.stems.setdefault(stem[1], path)
            track_folder.extra += [path] * (kept != path)
        elif len(inside) == 1 and _MIXTURE.match(inside[0]) and track_folder.mixture is None:
            track_folder.mixture = path
        elif inside == ("all_src.mid",):
            track_folder.midi = path
        elif audio:
            track_folder.extra.append(path)
    return list(track_folders.values()), others


def check_unique(folder: Path, track_folders: Sequence[TrackFolder]) -> None:
    """Raise DataError if two folders hold the same track."""
    seen: dict[str, Path] = {}
    for track_folder in track_folders:
        if track_folder.name in seen:
            raise DataError(
                f"{folder} holds {track_folder.name} twice, {seen[track_folder.name]} and {track_folder.path}. Give the "
                "folder of one copy."
            )
        seen[track_folder.name] = track_folder.path


# Metadata


@dataclass(frozen=True)
class StemEntry:
    """A stem in metadata.yaml: its General MIDI program (0 to 127, drums 128), and whether audio and MIDI were made."""

    program: int
    rendered: bool
    saved: bool


@dataclass(frozen=True)
class Metadata:
    """The entries of metadata.yaml that are used: the stems, and the MD5 of the MIDI file, or ''."""

    stems: dict[str, StemEntry]
    midi: str


def read_metadata(path: Path) -> Metadata:
    """Return the entries of a metadata.yaml, without its paths: some are those of another machine.

    Raises:
        DataError: It is absent or malformed. The message lacks its subject: the caller puts the track's name in front.
    """
    try:
        about = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except FileNotFoundError:
        raise DataError("has no metadata.yaml, which lists its stems") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise DataError(f"has a metadata.yaml that cannot be read ({why[:200]})") from None
    if not isinstance(about, dict) or not isinstance(about.get("stems"), dict):
        raise DataError("has a metadata.yaml that lists no stems")
    uuid = str(about.get("UUID") or "")
    return Metadata(
        {str(name): _entry(str(name), stem) for name, stem in about["stems"].items()}, "" if uuid == "None" else uuid
    )


def midi_md5(path: Path | None) -> str:
    """Return the MD5 of a track's all_src.mid, which is its UUID in metadata.yaml; '' without such a file."""
    try:
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path else ""
    except OSError:
        return ""


def _entry(name: str, stem: object) -> StemEntry:
    if not isinstance(stem, dict):
        raise DataError(f"has a metadata.yaml without an entry for {name}")
    # inst_class is unreliable: it has both 'Sound Effects' and 'Sound effects', and 'Strings (continued)' are choirs.
    program = DRUMS if stem.get("is_drum") is True else stem.get("program_num")
    if isinstance(program, bool) or not isinstance(program, int) or not 0 <= program <= DRUMS:
        raise DataError(f"has a metadata.yaml in which the program_num of {name} is {program!r}, not a number 0 to {DRUMS}")
    return StemEntry(program, stem.get("audio_rendered") is not False, stem.get("midi_saved") is not False)
