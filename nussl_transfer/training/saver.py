"""What is saved of a run in training, and taken up again when it goes on."""

from __future__ import annotations

import ignite.distributed as idist
import torch
from ignite.engine import Engine
from nussl.ml import SeparationModel

from ..checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from ..errors import CheckpointError
from ..runtime.files import write_same
from ..runtime.process_group import all_gather, is_main_process, rank_seed, synchronized
from .config import FitConfig
from .run import Run


class Saver:
    """Writes a run's checkpoints and state, and puts a state back where it came from.

    Args:
        run: The folder.
        model: The network that is trained.
        shown: The one that goes into checkpoints; where weights are averaged, the average.
        info: What the checkpoints say of themselves.
        config: How is trained.
        parts: Everything else that changes while training, by name: each has ``state_dict`` and
            ``load_state_dict``.
    """

    def __init__(
        self,
        run: Run,
        model: SeparationModel,
        shown: SeparationModel,
        info: CheckpointInfo,
        config: FitConfig,
        parts: dict,
    ):
        self.folder, self.model, self.shown, self.info, self.config = run, model, shown, info, config
        self.parts = {"model": model, **parts}

    def save(self, engine: Engine, is_best: bool, mixture_si_sdr: float | None = None) -> None:
        """Writes the checkpoints, the curve, and last the state, which makes all of them count.

        Args:
            engine: The trainer.
            is_best: Whether the network is the best so far.
            mixture_si_sdr: What the curve's SI-SDR is to be compared with.

        Raises:
            CheckpointError: There is no room, or the files cannot be written; what was saved before is whole.
        """
        random, *of_others = all_gather(self._random_state())
        if of_others:
            random["random_of_others"] = of_others
        with synchronized():
            if is_main_process():
                self._write_or_tell(engine, is_best, mixture_si_sdr, random)
        if not is_main_process():
            self.folder.state = {"iteration": engine.state.iteration}

    def _write_or_tell(self, engine: Engine, is_best: bool, mixture_si_sdr: float | None, random: dict) -> None:
        before, iteration = self.folder.iteration, engine.state.iteration
        try:
            self._write(engine, is_best, mixture_si_sdr, random)
        except OSError as error:
            kept = f"what was saved at iteration {before} is whole" if before else "nothing was saved before"
            found = f"{error.strerror}, writing {error.filename}" if error.filename else str(error)
            raise CheckpointError(
                f"Iteration {iteration} was to be saved in {self.folder.folder}: {found}; {kept}. Make room there, and "
                "give the same command again: it goes on from that."
            ) from error

    def _write(self, engine: Engine, is_best: bool, mixture_si_sdr: float | None, random: dict) -> None:
        training = self._training_metadata(engine)
        write_checkpoint(self.folder.latest, self.shown, self.info, training)
        iteration = engine.state.iteration
        if is_best:
            write_same(self.folder.best, self.folder.latest)
        if iteration in self.config.keep_at:
            write_same(self.folder.kept(iteration), self.folder.latest)
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state.update(iteration=iteration, **random)
        self.folder.save(state, mixture_si_sdr)

    def restore(self) -> None:
        """Puts back what was saved, if anything was."""
        state = self.folder.state
        if state is None:
            return
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self._take_up_random(state)

    def _random_state(self) -> dict:
        state = {"random": torch.get_rng_state()}
        if self.config.device.startswith("cuda"):
            state["random_cuda"] = torch.cuda.get_rng_state(self.config.device)
        return state

    def _take_up_random(self, state: dict) -> None:
        # Each process has its own; one that was not there before begins one.
        states = [state, *state.get("random_of_others", ())]
        rank = idist.get_rank()
        if rank >= len(states):
            torch.manual_seed(rank_seed(self.config.seed, state["iteration"]))
            return
        torch.set_rng_state(states[rank]["random"])
        if "random_cuda" in states[rank] and self.config.device.startswith("cuda"):
            torch.cuda.set_rng_state(states[rank]["random_cuda"], self.config.device)

    def _training_metadata(self, engine: Engine) -> dict:
        """Returns what nussl's own trainer would put into a checkpoint."""
        return {
            "optimizer": self.model.metadata["optimizer"],
            "loss_dictionary": self.model.metadata["loss_dictionary"],
            "trainer.state_dict": {
                "epoch": engine.state.epoch,
                "epoch_length": engine.state.epoch_length,
                "max_epochs": engine.state.max_epochs,
                "output": {name: float(value) for name, value in (engine.state.output or {}).items()},
                "metrics": {},
                "seed": None,
            },
            "trainer.state.epoch_history": self.parts["curve"].history(),
        }
