"""Draw learning curves, spectrograms and masks; the colours of every figure, table and page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
import scipy.signal
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from .inputs import MIXTURE, SAMPLE_RATE

# Pairs: the colour on a light background (ground), and on a dark one. The contrast is at least 3 : 1, for text 4.5 : 1.
GROUND = ("#fcfcfa", "#16181b")
INK = ("#1d1f22", "#e7e5e0")
MUTED = ("#5a5f66", "#a3a8b0")
RULE = ("#dddcd6", "#34383e")
PANEL = ("#f3f3ef", "#1e2125")
MODELS = (("#b3390e", "#ff8d5f"), ("#28599a", "#80b2ef"), ("#1d7a55", "#5fcf9f"), ("#7a4a99", "#c39be6"))
LABELS = (
    ("#0b776c", "#4cc9b8"),
    ("#946400", "#e3b341"),
    ("#92398a", "#e295da"),
    ("#557a12", "#a6cf57"),
    ("#6a5a4c", "#c9b6a2"),
    ("#a53a4c", "#ff93a2"),
    ("#3e55b5", "#97a9ff"),
    ("#2f7891", "#72c4de"),
)
LIGHT, DARK = 0, 1

# Spectrograms: the range in dB from the loudest bin of the example down to black; height and width in pixels.
RANGE_DB = 70.0
HEIGHT, WIDTH = 168, 640
# The lowest and the highest frequency in Hz; the scale between them is mel.
LOWEST, HIGHEST = 60.0, 8000.0

Curves = Mapping[str, Sequence[tuple[int, float]]]


def colour_of(names: Sequence[str], colours: Sequence[tuple[str, str]], name: str, ground: int) -> str:
    """Return the colour of one of several names; after the last colour the first is used again."""
    return colours[list(names).index(name) % len(colours)][ground]


def draw_curves(curves: Curves, models: Sequence[str], size: tuple[float, float], ground: int = LIGHT) -> Figure:
    """Draw test SI-SDR against iteration, each line with its name at its end.

    Args:
        curves: Points (iteration, dB) by name. The one called 'mixture' is a dashed line.
        models: Names in the order in which they take their colours.
        size: Width and height in inches.
        ground: `LIGHT` or `DARK`.
    """
    figure = Figure(figsize=size, facecolor=GROUND[ground], layout="constrained")
    axes = figure.add_subplot(facecolor=GROUND[ground])
    for name, points in curves.items():
        iterations, values = zip(*points, strict=True)
        if name == MIXTURE:
            axes.plot(iterations, values, color=MUTED[ground], linewidth=1.2, linestyle=(0, (4, 3)))
            continue
        colour = colour_of(models, MODELS, name, ground)
        # One dot for each measurement, unless there are too many to tell apart.
        marker = "o" if len(points) <= 40 else None
        axes.plot(iterations, values, color=colour, linewidth=1.8, marker=marker, markersize=3.2)
    _name_lines(axes, curves, models, ground)
    axes.set_xlabel("iteration", color=MUTED[ground])
    axes.set_title("test SI-SDR (dB)", loc="left", fontsize=9, color=MUTED[ground])
    axes.xaxis.set_major_locator(MaxNLocator(5 if size[0] < 5 else 9, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    simplify_axes(axes, ground, grid="y")
    axes.margins(x=0.02)
    return figure


def simplify_axes(axes: matplotlib.axes.Axes, ground: int, grid: Literal["x", "y", "both"]) -> None:
    """Remove all lines of a plot's frame except the lower one, and draw a grid along one axis or both."""
    axes.grid(axis=grid, color=RULE[ground], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED[ground])
    axes.tick_params(colors=MUTED[ground], labelsize=9, length=0)


def curves_svg(curves: Curves, models: Sequence[str], size: tuple[float, float], ground: int) -> bytes:
    """Return the learning curves as an SVG file; the same curves give the same bytes."""
    return as_svg(draw_curves(curves, models, size, ground), "curves")


def curves_png(curves: Curves, models: Sequence[str], path: Path) -> None:
    """Write the learning curves as a PNG file."""
    save(draw_curves(curves, models, (7.2, 3.8)), path, "png")


def as_svg(figure: Figure, salt: str) -> bytes:
    """Return a figure as an SVG file.

    Args:
        figure: The figure.
        salt: Seed of the identifiers in the file, so that the same figure gives the same bytes.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "path"}):
        no_metadata = dict.fromkeys(["Creator", "Date", "Format", "Type"])
        figure.savefig(buffer, format="svg", metadata=no_metadata)
    return buffer.getvalue()


def save(figure: Figure, path: Path, kind: str) -> None:
    """Write a figure as 'png' or 'pdf'; the same figure gives the same bytes."""
    no_metadata = {"pdf": dict.fromkeys(["Creator", "Producer", "CreationDate"]), "png": {"Software": None}}
    figure.savefig(path, format=kind, dpi=200, metadata=no_metadata[kind])


def spectrogram_db(audio: np.ndarray) -> np.ndarray:
    """Return a spectrogram to look at, in dB relative to full scale.

    Shape:
        [samples] -> [nf, nt]
    """
    audio = np.pad(audio, (0, max(0, 512 - len(audio))))
    _, _, spectrum = scipy.signal.stft(audio, SAMPLE_RATE, "hann", 512, 512 - 128)
    return 20 * np.log10(np.abs(spectrum) + 1e-9)


def spectrogram_png(decibels: np.ndarray, loudest: float, width: int = WIDTH) -> bytes:
    """Return a spectrogram [nf, nt] as a PNG file, at most ``width`` pixels wide; 70 dB below ``loudest`` is black."""
    levels = 1 + (_on_mel_scale(decibels, width) - loudest) / RANGE_DB
    return _png(levels, matplotlib.colormaps["magma"])


def mask_png(mask: np.ndarray, colour: str) -> bytes:
    """Return a mask [nf, nt] as a PNG file: black at 0, the colour of its label at 1."""
    return _png(_on_mel_scale(mask), LinearSegmentedColormap.from_list("mask", ["#000000", colour]))


def frequency_marks() -> list[tuple[str, float]]:
    """Return the frequencies that are marked in a picture, and their heights from 0 (bottom) to 1."""
    low, high = _mel(np.array([LOWEST, HIGHEST]))
    marks = (("250 Hz", 250.0), ("1 kHz", 1000.0), ("4 kHz", 4000.0))
    return [(name, float((_mel(hertz) - low) / (high - low))) for name, hertz in marks]


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    return np.log1p(np.asarray(hertz) / 700)


def _on_mel_scale(picture: np.ndarray, width: int = WIDTH) -> np.ndarray:
    """Resample linear bins [nf, nt] to mel [HEIGHT, at most ``width``], low frequencies at the bottom."""
    hertz = 700 * np.expm1(np.linspace(_mel(HIGHEST), _mel(LOWEST), HEIGHT))
    bins = hertz / (SAMPLE_RATE / 2) * (picture.shape[0] - 1)
    below = np.minimum(bins.astype(int), picture.shape[0] - 2)
    share = (bins - below)[:, None]
    rows = (1 - share) * picture[below] + share * picture[below + 1]  # [HEIGHT, nt]
    # A pixel that covers several frames shows their mean.
    edges = np.linspace(0, rows.shape[1], min(width, rows.shape[1]) + 1).astype(int)[:-1]
    return np.add.reduceat(rows, edges, axis=1) / np.diff(np.append(edges, rows.shape[1]))


def _png(levels: np.ndarray, colours: matplotlib.colors.Colormap) -> bytes:
    image = Image.fromarray(np.round(255 * levels.clip(0, 1)).astype(np.uint8), mode="P")
    image.putpalette((colours(np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _name_lines(axes: matplotlib.axes.Axes, curves: Curves, models: Sequence[str], ground: int) -> None:
    """Write each curve's name and last value beside its last point, without overlaps.

    The name stands right of the point, or above it if the curve ends before the others.
    """
    low, high = axes.get_ylim()
    gap, previous = 0.08 * (high - low), -np.inf
    end = max(points[-1][0] for points in curves.values())
    for name, points in sorted(curves.items(), key=lambda item: item[1][-1][1]):
        iteration, value = points[-1]
        at_end = iteration == end
        if at_end:
            previous = max(value, previous + gap)
        axes.annotate(
            f"{name}  {_minus(value)}",
            (iteration, previous if at_end else value),
            xytext=(8, 0) if at_end else (0, 8),
            horizontalalignment="left" if at_end else "right",
            verticalalignment="center" if at_end else "baseline",
            textcoords="offset points",
            fontsize=9,
            color=MUTED[ground] if name == MIXTURE else colour_of(models, MODELS, name, ground),
            annotation_clip=False,
        )


def _minus(value: float) -> str:
    return f"{value:.1f}".replace("-", "\u2212")
