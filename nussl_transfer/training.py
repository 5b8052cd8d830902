"""Stage 7, training: ``fit`` runs nussl's engines with the paper's optimizer, clipping and schedule.

One iteration is one batch; ``validate_every`` iterations are an epoch of nussl's trainer. Everything is saved
there, and a run that was broken off goes on from there, to the same weights as one that was not (contract 7).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from nussl.ml import SeparationModel
from nussl.ml.train import BackwardsEvents, ValidationEvents, create_train_and_validation_engines
from torch.utils.data import DataLoader
from tqdm import tqdm

from .checkpoints import CheckpointInfo, fingerprint, write_checkpoint
from .clipping import AutoClip
from .closures import TransferClosure, TransferValidationClosure
from .errors import ConfigError, TransferError
from .freezing import trainable_parameters
from .mixing import Mixtures
from .runs import FitConfig, Run, logger, plain
from .targets import Targets


def fit(
    model: SeparationModel,
    train: Mixtures,
    valid: Mixtures | None,
    config: FitConfig,
    out: str | Path,
    info: CheckpointInfo,
    probe: Callable[[SeparationModel], float] | None = None,
    attach: Callable[[Engine, Engine], None] | None = None,
) -> Run:
    """Trains a network and returns the folder of the run; called again, it goes on where it was broken off.

    Args:
        model: The network; trained in place.
        train: ``iterations * batch_size`` mixtures; item k is the same audio whenever it is asked for.
        valid: Mixtures for the validation loss. None: the training loss stands in for it.
        config: How to train.
        out: Folder of the run.
        info: What the checkpoints are to say of themselves.
        probe: Measures the network in training, for the curve's ``test_si_sdr``; it must leave no trace in
            it.
        attach: Adds handlers to the trainer and the validator, such as nussl's
            ``lambda trainer, _: nussl.ml.train.add_tensorboard_handler("logs", trainer)``.

    Raises:
        ConfigError: The folder holds another run, or the number of mixtures is not the run's.
        TransferError: The loss is not a number any more.
    """
    items = config.iterations * config.batch_size
    if len(train) != items:
        raise ConfigError(f"{config.iterations} batches of {config.batch_size} take {items} mixtures: got {len(train)}.")
    decides = {"network": fingerprint(model), "training": describe(train), "validation": describe(valid)}
    run = Run(out, {**plain(asdict(config)), **decides})
    with run.logged(), torch.random.fork_rng():
        torch.manual_seed(config.seed)
        _Fit(model.to(config.device), train, valid, config, run, info, probe, attach).run()
    model.eval()
    return run


class _Fit:
    """The parts of one run, wired together."""

    def __init__(self, model, train, valid, config, run, info, probe, attach):
        self.model, self.valid, self.config = model, valid, config
        self.folder, self.info, self.probe = run, info, probe
        parameters = trainable_parameters(model, config.mode, config.frozen)
        self.optimizer = torch.optim.Adam(parameters, lr=config.learning_rate)
        # torch's "patience" is how many validations may pass; the one after them lowers the rate.
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer,
            factor=config.plateau_factor,
            patience=math.ceil(config.plateau_iterations / config.validate_every) - 1,
            threshold=0.0,
        )
        self.autoclip = AutoClip(parameters, config.autoclip_percentile)
        shared = {
            "mode": config.mode,
            "dc_weight": config.dc_weight,
            "targets": Targets(info.stft_params),
            "frame_step": config.frame_step,
            "autocast": config.bf16,
        }
        self.trainer, self.validator = create_train_and_validation_engines(
            TransferClosure(self.optimizer, model, frozen=config.frozen, **shared),
            TransferValidationClosure(model, **shared),
            device=config.device,
        )
        self.points: list[dict] = []
        self.seconds = 0.0
        self._restore()
        done = self.folder.iteration
        self.train_loader = self._loader(train, range(done * config.batch_size, len(train)))
        self.valid_loader = None if valid is None else self._loader(valid, range(len(valid)))
        self.trainer.add_event_handler(BackwardsEvents.BACKWARDS_COMPLETED, self._on_gradient)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._on_iteration)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._on_epoch)
        if attach is not None:
            attach(self.trainer, self.validator)

    def run(self) -> None:
        config, done = self.config, self.folder.iteration
        if done >= config.iterations:
            logger.info("%s: all %d iterations are done", self.folder.folder, done)
            return
        if done:
            logger.info("%s: going on at iteration %d of %d", self.folder.folder, done, config.iterations)
        self.started = time.monotonic() - self.seconds
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
        self._save(engine, is_best=losses[-1] == min(losses))
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

    def _save(self, engine, is_best: bool) -> None:
        training = {
            "optimizer": self.model.metadata["optimizer"],
            "loss_dictionary": self.model.metadata["loss_dictionary"],
            "trainer.state_dict": {
                "epoch": engine.state.epoch,
                "epoch_length": engine.state.epoch_length,
                "max_epochs": engine.state.max_epochs,
                "output": engine.state.output,
                "metrics": {},
                "seed": None,
            },
            "trainer.state.epoch_history": engine.state.epoch_history,
        }
        write_checkpoint(self.folder.latest, self.model, self.info, training)
        if is_best:
            write_checkpoint(self.folder.best, self.model, self.info, training)
        if engine.state.iteration in self.config.keep_at:
            write_checkpoint(self.folder.kept(engine.state.iteration), self.model, self.info, training)
        state = {
            "iteration": engine.state.iteration,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "autoclip": self.autoclip.state_dict(),
            "random": torch.get_rng_state(),
        }
        if self.config.device.startswith("cuda"):
            state["random_cuda"] = torch.cuda.get_rng_state(self.config.device)
        self.folder.save(state, self.points, getattr(self.probe, "mixture_si_sdr", None))

    def _restore(self) -> None:
        state = self.folder.state
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.autoclip.load_state_dict(state["autoclip"])
        torch.set_rng_state(state["random"])
        if "random_cuda" in state and self.config.device.startswith("cuda"):
            torch.cuda.set_rng_state(state["random_cuda"], self.config.device)
        self.points = list(state["points"])
        self.seconds = self.points[-1]["seconds"]

    def _loader(self, mixtures: Mixtures, indices: range) -> DataLoader:
        # A loader draws a seed for its workers, which need none here. Of a generator of its own: drawn of torch's,
        # it would shift the dropout of a run that was broken off against that of one that was not.
        return DataLoader(
            mixtures,
            self.config.batch_size,
            sampler=indices,
            num_workers=min(self.config.workers, max(1, len(indices))),
            generator=torch.Generator(),
        )


def describe(mixtures: Mixtures | None) -> dict | None:
    """Returns what decides the items of a data set, as plain values: a run goes on only with the same."""
    if mixtures is None:
        return None
    names = ("samples", "length", "seed", "coherent", "num_sources", "fewest_sources", "gain_db", "span")
    tracks = mixtures.store.tracks
    values = {"tracks": len(tracks), "stems": mixtures.store.fingerprint()}
    return plain({**{name: getattr(mixtures, name) for name in names}, **values})
