r"""Parse options that hold several values, such as lists and groups, and shorten the names of models.

A comma, an equals sign or a plus after a backslash is part of a name: ``--ignore 'keys\, left,organ'``.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .parsers import number, quoted

ESCAPE_HINT = r"Put a backslash before a comma, = or + that is part of a name."


def parse_list(text: str) -> list[str]:
    r"""Return the parts between commas.

    >>> parse_list("organ, piano")
    ['organ', 'piano']
    >>> parse_list(r"keys\, left,organ")
    ['keys, left', 'organ']
    """
    return [unescape(part.strip()) for part in split(text, ",") if part.strip()]


def parse_groups(text: str) -> dict[str, list[str]] | None:
    r"""Return the groups of labels; None for an empty text.

    >>> parse_groups("male=tenor+bass,female=alto")
    {'male': ['tenor', 'bass'], 'female': ['alto']}
    >>> parse_groups(r"keys=keys\, left+keys\, right,a\=b=c\+d")
    {'keys': ['keys, left', 'keys, right'], 'a=b': ['c+d']}

    Raises:
        ConfigError: A part does not have this form.
    """
    groups: dict[str, list[str]] = {}
    for part in filter(str.strip, split(text, ",")):
        name, *members = split(part, "=")
        stems = [unescape(stem.strip()) for stem in split(members[0], "+") if stem.strip()] if len(members) == 1 else []
        if not name.strip() or not stems:
            raise ConfigError(
                f"--groups {text!r} is wrong: {part.strip()!r} is not NAME=STEM+STEM. Write "
                f"male=tenor+bass,female=soprano+alto. {ESCAPE_HINT}"
            )
        groups.setdefault(unescape(name.strip()), []).extend(stems)
    return groups or None


def parse_options(text: str) -> dict[str, Any]:
    """Return the options of a data set by name; numbers, true and false become Python's.

    >>> parse_options("sources=paper+bass,split_scheme=split2,split_seed=1,exercises=true")
    {'sources': 'paper+bass', 'split_scheme': 'split2', 'split_seed': 1, 'exercises': True}

    Raises:
        ConfigError: A part does not have this form.
    """
    import yaml

    options = {}
    for part in filter(str.strip, split(text, ",")):
        name, *values = split(part, "=")
        value = unescape(values[0].strip()) if len(values) == 1 else ""
        if not name.strip() or not value:
            raise ConfigError(
                f"--options {text!r} is wrong: {part.strip()!r} is not NAME=VALUE. Write sources=band,split_scheme=redux. "
                f"{ESCAPE_HINT}"
            )
        try:
            options[unescape(name.strip())] = yaml.safe_load(value)
        except yaml.YAMLError:
            options[unescape(name.strip())] = value
    return options


def semitones(text: str) -> tuple[float, float]:
    """Return the range of a pitch shift of up to N semitones, down and up.

    >>> semitones("3")
    (-3.0, 3.0)
    """
    value = number(0, 24)(text)
    return -value, value


def tempo(text: str) -> tuple[float, float]:
    """Return the lowest and the highest tempo.

    >>> tempo("0.8,1.2")
    (0.8, 1.2)
    """
    low, comma, high = text.partition(",")
    if not comma:
        raise ArgumentTypeError(f"expected two numbers, LOW,HIGH, such as 0.8,1.2, got {quoted(text)}")
    positive = number(0, 4, above=True)
    return positive(low), positive(high)


def split(text: str, separator: str) -> list[str]:
    r"""Split at a separator that has no backslash before it; backslashes stay.

    >>> split(r"a\,b,c", ",")
    ['a\\,b', 'c']
    """
    parts = [""]
    for token in re.findall(r"\\.|.|\\$", text, re.DOTALL):
        if token == separator:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def unescape(text: str) -> str:
    r"""Remove the backslash before a comma, an equals sign, a plus or a backslash.

    >>> unescape(r"a\,b"), unescape(r"c:\music")
    ('a,b', 'c:\\music')
    """
    return re.sub(r"\\([,=+\\])", r"\1", text)


def short_names(models: Sequence[str]) -> list[str]:
    """Return a name for each model: that of its run or file, or its whole path if two models have the same name.

    >>> short_names(["runs/tuned", "runs/b/checkpoints/best.model.pth", "body", "x/a.pth", "y/a.pth"])
    ['tuned', 'b', 'body', 'x/a.pth', 'y/a.pth']
    """
    names = []
    for model in models:
        path = Path(model)
        run = path.parent.parent.name if path.parent.name == "checkpoints" else ""
        names.append(run or path.name.removesuffix(".pth").removesuffix(".model") or model)
    return [name if names.count(name) == 1 else model for name, model in zip(names, models, strict=True)]
