"""Render one piece of the pretraining corpus: draw a program for each part, play the parts, colour each stem."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.signal

from .expression import beats_to_seconds, perform
from .programs import BAND, ENSEMBLES, KITS, PROGRAMS, programs_of
from .synth import RATE, Sound, active_rms, play, resample

SAMPLE_RATE = 16_000
LEVEL = 0.06  # RMS of a stem where it sounds, before a random gain of +-4 dB
QUIETEST = 5e-4  # RMS below which a program is considered silent


@dataclass(frozen=True)
class Piece:
    """The plan of one track: its parts by role, before any program is chosen."""

    name: str
    split: str
    seed: tuple[int, int]
    kind: str  # 'score' or 'band'
    parts: dict[str, np.ndarray]
    soundfonts: tuple[str, ...]


def render_piece(piece: Piece) -> dict[str, np.ndarray]:
    """Return the stems of a piece, label -> float32 [frames] at 16 kHz, equally long; a silent part is left out."""
    rng = np.random.default_rng([*piece.seed, 1])
    if not piece.parts:
        return {}
    programs = draw_programs(piece, rng)
    parts = [part for role, part in piece.parts.items()]
    melodic = [part for role, part in piece.parts.items() if role != "drums"]
    bpm = rng.uniform(75, 150) if piece.kind == "band" else draw_tempo(melodic, rng)
    to_seconds = beats_to_seconds(parts, bpm, hold=rng.uniform(0, 1))
    key = int(rng.integers(-5, 6))
    played, sounds = [], []
    for role, part in piece.parts.items():
        program = programs[role]
        is_drums = role == "drums"
        moved = part if is_drums else fit_range(part, program, key, rng)
        length = rng.uniform(0.5, 1.0)
        played.append(perform(moved, to_seconds, rng, lag=rng.uniform(0, 0.03), jitter=rng.uniform(0.003, 0.02),
                              length=length, loudness=rng.uniform(60, 100), swing=rng.uniform(5, 25)))
        sounds.append(Sound("", program, is_drums, detune=0.0 if is_drums else rng.normal(0, 6),
                            vibrato=draw_vibrato(program, is_drums, rng)))
    seconds = max(notes[:, 1].max() for notes in played) + 0.8
    room = rng.uniform(0.2, 1.2) if rng.random() < 0.4 else 0.0
    stems = {}
    for notes, sound in zip(played, sounds, strict=True):
        audio = play_audibly(notes, sound, seconds, list(rng.permutation(piece.soundfonts)))
        if audio is None:
            continue
        audio = colour(resample(audio, SAMPLE_RATE), room, rng)
        label = KITS[sound.program] if sound.drums else PROGRAMS[sound.program][0]
        stems[label] = at_level(audio, rng)
    return stems


def at_level(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a stem at `LEVEL` where it sounds, give or take 4 dB at random, and softer where it would clip; float32."""
    audio = audio * (LEVEL * 10 ** (rng.uniform(-4, 4) / 20) / active_rms(audio, SAMPLE_RATE))
    return (audio * min(1.0, 0.99 / np.abs(audio).max())).astype(np.float32)


def play_audibly(notes: np.ndarray, sound: Sound, seconds: float, soundfonts: list[str]) -> np.ndarray | None:
    """Return a part played by the first soundfont that is not silent there, or None.

    Some programs are silent, or nearly so, in part of their range: MuseScore's pianos, TimGM6mb's alto saxophone.
    """
    for soundfont in soundfonts:
        audio = play(notes, replace(sound, soundfont=str(soundfont)), seconds)
        if active_rms(audio, RATE) > QUIETEST:
            return audio
    return None


def draw_programs(piece: Piece, rng: np.random.Generator) -> dict[str, int]:
    """Return a program for each role, all different."""
    weights = np.array([weight for _, _, weight in ENSEMBLES])
    families = ENSEMBLES[rng.choice(len(ENSEMBLES), p=weights / weights.sum())][1]
    chosen: dict[str, int] = {}
    for role in piece.parts:
        if role == "drums":
            continue
        wanted = BAND[role] if role in BAND and rng.random() < 0.8 else families
        free = [p for p in programs_of(wanted) if p not in chosen.values()]
        chosen[role] = int(rng.choice(free or [p for p in programs_of(None) if p not in chosen.values()]))
    if "drums" in piece.parts:
        chosen["drums"] = int(rng.choice(list(KITS)))
    return chosen


def draw_tempo(parts: list[np.ndarray], rng: np.random.Generator) -> float:
    """Return a random tempo: 0.7 to 1.4 times the quarter notes a minute at which the mean note lasts 0.5 s."""
    mean_length = np.mean([part[:, 1].mean() for part in parts])
    return float(np.clip(60 * mean_length / 0.5 * rng.uniform(0.7, 1.4), 30, 400))


def draw_vibrato(program: int, is_drums: bool, rng: np.random.Generator) -> tuple[float, float]:
    """Return a vibrato's depth in cents and rate in Hz; half of the parts whose instrument can have one get one."""
    shakes = not is_drums and PROGRAMS[program][3] in ("strings", "winds", "choir", "brass", "synth")
    return (rng.uniform(5, 30) if shakes and rng.random() < 0.5 else 0.0, rng.uniform(4.0, 7.0))


def fit_range(part: np.ndarray, program: int, key: int, rng: np.random.Generator) -> np.ndarray:
    """Return a part transposed by the key and by octaves into the range of a program.

    The octave is drawn from those in which at least nine notes in ten are in the range, near octaves more often. The other
    notes move by octaves into the range.
    """
    _, low, high, _ = PROGRAMS[program]
    pitch = part[:, 2] + key
    octaves = np.arange(-4, 5)
    inside = np.array([np.mean((pitch + 12 * o >= low) & (pitch + 12 * o <= high)) for o in octaves])
    weight = np.where(inside >= min(0.9, inside.max()), 0.4 ** np.abs(octaves), 0.0)
    moved = pitch + 12 * rng.choice(octaves, p=weight / weight.sum())
    moved = np.where(moved < low, moved + 12 * np.ceil((low - moved) / 12), moved)
    moved = np.where(moved > high, moved - 12 * np.ceil((moved - high) / 12), moved)
    return np.column_stack([part[:, :2], moved, part[:, 3]])


def colour(audio: np.ndarray, room: float, rng: np.random.Generator, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Return audio as if recorded by another microphone in a room: with a spectral tilt and light reverberation.

    Args:
        audio: Mono.
        room: Reverberation time in seconds, 0 for none.
        rng: Random generator.
        rate: Sample rate of the audio.

    Shape:
        [frames] -> [frames]
    """
    if rng.random() < 0.5:
        corner = rng.uniform(300, 3000)
        b, a = scipy.signal.butter(1, corner, fs=rate)
        audio = audio + rng.uniform(-0.6, 1.5) * scipy.signal.lfilter(b, a, audio)
    if room:
        time = np.arange(int(room * rate)) / rate
        tail = rng.normal(0, 1, len(time)) * 10 ** (-3 * time / room)
        tail *= rng.uniform(0.05, 0.4) / np.sqrt(np.square(tail).sum())
        audio = audio + scipy.signal.fftconvolve(audio, tail)[: len(audio)]
    return audio.astype(np.float32)
