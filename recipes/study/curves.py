"""Curves of a study: test SI-SDR as training goes on, and when it is as good as the baseline ever was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .cells import SCRATCH, Kind, runs_of_kinds
from .results import read_curve


def analyse_curves(folder: Path, models: Sequence[dict]) -> list[dict]:
    """Returns the mean curve of each kind of model that has any, over seeds and folds.

    Args:
        folder: Of the study.
        models: Of ``study.json``.

    Raises:
        DataError: A curve is damaged.
    """
    paths = {model["name"]: folder / "curves" / f"{model['name']}.json" for model in models}
    measured = {name: read_curve(path) for name, path in paths.items() if path.exists()}
    measured = {name: points for name, points in measured.items() if points}
    kinds = runs_of_kinds(models, measured)
    found = []
    for kind, seeds in kinds.items():
        folds = list(next(iter(seeds.values())))
        points = _mean([measured[name] for of_seed in seeds.values() for name in of_seed.values()])
        if not points:
            continue
        baseline = kinds.get(Kind(kind.downstream, None, None, SCRATCH), {})
        comparable = [of_seed for of_seed in baseline.values() if set(folds) <= set(of_seed)]
        of_baseline = _mean([measured[of_seed[fold]] for of_seed in comparable for fold in folds])
        entry = {"points": [list(point) for point in points.items()], "best": max(points.values())}
        found.append({**kind._asdict(), **entry, "reaches_baseline_at": _reached(points, of_baseline)})
    return found


def _mean(curves: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Returns the mean at each iteration that all curves have."""
    common = set.intersection(*map(set, curves)) if curves else set()
    return {iteration: sum(curve[iteration] for curve in curves) / len(curves) for iteration in sorted(common)}


def _reached(points: Mapping[int, float], baseline: Mapping[int, float]) -> int | None:
    """Returns the first iteration that is as good as the best of the baseline; None if there is none."""
    if not baseline:
        return None
    best = max(baseline.values())
    return next((iteration for iteration, value in points.items() if value >= best), None)
