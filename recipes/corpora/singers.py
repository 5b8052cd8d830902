"""Synthesize singers of choral works, each with a voice of its own, who sing syllables; a folder of stems for each take.

A soundfont's voices sing a few vowels, and every note begins anew. Here, a voice is a source of harmonics and the
resonances of a throat (`source_filter`). Its vowels change with the syllables, consonants interrupt it, and its notes are
joined. All singers of a take sing the same words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.tracks import Track
from nussl_transfer.errors import ConfigError

from .choir_works import TRAIN, work_file
from .choirset import NOTE, cut_parts, four_voices
from .expression import beats_to_seconds, perform, swells, voice_bends
from .finished import made_aside
from .processes import in_order
from .rendering import colour
from .scores import SCORES, load_scores
from .source_filter import BINS, RATE, filtered_sum, frame_times, pitch_curve, pulses, spectrum_of
from .synth import active_rms
from .voices import VOWELS

LETTERS = "aeiou"
CONSONANTS = ("none", "stop", "noise", "hum")  # as p; as s or f; as m, n or l
CONSONANT_SHARES = (0.3, 0.25, 0.2, 0.25)
RIPPLES = np.geomspace(60, 8000, 40)  # frequencies in Hz at which a throat's random gains are drawn
VOICES = {"soprano": "S", "alto": "A", "tenor": "T", "bass": "B"}  # stem -> key of `VOWELS`
SUNG = "-sung"  # between a work and the number of a take, in the name of its folder
TAKES = 2
LONGEST = 40.0  # seconds of a take
LEVEL = 0.05  # RMS of a voice where it sounds


@dataclass(frozen=True)
class Syllable:
    """One syllable of the text: a vowel between two of `LETTERS`, after a consonant of `CONSONANTS`."""

    vowel: np.ndarray  # share of each letter
    consonant: str
    seconds: float  # length of the consonant
    hiss: float  # frequency in Hz around which its noise is


@dataclass(frozen=True)
class Singer:
    """One singer: a voice and its manner.

    Attributes:
        resonances: [5 vowels, 5, 3]: frequency, level and bandwidth of each resonance.
        throat: Gain at each of `BINS`.
        floor: Level in dB between the resonances.
        tilt: Fall of the source in dB per octave above 1 kHz.
        vibrato: Depth in cents.
        glide: Length of the way from one pitch to the next in seconds.
        change: Length of the way from one vowel to the next in seconds.
        noise: Level of the breath in dB.
        attack: Length of a note's beginning in seconds.
    """

    resonances: np.ndarray
    throat: np.ndarray
    floor: float
    tilt: float
    vibrato: float
    glide: float
    change: float
    noise: float
    attack: float


def draw_singer(voice: str, rng: np.random.Generator) -> Singer:
    """Return a random singer of a voice: S, A, T or B."""
    resonances = np.array([np.transpose(VOWELS[voice][letter]) for letter in LETTERS], dtype=float)
    resonances[..., 0] *= rng.uniform(0.9, 1.12) * rng.normal(1, 0.04, resonances.shape[:2])
    resonances[..., 1] *= rng.uniform(0.4, 1.1)  # a bright voice or a dark one
    resonances[..., 1] += rng.normal(0, 3, resonances.shape[:2]) + rng.normal(0, 3, 5)
    resonances[..., 2] *= rng.uniform(1.2, 3.5)
    ripples = rng.normal(0, rng.uniform(0.5, 3.5), len(RIPPLES))
    throat = 10 ** (np.interp(np.log(np.maximum(BINS, 30)), np.log(RIPPLES), ripples) / 20)
    return Singer(
        resonances, throat, floor=rng.uniform(-50, -28), tilt=rng.uniform(-2, 5), vibrato=rng.uniform(0, 90),
        glide=rng.uniform(0.03, 0.16), change=rng.uniform(0.04, 0.12), noise=rng.uniform(-48, -28),
        attack=rng.uniform(0.03, 0.12),
    )  # fmt: skip


def draw_text(parts: Iterable[np.ndarray], rng: np.random.Generator) -> dict[float, Syllable | None]:
    """Return the syllable that is sung to the notes that begin at each beat; None where the vowel before it continues."""
    text: dict[float, Syllable | None] = {}
    for onset in np.unique(np.concatenate([part[:, 0] for part in parts])):
        continues = text and rng.random() < 0.15
        text[float(onset)] = None if continues else draw_syllable(rng)
    return text


def draw_syllable(rng: np.random.Generator) -> Syllable:
    """Return a random syllable."""
    vowel = np.zeros(len(LETTERS))
    one, other = rng.integers(len(LETTERS), size=2)
    share = rng.uniform(0, 0.5)
    vowel[one] += 1 - share
    vowel[other] += share
    consonant = str(rng.choice(CONSONANTS, p=CONSONANT_SHARES))
    return Syllable(vowel, consonant, rng.uniform(0.03, 0.14), rng.uniform(1500, 7000))


def sing_line(
    notes: np.ndarray, words: list[Syllable | None], singer: Singer, seconds: float, rng: np.random.Generator
) -> np.ndarray:
    """Return one singer's audio without reverberation, mono float32 at 16 kHz.

    Args:
        notes: [notes, 4] from `perform`, one at a time: onset and end in seconds, MIDI pitch, velocity.
        words: The syllable of each note.
        singer: The singer.
        seconds: Length of the result.
        rng: Random generator for tuning, vibrato, loudness and noise.

    Shape:
        [notes, 4] -> [seconds * 16000]
    """
    frames = round(seconds * RATE)
    times = frame_times(frames)
    order = np.argsort(notes[:, 0])
    notes, words = notes[order], [words[index] for index in order]
    words[0] = words[0] or draw_syllable(rng)
    bends = voice_bends(notes, seconds, rng, singer.vibrato, rng.uniform(4.6, 6.6), scoop=rng.uniform(0, 60))
    hertz = pitch_curve(notes, bends, frames, singer.glide) * 2 ** (rng.normal(0, 7) / 1200)
    level, hum, hiss, gaps = articulation(notes, words, singer, times, rng)
    vowels = vowel_curve(notes, words, singer.change, times)
    pitch = hertz[np.minimum((times * RATE).astype(int), frames - 1)]
    gains = singer.throat * resonance_gains(vowels, singer, pitch)
    gains *= 10 ** (-singer.tilt * np.log2(np.maximum(BINS, 1000) / 1000) / 20)
    # In a hum, only the lowest harmonics are left.
    low = 1 / np.sqrt(1 + (BINS / 400) ** 4)
    gains = gains * (1 - hum[:, None] + 0.7 * hum[:, None] * low) * (level * gaps)[:, None]
    breath = 10 ** (singer.noise / 20) * level[:, None] * singer.throat / np.sqrt(np.square(singer.throat).mean())
    audio = filtered_sum(spectrum_of(pulses(hertz)), gains, breath + hiss, rng, frames)
    return (audio * swells(frames, RATE, rng, rng.uniform(0, 5))).astype(np.float32)


def vowel_curve(notes: np.ndarray, words: list[Syllable | None], change: float, times: np.ndarray) -> np.ndarray:
    """Return the share of each letter at some times: [times, 5]."""
    knots, shares = [], []
    for note, word in zip(notes, words, strict=True):
        if word is not None:
            shares += [shares[-1] if shares else word.vowel, word.vowel]
            knots += [note[0], note[0] + change]
    knots = np.maximum.accumulate(knots)
    return np.column_stack([np.interp(times, knots, share) for share in np.transpose(shares)])


def resonance_gains(vowels: np.ndarray, singer: Singer, pitch: np.ndarray) -> np.ndarray:
    """Return the gain of the resonances at each time and frequency.

    Singers raise the lowest resonance to the pitch when this is higher.

    Shape:
        [times, 5], [times] in Hz -> [times, bins]
    """
    found = np.tensordot(vowels, singer.resonances, 1)  # [times, 5, 3]
    middle, level, width = found[..., 0], 10 ** (found[..., 1] / 20), found[..., 2]
    middle[:, 0] = np.maximum(middle[:, 0], pitch)
    gains = np.full((len(vowels), len(BINS)), 10 ** (singer.floor / 20))
    for number in range(middle.shape[1]):
        away = (BINS - middle[:, number, None]) / (width[:, number, None] / 2)
        gains += level[:, number, None] / np.sqrt(1 + away**2)
    return gains


def articulation(
    notes: np.ndarray, words: list[Syllable | None], singer: Singer, times: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return what notes and consonants do to a voice at some times.

    Shape:
        level [times]; share of the hum [times]; gain of the consonants' noise [times, bins]; gain of the harmonics [times]
    """
    level, hum, gaps = np.zeros(len(times)), np.zeros(len(times)), np.ones(len(times))
    hiss = np.zeros((len(times), len(BINS)))
    release, swell, loud = rng.uniform(0.04, 0.2), rng.uniform(0, 5), rng.uniform(-22, -6)
    for (start, end, _, velocity), word in zip(notes, words, strict=True):
        since, length = times - start, max(end - start, 0.05)
        shape = np.clip(since / singer.attack, 0, 1) * np.clip((end + release - times) / release, 0, 1)
        # Within the note: louder to a point, then softer.
        slope, bend, peak = rng.normal(0, 0.5), rng.uniform(), rng.uniform()
        gain = swell * (slope * (since / length - 0.5) - bend * np.abs(since / length - peak))
        loudness = (velocity / 100) ** 1.5
        level = np.maximum(level, shape * loudness * 10 ** (np.clip(gain, -20, 10) / 20))
        if word is None or word.consonant == "none":
            continue
        # 1 during the consonant, which ends 20 ms after the note's onset.
        during = np.clip((0.02 - since) / 0.02, 0, 1) * np.clip((since + word.seconds) / 0.02, 0, 1)
        if word.consonant == "hum":
            hum = np.maximum(hum, during)
            continue
        gaps *= 1 - during * rng.uniform(0.7, 1.0)
        if word.consonant == "stop":
            during = np.clip(1 - np.abs(since) / 0.02, 0, 1)  # a burst
        band = 1 / (1 + (np.log2(np.maximum(BINS, 30) / word.hiss) / 0.7) ** 4)
        when = during > 0
        hiss[when] += (during[when] * loudness * 10 ** (loud / 20))[:, None] * band
    return level, hum, hiss, gaps


def sung_tracks(
    folder: Path, takes: int = TAKES, groups: dict[str, list[str]] | None = None, seed: int = 0, workers: int = 2
) -> list[Track]:
    """Render works of the choir's training set, sung by synthetic singers, and return the takes; none is made twice.

    Takes of one work have one origin, so they stay on one side of a split.

    Args:
        folder: Folder for the stems, in `sung`, and for the parsed scores.
        takes: How often each work is sung, by other singers in another key and tempo.
        groups: Label -> the voices of `VOICES` that it sums; None has a label for each voice.
        seed: Seed of every random choice.
        workers: Number of processes.

    Raises:
        ConfigError: `takes` is not positive.
    """
    if takes < 1:
        raise ConfigError(f"takes is wrong: got {takes}, expected at least 1.")
    tree = folder / "sung"
    tree.mkdir(parents=True, exist_ok=True)
    scores = load_scores({name: work_file(name) for name in TRAIN}, folder / SCORES, workers)
    jobs = [
        (tree / f"{work.replace('/', '-')}{SUNG}{take}", tuple(four_voices(parts)), (seed, number, take))
        for take in range(1, takes + 1)
        for number, (work, parts) in enumerate(scores.items())
    ]
    left = [job for job in jobs if not job[0].is_dir()]
    for _ in tqdm(in_order(render_sung, left, workers), "singing", len(left), unit="take", disable=not left):
        pass
    tracks = open_tracks(tree, StemOptions(groups=groups))[1]
    return [replace(track, origin=track.name.rpartition(SUNG)[0]) for track in tracks]


def render_sung(job: tuple[Path, tuple[np.ndarray, ...], tuple[int, ...]]) -> None:
    """Write the stems of one take, sung by random singers, into a new folder."""
    folder, parts, seed = job
    rng = np.random.default_rng(seed)
    bpm = 60 * np.mean([part[:, 1].mean() for part in parts]) / NOTE * rng.uniform(0.75, 1.6)
    parts = cut_parts([part[np.argsort(part[:, 0])] for part in parts], LONGEST * bpm / 60)
    to_seconds = beats_to_seconds(list(parts), bpm, hold=rng.uniform(0.0, 1.0))
    key, room = int(rng.integers(-4, 5)), rng.uniform(0.3, 2.5) if rng.random() < 0.6 else 0.0
    text, breath, tutti = draw_text(parts, rng), rng.uniform(0.1, 0.5), rng.random() < 0.3
    lines: dict[str, list[np.ndarray]] = {}
    for voice, part in zip(VOICES, parts, strict=True):
        moved = part + np.array([0, 0, key, 0], dtype=np.float32)
        lines[voice] = [
            perform(moved, to_seconds, rng, lag=rng.uniform(0, 0.04), jitter=rng.uniform(0.005, 0.025),
                    length=rng.uniform(0.93, 1.0), loudness=rng.uniform(70, 100), swing=rng.uniform(5, 20), breath=breath)
            for _ in range(rng.integers(2, 5) if tutti else 1)
        ]  # fmt: skip
    seconds = max(notes[:, 1].max() for voice in lines.values() for notes in voice) + 0.8
    tilt = rng.normal(0, 2.0)  # dB by which the upper voices are louder, and the lower ones softer
    stems = {}
    for (voice, key_of), part in zip(VOICES.items(), parts, strict=True):
        words = [text[float(onset)] for onset in part[:, 0]]
        singers = [sing_line(notes, words, draw_singer(key_of, rng), seconds, rng) for notes in lines[voice]]
        audio = colour(np.sum(singers, axis=0), room, rng)
        gain = (tilt if key_of in "SA" else -tilt) + rng.normal(0, 1.5)
        stems[voice] = audio * np.float32(LEVEL * 10 ** (gain / 20) / active_rms(audio, RATE))
    softer = min(1.0, 0.98 / max(np.abs(stem).max() for stem in stems.values()))
    with made_aside(folder) as aside:
        for voice, stem in stems.items():
            soundfile.write(aside / f"{voice}.wav", stem * softer, RATE)
