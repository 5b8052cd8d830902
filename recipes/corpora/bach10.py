"""A stand-in for Bach10: chorales played by a soundfont, in Bach10's own tree and file names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nussl_transfer.errors import ConfigError

from .expression import beats_to_seconds, perform
from .finished import begin, finish, is_finished, note
from .making import sixteen_bit, write_about, write_sound
from .scores import DEMO_TEST, DEMO_TRAIN, SCORES, load_scores, work_path
from .synth import RATE, TAIL, Sound, default_soundfont, play

# Soprano to bass, with Bach10's names ("saxphone" is its spelling) and General MIDI programs.
PLAYERS = (("violin", 40), ("clarinet", 71), ("saxphone", 66), ("bassoon", 70))
STEM_RMS = 0.09  # of every stem of the real Bach10
SOURCES = "Chorales of Bach from the corpus of music21, none of them nor any of their melodies in Bach10."
DIFFERENCES = """\
* The chorales are not Bach10's. The violin, clarinet, tenor saxophone and bassoon of a soundfont play them.
* No alignment, no fundamental frequencies, no scores; no DC offset."""


def render_bach10(out: str | Path, minutes: float = 5.0, held_out: int = 5, seed: int = 0,
                  soundfont: str | None = None) -> dict[str, Path]:
    """Render chorales for training and others for the test; return the two trees, {'train': ..., 'test': ...}.

    These are not the real Bach10: nobody plays, there is no room and no breath, and one sample set plays each part.
    They have its layout, instruments, levels and composer, but none of its chorales.
    A finished corpus is not rendered again; an interrupted one resumes.

    Args:
        out: Folder. The trees are <out>/train/Bach10_v1.1 and <out>/test/Bach10_v1.1.
        minutes: Minutes of music to train on. Chorales are added, up to ten, until there is at least this much.
        held_out: Number of other chorales for the test, 1 to 10.
        seed: Seed of every random choice.
        soundfont: Path of a General MIDI soundfont; by default the one that comes with pretty_midi.

    Raises:
        ConfigError: The ten chorales are shorter than `minutes`; `held_out` is not 1 to 10; or the folder holds other
            files, or a finished corpus made with other options.
    """
    out = Path(out)
    if not 1 <= held_out <= len(DEMO_TEST):
        raise ConfigError(f"held_out is wrong: got {held_out}, expected 1 to {len(DEMO_TEST)} chorales.")
    soundfont = soundfont or default_soundfont()
    request = {"kind": "bach10", "minutes": minutes, "held_out": held_out, "seed": seed,
               "soundfont": Path(soundfont).name}
    trees = {split: out / split / "Bach10_v1.1" for split in ("train", "test")}
    if is_finished(out, request):
        return trees
    done = begin(out, request, keep=[SCORES])

    def made(split: str, number: int, title: str, work: str, seed: int) -> float:
        name = f"{split}/{number:02d}-{title}"
        if name not in done:
            done[name] = {"seconds": render_chorale(trees[split], number, title, chorale(work, out), seed, soundfont)}
            note(out, name, done[name])
        return done[name]["seconds"]

    about = {"train": [], "test": []}
    bar_format = "{l_bar}{bar}| {n:.1f}/{total} min [{elapsed}]"
    with tqdm(total=minutes, desc="playing chorales", bar_format=bar_format) as bar:
        for number, (title, work) in enumerate(DEMO_TRAIN, start=1):
            if sum(about["train"]) >= minutes * 60:
                break
            about["train"].append(made("train", number, title, work, seed))
            bar.update(min(about["train"][-1] / 60, bar.total - bar.n))
    if sum(about["train"]) < minutes * 60:
        raise ConfigError(f"minutes is wrong: got {minutes}, but the {len(DEMO_TRAIN)} training chorales are "
                          f"{sum(about['train']) / 60:.1f} minutes long. Give fewer minutes.")
    for number, (title, work) in enumerate(DEMO_TEST[:held_out], start=1):
        about["test"].append(made("test", number, title, work, seed + 1))
    for tree in trees.values():
        write_about(tree, "Bach10", SOURCES, request, DIFFERENCES)
    finish(out, request, {"seconds": about})
    return trees


def chorale(work: str, out: Path) -> list[np.ndarray]:
    """Return the parts of a chorale. Each corpus parses it once and caches it."""
    return load_scores({work: work_path(work)}, out / SCORES)[work]


def render_chorale(tree: Path, number: int, title: str, parts: list[np.ndarray], seed: int, soundfont: str) -> float:
    """Write one piece, four stems and their mixture, into a tree; return its length in seconds."""
    stems, seconds = play_chorale(parts, np.random.default_rng([seed, number]), soundfont)
    whole, mix = sixteen_bit(stems)
    name = f"{number:02d}-{title}"
    for player, stem in whole.items():
        write_sound(tree / name / f"{name}-{player}.wav", stem, RATE)
    write_sound(tree / name / f"{name}.wav", mix, RATE)
    return seconds


def play_chorale(parts: Sequence[np.ndarray], rng: np.random.Generator, soundfont: str) -> tuple[dict, float]:
    """Return the audio of each player of a chorale at Bach10's level, {player: [frames]}, and its length in seconds."""
    to_seconds = beats_to_seconds(list(parts), bpm=rng.uniform(66, 80), hold=rng.uniform(0.5, 1.0))
    breath = rng.uniform(0.1, 0.5)
    played = [perform(part, to_seconds, rng, lag=0.02, length=rng.uniform(0.9, 1.0), breath=breath)
              for part in parts[:4]]
    seconds = max(notes[:, 1].max() for notes in played) + TAIL
    stems = {}
    for notes, (player, program) in zip(played, PLAYERS, strict=True):
        sound = Sound(soundfont, program, detune=rng.normal(0, 4),
                      vibrato=(rng.uniform(0, 12), rng.uniform(4.5, 6)))
        audio = play(notes, sound, seconds)
        stems[player] = audio * (STEM_RMS / np.sqrt(np.square(audio).mean()))
    return stems, seconds
