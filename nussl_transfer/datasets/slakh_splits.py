"""Split Slakh: as its authors do, as the paper does, or so that each MIDI file is on one side only.

``slakh_tables.json`` lists facts about Slakh2100's tracks that their files do not hold:

* ``last``: the last track of the original train, validation and test split.
* ``white_noise``: stems that are white noise (greenbech/slakh-pytorch-dataset, problem_stems.json; slakh-utils, issue 17).
* ``identical``: pairs of stems of one track that are the same, byte for byte.
* ``omitted``: the 390 tracks that Slakh2100-redux leaves out, since each has the MIDI file of an earlier track.
* ``moved``: the 328 tracks that Slakh2100-split2 moves to another split (slakh-utils, splits/splits_v2.json).

The numbers were checked against the MD5 sums of all files (index of mirdata 0.3.8): ``omitted`` is every track but the
first of each MIDI file, and with ``moved`` no MIDI file is in two splits.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from ..errors import DataError
from ..runtime.files import read_json
from ..runtime.log import logger
from .options import check_choice

_TABLES = read_json(Path(__file__).parent / "slakh_tables.json")
LAST: dict[str, int] = _TABLES["last"]
WHITE_NOISE = frozenset(_TABLES["white_noise"])
IDENTICAL: list[list[str]] = _TABLES["identical"]
OMITTED = frozenset(_TABLES["omitted"])
MOVED = {split: frozenset(numbers) for split, numbers in _TABLES["moved"].items()}
SPLIT_SCHEMES = ("grouped", "orig", "redux", "split2", "paper")
# The paper trains on 1890 of 2100.
TEST_SHARE = 0.1


def split_of_tracks(midi: Mapping[int, str], scheme: str, seed: int = 0) -> dict[int, str]:
    """Return number -> split of the tracks that are in a split; redux leaves some out.

    Args:
        midi: Number of each track -> a name of its MIDI file.
        scheme: One of ``SPLIT_SCHEMES``: see ``Slakh``.
        seed: Seed of the draw of 'grouped' and 'paper'.

    Raises:
        ConfigError: There is no such scheme.
        DataError: The scheme does not list a track.
    """
    check_choice("split_scheme", scheme, SPLIT_SCHEMES)
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
            f"split_scheme={scheme!r} covers Track00001 to Track{LAST['test']:05d}, and not Track{number:05d}. Use "
            "split_scheme='grouped'."
        )
    moved = next((split for split, numbers in MOVED.items() if number in numbers), None) if scheme == "split2" else None
    return moved or next(split for split, last in LAST.items() if number <= last)


def _drawn(midi: Mapping[int, str], seed: int) -> dict[int, str]:
    numbers = sorted(midi)
    random.Random(seed).shuffle(numbers)
    return dict.fromkeys(numbers, "train") | dict.fromkeys(numbers[: _test_count(len(numbers))], "test")


def _grouped(midi: Mapping[int, str], seed: int) -> dict[int, str]:
    """Draw groups of tracks, one for each MIDI file, for the test until it has its share."""
    groups: dict[str, list[int]] = {}
    for number in sorted(midi):
        groups.setdefault(midi[number], []).append(number)
    drawn = list(groups.values())
    random.Random(seed).shuffle(drawn)
    test: list[int] = []
    for group in drawn:
        if len(test) + len(group) <= _test_count(len(midi)):
            test += group
    if not test and len(drawn) > 1:
        test = min(drawn, key=len)
    return dict.fromkeys(midi, "train") | dict.fromkeys(test, "test")


def _test_count(count: int) -> int:
    return max(round(TEST_SHARE * count), int(count > 1))


def _warn_of_shared(midi: Mapping[int, str], splits: Mapping[int, str], split: str, scheme: str) -> None:
    """Warn if tracks of a split share their MIDI file with training tracks; for the paper's split, always."""
    trained = {midi[number] for number, found in splits.items() if found == "train"}
    inside = [number for number, found in splits.items() if found == split]
    shared = sum(midi[number] in trained for number in inside)
    if shared or (inside and scheme == "paper"):
        logger.warning(
            "split_scheme=%r: %d of %d tracks of %s share their MIDI with a track of train%s: scores on them are "
            "too good. 'grouped' has no such tracks.",
            scheme,
            shared,
            len(inside),
            split,
            " (of the whole of Slakh2100, about 31 %)" if scheme == "paper" else "",
        )
