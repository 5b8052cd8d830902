"""Turn scores into performances: tempo, fermatas, uneven timing and phrasing, all seeded."""

from __future__ import annotations

import numpy as np


def beats_to_seconds(parts: list[np.ndarray], bpm: float, hold: float = 0.0):
    """Return a function from quarter notes to seconds: a steady tempo that waits at each fermata.

    Args:
        parts: Notes [notes, 4] as of `read_score`.
        bpm: Quarter notes a minute.
        hold: Quarter notes that a fermata adds.
    """
    length = max(float((part[:, 0] + part[:, 1]).max()) for part in parts)
    top = parts[0]
    ends = np.unique((top[:, 0] + top[:, 1])[top[:, 3] > 0]) if hold > 0 else np.empty(0)
    # All parts slow down within the last half quarter of a held note.
    knots = np.concatenate([[0.0], np.sort(np.concatenate([ends - 0.5, ends])), [length + 64.0]])
    added = np.concatenate([[0.0], np.repeat(np.arange(len(ends)), 2) + np.tile([0, 1], len(ends)), [len(ends)]])
    knots, first = np.unique(np.maximum(knots, 0.0), return_index=True)
    seconds = (knots + added[first] * hold) * 60 / bpm
    return lambda beats: np.interp(beats, knots, seconds)


def perform(part: np.ndarray, to_seconds, rng: np.random.Generator, lag: float = 0.015, jitter: float = 0.012,
            length: float = 0.95, loudness: float = 84.0, swing: float = 14.0,
            breath: float = 0.0, accent: np.ndarray | float = 0.0) -> np.ndarray:
    """Return a part as a player performs it: with a lag, uneven onsets, shortened notes, louder and softer phrases.

    Args:
        part: Notes [notes, 4]: onset and duration in quarters, pitch, fermata.
        to_seconds: Function from quarters to seconds.
        rng: Random generator.
        lag: Largest constant delay or lead of the player in seconds.
        jitter: Standard deviation of each onset in seconds.
        length: Part of a written duration that sounds.
        loudness: Mean velocity.
        swing: Range of the velocity over a phrase.
        breath: Seconds of silence after a fermata.
        accent: Velocity added to each note.

    Shape:
        [notes, 4] -> [notes, 4]: onset and end in seconds, pitch, velocity
    """
    start = to_seconds(part[:, 0])
    end = start + (to_seconds(part[:, 0] + part[:, 1]) - start) * length
    end = end - np.where(part[:, 3] > 0, np.minimum(breath, (end - start) / 2), 0.0)
    late = rng.uniform(-lag, lag) + rng.normal(0, jitter, len(part))
    # Two slow waves of random period make the phrases; each note then varies a little.
    periods = rng.uniform(4, 16, 2)
    phrase = sum(np.sin(2 * np.pi * (start / period + rng.uniform())) for period in periods) / 2
    velocity = loudness + swing * phrase + rng.normal(0, 4, len(part)) + accent
    start = np.maximum(start + late, 0.0)
    end = np.maximum(end + late, start + 0.05)
    return np.column_stack([start, end, part[:, 2], np.clip(np.round(velocity), 20, 127)])


def voice_bends(notes: np.ndarray, seconds: float, rng: np.random.Generator, depth: float, rate: float,
                scoop: float = 25.0, drift: float = 8.0, step: float = 0.015) -> np.ndarray:
    """Return a singer's pitch curve: a scoop into each note, a vibrato that grows on long ones, and slow drift.

    Args:
        notes: [notes, 4] as of `perform`, one at a time.
        seconds: Length of the curve.
        rng: Random generator.
        depth: Depth of the vibrato in cents.
        rate: Rate of the vibrato in Hz; it varies by a few per cent.
        scoop: Mean number of cents below the pitch at which a note begins.
        drift: Cents by which the tuning drifts within a few seconds. Each note is also off by half of it.
        step: Seconds between two values.

    Shape:
        [seconds / step, 2]: time in seconds, cents
    """
    time = np.arange(0, seconds, step)
    notes = notes[np.argsort(notes[:, 0])]
    of = np.clip(np.searchsorted(notes[:, 0], time, side="right") - 1, 0, None)  # index of the note that sounds
    since = np.maximum(time - notes[of, 0], 0.0)
    starts, growth = rng.exponential(scoop, len(notes))[of], rng.uniform(0.25, 0.6, len(notes))[of]
    off = rng.normal(0, drift / 2, len(notes))[of]
    phase = 2 * np.pi * np.cumsum(rate * (1 + 0.06 * waves(time, rng, (0.5, 2.0)))) * step
    vibrato = depth * np.clip((since - 0.1) / growth, 0, 1) * (1 + 0.3 * waves(time, rng, (0.5, 2.0))) * np.sin(phase)
    cents = off + drift * waves(time, rng, (3.0, 12.0)) - starts * np.exp(-since / 0.05) + vibrato
    return np.column_stack([time, cents])


def swells(frames: int, rate: int, rng: np.random.Generator, depth_db: float) -> np.ndarray:
    """Return the gain of a player who gets louder and softer over a few seconds, float32 [frames]."""
    coarse = np.arange(0, frames + rate // 10, rate // 10)
    decibels = depth_db * waves(coarse / rate, rng, (2.0, 9.0))
    return (10 ** (np.interp(np.arange(frames), coarse, decibels) / 20)).astype(np.float32)


def waves(time: np.ndarray, rng: np.random.Generator, periods: tuple[float, float], count: int = 3) -> np.ndarray:
    """Return a random-looking curve between -1 and 1: a sum of sines with random periods (seconds) and phases."""
    drawn = zip(rng.uniform(*periods, count), rng.uniform(0, 1, count), strict=True)
    return sum(np.sin(2 * np.pi * (time / period + phase)) for period, phase in drawn) / count
