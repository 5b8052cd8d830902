"""Stage 7, runs: how to train; and the folder of a training run, and how one that was broken off goes on from it.

::

    <run>/checkpoints/latest.model.pth           the network as it is now
    <run>/checkpoints/best.model.pth             as it was at the lowest validation loss
    <run>/checkpoints/iteration<N>.model.pth     as it was at iteration N, where that was asked for
    <run>/curve.json                             at each validation: losses, learning rate, test SI-SDR if asked for
    <run>/config.yml                             the configuration as resolved
    <run>/run.log                                what the run said
    <run>/tensorboard/                           the curve again, where that was asked for
    <run>/state.pt                               all that is needed to go on as if nothing had happened
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..checkpoints.checkpoint import save_durably
from ..errors import CheckpointError, ConfigError
from ..networks.chimera import PAPER
from ..runtime.device import check_device
from ..runtime.files import write_json, written_aside
from ..runtime.locks import locked
from ..runtime.log import logged_to, logger
from ..runtime.process_group import broadcast, check_batch_divides, is_main_process, synchronized
from ..safe_loading.safe_load import safe_load

__all__ = ["FitConfig", "Run", "lock_run_folder", "logger", "plain"]

FORMAT = 2
SHOWN_DIFFERENCES = 5
# What may differ between the runs that together make one: where and how fast they compute, not what.
FREE_KEYS = ("device", "workers", "progress", "tensorboard", "skip_limit")


@dataclass(frozen=True)
class FitConfig:
    """How to train; the defaults are the paper's.

    Attributes:
        mode: 'pretrain', 'whole' or 'mask'.
        iterations: Batches in all.
        batch_size: Mixtures a batch.
        learning_rate: Of Adam.
        body_learning_rate: Of all layers but the two heads; None: the same for all.
        autoclip_percentile: Percentile of the norms seen at which gradients are clipped.
        dc_weight: Weight of the deep clustering loss in mode 'whole'.
        phase_sensitive: Whether targets are those of :func:`~nussl_transfer.networks.targets.phase_sensitive_magnitudes`.
        frame_step: See :class:`~nussl_transfer.training.closures.TransferClosure`.
        frozen: Layers frozen besides those of the mode.
        validate_every: Iterations between validations.
        keep_at: Iterations, multiples of ``validate_every``, whose network is kept besides latest and best.
        plateau_iterations: Iterations without a better validation loss after which the learning rate falls.
        plateau_factor: What it is then multiplied by.
        stop_after: Iterations without a better validation loss after which the run ends early; 0: never.
        skip_limit: Steps that may be skipped in all, because loss or gradient is not a number, before the run stops.
        accumulate: Parts in which a batch goes through the network, for less memory; the step is that of the whole.
        ema_decay: Of an exponential moving average of the weights, which is then what is validated and written into
            checkpoints; such as 0.999. 0: none.
        bf16: Whether linear and recurrent layers compute in bfloat16.
        seed: Of all that is random in the training itself (dropout).
        device: 'cpu' or 'cuda'.
        workers: Processes that load; 0 loads in this one.
        progress: Whether to draw a bar on a terminal.
        tensorboard: Whether nussl's handler writes the curve for TensorBoard, into ``<run>/tensorboard``.
    """

    mode: str = "whole"
    iterations: int = PAPER.finetune_iterations
    batch_size: int = PAPER.batch_size
    learning_rate: float = PAPER.learning_rate
    body_learning_rate: float | None = None
    autoclip_percentile: float = PAPER.autoclip_percentile
    dc_weight: float = PAPER.dc_weight
    phase_sensitive: bool = False
    frame_step: int = 1
    frozen: tuple[str, ...] = ()
    validate_every: int = PAPER.validate_every
    keep_at: tuple[int, ...] = ()
    plateau_iterations: int = PAPER.plateau_iterations
    plateau_factor: float = PAPER.plateau_factor
    stop_after: int = 0
    skip_limit: int = 10
    accumulate: int = 1
    ema_decay: float = 0.0
    bf16: bool = False
    seed: int = 0
    device: str = "cpu"
    workers: int = 0
    progress: bool = True
    tensorboard: bool = False

    def __post_init__(self):
        if self.iterations < 1 or self.validate_every < 1 or self.iterations % self.validate_every:
            raise ConfigError(
                f"{self.iterations} iterations were asked for, with a validation every {self.validate_every}: the first "
                "must be a multiple of the second. Change either."
            )
        missed = [kept for kept in self.keep_at if kept % self.validate_every or not 0 < kept <= self.iterations]
        if missed:
            raise ConfigError(
                f"The network was to be kept at iterations {missed}: these must be multiples of {self.validate_every}, the "
                f"iterations between validations, up to {self.iterations}."
            )
        rates = [rate for rate in (self.learning_rate, self.body_learning_rate) if rate is not None]
        if self.batch_size < 1 or not all(rate > 0 for rate in rates):
            shown = ", ".join(f"{rate:g}" for rate in rates)
            raise ConfigError(f"Batch size {self.batch_size} and learning rate {shown} must be above 0.")
        if self.stop_after < 0 or self.skip_limit < 0:
            raise ConfigError(f"stop_after and skip_limit are 0 or above: got {self.stop_after} and {self.skip_limit}.")
        if not 1 <= self.accumulate <= self.batch_size:
            raise ConfigError(f"accumulate is between 1 and the batch size, {self.batch_size}: got {self.accumulate}.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay is from 0 up to, but not, 1: got {self.ema_decay:g}.")
        check_batch_divides(self.batch_size)
        check_device(self.device)


def plain(value):
    """Returns a value with lists for tuples, as it comes back from YAML and JSON."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


class Run:
    """The folder of one training run; where processes work together, the first alone reads and writes there.

    Args:
        folder: Made when absent.
        config: The resolved configuration, as plain values: a run goes on only with the same.
        provenance: What is written down beside it, as plain values, and may differ: versions, commit.

    Raises:
        ConfigError: Another configuration was begun in this folder, or given to another process.
        CheckpointError: The state that should be gone on from cannot be read.
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
            half_written.unlink()  # by a run that was killed
        written = {**self.config, "provenance": provenance} if provenance else self.config
        with written_aside(self.folder / "config.yml") as aside:
            aside.write_text(yaml.safe_dump(written, sort_keys=True, allow_unicode=True), encoding="utf-8")

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

    def save(self, state: dict, mixture_si_sdr: float | None = None) -> None:
        """Saves the curve, then the state, which is what counts: until it is there, all else will be made again.

        Args:
            state: What is needed to go on; ``state["curve"]["points"]`` is the curve.
            mixture_si_sdr: What the curve's SI-SDR is to be compared with, in dB.
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
                f"The run in {self.folder} was to be gone on with: {error} Or delete the folder to begin anew."
            ) from error
        if state.get("format") != FORMAT:
            raise CheckpointError(f"{self._state} is not a state of format {FORMAT}. Delete the folder to begin anew.")
        return state

    def _check_same_config(self, before: dict) -> None:
        if shown := _shown(_differences(before, self.config)):
            raise ConfigError(
                f"{self.folder} holds a run with another configuration ({shown}). "
                "Take another folder, or the old configuration to go on."
            )

    def _check_same_on_all_ranks(self, of_first: dict) -> None:
        # The network is the first one's, whatever was given here.
        if shown := _shown(_differences(of_first, {**self.config, "network": of_first.get("network")})):
            raise ConfigError(
                f"A process on {socket.gethostname()} was to help with {self.folder}: it was given something else than the "
                f"first ({shown}). Give all machines the same stems and the same experiment."
            )


@contextmanager
def lock_run_folder(folder: str | Path) -> Iterator[None]:
    """Within the block no other process is at work in a folder, and what the package logs also goes to its ``run.log``.

    Raises:
        ConfigError: Another process is.
    """
    with ExitStack() as stack:
        with synchronized():
            if is_main_process():
                stack.enter_context(locked(folder))
                stack.enter_context(logged_to(folder))
        yield


def _shown(differences: Iterable[str]) -> str:
    different = list(differences)
    more = len(different) - SHOWN_DIFFERENCES
    return "; ".join([*different[:SHOWN_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])])


def _differences(before: dict, now: dict, above: str = "") -> Iterator[str]:
    """Yields what differs between two configurations, one sentence for each value, those of FREE_KEYS left out."""
    for key in sorted((before.keys() | now.keys()) - set(FREE_KEYS), key=str):
        old, new, name = before.get(key), now.get(key), f"{above}{key}"
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{name}: ")
        elif old != new:
            yield f"{name}: {old!r} there, {new!r} now"
