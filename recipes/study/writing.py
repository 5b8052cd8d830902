"""What a study says of itself: its data, as measured in the stores, and ``study.json``, which the analysis reads."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from nussl_transfer.errors import DataError
from nussl_transfer.runtime.files import write_json
from nussl_transfer.store.store import Store

from .grid import Body, Grid, Model

LOGGER = logging.getLogger(__name__)
FORMAT = 1


def describe_data(grid: Grid, item: Body | Model, stores: Sequence[Store]) -> dict:
    """Returns the name, the sources and the minutes of what a body or a model is trained on, for Table 1.

    Minutes to train on are those of all tracks that are not for the test, the ones for validation among them.
    """
    minutes = {"train": 0.0, "test": 0.0}
    for store in stores:
        for track in store.tracks:
            minutes["test" if track.split == "test" else "train"] += track.frames / store.sample_rate / 60
    is_body = isinstance(item, Body)
    return {
        "name": grid.pretrainings[item.pretraining] if is_body else grid.downstreams[item.downstream].shown,
        "sources": sorted({label for store in stores for label in store.labels}),
        "train_minutes": round(minutes["train"], 2),
        "test_minutes": round(minutes["test"], 2),
        "stand_in": not is_stated(grid, item) and bool(set(grid.sets_of(item)) & set(grid.size.corpora)),
    }


def is_stated(grid: Grid, item: Body | Model) -> bool:
    """Returns whether a downstream set has a folder of its own, which no stand-in takes the place of."""
    return isinstance(item, Model) and item.downstream in grid.folders


def write_plan(grid: Grid, folder: Path) -> dict:
    """Writes ``study.json``, and returns what it holds; a downstream set that was not begun is left out, which is logged.

    Raises:
        DataError: No set was begun.
    """
    experiment = grid.experiment(next(iter(grid.models.values())))
    data = {name: _data(grid, folder, name) for name in [*grid.pretrainings, *grid.downstreams]}
    begun = {name: about.shown for name, about in grid.downstreams.items() if data[name]}
    if not begun:
        raise DataError(f"A study in {folder} was to be described: it has the data of no set to fine-tune on. Begin it.")
    if absent := [name for name, found in data.items() if not found]:
        LOGGER.warning("Not begun, so left out of %s: %s", folder / "study.json", ", ".join(absent))
    plan = {
        "format": FORMAT,
        "size": grid.size_name,
        "command": f"make study SIZE={grid.size_name}",
        "seeds": list(grid.size.seeds),
        "threshold": experiment.test.significance,
        "pretrainings": grid.pretrainings,
        "conditions": {name: condition.shown for name, condition in grid.conditions.items()},
        "downstreams": begun,
        "modes": list(grid.modes),
        "data": {name: found for name, found in data.items() if found},
        "settings": _settings(grid),
        "models": [_plain(grid, model) for model in grid.models.values() if model.downstream in begun],
    }
    write_json(folder / "study.json", plan)
    return plan


def _plain(grid: Grid, model: Model) -> dict:
    steps = grid.experiment(model).training.iterations
    names = ("name", "downstream", "pretraining", "condition", "mode", "seed", "fold")
    kind = "scratch" if model.mode == "scratch" else "finetune"
    iterations = steps if isinstance(steps, int) else getattr(steps, kind)
    return {**{name: getattr(model, name) for name in names}, "iterations": iterations}


def _data(grid: Grid, folder: Path, name: str) -> dict | None:
    """Returns what a set's file says; of one with folds, the first's minutes to train on and all that is tested on."""
    parts = [f"{name}.{fold}" if fold else name for fold in grid.folds.get(name, [None])]
    paths = [folder / "data" / f"{part}.json" for part in parts]
    if not all(path.is_file() for path in paths):
        return None
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return {**found[0], "test_minutes": round(sum(part["test_minutes"] for part in found), 2)}


def _settings(grid: Grid) -> list[list[str]]:
    """Returns what to show of how the study was done, as pairs of text."""
    experiment = grid.experiment(next(iter(grid.models.values())))
    network, training, data = experiment.network, experiment.training, experiment.data
    steps = training.iterations
    counts = (steps,) * 3 if isinstance(steps, int) else (steps.pretrain, steps.finetune, steps.scratch)
    return [
        ["Network", f"ChimeraNet, {network.num_layers} bidirectional LSTM layers of {network.hidden_size} units"],
        ["STFT", f"{network.window_length} samples, hop {network.hop_length}, at {network.sample_rate} Hz"],
        ["Iterations", "pretraining {:,}, fine-tuning {:,}, from scratch {:,}".format(*counts)],
        ["Batch", f"{training.batch_size} mixtures of {data.excerpt_seconds:g} s"],
        ["Deep clustering loss", _frames(training.frame_step)],
        ["Excerpts scored", f"{experiment.test.excerpts:,} of {data.excerpt_seconds:g} s for each set"],
        ["Seeds", ", ".join(map(str, grid.size.seeds))],
    ]


def _frames(step: int) -> str:
    return "at every frame" if step == 1 else f"at one frame in {step}"
