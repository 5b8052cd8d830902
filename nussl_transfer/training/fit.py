"""Stage 7, training: ``fit`` runs nussl's engines with the paper's optimizer, clipping and schedule.

One iteration is one batch; ``validate_every`` iterations are an epoch of nussl's trainer. Everything is saved
there, and a run that was broken off goes on from there, to the same weights as one that was not (contract 7).

    optimizing.py   the optimizer and its schedule
    loading.py      batches of mixtures, and which item it was where one cannot be made
    curve.py        losses, the points made of them, and whether they still fall
    stepping.py     a gradient, clipped, becomes a step or none; the average of the weights
    faults.py       steps that were skipped
    progress.py     the bar, and a line every hundred iterations
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

from ..checkpoints.checkpoint import CheckpointInfo, fingerprint
from ..errors import ConfigError
from ..mixing.mixtures import Mixtures
from ..runtime.process_group import broadcast_model, preserve_random_state, rank_seed
from ..runtime.signals import Interrupts
from .engine import Training
from .run import FitConfig, Run, lock_run_folder, plain

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
    provenance: dict | None = None,
) -> Run:
    """Trains a network and returns the folder of the run; called again, it goes on where it was broken off.

    Ctrl-C and SIGTERM end it after the iteration at hand, which is saved; a second Ctrl-C at once.

    Called in several processes that work together (:mod:`~nussl_transfer.runtime.process_group`), it divides each batch among
    them, and comes to what one process comes to; ``probe`` measures in the first, which alone writes.

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
            ``lambda trainer, _: nussl.ml.train.add_stdout_handler(trainer)``.
        provenance: Written into ``config.yml`` beside the configuration, as plain values.

    Raises:
        ConfigError: The folder holds another run, or another process is at work there; or the number of mixtures is not
            the run's.
        DataError: An item could not be made, or a process that was at one died.
        CheckpointError: Nothing can be saved, or what was saved cannot be read.
        TransferError: Loss or gradient is not a number too often.
        KeyboardInterrupt: Ctrl-C; all that was done is saved.
        SystemExit: SIGTERM; likewise, with status 0.
    """
    items = config.iterations * config.batch_size
    if len(train) != items:
        raise ConfigError(f"{config.iterations} batches of {config.batch_size} take {items} mixtures: got {len(train)}.")
    decides = {"network": fingerprint(model), "training": describe(train), "validation": describe(valid)}
    with Interrupts() as interrupts, lock_run_folder(out), preserve_random_state():
        run = Run(out, {**plain(asdict(config)), **decides}, provenance)
        torch.manual_seed(rank_seed(config.seed))
        broadcast_model(model.to(config.device))
        Training(model, train, valid, config, run, info, interrupts, probe, attach).run()
    model.eval()
    return run


def describe(mixtures: Mixtures | None) -> dict | None:
    """Returns what decides the items of a data set, as plain values: a run goes on only with the same."""
    if mixtures is None:
        return None
    return plain(mixtures.describe())
