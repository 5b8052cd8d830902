"""The progress bar on a terminal, and the log line every hundred iterations."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest
import torch

from nussl_transfer.training.config import FitConfig
from nussl_transfer.training.progress import Progress


class Clock:
    """A clock that only a test advances."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


class Screen(io.StringIO):
    """Replaces the terminal, or a file."""

    def __init__(self, is_terminal: bool):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


def screen(monkeypatch, is_terminal: bool) -> Screen:
    # Not in a fixture: pytest replaces stderr between the fixture and the test.
    shown = Screen(is_terminal)
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


def go(progress: Progress, clock: Clock, first: int, last: int, seconds: float = 0.25) -> None:
    for iteration in range(first, last + 1):
        clock.now += seconds
        progress.step(iteration, 0.5 / iteration, 1e-3)


CONFIG = {"iterations": 1000, "batch_size": 8, "validate_every": 250}


def test_without_a_terminal_there_is_only_a_line_every_hundred_iterations(monkeypatch, clock, caplog):
    shown = screen(monkeypatch, is_terminal=False)
    caplog.set_level(logging.INFO)
    with Progress(FitConfig(**CONFIG), 0, clock) as progress:
        go(progress, clock, 1, 430)
    assert shown.getvalue() == ""
    assert [record.getMessage() for record in caplog.records] == [
        # 8 items in a quarter of a second; 900 times that quarter are left
        "iteration 100 of 1000 loss 0.005 learning_rate 0.001 32.0 items/s, 03:45 left",
        "iteration 200 of 1000 loss 0.0025 learning_rate 0.001 32.0 items/s, 03:20 left",
        "iteration 300 of 1000 loss 0.001667 learning_rate 0.001 32.0 items/s, 02:55 left",
        "iteration 400 of 1000 loss 0.00125 learning_rate 0.001 32.0 items/s, 02:30 left",
    ]


def test_the_line_of_a_validation_replaces_the_line_of_a_hundred_iterations(monkeypatch, clock, caplog):
    screen(monkeypatch, is_terminal=False)
    caplog.set_level(logging.INFO)
    with Progress(FitConfig(**{**CONFIG, "validate_every": 100}), 0, clock) as progress:
        go(progress, clock, 1, 100)
    assert not caplog.records


def test_the_bar_shows_iteration_loss_rate_items_per_second_and_time_left(monkeypatch, clock):
    shown = screen(monkeypatch, is_terminal=True)
    with Progress(FitConfig(**CONFIG), 0, clock) as progress:
        go(progress, clock, 1, 20)
        text = shown.getvalue()
    last = text.split("\r")[-1]
    assert re.search(r"20/1000 \|.*\| loss 0\.025, lr 1\.0e-03, 32\.0 items/s, 04:05 left", last), last


def test_a_loss_on_a_device_is_read_twice_a_second_at_most(monkeypatch, clock):
    screen(monkeypatch, is_terminal=True)
    looked = []

    class Loss(torch.Tensor):
        def __float__(self):
            looked.append(clock.now)
            return 0.25

    with Progress(FitConfig(**CONFIG), 0, clock) as progress:
        for iteration in range(1, 91):
            clock.now += 0.1
            progress.step(iteration, torch.tensor(0.25).as_subclass(Loss), 1e-3)
    assert 15 <= len(looked) <= 18


def test_a_log_line_does_not_break_the_bar(monkeypatch, clock):
    shown = screen(monkeypatch, is_terminal=True)
    logger, handler = logging.getLogger("nussl_transfer"), logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        with Progress(FitConfig(**CONFIG), 0, clock) as progress:
            go(progress, clock, 1, 10)
            logger.info("a line")
        assert re.search(r"\r *\r?a line\n", shown.getvalue()), repr(shown.getvalue())
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_a_resumed_run_counts_only_its_own_time(monkeypatch, clock, caplog):
    screen(monkeypatch, is_terminal=False)
    caplog.set_level(logging.INFO)
    with Progress(FitConfig(**CONFIG), 550, clock) as progress:
        go(progress, clock, 551, 600)
    assert caplog.records[0].getMessage().endswith("32.0 items/s, 01:40 left")


def test_a_validation_counts_for_the_time_left_but_not_for_the_items_per_second(monkeypatch, clock, caplog):
    screen(monkeypatch, is_terminal=False)
    caplog.set_level(logging.INFO)
    with Progress(FitConfig(**CONFIG), 0, clock) as progress:
        go(progress, clock, 1, 250)
        clock.now += 62.5  # twice as long as training
        progress.resume()
        go(progress, clock, 251, 300)
    assert caplog.records[-1].getMessage().endswith("32.0 items/s, 05:20 left")


def test_progress_false_draws_no_bar(monkeypatch, clock):
    shown = screen(monkeypatch, is_terminal=True)
    with Progress(FitConfig(**CONFIG, progress=False), 0, clock) as progress:
        go(progress, clock, 1, 20)
    assert shown.getvalue() == ""
