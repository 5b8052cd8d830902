"""Draw Figures 1 to 3, each for light and dark grounds and for wide and narrow screens; their captions."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, NullLocator

from nussl_transfer.report.figures import GROUND, INK, LIGHT, MODELS, MUTED, colour_of, simplify_axes
from nussl_transfer.report.text import decibels

from . import paper
from .findings import mark
from .inputs import NONE, SCRATCH, SCRATCH_EQUAL, WHOLE, Study

_ERROR = {"elinewidth": 1.2, "capsize": 2.5, "capthick": 1.2}
# Pretraining sets differ in colour. Hatch, marker and line differ too, so that the sets can be told apart in a grey print.
# Hatches with dots are not used: a dot takes four curves in a vector file.
_HATCHES = ("////", "||||", "xxxx", "----")
_MARKERS = ("o", "s", "^", "D")
_LINES = ("solid", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1, 1.5)))


def captions(study: Study) -> dict[str, str]:
    """Return the captions by figure, as plain text."""
    star = f"* significant (p < {study.threshold:g}); \u2020 not significant after Holm\u2019s correction over all tests"
    seeds = " A whisker spans the means of the seeds." if len(study.plan["seeds"]) > 1 else ""
    return {
        "figure1": "Figure 1. Mean SI-SDR in dB by downstream set and pretraining set; fine-tuned whole, no augmentation. "
        "Bars start at the mixture (dashed): their length is the improvement over it. Dotted: the oracle magnitude mask."
        f"{seeds} Better than from scratch: {star}.",
        "figure2": "Figure 2. Gain in SI-SDR of each augmentation in pretraining over none, fine-tuned whole: the median "
        "over excerpts in dB and its bootstrap interval over songs; filled if significant after Holm\u2019s correction. "
        f"{star}. The paper\u2019s best gave {paper.BEST_GAIN} dB.",
        "figure3": "Figure 3. Test SI-SDR against iteration, on a logarithmic axis. Rings: the best score of the "
        "baseline, and the first fine-tuned network that reached it (dotted). The paper, on Dagstuhl ChoirSet: 5 dB after "
        f"{paper.BASELINE_REACHED_IN:,} iterations from scratch, {paper.REACHED_IN:,} fine-tuned.",
    }


def score_figure(study: Study, ground: int = LIGHT, narrow: bool = False) -> Figure:
    """Draw Figure 1: SI-SDR by downstream and pretraining set, no augmentation, fine-tuned whole.

    Bars start at the mixture's SI-SDR: their length is the improvement. A whisker spans the means of the seeds.
    """
    baselines = [mode for mode in (SCRATCH, SCRATCH_EQUAL) if any(m["mode"] == mode for m in study.plan["models"])]
    kinds = [(None, None, mode) for mode in baselines] + [(name, NONE, WHOLE) for name in study.plan["pretrainings"]]
    downstreams = list(study.plan["downstreams"])
    height = 0.98 + 0.3 * len(kinds)
    figure, grid = _panels(study, downstreams, ground, narrow, height, _columns(downstreams), share_x=True)
    reach = []
    for axes, downstream in zip(grid, downstreams, strict=True):
        ceiling = study.analysis["ceilings"].get(downstream) or {}
        foot = ceiling.get("mixture") or 0.0
        for row, (pretraining, condition, mode) in enumerate(kinds):
            cell = study.cell(downstream, pretraining, condition, mode)
            if cell is None:
                axes.text(foot, row, " not done", va="center", fontsize=8, color=MUTED[ground])
                continue
            reach += [foot, cell["mean"], *cell["seeds"].values()]
            _bar(axes, row, foot, cell, series_style(study, pretraining, ground))
            tests = study.comparisons("H1", downstream=downstream, pretraining=pretraining or "")
            star = mark(tests[0]) if tests else ""
            _write_end(axes, row, foot, cell, star, ground)
        for name, line in (("mixture", (0, (4, 3))), ("oracle", (0, (1, 1.5)))):
            if ceiling.get(name) is not None:
                reach.append(ceiling[name])
                axes.axvline(ceiling[name], color=MUTED[ground], linewidth=1.2, linestyle=line)
                _name_line(axes, ceiling[name], name, ground, left=name == "oracle")
        names = [(row, study.name(*kind), False) for row, kind in enumerate(kinds)]
        _name_rows(axes, names, ground, named=narrow or axes.get_subplotspec().is_first_col())
        axes.set_ylim(len(kinds) - 0.4, -1.35)
        if axes.get_subplotspec().is_last_row():
            axes.set_xlabel("SI-SDR (dB)", color=MUTED[ground])
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    if reach:
        span = max(reach) - min(reach)
        grid[0].set_xlim(min(reach) - 0.04 * span, max(reach) + 0.1 * span)
    return figure


def gain_figure(study: Study, ground: int = LIGHT, narrow: bool = False) -> Figure:
    """Draw Figure 2: the gain of each augmentation in pretraining, the median over excerpts, with its interval."""
    conditions = {key: name for key, name in study.plan["conditions"].items() if key != NONE}
    rows: list[tuple[float, str, bool]] = []
    row_of = {}
    for condition, name in conditions.items():
        rows.append((len(rows), name, True))
        for pretraining, called in study.plan["pretrainings"].items():
            row_of[condition, pretraining] = len(rows)
            rows.append((len(rows), called, False))
    downstreams = study.augmented()
    figure, grid = _panels(study, downstreams, ground, narrow, 0.8 + 0.2 * len(rows), columns=4, share_x=True)
    for axes, downstream in zip(grid, downstreams, strict=True):
        axes.axvline(0, color=INK[ground], linewidth=1)
        undone = dict(row_of)
        for entry in study.comparisons("H2", downstream=downstream):
            row, style = (
                undone.pop((entry["condition"], entry["pretraining"])),
                series_style(study, entry["pretraining"], ground),
            )
            value = entry["median_difference"]
            if entry["interval"]:
                axes.plot(entry["interval"], [row, row], color=style.colour, linewidth=1.6, solid_capstyle="butt")
            filled = style.colour if entry["significant_holm"] else axes.get_facecolor()
            axes.plot(value, row, style.marker, color=style.colour, markerfacecolor=filled, markersize=5.5)
            text, end = mark(entry), max([value, *(entry["interval"] or [])])
            axes.annotate(text, (end, row), (4, 0), textcoords="offset points", va="center", fontsize=9, color=INK[ground])
        for (condition, pretraining), row in undone.items():
            planned = study.planned(downstream, condition=condition, pretraining=pretraining, mode=WHOLE)
            axes.text(0, row, " not done" if planned else " not planned", va="center", fontsize=8, color=MUTED[ground])
        _name_rows(axes, rows, ground, named=narrow or axes.get_subplotspec().is_first_col())
        axes.margins(x=0.1)
        if axes.get_subplotspec().is_last_row():
            axes.set_xlabel("gain in SI-SDR (dB)", color=MUTED[ground])
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    return figure


def curve_figure(study: Study, ground: int = LIGHT, narrow: bool = False) -> Figure:
    """Draw Figure 3: test SI-SDR against iteration on a logarithmic axis, and where the baseline's best is reached."""
    downstreams = list(study.plan["downstreams"])
    figure, grid = _panels(study, downstreams, ground, narrow, 2.9, _columns(downstreams))
    handles = {}
    for axes, downstream in zip(grid, downstreams, strict=True):
        simplify_axes(axes, ground, grid="y")
        axes.xaxis.set_minor_locator(NullLocator())
        curves = study.main_curves(downstream)
        if not curves:
            axes.text(0.5, 0.5, "no curve", transform=axes.transAxes, ha="center", color=MUTED[ground])
            axes.set(xticks=[], yticks=[])
            continue
        for pretraining, curve in curves.items():
            style = series_style(study, pretraining, ground)
            iterations, values = zip(*curve["points"], strict=True)
            every = max(1, len(iterations) // 8)
            (line,) = axes.plot(
                iterations, values, color=style.colour, linestyle=style.line, marker=style.marker, markersize=4,
                markevery=every, linewidth=2.2 if pretraining is None else 1.6,
            )  # fmt: skip
            handles.setdefault(study.name(pretraining), line)
        _mark_reached(axes, study, downstream, ground)
        ceiling = study.analysis["ceilings"].get(downstream) or {}
        if ceiling.get("mixture") is not None:
            axes.axhline(ceiling["mixture"], color=MUTED[ground], linewidth=1.2, linestyle=(0, (4, 3)))
            axes.annotate(
                "mixture", (1, ceiling["mixture"]), (0, 2), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", fontsize=8, color=MUTED[ground],
            )  # fmt: skip
        _scale_iterations(axes, [point[0] for curve in curves.values() for point in curve["points"]])
        axes.set_ylabel("test SI-SDR (dB)" if narrow or axes.get_subplotspec().is_first_col() else "", color=MUTED[ground])
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        axes.set_xlabel("iteration", color=MUTED[ground])
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside upper left", ncols=2 if narrow else 5, frameon=False,
            fontsize=9, labelcolor=INK[ground], handlelength=3.2,
        )  # fmt: skip
    return figure


def _columns(downstreams: list[str]) -> int:
    """Return the number of panels side by side: as many as leave room for the names, in full rows."""
    return 2 if len(downstreams) == 4 else 3


def _bar(axes: Axes, row: int, foot: float, cell: dict, style) -> None:
    axes.barh(
        row, cell["mean"] - foot, left=foot, height=0.62, facecolor=style.fill, edgecolor=style.colour, hatch=style.hatch,
        linewidth=1.1,
    )  # fmt: skip
    seeds = list(cell["seeds"].values())
    if len(seeds) > 1:
        reach = [[cell["mean"] - min(seeds)], [max(seeds) - cell["mean"]]]
        axes.errorbar(cell["mean"], row, xerr=reach, color=style.colour, fmt="none", **_ERROR)


def _write_end(axes: Axes, row: int, foot: float, cell: dict, star: str, ground: int) -> None:
    """Write the value and its mark of significance right of a bar and its whisker."""
    end = max(foot, cell["mean"], *(cell["seeds"].values() if len(cell["seeds"]) > 1 else ()))
    axes.annotate(
        f"{decibels(cell['mean'])}{star}", (end, row), (4, 0), textcoords="offset points", va="center", fontsize=8.5,
        color=INK[ground], zorder=4, bbox={"facecolor": axes.get_facecolor(), "edgecolor": "none", "pad": 0.6},
    )  # fmt: skip


def _name_line(axes: Axes, value: float, name: str, ground: int, left: bool) -> None:
    # The name left of its line is one line lower, because the two lines may be close.
    axes.annotate(
        f"{name} {decibels(value)}", (value, 1), (-3, -12) if left else (3, -2), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="right" if left else "left", va="top", fontsize=7.5, color=MUTED[ground],
    )  # fmt: skip


def _mark_reached(axes: Axes, study: Study, downstream: str, ground: int) -> None:
    row = study.reached(downstream)
    if row is None:
        return
    axes.axhline(row.best, color=MUTED[ground], linewidth=0.9, linestyle=(0, (1, 2)))
    iterations = [row.baseline, *([row.first[1]] if row.first else [])]
    for iteration in iterations:
        axes.plot(
            iteration, row.best, "o", markersize=10, markerfacecolor="none", color=INK[ground], markeredgewidth=1.1,
            clip_on=False, zorder=4,
        )  # fmt: skip
        axes.annotate(
            f"{iteration:,}", (iteration, row.best), (0, 8), textcoords="offset points", ha="center", fontsize=8.5,
            color=INK[ground], path_effects=[withStroke(linewidth=3, foreground=GROUND[ground])], zorder=5,
        )  # fmt: skip


def _scale_iterations(axes: Axes, iterations: list[int]) -> None:
    """Set a logarithmic axis of iterations, with 0 at some distance left of the first one."""
    positive = [iteration for iteration in iterations if iteration > 0]
    if not positive:
        return
    first, last = min(positive), max(positive)
    axes.set_xscale("symlog", linthresh=first, linscale=0.4)
    ticks = [step * 10**power for power in range(7) for step in (1, 2, 5) if first <= step * 10**power <= last]
    while len(ticks) > 5:
        ticks = ticks[len(ticks) % 2 == 0 :: 2]
    axes.set_xticks([0, *ticks] if 0 in iterations else ticks)
    axes.set_xlim(-0.1 * first if 0 in iterations else 0.9 * first, 1.25 * last)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.margins(y=0.12)


def _plain(value: float, _: int) -> str:
    return f"{value:g}".replace("-", "\u2212")


@dataclass(frozen=True)
class SeriesStyle:
    """Colours, hatch, marker and line of one pretraining set, or of training from scratch, in the figures."""

    colour: str
    hatch: str
    marker: str
    line: str | tuple
    fill: tuple[float, float, float]


def series_style(study: Study, pretraining: str | None, ground: int) -> SeriesStyle:
    """Return the style of a pretraining set; None is training from scratch."""
    if pretraining is None:
        return SeriesStyle(MUTED[ground], "", "D", "solid", _tint(MUTED[ground], ground, 0.55))
    names = list(study.plan["pretrainings"])
    number = names.index(pretraining)
    colour = colour_of(names, MODELS, pretraining, ground)
    hatch, marker, line = (kinds[number % len(kinds)] for kinds in (_HATCHES, _MARKERS, _LINES))
    return SeriesStyle(colour, hatch, marker, line, _tint(colour, ground, 0.25))


def _panels(
    study: Study, downstreams: list[str], ground: int, narrow: bool, height: float, columns: int, share_x: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each downstream set, side by side, or one below the other if ``narrow``.

    Args:
        study: The study.
        downstreams: The sets.
        ground: `LIGHT` or `DARK`.
        narrow: Whether it is for a narrow screen.
        height: Height of a panel in inches.
        columns: Largest number of panels side by side.
        share_x: Whether all panels share the x axis.
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


def _name_rows(axes: Axes, rows: list[tuple[float, str, bool]], ground: int, named: bool = True) -> None:
    """Write names left of horizontal rows, headings in bold; ``named`` is off if the panel to the left has them."""
    simplify_axes(axes, ground, grid="x")
    axes.set_yticks([position for position, _, _ in rows], [name if named else "" for _, name, _ in rows])
    for label, (_, _, heading) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(INK[ground])
        label.set_fontweight("bold" if heading else "normal")
    axes.set_ylim(max(position for position, _, _ in rows) + 0.6, min(position for position, _, _ in rows) - 0.6)


def _tint(colour: str, ground: int, share: float) -> tuple[float, float, float]:
    """Return a colour mixed with the ground; ``share`` is that of the colour."""
    pairs = zip(to_rgb(colour), to_rgb(GROUND[ground]), strict=True)
    red, green, blue = (share * of_colour + (1 - share) * of_ground for of_colour, of_ground in pairs)
    return red, green, blue
