"""What every data set is: tracks found without reading audio, and a hook that gives nussl its items."""

from __future__ import annotations

import inspect
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import nussl

from ..audio.io import LENGTH_TOLERANCE, align, read
from ..errors import ConfigError, DataError
from .labels import Groups, counted, group_tracks, labels_of, missing_labels, without_ignored
from .options import check_choice


@dataclass(frozen=True)
class Track:
    """One piece of music: which files make each stem.

    ``name`` is unique in its data set and a safe relative path; the files of a stem are summed; ``mixture``
    is a mixture file on disk, for checking only; ``left_out`` holds audio files of the track that are in no
    stem; ``origin`` names what it was made from, such as a MIDI file or a song: two tracks of one origin are the
    same music, and are never trained on and validated on.
    """

    name: str
    stems: dict[str, tuple[Path, ...]]
    split: str | None = None
    mixture: Path | None = None
    left_out: tuple[Path, ...] = ()
    origin: str | None = None


class StemDataset(nussl.datasets.BaseDataset):
    """The common face of the data sets: a hook for nussl, and ``find_tracks`` for everything else.

    An item is nussl's: ``{'mix': AudioSignal, 'sources': {label: AudioSignal}, 'metadata': {'labels':
    [...]}}``. The mix is the sum of the sources. Mono stems beside stereo ones are heard on both channels;
    stems of slightly different length get zeros at their tail (``audio.align``). Levels and DC offsets stay
    as on disk.

    Args:
        folder: Where the data set lies.
        split: 'train', 'valid' or 'test'; None for all. Where the data set has no splits on disk, tracks are
            drawn into them by ``split_tracks``.
        groups: Stems to merge, ``{'male': ['tenor', 'bass']}``; what is in no group is left out.
        ignore: Patterns of labels, files, folders and tracks to pass over.
        missing: 'error' refuses a data set in which a track lacks a label that others have; 'skip' leaves it
            out.
        length_tolerance: How much shorter than the longest a stem may be, as a share.
        find: Options of this data set's own ``find_tracks``.
        kwargs: Arguments of nussl's ``BaseDataset``: ``transform``, ``sample_rate``, ``stft_params``,
            ``num_channels``, ``strict_sample_rate``, ``cache_populated``.

    Raises:
        DataError: The folder does not hold this data set, or a track lacks a stem.
    """

    NAME: ClassVar[str] = ""
    LABELS: ClassVar[tuple[str, ...]] = ()
    LICENSE: ClassVar[str] = ""
    URL: ClassVar[str] = ""
    CITATION: ClassVar[str] = ""

    def __init__(
        self,
        folder: str | Path,
        split: str | None = None,
        groups: Groups | None = None,
        ignore: Sequence[str] = (),
        missing: str = "error",
        length_tolerance: float = LENGTH_TOLERANCE,
        find: dict | None = None,
        **kwargs,
    ):
        # nussl processes item 0 in its own constructor, so all that this takes must stand before.
        self.split, self.missing, self.length_tolerance = split, missing, length_tolerance
        self._find_options = {"groups": groups, "ignore": ignore, **(find or {})}
        super().__init__(str(folder), **kwargs)  # nussl insists on a str
        self.metadata.update(labels=list(self.labels), split=split)

    @classmethod
    def find_tracks(
        cls, folder: str | Path, groups: Groups | None = None, ignore: Sequence[str] = (), **options
    ) -> list[Track]:
        """Returns the tracks of a folder, sorted by name; no audio is read.

        Raises:
            DataError: The folder does not hold this data set.
            ConfigError: It has no such option, or not that value of it.
        """
        known = list(inspect.signature(cls._find).parameters)[3:]
        for option in options:
            if option not in known:
                has = f"Its options are {', '.join(known)}" if known else "It has no options"
                raise ConfigError(f"{option}={options[option]!r} was asked for of {cls.NAME}. {has}.")
        ignore = (ignore,) if isinstance(ignore, str) else tuple(ignore)
        tracks = without_ignored(cls._find(Path(folder), groups=groups, ignore=ignore, **options), ignore)
        if not tracks:
            raise DataError(f"{cls.NAME} was asked for in {folder}: `ignore` ({', '.join(ignore)}) leaves no track.")
        if groups:
            tracks = group_tracks(tracks, groups)
        return sorted(tracks, key=lambda track: track.name)

    @classmethod
    def recognises(cls, folder: str | Path) -> bool:
        """Tells whether a folder holds this data set."""
        try:
            return bool(cls.find_tracks(folder))
        except DataError:
            return False

    @classmethod
    def _find(cls, folder: Path, groups: Groups | None, ignore: Sequence[str], **options) -> list[Track]:
        raise NotImplementedError

    def get_items(self, folder: str) -> list[Track]:
        """Returns the tracks of the split that was asked for (nussl's hook)."""
        tracks = self.find_tracks(folder, **self._find_options)
        tracks = complete_tracks(tracks, self.missing)
        self.labels = labels_of(tracks)
        return tracks if self.split is None else in_split(tracks, self.split)

    def process_item(self, item: Track) -> dict:
        """Returns nussl's item of one track (nussl's hook)."""
        audio = {path: read(path) for files in item.stems.values() for path in files}
        width = max([array.shape[0] for array, _ in audio.values()] + [self.num_channels or 1])
        signals = {}
        for path, (array, sample_rate) in audio.items():
            if len(array) not in (1, width):
                raise DataError(f"Track {item.name!r}: {path} has {len(array)} channels beside {width} in another stem.")
            array = np.repeat(array, width // len(array), axis=0)
            signal = self._load_audio_from_array(array, sample_rate)  # resamples, or raises, as nussl's options say
            signals[str(path)] = signal.audio_data
        try:
            signals = align(signals, self.length_tolerance)
        except DataError as error:
            raise DataError(f"Track {item.name!r}: {error}") from None
        sources = {}
        for label in sorted(item.stems):
            sources[label] = self._signal(sum(signals[str(path)] for path in item.stems[label]))
            sources[label].path_to_input_file = str(item.stems[label][0])
        mix = self._signal(sum(source.audio_data for source in sources.values()))
        mix.path_to_input_file = item.name
        return {"mix": mix, "sources": sources, "metadata": {"labels": list(self.labels), "track": item.name}}

    def _signal(self, audio: np.ndarray):
        return self._load_audio_from_array(np.asarray(audio, dtype=np.float32), self.sample_rate)


def complete_tracks(tracks: Sequence[Track], missing: str = "error") -> list[Track]:
    """Returns the tracks that have every label.

    Args:
        tracks: All tracks.
        missing: 'error' stops where a track is incomplete, 'skip' leaves it out, 'silence' keeps it.

    Raises:
        DataError: A track lacks a label, and ``missing`` is 'error'; or none is complete.
    """
    check_choice("missing", missing, ("error", "skip", "silence"))
    if missing == "silence":
        return list(tracks)
    lacking = missing_labels(tracks)
    if lacking and (missing == "error" or len(lacking) == len(tracks)):
        counts = counted(Counter(label for track in tracks for label in track.stems), len(tracks))
        listed = "".join(f"\n  {name} lacks {', '.join(labels)}" for name, labels in lacking.items())
        raise DataError(
            f"Every track must have the same stems. Found {counts}:{listed}\nAdd the stems, pass over a "
            "label with `ignore`, merge labels with `groups`, or leave these tracks out with missing='skip'."
        )
    return [track for track in tracks if track.name not in lacking]


def in_split(tracks: Sequence[Track], split: str) -> list[Track]:
    """Returns the tracks of one split; where no track has one, after ``split_tracks``.

    Raises:
        DataError: No track is in it.
    """
    if all(track.split is None for track in tracks):
        tracks = split_tracks(tracks)
    chosen = [track for track in tracks if track.split == split]
    if not chosen:
        found = ", ".join(f"{name} {count}" for name, count in Counter(track.split for track in tracks).items())
        raise DataError(f"Split {split!r} was asked for: the {len(tracks)} tracks are {found}. Choose one of these.")
    return chosen


def split_tracks(tracks: Sequence[Track], valid: float = 0.1, test: float = 0.1, seed: int = 0) -> list[Track]:
    """Returns the tracks with splits drawn by seed, whole tracks at a time, so that no song is on two sides.

    Args:
        tracks: Tracks to split, in any order: the draw depends on their names and the seed alone.
        valid: Share of tracks for validation: one at least, when there are three.
        test: Share of tracks for the test: one at least, when there are two.
        seed: Seed of the draw.
    """
    names = sorted(track.name for track in tracks)
    random.Random(seed).shuffle(names)
    tests = max(round(test * len(names)), int(test > 0 and len(names) > 1))
    valids = max(round(valid * len(names)), int(valid > 0 and len(names) > 2))
    drawn = dict.fromkeys(names, "train")
    drawn |= dict.fromkeys(names[:tests], "test") | dict.fromkeys(names[tests : tests + valids], "valid")
    return [replace(track, split=drawn[track.name]) for track in tracks]
