"""Report the result of a fine-tuning: scores on the validation tracks, the curve, and what to try next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from tabulate import tabulate

from ..checkpoints.checkpoint import read_info
from ..errors import DataError
from ..evaluation.estimators import MIXTURE, ORACLE, Model
from ..evaluation.excerpts import MixtureExcerpt, drawn_excerpts
from ..evaluation.score import score_each
from ..evaluation.statistics import summarise
from ..mixing.config import MixtureConfig
from ..mixing.mixtures import Mixtures
from ..mixing.split import TrainValidSplit
from ..runtime.files import write_json, write_text, written_aside
from ..store.store import Store
from ..training.run import Run

NETWORK = "network"
SCORED = 24  # validation mixtures that are scored
# The validation loss has risen if it ends above its lowest value by this share of its whole fall.
RISEN = 0.05
# The network still learns if its loss fell by the share STILL_FALLING of its whole fall in the last fifth of the run.
STILL_FALLING, LAST = 0.05, 0.2
# A network less than this many dB below the oracle mask is near the limit of magnitude masks.
NEAR_ORACLE = 1.0


@dataclass(frozen=True)
class Trend:
    """What a learning curve shows, by the measure that chooses the best network.

    Attributes:
        best: Iteration of the best network.
        last: Last iteration.
        overfitting: Whether the measure became worse after the best network, while the training loss fell.
        falling: Whether the measure was still improving at the end.
    """

    best: int
    last: int
    overfitting: bool
    falling: bool


def read_trend(points: Sequence[dict], choose_by: str = "loss") -> Trend | None:
    """Return what the points of a curve show; None if there are fewer than three.

    Args:
        points: Points of ``curve.json``.
        choose_by: As in `FitConfig`.

    >>> losses = [1.0, 0.5, 0.4, 0.5, 0.6]
    >>> read_trend([{"iteration": i, "valid_loss": loss, "train_loss": 1 - i / 9} for i, loss in enumerate(losses)])
    Trend(best=2, last=4, overfitting=True, falling=False)
    """
    key, sign = {"loss": ("valid_loss", 1), "mask_loss": ("valid_mask_loss", 1), "si_sdr": ("valid_si_sdr", -1)}[choose_by]
    known = [point for point in points if point.get(key) is not None and math.isfinite(point[key])]
    if len(known) < 3:
        return None
    losses = [sign * point[key] for point in known]
    lowest = min(range(1, len(known)), key=losses.__getitem__)  # the network before training is never the best
    fall = max(losses[0] - losses[lowest], 1e-12)
    training = [point["train_loss"] for point in known if point.get("train_loss") is not None]
    risen = losses[-1] - losses[lowest] > RISEN * fall
    first_of_last = next(i for i, point in enumerate(known) if point["iteration"] >= (1 - LAST) * known[-1]["iteration"])
    before = losses[max(0, first_of_last - 1)]
    return Trend(
        best=known[lowest]["iteration"],
        last=known[-1]["iteration"],
        overfitting=risen and len(training) > 1 and training[-1] < training[0],
        falling=not risen and losses[lowest] < losses[0] and before - min(losses[first_of_last:]) > STILL_FALLING * fall,
    )


def report_run(run: Run, split: TrainValidSplit, seed: int = 0, device: str = "auto") -> dict:
    """Score a run's best network on its validation tracks, and write ``report.json``, ``report.txt`` and ``curve.png``.

    Args:
        run: A finished run of mode 'whole' or 'mask'.
        split: The tracks that it was trained and validated on.
        seed: Seed of the scored mixtures.
        device: 'auto', 'cpu', 'cuda' or 'mps'.

    Returns:
        The contents of ``report.json``: ``summary``, the entries of `summarise` for the network, the mixture and the oracle
        mask; ``trend``; ``advice``, sentences; ``next``, commands.

    Raises:
        DataError: A stem cannot be read.
    """
    info = read_info(run.best)
    excerpts = validation_excerpts(split, info.excerpt_seconds, seed)
    models: dict[str, Model] = {NETWORK: run.best, MIXTURE: MIXTURE, ORACLE: ORACLE}
    scores = score_each(models, split.valid, excerpts, device=device, progress=False, stft_params=info.stft_params)
    summary = [entry for rows in scores.values() for entry in summarise(rows)]
    trend = read_trend(run.read_curve()["points"], run.config.get("choose_by", "loss"))
    minutes = {label: round(active_minutes(split.train, label), 1) for label in split.train.labels}
    quoted = shlex.quote(str(run.folder))
    report = {
        "run": str(run.folder),
        "excerpts": len(excerpts),
        "tracks": sorted({source.track.name for excerpt in excerpts for source in excerpt.sources}),
        "minutes": minutes,
        "summary": summary,
        "trend": None if trend is None else vars(trend),
        "advice": advise(summary, trend, minutes, info.mode, str(run.folder)),
        "next": [
            f"nussl-transfer separate AUDIO --model {quoted} --out separated",
            f"nussl-transfer evaluate {quoted} TEST-STEMS --oracle",
        ],
    }
    write_json(run.folder / "report.json", report)
    draw_curve(run.read_curve()["points"], trend, run.folder / "curve.png", run.config.get("choose_by", "loss"))
    write_text(run.folder / "report.txt", as_text(report))
    return report


def validation_excerpts(split: TrainValidSplit, excerpt_seconds: float, seed: int = 0) -> list[MixtureExcerpt]:
    """Return mixtures of the validation tracks: coherent ones if possible, in which every source sounds if possible.

    Raises:
        DataError: There is no mixture at all.
    """
    ways = [(coherent, sounding) for coherent in (1.0, 0.0) for sounding in (True, False)]
    for coherent, sounding in ways:
        config = MixtureConfig(excerpt_seconds=excerpt_seconds, coherent=coherent, sounding=sounding)
        try:
            return drawn_excerpts(Mixtures(split.valid, config, SCORED, seed, split.valid_span))
        except DataError:
            if (coherent, sounding) == ways[-1]:
                raise
    return []


def active_minutes(store: Store, label: str) -> float:
    """Return the minutes in which a label is active, by the manifest."""
    spans = [span for track in store.tracks if label in track.stems for span in track.stems[label].active]
    return sum(stop - begin for begin, stop in spans) / store.sample_rate / 60


def advise(summary: Sequence[dict], trend: Trend | None, minutes: dict[str, float], mode: str, folder: str) -> list[str]:
    """Return what to try next, the most promising first.

    Args:
        summary: Entries of the network, the mixture and the oracle mask.
        trend: What the curve shows.
        minutes: Minutes of training sound of each label.
        mode: 'whole' or 'mask'.
        folder: The run.
    """
    network = {entry["label"]: entry for entry in summary if entry["estimate"] == NETWORK}
    oracle = {entry["label"]: entry for entry in summary if entry["estimate"] == ORACLE}
    improvements = {label: entry["improvement"] for label, entry in network.items() if label is not None}
    scored = {label: value for label, value in improvements.items() if value is not None}
    advice = []
    if not scored:
        return [
            "No validation mixture could be scored: use longer mixtures (--excerpt-seconds), or more validation tracks."
        ]
    whole = network[None]["improvement"]
    if whole <= 0:
        advice.append(
            "The network is no better than the mixture. Check the stems (nussl-transfer check STEMS --deep): are the "
            "labels right, and do the stems of one track belong together?"
        )
    if trend is not None and trend.falling:
        advice.append(
            f"More iterations: the network was still improving at iteration {trend.last}. Use --iterations "
            f"{2 * trend.last} with another --out."
        )
    if trend is not None and trend.overfitting:
        advice.append(
            f"The network overfits after iteration {trend.best}; the best one is kept. More stems help most. Otherwise "
            + ("use --mode mask, which trains the mask head alone, or " if mode == "whole" else "")
            + "more varied mixtures (a lower --coherent)."
        )
    worst = min(scored, key=scored.__getitem__)
    if len(scored) > 1 and scored[worst] < whole - 1.5:
        advice.append(
            f"More stems of {worst}: it improves least ({scored[worst]:+.1f} dB), from {minutes[worst]:g} minutes."
        )
    if oracle[None]["mean"] is not None and oracle[None]["mean"] - network[None]["mean"] < NEAR_ORACLE:
        advice.append(
            "The network is close to the oracle mask. Only phase-sensitive targets can improve it further: use "
            "--phase-sensitive."
        )
    if not advice:
        advice.append(
            f"No problem was found. Listen to the result; more stems or more iterations may help. The run is {folder}."
        )
    return advice


def as_text(report: dict) -> str:
    """Return the report as plain text.

    Args:
        report: As from `report_run`.
    """
    entries = {(entry["estimate"], entry["label"]): entry for entry in report["summary"]}
    labels = [label for estimate, label in entries if estimate == NETWORK]
    rows: list[tuple[str, ...]] = [("", "improvement", NETWORK, MIXTURE, "oracle mask")]
    for label in labels:
        means = [entries[name, label]["mean"] for name in (NETWORK, MIXTURE, ORACLE)]
        improvement = entries[NETWORK, label]["improvement"]
        signed = "-" if improvement is None else f"{improvement:+.1f}"
        rows.append((label or "all", signed, *("-" if mean is None else f"{mean:.1f}" for mean in means)))
    align = ["left"] + ["right"] * (len(rows[0]) - 1)
    table = tabulate(rows, tablefmt="plain", colalign=align, disable_numparse=True).splitlines()
    trend = report["trend"]
    lines = [
        f"SI-SDR in dB on {report['excerpts']} mixtures of the validation tracks ({_few(report['tracks'])}):",
        "",
        *table,
        "",
        "SI-SDR compares a separated source with the original: higher is better. The improvement is its gain over the",
        "mixture itself. The oracle mask is made from the originals.",
        "The best network was chosen on these tracks, so scores on other tracks are usually a little lower.",
    ]
    if (left_out := entries[MIXTURE, None]["left_out"]) > 0:
        lines.append(f"Left out: {left_out} references that are silent or alone in their mixture.")
    if trend is not None:
        state = "After that it overfits." if trend["overfitting"] else "It was still improving." if trend["falling"] else ""
        lines += ["", f"The best network is that of iteration {trend['best']} of {trend['last']}. {state}".rstrip()]
    lines += ["", "What to try:", *(f"  - {sentence}" for sentence in report["advice"])]
    lines += ["", "Next:", *(f"  {command}" for command in report["next"])]
    lines += ["", f"Curve: {Path(report['run']) / 'curve.png'}"]
    return "\n".join(lines) + "\n"


def draw_curve(points: Sequence[dict], trend: Trend | None, path: str | Path, choose_by: str = "loss") -> None:
    """Draw the training and the validation loss against the iteration, as a PNG file.

    The mask loss is drawn too if it chooses the best network.
    """
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.add_subplot()
    lines = [("train_loss", "training"), ("valid_loss", "validation")]
    if choose_by == "mask_loss":
        lines.append(("valid_mask_loss", "validation, masks alone"))
    for key, name in lines:
        known = [(point["iteration"], point[key]) for point in points if point.get(key) is not None]
        if known:
            axes.plot(*zip(*known, strict=True), label=name, marker="o" if len(known) <= 40 else None, markersize=3)
    if trend is not None:
        axes.axvline(trend.best, color="0.6", linewidth=1, linestyle=(0, (4, 3)), label=f"best: {trend.best}")
    axes.set_xlabel("iteration")
    axes.set_title("loss", loc="left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    with written_aside(path) as aside:
        figure.savefig(aside, format="png", dpi=120, metadata={"Software": None})


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
