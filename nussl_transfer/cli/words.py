"""Stage 11, lists in one word of the command line, and short names for models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError


def parse_list(text: str) -> list[str]:
    """Returns the parts between commas.

    >>> parse_list("organ, piano")
    ['organ', 'piano']
    """
    return [part.strip() for part in text.split(",") if part.strip()]


def parse_groups(text: str) -> dict[str, list[str]] | None:
    """Returns groups of labels; None where there is none.

    >>> parse_groups("male=tenor+bass,female=alto")
    {'male': ['tenor', 'bass'], 'female': ['alto']}

    Raises:
        ConfigError: A part is not of that form.
    """
    groups: dict[str, list[str]] = {}
    for part in parse_list(text):
        name, _, members = part.partition("=")
        stems = [member.strip() for member in members.split("+") if member.strip()]
        if not name.strip() or not stems:
            raise ConfigError(
                f"Groups were asked for as {text!r}: {part!r} is not NAME=STEM+STEM. Write them like "
                "male=tenor+bass,female=soprano+alto."
            )
        groups.setdefault(name.strip(), []).extend(stems)
    return groups or None


def parse_options(text: str) -> dict[str, Any]:
    """Returns options of a data set by name; numbers, true and false are taken for what they are.

    >>> parse_options("sources=paper+bass,split_scheme=split2,split_seed=1,exercises=true")
    {'sources': 'paper+bass', 'split_scheme': 'split2', 'split_seed': 1, 'exercises': True}

    Raises:
        ConfigError: A part is not of that form.
    """
    options = {}
    for part in parse_list(text):
        name, _, value = part.partition("=")
        try:
            options[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            options[name.strip()] = value.strip()
        if not name.strip() or not value.strip():
            raise ConfigError(
                f"Options were asked for as {text!r}: {part!r} is not NAME=VALUE. Write them like "
                "sources=band,split_scheme=redux."
            )
    return options


def short_names(models: Sequence[str]) -> list[str]:
    """Returns a name for each model: that of its run or file; in full where two would be called the same.

    >>> short_names(["runs/tuned", "runs/b/checkpoints/best.model.pth", "body", "x/a.pth", "y/a.pth"])
    ['tuned', 'b', 'body', 'x/a.pth', 'y/a.pth']
    """
    names = []
    for model in models:
        path = Path(model)
        run = path.parent.parent.name if path.parent.name == "checkpoints" else ""
        names.append(run or path.name.removesuffix(".pth").removesuffix(".model"))
    return [name if names.count(name) == 1 else model for name, model in zip(names, models, strict=True)]
