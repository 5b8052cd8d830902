"""Render a band: choose a program for each role, play its part, pan it, add reverberation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.signal

from nussl_transfer.errors import ConfigError

from .programs import KITS, PROGRAMS, programs_of
from .rendering import colour, draw_vibrato, fit_range, play_audibly
from .songs import Song, kind_of, play_part
from .synth import RATE, TAIL, Sound, active_rms
from .voices import draw_vowels, sing

# General MIDI programs by role; guitars and pianos as defined by Slakh's band recipe.
PROGRAMS_OF = {
    "bass": (32, 33, 34, 35, 36, 38), "guitar": (24, 25, 26, 27, 28, 29, 30), "piano": (0, 0, 2, 3, 4, 5, 7),
    "pad": (*programs_of(("strings",)), 89, 90, 92, 16, 17, 18, 19, 61, 62),
    "arpeggio": (8, 10, 11, 12, 46, 48, 80, 81, 84, 90, 104, 105, 107),
    "lead": (*programs_of(("winds",)), 40, 42, 56, 57, 59, 60, 80, 81, 84, 87, 110),
}
LEVELS = {
    "drums": 0.075,
    "bass": 0.065,
    "vocals": 0.07,
    "lead": 0.05,
}  # RMS of the active part of a role, before a random gain of +-2 dB
LEVEL = 0.035  # the same for every other role
SINGERS = {"S": (59, 81), "A": (55, 77), "T": (48, 70), "B": (43, 65)}  # lowest and highest note of a voice


def draw_band(roles: Sequence[str], rng: np.random.Generator) -> dict[str, int]:
    """Return a different program for each role except voices and drums, and the preset of a kit for drums."""
    chosen: dict[str, int] = {}
    for role in roles:
        if kind_of(role) in PROGRAMS_OF:
            free = [program for program in PROGRAMS_OF[kind_of(role)] if program not in chosen.values()]
            chosen[role] = int(rng.choice(free))
    return chosen | {"drums": int(rng.choice(list(KITS)))}


def other_patch(role: str, program: int, rng: np.random.Generator) -> int:
    """Return another program of the same eight, or another kit; without an alternative, the same one."""
    alike = list(KITS) if role == "drums" else [other for other in PROGRAMS if other // 8 == program // 8]
    return int(rng.choice([other for other in alike if other != program] or [program]))


def perform_role(role: str, song: Song, program: int, rng: np.random.Generator) -> np.ndarray:
    """Return an instrument's part as performed, moved into its range: see `perform`."""
    part = song.parts[role]
    if role != "drums":
        part = fit_range(part, program, 0, rng)
    long = kind_of(role) in ("pad", "lead", "bass")
    return play_part(part, song, rng, lag=rng.uniform(0, 0.015), jitter=rng.uniform(0.002, 0.01),
                     length=rng.uniform(0.85, 1.0) if long else rng.uniform(0.5, 1.0), loudness=rng.uniform(70, 100),
                     swing=rng.uniform(4, 14))


def play_role(notes: np.ndarray, program: int, drums: bool, seconds: float, soundfonts: Sequence[str],
              rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Return an instrument's audio, mono float32 at 44.1 kHz, and the soundfont drawn for it.

    Raises:
        ConfigError: The program is silent in all soundfonts.
    """
    sound = Sound("", program, drums, 0.0 if drums else rng.normal(0, 4), draw_vibrato(program, drums, rng))
    for soundfont in rng.permutation(soundfonts):
        if (audio := play_audibly(notes, sound, seconds, [str(soundfont)])) is not None:
            return colour(audio, 0.0, rng, RATE), str(soundfont)
    raise ConfigError(f"Program {program} is silent in {', '.join(soundfonts)}. Give another soundfont.")


def sing_role(song: Song, role: str, voice: str, seconds: float, soundfonts: Sequence[str],
              rng: np.random.Generator) -> np.ndarray:
    """Return a singer's audio, mono float32 at 44.1 kHz, each note on a vowel."""
    low, high = SINGERS[voice]
    part = song.parts[role].copy()
    part[:, 2] = np.where(part[:, 2] < low, part[:, 2] + 12 * np.ceil((low - part[:, 2]) / 12), part[:, 2])
    part[:, 2] = np.where(part[:, 2] > high, part[:, 2] - 12 * np.ceil((part[:, 2] - high) / 12), part[:, 2])
    notes = play_part(part, song, rng, lag=0.03, jitter=0.015, length=rng.uniform(0.9, 1.0), loudness=90, swing=10)
    audio = sing(notes, voice, draw_vowels(np.sort(notes[:, 0]), rng), seconds, soundfonts, rng, RATE)
    return colour(audio, 0.0, rng, RATE)


def levelled(audio: np.ndarray, role: str, rng: np.random.Generator) -> np.ndarray:
    """Return audio at the level of its role, plus or minus up to 2 dB."""
    wanted = LEVELS.get(kind_of(role), LEVEL) * 10 ** (rng.uniform(-2, 2) / 20)
    return (audio * (wanted / max(active_rms(audio, RATE), 1e-9))).astype(np.float32)


def panned(audio: np.ndarray, pan: float) -> np.ndarray:
    """Return mono audio [frames] panned between left (-1) and right (1), as [frames, 2] float32 of the same power."""
    angle = (pan + 1) * np.pi / 4
    return audio[:, None] * np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)


def draw_room(rng: np.random.Generator) -> np.ndarray:
    """Return a stereo room impulse response, [frames, 2] float32: noise that decays in 0.3 to 1.2 seconds."""
    seconds = rng.uniform(0.3, 1.2)
    time = np.arange(int(seconds * RATE)) / RATE
    tails = rng.normal(0, 1, (len(time), 2)) * 10 ** (-3 * time / seconds)[:, None]
    return (tails * rng.uniform(0.1, 0.3) / np.sqrt(np.square(tails).sum(axis=0))).astype(np.float32)


def in_room(audio: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Return stereo audio with reverberation, [frames, 2]."""
    wet = scipy.signal.oaconvolve(audio.mean(axis=1, keepdims=True), room, axes=0)[: len(audio)]
    return audio + wet.astype(np.float32)


def length_of(song: Song) -> float:
    """Return the length of a song in seconds, with the tail of its last note."""
    return float(max(song.seconds(notes[:, 0] + notes[:, 1]).max() for notes in song.parts.values())) + TAIL
