"""Experiments are YAML files, each a difference from the one that its key ``base`` names.

Sections are merged key by key, all else is replaced as a whole. Every key is looked up and every value is
checked in the file that it stands in, so that an error names a file and a line.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import yaml

from ..errors import ConfigError
from .experiment_checking import Checker, plain
from .experiment_schema import construct, merged
from .experiment_sections import Experiment

BASE = "base"
SHOWN_FILES = 5


def read_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Returns the experiment in a file, with the files that it is a difference from, and with overrides.

    Args:
        path: YAML file.
        overrides: ``section.key=value``, the value written as in YAML.

    Raises:
        ConfigError: A file cannot be read, is a difference from itself, or has a key that there is not or a value of
            another type.
    """
    values: dict = {}
    for difference in [*_layers(Path(path), ()), *map(_parse_override, overrides)]:
        values = merged(Experiment, values, difference)
    return construct(Experiment, values, str(path))


def _layers(path: Path, above: tuple[Path, ...]) -> list[dict]:
    """Returns the checked content of a file and of all its bases, the last base first."""
    resolved = path.resolve()
    if resolved in above:
        circle = " -> ".join(file.name for file in (*above[above.index(resolved) :], resolved))
        raise ConfigError(f"{path} is a difference from itself: {circle}. Let one of them have no base.")
    node = _compose(path, above)
    base, rest = _split_base(path, node)
    values = Checker(Experiment, str(path)).check(rest)
    return [*(_layers(path.parent / base, (*above, resolved)) if base else []), values]


def _compose(path: Path, above: tuple[Path, ...]) -> yaml.MappingNode:
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        asked = f", the base of {above[-1].name}," if above else ""
        there = sorted(file.name for file in path.parent.glob("*.yml"))
        near = difflib.get_close_matches(path.name, there, n=1) or there[:SHOWN_FILES]
        known = f"In that folder there is {', '.join(near)}." if near else "In that folder there is no .yml file."
        raise ConfigError(f"Experiment {path}{asked} was asked for: {error}. {known}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}. Mend it there.") from error
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path} is not an experiment: it should hold keys, such as `base:` and `training:`.")
    return node


def _split_base(path: Path, node: yaml.MappingNode) -> tuple[str | None, yaml.MappingNode]:
    """Returns what a file names as its base, and the file without that."""
    named = [(key, value) for key, value in node.value if key.value == BASE]
    if not named:
        return None, node
    key, value = named[0]
    base = plain(value)
    if len(named) > 1 or not isinstance(base, str):
        line = key.start_mark.line + 1
        raise ConfigError(f"{path}, line {line}: `base` is there once, and names one file, got {base!r}.")
    rest = [(other, found) for other, found in node.value if other is not key]
    return base, yaml.MappingNode(node.tag, rest, node.start_mark, node.end_mark)


def _parse_override(override: str) -> dict:
    """Returns ``a.b=value`` as {a: {b: value}}, checked."""
    name, sign, text = override.partition("=")
    where = f"override {override!r}"
    if not sign or not all(part.strip() for part in name.split(".")):
        raise ConfigError(f"{where}: write it as section.key=value, such as training.iterations=100.")
    try:
        node = yaml.compose(text or "null", Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: {text!r} is not YAML: {error}.") from error
    for part in reversed(name.split(".")):
        key = yaml.ScalarNode("tag:yaml.org,2002:str", part.strip(), node.start_mark, node.end_mark)
        node = yaml.MappingNode("tag:yaml.org,2002:map", [(key, node)], node.start_mark, node.end_mark)
    return Checker(Experiment, where, lines=False).check(node)
