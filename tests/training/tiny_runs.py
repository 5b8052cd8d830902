"""Helpers for the tests of runs: a small plan, faulty data, and the comparison of runs."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import torch

from nussl_transfer.checkpoints.checkpoint import read_checkpoint
from nussl_transfer.mixing.mixtures import Mixtures

SECONDS = 0.1
PLAN = {"iterations": 12, "batch_size": 2, "validate_every": 4, "progress": False, "frame_step": 2, "device": "cpu"}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def points_without_time(path: Path) -> list[dict]:
    return [{**point, "seconds": None} for point in json.loads(path.read_text())["points"]]


def assert_same_runs(one: Path, other: Path) -> None:
    """Compare every weight of every checkpoint, and the curve without its times."""
    names = sorted(path.name for path in (one / "checkpoints").iterdir())
    assert names == sorted(path.name for path in (other / "checkpoints").iterdir())
    for name in names:
        first, second = (read_checkpoint(run / "checkpoints" / name)[0].state_dict() for run in (one, other))
        assert same(first, second), name
    assert points_without_time(one / "curve.json") == points_without_time(other / "curve.json")


def at_item(number: int, act: Callable[[], None]) -> type[Mixtures]:
    """Return mixtures that call a function when a given item is read."""

    class Acting(Mixtures):
        def __getitem__(self, index):
            if index == number:
                act()
            return super().__getitem__(index)

    return Acting


class Stop(Exception):
    """Interrupts a run, as any error would."""


def stop() -> None:
    raise Stop("that is all")


def in_a_process(work: Callable[[], object]) -> multiprocessing.Process:
    """Run a function in a process forked from this one, which has all imports; its status is that of a command."""

    def begin():
        os.setpgid(0, 0)
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        try:
            work()
        except KeyboardInterrupt:
            os._exit(130)

    process = multiprocessing.get_context("fork").Process(target=begin)
    process.start()
    return process
