"""Render tracks in several processes, write each file atomically, and describe the corpus in a README."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from nussl_transfer.errors import ConfigError
from nussl_transfer.runtime.files import written_aside

from .finished import finish, note
from .processes import in_order
from .synth import body_soundfonts, require_file

LOUDEST = 0.98  # highest peak of a stem or a mixture, relative to full scale
MOST_BITS = 32767


def fonts_of(soundfont: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the paths of the given soundfonts: one, several, or for None all installed ones.

    Raises:
        DataError: A soundfont does not exist.
    """
    if soundfont is None:
        return tuple(body_soundfonts())
    fonts = (soundfont,) if isinstance(soundfont, str) else tuple(soundfont)
    for font in fonts:
        require_file(font)
    return fonts


def sizes(tracks: int | None, minutes: float | None, usual_seconds: float) -> tuple[int, float]:
    """Return the number of tracks and their mean length in seconds.

    Args:
        tracks: Number of tracks; None makes tracks of the usual length that last `minutes` together.
        minutes: Minutes of music in all tracks together; None makes tracks of the usual length.
        usual_seconds: Mean length of a track of the data set.

    Raises:
        ConfigError: One is not positive, or neither is given.
    """
    given = [size for size in (tracks, minutes) if size is not None]
    if not given or min(given) <= 0:
        raise ConfigError(f"tracks or minutes is wrong: got {tracks} and {minutes}. Give one or both, above 0.")
    if tracks is None:
        tracks = max(1, round(minutes * 60 / usual_seconds))
    return tracks, usual_seconds if minutes is None else minutes * 60 / tracks


def make_tracks(out: Path, request: dict, done: dict[str, dict], jobs: Sequence, render: Callable, workers: int) -> None:
    """Render the tracks that are missing, record each when it is complete, and finish the corpus.

    Args:
        out: Folder that `finished.begin` has prepared.
        request: Options of the corpus.
        done: Complete tracks, from `finished.begin`.
        jobs: The tracks to render, each with a `name`.
        render: A module-level function that renders one job and returns its entry, with 'seconds'.
        workers: Number of processes.
    """
    made = dict(done)
    left = [job for job in jobs if job.name not in done]
    workers = min(workers, len(left)) or 1
    with tqdm(total=len(jobs), initial=len(jobs) - len(left), desc=f"playing {request['kind']}", unit="track") as bar:
        for job, about in in_order(render, left, workers):
            note(out, job.name, about)
            made[job.name] = about
            bar.set_postfix_str(job.name, refresh=False)
            bar.update()
    minutes = sum(about["seconds"] for about in made.values()) / 60
    finish(out, request, {"minutes": minutes, "tracks": {job.name: made[job.name] for job in jobs}})


def sixteen_bit(stems: dict[str, np.ndarray], loudest: float = LOUDEST) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return stems as 16-bit integers, and the mixture, which is exactly their sum.

    Where the mixture or a stem would exceed `loudest`, one factor scales all of them down.

    Shape:
        Each stem and the mixture: [frames] or [frames, channels]
    """
    peak = max(np.abs(audio).max() for audio in (*stems.values(), sum(stems.values())))
    softer = min(1.0, loudest / max(peak, 1e-9))
    whole = {label: np.round(stem * softer * MOST_BITS).astype(np.int16) for label, stem in stems.items()}
    return whole, np.sum(list(whole.values()), axis=0, dtype=np.int16)


def write_sound(path: Path, audio: np.ndarray, rate: int) -> None:
    """Write 16-bit audio as WAV or FLAC, by its file extension, atomically."""
    with written_aside(path) as aside:
        soundfile.write(aside, audio, rate, format=path.suffix[1:].upper(), subtype="PCM_16")


def write_about(tree: Path, data_set: str, sources: str, request: dict, differences: str) -> None:
    """Write a README.md into a rendered tree that calls it a stand-in and lists its differences from the data set.

    Args:
        tree: The folder that has the data set's layout.
        data_set: Name of the data set.
        sources: The scores, in a sentence.
        request: Options of the corpus.
        differences: Differences from the data set, as a Markdown list.
    """
    asked = "\n".join(f"* {key}: {value}" for key, value in request.items())
    text = (
        f"# A rendered stand-in for {data_set}\n\n**This is not {data_set}.** Nobody plays or sings here: a program played "
        "scores on the samples of a General MIDI soundfont. The files have the names and folders that the data set has, "
        "except for the differences below, so that you can try software and train networks without it. A score measured on "
        f"these files does not predict a score on {data_set}.\n\n## Sources\n\n{sources}\n\n## Differences\n\n"
        f"{differences}\n\n## Options\n\n{asked}\n\nMade by `python -m recipes.corpora` of nussl_transfer.\n"
    )
    with written_aside(tree / "README.md") as aside:
        aside.write_text(text, encoding="utf-8")
