"""Dataclasses as a tree of sections and keys: which keys there are, what they take, how two trees are merged."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator

from ..errors import ConfigError

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}


@functools.cache
def hints_of(kind: type) -> dict[str, object]:
    """Returns the name and type of each field of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def section_of(hint: object) -> type | None:
    """Returns the dataclass that a value of this type may be, if any."""
    return next((arm for arm in arms_of(hint) if dataclasses.is_dataclass(arm)), None)


def sections_of(hint: object) -> type | None:
    """Returns the dataclass that every value of this mapping is, if any: its keys are names of the user's."""
    arms = typing.get_args(hint) if typing.get_origin(hint) is dict else ()
    return next((arm for arm in arms if dataclasses.is_dataclass(arm)), None)


def arms_of(hint: object) -> tuple:
    """Returns the types that a union is of; another type as the only one."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def joined(above: str, name: str) -> str:
    """Returns the full name of a key: ``training.iterations``."""
    return f"{above}.{name}" if above else name


def all_keys(kind: type, above: str = "") -> Iterator[str]:
    """Yields the full name of every key; those of a store are ``data.stores.NAME.folder`` and so on."""
    for key, hint in hints_of(kind).items():
        section, sections = section_of(hint), sections_of(hint)
        yield joined(above, key)
        if section or sections:
            yield from all_keys(section or sections, joined(above, key) + (".NAME" if sections else ""))


def described(hint: object) -> str:
    """Returns what a type takes, in words.

    >>> described(tuple[float, float] | None), described(tuple[typing.Literal["a", "b"], ...])
    ('a list of 2 (a number each) or null', "a list (each one of 'a', 'b')")
    """
    if len(arms_of(hint)) > 1:
        return " or ".join(described(arm) for arm in arms_of(hint))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if origin in (tuple, list):
        each = described(arguments[0])
        several = origin is list or arguments[-1] is Ellipsis
        return f"a list (each {each})" if several else f"a list of {len(arguments)} ({each} each)"
    if origin is dict:
        return "names and values" if arguments[1] is typing.Any else f"names, and for each {described(arguments[1])}"
    if dataclasses.is_dataclass(hint):
        return f"the keys {', '.join(hints_of(hint))}"
    return _KINDS.get(hint, str(hint))


def merged(kind: type, below: dict, above: dict) -> dict:
    """Returns two sections, the second over the first: sections are merged key by key, all else is replaced.

    Where the user names the sections (stores), null takes one away.
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
    """Returns a dataclass made of checked values.

    Raises:
        ConfigError: A key that has no default was not given.
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
            raise ConfigError(f"{file}: {joined(above, field.name)} is not given and has no default. Give it.")
    return kind(**made)
