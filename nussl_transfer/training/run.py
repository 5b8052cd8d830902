"""The folder of a training run: its configuration, its saved state, and the lock that keeps other processes out.

::

    <run>/checkpoints/latest.model.pth           the current network
    <run>/checkpoints/best.model.pth             the best network so far, by FitConfig.choose_by
    <run>/checkpoints/iteration<N>.model.pth     the network at iteration N, for each N in FitConfig.keep_at
    <run>/curve.json                             one point per validation: losses, learning rate, test SI-SDR
    <run>/config.yml                             the configuration as resolved, and where the run came from
    <run>/run.log                                the log
    <run>/tensorboard/                           the curve for TensorBoard, with FitConfig.tensorboard
    <run>/state.pt                               everything needed to resume exactly
"""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from ..checkpoints.checkpoint import save_durably
from ..errors import CheckpointError, ConfigError
from ..runtime.files import read_json, write_json, write_text
from ..runtime.locks import LOCK, locked
from ..runtime.log import RUN_LOG, logged_to
from ..runtime.process_group import broadcast, is_main_process, synchronized
from ..safe_loading.safe_load import safe_load

FORMAT = 2
SHOWN_DIFFERENCES = 5
# These may differ when a run resumes, because they do not change its numbers.
FREE_KEYS = ("device", "workers", "progress", "tensorboard", "skip_limit")


def plain(value: Any) -> Any:
    """Return a value with lists for tuples, as YAML and JSON give it back.

    >>> plain({"frozen": ("mask",)})
    {'frozen': ['mask']}
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


class Run:
    """The folder of one training run. Of several processes, only the main one reads and writes it.

    Args:
        folder: Made when absent.
        config: The resolved configuration, as plain values. A run resumes only with the same configuration.
        provenance: Versions, commit and the like, as plain values. They are written down, and may differ on resuming.

    Raises:
        ConfigError: The folder holds a run with another configuration, or another process was given another one.
        CheckpointError: The saved state cannot be read.
    """

    def __init__(self, folder: str | Path, config: dict, provenance: dict | None = None):
        self.folder = Path(folder)
        self.config = config
        self.latest = self.folder / "checkpoints" / "latest.model.pth"
        self.best = self.folder / "checkpoints" / "best.model.pth"
        self.curve = self.folder / "curve.json"
        self._state = self.folder / "state.pt"
        self.state: dict | None = None
        with synchronized():
            if is_main_process():
                self._open(provenance)
        self.state, of_first = broadcast((self.state, config))
        with synchronized():
            self._check_same_on_all_ranks(of_first)

    def _open(self, provenance: dict | None) -> None:
        self.state = self._read_state()
        if self.state is not None:
            self._check_same_config(self.state["config"])
        for half_written in (*self.folder.glob(".*.part"), *self.latest.parent.glob(".*.part")):
            half_written.unlink()  # left by a killed run
        written = {**self.config, "provenance": provenance} if provenance else self.config
        write_text(self.folder / "config.yml", yaml.safe_dump(written, sort_keys=True, allow_unicode=True))

    @property
    def iteration(self) -> int:
        """Number of iterations that are saved."""
        return 0 if self.state is None else self.state["iteration"]

    def kept(self, iteration: int) -> Path:
        """Return the path of the checkpoint kept at an iteration."""
        return self.folder / "checkpoints" / f"iteration{iteration}.model.pth"

    def read_curve(self) -> dict:
        """Return the content of ``curve.json``."""
        return read_json(self.curve, ("points",))

    def save(self, state: dict, mixture_si_sdr: float | None = None) -> None:
        """Save the curve, then the state. A resumed run starts from the state; whatever it lacks is computed again.

        Args:
            state: Everything needed to resume; ``state["curve"]["points"]`` is the curve.
            mixture_si_sdr: SI-SDR of the unprocessed mixture in dB, to compare the curve's with.
        """
        write_json(self.curve, {"points": state["curve"]["points"], "mixture_si_sdr": mixture_si_sdr})
        state = {**state, "format": FORMAT, "config": self.config}
        save_durably(self._state, state)
        self.state = state

    def _read_state(self) -> dict | None:
        if not self._state.exists():
            return None
        try:
            state = safe_load(self._state)
        except CheckpointError as error:
            raise CheckpointError(
                f"The run in {self.folder} cannot resume: {error} Or delete the folder to start again."
            ) from error
        if state.get("format") != FORMAT:
            found = state.get("format")
            raise CheckpointError(
                f"{self._state} has the wrong format: got {found!r}, expected {FORMAT}. Delete the folder to start again."
            )
        return state

    def _check_same_config(self, before: dict) -> None:
        if shown := _shown(_differences(before, self.config)):
            raise ConfigError(
                f"{self.folder} holds a run with another configuration ({shown}). "
                "Choose another folder, or resume with the old configuration."
            )

    def _check_same_on_all_ranks(self, of_first: dict) -> None:
        # The main process broadcasts its network, so the others' may differ.
        if shown := _shown(_differences(of_first, {**self.config, "network": of_first.get("network")})):
            raise ConfigError(
                f"A process on {socket.gethostname()} has another configuration for {self.folder} than the main process "
                f"({shown}). Give all machines the same stems and the same experiment."
            )


@contextmanager
def lock_run_folder(folder: str | Path) -> Iterator[None]:
    """Keep other processes out of a folder within the block, and append the package's log to its ``run.log``.

    A block that fails before anything is in the folder leaves no new folder behind.

    Raises:
        ConfigError: Another process works there; or this is a loader process that runs the training script again.
    """
    check_not_spawned_by_training()
    with ExitStack() as stack:
        with synchronized():
            if is_main_process():
                new = not Path(folder).exists()
                stack.enter_context(locked(folder))
                if new:
                    stack.enter_context(_log_dropped_on_failure(Path(folder)))
                stack.enter_context(logged_to(folder))
        yield


@contextmanager
def _log_dropped_on_failure(folder: Path) -> Iterator[None]:
    """Remove the log where the block fails and the folder holds nothing else."""
    try:
        yield
    except BaseException:
        if folder.is_dir() and all(path.name in (LOCK, RUN_LOG) for path in folder.iterdir()):
            (folder / RUN_LOG).unlink(missing_ok=True)
        raise


def check_not_spawned_by_training() -> None:
    """Raise ConfigError in a spawned process that is importing the script that spawned it.

    Where processes are spawned (Windows, macOS), each imports the main script again, and would start the training again.
    """
    # multiprocessing marks such a process by this attribute, and looks at it for the same purpose.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(
            "A loader process ran the script that started it, and would train a second time. Put the training inside "
            "`if __name__ == '__main__':`, or set workers=0."
        )


def _shown(differences: Iterable[str]) -> str:
    different = list(differences)
    more = len(different) - SHOWN_DIFFERENCES
    return "; ".join([*different[:SHOWN_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])])


def _differences(before: dict, now: dict, above: str = "") -> Iterator[str]:
    """Yield one sentence for each value in which two configurations differ, except those of FREE_KEYS."""
    for key in sorted((before.keys() | now.keys()) - set(FREE_KEYS), key=str):
        old, new, name = before.get(key), now.get(key), f"{above}{key}"
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{name}: ")
        elif old != new:
            yield f"{name}: {old!r} there, {new!r} now"
