"""From the page to a performance: tempo, fermatas, uneven timing, phrasing. Never grid-perfect, always seeded."""

from __future__ import annotations

import numpy as np


def beats_to_seconds(parts: list[np.ndarray], bpm: float, hold: float = 0.0):
    """Returns a function from quarter notes to seconds: a steady tempo that waits at each fermata.

    Args:
        parts: Notes [notes, 4] as of `read_score`.
        bpm: Quarter notes a minute.
        hold: How many quarter notes a fermata adds.
    """
    length = max(float((part[:, 0] + part[:, 1]).max()) for part in parts)
    top = parts[0]
    ends = np.unique((top[:, 0] + top[:, 1])[top[:, 3] > 0]) if hold > 0 else np.empty(0)
    # Time runs slower within the last half quarter of a held note, in all parts alike.
    knots = np.concatenate([[0.0], np.sort(np.concatenate([ends - 0.5, ends])), [length + 64.0]])
    added = np.concatenate([[0.0], np.repeat(np.arange(len(ends)), 2) + np.tile([0, 1], len(ends)), [len(ends)]])
    knots, first = np.unique(np.maximum(knots, 0.0), return_index=True)
    seconds = (knots + added[first] * hold) * 60 / bpm
    return lambda beats: np.interp(beats, knots, seconds)


def perform(part: np.ndarray, to_seconds, rng: np.random.Generator, lag: float = 0.015, jitter: float = 0.012,
            length: float = 0.95, loudness: float = 84.0, swing: float = 14.0,
            breath: float = 0.0) -> np.ndarray:
    """Returns a part as played: its own lag, uneven onsets, notes shorter than written, louder and softer phrases.

    Args:
        part: Notes [notes, 4]: onset and duration in quarters, pitch, fermata.
        to_seconds: Function from quarters to seconds.
        rng: Source of chance.
        lag: The player is this many seconds late or early throughout, at most.
        jitter: Standard deviation of each onset in seconds.
        length: Part of a written duration that sounds.
        loudness: Mean velocity.
        swing: How far velocity moves over a phrase.
        breath: Seconds of silence after a fermata.

    Shape:
        [notes, 4] -> [notes, 4]: onset and end in seconds, pitch, velocity
    """
    start = to_seconds(part[:, 0])
    end = start + (to_seconds(part[:, 0] + part[:, 1]) - start) * length
    end = end - np.where(part[:, 3] > 0, np.minimum(breath, (end - start) / 2), 0.0)
    late = rng.uniform(-lag, lag) + rng.normal(0, jitter, len(part))
    # two slow waves of random period make the phrases; each note then differs a little
    periods = rng.uniform(4, 16, 2)
    phrase = sum(np.sin(2 * np.pi * (start / period + rng.uniform())) for period in periods) / 2
    velocity = loudness + swing * phrase + rng.normal(0, 4, len(part))
    start = np.maximum(start + late, 0.0)
    end = np.maximum(end + late, start + 0.05)
    return np.column_stack([start, end, part[:, 2], np.clip(np.round(velocity), 20, 127)])
