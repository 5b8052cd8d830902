"""The command line of a recipe: an experiment file, a run folder, and overrides of the file's values."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .status import recipe_status

if TYPE_CHECKING:
    from ..pipelines.experiment import Experiment
    from ..training.run import Run


def run_recipe(
    about: str, train: Callable[[Experiment, Path], Run], modes: Sequence[str], argv: Sequence[str] | None = None
) -> int:
    """Train the experiment that the command line names, and return the exit status.

    Args:
        about: The recipe's help.
        train: Trains an experiment in a run folder.
        modes: The modes that this recipe trains in.
        argv: The arguments of the command line; None takes those of this process.
    """
    values = _parser(about).parse_args(argv)
    return recipe_status(lambda: _train(train, modes, values.experiment, values.out, values.override))


def _train(
    train: Callable[[Experiment, Path], Run], modes: Sequence[str], file: Path, out: Path, overrides: Sequence[str]
) -> int:
    from ..pipelines.experiment_reading import read_experiment
    from ..runtime.process_group import is_main_process, synchronized

    with synchronized():
        experiment = read_experiment(file, overrides)
        mode = experiment.training.mode
        if mode not in modes:
            recipe = "recipes.pretrain" if mode == "pretrain" else "recipes.finetune"
            raise ConfigError(
                f"{file} has mode {mode!r}, but this recipe trains in mode {' or '.join(modes)}. Use {recipe}, or change "
                "training.mode."
            )
    run = train(experiment, out)
    if is_main_process():
        print(f"Wrote {run.best}.")
    return 0


def _parser(about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("experiment", metavar="EXPERIMENT", type=Path, help="YAML file, such as those in recipes/conf")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    changes = "changes to the file: section.key=value, one or more"
    parser.add_argument("--override", nargs="+", default=[], metavar="KEY=VALUE", help=changes)
    return parser
