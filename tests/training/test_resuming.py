"""An interrupted run, once resumed, ends bit-identical to an uninterrupted one."""

from __future__ import annotations

import errno
import os
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tiny_runs import assert_same_runs, at_item, in_a_process, same, stop

from nussl_transfer.checkpoints.checkpoint import read_checkpoint
from nussl_transfer.errors import CheckpointError, ConfigError, DataError
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.runtime.signals import SAME_SIGNAL_SECONDS


def state_of(folder) -> dict:
    return torch.load(folder / "state.pt", weights_only=True)


# Items 0 to 7 are in the first epoch: one interruption is at its end, one within the second epoch.
@pytest.mark.parametrize("number", [7, 13])
def test_a_run_interrupted_at_any_item_ends_as_the_uninterrupted_one(train, unbroken, number):
    with pytest.raises(DataError, match="that is all"):
        train(mixtures=at_item(number, stop))
    assert_same_runs(train()[1].folder, unbroken)


def test_a_run_resumed_with_another_number_of_workers_reaches_the_same_weights(train, unbroken):
    with pytest.raises(DataError):
        train(mixtures=at_item(13, stop))
    assert_same_runs(train(workers=2)[1].folder, unbroken)


# Signals --------------------------------------------------------------------------------------------------------------


def send(number: int):
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("item", "number", "status"),
    [
        (0, signal.SIGINT, KeyboardInterrupt),
        (6, signal.SIGTERM, SystemExit),  # the last of an epoch
        (13, signal.SIGINT, KeyboardInterrupt),
        (23, signal.SIGTERM, SystemExit),  # the last of all
    ],
)
def test_a_signal_ends_the_iteration_and_saves_there(train, unbroken, caplog, item, number, status, tmp_path):
    with pytest.raises(status) as left:
        train(mixtures=at_item(item, send(number)))
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    iteration = item // 2 + 1
    assert f"Stopped by {name} after iteration {iteration} of 12" in caplog.text
    assert "The same command resumes from there" in caplog.text
    if status is SystemExit:
        assert left.value.code == 0
    assert state_of(tmp_path / "run")["iteration"] == iteration
    model, run = train()
    assert_same_runs(run.folder, unbroken)
    assert same(model.state_dict(), read_checkpoint(run.latest)[0].state_dict())


def test_a_run_interrupted_after_every_iteration_ends_as_the_uninterrupted_one(train, unbroken, tmp_path):
    class Interrupted(Mixtures):
        def __getitem__(self, index):
            send(signal.SIGTERM)()
            return super().__getitem__(index)

    for iteration in range(1, 13):
        with pytest.raises(SystemExit):
            train(mixtures=Interrupted)
        assert state_of(tmp_path / "run")["iteration"] == iteration
    assert_same_runs(train()[1].folder, unbroken)


def test_a_validation_interrupted_by_a_signal_is_repeated_on_resuming(train, unbroken, tmp_path):
    asked = []

    class Interrupted(Mixtures):
        def __getitem__(self, index):
            asked.append(index)
            if len(asked) == 4:  # the second validation, of three items in two batches
                send(signal.SIGTERM)()
            return super().__getitem__(index)

    with pytest.raises(SystemExit):
        train(valid=Interrupted)
    assert asked == [0, 1, 2, 0, 1], "the current batch is finished, and no other is started"
    state = state_of(tmp_path / "run")
    assert state["iteration"] == 4 and [point["iteration"] for point in state["curve"]["points"]] == [0]
    assert_same_runs(train()[1].folder, unbroken)


def test_a_signal_in_the_validation_before_training_leaves_nothing_half_done(train, unbroken):
    with pytest.raises(SystemExit):
        train(valid=at_item(0, send(signal.SIGTERM)))
    assert_same_runs(train()[1].folder, unbroken)


def test_a_second_ctrl_c_stops_at_once_and_keeps_what_was_saved(train, unbroken, tmp_path):
    def twice():
        send(signal.SIGINT)()
        time.sleep(2 * SAME_SIGNAL_SECONDS)
        send(signal.SIGINT)()

    with pytest.raises(KeyboardInterrupt, match="^$"):
        train(mixtures=at_item(13, twice))
    assert state_of(tmp_path / "run")["iteration"] == 4
    assert_same_runs(train()[1].folder, unbroken)


def test_two_signals_at_the_same_moment_count_as_one(train, unbroken):
    # As with `timeout`, which sends a signal to a process and to its group.
    def twice():
        send(signal.SIGINT)()
        send(signal.SIGINT)()
        send(signal.SIGTERM)()

    with pytest.raises(KeyboardInterrupt, match="after iteration 7 of 12"):
        train(mixtures=at_item(13, twice))
    assert_same_runs(train()[1].folder, unbroken)


def test_signal_handlers_are_restored_after_a_run_ends_or_fails(train):
    def mine(*_):
        pass

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with pytest.raises(DataError):
            train(mixtures=at_item(3, stop))
        assert signal.getsignal(signal.SIGTERM) is mine
        train()
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_the_main_thread_signals_are_left_alone(train, unbroken, tmp_path):
    with ThreadPoolExecutor(1) as threads:
        threads.submit(train).result()
    assert_same_runs(tmp_path / "run", unbroken)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_loader_processes_survive_a_signal_until_the_iteration_ends(train, unbroken, tmp_path, number, status):
    def reached():
        (tmp_path / "reached").touch()
        time.sleep(0.2)

    process = in_a_process(lambda: train(mixtures=at_item(13, reached), workers=2))
    wait_for(tmp_path / "reached")
    os.killpg(process.pid, number)
    process.join(30)
    assert process.exitcode == status
    assert 0 < state_of(tmp_path / "run")["iteration"] < 12
    assert_same_runs(train()[1].folder, unbroken)


def wait_for(path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.005)


# Killed ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", [0, 9])
def test_a_run_killed_at_an_item_ends_as_the_uninterrupted_one(train, unbroken, item):
    process = in_a_process(lambda: train(mixtures=at_item(item, send(signal.SIGKILL))))
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert_same_runs(train()[1].folder, unbroken)


# Within the first save and the second: before a file is on the disk, before it is renamed, and after.
@pytest.mark.parametrize(("name", "call"), [("fsync", 2), ("replace", 3), ("replace", 8), ("fsync", 3)])
def test_a_run_killed_while_saving_ends_as_the_uninterrupted_one(train, unbroken, monkeypatch, name, call, tmp_path):
    real, calls = getattr(os, name), []

    def kill_at(*arguments, **options):
        calls.append(arguments)
        if len(calls) == call:
            send(signal.SIGKILL)()
        return real(*arguments, **options)

    def killed():
        monkeypatch.setattr(os, name, kill_at)
        train()

    process = in_a_process(killed)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    for path in (tmp_path / "run").rglob("*.pth"):
        read_checkpoint(path)
    _, run = train()
    assert_same_runs(run.folder, unbroken)
    assert not list(run.folder.rglob("*.part"))


# No space -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [1, 3, 6])
def test_a_full_disk_is_reported_and_the_previous_save_is_intact(train, unbroken, monkeypatch, call, tmp_path):
    real, calls = os.fsync, []

    def full(number):
        calls.append(number)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    monkeypatch.setattr(os, "fsync", full)
    folder = tmp_path / "run"
    with pytest.raises(CheckpointError) as told:
        train()
    monkeypatch.undo()
    # Each save writes the latest network and the state.
    saved, file = divmod(call - 1, 2)
    path = folder / ["checkpoints/latest.model.pth", "state.pt"][file]
    kept = f"The save of iteration {4 * saved} is intact" if saved else "Nothing was saved before"
    assert str(told.value) == (
        f"Iteration {4 * saved + 4} cannot be saved in {folder}: No space left on device, writing {path}. {kept}. Free "
        "some space, then give the same command again to resume."
    )
    assert_same_runs(train()[1].folder, unbroken)


def test_a_limit_of_file_size_is_reported_and_the_run_can_resume(train, unbroken, tmp_path):
    told = tmp_path / "told"

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            train()
        except CheckpointError as error:
            told.write_text(str(error))
            raise

    process = in_a_process(limited)
    process.join(30)
    assert process.exitcode == 1
    assert f"File too large, writing {tmp_path / 'run'}" in told.read_text()
    assert_same_runs(train()[1].folder, unbroken)


def test_a_full_disk_while_writing_the_curve_is_reported(train, unbroken, tmp_path, monkeypatch):
    write = Path.write_text

    def full(path, *given, **options):
        if "curve.json" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *given, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CheckpointError, match=f"writing {tmp_path}/run/curve.json. Nothing was saved before"):
        train()
    monkeypatch.undo()
    assert_same_runs(train()[1].folder, unbroken)


# Two at once ----------------------------------------------------------------------------------------------------------


def test_a_second_process_is_kept_out_of_the_folder(train, unbroken, tmp_path):
    def wait():
        (tmp_path / "reached").touch()
        time.sleep(60)

    process = in_a_process(lambda: train(mixtures=at_item(5, wait), workers=1))
    wait_for(tmp_path / "reached")
    before = sorted(path.name for path in (tmp_path / "run").rglob("*"))
    with pytest.raises(ConfigError, match=f"run is in use: process {process.pid} on .* is writing to it"):
        train()
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == before
    # A killed process releases its lock, although its loader process may live some seconds longer.
    process.kill()
    process.join()
    assert (tmp_path / "run" / ".lock").exists()
    assert_same_runs(train()[1].folder, unbroken)
    assert not (tmp_path / "run" / ".lock").exists()


# A last epoch that is shorter -----------------------------------------------------------------------------------------


# Item 15 is the last before the validation at 8, 17 lies in the short epoch, 19 is the last of all.
@pytest.mark.parametrize(("item", "saved"), [(15, 8), (17, 9), (19, 10)])
def test_a_run_interrupted_in_its_shorter_last_epoch_ends_as_the_uninterrupted_one(train, tmp_path, item, saved):
    whole = train(iterations=10, out=tmp_path / "whole")[1]
    with pytest.raises(SystemExit):
        train(iterations=10, mixtures=at_item(item, send(signal.SIGTERM)))
    assert state_of(tmp_path / "run")["iteration"] == saved
    assert_same_runs(train(iterations=10)[1].folder, whole.folder)
