"""The engines of a run: nussl's, and what happens at each iteration and at each validation."""

from __future__ import annotations

import math
from dataclasses import replace

from ignite.engine import Engine, Events
from nussl.ml.train import (
    BackwardsEvents,
    ValidationEvents,
    add_tensorboard_handler,
    create_train_and_validation_engines,
)

from ..errors import TransferError
from ..networks.freezing import trainable_parameters
from ..networks.targets import Targets
from ..runtime.log import logger
from ..runtime.process_group import all_reduce_max, broadcast, is_main_process, main_rank_error, synchronized
from .closures import TransferClosure, TransferValidationClosure
from .curve import Curve
from .loader import Batches, explain_worker_death
from .optim import optimizer_of, schedule_of
from .progress import Progress
from .saver import Saver
from .skipped import SkippedSteps
from .step import Stepping


class Training:
    """The parts of one run, wired together; the arguments are those of ``fit``, and where signals are noted."""

    def __init__(self, model, train, valid, config, run, info, interrupts, probe, attach):
        self.model, self.config, self.folder, self.probe = model, config, run, probe
        self.optimizer = optimizer_of(model, config)
        self.schedule = schedule_of(self.optimizer, config)
        parameters = trainable_parameters(model, config.mode, config.frozen)
        self.stepping = Stepping(model, self.optimizer, parameters, config.autoclip_percentile, config.ema_decay)
        self.curve, self.skipped = Curve(), SkippedSteps(config)
        shared = {
            "mode": config.mode,
            "dc_weight": config.dc_weight,
            "targets": Targets(info.stft_params, config.phase_sensitive),
            "frame_step": config.frame_step,
            "bf16": config.bf16,
            "as_floats": False,
        }
        self.trainer, self.validator = create_train_and_validation_engines(
            TransferClosure(self.optimizer, model, frozen=config.frozen, accumulate=config.accumulate, **shared),
            TransferValidationClosure(self.stepping.shown, **shared),
            device=config.device,
        )
        parts = {
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "stepping": self.stepping,
            "skipped": self.skipped,
            "curve": self.curve,
        }
        self.saver = Saver(run, model, self.stepping.shown, info, config, parts)
        self.saver.restore()
        done, size = self.folder.iteration, config.batch_size
        loading = {"batch_size": size, "workers": config.workers, "device": config.device}
        self.train_batches = Batches(train, range(done * size, len(train)), name="training", in_step=True, **loading)
        self.valid_batches = None if valid is None else Batches(valid, range(len(valid)), name="validation", **loading)
        shown = config if is_main_process() else replace(config, progress=False)
        self.interrupts, self.progress = interrupts, Progress(shown, done)
        self._attach(attach)

    def run(self) -> None:
        """Trains until the run is done, or a signal breaks it off.

        Raises:
            KeyboardInterrupt: Ctrl-C; all that was done is saved.
            SystemExit: SIGTERM; likewise, with status 0.
        """
        config, done = self.config, self.folder.iteration
        every = config.validate_every
        self.trainer.load_state_dict(
            {"iteration": done, "epoch_length": every, "max_epochs": config.iterations // every}
        )
        if self.curve.last == done and self._is_over(self.trainer):
            self._end()
            return
        if done:
            logger.info("%s: going on at iteration %d of %d", self.folder.folder, done, config.iterations)
        if config.tensorboard and is_main_process():
            add_tensorboard_handler(str(self.folder.folder / "tensorboard"), self.trainer)
        with explain_worker_death(self.train_batches, self.valid_batches), self.progress:
            if done % every == 0 and self.curve.last != done:
                self._on_validation(self.trainer)  # before training; or the one in which the run was broken off
            if not (self._is_over(self.trainer) or self.interrupts.name):
                self.trainer.run(self.train_batches)
            self._leave_if_interrupted()
        self._end()

    def _attach(self, attach) -> None:
        self.trainer.add_event_handler(Events.ITERATION_STARTED, self._on_start)
        self.trainer.add_event_handler(BackwardsEvents.BACKWARDS_COMPLETED, self._on_gradient)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._on_iteration)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._on_validation)
        self.validator.add_event_handler(Events.ITERATION_COMPLETED, self._on_validation_batch)
        if attach is not None:
            attach(self.trainer, self.validator)

    def _on_start(self, engine: Engine) -> None:
        self.interrupts.agree()
        self.stepping.begin()

    def _on_gradient(self, engine: Engine) -> None:
        self.stepping.judge(engine.state.model_output["loss"])

    def _on_iteration(self, engine: Engine) -> None:
        iteration, output = engine.state.iteration, engine.state.output
        self.curve.gather(output["loss"])
        self.skipped.note(iteration, self.stepping.end())
        self.progress.step(iteration, output["loss"], self._rate())
        # At the end of an epoch the handler below decides, which comes after this one.
        if self.interrupts.name and iteration % self.config.validate_every:
            engine.terminate()

    def _on_validation_batch(self, engine: Engine) -> None:
        if self.interrupts.noted:
            engine.terminate()

    def _on_validation(self, engine: Engine) -> None:
        """Validates, adds a point to the curve, lowers the learning rate where it is due, and saves."""
        self.skipped.settle()
        for losses in getattr(engine.state, "iter_history", {}).values():  # nussl keeps them all, to the end
            losses[:] = [float(loss) for loss in losses]
        iteration = engine.state.iteration
        engine.fire_event(ValidationEvents.VALIDATION_STARTED)
        measured = self._measure(iteration)
        if measured is None:  # a signal came: this validation is for who goes on
            engine.terminate()
            return
        point = self.curve.add(iteration, *measured)
        shown = {name: value for name, value in point.items() if name not in ("iteration", "seconds")}
        self.progress.line(iteration, **shown)
        self.progress.resume()
        if iteration == 0:
            return
        self.schedule.step(math.inf if point["valid_loss"] is None else point["valid_loss"])
        engine.state.epoch_history = self.curve.history()
        self._save(is_best=self.curve.is_best())
        # Where nussl's own handlers look for what was saved.
        engine.state.saved_model_path, engine.state.output_folder = str(self.folder.latest), str(self.folder.folder)
        engine.fire_event(ValidationEvents.VALIDATION_COMPLETED)
        if self._is_over(engine) or self.interrupts.name:
            engine.terminate()

    def _measure(self, iteration: int) -> tuple[float | None, float, float | None] | None:
        """Returns validation loss, learning rate and test SI-SDR; None where a signal broke it off."""
        valid_loss = test_si_sdr = None
        if self.valid_batches is not None:
            losses = self._validate()
            if losses is None:
                return None
            valid_loss = sum(losses) / len(losses)
            if not math.isfinite(valid_loss):
                raise main_rank_error(TransferError(
                    f"The validation loss became {valid_loss} at iteration {iteration}. The last good state is saved; "
                    "lower the learning rate, or look at the validation mixtures."
                ))  # fmt: skip
        with synchronized():
            if self.probe is not None and is_main_process():
                test_si_sdr = self.probe(self.stepping.shown.eval())
        # What follows from them must follow in all processes.
        valid_loss, test_si_sdr = broadcast((valid_loss, test_si_sdr))
        return valid_loss, self._rate(), test_si_sdr

    def _validate(self) -> list[float] | None:
        """Returns the loss of each validation batch; None where a signal broke it off."""
        losses: list[float] = []
        with synchronized():
            if len(self.valid_batches):  # of a small set, a process may have no item
                self.validator.run(self.valid_batches)
                losses = [float(loss) for loss in self.validator.state.iter_history["loss"]]
        broken_off = all_reduce_max(int(len(losses) < len(self.valid_batches)))
        self.interrupts.agree()
        return None if broken_off else self.valid_batches.of_all(losses)

    def _save(self, is_best: bool = False) -> None:
        self.saver.save(self.trainer, is_best, getattr(self.probe, "mixture_si_sdr", None))

    def _is_over(self, engine: Engine) -> bool:
        return engine.state.iteration >= self.config.iterations or self._is_stale()

    def _is_stale(self) -> bool:
        return 0 < self.config.stop_after <= self.curve.without_improvement()

    def _leave_if_interrupted(self) -> None:
        if self.interrupts.name is None:
            return
        self.skipped.settle()
        iteration = self.trainer.state.iteration
        if iteration > self.folder.iteration:
            self._save()
        message = (
            f"Stopped by {self.interrupts.name} after iteration {iteration} of {self.config.iterations}; all of it is "
            f"saved in {self.folder.folder}. The same command goes on from there."
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
            "%s: stopped early, at iteration %d of %d: no better validation loss in %d iterations",
            self.folder.folder, iteration, self.config.iterations, self.curve.without_improvement(),
        )  # fmt: skip

    def _rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]
