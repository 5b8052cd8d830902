"""Options that several commands share, and their conversion into dataclasses."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .parsers import integer, number
from .words import parse_groups, parse_list, parse_options

if TYPE_CHECKING:
    from argparse import _ActionsContainer as Group  # a parser, or a group of its options

    from ..datasets.options import StemOptions

STEM_OPTIONS = (
    "dataset", "options", "groups", "ignore", "silent", "missing", "rest", "use_mixtures", "length_tolerance",
)  # fmt: skip


def add_stem_options(group: Group, *names: str) -> None:
    """Add options of :class:`~nussl_transfer.datasets.options.StemOptions`, by the names of its fields."""
    known: dict[str, dict[str, Any]] = {
        "dataset": {"metavar": "NAME", "help": "name of the data set; recognised when not given"},
        "options": {
            "metavar": "KEY=X,...",
            "type": parse_options,
            "help": "options of the data set: sources=band or layout=pool",
        },
        "groups": {
            "metavar": "NEW=A+B,...",
            "type": parse_groups,
            "help": "stems to merge: male=tenor+bass,female=soprano+alto",
        },
        "ignore": {
            "metavar": "NAME,...",
            "type": parse_list,
            "help": "stems, files and folders to skip: organ,piano",
        },
        "silent": {
            "choices": ("error", "keep", "skip"),
            "metavar": "HOW",
            "help": "a silent stem: error, keep, skip (its track) [error]",
        },
        "missing": {
            "choices": ("error", "skip", "silence"),
            "metavar": "HOW",
            "help": "a missing stem: error, skip (its track), silence [error]",
        },
        "rest": {"action": "store_true", "help": "tracks have one stem and a mixture; the rest is a second source"},
        "use_mixtures": {"action": "store_true", "help": "the input is each track's mixture file, not the sum of stems"},
        "length_tolerance": {
            "metavar": "SHARE",
            "type": number(0, 1, below=True),
            "help": "share by which a stem may be too short [0.01]",
        },
    }
    for name in names:
        group.add_argument(f"--{name.replace('_', '-')}", **known[name])


def add_folders(parser: Group, name: str, metavar: str, what: str = "folder of stems, or a stem list (.csv)") -> None:
    """Add the positional argument of one or several folders of stems."""
    parser.add_argument(name, metavar=metavar, type=Path, nargs="+", help=f"{what}; several are joined")


def one_or_all(paths: list[Path]) -> Path | list[Path]:
    """Return the only path of a list, or the list if it has several."""
    return paths[0] if len(paths) == 1 else paths


def joined_paths(paths: list[Path]) -> str:
    """Return paths as text for a message."""
    return ", ".join(map(str, paths))


def add_device(group: Group) -> None:
    """Add ``--device``."""
    group.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps [auto]")


def add_seed(group: Group, what: str) -> None:
    """Add ``--seed``."""
    group.add_argument("--seed", metavar="N", type=integer(), help=f"{what} [0]")


def add_test_seconds(group: Group, text: str) -> None:
    """Add ``--excerpt-seconds`` for commands that cut tracks into excerpts."""
    kind = number(0, 86_400, above=True)
    # The second name, --seconds, is for existing scripts that call `check` and `evaluate`.
    group.add_argument("--excerpt-seconds", "--seconds", dest="excerpt_seconds", metavar="S", type=kind, help=text)


def stem_options(given: dict[str, Any]) -> StemOptions:
    """Take the stem options out of the options that the user gave, and return them as a dataclass."""
    from ..datasets.options import StemOptions

    found = take(given, STEM_OPTIONS)
    if "layout" in found.get("options", {}):  # only StemFolder has this option
        found.setdefault("dataset", "StemFolder")
    return StemOptions(**found)


def take(given: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Take some options out of those that the user gave, and return them."""
    return {name: given.pop(name) for name in names if name in given}
