"""Pictures: the learning curves, spectrograms, masks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import scipy.signal
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from .inputs import MIXTURE, SAMPLE_RATE
from .style import GROUND, LIGHT, MODELS, MUTED, RULE, colour_of

# Pictures of sound: decibels from the loudest bin of the example down to black, and pixels.
RANGE_DB = 70.0
HEIGHT, WIDTH = 168, 640
# The lowest and highest pitch shown, in Hz; bins in between lie on the mel scale.
LOWEST, HIGHEST = 60.0, 8000.0

Curves = Mapping[str, Sequence[tuple[int, float]]]


def draw_curves(
    curves: Curves, models: Sequence[str], size: tuple[float, float], ground: int = LIGHT
) -> Figure:
    """Returns a figure of test SI-SDR against iteration; each line carries its own name at its end.

    Args:
        curves: Points (iteration, dB) by name. The one called 'mixture' is drawn as a dashed line.
        models: Names in the order in which they take their colours.
        size: Inches.
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
        # A dot a measurement, while they can be told apart.
        marker = "o" if len(points) <= 40 else None
        axes.plot(iterations, values, color=colour, linewidth=1.8, marker=marker, markersize=3.2)
    _name_lines(axes, curves, models, ground)
    axes.set_xlabel("iteration", color=MUTED[ground])
    axes.set_title("test SI-SDR (dB)", loc="left", fontsize=9, color=MUTED[ground])
    axes.xaxis.set_major_locator(MaxNLocator(5 if size[0] < 5 else 9, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    quieten(axes, ground, grid="y")
    axes.margins(x=0.02)
    return figure


def quieten(axes: matplotlib.axes.Axes, ground: int, grid: str) -> None:
    """Takes away from axes what is not data: a line below, and a grid along one axis, remain."""
    axes.grid(axis=grid, color=RULE[ground], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED[ground])
    axes.tick_params(colors=MUTED[ground], labelsize=9, length=0)


def curves_svg(curves: Curves, models: Sequence[str], size: tuple[float, float], ground: int) -> bytes:
    """Returns the learning curves as an SVG file; the same curves give the same bytes."""
    return as_svg(draw_curves(curves, models, size, ground), "curves")


def curves_png(curves: Curves, models: Sequence[str], path: Path) -> None:
    """Writes the learning curves as a PNG file."""
    save(draw_curves(curves, models, (7.2, 3.8)), path, "png")


def as_svg(figure: Figure, salt: str) -> bytes:
    """Returns a figure as an SVG file.

    Args:
        figure: What is drawn.
        salt: From which the names within the file are made, so that the same figure gives the same bytes.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "path"}):
        nothing = dict.fromkeys(["Creator", "Date", "Format", "Type"])
        figure.savefig(buffer, format="svg", metadata=nothing)
    return buffer.getvalue()


def save(figure: Figure, path: Path, kind: str) -> None:
    """Writes a figure as 'png' or 'pdf'; the same figure gives the same bytes."""
    nothing = {"pdf": dict.fromkeys(["Creator", "Producer", "CreationDate"]), "png": {"Software": None}}
    figure.savefig(path, format=kind, dpi=200, metadata=nothing[kind])


def spectrogram_db(audio: np.ndarray) -> np.ndarray:
    """Returns a spectrogram in dB re full scale, for looking at.

    Shape:
        [samples] -> [nf, nt]
    """
    audio = np.pad(audio, (0, max(0, 512 - len(audio))))
    _, _, spectrum = scipy.signal.stft(audio, SAMPLE_RATE, "hann", 512, 512 - 128)
    return 20 * np.log10(np.abs(spectrum) + 1e-9)


def spectrogram_png(decibels: np.ndarray, loudest: float, width: int = WIDTH) -> bytes:
    """Returns a picture of a spectrogram [nf, nt], at most ``width`` wide: black at 70 dB below ``loudest``."""
    levels = 1 + (_on_mel_scale(decibels, width) - loudest) / RANGE_DB
    return _png(levels, matplotlib.colormaps["magma"])


def mask_png(mask: np.ndarray, colour: str) -> bytes:
    """Returns a picture of a mask [nf, nt]: black at 0, the colour of its label at 1."""
    return _png(_on_mel_scale(mask), LinearSegmentedColormap.from_list("mask", ["#000000", colour]))


def frequency_marks() -> list[tuple[str, float]]:
    """Returns names of frequencies and their height in a picture, from 0 at the bottom to 1."""
    low, high = _mel(np.array([LOWEST, HIGHEST]))
    marks = (("250 Hz", 250.0), ("1 kHz", 1000.0), ("4 kHz", 4000.0))
    return [(name, float((_mel(hertz) - low) / (high - low))) for name, hertz in marks]


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    return np.log1p(np.asarray(hertz) / 700)


def _on_mel_scale(picture: np.ndarray, width: int = WIDTH) -> np.ndarray:
    """Resamples [nf, nt], bins from 0 Hz to half the rate, to [HEIGHT, at most ``width``], low at the bottom."""
    hertz = 700 * np.expm1(np.linspace(_mel(HIGHEST), _mel(LOWEST), HEIGHT))
    bins = hertz / (SAMPLE_RATE / 2) * (picture.shape[0] - 1)
    below = np.minimum(bins.astype(int), picture.shape[0] - 2)
    share = (bins - below)[:, None]
    rows = (1 - share) * picture[below] + share * picture[below + 1]  # [HEIGHT, nt]
    # Neighbouring frames that share a pixel: their mean.
    edges = np.linspace(0, rows.shape[1], min(width, rows.shape[1]) + 1).astype(int)[:-1]
    return np.add.reduceat(rows, edges, axis=1) / np.diff(np.append(edges, rows.shape[1]))


def _png(levels: np.ndarray, colours: matplotlib.colors.Colormap) -> bytes:
    image = Image.fromarray(np.round(255 * levels.clip(0, 1)).astype(np.uint8), mode="P")
    image.putpalette((colours(np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _name_lines(axes: matplotlib.axes.Axes, curves: Curves, models: Sequence[str], ground: int) -> None:
    """Writes each curve's name and last value right of its last point, pushed apart where they would meet.

    A curve that ends before the others has its name above its last point: right of it, the others go on.
    """
    low, high = axes.get_ylim()
    gap, previous = 0.08 * (high - low), -np.inf
    end = max(points[-1][0] for points in curves.values())
    for name, points in sorted(curves.items(), key=lambda item: item[1][-1][1]):
        iteration, value = points[-1]
        if iteration == end:
            previous = max(value, previous + gap)
            place = {"xy": (iteration, previous), "xytext": (8, 0), "va": "center"}
        else:
            place = {"xy": (iteration, value), "xytext": (0, 8), "ha": "right"}
        axes.annotate(
            f"{name}  {_minus(value)}",
            **place,
            textcoords="offset points",
            fontsize=9,
            color=MUTED[ground] if name == MIXTURE else colour_of(models, MODELS, name, ground),
            annotation_clip=False,
        )


def _minus(value: float) -> str:
    return f"{value:.1f}".replace("-", "\u2212")
