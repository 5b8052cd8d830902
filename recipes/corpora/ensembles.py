"""The corpus of the pretrained body: ensembles of every kind, rendered straight into a store."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import scipy.signal
from tqdm import tqdm

from nussl_transfer.errors import ConfigError
from nussl_transfer.store import StoreWriter

from .bach10 import finish, is_finished
from .bands import band, drums
from .expression import beats_to_seconds, perform
from .programs import BAND, ENSEMBLES, KITS, PROGRAMS, programs_of
from .scores import body_scores, load_scores, melody, same_melody, tested_works, tune_scores, work_path
from .synth import RATE, Sound, active_rms, body_soundfonts, play, resample

SAMPLE_RATE = 16_000
LEVEL = 0.06  # RMS of a stem where it sounds, before a random gain of +-4 dB
BAND_SHARE = 0.3
FEWEST_NOTES = 8
VALID_TRACKS = 30
VALID_SHARE = 12  # one score in so many is for validation only


@dataclass(frozen=True)
class Piece:
    """What one track is made of: parts by role, before any choice of sound."""

    name: str
    split: str
    seed: tuple[int, int]
    kind: str  # 'score' or 'band'
    parts: dict[str, np.ndarray]
    soundfonts: tuple[str, ...]


def render_ensembles(out: str | Path, hours: float = 20.0, seed: int = 0, soundfonts: Sequence[str] | None = None,
                     workers: int = 2) -> Path:
    """Render ensembles into a store of `nussl_transfer`, 16 kHz mono; return its folder.

    Each track is half a minute or so of a score of music21's corpus, or of a generated band, as three to six parts;
    each part is one program of a soundfont drawn at random and gives the stem its label. These are samples played by
    a program: more kinds of sound than any set of recordings has, and none of what players and rooms do. Good for
    learning what belongs together; not for measuring how well anything separates music.
    A finished corpus of the same request is left as it is; an unfinished one is made anew.

    Args:
        out: Folder of the store. The parsed scores are kept beside it, in <out>.scores.json.
        hours: Hours of stems, all tracks and parts together.
        seed: Every random choice follows from it.
        soundfonts: Paths of General MIDI soundfonts, drawn from for each part; by default all that are found.
        workers: Processes.

    Raises:
        ConfigError: `hours` or `workers` is not positive, or the folder holds a corpus of another request.
    """
    out = Path(out)
    if hours <= 0 or workers < 1:
        raise ConfigError(f"Asked for {hours} hours by {workers} processes: both must be positive.")
    fonts = tuple(soundfonts or body_soundfonts())
    request = {"kind": "ensembles", "hours": hours, "seed": seed, "soundfonts": [Path(font).name for font in fonts]}
    if is_finished(out, request):
        return out
    shutil.rmtree(out, ignore_errors=True)
    scores, tunes = read_material(out.with_name(f"{out.name}.scores.json"), workers)
    writer = StoreWriter(out, SAMPLE_RATE, "ensembles")
    pieces = draw_pieces(scores, tunes, seed, fonts, valid=max(1, min(VALID_TRACKS, round(hours * 4))))
    seconds = 0.0
    with tqdm(total=hours, desc="playing ensembles", unit="h", bar_format="{l_bar}{bar}| {n:.2f}/{total} h "
              "[{elapsed}<{remaining}]") as bar:
        for piece, stems in in_order(pieces, workers):
            if len(stems) < 2:
                continue
            track = writer.add(piece.name, piece.split, stems)
            made = len(stems) * track.frames / SAMPLE_RATE
            seconds += made
            bar.update(made / 3600)
            if seconds >= hours * 3600:
                break
    store = writer.close()
    finish(out, request, {"tracks": len(store.tracks), "stem_hours": seconds / 3600, "hours": store.minutes() / 60,
                          "labels": list(store.labels), "scores": len(scores), "tunes": len(tunes)})
    return out


def read_material(cache: Path, workers: int) -> tuple[dict, dict]:
    """Return the scores in parts and the tunes, name -> parts, without a score or a melody that a test plays."""
    tested = {f"bach/{work}": work_path(work) for work in sorted(tested_works()) if has_file(work)}
    paths = body_scores()
    tune_paths = tune_scores()
    known = load_scores({**tested, **paths, **tune_paths}, cache, workers)
    heard = [melody(known[name]) for name in tested if name in known]
    scores = {name: known[name] for name in paths if name in known and len(known[name]) >= 2
              and not (name.startswith("bach/") and is_heard(known[name], heard))}
    return scores, {name: known[name] for name in tune_paths if name in known}


def has_file(work: str) -> bool:
    """Return whether a chorale of music21's list is in its corpus as a file."""
    try:
        work_path(work)
    except KeyError:
        return False
    return True


def is_heard(parts: list[np.ndarray], heard: list[np.ndarray]) -> bool:
    """Return whether any part of a score has one of the melodies; in a cantata the tune may not be the top part."""
    return any(same_melody(tune, melody([part])) for part in parts for tune in heard)


def draw_pieces(scores: dict, tunes: dict, seed: int, soundfonts: tuple[str, ...], valid: int) -> Iterator[Piece]:
    """Yield pieces without end, the first `valid` of them from scores that no other piece has."""
    pools = {split: ({k: v for k, v in scores.items() if is_for(k, split)},
                     {k: v for k, v in tunes.items() if is_for(k, split)}) for split in ("train", "valid")}
    index = 0
    while True:
        split = "valid" if index < valid else "train"
        rng = np.random.default_rng([seed, index, 0])
        kind, parts = draw_parts(*pools[split], rng)
        yield Piece(f"{split}-{index:05d}", split, (seed, index), kind, parts, soundfonts)
        index += 1


def is_for(name: str, split: str) -> bool:
    """Return whether a score belongs to a split, by a checksum of its name: one in twelve is for validation."""
    return (zlib.crc32(name.encode()) % VALID_SHARE == 0) == (split == "valid")


def draw_parts(scores: dict, tunes: dict, rng: np.random.Generator) -> tuple[str, dict[str, np.ndarray]]:
    """Return the parts of one piece: about 30 s of a score's, or a band's."""
    if rng.random() < BAND_SHARE:
        tune = tunes[rng.choice(sorted(tunes))][0] if rng.random() < 0.5 else None
        bars = 16 if tune is None else int(np.clip(np.ceil(tune[:, 0].max() / 4), 4, 16))
        return "band", band(rng, bars, tune)
    folders = sorted({name.split("/")[0] for name in scores})
    # half of the pieces are chorales (there are most of them); the other folders share the rest evenly by score
    bach = [name for name in sorted(scores) if name.startswith("bach/")]
    others = [name for name in sorted(scores) if not name.startswith("bach/")]
    name = rng.choice(bach if (rng.random() < 0.5 or len(folders) < 2) else others)
    parts = excerpt(scores[name], rng)
    if len(parts) > 6:
        parts = [parts[i] for i in sorted(rng.choice(len(parts), size=int(rng.integers(4, 7)), replace=False))]
    named = {f"part{i}": part for i, part in enumerate(parts)}
    if len(parts) < 3:
        bars = int(np.ceil(max((part[:, 0] + part[:, 1]).max() for part in parts) / 4)) if parts else 12
        named["drums"] = drums(rng, bars)
    return "score", named


def excerpt(parts: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Return about 80 notes of the busiest part's worth of a score, from a random bar on; parts that rest are out."""
    length = max(float((part[:, 0] + part[:, 1]).max()) for part in parts)
    busiest = max(len(np.unique(part[:, 0])) for part in parts)
    window = max(8.0, 80 * length / busiest)
    start = 4.0 * int(rng.integers(0, max(1, int((length - window) / 4) + 1))) if length > window else 0.0
    cut = []
    for part in parts:
        inside = part[(part[:, 0] >= start) & (part[:, 0] < start + window)].copy()
        inside[:, 0] -= start
        if len(np.unique(inside[:, 0])) >= FEWEST_NOTES:
            cut.append(inside)
    return cut


def in_order(pieces: Iterator[Piece], workers: int) -> Iterator[tuple[Piece, dict[str, np.ndarray]]]:
    """Yield each piece with its stems, in the order of the pieces, a few ahead in other processes."""
    if workers == 1:
        for piece in pieces:
            yield piece, render_piece(piece)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = []
        for piece in pieces:
            waiting.append((piece, pool.submit(render_piece, piece)))
            if len(waiting) > 2 * workers:
                first, future = waiting.pop(0)
                try:
                    yield first, future.result()
                except GeneratorExit:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise


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
        sounds.append(Sound(str(rng.choice(piece.soundfonts)), program, is_drums,
                            detune=0.0 if is_drums else rng.normal(0, 6), vibrato=draw_vibrato(program, is_drums, rng)))
    seconds = max(notes[:, 1].max() for notes in played) + 0.8
    room = rng.uniform(0.2, 1.2) if rng.random() < 0.4 else 0.0
    stems = {}
    for notes, sound in zip(played, sounds, strict=True):
        audio = resample(play(notes, sound, seconds), SAMPLE_RATE)
        audio = colour(audio, room, rng)
        level = active_rms(audio, SAMPLE_RATE)
        if level < 1e-5:
            continue
        audio = audio * (LEVEL * 10 ** (rng.uniform(-4, 4) / 20) / level)
        label = KITS[sound.program] if sound.drums else PROGRAMS[sound.program][0]
        stems[label] = (audio * min(1.0, 0.99 / np.abs(audio).max())).astype(np.float32)
    return stems


def draw_programs(piece: Piece, rng: np.random.Generator) -> dict[str, int]:
    """Return a program for each role, no two alike in one piece."""
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
    """Return quarter notes a minute at which the mean note lasts 0.5 s, times 0.7 to 1.4, whatever the notation."""
    mean_length = np.mean([part[:, 1].mean() for part in parts])
    return float(np.clip(60 * mean_length / 0.5 * rng.uniform(0.7, 1.4), 30, 400))


def draw_vibrato(program: int, is_drums: bool, rng: np.random.Generator) -> tuple[float, float]:
    """Return depth in cents and rate in Hz: half of the parts that a breath or a bow can shake have some."""
    shakes = not is_drums and PROGRAMS[program][3] in ("strings", "winds", "choir", "brass", "synth")
    return (rng.uniform(5, 30) if shakes and rng.random() < 0.5 else 0.0, rng.uniform(4.0, 7.0))


def fit_range(part: np.ndarray, program: int, key: int, rng: np.random.Generator) -> np.ndarray:
    """Return a part transposed by the key and by octaves into the range of a program.

    Among the octaves that hold nine notes of ten, one by chance, near ones rather; what is outside folds back in.
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


def colour(audio: np.ndarray, room: float, rng: np.random.Generator) -> np.ndarray:
    """Return audio as another microphone in a room would take it: a tilt of the spectrum, a light reverberation.

    Args:
        audio: Mono at 16 kHz.
        room: Reverberation time in seconds, 0 for none.
        rng: Source of chance.

    Shape:
        [frames] -> [frames]
    """
    if rng.random() < 0.5:
        corner = rng.uniform(300, 3000)
        b, a = scipy.signal.butter(1, corner, fs=SAMPLE_RATE)
        audio = audio + rng.uniform(-0.6, 1.5) * scipy.signal.lfilter(b, a, audio)
    if room:
        time = np.arange(int(room * SAMPLE_RATE)) / SAMPLE_RATE
        tail = rng.normal(0, 1, len(time)) * 10 ** (-3 * time / room)
        tail *= rng.uniform(0.05, 0.4) / np.sqrt(np.square(tail).sum())
        audio = audio + scipy.signal.fftconvolve(audio, tail)[: len(audio)]
    return audio.astype(np.float32)
