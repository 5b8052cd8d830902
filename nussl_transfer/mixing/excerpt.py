"""Describe one source of a mixture, and read its audio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..audio.augment import augment, context_samples, source_samples
from ..audio.timbre import Timbre, change_timbre
from ..store.manifest import StoredTrack


@dataclass(frozen=True)
class Excerpt:
    """One source of a mixture: where its samples are in the store, and how they are changed.

    Attributes:
        track: The track.
        label: The stem of that track.
        start: First sample that is read, in samples of the store.
        frames: Number of samples that are read; the source has ``frames / stretch`` samples.
        gain: Factor on the samples.
        pitch: Shift in semitones.
        stretch: Tempo: 1.2 plays faster by a fifth.
        timbre: Equalizer and room; None leaves the timbre as it is.
    """

    track: StoredTrack
    label: str
    start: int
    frames: int
    gain: float = 1.0
    pitch: float = 0.0
    stretch: float = 1.0
    timbre: Timbre | None = None


class StemReader(Protocol):
    """Anything that reads a part of a stem as a `Store` does."""

    sample_rate: int

    def read(self, track: StoredTrack, label: str, start: int, frames: int) -> np.ndarray:
        """Return ``frames`` samples of a stem from ``start`` on."""


def read_excerpt(store: StemReader, excerpt: Excerpt, samples: int) -> np.ndarray:
    """Read and change the audio of one source; where the excerpt is shorter than the mixture, zeros follow.

    To change pitch or tempo, the vocoder needs context: a tenth of a second on either side is read as well. At the ends of
    the track there is less.

    Shape:
        float32 [samples]

    Raises:
        DataError: The stem is no longer in the store, or was cut.
    """
    unchanged = excerpt.pitch == 0 and excerpt.stretch == 1
    context = 0 if unchanged else context_samples(store.sample_rate)
    first = max(0, excerpt.start - context)
    end = min(excerpt.track.frames, excerpt.start + excerpt.frames + context)
    audio = store.read(excerpt.track, excerpt.label, first, end - first)
    if not unchanged:
        # A track that is shorter than the mixture becomes shorter or longer with the tempo.
        short = excerpt.frames < source_samples(samples, excerpt.stretch)
        length = min(samples, round(excerpt.frames / excerpt.stretch)) if short else samples
        before = excerpt.start - first
        audio = augment(audio, length, store.sample_rate, excerpt.pitch, excerpt.stretch, before)
    if excerpt.timbre is not None:
        audio = change_timbre(audio, store.sample_rate, excerpt.timbre)
    if excerpt.gain != 1:
        audio = audio * np.float32(excerpt.gain)
    if len(audio) == samples:
        return audio
    padded = np.zeros(samples, dtype=np.float32)
    padded[: len(audio)] = audio
    return padded


def sounds(excerpt: Excerpt) -> bool:
    """Return whether the manifest lists the stem as active (above -60 dBFS) anywhere in an excerpt."""
    end = excerpt.start + excerpt.frames
    return any(begin < end and stop > excerpt.start for begin, stop in excerpt.track.stems[excerpt.label].active)
