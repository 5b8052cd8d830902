"""Synthesize singers from the voices of a soundfont; the vowels change, and each singer has a vibrato and tuning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.signal

from nussl_transfer.errors import ConfigError

from .expression import swells, voice_bends
from .rendering import play_audibly
from .synth import Sound, resample

# General MIDI's choir aahs, voice oohs and synth voice, with their probabilities.
SYLLABLES = ((52, 0.5), (53, 0.3), (54, 0.2))
# Five resonances of each vowel: frequency in Hz, level in dB, bandwidth in Hz. As in the appendix of the Csound manual.
VOWELS = {
    "S": {
        "a": ((800, 1150, 2900, 3900, 4950), (0, -6, -32, -20, -50), (80, 90, 120, 130, 140)),
        "e": ((350, 2000, 2800, 3600, 4950), (0, -20, -15, -40, -56), (60, 100, 120, 150, 200)),
        "i": ((270, 2140, 2950, 3900, 4950), (0, -12, -26, -26, -44), (60, 90, 100, 120, 120)),
        "o": ((450, 800, 2830, 3800, 4950), (0, -11, -22, -22, -50), (70, 80, 100, 130, 135)),
        "u": ((325, 700, 2700, 3800, 4950), (0, -16, -35, -40, -60), (50, 60, 170, 180, 200)),
    },
    "A": {
        "a": ((800, 1150, 2800, 3500, 4950), (0, -4, -20, -36, -60), (80, 90, 120, 130, 140)),
        "e": ((400, 1600, 2700, 3300, 4950), (0, -24, -30, -35, -60), (60, 80, 120, 150, 200)),
        "i": ((350, 1700, 2700, 3700, 4950), (0, -20, -30, -36, -60), (50, 100, 120, 150, 200)),
        "o": ((450, 800, 2830, 3500, 4950), (0, -9, -16, -28, -55), (70, 80, 100, 130, 135)),
        "u": ((325, 700, 2530, 3500, 4950), (0, -12, -30, -40, -64), (50, 60, 170, 180, 200)),
    },
    "T": {
        "a": ((650, 1080, 2650, 2900, 3250), (0, -6, -7, -8, -22), (80, 90, 120, 130, 140)),
        "e": ((400, 1700, 2600, 3200, 3580), (0, -14, -12, -14, -20), (70, 80, 100, 120, 120)),
        "i": ((290, 1870, 2800, 3250, 3540), (0, -15, -18, -20, -30), (40, 90, 100, 120, 120)),
        "o": ((400, 800, 2600, 2800, 3000), (0, -10, -12, -12, -26), (40, 80, 100, 120, 120)),
        "u": ((350, 600, 2700, 2900, 3300), (0, -20, -17, -14, -26), (40, 60, 100, 120, 120)),
    },
    "B": {
        "a": ((600, 1040, 2250, 2450, 2750), (0, -7, -9, -9, -20), (60, 70, 110, 120, 130)),
        "e": ((400, 1620, 2400, 2800, 3100), (0, -12, -9, -12, -18), (40, 80, 100, 120, 120)),
        "i": ((250, 1750, 2600, 3050, 3340), (0, -30, -16, -22, -28), (60, 90, 100, 120, 120)),
        "o": ((400, 750, 2400, 2600, 2900), (0, -11, -21, -20, -40), (40, 80, 100, 120, 120)),
        "u": ((350, 600, 2400, 2675, 2950), (0, -20, -32, -28, -36), (40, 80, 100, 120, 120)),
    },
}  # fmt: skip
# The lowest three of them, which are enough to colour a soundfont's voices.
FORMANTS = {voice: {vowel: table[vowel][0][:3] for vowel in "aeou"} for voice, table in VOWELS.items()}
WIDTH = 160.0  # bandwidth of a formant in Hz
CHANGE = 0.06  # length of the transition between two vowels in seconds


def draw_vowels(times: np.ndarray, rng: np.random.Generator) -> list[tuple[float, str]]:
    """Return a random vowel for each of the given start times."""
    return [(float(time), str(rng.choice(list("aeou")))) for time in times]


def sing(notes: np.ndarray, voice: str, vowels: Sequence[tuple[float, str]], seconds: float, soundfonts: Sequence[str],
         rng: np.random.Generator, rate: int) -> np.ndarray:
    """Return one singer's audio without reverberation, mono float32 [seconds * rate].

    Args:
        notes: [notes, 4] from `perform`, one at a time.
        voice: S, A, T or B; selects the formants.
        vowels: Vowels and their start times in seconds; the first is sung from the beginning.
        seconds: Length of the result.
        soundfonts: Paths of soundfonts, from which one is drawn.
        rng: Random generator for the program, soundfont, tuning, vibrato, loudness and throat size.
        rate: Sample rate of the result.

    Raises:
        ConfigError: The drawn program is silent in all soundfonts.
    """
    programs, weights = zip(*SYLLABLES, strict=True)
    bends = voice_bends(notes, seconds, rng, rng.uniform(8, 40), rng.uniform(4.6, 6.6))
    sound = Sound("", int(rng.choice(programs, p=weights)), detune=rng.normal(0, 7), bends=bends)
    audio = play_audibly(notes, sound, seconds, list(rng.permutation(soundfonts)))
    if audio is None:
        raise ConfigError(f"Program {sound.program} is silent in {', '.join(soundfonts)}. Give another soundfont.")
    frames = round(seconds * rate)
    audio = np.pad(resample(audio, rate), (0, 1))[:frames]
    shaped = shape(audio, FORMANTS[voice], vowels, rng.uniform(0.93, 1.07), rng.uniform(1.0, 2.5), rate)
    return shaped * swells(frames, rate, rng, 4.0)


def shape(audio: np.ndarray, formants: dict[str, tuple], vowels: Sequence[tuple[float, str]], size: float, strength: float,
          rate: int) -> np.ndarray:
    """Return audio with the formants of each vowel amplified, at its original level.

    Args:
        audio: Mono audio.
        formants: vowel -> its formants in Hz.
        vowels: Vowels and their start times.
        size: Factor of the formant frequencies: above 1 for a short throat.
        strength: Gain of the added frequencies around a formant.
        rate: Sample rate.

    Shape:
        [frames] -> [frames]
    """
    starts = np.array([0.0, *(time for time, _ in vowels[1:])])
    letters = [vowel for _, vowel in vowels]
    shaped = np.zeros_like(audio)
    for vowel in sorted(set(letters)):
        louder = audio.copy()
        for formant in formants[vowel]:
            peak = scipy.signal.iirpeak(formant * size, formant * size / WIDTH, fs=rate)
            louder += np.float32(strength) * scipy.signal.lfilter(*peak, audio).astype(np.float32)
        level = np.sqrt(np.square(audio).mean() / max(np.square(louder).mean(), 1e-12))
        # This vowel's share: 1 while it is sung, with a transition of CHANGE seconds.
        share = np.array([letter == vowel for letter in letters], dtype=float)
        times = np.concatenate([starts[:1], np.repeat(starts[1:], 2) + np.tile([0.0, CHANGE], len(starts) - 1)])
        curve = np.interp(np.arange(len(audio)) / rate, times, np.repeat(share, 2)[:-1])
        shaped += (curve * level).astype(np.float32) * louder
    return shaped
