"""Render stems, errors and notes as HTML boxes, and compute their spectrograms."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import numpy as np

from ...audio.io import blocks, header, resampled
from ...errors import TransferError
from ...report import figures
from ...report.inputs import SAMPLE_RATE
from ...report.listen import data_uri
from ...runtime.files import explain_os_error, printable

TEMPLATES = Path(__file__).parent / "templates"
WINDOW, HOP = 512, 128  # samples of `figures.spectrogram_db`
# About this many frames are analysed for each column of a picture; in a long file, the others are skipped.
FRAMES_PER_COLUMN = 6

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
)


def rendered(template: str, **values: Any) -> str:
    """Return the HTML of a template filled with values; all text is escaped."""
    return _ENVIRONMENT.get_template(template).render(**values)


def error_box(error: TransferError | OSError, uploaded: Path | None = None) -> str:
    """Return an error as a box for the page.

    Args:
        error: The error.
        uploaded: An uploaded file; the message names it without its temporary folder.
    """
    text = explain_os_error(error) if isinstance(error, OSError) else printable(str(error))
    if uploaded is not None:
        text = text.replace(str(uploaded), uploaded.name)
    return rendered("message.html", kind="error", text=text)


def note_box(text: str) -> str:
    """Return a note as a box for the page."""
    return rendered("message.html", kind="note", text=text)


def stems_box(mixture: Path, stems: Mapping[str, Path], link_prefix: str) -> str:
    """Return players, links and spectrograms of a mixture and its stems, all spectrograms on one scale.

    Args:
        mixture: The file that was separated.
        stems: File of each label.
        link_prefix: Start of the address at which the server offers a file; the path of the file follows.

    Raises:
        AudioFileError: A file cannot be read.
    """
    files = {"Mixture": mixture, **stems}
    spectra = {name: spectrogram(path) for name, path in files.items()}
    loudest = max(float(spectrum.max()) for spectrum in spectra.values())
    labels = list(stems)
    rows = [
        {
            "name": name,
            "link": link_prefix + quote(str(path)),
            "file": path.name,
            "picture": data_uri("image/png", figures.spectrogram_png(spectra[name], loudest)),
            "colours": figures.LABELS[labels.index(name) % len(figures.LABELS)] if name in labels else figures.MUTED,
        }
        for name, path in files.items()
    ]
    return rendered("stems.html", rows=rows, marks=figures.frequency_marks())


def spectrogram(path: Path, columns: int = figures.WIDTH) -> np.ndarray:
    """Return the spectrogram of a file up to 8 kHz in dB, for a picture; memory does not grow with the file.

    Shape:
        [257, nt], with at most ``columns`` columns

    Raises:
        AudioFileError: The file cannot be read.
    """
    head = header(path)
    frames = max(1, int(head.seconds * SAMPLE_RATE) // HOP)
    columns = min(columns, frames)
    step = HOP * max(1, frames // (columns * FRAMES_PER_COLUMN))
    power, count = np.zeros((columns, WINDOW // 2 + 1)), np.zeros(columns)
    window = np.hanning(WINDOW) / (WINDOW / 4)  # a sine of full scale has a bin of 1
    pieces = resampled((block.mean(axis=1) for block in blocks(path)), head.sample_rate, SAMPLE_RATE)
    half = np.zeros(WINDOW // 2, dtype=np.float32)
    # `rest` begins at sample `at`, the next frame at sample `following`; the first frame is centred on sample 0.
    rest, at, following = half, 0, 0
    for piece in itertools.chain(pieces, [half]):
        rest = np.concatenate([rest, piece])
        starts = np.arange(following - at, len(rest) - WINDOW + 1, step)
        if len(starts):
            cut = np.lib.stride_tricks.sliding_window_view(rest, WINDOW)[starts]
            column = np.minimum((at + starts) // HOP * columns // frames, columns - 1)
            np.add.at(power, column, np.abs(np.fft.rfft(cut * window, axis=1)) ** 2)
            np.add.at(count, column, 1)
            following += step * len(starts)
        done = min(following - at, len(rest))
        rest, at = rest[done:], at + done
    return 10 * np.log10(power / np.maximum(count, 1)[:, None] + 1e-18).T


def pretty_seconds(seconds: float) -> str:
    """Return a duration in words.

    >>> pretty_seconds(42.3), pretty_seconds(245), pretty_seconds(7322)
    ('42 s', '4 min 5 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def few(names: Sequence[str], most: int = 6) -> str:
    """Return names for a sentence, at most `most` of them.

    >>> few(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
