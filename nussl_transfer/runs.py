"""A training run's folder: what stands in it, and how a run that was broken off goes on from it.

::

    <run>/checkpoints/latest.model.pth   the network as it is now; best.model.pth: as it was at the lowest
    validation loss <run>/checkpoints/iteration<N>.model.pth   as it was at iteration N, where that was asked
    for <run>/curve.json                     losses, learning rate and, when asked for, test SI-SDR, at each
    validation <run>/config.yml                     the configuration as resolved <run>/run.log
    what the run said <run>/state.pt                       all that is needed to go on as if nothing had
    happened
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import yaml

from .errors import CheckpointError, ConfigError
from .files import write_json, written_aside

FORMAT = 1
# What may differ between the runs that together make one: where and how fast they compute, not what.
FREE_KEYS = ("device", "workers", "progress")

logger = logging.getLogger("nussl_transfer")


class Run:
    """The folder of one training run.

    Args:
        folder: Made when absent.
        config: The resolved configuration, as plain values.

    Raises:
        ConfigError: Another configuration was begun in this folder.
        CheckpointError: The state that should be gone on from cannot be read.
    """

    def __init__(self, folder: str | Path, config: dict):
        self.folder = Path(folder)
        self.config = config
        self.latest = self.folder / "checkpoints" / "latest.model.pth"
        self.best = self.folder / "checkpoints" / "best.model.pth"
        self.curve = self.folder / "curve.json"
        self._state = self.folder / "state.pt"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = self._read_state()
        if self.state is not None:
            self._refuse_other(self.state["config"])
        with written_aside(self.folder / "config.yml") as aside:
            aside.write_text(yaml.safe_dump(config, sort_keys=True, allow_unicode=True), encoding="utf-8")

    @property
    def iteration(self) -> int:
        """Iterations that are done and saved."""
        return 0 if self.state is None else self.state["iteration"]

    def kept(self, iteration: int) -> Path:
        """Returns the checkpoint that was kept at an iteration."""
        return self.folder / "checkpoints" / f"iteration{iteration}.model.pth"

    def read_curve(self) -> dict:
        """Returns what ``curve.json`` holds."""
        return json.loads(self.curve.read_text(encoding="utf-8"))

    def save(self, state: dict, points: list[dict], mixture_si_sdr: float | None = None) -> None:
        """Saves the state, then the curve. The state is what counts: all else is written again from it."""
        state = {**state, "format": FORMAT, "config": self.config, "points": points}
        with written_aside(self._state) as aside:
            torch.save(state, aside)
        write_json(self.curve, {"points": points, "mixture_si_sdr": mixture_si_sdr})
        self.state = state

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Within the block, what the package logs also goes to ``run.log``."""
        handler = logging.FileHandler(self.folder / "run.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.removeHandler(handler)
            handler.close()

    def _read_state(self) -> dict | None:
        if not self._state.exists():
            return None
        try:
            state = torch.load(self._state, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            raise CheckpointError(
                f"{self._state} was to be gone on from and cannot be read ({str(error).splitlines()[0]}). Delete the "
                "folder to begin anew."
            ) from error
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise CheckpointError(
                f"{self._state} is not a state of format {FORMAT}. Delete the folder to begin anew."
            )
        return state

    def _refuse_other(self, before: dict) -> None:
        keys = sorted((before.keys() | self.config.keys()) - set(FREE_KEYS))
        different = [key for key in keys if before.get(key) != self.config.get(key)]
        if different:
            shown = "; ".join(
                f"{key}: {before.get(key)!r} there, {self.config.get(key)!r} now" for key in different
            )
            raise ConfigError(
                f"{self.folder} holds a run with another configuration ({shown}). Take another folder, or the old "
                "configuration to go on."
            )
