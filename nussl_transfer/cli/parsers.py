"""Stage 11, options from signatures: jsonargparse checks the types, the docstring is the help.

A parameter that is not keyword-only becomes an argument, a list of several words. The others become options,
``batch_size`` as ``--batch-size`` and ``from_`` as ``--from``; one without default must be given.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path

import docstring_parser
from jsonargparse import ArgumentParser

from ..errors import ConfigError

PROGRAM = "nussl-transfer"
METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


def parser_of(command: Callable[..., int | None]) -> ArgumentParser:
    """Returns the parser of a command, made from its signature and its docstring."""
    about = docstring_parser.parse(command.__doc__)
    explained = {parameter.arg_name: parameter.description for parameter in about.params}
    hints = typing.get_type_hints(command)
    parameters = inspect.signature(command).parameters.values()
    parser = _Parser(
        prog=f"{PROGRAM} {command.__name__}",
        usage=_usage(command.__name__, parameters, hints),
        description="\n\n".join(filter(None, (about.short_description, about.long_description))),
        epilog=f"example:\n  {about.examples[0].description}",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    for parameter in parameters:
        text = explained[parameter.name] + _default(parameter)
        parser.add_argument(_name(parameter), help=text, **_settings(parameter, hints[parameter.name]))
    return parser


def summary_of(command: Callable[..., int | None]) -> str:
    """Returns the first line of a command's docstring."""
    return docstring_parser.parse(command.__doc__).short_description or ""


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns a question that suggests the known name most like a word; '' where none is.

    >>> nearest("--iteration", ["--iterations", "--ignore"])
    ' Did you mean --iterations?'
    """
    found = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {found[0]}?" if found else ""


def _name(parameter: inspect.Parameter) -> str:
    if parameter.kind is not parameter.KEYWORD_ONLY:
        return parameter.name
    return "--" + parameter.name.rstrip("_").replace("_", "-")


def _settings(parameter: inspect.Parameter, hint: object) -> dict:
    """Returns what `add_argument` has to know besides the name and the help."""
    if parameter.kind is not parameter.KEYWORD_ONLY:
        several = typing.get_origin(hint) is list
        if parameter.default is None:  # `str | None`: it may be left out
            return {"type": typing.get_args(hint)[0], "nargs": "?"}
        return {"type": typing.get_args(hint)[0], "nargs": "+"} if several else {"type": hint}
    settings: dict = {"dest": parameter.name}
    if hint is bool:
        return {**settings, "action": "store_true"}
    # `int | None` takes a number: nothing is what it is when it is not given.
    kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
    settings["type"] = kinds[0] if isinstance(hint, types.UnionType) else hint
    if parameter.default is parameter.empty:
        settings["required"] = True
    else:
        settings["default"] = parameter.default
    if typing.get_origin(hint) is not typing.Literal:  # of that the choices are shown
        settings["metavar"] = METAVARS[settings["type"]]
    return settings


def _default(parameter: inspect.Parameter) -> str:
    hidden = any(parameter.default is nothing for nothing in (parameter.empty, None, False, ""))
    return "" if hidden else f" [{parameter.default}]"


def _usage(name: str, parameters: Iterable[inspect.Parameter], hints: dict) -> str:
    words = [f"{PROGRAM} {name}"]
    for parameter in parameters:
        if parameter.kind is not parameter.KEYWORD_ONLY:
            word = parameter.name.upper()
            words.append(word if parameter.default is parameter.empty else f"[{word}]")
            words += ["..."] if typing.get_origin(hints[parameter.name]) is list else []
        elif parameter.default is parameter.empty:
            words.append(f"{_name(parameter)} {parameter.name.upper()}")
    return " ".join([*words, "[options]"])


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help in argparse's own layout, with the columns wide enough for one line an option."""

    def __init__(self, prog: str, **kwargs):
        super().__init__(prog, max_help_position=26, **kwargs)


class _Parser(ArgumentParser):
    """A parser whose errors are this package's."""

    def error(self, message: str, *args) -> typing.NoReturn:
        """Raises ConfigError with what is wrong, the nearest name, and where to look."""
        options = {name: action.dest for action in self._actions for name in action.option_strings}
        names = {dest: name for name, dest in options.items()}
        if unknown := re.search(r"unrecognized arguments?: (\S+)", message, re.IGNORECASE):
            word = unknown[1].partition("=")[0]
            what = f"there is no option {word}" if word.startswith("-") else f"{word!r} is one word too many"
            message = f"{what}.{nearest(word, options)}"
        elif missing := re.search(r"arguments are required: (.*)", message):
            absent = [names.get(word, word.upper()) for word in missing[1].split(", ")]
            message = f"not given: {', '.join(absent)}"
        elif wrong := re.search(r'key "(\w+)":\s*Expected an? (.*)\. Got value: (.*)', message, re.DOTALL):
            kind = re.sub(r"<class '(?:\w+\.)*(\w+)'>|typing\.Literal\[(.*)\]", r"\1\2", wrong[2])
            message = f"{names.get(wrong[1], wrong[1])} takes {kind}, got {wrong[3].strip()!r}"
        message = message if message.endswith("?") else message.rstrip(".") + "."
        raise ConfigError(f"{message} See `{self.prog} --help`.")
