"""Write and read ``study.json``, which describes a study, and describe its data sets, as measured in their stores."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nussl_transfer.errors import DataError
from nussl_transfer.runtime.files import read_json, write_json

if TYPE_CHECKING:
    from nussl_transfer.store.store import Store

    from .grid import Body, Grid, Model

LOGGER = logging.getLogger(__name__)
FORMAT = 1
_PLAN = ("size", "threshold", "pretrainings", "conditions", "downstreams", "models")
_MODEL = ("name", "downstream", "pretraining", "condition", "mode", "seed", "fold")


def describe_data(grid: Grid, item: Body | Model, stores: Sequence[Store]) -> dict:
    """Return the name, the sources and the minutes of the data of a body or a model, for Table 1.

    Training minutes are those of all tracks that are not test tracks, validation included.
    """
    minutes = {"train": 0.0, "test": 0.0}
    for store in stores:
        for track in store.tracks:
            minutes["test" if track.split == "test" else "train"] += track.frames / store.sample_rate / 60
    pretraining = item.pretraining
    return {
        "name": grid.downstreams[item.downstream].shown if hasattr(item, "downstream") else grid.pretrainings[pretraining],
        "sources": sorted({label for store in stores for label in store.labels}),
        "train_minutes": round(minutes["train"], 2),
        "test_minutes": round(minutes["test"], 2),
        "stand_in": bool(grid.corpora_of(item)),
    }


def write_plan(grid: Grid, folder: Path) -> dict:
    """Write ``study.json`` and return its contents; downstream sets without data are left out, which is logged.

    Raises:
        DataError: No downstream set has data.
    """
    experiment = grid.experiment(next(iter(grid.models.values())))
    data = {name: _data(grid, folder, name) for name in [*grid.pretrainings, *grid.downstreams]}
    started = {name: about.shown for name, about in grid.downstreams.items() if data[name]}
    if not started:
        raise DataError(f"The study in {folder} has no data of a downstream set yet. Start it with `make study`.")
    if absent := [name for name, found in data.items() if not found]:
        LOGGER.warning("Left out of %s, because they have no data yet: %s", folder / "study.json", ", ".join(absent))
    plan = {
        "format": FORMAT,
        "size": grid.size_name,
        "command": _command(grid),
        "seeds": list(grid.size.seeds),
        "body_seeds": list(grid.size.body_seeds or grid.size.seeds),
        "threshold": experiment.test.significance,
        "bf16": bool(experiment.training.bf16),
        "left_out": grid.left_out,
        "pretrainings": grid.pretrainings,
        "conditions": {name: condition.shown for name, condition in grid.conditions.items()},
        "downstreams": started,
        "modes": list(grid.modes),
        "data": {name: found for name, found in data.items() if found},
        "settings": _settings(grid),
        "models": [_describe_model(grid, model) for model in grid.models.values() if model.downstream in started],
    }
    write_json(folder / "study.json", plan)
    return plan


def read_plan(folder: Path) -> dict:
    """Read ``study.json``.

    Raises:
        DataError: The file is missing, lacks a key, or has a model twice.
    """
    path = folder / "study.json"
    plan = read_json(path, _PLAN, "Write it again with `python -m recipes.study report`.", version=FORMAT)
    seen: set[tuple] = set()
    for model in plan["models"]:
        lacking = [key for key in _MODEL if key not in model]
        if lacking:
            raise DataError(f"{path} is wrong: a model lacks {', '.join(lacking)}. Write it again.")
        both = {(model["name"],), tuple(model[key] for key in _MODEL[1:])}
        if both & seen:
            raise DataError(f"{path} is wrong: {model['name']!r}, or another model of the same kind, is there twice.")
        seen |= both
    return plan


def _command(grid: Grid) -> str:
    sets = [*grid.pretrainings, *grid.downstreams]
    return f"make study SIZE={grid.size_name}" + (f" SETS={','.join(sets)}" if grid.left_out else "")


def _describe_model(grid: Grid, model: Model) -> dict:
    names = ("name", "downstream", "pretraining", "condition", "mode", "seed", "fold")
    return {**{name: getattr(model, name) for name in names}, "iterations": grid.iterations(model)}


def _data(grid: Grid, folder: Path, name: str) -> dict | None:
    """Return the description of a set; with folds, the first one's training minutes and all test minutes."""
    parts = [f"{name}.{fold}" if fold else name for fold in grid.folds.get(name, [None])]
    paths = [folder / "data" / f"{part}.json" for part in parts]
    if not all(path.is_file() for path in paths):
        return None
    found = [read_json(path, ("name", "sources", "train_minutes", "test_minutes")) for path in paths]
    return {**found[0], "test_minutes": round(sum(part["test_minutes"] for part in found), 2)}


def _settings(grid: Grid) -> list[list[str]]:
    """Return the settings that the page shows, as pairs of text."""
    models = list(grid.models.values())
    experiment = grid.experiment(models[0])
    network, training, data = experiment.network, experiment.training, experiment.data
    iterations = {"pretraining": [grid.iterations(body) for body in grid.bodies.values()]}
    for words, modes in (
        ("fine-tuning", ("whole", "mask")),
        ("from scratch", ("scratch",)),
        ("from scratch (equal)", ("scratch_equal",)),
    ):
        iterations[words] = [grid.iterations(model) for model in models if model.mode in modes]
    counts = [f"{words} {max(numbers):,}" for words, numbers in iterations.items() if numbers]
    return [
        ["Network", f"ChimeraNet, {network.num_layers} bidirectional LSTM layers of {network.hidden_size} units"],
        ["STFT", f"{network.window_length} samples, hop {network.hop_length}, at {network.sample_rate} Hz"],
        ["Iterations", ", ".join(counts)],
        ["Batch", f"{training.batch_size} mixtures of {data.excerpt_seconds:g} s"],
        ["Arithmetic in training", "bfloat16 (mixed precision)" if training.bf16 else "float32"],
        ["Deep clustering loss", _frames(training.frame_step)],
        ["Excerpts scored", f"{experiment.test.excerpts:,} of {data.excerpt_seconds:g} s for each set"],
        ["Seeds", _seeds(grid)],
    ]


def _seeds(grid: Grid) -> str:
    seeds = ", ".join(map(str, grid.size.seeds))
    bodies = ", ".join(map(str, grid.size.body_seeds or ()))
    return f"{seeds}; of the pretrained bodies {bodies}" if bodies and bodies != seeds else seeds


def _frames(step: int) -> str:
    return "at every frame" if step == 1 else f"at one frame in {step}"
