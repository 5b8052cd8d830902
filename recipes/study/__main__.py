"""The parts of the study that are not training; `recipes/Snakefile` calls them, each for one file of the study::

    python -m recipes.study data bach10 --study study/small --size small
    python -m recipes.study score bach10-musdb-none-whole-0 --study study/small --size small
    python -m recipes.study example bach10 --study study/small --size small
    python -m recipes.study report --study study/small --size small

``report`` alone makes the tables, the figures and the page of what there is, finished or not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nussl_transfer  # noqa: F401  isort: skip  (it repairs nussl, so it comes before it)
import numpy as np
from jsonargparse import ArgumentParser

from nussl_transfer.cli.status import recipe_status
from nussl_transfer.errors import ConfigError
from nussl_transfer.evaluation.evaluate import write_example
from nussl_transfer.evaluation.excerpts import make_excerpts
from nussl_transfer.evaluation.jams import read_excerpts, write_excerpts
from nussl_transfer.evaluation.score import MIXTURE, ORACLE
from nussl_transfer.pipelines.experiment import open_stores
from nussl_transfer.pipelines.experiment_sections import Experiment
from nussl_transfer.runtime.files import write_json
from nussl_transfer.store.store import Store
from recipes.study.grid import Grid
from recipes.study.plan import read_study
from recipes.study.results import read_scores
from recipes.study.scores import write_scores
from recipes.study.writing import describe_data, write_plan

CONF = Path(__file__).parents[1] / "conf"


def make_data(grid: Grid, name: str) -> None:
    """Prepares the stores of a pretraining or a downstream set, and lists the excerpts of its test tracks.

    Args:
        grid: The study.
        name: Of a pretraining set, or of a downstream set, with its fold.
    """
    item = grid.tests.get(name) or next((body for body in grid.bodies.values() if body.pretraining == name), None)
    if item is None:
        known = ", ".join([*grid.tests, *grid.pretrainings])
        raise ConfigError(f"The data of {name!r} were asked for: the study has {known}.")
    experiment = grid.experiment(item)
    stores = open_stores(experiment, experiment.network.sample_rate)
    if name in grid.tests:
        test, wanted = stores[0].select(split="test"), experiment.test
        excerpts = make_excerpts(test, experiment.data.excerpt_seconds, wanted.excerpts, coherent=wanted.coherent)
        write_excerpts(excerpt_list(grid, name), excerpts, test.sample_rate)
    write_json(grid.folder / "data" / f"{name}.json", describe_data(grid, item, stores))


def make_score(grid: Grid, name: str) -> None:
    """Scores a model, or ``<set>-mixture`` or ``<set>-oracle``, on the excerpts of its set."""
    tests, _, what = name.rpartition("-")
    model = grid.models.get(name)
    if model is None and (what not in (MIXTURE, ORACLE) or tests not in grid.tests):
        one = next(iter(grid.models))
        raise ConfigError(f"The score of {name!r} was asked for: the study has no such model. One that it has is {one!r}.")
    tests = tests if model is None else model.tests
    experiment, store = tested(grid, tests)
    source = what if model is None else grid.folder / "models" / f"{name}.pth"
    more = {"stft_params": experiment.network.stft_params} if what == ORACLE else {}
    out = grid.folder / "scores" / f"{name}.json"
    write_scores(source, name, store, excerpt_list(grid, tests), out, device=experiment.training.device, **more)


def make_example(grid: Grid, name: str) -> None:
    """Writes what one excerpt of a downstream set sounds like, separated by a baseline and by a fine-tuned model.

    The models are those of the first seed: the baseline, and of those fine-tuned as a whole the one with the best mean.
    The excerpt is the one of the middle: half of all are separated better by that model, half worse.
    """
    of_set = [model for model in grid.models.values() if (model.tests, model.seed) == (name, grid.size.seeds[0])]
    scores = {model: scores_of(grid, model.name) for model in of_set if model.mode != "mask"}
    baseline = next(model for model in scores if model.mode == "scratch")
    best = max((model for model in scores if model is not baseline), key=lambda model: np.nanmean(scores[model]))
    _, store = tested(grid, name)
    order = np.argsort(scores[best], kind="stable")[: np.isfinite(scores[best]).sum()]  # where nothing sounds it is NaN
    excerpt = read_excerpts(excerpt_list(grid, name), store)[order[len(order) // 2]]
    models = {"scratch": baseline, "fine-tuned": best}
    checkpoints = {shown: grid.folder / "models" / f"{model.name}.pth" for shown, model in models.items()}
    write_example(checkpoints, store, excerpt, grid.folder / "examples" / name)


def make_report(grid: Grid, name: None) -> None:
    """Analyses the scores that there are, and makes the tables, the figures, the answers and the page."""
    # Not above: it draws, and the parts that do not should not wait for what draws.
    from recipes.study.analysis import analyse
    from recipes.study.report.write import write_study_report

    write_plan(grid, grid.folder)
    analyse(grid.folder)
    print(f"Wrote {write_study_report(grid.folder, grid.folder / 'report')}.")


def tested(grid: Grid, name: str) -> tuple[Experiment, Store]:
    """Returns the experiment of a set's baseline, and the tracks that all models of the set are tested on."""
    experiment = grid.experiment(grid.tests[name])
    return experiment, open_stores(experiment, experiment.network.sample_rate)[0].select(split="test")


def excerpt_list(grid: Grid, name: str) -> Path:
    """Returns the file of the excerpts of a set."""
    return grid.folder / "excerpts" / f"{name}.jams"


def scores_of(grid: Grid, name: str) -> np.ndarray:
    """Returns the mean over the sources of each excerpt [excerpts], in dB."""
    return read_scores(grid.folder / "scores" / f"{name}.json", name).of_excerpts


PARTS = {"data": make_data, "score": make_score, "example": make_example, "report": make_report}


def run(argv: list[str] | None = None) -> int:
    """Does the part that is named on the command line; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m recipes.study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("name", type=str, nargs="?", help="of a set or of a model; `report` takes none")
    parser.add_argument("--study", type=str, required=True, help="folder of the study")
    parser.add_argument("--size", type=str, required=True, help="paper, small, smoke, or another of the plan")
    parser.add_argument("--plan", type=str, default=str(CONF / "study.yml"), help="YAML file of the plan")
    parser.add_argument("--folders", type=dict[str, str], default={}, help="where data sets lie, by name")
    asked = parser.parse_args(argv)

    def work() -> None:
        if (asked.name is None) != (asked.part == "report"):
            raise ConfigError(f"`{asked.part}` with the name {asked.name!r} was asked for: all but `report` take one name.")
        PARTS[asked.part](Grid(read_study(asked.plan), asked.size, asked.study, CONF, asked.folders), asked.name)

    return recipe_status(work)


if __name__ == "__main__":
    sys.exit(run())
