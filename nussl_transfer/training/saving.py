"""What is saved of a run in training, and taken up again when it goes on."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from nussl.ml import SeparationModel

from ..checkpoints import CheckpointInfo, write_checkpoint
from ..runs import FitConfig, Run


class Saver:
    """Writes a run's checkpoints and state, and puts a state back where it came from.

    Args:
        run: The folder.
        model: The network.
        info: What the checkpoints say of themselves.
        config: How is trained.
        parts: Everything else that changes while training, by name: each has ``state_dict`` and
            ``load_state_dict``.
    """

    def __init__(self, run: Run, model: SeparationModel, info: CheckpointInfo, config: FitConfig, parts: dict):
        self.folder, self.model, self.info, self.config = run, model, info, config
        self.parts = {"model": model, **parts}

    def save(self, engine: Engine, points: list[dict], is_best: bool, mixture_si_sdr: float | None = None) -> None:
        """Writes the checkpoints, the curve, and last the state, which makes all of them count.

        Args:
            engine: The trainer.
            points: The curve.
            is_best: Whether the network is the best so far.
            mixture_si_sdr: What the curve's SI-SDR is to be compared with.
        """
        training = self._training_metadata(engine)
        write_checkpoint(self.folder.latest, self.model, self.info, training)
        if is_best:
            write_checkpoint(self.folder.best, self.model, self.info, training)
        iteration = engine.state.iteration
        if iteration in self.config.keep_at:
            write_checkpoint(self.folder.kept(iteration), self.model, self.info, training)
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state.update(iteration=iteration, random=torch.get_rng_state())
        if self.config.device.startswith("cuda"):
            state["random_cuda"] = torch.cuda.get_rng_state(self.config.device)
        self.folder.save(state, points, mixture_si_sdr)

    def restore(self) -> list[dict]:
        """Puts back what was saved, if anything was, and returns the curve."""
        state = self.folder.state
        if state is None:
            return []
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"])
        if "random_cuda" in state and self.config.device.startswith("cuda"):
            torch.cuda.set_rng_state(state["random_cuda"], self.config.device)
        return list(state["points"])

    def _training_metadata(self, engine: Engine) -> dict:
        """Returns what nussl's own trainer would put into a checkpoint."""
        return {
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
