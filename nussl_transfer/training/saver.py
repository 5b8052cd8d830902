"""Save a run while it trains, and restore it when it resumes."""

from __future__ import annotations

import ignite.distributed as idist
import torch
from ignite.engine import Engine
from nussl.ml import SeparationModel

from ..checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from ..errors import CheckpointError
from ..runtime.files import write_same
from ..runtime.process_group import all_gather, is_main_process, rank_seed, synchronized
from .closures import EngineState, state_of
from .config import FitConfig
from .run import Run


class Saver:
    """Write a run's checkpoints, curve and state, and restore the state.

    Args:
        run: Folder of the run.
        model: The network in training.
        eval_model: The network to write into checkpoints: the averaged one, if there is one.
        info: What the checkpoints record about themselves.
        config: How to train.
        parts: Everything else that changes during training, by name. Each has ``state_dict`` and ``load_state_dict``.
    """

    def __init__(
        self,
        run: Run,
        model: SeparationModel,
        eval_model: SeparationModel,
        info: CheckpointInfo,
        config: FitConfig,
        parts: dict,
    ):
        self.folder, self.model, self.eval_model = run, model, eval_model
        self.info, self.config = info, config
        self.parts = {"model": model, **parts}

    def save(self, engine: Engine, is_best: bool, mixture_si_sdr: float | None = None) -> None:
        """Write the checkpoints, the curve, and last the state, from which a resumed run starts.

        Args:
            engine: The trainer.
            is_best: Whether the network is the best so far.
            mixture_si_sdr: SI-SDR of the unprocessed mixture in dB, to compare the curve's with.

        Raises:
            CheckpointError: The disk is full, or cannot be written. The previous save is intact.
        """
        random, *of_others = all_gather(self._random_state())
        if of_others:
            random["random_of_others"] = of_others
        with synchronized():
            if is_main_process():
                self._write_or_explain(engine, is_best, mixture_si_sdr, random)
        if not is_main_process():
            self.folder.state = {"iteration": engine.state.iteration}

    def _write_or_explain(self, engine: Engine, is_best: bool, mixture_si_sdr: float | None, random: dict) -> None:
        before, iteration = self.folder.iteration, engine.state.iteration
        try:
            self._write(engine, is_best, mixture_si_sdr, random)
        except OSError as error:
            kept = f"The save of iteration {before} is intact" if before else "Nothing was saved before"
            found = f"{error.strerror}, writing {error.filename}" if error.filename else str(error)
            raise CheckpointError(
                f"Iteration {iteration} cannot be saved in {self.folder.folder}: {found}. {kept}. Free some space, then "
                "give the same command again to resume."
            ) from error

    def _write(self, engine: Engine, is_best: bool, mixture_si_sdr: float | None, random: dict) -> None:
        training = self._training_metadata(state_of(engine))
        write_checkpoint(self.folder.latest, self.eval_model, self.info, training)
        iteration = engine.state.iteration
        if is_best:
            write_same(self.folder.best, self.folder.latest)
        if iteration in self.config.keep_at:
            write_same(self.folder.kept(iteration), self.folder.latest)
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state.update(iteration=iteration, **random)
        self.folder.save(state, mixture_si_sdr)

    def restore(self) -> None:
        """Restore the saved state, if there is one."""
        state = self.folder.state
        if state is None:
            return
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self._restore_random(state)

    def _random_state(self) -> dict:
        state = {"random": torch.get_rng_state()}
        if self.config.device.startswith("cuda"):
            state["random_cuda"] = torch.cuda.get_rng_state(self.config.device)
        return state

    def _restore_random(self, state: dict) -> None:
        # Each rank has its own random state. A rank that did not exist when the run was saved gets a new seed.
        states = [state, *state.get("random_of_others", ())]
        rank = idist.get_rank()
        if rank >= len(states):
            torch.manual_seed(rank_seed(self.config.seed, state["iteration"]))
            return
        torch.set_rng_state(states[rank]["random"])
        if "random_cuda" in states[rank] and self.config.device.startswith("cuda"):
            torch.cuda.set_rng_state(states[rank]["random_cuda"], self.config.device)

    def _training_metadata(self, state: EngineState) -> dict:
        """Return what nussl's own trainer would put into a checkpoint."""
        return {
            "optimizer": self.model.metadata["optimizer"],
            "loss_dictionary": self.model.metadata["loss_dictionary"],
            "trainer.state_dict": {
                "epoch": state.epoch,
                "epoch_length": state.epoch_length,
                "max_epochs": state.max_epochs,
                "output": {name: float(value) for name, value in (state.output or {}).items()},
                "metrics": {},
                "seed": None,
            },
            "trainer.state.epoch_history": self.parts["curve"].history(),
        }
