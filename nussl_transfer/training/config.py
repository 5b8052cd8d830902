"""Options of training: every option of :func:`~nussl_transfer.training.fit.fit`, checked when it is set."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

from ..errors import ConfigError
from ..networks.chimera import PAPER
from ..networks.freezing import check_mode
from ..runtime.device import check_device
from ..runtime.process_group import check_batch_divides

CHOOSE_BY = ("loss", "mask_loss", "si_sdr")
MOST_ITERATIONS = 10**9
MOST_WORKERS = 1024
MOST_SEED = 2**63 - 1  # torch and NumPy both take it


@dataclass(frozen=True)
class FitConfig:
    """Choose how to train. The defaults are the paper's.

    Attributes:
        mode: 'pretrain', 'whole' or 'mask'.
        iterations: Number of batches. It need not be a multiple of ``validate_every``: the last validation comes at the
            end.
        batch_size: Mixtures per batch.
        learning_rate: Learning rate of Adam.
        body_learning_rate: Learning rate of all layers but the two heads. None uses ``learning_rate``.
        autoclip_percentile: AutoClip clips gradients at this percentile of the norms so far, 0 to 100.
        dc_weight: Weight of the deep clustering loss in mode 'whole', 0 to 1.
        phase_sensitive: Train on :func:`~nussl_transfer.networks.targets.phase_sensitive_magnitudes`.
        frame_step: See :class:`~nussl_transfer.training.closures.TransferClosure`.
        mask_frame_step: Likewise.
        head_mixtures: Number of training mixtures on which the mask head is fitted by least squares before the first
            iteration (:mod:`~nussl_transfer.training.head_fit`). 0 leaves it as it is.
        frozen: Layers to freeze besides those that the mode freezes.
        validate_every: Iterations between validations.
        keep_at: Iterations whose network is kept besides the latest and the best: multiples of ``validate_every``, or
            the last.
        plateau_iterations: Iterations without a lower validation loss after which the learning rate falls.
        plateau_factor: The learning rate is multiplied by this, between 0 and 1.
        weight_decay: Weight decay of AdamW on everything that is trained. 0 uses Adam.
        warmup_iterations: The learning rate rises linearly over this many iterations. The plateau schedule starts
            afterwards.
        thaw_after: Iterations during which all layers but the two heads are frozen. Then the mode decides.
        choose_by: What makes a network the best: the lowest validation 'loss', the lowest 'mask_loss' (the L1 loss of the
            masks alone), or the highest 'si_sdr' of the validation mixtures in dB. ``stop_after`` uses it too, the plateau
            schedule does not.
        stop_after: Iterations without a better network after which the run stops early. 0 never stops early.
        skip_limit: Number of steps that may be skipped, because loss or gradient is not finite, before the run fails.
        accumulate: Number of parts in which a batch goes through the network, to save memory. The step is that of the
            whole batch.
        ema_decay: Decay of an exponential moving average of the weights, for example 0.999. The average is validated and
            written into checkpoints. 0 turns it off.
        bf16: Compute linear and recurrent layers in bfloat16.
        seed: Seed of everything random in the training itself (dropout, the order of a plain data set).
        device: 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.
        workers: Number of loader processes. 0 loads in the training process.
        progress: Draw a progress bar on a terminal.
        tensorboard: Write the curve for TensorBoard too, to ``<run>/tensorboard``.

    Raises:
        ConfigError: An option is out of range, or does not work with the others.

    Example:
        >>> FitConfig(iterations=250).validate_every
        100
        >>> FitConfig(iterations=0)
        Traceback (most recent call last):
        nussl_transfer.errors.ConfigError: iterations must be a whole number from 1 to 1000000000: got 0.
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
    mask_frame_step: int = 1
    head_mixtures: int = 0
    frozen: tuple[str, ...] = ()
    validate_every: int = PAPER.validate_every
    keep_at: tuple[int, ...] = ()
    plateau_iterations: int = PAPER.plateau_iterations
    plateau_factor: float = PAPER.plateau_factor
    weight_decay: float = 0.0
    warmup_iterations: int = 0
    thaw_after: int = 0
    choose_by: Literal["loss", "mask_loss", "si_sdr"] = "loss"
    stop_after: int = 0
    skip_limit: int = 10
    accumulate: int = 1
    ema_decay: float = 0.0
    bf16: bool = False
    seed: int = 0
    device: str = "auto"
    workers: int = 0
    progress: bool = True
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_mode(self.mode)
        counts = ("iterations", "batch_size", "validate_every", "plateau_iterations", "accumulate")
        for name in (*counts, "frame_step", "mask_frame_step"):
            _check_whole(name, getattr(self, name), 1, MOST_ITERATIONS)
        for name in ("stop_after", "skip_limit", "warmup_iterations", "thaw_after", "head_mixtures"):
            _check_whole(name, getattr(self, name), 0, MOST_ITERATIONS)
        _check_whole("workers", self.workers, 0, MOST_WORKERS)
        _check_whole("seed", self.seed, 0, MOST_SEED)
        for name in ("learning_rate", "body_learning_rate"):
            if name == "learning_rate" or self.body_learning_rate is not None:
                _check_real(name, getattr(self, name), "above 0", lambda rate: rate > 0)
        _check_real("autoclip_percentile", self.autoclip_percentile, "from 0 to 100", lambda value: 0 <= value <= 100)
        _check_real("dc_weight", self.dc_weight, "from 0 to 1", lambda weight: 0 <= weight <= 1)
        _check_real("plateau_factor", self.plateau_factor, "above 0 and below 1", lambda factor: 0 < factor < 1)
        _check_real("weight_decay", self.weight_decay, "at least 0", lambda decay: decay >= 0)
        _check_real("ema_decay", self.ema_decay, "at least 0 and below 1", lambda decay: 0 <= decay < 1)
        if self.choose_by not in CHOOSE_BY:
            raise ConfigError(f"choose_by must be one of {', '.join(CHOOSE_BY)}: got {self.choose_by!r}.")
        if self.mode == "pretrain" and self.choose_by != "loss":
            raise ConfigError(
                f"choose_by must be 'loss' in mode 'pretrain', which trains no masks: got {self.choose_by!r}."
            )
        if self.mode == "pretrain" and self.head_mixtures:
            raise ConfigError(
                f"head_mixtures must be 0 in mode 'pretrain', which trains no masks: got {self.head_mixtures}."
            )
        if self.mode == "mask" and self.thaw_after:
            raise ConfigError(f"thaw_after must be 0 in mode 'mask', which never trains the body: got {self.thaw_after}.")
        if self.accumulate > self.batch_size:
            raise ConfigError(f"accumulate must be at most batch_size, {self.batch_size}: got {self.accumulate}.")
        for name in ("frozen", "keep_at"):
            if not isinstance(getattr(self, name), (list, tuple)):
                raise ConfigError(f"{name} must be a list: got {getattr(self, name)!r}.")
        for kept in self.keep_at:
            _check_whole("Each of keep_at", kept, 1, self.iterations)
            if not self.validates_at(kept):
                raise ConfigError(
                    f"Each of keep_at must be a multiple of validate_every, {self.validate_every}, or the last iteration, "
                    f"{self.iterations}: got {kept}."
                )
        check_batch_divides(self.batch_size)
        if self.device != "auto":
            check_device(self.device)

    def validates_at(self, iteration: int) -> bool:
        """Return whether a run validates after an iteration (0: before training)."""
        return iteration % self.validate_every == 0 or iteration == self.iterations


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, Integral) or not least <= int(value) <= most:
        raise ConfigError(f"{name} must be a whole number from {least} to {most}: got {value!r}.")


def _check_real(name: str, value: object, expected: str, fits: Callable[[float], bool]) -> None:
    if not isinstance(value, Real) or not math.isfinite(value) or not fits(float(value)):
        raise ConfigError(f"{name} must be a number {expected}: got {value!r}.")
