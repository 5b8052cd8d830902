"""Read and write lists of excerpts as JAMS, from which every scored mixture can be reproduced bit for bit.

A file holds one list. Each annotation is a mixture, and each of its observations a source, in JAMS's own namespace
``scaper``: any program that uses ``jams`` reads and validates it. Scaper's fields (``source_file``; ``source_time`` and
``event_duration`` in seconds; ``pitch_shift``; ``time_stretch``, which is the length and not the tempo) are for people and
other programs. This package reads its own fields beside them: ``track``, ``start`` and ``frames`` in samples of the store,
``gain``, ``pitch`` in semitones, and ``stretch``, the tempo.

References:
    Humphrey et al., "JAMS: a JSON annotated music specification for reproducible MIR research", ISMIR 2014.
    Salamon et al., "Scaper: a library for soundscape synthesis and augmentation", WASPAA 2017.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import jams

from ..audio.augment import change_ranges
from ..errors import ConfigError, DataError
from ..mixing.excerpt import Excerpt
from ..runtime.files import written_aside
from ..runtime.log import logger
from ..store.manifest import StoredTrack
from ..store.store import Store
from .excerpts import MixtureExcerpt

FORMAT = 1
NAMESPACE = "scaper"


def write_excerpts(path: str | Path, excerpts: Sequence[MixtureExcerpt], sample_rate: int) -> None:
    """Write a list of excerpts as JAMS."""
    jam = jams.JAMS()
    jam.file_metadata.title = "Excerpts to be scored"
    jam.file_metadata.duration = max((excerpt.frames for excerpt in excerpts), default=0) / sample_rate
    jam.sandbox.nussl_transfer = {"format": FORMAT, "sample_rate": sample_rate, "stems": _fingerprint(excerpts)}
    for excerpt in excerpts:
        seconds = excerpt.frames / sample_rate
        annotation = jams.Annotation(NAMESPACE, time=0, duration=seconds, sandbox={"frames": excerpt.frames})
        for source in excerpt.sources:
            annotation.append(time=0, duration=seconds, value=_value(source, sample_rate, seconds), confidence=1.0)
        jam.annotations.append(annotation)
    with written_aside(path) as aside:
        jam.save(str(aside), fmt="jams")


def read_excerpts(path: str | Path, store: Store) -> list[MixtureExcerpt]:
    """Read a list of excerpts from a file, and check it against the store.

    Raises:
        DataError: The file cannot be read, or an excerpt is not in the store.
    """
    try:
        jam = jams.load(str(path), fmt="jams")
        about = jam.sandbox.nussl_transfer
        rate, kind, stems = about["sample_rate"], about["format"], about["stems"]
        listed = [(int(entry.sandbox.frames), [dict(source.value) for source in entry.data]) for entry in jam.annotations]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, jams.JamsError) as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"{path} is not a list of excerpts in JAMS: {type(error).__name__}, {first_line}. Make it with make_excerpts "
            "and write_excerpts."
        ) from error
    if kind != FORMAT:
        raise DataError(f"{path} has a wrong format: got {kind}, expected {FORMAT}. Make the list again.")
    if rate != store.sample_rate:
        raise DataError(
            f"{path} counts samples at {rate} Hz, the store {store.folder} is at {store.sample_rate} Hz. Make the list "
            "from this store."
        )
    tracks = {track.name: track for track in store.tracks}
    excerpts = [
        MixtureExcerpt(frames, tuple(_excerpt(path, value, store, tracks) for value in values)) for frames, values in listed
    ]
    for excerpt in excerpts:
        labels = [source.label for source in excerpt.sources]
        if excerpt.frames < 1 or not labels or labels != sorted(set(labels)):
            raise DataError(
                f"{path} lists a wrong mixture: got {excerpt.frames} samples and the labels {labels}, expected at least "
                "one sample and one source, each label once, in alphabetical order. Make the list again."
            )
    if _fingerprint(excerpts) != stems:
        logger.warning("%s was made from stems with other levels or lengths than those in %s.", path, store.folder)
    return excerpts


def _value(source: Excerpt, sample_rate: int, seconds: float) -> dict:
    return {
        "label": source.label,
        "source_file": source.track.stems[source.label].file,
        "source_time": source.start / sample_rate,
        "event_time": 0.0,
        "event_duration": seconds,
        "pitch_shift": source.pitch,
        "time_stretch": 1 / source.stretch,
        "role": "foreground",
        "track": source.track.name,
        "start": source.start,
        "frames": source.frames,
        "gain": source.gain,
        "pitch": source.pitch,
        "stretch": source.stretch,
    }


def _excerpt(path: str | Path, value: dict, store: Store, tracks: dict[str, StoredTrack]) -> Excerpt:
    try:
        name, label = str(value["track"]), str(value["label"])
        start, frames = int(value["start"]), int(value["frames"])
        gain, pitch, stretch = (float(value[key]) for key in ("gain", "pitch", "stretch"))
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"{path} lists a source that lacks a value or has a wrong one: {type(error).__name__} {error}. Make the list "
            "again."
        ) from error
    track = tracks.get(name)
    length = track.frames if track is not None and label in track.stems else 0
    if track is None or start < 0 or frames < 1 or start + frames > length:
        raise DataError(
            f"{path} lists {frames} samples of {label!r} of {name!r} from {start}: the store {store.folder} has {length} "
            "samples of it. Make the list from this store."
        )
    try:
        change_ranges((pitch, pitch), (stretch, stretch))
    except ConfigError as error:
        raise DataError(f"{path} lists {name!r} with a wrong pitch or tempo. {error}") from error
    if not math.isfinite(gain):
        raise DataError(f"{path} lists {name!r} with a gain of {gain}. Make the list again.")
    return Excerpt(track, label, start, frames, gain, pitch, stretch)


def _fingerprint(excerpts: Sequence[MixtureExcerpt]) -> str:
    """Return a SHA-256 of the lengths and levels of all stems in a list."""
    stems = {(source.track.name, source.label): source.track for excerpt in excerpts for source in excerpt.sources}
    # Use five digits, because the last digits of a sum of squares differ between processors.
    measured = [
        [name, label, track.frames, f"{track.stems[label].rms:.5e}"] for (name, label), track in sorted(stems.items())
    ]
    return hashlib.sha256(json.dumps(measured).encode()).hexdigest()
