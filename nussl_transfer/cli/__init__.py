"""The command ``nussl-transfer``: parse the command line, run one function, return an exit status.

    *_command.py, *_commands.py   the options of each command, and its function
    parsers.py                    the parser class, and checks of numbers
    options.py                    options that several commands share
    words.py                      options that hold several values, and short names of models
    app/                          the page of `app`
    status.py                     errors and signals as messages and an exit status
    recipe.py                     the command line of recipes/pretrain.py and recipes/finetune.py

Help, versions and wrong options import neither torch nor nussl. These are imported when a command runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import metadata

from ..errors import ConfigError
from .app_command import app, app_parser
from .audio_commands import separate, separate_parser
from .data_commands import check, check_parser, fetch, fetch_parser, prepare, prepare_parser
from .finetune_command import finetune, finetune_parser
from .model_commands import evaluate, evaluate_parser, models, models_parser, publish, publish_parser
from .parsers import PROGRAM, Parser, nearest
from .status import exit_status, messages_shown

COMMANDS: dict[str, tuple[Callable[[], Parser], Callable[..., int | None]]] = {
    "fetch": (fetch_parser, fetch),
    "check": (check_parser, check),
    "prepare": (prepare_parser, prepare),
    "finetune": (finetune_parser, finetune),
    "evaluate": (evaluate_parser, evaluate),
    "separate": (separate_parser, separate),
    "publish": (publish_parser, publish),
    "models": (models_parser, models),
    "app": (app_parser, app),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Args:
        argv: The arguments after the program's name; None takes those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: run(words), PROGRAM)


def run(words: Sequence[str]) -> int | None:
    """Run a command line, and return its status."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] == "--version":
        print(versions())
        return 0
    if words[0] not in COMMANDS:
        known = ", ".join(COMMANDS)
        raise ConfigError(f"There is no command {words[0]!r}.{nearest(words[0], COMMANDS)} The commands are {known}.")
    parser, command = COMMANDS[words[0]]
    given = parser().parse(words[1:])
    with messages_shown():
        return command(**given)


def overview() -> str:
    """Return the help of the whole program."""
    summaries = [f"  {name:<10} {parser().summary}" for name, (parser, _) in COMMANDS.items()]
    return "\n".join([
        f"usage: {PROGRAM} COMMAND ...",
        "",
        "A folder of stems goes in, a nussl checkpoint comes out.",
        "",
        *summaries,
        "",
        f"{PROGRAM} COMMAND --help shows its options; --version shows the versions.",
        "",
        "example:",
        f"  {PROGRAM} finetune my-stems --out run",
        f"  {PROGRAM} separate song.wav --model run --out separated",
    ])  # fmt: skip


def versions() -> str:
    """Return the versions that a bug report needs."""
    from .. import __version__

    found = [f"{name} {metadata.version(name)}" for name in ("nussl", "torch", "numpy")]
    return f"{PROGRAM} {__version__} ({', '.join(found)}, Python {sys.version.split()[0]})"
