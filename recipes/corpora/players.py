"""Synthesize players of wind and string instruments, who bow or blow whole lines: a source and a filter for each.

Soundfonts and recorded notes repeat the same few sounds, and every note begins anew. Here, each player has an instrument
of its own, drawn at random around what is known of the acoustics of a violin, clarinet, saxophone or bassoon. Notes are
joined, and get louder, softer and brighter as they sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from .expression import beats_to_seconds, perform, swells, voice_bends
from .finished import made_aside
from .quartets import Quartet, plan
from .rendering import at_level, colour, draw_tempo
from .source_filter import BINS, RATE, filtered_sum, frame_times, pitch_curve, pulses, spectrum_of

RIPPLES = np.geomspace(60, 8000, 60)  # frequencies in Hz at which an instrument's random resonances are drawn


@dataclass(frozen=True)
class Kind:
    """The ranges from which the instruments of one kind are drawn.

    Attributes:
        odd: Share of the even harmonics that are missing, at the lowest notes; it halves with each octave.
        formants: Middle in Hz, width in Hz and gain in dB of each resonance, each a pair of limits.
        tilt: Fall of the harmonics in dB per octave above `corner`.
        corner: Frequency in Hz.
        low_cut: Frequency in Hz below which the sound falls by 6 dB per octave.
        ripple: Standard deviation in dB of the random resonances.
        vibrato: Depth in cents.
        noise: Level of the breath or of the bow in dB.
        attack: Length of a note's beginning in seconds.
        glide: Length of the way from one pitch to the next in seconds.
    """

    odd: tuple[float, float] = (0.0, 0.2)
    formants: tuple[tuple[tuple[float, float], tuple[float, float], tuple[float, float]], ...] = ()
    tilt: tuple[float, float] = (3.0, 12.0)
    corner: tuple[float, float] = (500.0, 1500.0)
    low_cut: tuple[float, float] = (50.0, 200.0)
    ripple: tuple[float, float] = (1.0, 5.0)
    vibrato: tuple[float, float] = (0.0, 25.0)
    noise: tuple[float, float] = (-45.0, -25.0)
    attack: tuple[float, float] = (0.015, 0.09)
    glide: tuple[float, float] = (0.008, 0.05)


# After N. Fletcher and T. Rossing, "The Physics of Musical Instruments", and J. Meyer, "Acoustics and the Performance of
# Music": the modes of a violin's body and its bridge hill; the odd harmonics of a clarinet's low register and its cutoff
# near 1.5 kHz; the formants of saxophones; the bassoon's formants near 0.5 and 1.15 kHz and its weak fundamental.
KINDS = {
    "violin": Kind(
        formants=(((260, 300), (30, 80), (2, 9)), ((420, 480), (30, 80), (2, 9)), ((510, 600), (30, 90), (2, 9)),
                  ((850, 1300), (200, 500), (0, 7)), ((2000, 3200), (700, 1800), (3, 12))),
        tilt=(4.0, 10.0), corner=(600, 1500), low_cut=(180, 300), ripple=(3.0, 6.0), vibrato=(5.0, 45.0),
        noise=(-40.0, -22.0), attack=(0.02, 0.12)),
    "clarinet": Kind(
        odd=(0.6, 0.97), formants=(((900, 1600), (300, 900), (-2, 6)), ((2400, 3500), (500, 1200), (-3, 5))),
        tilt=(8.0, 18.0), corner=(900, 1800), low_cut=(60, 140), ripple=(1.0, 4.0), vibrato=(0.0, 8.0),
        noise=(-50.0, -30.0), attack=(0.015, 0.07)),
    "saxophone": Kind(
        formants=(((350, 700), (150, 400), (0, 8)), ((900, 1500), (250, 700), (0, 9)), ((2200, 3600), (500, 1200), (0, 8))),
        tilt=(5.0, 13.0), corner=(500, 1400), low_cut=(120, 320), ripple=(1.5, 4.5), vibrato=(0.0, 30.0),
        noise=(-42.0, -24.0), attack=(0.015, 0.08)),
    "bassoon": Kind(
        formants=(((400, 540), (80, 220), (5, 14)), ((1050, 1300), (150, 400), (0, 9)),
                  ((2000, 2700), (300, 800), (-3, 6))),
        tilt=(7.0, 15.0), corner=(450, 900), low_cut=(180, 420), ripple=(1.5, 4.0), vibrato=(0.0, 18.0),
        noise=(-48.0, -28.0), attack=(0.015, 0.08)),
}  # fmt: skip


@dataclass(frozen=True)
class Player:
    """One player and the instrument: the drawn values of a `Kind`.

    Attributes:
        odd: As in `Kind`.
        body: Gain at each of `BINS`.
        tilt: As in `Kind`.
        corner: As in `Kind`.
        brightness: Fall of the tilt in dB per octave for each 10 dB that a note is louder.
        vibrato: Depth in cents.
        noise: Level in dB.
        attack: Seconds.
        glide: Seconds.
        swell: Range in dB of what the player does within a note.
    """

    odd: float
    body: np.ndarray
    tilt: float
    corner: float
    brightness: float
    vibrato: float
    noise: float
    attack: float
    glide: float
    swell: float


def draw_player(kind: Kind, rng: np.random.Generator) -> Player:
    """Return a random player of a kind of instrument."""
    level = np.interp(np.log(np.maximum(BINS, 30)), np.log(RIPPLES), rng.normal(0, rng.uniform(*kind.ripple), len(RIPPLES)))
    for middle, width, gain in kind.formants:
        hertz, wide = rng.uniform(*middle), rng.uniform(*width)
        level = level + rng.uniform(*gain) / (1 + ((BINS - hertz) / wide) ** 2)
    low = rng.uniform(*kind.low_cut)
    body = 10 ** (level / 20) * np.sqrt((BINS / low) ** 2 / (1 + (BINS / low) ** 2))
    return Player(rng.uniform(*kind.odd), body, rng.uniform(*kind.tilt), rng.uniform(*kind.corner), rng.uniform(0.0, 2.5),
                  rng.uniform(*kind.vibrato), rng.uniform(*kind.noise), rng.uniform(*kind.attack), rng.uniform(*kind.glide),
                  rng.uniform(0.0, 6.0))


def play_line(notes: np.ndarray, player: Player, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Return one player's audio without reverberation, mono float32 at 16 kHz.

    Args:
        notes: [notes, 4] from `perform`, one at a time: onset and end in seconds, MIDI pitch, velocity.
        player: The player.
        seconds: Length of the result.
        rng: Random generator for tuning, vibrato, loudness and noise.

    Shape:
        [notes, 4] -> [seconds * 16000]
    """
    frames = round(seconds * RATE)
    notes = notes[np.argsort(notes[:, 0])]
    bends = voice_bends(notes, seconds, rng, player.vibrato, rng.uniform(4.5, 6.8), scoop=rng.uniform(0, 25))
    hertz = pitch_curve(notes, bends, frames, player.glide) * 2 ** (rng.normal(0, 6) / 1200)
    source = spectrum_of(pulses(hertz))
    times = frame_times(frames)
    if player.odd > 0.02:
        # All harmonics less a share of the even ones, which are the harmonics of the octave.
        share = player.odd * np.clip(2 ** (-np.log2(hertz / 220)), 0, 1)
        source = source - spectrum_of(np.sqrt(0.5) * share * pulses(2 * hertz))
    level, onsets = loudness(notes, times, player, rng)
    louder = 20 * np.log10(np.maximum(level, 1e-3)) / 10
    tilt = np.clip(player.tilt - player.brightness * louder, 0.5, 30)
    octaves = np.log2(np.maximum(BINS, player.corner) / player.corner)
    gains = player.body * 10 ** (-tilt[:, None] * octaves / 20) * level[:, None]
    rough = player.body * 10 ** (-0.5 * player.tilt * octaves / 20)
    rough /= np.sqrt(np.square(rough).mean())
    noise = 10 ** (player.noise / 20) * (level + onsets * 10 ** (rng.uniform(0, 14) / 20))
    audio = filtered_sum(source, gains, noise[:, None] * rough, rng, frames)
    return (audio * swells(frames, RATE, rng, rng.uniform(0, 4))).astype(np.float32)


def loudness(notes: np.ndarray, times: np.ndarray, player: Player,
             rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the level of the sound and of the noise with which notes begin, at some times.

    Shape:
        [notes, 4], [times] -> [times], [times]
    """
    level, onsets = np.zeros(len(times)), np.zeros(len(times))
    release = rng.uniform(0.03, 0.15)
    for start, end, _, velocity in notes:
        attack = player.attack * rng.uniform(0.6, 1.6)
        since, length = times - start, max(end - start, 0.05)
        shape = np.clip(since / attack, 0, 1) * np.clip((end + release - times) / release, 0, 1)
        # Within the note: louder to a point, then softer.
        peak = rng.uniform(0, 1)
        slope, bend = rng.normal(0, 0.5), rng.uniform(0, 1)
        swell = player.swell * (slope * (since / length - 0.5) - bend * np.abs(since / length - peak))
        level = np.maximum(level, shape * (velocity / 100) ** 1.5 * 10 ** (np.clip(swell, -24, 12) / 20))
        onsets = np.maximum(onsets, shape * np.exp(-np.maximum(since, 0) / 0.03) * (since >= 0) * (velocity / 100) ** 1.5)
    return level, onsets


def add_played_quartets(tree: Path, works: Path, tracks: int = 120, takes: int = 1, seed: int = 0) -> int:
    """Add chorales played by synthetic violins, clarinets, saxophones and bassoons to a tree; return their number.

    Args:
        tree: Folder of stems, one folder for each chorale, from `render_quartets`. The added names end in "-played1",
            "-played2" and so on.
        works: Folder in which the parsed scores are cached.
        tracks: Number of chorales.
        takes: Number of times that each is played, always by other players.
        seed: Seed of every random choice.
    """
    for number, quartet in enumerate(plan(works, tracks, seed, ("",), tree)):
        for take in range(1, takes + 1):
            folder = tree / f"{quartet.name}-played{take}"
            if not folder.is_dir():
                render_played(quartet, folder, np.random.default_rng([seed, number, 5, take]))
    return tracks * takes


def render_played(quartet: Quartet, folder: Path, rng: np.random.Generator) -> None:
    """Write the stems of one chorale, played by random synthetic players, into a new folder."""
    bpm = draw_tempo(list(quartet.parts), rng)
    to_seconds = beats_to_seconds(list(quartet.parts), bpm, hold=rng.uniform(0, 1))
    key, room = int(rng.integers(-3, 4)), rng.uniform(0.2, 1.2) if rng.random() < 0.4 else 0.0
    lines = {}
    for name, part in zip(KINDS, quartet.parts, strict=True):
        moved = part + np.array([0, 0, key, 0], dtype=np.float32)
        lines[name] = perform(moved, to_seconds, rng, lag=rng.uniform(0, 0.03), jitter=rng.uniform(0.003, 0.02),
                              length=rng.uniform(0.8, 1.0), loudness=rng.uniform(65, 100), swing=rng.uniform(5, 25),
                              breath=rng.uniform(0.0, 0.4))
    seconds = max(notes[:, 1].max() for notes in lines.values()) + 0.8
    with made_aside(folder) as aside:
        for name, notes in lines.items():
            audio = colour(play_line(notes, draw_player(KINDS[name], rng), seconds, rng), room, rng)
            soundfile.write(aside / f"{name}.wav", at_level(audio, rng), RATE)
