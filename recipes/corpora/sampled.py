"""Render a second pretraining corpus: ensembles played with recorded notes of real instruments.

The scores, roles and performances are those of `ensembles`. Each part is played with recordings of single notes, which
`sample_bank` finds and reads, instead of a program of a soundfont. Each note is the nearest recording, shifted by a few
semitones, cut to length and faded out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
import soxr

from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.runtime.log import logger

from .ensembles import write_corpus
from .expression import beats_to_seconds, perform, swells
from .finished import made_aside
from .programs import BAND, ENSEMBLES, PROGRAMS, programs_of
from .quartets import plan
from .rendering import SAMPLE_RATE, Piece, at_level, colour, draw_tempo, fit_range
from .sample_bank import BANK_RATE, TABLE, Bank, Recording, Voice, open_bank, read_hits, read_recording
from .synth import active_rms

SHIFT = 4  # largest shift of a recording in semitones, unless the instrument has no nearer recording
LEAN = 2.0  # largest random offset in semitones between a part's notes and their recordings, which varies the timbre
DRUM_RING = 1.5  # length of a drum hit in seconds
SAXOPHONES = ("soprano-sax", "alto-sax", "tenor-sax", "baritone-sax")
QUARTET = (("violin",), ("clarinet",), SAXOPHONES, ("bassoon",))  # from the top part down
QUARTET_SHARE = 0.48  # the quartet plays this share of the scores and none of the bands: about a third of all pieces
NUMBERS = {entry[0]: number for number, entry in PROGRAMS.items()}


def render_sampled(out: str | Path, samples: str | Path, hours: float = 20.0, seed: int = 0, workers: int = 1) -> Path:
    """Render ensembles of recorded notes into a store of `nussl_transfer`, 16 kHz mono; return its folder.

    Each track is about half a minute of a score or a generated band, as in `render_ensembles`. In about a third of the
    tracks the parts are violin, clarinet, saxophone and bassoon. Labels are those of `programs`.
    A finished corpus of the same options is not rendered again; an unfinished one starts again.

    Args:
        out: Folder of the store. The parsed scores are cached beside it, in scores.json, for all corpora there.
        samples: Folder of the libraries of recordings that `sampled.json` names; a warning names the instruments that it
            lacks.
        hours: Hours of stems, all tracks and parts together.
        seed: Seed of every random choice.
        workers: Number of processes.

    Raises:
        ConfigError: `hours` or `workers` is not positive, or the folder holds other files or a finished corpus made with
            other options.
        DataError: The folder of recordings is missing, or holds fewer than two instruments of the table.
    """
    out = Path(out)
    if hours <= 0 or workers < 1:
        raise ConfigError(f"hours or workers is wrong: got {hours} and {workers}, but both must be positive.")
    bank = open_bank(str(samples))
    if bank.lacking:
        logger.warning("%s has no recordings of %s, so the corpus lacks them. %s lists the libraries that have them.",
                       samples, ", ".join(bank.lacking), TABLE.name)
    request = {"kind": "sampled", "hours": hours, "seed": seed, "instruments": sorted(bank.voices)}
    # The field for soundfonts holds the folder of recordings.
    return write_corpus(out, request, (str(samples),), render_recorded, "playing recordings", workers)


def add_recorded_quartets(tree: Path, works: Path, samples: str | Path, tracks: int = 120, seed: int = 0) -> int:
    """Add chorales played by recorded notes of violin, clarinet, saxophone and bassoon to a tree; return their number.

    Args:
        tree: Folder of stems, one folder for each chorale, from `render_quartets`. The added names end in "-recorded".
        works: Folder in which the parsed scores are cached.
        samples: Folder of the libraries of recordings that `sampled.json` names.
        tracks: Number of chorales.
        seed: Seed of every random choice.

    Raises:
        DataError: The recordings lack one of the four instruments.
    """
    bank = open_bank(str(samples))
    lacking = [" or ".join(wanted) for wanted in QUARTET if not any(label in bank.voices for label in wanted)]
    if lacking:
        raise DataError(f"The recordings in {samples} lack {', '.join(lacking)}. Get the libraries in {TABLE.name}.")
    for number, quartet in enumerate(plan(works, tracks, seed, (str(samples),), tree)):
        folder = tree / f"{quartet.name}-recorded"
        if folder.is_dir():
            continue
        rng = np.random.default_rng([seed, number, 3])
        wanted = {f"part{number}": label_of(choices, bank, rng) for number, choices in enumerate(QUARTET)}
        parts = {f"part{number}": part for number, part in enumerate(quartet.parts)}
        stems = render_recorded(Piece(quartet.name, "train", (seed, number), "score", parts, (str(samples),)), wanted)
        with made_aside(folder) as aside:
            for label, audio in stems.items():
                name = "saxophone" if label in SAXOPHONES else label
                soundfile.write(aside / f"{name}.wav", audio, SAMPLE_RATE)
    return tracks


def label_of(choices: tuple[str, ...], bank: Bank, rng: np.random.Generator) -> str:
    """Return one of the instruments that the bank has."""
    return str(rng.choice([label for label in choices if label in bank.voices]))


def render_recorded(piece: Piece, labels: dict[str, str] | None = None) -> dict[str, np.ndarray]:
    """Return the stems of a piece, label -> float32 [frames] at 16 kHz, equally long; a silent part is left out.

    Args:
        piece: The piece to play.
        labels: The instrument of each role; drawn at random by default.
    """
    rng = np.random.default_rng([*piece.seed, 2])
    if not piece.parts:
        return {}
    bank = open_bank(piece.soundfonts[0])
    labels = draw_labels(piece, bank, rng) if labels is None else labels
    melodic = [part for role, part in piece.parts.items() if role != "drums"]
    bpm = rng.uniform(75, 150) if piece.kind == "band" else draw_tempo(melodic, rng)
    to_seconds = beats_to_seconds(list(piece.parts.values()), bpm, hold=rng.uniform(0, 1))
    key = int(rng.integers(-5, 6))
    played = {}
    for role, part in piece.parts.items():
        if role not in labels:
            continue
        voices = bank.voices.get(labels[role], ())
        voice = voices[rng.integers(len(voices))] if voices else None
        moved = into_voice(part, voice, key, rng) if voice else part
        notes = perform(moved, to_seconds, rng, lag=rng.uniform(0, 0.03), jitter=rng.uniform(0.003, 0.02),
                        length=rng.uniform(0.7, 1.0), loudness=rng.uniform(60, 100), swing=rng.uniform(5, 25))
        played[labels[role]] = (notes, voice)
    seconds = max(notes[:, 1].max() for notes, _ in played.values()) + 0.8
    room = rng.uniform(0.2, 1.2) if rng.random() < 0.4 else 0.0
    stems = {}
    for label, (notes, voice) in played.items():
        audio = play_notes(notes, voice, seconds, rng) if voice else play_hits(notes, bank.drums, seconds, rng)
        loud = active_rms(audio, SAMPLE_RATE)
        if loud <= 0:
            continue
        audio = colour(audio / loud, room, rng)
        stems[label] = at_level(audio, rng)
    return stems


def draw_labels(piece: Piece, bank: Bank, rng: np.random.Generator) -> dict[str, str]:
    """Return a different instrument for each role; when there are too few, the last parts get none."""
    roles = [role for role in piece.parts if role != "drums"]
    chosen: dict[str, str] = {}
    if piece.kind == "score" and rng.random() < QUARTET_SHARE:
        for role, wanted in zip(roles, draw_quartet(len(roles), rng), strict=False):
            free = [label for label in wanted if label in bank.voices]
            if free:
                chosen[role] = str(rng.choice(free))
    weights = np.array([weight for _, _, weight in ENSEMBLES])
    families = ENSEMBLES[rng.choice(len(ENSEMBLES), p=weights / weights.sum())][1]
    for role in roles:
        wanted = BAND[role] if role in BAND and rng.random() < 0.8 else families
        free = [label for label in labels_of(wanted, bank) if label not in chosen.values()]
        free = free or [label for label in labels_of(None, bank) if label not in chosen.values()]
        if role not in chosen and free:
            chosen[role] = str(rng.choice(free))
    if "drums" in piece.parts and bank.drums:
        chosen["drums"] = bank.kit
    return chosen


def draw_quartet(parts: int, rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Return the quartet's instruments for the parts from the top down; fewer parts get some of them."""
    kept = sorted(rng.choice(len(QUARTET), size=min(parts, len(QUARTET)), replace=False))
    return [QUARTET[i] for i in (kept if rng.random() < 0.8 else rng.permutation(kept))]


def labels_of(families: Iterable[str] | None, bank: Bank) -> list[str]:
    """Return the bank's instruments of the given families, or all of them for None."""
    numbers = programs_of(None if families is None else tuple(families))
    return [PROGRAMS[number][0] for number in numbers if PROGRAMS[number][0] in bank.voices]


def into_voice(part: np.ndarray, voice: Voice, key: int, rng: np.random.Generator) -> np.ndarray:
    """Return a part transposed into an instrument's range; notes beyond its recordings move by octaves."""
    moved = fit_range(part, NUMBERS[voice.label], key, rng)
    pitches = [recording.pitch for recording in voice.recordings]
    low, high = min(pitches) - SHIFT, max(pitches) + SHIFT
    pitch = moved[:, 2]
    pitch = np.where(pitch > high, pitch - 12 * np.ceil((pitch - high) / 12), pitch)
    moved[:, 2] = np.where(pitch < low, pitch + 12 * np.ceil((low - pitch) / 12), pitch)
    return moved


def play_notes(notes: np.ndarray, voice: Voice, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Return the audio of a part, mono float32 at 16 kHz, `seconds` long.

    Args:
        notes: Onset in seconds, end in seconds, MIDI pitch, velocity 1-127.
        voice: The recordings.
        seconds: Length of the result.
        rng: Random generator for the tuning, the choice of recordings and slow swells.

    Shape:
        [notes, 4] -> float32 [seconds * 16000]
    """
    out = np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)
    lean, detune = rng.uniform(-LEAN, LEAN), rng.normal(0, 6)
    for start, end, pitch, velocity in notes:
        recording = choose(voice.recordings, pitch, lean, rng)
        shift = pitch - recording.pitch + (detune + rng.normal(0, 4)) / 100
        audio = play_note(read_recording(recording.path), shift, end - start, voice.release)
        add(out, audio * ((velocity / 100) ** 1.5 * 10 ** (rng.normal(0, 0.5) / 20)), start)
    return out * swells(len(out), SAMPLE_RATE, rng, rng.uniform(0, 3))


def choose(recordings: tuple[Recording, ...], pitch: float, lean: float, rng: np.random.Generator) -> Recording:
    """Return the recording nearest to a pitch plus a lean, among those within `SHIFT` of the pitch.

    Where there is none, return the nearest of all. Ties are broken at random.
    """
    pitches = np.array([recording.pitch for recording in recordings])
    away = np.abs(pitches - pitch)
    distance = np.where(away <= SHIFT, np.abs(pitches - pitch - lean), np.inf) if away.min() <= SHIFT else away
    return recordings[rng.choice(np.flatnonzero(distance == distance.min()))]


def play_note(sound: np.ndarray, shift: float, seconds: float, release: float) -> np.ndarray:
    """Return a recording shifted by some semitones and cut to a note's length, at 16 kHz.

    Args:
        sound: The recording at `BANK_RATE`.
        shift: Semitones; the recording is played 2 ** (shift / 12) times as fast.
        seconds: Length of the note before its fade-out.
        release: Length of the fade-out in seconds.

    Shape:
        [frames] -> [(seconds + release) * 16000], or less where the recording ends
    """
    faster = 2 ** (shift / 12)
    needed = int((seconds + release) * BANK_RATE * faster) + 64
    audio = soxr.resample(sound[:needed], BANK_RATE * faster, SAMPLE_RATE, quality="HQ")
    audio = audio[: round((seconds + release) * SAMPLE_RATE)]
    fade = np.arange(len(audio)) / SAMPLE_RATE - seconds
    return audio * np.cos(np.pi / 2 * np.clip(fade / release, 0, 1)).astype(np.float32) ** 2


def play_hits(notes: np.ndarray, drums: dict[int, tuple[tuple[str, ...], float]], seconds: float,
              rng: np.random.Generator) -> np.ndarray:
    """Return the audio of a drum part, mono float32 at 16 kHz: each note plays a hit of about its loudness."""
    out = np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)
    for start, _, pitch, velocity in notes:
        if int(pitch) not in drums:
            continue
        paths, gain = drums[int(pitch)]
        hits = read_hits(paths)
        force = velocity / 127 + rng.normal(0, 0.1)
        sound = hits[int(np.clip(round(force * (len(hits) - 1)), 0, len(hits) - 1))]
        add(out, gain * play_note(sound, 0.0, DRUM_RING / 2, DRUM_RING / 2), start)
    return out


def add(out: np.ndarray, audio: np.ndarray, start: float) -> None:
    """Add audio at 16 kHz to `out`, starting at a time in seconds; audio beyond the end is cut."""
    first = round(start * SAMPLE_RATE)
    audio = audio[: max(0, len(out) - first)]
    out[first : first + len(audio)] += audio
