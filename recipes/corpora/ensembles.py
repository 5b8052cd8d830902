"""Render the corpus that the body is pretrained on: ensembles of every kind, written into a store."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nussl_transfer.errors import ConfigError
from nussl_transfer.store.store import StoreWriter

from .bands import band, drums
from .finished import begin, finish, is_finished
from .making import fonts_of
from .processes import in_order
from .rendering import SAMPLE_RATE, Piece, render_piece
from .scores import SCORES, body_scores, load_scores, melody, same_melody, tested_works, tune_scores, work_path

BAND_SHARE = 0.3
FEWEST_NOTES = 8
VALID_TRACKS = 30
VALID_EVERY = 12  # one score in twelve is for validation only


def render_ensembles(out: str | Path, hours: float = 20.0, seed: int = 0, soundfont: str | list[str] | None = None,
                     workers: int = 2) -> Path:
    """Render ensembles into a store of `nussl_transfer`, 16 kHz mono; return its folder.

    Each track is about half a minute of a score of music21's corpus, or of a generated band, in three to six parts. A
    random program of a soundfont plays each part and gives the stem its label. The corpus has more kinds of sound than any
    set of recordings, but none of what players and rooms add. Use it for pretraining, not to measure separation. A finished
    corpus of the same options is not rendered again; an unfinished one starts again.

    Args:
        out: Folder of the store. The parsed scores are cached beside it, in scores.json, for all corpora there.
        hours: Hours of stems, all tracks and parts together.
        seed: Seed of every random choice.
        soundfont: Path of a General MIDI soundfont, or several to draw from for each part; by default all installed ones.
        workers: Number of processes.

    Raises:
        ConfigError: `hours` or `workers` is not positive, or the folder holds other files or a finished corpus made with
            other options.
    """
    out = Path(out)
    if hours <= 0 or workers < 1:
        raise ConfigError(f"hours or workers is wrong: got {hours} and {workers}, but both must be positive.")
    fonts = fonts_of(soundfont)
    request = {"kind": "ensembles", "hours": hours, "seed": seed, "soundfonts": [Path(font).name for font in fonts]}
    return write_corpus(out, request, fonts, render_piece, "playing ensembles", workers)


def write_corpus(out: Path, request: dict, soundfonts: tuple[str, ...], render: Callable[[Piece], dict[str, np.ndarray]],
                 progress: str, workers: int) -> Path:
    """Draw pieces, render them and write them into a store until it has enough hours; return its folder.

    Args:
        out: Folder of the store.
        request: Options of the corpus: `kind` (also the name of the store), `hours`, `seed`, and any others. A finished
            corpus of the same request is not rendered again.
        soundfonts: Value of `Piece.soundfonts`.
        render: Returns the stems of a piece; called in the processes.
        progress: Description of the progress bar.
        workers: Number of processes.
    """
    if is_finished(out, request):
        return out
    begin(out)
    hours = request["hours"]
    scores, tunes = read_material(out.with_name(SCORES), workers)
    writer = StoreWriter(out, SAMPLE_RATE, request["kind"])
    pieces = draw_pieces(scores, tunes, request["seed"], soundfonts, valid=max(1, min(VALID_TRACKS, round(hours * 4))))
    seconds = 0.0
    with tqdm(total=hours, desc=progress, unit="h", bar_format="{l_bar}{bar}| {n:.2f}/{total} h "
              "[{elapsed}<{remaining}]") as bar:
        for piece, stems in in_order(render, pieces, workers):
            if len(stems) < 2:
                continue
            track = writer.add(piece.name, piece.split, stems)
            made = len(stems) * track.frames / SAMPLE_RATE
            seconds += made
            bar.update(min(made / 3600, bar.total - bar.n))
            if seconds >= hours * 3600:
                break
    store = writer.close()
    finish(out, request, {"tracks": len(store.tracks), "stem_hours": seconds / 3600, "hours": store.minutes() / 60,
                          "labels": list(store.labels), "scores": len(scores), "tunes": len(tunes)})
    return out


def read_material(cache: Path, workers: int) -> tuple[dict, dict]:
    """Return the scores and the tunes as name -> parts, without those whose score or melody a test plays."""
    tested = {f"bach/{work}": work_path(work) for work in sorted(tested_works()) if has_file(work)}
    paths = body_scores()
    tune_paths = tune_scores()
    known = load_scores({**tested, **paths, **tune_paths}, cache, workers)
    heard = [melody(known[name]) for name in tested if name in known]
    scores = {name: known[name] for name in paths if name in known and len(known[name]) >= 2
              and not (name.startswith("bach/") and is_heard(known[name], heard))}
    return scores, {name: known[name] for name in tune_paths if name in known}


def has_file(work: str) -> bool:
    """Return whether music21's corpus has a file of a chorale in its list."""
    try:
        work_path(work)
    except KeyError:
        return False
    return True


def is_heard(parts: list[np.ndarray], heard: list[np.ndarray]) -> bool:
    """Return whether any part of a score has one of the melodies; in a cantata the tune may be in a lower part."""
    return any(same_melody(tune, melody([part])) for part in parts for tune in heard)


def draw_pieces(scores: dict, tunes: dict, seed: int, soundfonts: tuple[str, ...], valid: int) -> Iterator[Piece]:
    """Yield pieces endlessly. The first `valid` of them use scores that no other piece uses."""
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
    """Return whether a score belongs to a split, decided by a checksum of its name; one in twelve is for validation."""
    return (zlib.crc32(name.encode()) % VALID_EVERY == 0) == (split == "valid")


def draw_parts(scores: dict, tunes: dict, rng: np.random.Generator) -> tuple[str, dict[str, np.ndarray]]:
    """Return the parts of one piece: about 30 s of a score or of a generated band."""
    if rng.random() < BAND_SHARE:
        tune = tunes[rng.choice(sorted(tunes))][0] if rng.random() < 0.5 else None
        bars = 16 if tune is None else int(np.clip(np.ceil(tune[:, 0].max() / 4), 4, 16))
        return "band", band(rng, bars, tune)
    # Half of the drawn scores are by Bach, who has the most.
    bach = [name for name in sorted(scores) if name.startswith("bach/")]
    others = [name for name in sorted(scores) if not name.startswith("bach/")]
    drawn = bach if rng.random() < 0.5 else others
    parts = excerpt(scores[rng.choice(drawn or bach or others)], rng)
    if len(parts) > 6:
        parts = [parts[i] for i in sorted(rng.choice(len(parts), size=int(rng.integers(4, 7)), replace=False))]
    named = {f"part{i}": part for i, part in enumerate(parts)}
    if len(parts) < 3:
        bars = int(np.ceil(max((part[:, 0] + part[:, 1]).max() for part in parts) / 4)) if parts else 12
        named["drums"] = drums(rng, bars)
    return "score", named


def excerpt(parts: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Return a stretch of a score in which the busiest part has about 80 notes; parts that rest there are left out."""
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
