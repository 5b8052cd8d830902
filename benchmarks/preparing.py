"""Compare ``prepare`` with librosa's load: how many minutes of 44.1 kHz stereo they convert to 16 kHz mono in a second.

Both use one process, one thread and the same files in the page cache. ``prepare`` decodes, averages the channels, resamples
(soxr, HQ), subtracts the mean, measures levels and active passages, and writes the store. ``librosa.load(sr=16000,
mono=True)`` decodes, averages and resamples (soxr_hq, too), and keeps the result in memory. For a fair comparison, a third
line also writes librosa's result as WAV. The last line is JSON, by file format: ``minutes_per_s``,
``librosa_minutes_per_s``, ``librosa_and_writing_minutes_per_s``, and ``vs_librosa`` and ``vs_librosa_and_writing``, which
are above 1 if ours is faster.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import soundfile
from threadpoolctl import threadpool_limits

from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.store.prepare import prepare

RATE, NEW_RATE, SECONDS, REPEATS = 44100, 16000, 60, 5
LABELS = ("bass", "drums", "other", "vocals")


def make_stems(folder: Path, kind: str) -> list[Path]:
    """Write a track of four stems, stereo, 16 bits."""
    rng = np.random.default_rng(0)
    clock = np.arange(SECONDS * RATE) / RATE
    paths = []
    for label in LABELS:
        tone = np.sin(2 * np.pi * rng.uniform(80, 2000, (2, 1)) * clock)
        audio = 0.3 * tone + 0.02 * rng.standard_normal((2, len(clock)))
        paths.append(folder / "song" / f"{label}.{kind}")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(paths[-1], audio.T, RATE, subtype="PCM_16")
    return paths


def seconds(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def ours(stems: Path, out: Path) -> None:
    """Prepare a store."""
    shutil.rmtree(out, ignore_errors=True)
    name, tracks = open_tracks(stems)
    prepare(tracks, out, NEW_RATE, name, workers=1, progress=False)


def theirs(paths: list[Path], out: Path | None) -> None:
    """Load with librosa, and write WAV files if a folder is given."""
    for path in paths:
        audio, _ = librosa.load(path, sr=NEW_RATE, mono=True)
        if out is not None:
            out.mkdir(exist_ok=True)
            soundfile.write(out / f"{path.stem}.wav", audio, NEW_RATE, subtype="FLOAT")


def main() -> None:
    """Measure in turns, and print the results."""
    threadpool_limits(1)
    found = {}
    for kind in ("wav", "flac"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            paths = make_stems(folder / "stems", kind)
            ways = {
                "prepare": lambda: ours(folder / "stems", folder / "store"),  # noqa: B023
                "librosa.load": lambda: theirs(paths, None),  # noqa: B023
                "librosa.load and writing": lambda: theirs(paths, folder / "written"),  # noqa: B023
            }
            taken: dict[str, list[float]] = {way: [] for way in ways}
            for turn in range(REPEATS + 1):
                for way, action in ways.items():
                    spent = seconds(action)
                    if turn:  # the first warms up
                        taken[way].append(spent)
        minutes = len(LABELS) * SECONDS / 60
        rates = {way: minutes / statistics.median(values) for way, values in taken.items()}
        for way, rate in rates.items():
            print(f"{kind:5} {way:26} {rate:6.1f} minutes of stereo a second")
        mine, load, written = rates.values()
        found[kind] = {
            "minutes_per_s": round(mine, 2),
            "librosa_minutes_per_s": round(load, 2),
            "librosa_and_writing_minutes_per_s": round(written, 2),
            "vs_librosa": round(mine / load, 2),
            "vs_librosa_and_writing": round(mine / written, 2),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
