"""Render many chorales for Bach10's four instruments, a folder of stems each, to train the bundled quartet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nussl_transfer.errors import ConfigError

from .bach10 import PLAYERS, chorale, play_chorale
from .choir_works import BACH_TRAIN
from .finished import begin, is_finished
from .making import fonts_of, make_tracks, sixteen_bit, write_about, write_sound
from .scores import SCORES
from .synth import RATE

SOURCES = "Chorales of Bach from the corpus of music21. None of them, nor any of their melodies, is in Bach10 or in a test."
DIFFERENCES = """\
* Not Bach10 and not in its layout: a folder of stems for each chorale, with a violin, a clarinet, a tenor saxophone and a
  bassoon of a soundfont."""


@dataclass(frozen=True)
class Quartet:
    """One chorale and its performance."""

    name: str
    parts: tuple[np.ndarray, ...]
    seed: tuple[int, int]
    soundfont: str
    folder: str


def render_quartets(
    out: str | Path,
    tracks: int = 120,
    seed: int = 0,
    soundfont: str | list[str] | None = None,
    workers: int = 2,
) -> Path:
    """Render chorales as stems of violin, clarinet, saxophone and bassoon; return the folder of stems, <out>/quartets.

    Args:
        out: Folder of the corpus.
        tracks: Number of chorales.
        seed: Seed of every random choice.
        soundfont: Path of a General MIDI soundfont, or several to use in turn; by default all installed ones.
        workers: Number of processes.

    Raises:
        ConfigError: There are fewer chorales, or the folder holds other files.
    """
    out = Path(out)
    if not 1 <= tracks <= len(BACH_TRAIN):
        raise ConfigError(f"tracks is wrong: got {tracks}, expected 1 to {len(BACH_TRAIN)}, the number of chorales.")
    fonts = fonts_of(soundfont)
    request = {"kind": "quartets", "tracks": tracks, "seed": seed, "soundfonts": [Path(font).name for font in fonts]}
    tree = out / "quartets"
    if is_finished(out, request):
        return tree
    done = begin(out, request, keep=[SCORES])
    write_about(tree, "Bach10", SOURCES, request, DIFFERENCES)
    make_tracks(out, request, done, plan(out, tracks, seed, fonts, tree), render_quartet, workers)
    return tree


def plan(out: Path, tracks: int, seed: int, fonts: Sequence[str], tree: Path) -> list[Quartet]:
    """Return the chorales in four parts, in a random order of the seed, with the soundfonts in turn.

    Raises:
        ConfigError: There are fewer chorales in four parts.
    """
    quartets: list[Quartet] = []
    for index in np.random.default_rng(seed).permutation(len(BACH_TRAIN)):
        work = BACH_TRAIN[index]
        parts = chorale(work, out)
        if len(parts) == len(PLAYERS):
            font = fonts[len(quartets) % len(fonts)]
            quartets.append(Quartet(work, tuple(parts), (seed, len(quartets)), font, str(tree)))
        if len(quartets) == tracks:
            return quartets
    raise ConfigError(f"tracks is wrong: got {tracks}, but only {len(quartets)} chorales have four parts. Give fewer.")


def render_quartet(quartet: Quartet) -> dict:
    """Write the stems of one chorale; return its entry for the progress file."""
    stems, seconds = play_chorale(quartet.parts, np.random.default_rng(quartet.seed), quartet.soundfont)
    whole, _ = sixteen_bit(stems)
    for player, stem in whole.items():
        name = "saxophone" if player == "saxphone" else player  # correct Bach10's spelling
        write_sound(Path(quartet.folder) / quartet.name / f"{name}.wav", stem, RATE)
    return {"seconds": seconds, "soundfont": Path(quartet.soundfont).name}
