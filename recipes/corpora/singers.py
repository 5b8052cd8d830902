"""Synthesize singers who sing syllables: a source of harmonics and noise, shaped by the formants of a throat.

The soundfonts of `voices` hold one vowel each. Here, each note has a consonant and a vowel, and each singer has a throat
of its own, so that no two parts of a corpus have the same timbre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .expression import swells, voice_bends
from .source_filter import BINS, RATE, filtered_sum, frame_times, pitch_curve, pulses, spectrum_of

# Formants of the five vowels in Hz, for a man's and a woman's voice (Csound manual, appendix "Formant Values").
MAN = {"a": (650, 1080, 2650, 2900, 3250), "e": (400, 1700, 2600, 3200, 3580), "i": (290, 1870, 2800, 3250, 3540),
       "o": (400, 800, 2600, 2800, 3000), "u": (350, 600, 2700, 2900, 3300)}
WOMAN = {"a": (800, 1150, 2900, 3900, 4950), "e": (350, 2000, 2800, 3600, 4950), "i": (270, 2140, 2950, 3900, 4950),
         "o": (450, 800, 2830, 3800, 4950), "u": (325, 700, 2700, 3800, 4950)}
NASAL = (250, 1100, 2200, 3300, 4400)  # of m, n and l
HISSES = {"s": (5500, 1800), "f": (4500, 4000), "sh": (3200, 1500), "h": (1800, 2500)}  # middle and width in Hz
STOPS = {"t": (4000, 2500), "k": (2000, 1200), "p": (900, 1200)}
SOUNDS = ("none", "nasal", "hiss", "stop")
CHANCES = (0.25, 0.3, 0.25, 0.2)
HEIGHT = {"S": (1.0, 1.12), "A": (0.92, 1.05), "T": (1.0, 1.12), "B": (0.88, 1.03)}  # range of the formants' factor


@dataclass(frozen=True)
class Syllable:
    """One sung syllable.

    Attributes:
        start: Time in seconds at which its vowel begins.
        vowel: Weights of a, e, i, o and u, which sum to 1.
        sound: Kind of its consonant, one of `SOUNDS`.
        letter: The consonant, for a hiss or a stop.
        length: Length of the consonant in seconds; it ends where the vowel begins.
    """

    start: float
    vowel: tuple[float, ...]
    sound: str
    letter: str
    length: float


@dataclass(frozen=True)
class Throat:
    """What one singer sounds like.

    Attributes:
        voice: S, A, T or B.
        size: Factor of all formants.
        gains: Level of each formant in dB.
        width: Factor of the formants' bandwidths.
        tilt: Fall of the source in dB per octave above 400 Hz.
        breath: Level of the breath's noise in dB.
    """

    voice: str
    size: float
    gains: tuple[float, ...]
    width: float
    tilt: float
    breath: float


def draw_syllables(starts: np.ndarray, rng: np.random.Generator, words: float = 0.85) -> list[Syllable]:
    """Return a syllable for each start time; a share of `words` are new, and the others hold the vowel before."""
    syllables: list[Syllable] = []
    for start in starts:
        if syllables and rng.random() > words:
            syllables.append(Syllable(float(start), syllables[-1].vowel, "none", "", 0.0))
            continue
        vowel = np.eye(5)[rng.integers(5)] * 2.5 + rng.dirichlet(np.full(5, 0.5))
        sound = str(rng.choice(SOUNDS, p=CHANCES))
        letters = list(HISSES if sound == "hiss" else STOPS)
        length = rng.uniform(0.04, 0.14) if sound != "stop" else rng.uniform(0.04, 0.08)
        syllables.append(Syllable(float(start), tuple(vowel / vowel.sum()), sound, str(rng.choice(letters)), length))
    return syllables


def draw_throat(voice: str, rng: np.random.Generator) -> Throat:
    """Return a random singer of a voice: S, A, T or B."""
    falls = np.cumsum([0.0, rng.uniform(1, 12), rng.uniform(3, 16), rng.uniform(-3, 8), rng.uniform(2, 14)])
    return Throat(voice, rng.uniform(*HEIGHT[voice]), tuple(-falls), rng.uniform(0.8, 1.8), rng.uniform(1.0, 7.0),
                  rng.uniform(-45, -22))


def sing_syllables(notes: np.ndarray, syllables: list[Syllable], throat: Throat, seconds: float,
                   rng: np.random.Generator) -> np.ndarray:
    """Return one singer's audio without reverberation, mono float32 at 16 kHz.

    Args:
        notes: [notes, 4] from `perform`, one at a time: onset and end in seconds, MIDI pitch, velocity.
        syllables: The syllables in order of time, one for each note or fewer.
        throat: The singer.
        seconds: Length of the result.
        rng: Random generator for tuning, vibrato, timing and noise.

    Shape:
        [notes, 4] -> [seconds * 16000]
    """
    frames = round(seconds * RATE)
    notes = notes[np.argsort(notes[:, 0])]
    bends = voice_bends(notes, seconds, rng, rng.uniform(5, 60), rng.uniform(4.6, 6.6), scoop=rng.uniform(10, 60))
    hertz = pitch_curve(notes, bends, frames, rng.uniform(0.03, 0.09)) * 2 ** (rng.normal(0, 9) / 1200)
    times = frame_times(frames)
    voiced, noisy, hisses = envelopes(notes, syllables, times, rng)
    shape = throat_shape(syllables, throat, times)
    fall = 10 ** (-throat.tilt * np.log2(np.maximum(BINS, 400) / 400) / 20)
    air = shape * voiced[:, None] / max(np.sqrt(np.square(shape).mean()), 1e-9) * 10 ** (throat.breath / 20)
    hiss = hisses * (10 ** (rng.uniform(-14, -2) / 20) * noisy)[:, None]
    audio = filtered_sum(spectrum_of(pulses(hertz)), shape * fall * voiced[:, None], air + hiss, rng, frames)
    return (audio * swells(frames, RATE, rng, 4.0)).astype(np.float32)


def envelopes(notes: np.ndarray, syllables: list[Syllable], times: np.ndarray,
              rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the level of the voice and of the hiss, and the hiss's spectrum, at each of some times.

    Shape:
        [frames], [frames], [frames, bins]
    """
    voiced, noisy = np.zeros(len(times)), np.zeros(len(times))
    hisses = np.zeros((len(times), len(BINS)))
    attack, release = rng.uniform(0.02, 0.08), rng.uniform(0.05, 0.15)
    for start, end, _, velocity in notes:
        rise = np.clip((times - start) / attack, 0, 1)
        fade = np.clip((end + release - times) / release, 0, 1)
        voiced = np.maximum(voiced, rise * fade * (velocity / 100) ** 1.5)
    for syllable in syllables:
        if syllable.sound == "none":
            continue
        during = (times >= syllable.start - syllable.length) & (times < syllable.start)
        if syllable.sound == "nasal":
            voiced[during] *= 0.35
            continue
        voiced[during] *= 0.02
        middle, width = (HISSES if syllable.sound == "hiss" else STOPS)[syllable.letter]
        spectrum = np.exp(-0.5 * ((BINS - middle * rng.uniform(0.9, 1.1)) / width) ** 2)
        burst = during if syllable.sound == "hiss" else (times >= syllable.start - 0.02) & (times < syllable.start + 0.01)
        noisy[burst] = rng.uniform(0.5, 1.0) * (1.0 if syllable.sound == "hiss" else 1.3)
        hisses[burst] = spectrum
    smooth = np.array([0.25, 0.5, 0.25])
    return np.convolve(voiced, smooth, "same"), np.convolve(noisy, smooth, "same"), hisses


def throat_shape(syllables: list[Syllable], throat: Throat, times: np.ndarray) -> np.ndarray:
    """Return the gain of the throat at each time and frequency.

    Shape:
        [frames, bins]
    """
    table = WOMAN if throat.voice in "SA" else MAN
    vowels = np.array([table[vowel] for vowel in "aeiou"], dtype=float)
    knots, formants = [0.0], [np.array(syllables[0].vowel) @ vowels]
    for before, syllable in zip([syllables[0], *syllables], syllables, strict=False):
        if syllable.sound == "nasal":
            knots += [syllable.start - syllable.length, syllable.start - 0.02]
            formants += [np.array(NASAL, dtype=float)] * 2
        else:
            knots.append(syllable.start - max(syllable.length, 0.03))
            formants.append(np.array(before.vowel) @ vowels)
        knots.append(syllable.start + 0.03)
        formants.append(np.array(syllable.vowel) @ vowels)
    knots, formants = np.maximum.accumulate(knots), np.array(formants) * throat.size
    gain = np.zeros((len(times), len(BINS)))
    for number, level in enumerate(throat.gains):
        middle = np.interp(times, knots, formants[:, number])[:, None]
        width = throat.width * (60 + 0.04 * middle)
        # The resonance of two poles, 1 at its middle.
        gain += 10 ** (level / 20) / np.sqrt(1 + ((BINS - middle) / (width / 2)) ** 2)
    return gain + 0.003
