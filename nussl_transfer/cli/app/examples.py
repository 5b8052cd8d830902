"""Synthesise a short example mixture for each separator that ships."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile

RATE = 44_100
BEAT = 0.6  # length of a drum beat in seconds; a chord lasts two
MIDI_HZ = 440.0 * 2.0 ** ((np.arange(128) - 69) / 12)  # frequency in Hz by MIDI number

# A short chorale, one row per chord: MIDI numbers of the four voices, the highest first.
CHORDS = (
    (72, 67, 64, 48),
    (72, 69, 65, 53),
    (71, 67, 62, 55),
    (72, 67, 64, 57),
    (74, 69, 65, 50),
    (71, 67, 65, 55),
    (72, 67, 64, 48),
)

Timbre = Callable[[np.ndarray, np.ndarray], np.ndarray]


def write_examples(folder: Path, models: Sequence[str]) -> dict[str, Path]:
    """Write an example mixture for each of the given models that has one.

    Args:
        folder: Where to write ``<example>.wav``.
        models: Names of models.

    Returns:
        The file for each model, in the order of ``models``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for model in models:
        if model in EXAMPLES:
            name, stems_of = EXAMPLES[model]
            mixture = np.sum(list(stems_of().values()), axis=0)
            found[model] = folder / f"{name}.wav"
            soundfile.write(
                found[model], (0.7 * mixture / np.abs(mixture).max()).astype(np.float32), RATE, subtype="PCM_16"
            )
    return found


def drum_kit() -> dict[str, np.ndarray]:
    """Return the stems of four bars of drums: labels of the model ``drums``.

    Shape:
        [samples] each
    """
    rng = np.random.default_rng(0)
    frames = round(16 * BEAT * RATE)
    kick, snare, cymbals = np.zeros(frames), np.zeros(frames), np.zeros(frames)
    time = np.arange(round(0.35 * RATE)) / RATE
    noise = rng.standard_normal((3, len(time)))
    hiss = np.diff(noise, n=3, axis=1, prepend=np.zeros((3, 3)))  # noise without low frequencies
    # A falling sine; noise over a tone; high noise, short when the hi-hat is closed.
    boom = np.sin(2 * np.pi * (50 * time + 90 * 0.03 * (1 - np.exp(-time / 0.03)))) * np.exp(-time / 0.11)
    crack = (0.6 * noise[0] + np.sin(2 * np.pi * 190 * time)) * np.exp(-time / 0.07)
    closed, opened = 0.12 * hiss[1] * np.exp(-time / 0.025), 0.12 * hiss[2] * np.exp(-time / 0.12)
    for beat in range(16):
        at = round(beat * BEAT * RATE)
        _add(kick if beat % 2 == 0 else snare, boom if beat % 2 == 0 else 0.5 * crack, at)
        if beat % 4 == 2:
            _add(kick, 0.8 * boom, at + round(BEAT / 2 * RATE))
        _add(cymbals, closed, at)
        _add(cymbals, opened if beat % 4 == 3 else closed, at + round(BEAT / 2 * RATE))
    return {"kick": kick, "snare": snare, "cymbals": cymbals}


def quartet() -> dict[str, np.ndarray]:
    """Return the stems of a short chorale: labels of the model ``quartet``.

    Shape:
        [samples] each
    """
    timbres: dict[str, Timbre] = {
        "violin": lambda number, hertz: number**-1.1,
        "clarinet": lambda number, hertz: np.where(number % 2 == 1, number**-1.2, 0.05 / number),
        "saxophone": lambda number, hertz: number**-0.8 * (0.3 + _formant(hertz, 700, 500)),
        "bassoon": lambda number, hertz: number**-0.5 * (0.15 + _formant(hertz, 480, 160)),
    }
    return {
        label: _sung([chord[voice] for chord in CHORDS], timbre, vibrato=0.006 if label == "violin" else 0.002)
        for voice, (label, timbre) in enumerate(timbres.items())
    }


def choir() -> dict[str, np.ndarray]:
    """Return the stems of a short chorale, sung: labels of the model ``choir``.

    Shape:
        [samples] each
    """

    def vowel(number: np.ndarray, hertz: np.ndarray) -> np.ndarray:
        formants = _formant(hertz, 700, 130) + 0.6 * _formant(hertz, 1150, 150) + 0.25 * _formant(hertz, 2800, 300)
        return number**-0.7 * (0.05 + formants)

    voices = [_sung([chord[voice] for chord in CHORDS], vowel, vibrato=0.01, delay=0.013 * voice) for voice in range(4)]
    return {"female": voices[0] + voices[1], "male": voices[2] + voices[3]}


EXAMPLES: dict[str, tuple[str, Callable[[], dict[str, np.ndarray]]]] = {
    "quartet": ("chorale", quartet),
    "choir": ("sung chorale", choir),
    "drums": ("drum kit", drum_kit),
}


def _sung(notes: Sequence[int], timbre: Timbre, vibrato: float, delay: float = 0.0) -> np.ndarray:
    """Return a voice: one note per chord, as a sum of partials.

    Args:
        notes: MIDI numbers.
        timbre: Amplitudes of partials, from their numbers and their frequencies in Hz.
        vibrato: Largest change of the frequency, as a share.
        delay: How much later than the beat the voice begins, in seconds.
    """
    voice = np.zeros(round((2 * BEAT * len(notes) + 1) * RATE))
    time = np.arange(round(2 * BEAT * RATE)) / RATE
    envelope = np.minimum(1, time / 0.05) * np.minimum(1, (time[-1] - time) / 0.08)
    for index, note in enumerate(notes):
        hertz = MIDI_HZ[note]
        phase = 2 * np.pi * hertz * (time + vibrato / (2 * np.pi * 5.5) * np.sin(2 * np.pi * 5.5 * (time + delay)))
        number = np.arange(1, 1 + min(30, int(0.45 * RATE / hertz)))
        tone = (timbre(number, hertz * number)[:, None] * np.sin(number[:, None] * phase)).sum(axis=0)
        _add(voice, tone * envelope / np.sqrt(np.mean(tone**2)), round((2 * BEAT * index + delay) * RATE))
    return voice


def _formant(hertz: np.ndarray, centre: float, width: float) -> np.ndarray:
    return np.exp(-(((hertz - centre) / width) ** 2))


def _add(track: np.ndarray, sound: np.ndarray, at: int) -> None:
    """Add a sound to a track, starting at a sample; cut the sound off at the end of the track."""
    room = track[at : at + len(sound)]
    room += sound[: len(room)]
