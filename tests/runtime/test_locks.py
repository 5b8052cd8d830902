"""Tests of the lock of a folder, which the system releases with the process."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from nussl_transfer.errors import ConfigError
from nussl_transfer.runtime import locks
from nussl_transfer.runtime.locks import locked

fork = multiprocessing.get_context("fork")


@pytest.fixture
def holder(tmp_path):
    """A process that locks the folder `run` until it is killed."""

    def hold():
        with locked(tmp_path / "run"):
            (tmp_path / "held").touch()
            time.sleep(60)

    process = fork.Process(target=hold)
    process.start()
    end = time.monotonic() + 20
    while not (tmp_path / "held").exists():
        assert time.monotonic() < end
        time.sleep(0.005)
    yield process
    process.kill()
    process.join()


def test_another_process_gets_an_error_that_names_the_holder(tmp_path, holder):
    said = rf"{tmp_path}/run is in use: process {holder.pid} on \S+ is writing to it. Wait for it, stop it, or"
    with pytest.raises(ConfigError, match=said), locked(tmp_path / "run"):
        pass
    with locked(tmp_path / "another"):
        pass


def test_a_killed_process_holds_no_lock(tmp_path, holder):
    holder.kill()
    holder.join()
    assert (tmp_path / "run" / ".lock").exists(), "a killed process cannot remove it"
    with locked(tmp_path / "run"):
        pass
    assert not list((tmp_path / "run").iterdir())


def test_a_process_forked_from_a_killed_one_holds_no_lock(tmp_path):
    ready = fork.Event()

    def hold():
        with locked(tmp_path / "run"):
            if os.fork() == 0:
                ready.set()
                time.sleep(2)
                os._exit(0)
            time.sleep(60)

    process = fork.Process(target=hold)
    process.start()
    assert ready.wait(20)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with locked(tmp_path / "run"):
        pass


def test_blocks_of_one_process_nest_and_the_outer_one_holds_the_lock(tmp_path):
    def refused() -> bool:
        def attempt():
            try:
                with locked(tmp_path):
                    os._exit(0)
            except ConfigError:
                os._exit(1)

        process = fork.Process(target=attempt)
        process.start()
        process.join()
        return process.exitcode == 1

    with locked(tmp_path):
        with locked(tmp_path / "." / "inner" / ".."):
            assert refused()
        assert refused()
    assert not refused()


def test_an_error_within_the_block_releases_the_lock(tmp_path):
    with pytest.raises(ValueError), locked(tmp_path):
        raise ValueError
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_keeps_no_process_out(tmp_path, monkeypatch):
    def without(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", without)
    with locked(tmp_path):
        pass


def test_without_fcntl_the_lock_is_that_of_windows(tmp_path, monkeypatch):
    taken = []

    class Msvcrt:
        LK_NBLCK = 2

        @staticmethod
        def locking(number, mode, size):
            taken.append((mode, size))

    monkeypatch.setitem(__import__("sys").modules, "msvcrt", Msvcrt)
    monkeypatch.setattr(locks, "fcntl", None)
    with locked(tmp_path):
        assert taken == [(2, 1)]
        assert "process" in (tmp_path / ".lock").read_text()
    assert not list(tmp_path.iterdir())


def test_a_folder_made_for_the_lock_is_removed_with_it_if_it_is_still_empty(tmp_path):
    (tmp_path / "there").mkdir()
    with locked(tmp_path / "there"), locked(tmp_path / "a" / "b" / "empty"), locked(tmp_path / "a" / "full"):
        (tmp_path / "a" / "full" / "file").touch()
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert left == ["a", "a/full", "a/full/file", "there"]


def test_a_process_that_finds_the_folder_removed_makes_it_again(tmp_path, monkeypatch):
    mkdir, calls = Path.mkdir, []

    def made_and_removed(self, *given, **named):
        mkdir(self, *given, **named)
        calls.append(self)
        if len(calls) == 2:  # the holder removes it after this process has made the folder and before it opens the file
            self.rmdir()

    monkeypatch.setattr(Path, "mkdir", made_and_removed)
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").is_file()
