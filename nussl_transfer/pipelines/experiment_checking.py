"""YAML is held to a tree of dataclasses: keys are looked up, values checked by jsonargparse, errors know the line."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import types
import typing

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from ..errors import ConfigError
from .experiment_schema import all_keys, arms_of, described, hints_of, joined, section_of, sections_of


class Checker:
    """Checks what one file, or one override, says.

    Args:
        root: Dataclass whose fields are the sections that there are.
        file: What errors say where it stands.
        lines: Whether they add the line.
    """

    def __init__(self, root: type, file: str, lines: bool = True):
        self.root, self.file, self.lines = root, file, lines

    def check(self, node: yaml.Node) -> dict:
        """Returns what a document holds, as plain values of the right types.

        Raises:
            ConfigError: There is no such key, it is there twice, or its value is of another type.
        """
        return self._section(self.root, node, "")

    def place(self, node: yaml.Node) -> str:
        """Returns where a node stands."""
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
            if value is not None:  # of which jsonargparse would make a default
                return _parser(typing.Union[leaves]).parse_object({"value": value}).value  # noqa: UP007
        except ArgumentError:
            pass
        shown = "null" if value is None else repr(value)
        raise ConfigError(f"{self.place(node)}: {name} takes {described(hint)}, got {shown}.")

    def _part(self, kind: type, node: yaml.Node, name: str) -> dict | None:
        """Returns a section that the user named; null takes away what a base has of that name."""
        return None if isinstance(node, yaml.ScalarNode) and plain(node) is None else self._section(kind, node, name)

    def _entries(self, node: yaml.Node, above: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """Returns the keys and values of a mapping, each key once; an empty section has none."""
        if isinstance(node, yaml.ScalarNode) and plain(node) is None:
            return []
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{self.place(node)}: {above or 'an experiment'} takes keys of its own, got {plain(node)!r}.")
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{self.place(key)}: a key is one word, got {plain(key)!r}.")
            if key.value in seen:
                raise ConfigError(f"{self.place(key)}: {joined(above, key.value)} is there twice. Leave one.")
            seen.add(key.value)
        return node.value

    def _no_key(self, kind: type, key: yaml.ScalarNode, above: str) -> ConfigError:
        """Returns the error for a key that there is not, with the nearest that there is, here or in another section."""
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
    """Returns the value of a node of YAML."""
    return yaml.SafeLoader("").construct_object(node, deep=True)


@functools.cache
def _parser(hint: object) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    return parser
