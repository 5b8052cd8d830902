"""What one source of a mixture is made of, and how it is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..audio.augment import augment, context_samples, source_samples
from ..store.manifest import StoredTrack
from ..store.store import Store


@dataclass(frozen=True)
class Excerpt:
    """One source of a mixture: ``frames`` of a stem of a track from ``start`` on, and what is done to them.

    ``start`` and ``frames`` are in samples of the store. ``gain`` multiplies; ``pitch`` is in semitones; ``stretch`` is
    the tempo (1.2: faster by a fifth), so that a source of so many frames gives ``frames / stretch`` samples.
    """

    track: StoredTrack
    label: str
    start: int
    frames: int
    gain: float = 1.0
    pitch: float = 0.0
    stretch: float = 1.0


def read_excerpt(store: Store, excerpt: Excerpt, samples: int) -> np.ndarray:
    """Returns the audio of one source of a mixture; silence follows where the excerpt is the shorter.

    With another pitch or tempo a tenth of a second at either side is read too, as far as the track has it: the vocoder
    needs to know where the sound comes from and goes to.

    Shape:
        float32 [samples]

    Raises:
        DataError: The stem is not in the store any more, or not whole.
    """
    plain = excerpt.pitch == 0 and excerpt.stretch == 1
    context = 0 if plain else context_samples(store.sample_rate)
    first = max(0, excerpt.start - context)
    end = min(excerpt.track.frames, excerpt.start + excerpt.frames + context)
    audio = store.read(excerpt.track, excerpt.label, first, end - first)
    if not plain:
        # A track that is too short for the mixture is as short at another tempo.
        short = excerpt.frames < source_samples(samples, excerpt.stretch)
        sounding = min(samples, round(excerpt.frames / excerpt.stretch)) if short else samples
        how = {"pitch": excerpt.pitch, "stretch": excerpt.stretch, "before": excerpt.start - first}
        audio = augment(audio, sounding, store.sample_rate, **how)
    if excerpt.gain != 1:
        audio = audio * np.float32(excerpt.gain)
    if len(audio) == samples:
        return audio
    padded = np.zeros(samples, dtype=np.float32)
    padded[: len(audio)] = audio
    return padded


def sounds(excerpt: Excerpt) -> bool:
    """Returns whether the manifest says that something sounds in an excerpt: any tenth of a second above -60 dBFS."""
    end = excerpt.start + excerpt.frames
    return any(begin < end and stop > excerpt.start for begin, stop in excerpt.track.stems[excerpt.label].active)
