"""The engines of a run: nussl's, and what happens at each iteration and at each validation."""

from __future__ import annotations

import math
import time

from ignite.engine import Events
from nussl.ml.train import BackwardsEvents, ValidationEvents, create_train_and_validation_engines
from tqdm import tqdm

from ..clipping import AutoClip
from ..closures import TransferClosure, TransferValidationClosure
from ..errors import TransferError
from ..freezing import trainable_parameters
from ..runs import logger
from ..targets import Targets
from .loading import batches
from .optimizing import optimizer_of, schedule_of
from .saving import Saver


class Training:
    """The parts of one run, wired together; the arguments are those of ``fit``."""

    def __init__(self, model, train, valid, config, run, info, probe, attach):
        self.model, self.config, self.folder, self.probe = model, config, run, probe
        self.optimizer = optimizer_of(model, config)
        self.schedule = schedule_of(self.optimizer, config)
        self.autoclip = AutoClip(trainable_parameters(model, config.mode, config.frozen), config.autoclip_percentile)
        shared = {
            "mode": config.mode,
            "dc_weight": config.dc_weight,
            "targets": Targets(info.stft_params, config.phase_sensitive),
            "frame_step": config.frame_step,
            "autocast": config.bf16,
        }
        self.trainer, self.validator = create_train_and_validation_engines(
            TransferClosure(self.optimizer, model, frozen=config.frozen, **shared),
            TransferValidationClosure(model, **shared),
            device=config.device,
        )
        parts = {"optimizer": self.optimizer, "schedule": self.schedule, "autoclip": self.autoclip}
        self.saver = Saver(run, model, info, config, parts)
        self.points = self.saver.restore()
        done = self.folder.iteration
        items = range(done * config.batch_size, len(train))
        self.train_loader = batches(train, items, config.batch_size, config.workers)
        self.valid_loader = None if valid is None else batches(valid, range(len(valid)), config.batch_size, config.workers)
        self.trainer.add_event_handler(BackwardsEvents.BACKWARDS_COMPLETED, self._on_gradient)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._on_iteration)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._on_epoch)
        if attach is not None:
            attach(self.trainer, self.validator)

    def run(self) -> None:
        """Trains until the run is done."""
        config, done = self.config, self.folder.iteration
        if done >= config.iterations:
            logger.info("%s: all %d iterations are done", self.folder.folder, done)
            return
        if done:
            logger.info("%s: going on at iteration %d of %d", self.folder.folder, done, config.iterations)
        self.started = time.monotonic() - (self.points[-1]["seconds"] if self.points else 0.0)
        if not self.points:
            self._record(0, train_loss=None)
        self.trainer.load_state_dict(
            {
                "iteration": done,
                "epoch_length": config.validate_every,
                "max_epochs": config.iterations // config.validate_every,
            }
        )
        hidden = None if config.progress else True  # None: hidden where there is no terminal
        with tqdm(total=config.iterations, initial=done, unit="it", disable=hidden) as self.bar:
            self.trainer.run(self.train_loader)

    def _on_gradient(self, engine) -> None:
        """Clips; before the step, so that a gradient that is not a number never reaches the weights."""
        self._refuse_not_finite("gradient's norm", self.autoclip(), engine.state.iteration)

    def _on_iteration(self, engine) -> None:
        loss = engine.state.output["loss"]
        self._refuse_not_finite("loss", loss, engine.state.iteration)
        self.bar.set_postfix(loss=f"{loss:.4f}", lr=f"{self.optimizer.param_groups[0]['lr']:.1e}", refresh=False)
        self.bar.update()

    def _on_epoch(self, engine) -> None:
        engine.fire_event(ValidationEvents.VALIDATION_STARTED)
        history = engine.state.iter_history["loss"]
        point = self._record(engine.state.iteration, sum(history) / len(history))
        self.schedule.step(point["valid_loss"])
        losses = [p["valid_loss"] for p in self.points[1:]]
        engine.state.epoch_history = {
            "train/loss": [p["train_loss"] for p in self.points[1:]],
            "validation/loss": losses,
        }
        is_best = losses[-1] == min(losses)
        self.saver.save(engine, self.points, is_best, getattr(self.probe, "mixture_si_sdr", None))
        # Where nussl's own handlers look for what was saved.
        engine.state.saved_model_path, engine.state.output_folder = str(self.folder.latest), str(self.folder.folder)
        engine.fire_event(ValidationEvents.VALIDATION_COMPLETED)

    def _record(self, iteration: int, train_loss: float | None) -> dict:
        """Validates, and adds a point to the curve."""
        valid_loss = train_loss
        if self.valid_loader is not None:
            self.validator.run(self.valid_loader)
            losses = self.validator.state.iter_history["loss"]
            valid_loss = sum(losses) / len(losses)
            self._refuse_not_finite("validation loss", valid_loss, iteration)
        test_si_sdr = None
        if self.probe is not None:
            self.model.eval()
            test_si_sdr = self.probe(self.model)
        point = {
            "iteration": iteration,
            "train_loss": train_loss,
            "valid_loss": valid_loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "test_si_sdr": test_si_sdr,
            "seconds": round(time.monotonic() - self.started, 2),
        }
        self.points.append(point)
        shown = " ".join(f"{key} {value:.4g}" for key, value in point.items() if value is not None)
        logger.info("%s", shown)
        return point

    def _refuse_not_finite(self, what: str, value: float, iteration: int) -> None:
        if not math.isfinite(value):
            end = iteration * self.config.batch_size
            raise TransferError(
                f"The {what} became {value} at iteration {iteration}, items {end - self.config.batch_size} to "
                f"{end - 1}. The last good state is saved; lower the learning rate, or look at these items."
            )
