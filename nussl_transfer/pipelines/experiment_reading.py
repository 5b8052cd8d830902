"""Read experiments from YAML: files that are differences from others, checked against a tree of dataclasses.

A file may name another as its ``base``. Sections are merged key by key, everything else is replaced as a whole. Each file
is checked by itself, so that an error names the file, the line and the nearest right key.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from ..errors import ConfigError
from .experiment import Experiment

BASE = "base"
SHOWN_FILES = 5
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}


def read_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment: the file, the files below it, and overrides.

    Args:
        path: YAML file.
        overrides: ``section.key=value``, the value as in YAML.

    Raises:
        ConfigError: A file cannot be read, is its own base, or has an unknown key or a value of a wrong type.
    """
    values: dict = {}
    for difference in [*_layers(Path(path), ()), *map(_parse_override, overrides)]:
        values = merged(Experiment, values, difference)
    return construct(Experiment, values, str(path))


def _layers(path: Path, above: tuple[Path, ...]) -> list[dict]:
    """Return the checked content of a file and of all its bases, the lowest base first."""
    resolved = path.resolve()
    if resolved in above:
        circle = " -> ".join(file.name for file in (*above[above.index(resolved) :], resolved))
        raise ConfigError(f"{path} is its own base: {circle}. Remove one `base:`.")
    node = _compose(path, above)
    base, rest = _split_base(path, node)
    values = Checker(Experiment, str(path)).check(rest)
    return [*(_layers(path.parent / base, (*above, resolved)) if base else []), values]


def _compose(path: Path, above: tuple[Path, ...]) -> yaml.MappingNode:
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        base = f", the base of {above[-1].name}," if above else ""
        there = sorted(file.name for file in path.parent.glob("*.yml"))
        near = difflib.get_close_matches(path.name, there, n=1) or there[:SHOWN_FILES]
        known = f"Its folder has {', '.join(near)}." if near else "Its folder has no .yml file."
        raise ConfigError(f"Experiment {path}{base} cannot be read: {error}. {known}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}. Correct it there.") from error
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path} is not an experiment: expected keys such as `base:` and `training:`.")
    return node


def _split_base(path: Path, node: yaml.MappingNode) -> tuple[str | None, yaml.MappingNode]:
    """Return the base that a file names, and the file without that key."""
    named = [(key, value) for key, value in node.value if key.value == BASE]
    if not named:
        return None, node
    key, value = named[0]
    base = plain(value)
    if len(named) > 1 or not isinstance(base, str):
        line = key.start_mark.line + 1
        raise ConfigError(f"{path}, line {line}: `base` must be given once and name one file: got {base!r}.")
    rest = [(other, found) for other, found in node.value if other is not key]
    return base, yaml.MappingNode(node.tag, rest, node.start_mark, node.end_mark)


def _parse_override(override: str) -> dict:
    """Return ``a.b=value`` as {a: {b: value}}, checked."""
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


# Checking --------------------------------------------------------------------------------------------------------------


class Checker:
    """Check one file, or one override, against a tree of dataclasses.

    Args:
        root: The dataclass whose fields are the sections.
        file: Name of the file in errors.
        lines: Whether errors give the line.
    """

    def __init__(self, root: type, file: str, lines: bool = True):
        self.root, self.file, self.lines = root, file, lines

    def check(self, node: yaml.Node) -> dict:
        """Return the content of a document as plain values of the right types.

        Raises:
            ConfigError: A key is unknown or given twice, or its value has a wrong type.
        """
        return self._section(self.root, node, "")

    def place(self, node: yaml.Node) -> str:
        """Return the place of a node."""
        return f"{self.file}, line {node.start_mark.line + 1}" if self.lines else self.file

    def _section(self, kind: type, node: yaml.Node, above: str) -> dict:
        hints, values = hints_of(kind), {}
        for key, value in self._entries(node, above):
            if key.value not in hints:
                raise self._no_key(kind, key, above)
            values[key.value] = self._value(hints[key.value], value, joined(above, key.value))
        return values

    def _value(self, hint: object, node: yaml.Node, name: str):
        section, sections = section_of(hint), sections_of(hint)
        if sections:
            parts = self._entries(node, name)
            return {key.value: self._part(sections, part, joined(name, key.value)) for key, part in parts}
        leaves = tuple(arm for arm in arms_of(hint) if not dataclasses.is_dataclass(arm))
        if section and (isinstance(node, yaml.MappingNode) or not leaves):
            return self._section(section, node, name)
        value = plain(node)
        if value is None and types.NoneType in leaves:
            return None
        try:
            if value is not None:  # jsonargparse would take None for the default
                return _parser(typing.Union[leaves]).parse_object({"value": value}).value  # noqa: UP007
        except ArgumentError:
            pass
        shown = "null" if value is None else repr(value)
        raise ConfigError(f"{self.place(node)}: {name} takes {described(hint)}, got {shown}.")

    def _part(self, kind: type, node: yaml.Node, name: str) -> dict | None:
        """Return a section whose name the user chose; null removes the one that a base has."""
        return None if isinstance(node, yaml.ScalarNode) and plain(node) is None else self._section(kind, node, name)

    def _entries(self, node: yaml.Node, above: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """Return the keys and values of a mapping; an empty section has none."""
        if isinstance(node, yaml.ScalarNode) and plain(node) is None:
            return []
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{self.place(node)}: {above or 'an experiment'} takes keys, got {plain(node)!r}.")
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{self.place(key)}: a key is one word, got {plain(key)!r}.")
            if key.value in seen:
                raise ConfigError(f"{self.place(key)}: {joined(above, key.value)} is given twice. Remove one.")
            seen.add(key.value)
        return node.value

    def _no_key(self, kind: type, key: yaml.ScalarNode, above: str) -> ConfigError:
        """Return the error for an unknown key, with the nearest known one, here or in another section."""
        here = {name: joined(above, name) for name in hints_of(kind)}
        elsewhere = {name.rsplit(".", 1)[-1]: name for name in all_keys(self.root)}
        for known in (here, elsewhere):
            if near := difflib.get_close_matches(key.value, known, n=1):
                what = f"Did you mean {known[near[0]]}?"
                break
        else:
            what = f"{f'The keys of {above}' if above else 'The sections'} are {', '.join(here)}."
        return ConfigError(f"{self.place(key)}: there is no key {joined(above, key.value)}. {what}")


def plain(node: yaml.Node):
    """Return the value of a YAML node."""
    return yaml.SafeLoader("").construct_object(node, deep=True)


@functools.cache
def _parser(hint: object) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    return parser


# Trees of dataclasses ---------------------------------------------------------------------------------------------------


@functools.cache
def hints_of(kind: type) -> dict[str, object]:
    """Return the type of each field of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def section_of(hint: object) -> type | None:
    """Return the dataclass among the alternatives of a type, if any."""
    return next((arm for arm in arms_of(hint) if dataclasses.is_dataclass(arm)), None)


def sections_of(hint: object) -> type | None:
    """Return the dataclass of the values of a mapping, if any: its keys are names that the user chooses."""
    arms = typing.get_args(hint) if typing.get_origin(hint) is dict else ()
    return next((arm for arm in arms if dataclasses.is_dataclass(arm)), None)


def arms_of(hint: object) -> tuple:
    """Return the alternatives of a union; for any other type, the type itself."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def joined(above: str, name: str) -> str:
    """Return the full name of a key: ``training.iterations``."""
    return f"{above}.{name}" if above else name


def all_keys(kind: type, above: str = "") -> Iterator[str]:
    """Yield the full name of every key; those of a store are ``data.stores.NAME.folder`` and so on."""
    for key, hint in hints_of(kind).items():
        section, sections = section_of(hint), sections_of(hint)
        yield joined(above, key)
        if section or sections:
            yield from all_keys(section or sections, joined(above, key) + (".NAME" if sections else ""))


def described(hint: object) -> str:
    """Describe a type in words.

    >>> described(tuple[float, float] | None), described(tuple[typing.Literal["a", "b"], ...])
    ('a list of 2 (a number each) or null', "a list (each one of 'a', 'b')")
    """
    if len(arms_of(hint)) > 1:
        return " or ".join(described(arm) for arm in arms_of(hint))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if origin in (tuple, list, Sequence):
        each = described(arguments[0])
        several = origin is not tuple or arguments[-1] is Ellipsis
        return f"a list (each {each})" if several else f"a list of {len(arguments)} ({each} each)"
    if origin in (dict, Mapping):
        return "names and values" if arguments[1] is typing.Any else f"names, and for each {described(arguments[1])}"
    if dataclasses.is_dataclass(hint):
        return f"the keys {', '.join(hints_of(hint))}"
    return _KINDS.get(hint, str(hint))


def merged(kind: type, below: dict, above: dict) -> dict:
    """Return one section over another: sections are merged key by key, all else is replaced.

    Null removes a section whose name the user chose (a store).
    """
    hints, result = hints_of(kind), dict(below)
    for key, value in above.items():
        before = result.get(key)
        section, sections = section_of(hints[key]), sections_of(hints[key])
        if section and isinstance(value, dict):
            result[key] = merged(section, before if isinstance(before, dict) else {}, value)
        elif sections:
            parts = {**(before or {})}
            for name, part in value.items():
                parts[name] = None if part is None else merged(sections, parts.get(name) or {}, part)
            result[key] = {name: part for name, part in parts.items() if part is not None}
        else:
            result[key] = value
    return result


def construct(kind: type, values: dict, file: str, above: str = ""):
    """Build a dataclass from checked values.

    Raises:
        ConfigError: A key without a default is missing.
    """
    hints, made = hints_of(kind), dict(values)
    for key, value in values.items():
        section, sections = section_of(hints[key]), sections_of(hints[key])
        name = joined(above, key)
        if section and isinstance(value, dict):
            made[key] = construct(section, value, file, name)
        elif sections:
            made[key] = {part: construct(sections, found, file, joined(name, part)) for part, found in value.items()}
    for field in dataclasses.fields(kind):
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if field.name not in made and not has_default:
            raise ConfigError(f"{file}: {joined(above, field.name)} is missing and has no default. Give it.")
    return kind(**made)
