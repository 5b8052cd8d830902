"""Slakh2100: songs rendered from MIDI, a stem for each instrument, grouped by General MIDI program."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import DataError
from .base import StemDataset, Track
from .folders import few
from .labels import Groups, members_of
from .slakh_files import TrackFiles, check_unique, find_track_files
from .slakh_metadata import Metadata, midi_md5, read_metadata
from .slakh_sources import SOURCES, label_of_programs
from .slakh_splits import split_of_tracks
from .slakh_tables import IDENTICAL, WHITE_NOISE

LOGGER = logging.getLogger(__name__)


class Slakh(StemDataset):
    """Hook for Slakh2100 (original, redux, split2) and BabySlakh: drums, and piano with guitar, or other groups.

    A track is a folder ``Track00001`` with ``metadata.yaml`` and ``stems/S00.flac`` (or wav); where it lies, in a
    split's folder or in none, does not matter. A stem's instrument is its program number in metadata.yaml; it exists
    if its file does: about 150 have MIDI but no audio. Nine stems of white noise are left out. Audio beside the
    stems, such as submixes, is no stem; the mixture is kept for checking only, and holds instruments of no group.

    Args:
        folder: Where the data set lies.
        sources: 'paper' gives drums and piano_guitar, 'paper+bass' bass besides; 'band' bass, drums, guitar and
            piano, 'band+other' all the rest besides; 'common' bass, drums and other (piano and guitar), as
            ``MUSDB18`` does: MUSDB+Slakh is both of these; 'classes' a label for each General MIDI family (piano,
            strings, ensemble, ...), of which a track has some. Or label -> General MIDI programs, 0 to 127 and
            128 for drums: ``{'organ': range(16, 24), 'drums': [128]}``.
        split_scheme: 'grouped' draws 10 % of the tracks for the test so that no MIDI file is on two sides. 'paper'
            draws them regardless of it, as the paper did: about 31 % of the test are songs of the training,
            rendered anew. 'orig' (1500, 375, 225), 'split2' (as many, no MIDI file in two) and 'redux' (1289, 270,
            151: each MIDI file once) are the authors', by the tracks' numbers.
        split_seed: Seed of the draw; what is drawn depends on which tracks are there.
        kwargs: As ``StemDataset``. A track may have no piano and no guitar that sound: ``missing='skip'``.
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
        **kwargs,
    ):
        options = {"sources": sources, "split_scheme": split_scheme, "split_seed": split_seed}
        super().__init__(folder, find=options, **kwargs)

    @classmethod
    def recognises(cls, folder: str | Path) -> bool:
        """Tells whether a folder holds tracks of Slakh and no other audio."""
        try:
            places, others = find_track_files(Path(folder), ())
        except DataError:
            return False
        return not others and any(place.stems or place.mixture for place in places)

    @classmethod
    def _find(
        cls,
        folder: Path,
        groups: Groups | None = None,
        ignore: Sequence[str] = (),
        sources: str | Mapping[str, Sequence[int]] = "paper",
        split_scheme: str = "grouped",
        split_seed: int = 0,
    ) -> list[Track]:
        if groups and members_of(groups).keys() & (SOURCES["classes"].keys() - SOURCES["paper"].keys()):
            sources = "classes"  # groups of the user's own, made of the families
        labels = label_of_programs(sources)
        places = _with_stems(find_track_files(folder, ignore)[0])
        if not places:
            raise DataError(
                f"Slakh was asked for in {folder}: folders such as Track00001 with metadata.yaml and stems/S00.flac were "
                "looked for, none found. Give the folder that holds them, or their splits, as unpacked."
            )
        check_unique(folder, places)
        about = _metadata(folder, places)
        midi = {
            place.number: about[place.name].midi or midi_md5(place.midi) or place.name for place in places
        }  # a track of unknown MIDI is of its own
        splits = split_of_tracks(midi, split_scheme, split_seed)
        if len(splits) < len(places):
            LOGGER.info("split_scheme=%r leaves out %d of %d tracks", split_scheme, len(places) - len(splits), len(places))
        used = [place for place in places if place.number in splits]
        if not used:
            raise DataError(
                f"Slakh was asked for in {folder}: split_scheme={split_scheme!r} leaves out each of the {len(places)} "
                "tracks. Say split_scheme='grouped'."
            )
        _tell_of_audio(used, about)
        return [
            replace(_track(place, about[place.name], labels, splits[place.number]), origin=midi[place.number])
            for place in used
        ]


def _with_stems(places: Sequence[TrackFiles]) -> list[TrackFiles]:
    silent = [place.name for place in places if not place.stems]
    if silent:
        LOGGER.warning("left out, without audio in their folder stems: %s", few(silent))
    return [place for place in places if place.stems]


def _metadata(folder: Path, places: Sequence[TrackFiles]) -> dict[str, Metadata]:
    about, wrong = {}, []
    for place in places:
        try:
            about[place.name] = read_metadata(place.folder / "metadata.yaml")
        except DataError as error:
            wrong.append(f"\n  {place.name} {error}")
    if wrong:
        raise DataError(
            f"Slakh was asked for in {folder}: of {len(wrong)} of {len(places)} tracks it is not known what their stems "
            f"are:{''.join(wrong)}\nCopy these files again from the archive, or pass over the tracks with `ignore`."
        )
    return about


def _tell_of_audio(places: Sequence[TrackFiles], about: Mapping[str, Metadata]) -> None:
    """Says where the files and metadata.yaml differ, and what is left out for its sound."""
    absent, never_made, unlisted, noise = [], [], [], []
    for place in places:
        stems = about[place.name].stems
        for name, entry in stems.items():
            if name not in place.stems and entry.saved:
                (absent if entry.rendered else never_made).append(f"{place.name} {name}")
        unlisted += [f"{place.name} {name}" for name in place.stems if name not in stems]
        noise += [f"{place.name} {name}" for name in place.stems if _is_noise(place, name)]
    if never_made:
        LOGGER.info("of %d stems there is MIDI and never was audio: %s", len(never_made), few(never_made))
    for found, what in (
        (absent, "not there, though metadata.yaml says that they were rendered"),
        (unlisted, "left out, as metadata.yaml does not say what they are"),
        (noise, "left out, as they are white noise"),
    ):
        if found:
            LOGGER.warning("%d stems are %s: %s", len(found), what, few(found, 9))


def _track(place: TrackFiles, about: Metadata, labels: Mapping[int, str], split: str) -> Track:
    label_of = {
        name: labels[about.stems[name].program]
        for name in sorted(place.stems)
        if name in about.stems and about.stems[name].program in labels and not _is_noise(place, name)
    }
    for number, *pair in IDENTICAL:
        # The mixture has the sound twice, and so has a source that both are in; two sources cannot be told apart by it.
        if place.name == f"Track{number}" and len({label_of.get(name) for name in pair} - {None}) == 2:
            LOGGER.warning("%s: %s are the same sound for two sources, and left out", place.name, " and ".join(pair))
            label_of = {name: label for name, label in label_of.items() if name not in pair}
    stems: dict[str, tuple[Path, ...]] = {}
    for name, label in label_of.items():
        stems[label] = (*stems.get(label, ()), place.stems[name])
    left = [path for name, path in place.stems.items() if name not in label_of]
    return Track(place.name, dict(sorted(stems.items())), split, place.mixture, tuple(sorted([*left, *place.extra])))


def _is_noise(place: TrackFiles, name: str) -> bool:
    return f"{place.number:05d}-{name}" in WHITE_NOISE
