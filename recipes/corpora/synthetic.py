"""Render a third pretraining corpus: ensembles of synthetic players and singers, each with an instrument of its own.

The scores, roles and performances are those of `ensembles`; `players` and `singers` make the sound. Half of the players
have an instrument that does not exist, so that a network cannot learn the instruments by heart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nussl_transfer.errors import ConfigError

from .ensembles import write_corpus
from .expression import beats_to_seconds, perform
from .players import KINDS, draw_kind, draw_player, play_line
from .programs import PROGRAMS
from .rendering import LEVEL, SAMPLE_RATE, Piece, colour, draw_tempo, fit_range
from .singers import draw_syllables, draw_throat, sing_syllables
from .synth import active_rms

# Labels of `programs`, whose families the pretrained model distinguishes: known instruments, voices, and unknown ones.
PLAYED = {"violin": "violin", "clarinet": "clarinet", "tenor-sax": "saxophone", "bassoon": "bassoon"}
SUNG = ("choir-aahs", "voice-oohs", "synth-voice")
UNKNOWN = ("square-lead", "saw-lead", "calliope-lead", "charang-lead", "bass-and-lead", "polysynth")
VOICES = ((67, "S"), (60, "A"), (53, "T"), (0, "B"))  # a part of this mean pitch or above is for this voice
QUARTET_SHARE, SUNG_SHARE, KNOWN_SHARE = 0.3, 0.2, 0.35
NUMBERS = {entry[0]: number for number, entry in PROGRAMS.items()}


def render_synthetic(out: str | Path, hours: float = 20.0, seed: int = 0, workers: int = 1) -> Path:
    """Render ensembles of synthetic players and singers into a store of `nussl_transfer`, 16 kHz mono; return its folder.

    Each track is about half a minute of a score or a generated band, without drums. Labels are those of `programs`;
    instruments that do not exist have the labels of synthesizers. A finished corpus of the same options is not rendered
    again; an unfinished one starts again.

    Args:
        out: Folder of the store. The parsed scores are cached beside it, in <out>.scores.json.
        hours: Hours of stems, all tracks and parts together.
        seed: Seed of every random choice.
        workers: Number of processes.

    Raises:
        ConfigError: `hours` or `workers` is not positive, or the folder holds other files or a finished corpus made with
            other options.
    """
    if hours <= 0 or workers < 1:
        raise ConfigError(f"hours or workers is wrong: got {hours} and {workers}, but both must be positive.")
    request = {"kind": "synthetic", "hours": hours, "seed": seed}
    return write_corpus(Path(out), request, (), render_piece, "synthesizing players", workers)


def render_piece(piece: Piece) -> dict[str, np.ndarray]:
    """Return the stems of a piece, label -> float32 [frames] at 16 kHz, equally long."""
    rng = np.random.default_rng([*piece.seed, 4])
    parts = {role: top_line(part) for role, part in piece.parts.items() if role != "drums"}
    if not parts:
        return {}
    labels = draw_labels(list(parts), rng)
    bpm = rng.uniform(75, 150) if piece.kind == "band" else draw_tempo(list(parts.values()), rng)
    to_seconds = beats_to_seconds(list(parts.values()), bpm, hold=rng.uniform(0, 1))
    key = int(rng.integers(-5, 6))
    played = {}
    for role, label in labels.items():
        part = fit_range(parts[role], NUMBERS[label], key, rng)
        played[label] = perform(part, to_seconds, rng, lag=rng.uniform(0, 0.03), jitter=rng.uniform(0.003, 0.02),
                                length=rng.uniform(0.6, 1.0), loudness=rng.uniform(60, 100), swing=rng.uniform(5, 25),
                                breath=rng.uniform(0.0, 0.4))
    seconds = max(notes[:, 1].max() for notes in played.values()) + 0.8
    room = rng.uniform(0.2, 1.2) if rng.random() < 0.4 else 0.0
    stems = {}
    for label, notes in played.items():
        audio = colour(sound_of(label, notes, seconds, rng), room, rng)
        audio = audio * (LEVEL * 10 ** (rng.uniform(-4, 4) / 20) / active_rms(audio, SAMPLE_RATE))
        stems[label] = (audio * min(1.0, 0.99 / np.abs(audio).max())).astype(np.float32)
    return stems


def top_line(part: np.ndarray) -> np.ndarray:
    """Return a part with the highest note of each chord only, each ending where the next begins."""
    ordered = part[np.lexsort((-part[:, 2], part[:, 0]))]
    line = ordered[np.concatenate([[True], np.diff(ordered[:, 0]) > 0])].copy()
    line[:-1, 1] = np.minimum(line[:-1, 1], np.diff(line[:, 0]))
    return line


def draw_labels(roles: list[str], rng: np.random.Generator) -> dict[str, str]:
    """Return a different label for each role; when there are too few labels, the last roles get none."""
    if rng.random() < QUARTET_SHARE:
        kept = sorted(rng.choice(len(PLAYED), size=min(len(roles), len(PLAYED)), replace=False))
        return dict(zip(roles, [list(PLAYED)[number] for number in kept], strict=False))
    chosen: dict[str, str] = {}
    for role in roles:
        drawn = rng.random()
        first = list(PLAYED) if drawn < KNOWN_SHARE else list(SUNG) if drawn < KNOWN_SHARE + SUNG_SHARE else list(UNKNOWN)
        free = [label for label in first if label not in chosen.values()]
        free = free or [label for label in UNKNOWN if label not in chosen.values()]
        if free:
            chosen[role] = str(rng.choice(free))
    return chosen


def sound_of(label: str, notes: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Return the audio of one part, mono float32 at 16 kHz: sung, or played by an instrument of the label's kind."""
    if label in SUNG:
        voice = next(voice for lowest, voice in VOICES if notes[:, 2].mean() >= lowest)
        return sing_syllables(notes, draw_syllables(np.sort(notes[:, 0]), rng), draw_throat(voice, rng), seconds, rng)
    kind = KINDS[PLAYED[label]] if label in PLAYED else draw_kind(rng)
    return play_line(notes, draw_player(kind, rng), seconds, rng)
