"""Stage 11, the words of a recipe: an experiment's file, a folder for the run, and what is different this time; and how
a recipe ends.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from ..errors import ConfigError, TransferError
from . import messages_shown


def run_recipe(about: str, modes: Sequence[str], argv: Sequence[str] | None = None) -> int:
    """Conducts the experiment that is named on the command line, and returns the exit status.

    Args:
        about: What the recipe says of itself; its first word is what is asked for, and a command that does it follows.
        modes: Modes that this recipe trains in.
        argv: The words after the program's name; those of this process when not given.
    """
    values = _parser(about).parse_args(argv)
    return status_of(lambda: _conduct(values.experiment, values.out, values.override, modes))


def status_of(work: Callable[[], object]) -> int:
    """Does a recipe's work, the package's messages shown; errors become a message and an exit status.

    Args:
        work: What it returns does not matter, unless it is a number: that is the status.
    """
    from ..runtime.process_group import RemoteRankError, is_main_process, join_process_group

    try:
        with join_process_group(), messages_shown(is_main_process()):
            result = work()
            return result if isinstance(result, int) else 0
    except RemoteRankError:
        return 2
    except (TransferError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        if not stopped.args:  # a run in training has said itself where it stopped
            print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130


def _conduct(experiment: Path, out: Path, overrides: Sequence[str], modes: Sequence[str]) -> int:
    from ..pipelines.experiment import conduct
    from ..pipelines.experiment_reading import read_experiment
    from ..runtime.process_group import is_main_process, synchronized

    with synchronized():
        asked = read_experiment(experiment, overrides)
        mode = asked.training.mode
        if mode not in modes:
            recipe = "recipes.pretrain" if mode == "pretrain" else "recipes.finetune"
            raise ConfigError(
                f"{experiment} trains in mode {mode!r}: this recipe is for {' and '.join(modes)}. Take {recipe}, or set "
                "training.mode."
            )
    run = conduct(asked, out)
    if is_main_process():
        print(f"Wrote {run.best}.")
    return 0


def _parser(about: str) -> ArgumentParser:
    parser = ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("experiment", type=Path, help="YAML file, such as those in recipes/conf")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    changes = "what is different from the file: section.key=value, several if need be"
    parser.add_argument("--override", type=str, nargs="+", default=[], metavar="KEY=VALUE", help=changes)
    return parser
