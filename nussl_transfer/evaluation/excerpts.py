"""Which seconds of which tracks are scored: a list, made once and kept in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from ..files import write_json
from ..store import Store

FORMAT = 1


def make_excerpts(
    store: Store, duration: float, count: int | None = None, seed: int = 0, hop: float | None = None
) -> list[dict]:
    """Returns the excerpts of a store that are to be scored.

    Without ``count``, each track is cut into excerpts side by side; what is left at its end is not scored. With it, so
    many excerpts are drawn anywhere, a track as often as it is long: the paper's way. A track shorter than
    ``duration`` is one excerpt, whole.

    Args:
        store: The tracks.
        duration: Seconds of an excerpt.
        count: Number of excerpts to draw.
        seed: Of the drawing; the same seed gives the same list on any machine.
        hop: Seconds from one excerpt to the next, ``duration`` by default. Overlapping excerpts are not independent:
            a test of significance on them promises too much.

    Returns:
        ``{"track": name, "start": first sample, "frames": number of samples}``, in order of track and start.

    Raises:
        ConfigError: ``duration``, ``hop`` or ``count`` is not above zero.
    """
    for name, value in (("duration", duration), ("hop", hop), ("count", count)):
        if value is not None and value <= 0:
            raise ConfigError(f"Excerpts were asked for with {name} {value}: give a number above zero.")
    frames = round(duration * store.sample_rate)
    lengths = {track.name: min(frames, track.frames) for track in store.tracks}
    if count is None:
        step = max(1, round((hop or duration) * store.sample_rate))
        found = [
            (track.name, start)
            for track in store.tracks
            for start in range(0, track.frames - lengths[track.name] + 1, step)
        ]
    else:
        generator = np.random.default_rng(seed)
        seconds = np.array([track.frames for track in store.tracks], dtype=np.float64)
        drawn = generator.choice(len(store.tracks), size=count, p=seconds / seconds.sum())
        tracks = [store.tracks[index] for index in drawn]
        found = [
            (track.name, int(generator.integers(track.frames - lengths[track.name] + 1))) for track in tracks
        ]
    return [{"track": name, "start": start, "frames": lengths[name]} for name, start in sorted(found)]


def write_excerpts(path: str | Path, excerpts: Sequence[dict], sample_rate: int) -> None:
    """Writes a list of excerpts as JSON."""
    write_json(path, {"format": FORMAT, "sample_rate": sample_rate, "excerpts": list(excerpts)})


def read_excerpts(path: str | Path, store: Store) -> list[dict]:
    """Returns the list of excerpts in a file, checked against the store.

    Raises:
        DataError: The file cannot be read, or an excerpt is not in the store.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        excerpts = [
            {"track": str(entry["track"]), "start": int(entry["start"]), "frames": int(entry["frames"])}
            for entry in content["excerpts"]
        ]
        rate = content["sample_rate"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} was to be a list of excerpts: {type(error).__name__}, {error}. Make it with make_excerpts."
        ) from error
    if rate != store.sample_rate:
        raise DataError(
            f"{path} counts samples at {rate} Hz, the store {store.folder} is at {store.sample_rate} Hz. Make the list "
            "from this store."
        )
    lengths = {track.name: track.frames for track in store.tracks}
    for excerpt in excerpts:
        length = lengths.get(excerpt["track"], 0)
        if excerpt["start"] < 0 or excerpt["frames"] < 1 or excerpt["start"] + excerpt["frames"] > length:
            raise DataError(
                f"{path} lists {excerpt['frames']} samples of {excerpt['track']!r} from {excerpt['start']}: the store "
                f"{store.folder} has {length} samples of it. Make the list from this store."
            )
    return excerpts


def batches(excerpts: Sequence[dict], size: int) -> Iterator[list[dict]]:
    """Yields the excerpts, in order, in batches of neighbours that are equally long."""
    batch: list[dict] = []
    for excerpt in excerpts:
        if batch and (len(batch) == size or excerpt["frames"] != batch[0]["frames"]):
            yield batch
            batch = []
        batch.append(excerpt)
    if batch:
        yield batch


def load_excerpts(store: Store, excerpts: Sequence[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the references of equally long excerpts, and which of them sound.

    A reference sounds where the manifest says so: where any tenth of a second of it is above -60 dBFS. A label that a
    track does not have is silent. The mixture is the sum of the references.

    Shape:
        float32 [nb, ns, samples], bool [nb, ns]
    """
    tracks = {track.name: track for track in store.tracks}
    shape = (len(excerpts), len(store.labels))
    references = np.zeros((*shape, excerpts[0]["frames"]), dtype=np.float32)
    sounds = np.zeros(shape, dtype=bool)
    for index, excerpt in enumerate(excerpts):
        track, start = tracks[excerpt["track"]], excerpt["start"]
        for source, label in enumerate(store.labels):
            if label not in track.stems:
                continue
            references[index, source] = store.read(track, label, start, excerpt["frames"])
            active = track.stems[label].active
            overlaps = any(begin < start + excerpt["frames"] and end > start for begin, end in active)
            sounds[index, source] = overlaps and np.ptp(references[index, source]) > 0
    return references, sounds
