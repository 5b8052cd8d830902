"""Tests of SIGTERM and Ctrl-C handlers: what arrives, what is restored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nussl_transfer.runtime import signals
from nussl_transfer.runtime.signals import Interrupts, Terminated, terminated_as_interrupted

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def handlers_are_restored():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_sigterm_unwinds_the_block(tmp_path):
    with pytest.raises(Terminated):
        with terminated_as_interrupted():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                (tmp_path / "cleaned").touch()
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize(
    ("number", "name", "error"),
    [(signal.SIGINT, "Ctrl-C", KeyboardInterrupt), (signal.SIGTERM, "SIGTERM", SystemExit)],
)
def test_a_signal_is_noted_and_acts_when_the_caller_leaves(number, name, error):
    with Interrupts() as interrupts:
        interrupts.leave("nothing has arrived")
        os.kill(os.getpid(), number)
        interrupts.agree()
        assert interrupts.name == interrupts.noted == name
        with pytest.raises(error) as raised:
            interrupts.leave("stopped")
    assert raised.value.args == (("stopped",) if error is KeyboardInterrupt else (0,))


def test_a_second_ctrl_c_acts_at_once_unless_it_is_the_same_one(monkeypatch):
    now = 100.0
    monkeypatch.setattr(signals.time, "monotonic", lambda: now)
    with Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # the same signal, sent to the process and to its group
        now += 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_nest_and_other_threads_leave_them_alone():
    def elsewhere():
        with Interrupts(), terminated_as_interrupted():
            found.append(signal.getsignal(signal.SIGTERM))

    found = []
    with Interrupts() as interrupts:
        own = signal.getsignal(signal.SIGTERM)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert found == [own] and own == interrupts._on_sigterm
        with terminated_as_interrupted():
            assert signal.getsignal(signal.SIGTERM) != own


def test_the_module_is_cheap_for_the_command_line():
    code = "import sys, nussl_transfer.runtime.signals; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
