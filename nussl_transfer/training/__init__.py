"""Stage 7, training: ``fit`` runs nussl's engines with the paper's optimizer, clipping and schedule.

One iteration is one batch; ``validate_every`` iterations are an epoch of nussl's trainer. Everything is saved
there, and a run that was broken off goes on from there, to the same weights as one that was not (contract 7).

    optimizing.py   the optimizer and its schedule
    loading.py      batches of mixtures
    saving.py       what is saved, and taken up again
    engine.py       nussl's engines, and what happens at each iteration and each validation
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from ignite.engine import Engine
from nussl.ml import SeparationModel

from ..checkpoints import CheckpointInfo, fingerprint
from ..errors import ConfigError
from ..mixing import Mixtures
from ..runs import FitConfig, Run, plain
from .engine import Training

__all__ = ["FitConfig", "describe", "fit"]


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
        Training(model.to(config.device), train, valid, config, run, info, probe, attach).run()
    model.eval()
    return run


def describe(mixtures: Mixtures | None) -> dict | None:
    """Returns what decides the items of a data set, as plain values: a run goes on only with the same."""
    if mixtures is None:
        return None
    names = ("samples", "length", "seed", "coherent", "num_sources", "fewest_sources", "gain_db", "span")
    tracks = mixtures.store.tracks
    values = {"tracks": len(tracks), "stems": mixtures.store.fingerprint()}
    return plain({**{name: getattr(mixtures, name) for name in names}, **values})
