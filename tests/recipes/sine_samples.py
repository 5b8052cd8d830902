"""Sine tones as recordings of notes, under the file names of the real libraries."""

from __future__ import annotations

import numpy as np
import soundfile

RATE = 44_100
NAMES = ("C", "Cs", "D", "Ds", "E", "F", "Fs", "G", "Gs", "A", "As", "B")
PITCHES = {"violin": range(55, 92, 4), "clarinet": range(50, 90, 4), "bassoon": range(43, 73, 4)}
OCTAVE_LOW = ("clarinet", "bassoon")  # their file names are an octave below the sounding pitch, as in the real library


def tone(pitch: float, seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """Return a sine tone of a MIDI pitch."""
    return 0.5 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * np.arange(round(seconds * rate)) / rate)


def write(path, audio) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, RATE)


def write_samples(folder) -> None:
    """Write recordings of four instruments and two drums into a folder, all of them sines."""
    for label, pitches in PITCHES.items():
        for pitch in pitches:
            octave = pitch // 12 - 1 - (label in OCTAVE_LOW)
            write(folder / "tonejs" / label / f"{NAMES[pitch % 12]}{octave}.wav", tone(pitch))
    for number in (1, 14, 27):
        write(folder / "mtg-sax/MTG Solo Saxophones/Samples" / f"ten_f_{number:02d}.flac", tone(43 + number))
        write(folder / "mtg-sax/MTG Solo Saxophones/Samples" / f"ten_p_{number:02d}.flac", tone(43 + number))
    kit = folder / "muldjordkit/DrumGizmo/MuldjordKit/Samples"
    write(kit / "KdrumR/1-KdrumR-KdrumR.flac", tone(36, 0.3))
    write(kit / "Snare/1-Snare-Snare_top.flac", tone(60, 0.3))
