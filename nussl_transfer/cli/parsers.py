"""Build the parser of a command from the standard library's argparse.

argparse needs 0.03 s of CPU, jsonargparse 0.27 s; and argparse takes options as users write them, ``--batch-size 8``.
An option that the user does not give is absent from the result, so every default comes from the function or the
dataclass that takes the option. A test compares the defaults that the help shows with them.
"""

from __future__ import annotations

import argparse
import difflib
import math
import shutil
import typing
from collections.abc import Callable, Iterable, Sequence

from ..errors import ConfigError

PROGRAM = "nussl-transfer"
# The largest seed that torch takes, and the largest length of a Python sequence.
LARGEST = 2**63 - 1


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ConfigError, and suggest the nearest option.

    Args:
        command: The name of the command.
        usage: The arguments, as the first line of the help shows them after the command.
        about: What the command does; the first line is its summary.
        example: An example, without the program's name.
    """

    def __init__(self, command: str, usage: str, about: str, example: str):
        super().__init__(
            prog=f"{PROGRAM} {command}",
            usage=f"{PROGRAM} {command} {usage}",
            description=about,
            epilog=f"example:\n  {PROGRAM} {example}",
            formatter_class=_Formatter,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )

    @property
    def summary(self) -> str:
        """The first line of what the command does."""
        return (self.description or "").partition("\n")[0]

    def parse(self, words: Sequence[str]) -> dict[str, typing.Any]:
        """Return the values that the user gives, by name.

        Raises:
            ConfigError: An argument is wrong, or a required one is missing.
        """
        values, unknown = self.parse_known_intermixed_args(list(words))
        if unknown:
            word = unknown[0].partition("=")[0]
            known = [name for action in self._actions for name in action.option_strings]
            if word.startswith("-"):
                self.error(f"there is no option {word}.{nearest(word, known)}")
            self.error(f"{unknown[0]!r} is one word too many.")
        return vars(values)

    def error(self, message: str) -> typing.NoReturn:
        """Raise ConfigError with the message, and point to the help."""
        message = message[:1].upper() + message[1:]
        message = message if message.endswith((".", "?")) else f"{message}."
        raise ConfigError(f"{message} See `{self.prog} --help`.")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """argparse's layout, with one line for most options in a terminal of 80 columns."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=27, width=min(shutil.get_terminal_size().columns, 100) - 2)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a question that suggests the most similar known name; '' if none is similar.

    >>> nearest("--iteration", ["--iterations", "--ignore"])
    ' Did you mean --iterations?'
    """
    found = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {found[0]}?" if found else ""


def integer(low: int = 0, high: int = LARGEST) -> Callable[[str], int]:
    """Return a type for `add_argument`: a whole number between two bounds, both allowed.

    >>> integer(1)("8")
    8
    """

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            bounds = f"of {low} or more" if high == LARGEST else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"expected a whole number {bounds}, got {quoted(text)}")
        return value

    return parse


def number(low: float = 0.0, high: float = math.inf, *, above: bool = False, below: bool = False) -> Callable[[str], float]:
    """Return a type for `add_argument`: a finite number between two bounds.

    Args:
        low: The lower bound.
        high: The upper bound.
        above: The number must lie above the lower bound; otherwise the bound itself is allowed.
        below: The number must lie below the upper bound; otherwise the bound itself is allowed.

    >>> number(0, above=True)("0.5")
    0.5
    """

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value <= high) or (above and value == low) or (below and value == high):
            lower = f"above {low:g}" if above else f"of {low:g} or more"
            upper = "" if high == math.inf else f" and below {high:g}" if below else f" and at most {high:g}"
            raise argparse.ArgumentTypeError(f"expected a number {lower}{upper}, got {quoted(text)}")
        return value

    return parse


def quoted(text: str) -> str:
    """Return an argument in quotes, shortened, because a user may paste a whole file."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
