"""Singers, stood in for by the voices of a soundfont: vowels, with a throat, a vibrato and a tuning of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import soxr

from nussl_transfer.errors import ConfigError

from .expression import swells, voice_bends
from .rendering import play_audibly
from .synth import RATE, Sound

SYLLABLES = ((52, 0.5), (53, 0.3), (54, 0.2))  # General MIDI's choir aahs, voice oohs, synth voice: how often


def sing(notes: np.ndarray, throat: int, seconds: float, soundfonts: Sequence[str], rng: np.random.Generator, rate: int,
         vibrato: tuple[float, float] = (8.0, 40.0)) -> np.ndarray:
    """Returns what one singer sounds like, dry, mono float32 [seconds * rate].

    A throat of another length than that of the samples: notes are played higher and faster, and the sound is slowed down
    by as much, so that pitch and time are as they should be and the formants lower.

    Args:
        notes: [notes, 4] as of `perform`, one at a time.
        throat: Semitones by which the formants lie below those of the samples.
        seconds: Length.
        soundfonts: Paths of soundfonts; one is drawn.
        rng: Source of chance: syllable, soundfont, tuning, vibrato, loudness.
        rate: Sample rate of the result.
        vibrato: Least and greatest depth of the vibrato in cents.

    Raises:
        ConfigError: No soundfont has the program that was drawn.
    """
    syllables, weights = zip(*SYLLABLES, strict=True)
    slower = 2 ** (throat / 12)
    bends = voice_bends(notes, seconds, rng, rng.uniform(*vibrato), rng.uniform(4.6, 6.6))
    faster = notes / np.array([slower, slower, 1, 1]) + np.array([0, 0, throat, 0])
    sound = Sound("", int(rng.choice(syllables, p=weights)), detune=rng.normal(0, 7), bends=bends / np.array([slower, 1]))
    audio = play_audibly(faster, sound, seconds / slower, list(rng.permutation(soundfonts)))
    if audio is None:
        raise ConfigError(f"Program {sound.program} is silent in {', '.join(soundfonts)}. Give another soundfont.")
    if throat or rate != RATE:
        audio = soxr.resample(audio, RATE / slower, rate, quality="HQ").astype(np.float32)
    frames = round(seconds * rate)
    return np.pad(audio, (0, frames))[:frames] * swells(frames, rate, rng, 4.0)
