"""The steps of the study other than training; `recipes/Snakefile` calls them, each for one file of the study::

    python -m recipes.study data bach10 --study study/small --size small
    python -m recipes.study score bach10-musdb-none-whole-0 --study study/small --size small
    python -m recipes.study example bach10 --study study/small --size small
    python -m recipes.study report --study study/small --size small
    python -m recipes.study jobs --study study/small --size small

``report`` also works on an unfinished study and says what is missing. ``jobs`` lists all jobs, the data set of each and
whether it is there, and the estimated time.
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
from nussl_transfer.pipelines.experiment import Experiment, open_stores
from nussl_transfer.runtime.files import write_json
from nussl_transfer.store.store import Store
from recipes.study.grid import Grid
from recipes.study.jobs import CEILINGS, jobs_table, left_to_do
from recipes.study.plan import SCRATCH, read_study
from recipes.study.scores import ORACLE, read_scores, write_scores
from recipes.study.study_file import describe_data, write_plan

CONF = Path(__file__).parents[1] / "conf"


def make_data(grid: Grid, name: str) -> None:
    """Prepare the stores of a pretraining or a downstream set, and list the excerpts of its test tracks.

    Args:
        grid: The study.
        name: Name of a pretraining set, or of a downstream set with its fold.
    """
    item = grid.data_of(name)
    experiment = grid.experiment(item)
    stores = open_stores(experiment, experiment.network.sample_rate)
    if name in grid.tests:
        test, wanted = stores[0].select(split="test"), experiment.test
        excerpts = make_excerpts(test, experiment.data.excerpt_seconds, wanted.excerpts, coherent=wanted.coherent)
        write_excerpts(excerpt_list(grid, name), excerpts, test.sample_rate)
    write_json(grid.folder / "data" / f"{name}.json", describe_data(grid, item, stores))


def make_score(grid: Grid, name: str) -> None:
    """Score a model, ``<set>-mixture`` or ``<set>-oracle`` on the excerpts of its set."""
    tests, _, ceiling = name.rpartition("-")
    model = grid.models.get(name)
    if model is None and (ceiling not in CEILINGS or tests not in grid.tests):
        raise ConfigError(f"There is no model {name!r} in the study. One that it has is {next(iter(grid.models))!r}.")
    tests = tests if model is None else model.tests
    experiment, store = test_store(grid, tests)
    source = ceiling if model is None else grid.folder / "models" / f"{name}.pth"
    more = {"stft_params": experiment.network.stft_params} if source == ORACLE else {}
    out = grid.folder / "scores" / f"{name}.json"
    write_scores(source, name, store, excerpt_list(grid, tests), out, device=experiment.training.device, **more)


def make_example(grid: Grid, name: str) -> None:
    """Write one excerpt of a downstream set, separated by the baseline and by the best fine-tuned model.

    The models are those of the first seed; the best is the one with the best mean of those fine-tuned whole. The excerpt is
    the median one: that model separates half of all excerpts better, and half worse.
    """
    of_set = [model for model in grid.models.values() if (model.tests, model.seed) == (name, grid.size.seeds[0])]
    baseline = next(model for model in of_set if model.mode == SCRATCH)
    scores = {model: scores_of(grid, model.name) for model in of_set if model.mode == "whole"}
    best = max(scores, key=lambda model: np.nanmean(scores[model]))
    _, store = test_store(grid, name)
    # Excerpts without a score are NaN, which is sorted last.
    order = np.argsort(scores[best], kind="stable")[: np.isfinite(scores[best]).sum()]
    excerpt = read_excerpts(excerpt_list(grid, name), store)[order[len(order) // 2]]
    models = {"scratch": baseline, "fine-tuned": best}
    checkpoints = {shown: grid.folder / "models" / f"{model.name}.pth" for shown, model in models.items()}
    write_example(checkpoints, store, excerpt, grid.folder / "examples" / name)


def make_report(grid: Grid, name: None) -> None:
    """Analyse the scores that are there, and make the tables, the figures, the answers and the page."""
    # Import these here, so that the other steps do not import matplotlib.
    from recipes.study.analysis import analyse
    from recipes.study.report.page import write_study_report

    write_plan(grid, grid.folder)
    analyse(grid.folder)
    print(f"Wrote {write_study_report(grid.folder, grid.folder / 'report')}.")


def show_jobs(grid: Grid, name: None) -> None:
    """Print the data sets and the jobs of the study."""
    print(f"{jobs_table(grid)}\n\n{left_to_do(grid)}")


def test_store(grid: Grid, name: str) -> tuple[Experiment, Store]:
    """Return the experiment of a set's baseline, and the store of the tracks that all models of the set are tested on."""
    experiment = grid.experiment(grid.tests[name])
    return experiment, open_stores(experiment, experiment.network.sample_rate)[0].select(split="test")


def excerpt_list(grid: Grid, name: str) -> Path:
    """Return the path of the list of excerpts of a set."""
    return grid.folder / "excerpts" / f"{name}.jams"


def scores_of(grid: Grid, name: str) -> np.ndarray:
    """Return the mean over the sources of each excerpt [excerpts], in dB; NaN if it has no score."""
    return read_scores(grid.folder / "scores" / f"{name}.json", name).of_excerpts


STEPS = {"data": make_data, "score": make_score, "example": make_example, "report": make_report, "jobs": show_jobs}
WITHOUT_NAME = ("report", "jobs")


def run(argv: list[str] | None = None) -> int:
    """Run the step that the command line names; return the exit status."""
    parser = ArgumentParser(
        prog="python -m recipes.study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=list(STEPS))
    parser.add_argument("name", type=str, nargs="?", help="name of a set or a model; `report` and `jobs` take none")
    parser.add_argument("--study", type=str, required=True, help="folder of the study")
    parser.add_argument("--size", type=str, required=True, help="paper, medium, small, smoke, or another size of the plan")
    parser.add_argument("--plan", type=str, default=str(CONF / "study.yml"), help="YAML file of the plan")
    parser.add_argument("--folders", type=dict[str, str], default={}, help="folders of data sets, by name")
    parser.add_argument("--sets", type=str, default="", help="sets to run, with commas between; all by default")
    given = parser.parse_args(argv)

    def work() -> None:
        if (given.name is None) != (given.step in WITHOUT_NAME):
            takes = "no name" if given.step in WITHOUT_NAME else "one name"
            raise ConfigError(f"`{given.step}` takes {takes}: got {given.name!r}.")
        sets = [name.strip() for name in given.sets.split(",") if name.strip()]
        grid = Grid(read_study(given.plan), given.size, given.study, CONF, given.folders, sets)
        STEPS[given.step](grid, given.name)

    return recipe_status(work)


if __name__ == "__main__":
    sys.exit(run())
