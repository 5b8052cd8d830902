"""What tells pretraining sets apart in the figures: colour, and, in grey, hatch, marker and line."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from nussl_transfer.report.figures import quieten
from nussl_transfer.report.style import GROUND, INK, MODELS, MUTED, colour_of

from .inputs import Study

# Not dots: each is four curves in the file.
_HATCHES = ("////", "||||", "xxxx", "----")
_MARKERS = ("o", "s", "^", "D")
_LINES = ("solid", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1, 1.5)))


@dataclass(frozen=True)
class SeriesStyle:
    """How one pretraining set, or training from scratch, is drawn."""

    colour: str
    hatch: str
    marker: str
    line: str | tuple
    fill: tuple[float, float, float]


def series_style(study: Study, pretraining: str | None, ground: int) -> SeriesStyle:
    """Returns how a pretraining set is drawn; None is training from scratch."""
    if pretraining is None:
        return SeriesStyle(MUTED[ground], "", "D", "solid", _tint(MUTED[ground], ground, 0.55))
    names = list(study.plan["pretrainings"])
    place = names.index(pretraining)
    colour = colour_of(names, MODELS, pretraining, ground)
    hatch, marker, line = (kinds[place % len(kinds)] for kinds in (_HATCHES, _MARKERS, _LINES))
    return SeriesStyle(colour, hatch, marker, line, _tint(colour, ground, 0.25))


def panels(
    study: Study, downstreams: list[str], ground: int, narrow: bool, height: float, columns: int, share_x: bool = False
) -> tuple[Figure, list[matplotlib.axes.Axes]]:
    """Returns a figure with a panel for each downstream set, side by side, or, where ``narrow``, below each other.

    Args:
        study: The study.
        downstreams: The sets.
        ground: Light or dark.
        narrow: For a narrow screen.
        height: Of a panel, in inches.
        columns: Most panels side by side.
        share_x: One x axis for all.
    """
    names = [study.plan["downstreams"][key] for key in downstreams]
    across = 1 if narrow else max(1, min(columns, len(names)))
    down = max(1, -(-len(names) // across))
    figure = Figure((4.6 if narrow else 9.2, height * down), facecolor=GROUND[ground], layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08, hspace=0.04)
    grid = figure.subplots(down, across, squeeze=False, sharex=share_x, sharey=False).ravel()
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(grid, names, strict=False):
        axes.set_facecolor(GROUND[ground])
        axes.set_title(name, loc="left", fontsize=10, color=INK[ground], fontweight="bold")
    return figure, list(grid[: len(names)])


def name_rows(axes: matplotlib.axes.Axes, rows: list[tuple[float, str, bool]], ground: int, named: bool = True) -> None:
    """Writes names left of horizontal rows, headings in bold; ``named`` is off where the panel to the left names them."""
    quieten(axes, ground, grid="x")
    axes.set_yticks([place for place, _, _ in rows], [name if named else "" for _, name, _ in rows])
    for label, (_, _, heading) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(INK[ground])
        label.set_fontweight("bold" if heading else "normal")
    axes.set_ylim(max(place for place, _, _ in rows) + 0.6, min(place for place, _, _ in rows) - 0.6)


def _tint(colour: str, ground: int, share: float) -> tuple[float, float, float]:
    """Returns a colour mixed with the ground, ``share`` of it."""
    pairs = zip(to_rgb(colour), to_rgb(GROUND[ground]), strict=True)
    red, green, blue = (share * of_colour + (1 - share) * of_ground for of_colour, of_ground in pairs)
    return red, green, blue
