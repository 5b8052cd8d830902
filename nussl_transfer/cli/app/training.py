"""Run ``nussl-transfer finetune`` in a separate process, and report its progress.

A separate process can be stopped at any iteration with everything saved, and frees its memory when it ends.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigError
from ..finetune_command import finetune_parser
from ..parsers import PROGRAM

SECONDS_TO_STOP = 60.0


@dataclass(frozen=True)
class TrainingStatus:
    """The state of a training at one moment, for the page.

    Attributes:
        state: 'idle', 'running', 'stopping', 'stopped', 'done' or 'failed'.
        run: Folder of the run.
        command: The command, to be typed in a terminal.
        iterations: Number of iterations of the whole run.
        points: Points of the curve so far.
        last_line: The last line of the log.
        error: Why it failed; empty unless ``state`` is 'failed'.
    """

    state: str = "idle"
    run: Path = Path()
    command: str = ""
    iterations: int = 0
    points: tuple[dict, ...] = ()
    last_line: str = ""
    error: str = ""

    @property
    def busy(self) -> bool:
        """Whether the process is alive."""
        return self.state in ("running", "stopping")

    @property
    def iteration(self) -> int:
        """Number of iterations up to the last point of the curve."""
        return self.points[-1]["iteration"] if self.points else 0

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end, at the mean pace so far; None before the first point of the curve."""
        if not self.iteration:
            return None
        return self.points[-1]["seconds"] / self.iteration * (self.iterations - self.iteration)


class Training:
    """The fine-tuning of the page: one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._reader: threading.Thread | None = None
        self._lines: deque[str] = deque(maxlen=400)
        self._words: list[str] = []
        self._run, self._iterations, self._stopping = Path(), 0, False
        self._lock = threading.Lock()

    def start(self, words: Sequence[str]) -> None:
        """Start ``nussl-transfer finetune`` with these arguments, or resume the run that they name.

        Raises:
            ConfigError: An argument is wrong, or a training runs already.
        """
        given = finetune_parser().parse(words)
        with self._lock:
            if self._alive():
                raise ConfigError(f"A training runs already, in {self._run}. Stop it first.")
            self._words, self._run, self._iterations = list(words), given["out"], given["iterations"]
            self._stopping = False
            self._lines.clear()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nussl_transfer", "finetune", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # Ctrl-C in the terminal ends the page, and the page ends this process
            )
            self._reader = threading.Thread(target=self._lines.extend, args=(self._process.stderr,), daemon=True)
            self._reader.start()

    def stop(self) -> None:
        """Ask the process to save everything and end; return at once."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._stopping = True
                self._process.terminate()

    def close(self) -> None:
        """Stop the process, and wait for it."""
        self.stop()
        if self._process is not None:
            try:
                self._process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:  # the state of the last validation is saved
                self._process.kill()
                self._process.wait()

    def status(self) -> TrainingStatus:
        """Return the state, the progress and the last log line of the training."""
        if self._process is None or self._reader is None:
            return TrainingStatus()
        exit_code = self._process.poll()
        if exit_code is not None:
            self._reader.join(5.0)
        lines = [line.rstrip() for line in self._lines if line.strip()]
        points = _read_points(self._run)
        return TrainingStatus(
            state=self._state(exit_code, points),
            run=self._run,
            command=shlex.join([PROGRAM, "finetune", *self._words]),
            iterations=self._iterations,
            points=points,
            last_line=lines[-1] if lines else "",
            error=_error(lines, exit_code, self._run) if exit_code else "",
        )

    def _state(self, exit_code: int | None, points: Sequence[dict]) -> str:
        if exit_code is None:
            return "stopping" if self._stopping else "running"
        if self._stopping and not (points and points[-1]["iteration"] >= self._iterations):
            return "stopped"
        return "failed" if exit_code else "done"

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None


def _read_points(run: Path) -> tuple[dict, ...]:
    try:
        return tuple(json.loads((run / "curve.json").read_text(encoding="utf-8"))["points"])
    except (OSError, ValueError, KeyError):
        return ()


def _error(lines: Sequence[str], exit_code: int, run: Path) -> str:
    """Return the error message of a command that failed; if it printed none, a sentence with the exit code."""
    prefix = f"{PROGRAM}: "
    begins = [number for number, line in enumerate(lines) if line.startswith(prefix)]
    if begins:
        return "\n".join(lines[begins[-1] :]).removeprefix(prefix)
    if exit_code == -9:
        return f"The training was killed, perhaps because memory ran out. Start it again: it resumes in {run}."
    return f"The training ended unexpectedly (status {exit_code}). See {run / 'run.log'}. Start it again to resume it."
