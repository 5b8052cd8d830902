"""Slakh's splits: those of its authors, the paper's, and one that no MIDI file crosses."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping

from ..errors import ConfigError, DataError
from .slakh_tables import LAST, MOVED, OMITTED

LOGGER = logging.getLogger(__name__)
SPLIT_SCHEMES = ("grouped", "orig", "redux", "split2", "paper")
# The paper trains on 1890 of 2100.
TEST_SHARE = 0.1


def split_of_tracks(midi: Mapping[int, str], scheme: str, seed: int = 0) -> dict[int, str]:
    """Returns number -> split of the tracks that are in one; redux leaves some out.

    Args:
        midi: Number of each track -> what names its MIDI file.
        scheme: One of ``SPLIT_SCHEMES``: see ``Slakh``.
        seed: Seed of the draw, where there is one.

    Raises:
        ConfigError: There is no such scheme.
        DataError: The scheme knows nothing of a track.
    """
    if scheme not in SPLIT_SCHEMES:
        raise ConfigError(f"split_scheme={scheme!r} was asked for of Slakh. It is one of {', '.join(SPLIT_SCHEMES)}.")
    if scheme == "grouped":
        return _grouped(midi, seed)
    if scheme == "paper":
        splits = _drawn(midi, seed)
    else:
        splits = {number: _listed(number, scheme) for number in midi if scheme != "redux" or number not in OMITTED}
    for split in ("valid", "test"):
        _warn_of_shared(midi, splits, split, scheme)
    return splits


def _listed(number: int, scheme: str) -> str:
    if not 1 <= number <= LAST["test"]:
        raise DataError(
            f"split_scheme={scheme!r} was asked for: it is of Track00001 to Track{LAST['test']:05d}, and Track{number:05d} "
            "is here. Say split_scheme='grouped'."
        )
    moved = next((split for split, numbers in MOVED.items() if number in numbers), None) if scheme == "split2" else None
    return moved or next(split for split, last in LAST.items() if number <= last)


def _drawn(midi: Mapping[int, str], seed: int) -> dict[int, str]:
    numbers = sorted(midi)
    random.Random(seed).shuffle(numbers)
    return dict.fromkeys(numbers, "train") | dict.fromkeys(numbers[: _tests(len(numbers))], "test")


def _grouped(midi: Mapping[int, str], seed: int) -> dict[int, str]:
    """Draws groups of tracks with one MIDI file each for the test, until it has its share."""
    groups: dict[str, list[int]] = {}
    for number in sorted(midi):
        groups.setdefault(midi[number], []).append(number)
    drawn = list(groups.values())
    random.Random(seed).shuffle(drawn)
    test: list[int] = []
    for group in drawn:
        if len(test) + len(group) <= _tests(len(midi)):
            test += group
    if not test and len(drawn) > 1:
        test = min(drawn, key=len)
    return dict.fromkeys(midi, "train") | dict.fromkeys(test, "test")


def _tests(count: int) -> int:
    return max(round(TEST_SHARE * count), int(count > 1))


def _warn_of_shared(midi: Mapping[int, str], splits: Mapping[int, str], split: str, scheme: str) -> None:
    """Says how many tracks of a split have a MIDI file that is trained on; of the paper's in any case."""
    trained = {midi[number] for number, of in splits.items() if of == "train"}
    inside = [number for number, of in splits.items() if of == split]
    shared = sum(midi[number] in trained for number in inside)
    if shared or (inside and scheme == "paper"):
        LOGGER.warning(
            "split_scheme=%r: %d of %d tracks of %s share their MIDI with a track of train%s: scores on it are too "
            "good. 'grouped' has none such.",
            scheme,
            shared,
            len(inside),
            split,
            " (of the whole of Slakh2100, about 31 %)" if scheme == "paper" else "",
        )
