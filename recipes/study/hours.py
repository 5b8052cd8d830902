"""How much of a study is left to do, and how long that takes, judged by what is done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .grid import Body, Grid, Model

# What runs that were not timed are judged by, nearest first.
_LIKE = {
    "pretrain": ("pretrain", "scratch", "whole"),
    "scratch": ("scratch", "whole", "pretrain"),
    "whole": ("whole", "scratch", "pretrain"),
    "mask": ("mask", "whole", "scratch", "pretrain"),
}


def left_to_do(grid: Grid) -> str:
    """Returns a sentence: how many bodies, models and scores are not there yet, and an estimate of the hours."""
    bodies = [body for body in grid.bodies.values() if not _file(grid, body).is_file()]
    models = [model for model in grid.models.values() if not _file(grid, model).is_file()]
    scores = [name for name in grid.models if not (grid.folder / "scores" / f"{name}.json").is_file()]
    if not (bodies or models or scores):
        return f"The study in {grid.folder} is done: {len(grid.bodies)} bodies, {len(grid.models)} models, all scored."
    counts = f"{len(bodies)} of {len(grid.bodies)} bodies, {len(models)} of {len(grid.models)} models"
    sentence = f"To do in {grid.folder}: {counts}, {len(scores)} of {len(grid.models)} scores"
    seconds = _seconds(grid, bodies, models, len(scores))
    if seconds is None:
        return f"{sentence}; how long it takes can be told when the first run is done."
    return f"{sentence}: about {seconds / 3600:.1f} hours of jobs, judged by those that are done."


def _seconds(grid: Grid, bodies: Sequence[Body], models: Sequence[Model], scores: int) -> float | None:
    rates = _rates(grid)
    if not rates:
        return None
    total = 0.0
    for item in [*bodies, *models]:
        kind = _kind(item)
        rate = next((rates[like] for like in _LIKE[kind] if like in rates), None)
        if rate is None:
            return None
        total += rate * _iterations(grid, item)
    return total + scores * _mean(_scored(grid))


def _rates(grid: Grid) -> dict[str, float]:
    """Returns the seconds that an iteration of each kind took, in the runs that were begun."""
    spent: dict[str, list[float]] = {}
    for item in [*grid.bodies.values(), *grid.models.values()]:
        try:
            points = json.loads((grid.folder / "runs" / item.name / "curve.json").read_text(encoding="utf-8"))["points"]
            iterations, seconds = points[-1]["iteration"], points[-1]["seconds"]
        except (OSError, ValueError, LookupError):
            continue
        if iterations:
            spent.setdefault(_kind(item), []).append(seconds / iterations)
    return {kind: _mean(rates) for kind, rates in spent.items()}


def _scored(grid: Grid) -> list[float]:
    found = []
    for name in grid.models:
        path = grid.folder / "scores" / f"{name}.json"
        try:
            found.append(float(json.loads(path.read_text(encoding="utf-8"))["seconds"]))
        except (OSError, ValueError, LookupError):
            continue
    return found


def _iterations(grid: Grid, item: Body | Model) -> int:
    steps = grid.experiment(item).training.iterations
    kind = {"pretrain": "pretrain", "scratch": "scratch"}.get(_kind(item), "finetune")
    return steps if isinstance(steps, int) else getattr(steps, kind)


def _kind(item: Body | Model) -> str:
    return "pretrain" if isinstance(item, Body) else item.mode


def _file(grid: Grid, item: Body | Model) -> Path:
    return grid.folder / ("bodies" if isinstance(item, Body) else "models") / f"{item.name}.pth"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
