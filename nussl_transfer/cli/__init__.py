"""Stage 11, the command ``nussl-transfer``: words become one call, errors a message and a status.

    *_commands.py, training_command.py    what each command does, and, by its signature, takes
    parsers.py                            signatures become options and help
    words.py                              lists in one word
    signals.py                            SIGTERM
    recipe.py                             the words of recipes/pretrain.py and finetune.py

Status 0: done, or training was stopped by SIGTERM, and has saved all that it did; 1: `check` found what must be
mended, or `separate` could not separate every file; 2: what was asked for cannot be; 130: stopped by Ctrl-C; 143:
stopped by SIGTERM.
Nothing of the package but these modules is imported before a command runs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata

from ..errors import ConfigError, TransferError
from ..runtime.signals import Terminated
from .audio_commands import separate
from .data_commands import check, fetch, prepare
from .model_commands import evaluate, models, publish
from .parsers import PROGRAM, nearest, parser_of, summary_of
from .training_command import finetune

COMMANDS: dict[str, Callable[..., int | None]] = {
    command.__name__: command for command in (fetch, check, prepare, finetune, evaluate, separate, publish, models)
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status.

    Args:
        argv: The words after the program's name; those of this process when not given.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if not words or words[0] in ("-h", "--help", "help"):
            print(overview())
            return 0
        if words[0] == "--version":
            print(versions())
            return 0
        command = find_command(words[0])
        values = parser_of(command).parse_args(words[1:])
        with messages_shown():
            return command(**vars(values)) or 0
    except (TransferError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        if not stopped.args:  # a run in training has said itself where it stopped
            print(
                f"\n{PROGRAM}: stopped; no file is half written. Give the same command again: prepare and "
                "finetune go on from what is finished, the others start anew.",
                file=sys.stderr,
            )
        return 143 if isinstance(stopped, Terminated) else 130


def overview() -> str:
    """Returns the help of the program as a whole."""
    summaries = [f"  {name:<10} {summary_of(command)}" for name, command in COMMANDS.items()]
    return "\n".join([
        f"usage: {PROGRAM} COMMAND ...",
        "",
        "A folder of stems goes in, a nussl checkpoint comes out.",
        "",
        *summaries,
        "",
        f"{PROGRAM} COMMAND --help says more; --version, what it runs on.",
        "",
        "example:",
        f"  {PROGRAM} finetune my-stems --out run",
        f"  {PROGRAM} separate song.wav --model run --out separated",
    ])  # fmt: skip


def versions() -> str:
    """Returns the versions that a report of a defect needs."""
    from .. import __version__

    found = [f"{name} {metadata.version(name)}" for name in ("nussl", "torch", "numpy")]
    return f"{PROGRAM} {__version__} ({', '.join(found)}, Python {sys.version.split()[0]})"


def find_command(word: str) -> Callable[..., int | None]:
    """Returns the function of a command.

    Raises:
        ConfigError: There is no such command.
    """
    if word not in COMMANDS:
        known = ", ".join(COMMANDS)
        raise ConfigError(f"There is no command {word!r}.{nearest(word, COMMANDS)} The commands are {known}.")
    return COMMANDS[word]


@contextmanager
def messages_shown(shown: bool = True) -> Iterator[None]:
    """Within the block, what the package decides on the way is told on the terminal; or is not told."""
    logger = logging.getLogger("nussl_transfer")
    handler = logging.StreamHandler(sys.stderr) if shown else logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    # ignite says that an exception, Ctrl-C among them, ends its run; `main` says it better.
    ignite, silence = logging.getLogger("ignite"), logging.NullHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    ignite.addHandler(silence)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        ignite.removeHandler(silence)
