"""Read experiments from YAML: each file is a difference from its base, checked against a tree of dataclasses.

The YAML nodes of all files are kept until the dataclasses are built, so an error can name the file, the line and the
nearest known key.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from ..errors import ConfigError
from .experiment import Experiment

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

BASE = "base"
SHOWN_FILES = 5
_OVERRIDE = "override "  # prefix of the name of an override in errors; an override has no line number
Section = typing.TypeVar("Section", bound="DataclassInstance")
_KINDS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    types.NoneType: "null",
}


def read_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment: the file, the files that it is based on, and overrides.

    Args:
        path: YAML file. It may name another as its ``base``.
        overrides: ``section.key=value``, the value as in YAML.

    Raises:
        ConfigError: A file cannot be read, is its own base, or has an unknown key or a value of a wrong type.
    """
    return build(Experiment, [*_layers(Path(path), ()), *map(_parse_override, overrides)])


def _layers(path: Path, above: tuple[Path, ...]) -> list[yaml.MappingNode]:
    """Return the content of a file and of all its bases, the lowest base first."""
    resolved = path.resolve()
    if resolved in above:
        circle = " -> ".join(file.name for file in (*above[above.index(resolved) :], resolved))
        raise ConfigError(f"{path} is its own base: {circle}. Remove one `base:`.")
    node = _compose(path, above)
    named = [(key, value) for key, value in node.value if key.value == BASE]
    if not named:
        return [node]
    key, value = named[0]
    base = _plain(value)
    if len(named) > 1 or not isinstance(base, str):
        raise ConfigError(f"{_location(key)}: `base` must be given once and name one file: got {base!r}.")
    node.value.remove(named[0])
    return [*_layers(path.parent / base, (*above, resolved)), node]


def _compose(path: Path, above: tuple[Path, ...]) -> yaml.MappingNode:
    try:
        node = compose(path.read_text(encoding="utf-8"), str(path))
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


def _parse_override(override: str) -> yaml.Node:
    """Return ``a.b=value`` as {a: {b: value}}."""
    keys, sign, text = override.partition("=")
    name = f"{_OVERRIDE}{override!r}"
    if not sign or not all(part.strip() for part in keys.split(".")):
        raise ConfigError(f"{name}: write it as section.key=value, such as training.iterations=100.")
    try:
        node = compose(text, name)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: {text!r} is not YAML: {error}.") from error
    for part in reversed(keys.split(".")):
        key = yaml.ScalarNode("tag:yaml.org,2002:str", part.strip(), node.start_mark, node.end_mark)
        node = yaml.MappingNode("tag:yaml.org,2002:map", [(key, node)], node.start_mark, node.end_mark)
    return node


def compose(text: str, name: str) -> yaml.Node:
    """Parse a YAML text into nodes; an empty text is null. Errors about the nodes give this name and the line."""
    loader = yaml.SafeLoader(text)
    loader.name = name
    node = loader.get_single_node()
    return compose("null", name) if node is None else node


# Building --------------------------------------------------------------------------------------------------------------


def build(kind: type[Section], layers: Sequence[yaml.Node], name: str = "", root: type | None = None) -> Section:
    """Merge YAML mappings, and build a dataclass from the result.

    Later mappings override earlier ones. Fields that are dataclasses, or mappings to dataclasses, are merged key by key;
    any other value replaces the earlier one. In a mapping to dataclasses, null removes an entry.

    Args:
        kind: The dataclass.
        layers: The mappings; null is an empty one.
        name: Full name of the dataclass in the file, such as ``training``; empty for the whole file.
        root: The dataclass of the whole file, whose keys are suggested for an unknown key; None takes ``kind``.

    Raises:
        ConfigError: A key is unknown, missing or given twice, or its value has a wrong type.
    """
    hints, root = _hints_of(kind), root or kind
    given: dict[str, list[yaml.Node]] = {}
    for key, value in (entry for layer in layers for entry in _entries(layer, name)):
        if key.value not in hints:
            raise _unknown_key(kind, key, name, root)
        given.setdefault(key.value, []).append(value)
    for field in dataclasses.fields(kind):
        if field.name not in given and field.default is field.default_factory is dataclasses.MISSING:
            missing = _joined(name, field.name)
            raise ConfigError(f"{_location(layers[-1])}: {missing} is missing and has no default. Give it.")
    return kind(**{key: _value(hints[key], nodes, _joined(name, key), root) for key, nodes in given.items()})


def _value(hint: object, layers: list[yaml.Node], name: str, root: type) -> typing.Any:
    """Build the value of a field."""
    section, sections = _section_of(hint), _sections_of(hint)
    if sections:
        named: dict[str, list[yaml.Node]] = {}
        for key, value in (entry for layer in layers for entry in _entries(layer, name)):
            named.setdefault(key.value, []).append(value)
            if _is_null(value):
                del named[key.value]
        return {key: build(sections, nodes, _joined(name, key), root) for key, nodes in named.items()}
    if section is not None and section is hint:
        return build(section, layers, name, root)
    mappings = list(itertools.takewhile(lambda node: isinstance(node, yaml.MappingNode), reversed(layers)))
    if section and mappings:
        return build(section, mappings[::-1], name, root)
    return [_leaf(hint, node, name) for node in layers][-1]


def _leaf(hint: object, node: yaml.Node, name: str) -> typing.Any:
    """Return a value that is not a dataclass, of the field's type."""
    value = _plain(node)
    try:
        if value is not None:  # jsonargparse would replace None by the default
            return _parser(hint).parse_object({"value": value}).value
        if types.NoneType in _arms_of(hint):
            return None
    except ArgumentError:
        pass
    shown = "null" if value is None else repr(value)
    raise ConfigError(f"{_location(node)}: {name} takes {described(hint)}, got {shown}.")


@functools.cache
def _parser(hint: object) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    return parser


def _entries(node: yaml.Node, name: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    """Return the keys and values of a mapping; null has none."""
    if _is_null(node):
        return []
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{_location(node)}: {name or 'an experiment'} takes keys, got {_plain(node)!r}.")
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{_location(key)}: a key is one word, got {_plain(key)!r}.")
        if key.value in seen:
            raise ConfigError(f"{_location(key)}: {_joined(name, key.value)} is given twice. Remove one.")
        seen.add(key.value)
    return node.value


def _unknown_key(kind: type, key: yaml.ScalarNode, name: str, root: type) -> ConfigError:
    """Return the error for an unknown key, with the nearest known one, here or in another section."""
    here = {known: _joined(name, known) for known in _hints_of(kind)}
    elsewhere = {known.rsplit(".", 1)[-1]: known for known in all_keys(root)}
    for names in (here, elsewhere):
        if near := difflib.get_close_matches(key.value, names, n=1):
            advice = f"Did you mean {names[near[0]]}?"
            break
    else:
        advice = f"{f'The keys of {name}' if name else 'The sections'} are {', '.join(here)}."
    return ConfigError(f"{_location(key)}: there is no key {_joined(name, key.value)}. {advice}")


def _location(node: yaml.Node) -> str:
    mark = node.start_mark
    return mark.name if mark.name.startswith(_OVERRIDE) else f"{mark.name}, line {mark.line + 1}"


def _plain(node: yaml.Node) -> typing.Any:
    return yaml.SafeLoader("").construct_object(node, deep=True)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and _plain(node) is None


# Types -----------------------------------------------------------------------------------------------------------------


@functools.cache
def _hints_of(kind: type) -> dict[str, object]:
    """Return the type of each field of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _section_of(hint: object) -> type | None:
    """Return the dataclass among the alternatives of a type, if any."""
    return next((arm for arm in _arms_of(hint) if isinstance(arm, type) and dataclasses.is_dataclass(arm)), None)


def _sections_of(hint: object) -> type | None:
    """Return the dataclass of the values of a mapping, if any; the keys of such a mapping are names that users choose."""
    arms = typing.get_args(hint) if typing.get_origin(hint) is dict else ()
    return next((arm for arm in arms if isinstance(arm, type) and dataclasses.is_dataclass(arm)), None)


def _arms_of(hint: object) -> tuple:
    """Return the alternatives of a union; for any other type, the type itself."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def _joined(above: str, name: str) -> str:
    """Return the full name of a key: ``training.iterations``."""
    return f"{above}.{name}" if above else name


def all_keys(kind: type, above: str = "") -> Iterator[str]:
    """Yield the full name of every key; those of a store are ``data.stores.NAME.folder`` and so on."""
    for key, hint in _hints_of(kind).items():
        name = _joined(above, key)
        yield name
        if section := _section_of(hint):
            yield from all_keys(section, name)
        elif sections := _sections_of(hint):
            yield from all_keys(sections, f"{name}.NAME")


def described(hint: object) -> str:
    """Describe a type in words.

    >>> described(tuple[float, float] | None), described(tuple[typing.Literal["a", "b"], ...])
    ('a list of 2 (a number each) or null', "a list (each one of 'a', 'b')")
    """
    if len(_arms_of(hint)) > 1:
        return " or ".join(described(arm) for arm in _arms_of(hint))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if origin in (tuple, list, Sequence):
        each = described(arguments[0])
        several = origin is not tuple or arguments[-1] is Ellipsis
        return f"a list (each {each})" if several else f"a list of {len(arguments)} ({each} each)"
    if origin in (dict, Mapping):
        return "names and values" if arguments[1] is typing.Any else f"names, and for each {described(arguments[1])}"
    if section := _section_of(hint):
        return f"the keys {', '.join(_hints_of(section))}"
    return _KINDS.get(hint, str(hint))
