"""Run nussl's trainer and validator, with handlers for each iteration and each validation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from ignite.engine import Engine, Events
from nussl.ml import SeparationModel
from nussl.ml.train import (
    BackwardsEvents,
    ValidationEvents,
    add_tensorboard_handler,
    create_train_and_validation_engines,
)

from ..checkpoints.checkpoint import CheckpointInfo
from ..errors import TransferError
from ..networks.chimera import EMBEDDING_HEAD, MASK_HEAD
from ..networks.freezing import trainable_parameters
from ..runtime.log import logger
from ..runtime.process_group import broadcast, is_main_process, main_rank_error, synchronized
from ..runtime.signals import Interrupts
from .closures import LossOptions, TransferClosure, TransferValidationClosure, state_of
from .config import FitConfig
from .curve import Curve
from .loader import Batches, SizedDataset, loader_processes
from .optim import WarmUp, optimizer_of, schedule_of
from .progress import Progress
from .run import Run
from .saver import Saver
from .skipped import SkippedSteps
from .step import Stepping
from .validation import Measures, SiSdrClosure, Validation, ValidationInterrupted

Callback = Callable[[Engine, Engine], None]


@dataclass(frozen=True)
class FitJob:
    """The arguments of ``fit``, resolved: network, data, options, and the folder of the run.

    Attributes:
        model: The network, on its device.
        train: Exactly ``config.iterations * config.batch_size`` items.
        valid: Validation items, or None.
        config: How to train; its device is resolved.
        run: Folder of the run.
        info: What the checkpoints record about themselves.
        targets: Turns a batch of audio into spectra and targets.
        callbacks: Called with the trainer and the validator before training.
        probe: Measures the network at each validation, or None.
    """

    model: SeparationModel
    train: SizedDataset
    valid: SizedDataset | None
    config: FitConfig
    run: Run
    info: CheckpointInfo
    targets: Callable[[dict], dict]
    callbacks: tuple[Callback, ...] = ()
    probe: Callable[[SeparationModel], float] | None = None


class Training:
    """Engines, closures, schedule, curve and saver of one run, wired together.

    Args:
        job: What to train.
        interrupts: Where signals are noted.
    """

    def __init__(self, job: FitJob, interrupts: Interrupts):
        config = job.config
        self.job, self.config, self.folder, self.interrupts = job, config, job.run, interrupts
        self.optimizer = optimizer_of(job.model, config)
        self.schedule, self.warm_up = schedule_of(self.optimizer, config), WarmUp(self.optimizer, config.warmup_iterations)
        self.body = [name for name in job.model.layers if name not in (EMBEDDING_HEAD, MASK_HEAD)]
        parameters = trainable_parameters(job.model, config.mode, config.frozen)
        self.stepping = Stepping(job.model, self.optimizer, parameters, config.autoclip_percentile, config.ema_decay)
        self.curve, self.skipped = Curve(config.choose_by), SkippedSteps(config)
        shared: LossOptions = {
            "mode": config.mode,
            "dc_weight": config.dc_weight,
            "targets": job.targets,
            "frame_step": config.frame_step,
            "mask_frame_step": config.mask_frame_step,
            "bf16": config.bf16,
            "as_floats": False,
        }
        self.closure = TransferClosure(
            self.optimizer, job.model, frozen=config.frozen, accumulate=config.accumulate, **shared
        )
        measuring: TransferValidationClosure
        if config.choose_by == "si_sdr":
            measuring = SiSdrClosure(self.stepping.eval_model, job.info.stft_params, **shared)
        else:
            measuring = TransferValidationClosure(self.stepping.eval_model, **shared)
        self.trainer, self.validator = create_train_and_validation_engines(self.closure, measuring, device=config.device)
        parts = {
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "stepping": self.stepping,
            "skipped": self.skipped,
            "curve": self.curve,
        }
        self.saver = Saver(job.run, job.model, self.stepping.eval_model, job.info, config, parts)
        self.saver.restore()
        done, size = self.folder.iteration, config.batch_size
        items = range(done * size, config.iterations * size)
        self.train_batches = Batches(job.train, items, size, config.workers, "training", config.device, in_step=True)
        self.valid_batches: Batches | None = None
        self.validation: Validation | None = None
        if job.valid is not None:
            items = range(len(job.valid))
            self.valid_batches = Batches(job.valid, items, size, config.workers, "validation", config.device)
            self.validation = Validation(self.validator, self.valid_batches, interrupts)
        self.progress = Progress(config if is_main_process() else replace(config, progress=False), done)
        self._attach()

    def run(self) -> None:
        """Train until the run is done, or a signal ends it.

        Raises:
            KeyboardInterrupt: Ctrl-C. All finished iterations are saved.
            SystemExit: SIGTERM. Likewise, with status 0.
        """
        config, done = self.config, self.folder.iteration
        every = config.validate_every
        epochs = math.ceil(config.iterations / every)
        self.trainer.load_state_dict({"iteration": done, "epoch_length": every, "max_epochs": epochs})
        if self.curve.last == done and self._is_over(self.trainer):
            self._end()
            return
        if done:
            logger.info("%s: resuming at iteration %d of %d", self.folder.folder, done, config.iterations)
        if config.tensorboard and is_main_process():
            add_tensorboard_handler(str(self.folder.folder / "tensorboard"), self.trainer)
        with loader_processes(self.train_batches, self.valid_batches), self.progress:
            self._validate_if_due()  # before training, or if a signal came before the last validation
            if not (self._is_over(self.trainer) or self.interrupts.name):
                self.trainer.run(self.train_batches)
                if not self.interrupts.name:
                    self._validate_if_due()  # nussl's trainer does not validate after a last epoch that is shorter
            self._leave_if_interrupted()
        self._end()

    def _attach(self) -> None:
        self.trainer.add_event_handler(Events.ITERATION_STARTED, self._on_start)
        self.trainer.add_event_handler(BackwardsEvents.BACKWARDS_COMPLETED, self._on_gradient)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._on_iteration)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._on_validation)
        self.validator.add_event_handler(Events.ITERATION_STARTED, self._move_batch)
        self.validator.add_event_handler(Events.ITERATION_COMPLETED, self._on_validation_batch)
        for callback in self.job.callbacks:
            callback(self.trainer, self.validator)

    def _move_batch(self, engine: Engine) -> None:
        # nussl's engines move every batch to the CPU unless there is CUDA.
        if not self.config.device.startswith(("cpu", "cuda")):
            batch = state_of(engine).batch
            for name, value in batch.items():
                if isinstance(value, torch.Tensor):
                    batch[name] = value.to(self.config.device)

    def _on_start(self, engine: Engine) -> None:
        self._move_batch(engine)
        self.interrupts.agree()
        self.warm_up.set_rate(engine.state.iteration)
        if self.config.thaw_after:
            self.closure.freeze_for_now(self.body if engine.state.iteration <= self.config.thaw_after else ())
        self.stepping.begin()

    def _on_gradient(self, engine: Engine) -> None:
        self.stepping.clip_and_check(state_of(engine).model_output["loss"])

    def _on_iteration(self, engine: Engine) -> None:
        iteration, loss = engine.state.iteration, state_of(engine).output["loss"]
        self.curve.gather(loss)
        self.skipped.note(iteration, self.stepping.end())
        self.progress.step(iteration, loss, self._rate())
        # After the last iteration of an epoch, the handler of EPOCH_COMPLETED decides instead.
        if iteration % self.config.validate_every and (self.interrupts.name or iteration == self.config.iterations):
            engine.terminate()

    def _on_validation_batch(self, engine: Engine) -> None:
        if self.interrupts.noted:
            engine.terminate()

    def _validate_if_due(self) -> None:
        iteration = self.trainer.state.iteration
        if self.config.validates_at(iteration) and self.curve.last != iteration:
            self._on_validation(self.trainer)

    def _on_validation(self, engine: Engine) -> None:
        """Validate, add a point to the curve, step the schedule, and save."""
        self.skipped.settle()
        for losses in getattr(engine.state, "iter_history", {}).values():  # nussl keeps all losses until the run ends
            losses[:] = [float(loss) for loss in losses]
        state = state_of(engine)
        iteration = state.iteration
        engine.fire_event(ValidationEvents.VALIDATION_STARTED)
        try:
            measures, test_si_sdr = self._measure(iteration)
        except ValidationInterrupted:
            engine.terminate()
            return
        point = self.curve.add(iteration, measures, self._rate(), test_si_sdr)
        measured = {name: value for name, value in point.items() if name not in ("iteration", "seconds")}
        self.progress.line(iteration, **measured)
        self.progress.resume()
        if iteration == 0:
            return
        if iteration >= self.config.warmup_iterations:
            self.schedule.step(math.inf if point["valid_loss"] is None else point["valid_loss"])
        state.epoch_history = self.curve.history()
        self._save(is_best=self.curve.is_best())
        # nussl's own handlers look for the saved files here.
        state.saved_model_path, state.output_folder = str(self.folder.latest), str(self.folder.folder)
        engine.fire_event(ValidationEvents.VALIDATION_COMPLETED)
        if self._is_over(engine) or self.interrupts.name:
            engine.terminate()

    def _measure(self, iteration: int) -> tuple[Measures, float | None]:
        """Return what the validation and the probe measure.

        Raises:
            ValidationInterrupted: A signal came.
        """
        measures, test_si_sdr = Measures(), None
        if self.validation is not None:
            measures = self.validation.measure()
            if measures.loss is None or not math.isfinite(measures.loss):
                raise main_rank_error(TransferError(
                    f"The validation loss is {measures.loss} at iteration {iteration}. The last good state is saved. Lower "
                    "the learning rate, or look at the validation items."
                ))  # fmt: skip
        with synchronized():
            if self.job.probe is not None and is_main_process():
                test_si_sdr = self.job.probe(self.stepping.eval_model.eval())
        return broadcast((measures, test_si_sdr))  # all ranks must decide alike

    def _save(self, is_best: bool = False) -> None:
        self.saver.save(self.trainer, is_best, getattr(self.job.probe, "mixture_si_sdr", None))

    def _is_over(self, engine: Engine) -> bool:
        return engine.state.iteration >= self.config.iterations or self._stops_early()

    def _stops_early(self) -> bool:
        return 0 < self.config.stop_after <= self.curve.without_improvement()

    def _leave_if_interrupted(self) -> None:
        if self.interrupts.name is None:
            return
        self.skipped.settle()
        iteration = self.trainer.state.iteration
        if iteration > self.folder.iteration:
            self._save()
        message = (
            f"Stopped by {self.interrupts.name} after iteration {iteration} of {self.config.iterations}. Everything is "
            f"saved in {self.folder.folder}. The same command resumes from there."
        )
        logger.info("%s", message)
        self.interrupts.leave(message)

    def _end(self) -> None:
        self.stepping.finish()
        iteration = self.trainer.state.iteration
        if iteration >= self.config.iterations:
            logger.info("%s: all %d iterations are done", self.folder.folder, iteration)
            return
        logger.info(
            "%s: stopped early at iteration %d of %d: no better network in %d iterations",
            self.folder.folder, iteration, self.config.iterations, self.curve.without_improvement(),
        )  # fmt: skip

    def _rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]
