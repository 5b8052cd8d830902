"""Read and write stores: mono stems at one rate, with a manifest of lengths, levels and activity.

A store is a folder::

    <store>/manifest.json
    <store>/<track>/<label>.wav     mono, float32, one rate, equal lengths within a track, mean removed

Drawing a mixture needs only the manifest and reads no audio. An item then reads only its own excerpt, by seek.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from ..audio.levels import active_spans, block_powers
from ..errors import DataError
from ..runtime.files import written_aside
from .manifest import MIXTURE, Manifest, StoredStem, StoredTrack, read_manifest, write_manifest


class Store:
    """Open a folder of prepared stems.

    Args:
        folder: Folder that holds ``manifest.json``.

    Raises:
        DataError: The folder is not a store, or its manifest has another format.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        manifest = read_manifest(self.folder)
        self.sample_rate = manifest.sample_rate
        self.dataset = manifest.dataset
        self.missing = manifest.missing
        self.tracks = list(manifest.tracks)
        if not self.tracks:
            raise DataError(f"{self.folder} is an empty store: its manifest lists no track. Prepare it again.")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all tracks, in alphabetical order: nussl's order of sources."""
        return tuple(sorted({label for track in self.tracks for label in track.stems}))

    def select(
        self, split: str | None = None, names: Iterable[str] | None = None, labels: Iterable[str] | None = None
    ) -> Store:
        """Return a store of some of the tracks and labels; no audio is copied.

        Args:
            split: 'train', 'valid' or 'test'.
            names: Names of tracks.
            labels: Labels to keep; tracks that have none of them are left out.

        Raises:
            DataError: No track is left, or a label is not in the store.
        """
        wanted = None if names is None else set(names)
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.tracks = [
            track
            for track in self.tracks
            if (split is None or track.split == split) and (wanted is None or track.name in wanted)
        ]
        if not view.tracks:
            asked = f"split {split!r}" if wanted is None else f"tracks {sorted(wanted)}"
            splits = sorted({str(track.split) for track in self.tracks})
            raise DataError(
                f"{self.folder} has no {asked}: it has {len(self.tracks)} tracks, splits {', '.join(splits)}. Name some of "
                "these."
            )
        return view if labels is None else view._with_labels(sorted(set(labels)))

    def _with_labels(self, labels: list[str]) -> Store:
        unknown = sorted(set(labels) - set(self.labels))
        if unknown or not labels:
            raise DataError(f"{self.folder} has no labels {labels}: it has {', '.join(self.labels)}. Name some of these.")
        kept = [
            replace(track, stems={label: stem for label, stem in track.stems.items() if label in labels})
            for track in self.tracks
        ]
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.tracks = [track for track in kept if track.stems]
        return view

    def read(self, track: StoredTrack, label: str, start: int = 0, frames: int = -1) -> np.ndarray:
        """Read a part of one stem, by seek.

        Args:
            track: The track.
            label: One of its labels, or ``MIXTURE`` for the given mixture of a track that has one.
            start: First sample.
            frames: Number of samples; -1 for all that follow.

        Shape:
            float32 [frames]

        Raises:
            DataError: The file is missing, was cut, or cannot be decoded.
        """
        stem = track.mixture if label == MIXTURE and track.mixture is not None else track.stems[label]
        path = self.folder / stem.file
        try:
            audio, _ = soundfile.read(path, frames=frames, start=start, dtype="float32")
        except (soundfile.LibsndfileError, OSError) as error:
            raise DataError(f"{path} of the store cannot be read: {error}. Prepare the store again.") from error
        if frames >= 0 and len(audio) != frames:
            raise DataError(
                f"{path} ends early: got {len(audio)} of {frames} samples from {start}. It was cut after the manifest was "
                "written. Prepare the store again."
            )
        return audio

    @property
    def has_mixtures(self) -> bool:
        """Whether every track has a given mixture, which training uses as input instead of the sum of the stems."""
        return all(track.mixture is not None for track in self.tracks)

    def fingerprint(self) -> str:
        """Return a SHA-256 of the stems' names, lengths, levels and activity.

        The same stems prepared again have the same fingerprint; other audio under the same names has another.
        """
        measured = [
            [track.name, track.frames, {label: [stem.rms, stem.peak, stem.active] for label, stem in track.stems.items()}]
            + ([track.mixture.rms, track.mixture.peak] if track.mixture else [])
            for track in self.tracks
        ]
        return hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest()

    def tracks_by_origin(self) -> list[list[StoredTrack]]:
        """Return the tracks grouped by origin: a group is the same music, and must stay on one side of every split."""
        groups: dict[tuple[str, str], list[StoredTrack]] = {}
        for track in self.tracks:
            key = ("name", track.name) if track.origin is None else ("origin", track.origin)
            groups.setdefault(key, []).append(track)
        return list(groups.values())

    def minutes(self, label: str | None = None) -> float:
        """Return the length of all tracks, or of those that have a label, in minutes."""
        frames = sum(track.frames for track in self.tracks if label is None or label in track.stems)
        return frames / self.sample_rate / 60


class StoreWriter:
    """Write a store track by track. The manifest comes last: a half-written folder is never a store.

    Args:
        folder: Folder to write; made when absent.
        sample_rate: Rate of the stems in Hz.
        dataset: Name of the data set, kept in the manifest.
        missing: 'silence' if a label that a track lacks counts as a silent stem; else 'error'.
    """

    def __init__(self, folder: str | Path, sample_rate: int, dataset: str = "", missing: str = "error"):
        self.folder = Path(folder)
        self.missing = missing
        self.sample_rate = sample_rate
        self.dataset = dataset
        self.tracks: list[StoredTrack] = []

    def add(
        self,
        name: str,
        split: str | None,
        stems: dict[str, np.ndarray],
        sources: dict[str, list[dict]] | None = None,
        origin: str | None = None,
        mixture: np.ndarray | None = None,
    ) -> StoredTrack:
        """Write the stems of one track and return its entry.

        Args:
            name: Unique name; becomes a folder below the store.
            split: 'train', 'valid', 'test' or None.
            stems: One array [frames] for each label, all of one length.
            sources: Path, size and modification time of each label's files.
            origin: What the track was made from: tracks of one origin are the same music.
            mixture: A given mixture [frames], which training uses as input instead of the sum of the stems.

        Raises:
            DataError: The stems are empty or differ in length, the name is taken, or the name or a label points outside of
                the store.
        """
        if mixture is not None and MIXTURE in stems:
            raise DataError(f"Track {name!r} has a stem {MIXTURE!r} and a given mixture. Rename the stem.")
        audio_of = stems if mixture is None else {**stems, MIXTURE: mixture}
        lengths = {label: len(audio) for label, audio in audio_of.items()}
        if len(set(lengths.values())) != 1:
            raise DataError(f"The stems of track {name!r} differ in length: {lengths}. Trim them first.")
        if 0 in lengths.values():
            raise DataError(f"The stems of track {name!r} have no samples. Leave it out.")
        if any(track.name == name for track in self.tracks):
            raise DataError(f"There are two tracks {name!r}. Rename one.")
        entry = {}
        for label in sorted(audio_of):
            file = f"{name}/{label}.wav"
            if not _is_below(self.folder, file):
                raise DataError(f"Track {name!r}, label {label!r} points outside of {self.folder}. Rename it.")
            # The mean is an offset of the recording chain, not music. It would count in SI-SDR and in the mixture's level.
            audio = np.asarray(audio_of[label], dtype=np.float32)
            audio = audio - np.float32(audio.mean(dtype=np.float64))
            write_stem(self.folder / file, audio, self.sample_rate)
            about = describe_stem(audio, self.sample_rate)
            entry[label] = StoredStem(file=file, sources=(sources or {}).get(label, []), **about)
        given = None if mixture is None else entry.pop(MIXTURE)
        track = StoredTrack(name, split, next(iter(lengths.values())), entry, origin, given)
        self.tracks.append(track)
        return track

    def close(self) -> Store:
        """Write the manifest and return the store."""
        tracks = sorted(self.tracks, key=lambda track: track.name)
        write_manifest(self.folder, Manifest(self.sample_rate, self.dataset, tuple(tracks), self.missing))
        return Store(self.folder)


def write_stem(path: str | Path, audio: np.ndarray, sample_rate: int) -> None:
    """Write float32 audio [frames] as WAV, atomically."""
    with written_aside(path) as aside:
        soundfile.write(aside, audio, sample_rate, format="WAV", subtype="FLOAT")


def describe_stem(audio: np.ndarray, sample_rate: int) -> dict:
    """Measure ``rms`` and ``peak`` as shares of full scale, and the intervals ``active`` as [start, end) in frames.

    Shape:
        audio [frames]
    """
    spans = active_spans(block_powers(audio, sample_rate), sample_rate, len(audio))
    return {
        "rms": float(np.sqrt(np.square(audio, dtype=np.float64).mean())),
        "peak": float(np.abs(audio).max()),
        "active": spans.tolist(),
    }


def _is_below(folder: Path, file: str) -> bool:
    base = os.path.abspath(folder)
    return os.path.commonpath([base, os.path.abspath(folder / file)]) == base
