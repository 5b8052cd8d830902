"""Train a network: nussl's engines with the paper's optimizer, clipping and schedule.

One iteration is one batch. One epoch of nussl's trainer is ``validate_every`` iterations; after each, the run validates
and saves everything that it needs to resume bit-exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from nussl.ml import SeparationModel

from ..checkpoints.checkpoint import CheckpointInfo, fingerprint
from ..errors import ConfigError
from ..networks.targets import Targets
from ..runtime.device import resolve_device
from ..runtime.process_group import broadcast_model, preserve_random_state, rank_seed
from ..runtime.signals import Interrupts
from .config import FitConfig
from .engine import Callback, FitJob, Training
from .head_fit import fit_mask_head
from .loader import RepeatedDataset, SizedDataset
from .run import Run, lock_run_folder, plain

__all__ = ["FitConfig", "describe", "fit"]


def fit(
    model: SeparationModel,
    train: SizedDataset,
    valid: SizedDataset | None = None,
    *,
    config: FitConfig,
    out: str | Path,
    info: CheckpointInfo,
    callbacks: Sequence[Callback] = (),
    probe: Callable[[SeparationModel], float] | None = None,
    targets: Callable[[dict], dict] | None = None,
    provenance: dict | None = None,
) -> Run:
    """Train a network and return the folder of the run. Call it again with the same arguments to resume.

    Ctrl-C and SIGTERM end the run after the current iteration and save it. A second Ctrl-C ends it at once.

    In a group of processes (:mod:`~nussl_transfer.runtime.process_group`), each rank takes its share of every batch; the
    result is that of one process. Only the main process measures ``probe`` and writes files.

    Args:
        model: The network. It is trained in place.
        train: Any data set of items. One of this package (:class:`~nussl_transfer.mixing.mixtures.Mixtures`) has
            exactly ``iterations * batch_size`` items. Any other is repeated as often as needed, each time in a new order
            drawn from ``config.seed``.
        valid: Items for the validation loss. Without them, the mean training loss takes its place.
        config: How to train.
        out: Folder of the run.
        info: What the checkpoints record about themselves.
        callbacks: Each is called once with nussl's trainer and validator, before training. For example
            ``lambda trainer, _: nussl.ml.train.add_stdout_handler(trainer)``.
        probe: Measures the network at each validation, for the curve's ``test_si_sdr``. It must not change the network.
        targets: Turns a batch of audio into spectra and targets. The default is
            :class:`~nussl_transfer.networks.targets.Targets` with ``info.stft_params``. Batches that hold spectra
            already are not passed to it.
        provenance: Plain values to write to ``config.yml`` beside the configuration.

    Shape:
        An item of audio is ``{'mix_audio': [nc, samples], 'source_audio': [nc, samples, ns]}``. An item of spectra is
        what nussl's ``ToSeparationModel`` returns, with ``'ideal_binary_mask'`` and ``'weights'``. Values that are neither
        tensors, arrays nor numbers are left out.

    Raises:
        ConfigError: The folder holds another run, another process works there, or the number of items is wrong.
        DataError: An item cannot be made, or a loader process died.
        CheckpointError: The run cannot be saved, or its saved state cannot be read.
        TransferError: Loss or gradient was not finite too often.
        KeyboardInterrupt: Ctrl-C. All finished iterations are saved.
        SystemExit: SIGTERM. Likewise, with status 0.

    Note:
        On resuming, the run checks that it got the same data. It asks the data sets: ``describe()`` returns plain values
        that decide every item. For a data set without that method, only its class, its length and its attribute ``seed``
        are compared, so changed files or transforms go unnoticed. Its item ``k`` must be the same each time, or a
        resumed run differs from an uninterrupted one.
    """
    config = replace(config, device=resolve_device(config.device))
    identity = {"network": fingerprint(model), "training": describe(train), "validation": describe(valid)}
    train = _with_length(train, config)
    if valid is not None and len(valid) < 1:
        raise ConfigError("The validation data set is empty. Give at least 1 item, or no validation data set.")
    if valid is None and config.choose_by != "loss":
        raise ConfigError(f"choose_by={config.choose_by!r} needs validation data. Give valid, or choose by 'loss'.")
    with Interrupts() as interrupts, lock_run_folder(out), preserve_random_state():
        run = Run(out, {**plain(asdict(config)), **identity}, provenance)
        torch.manual_seed(rank_seed(config.seed))
        broadcast_model(model.to(config.device))
        targets = Targets(info.stft_params, config.phase_sensitive) if targets is None else targets
        if config.head_mixtures and run.state is None:
            fit_mask_head(model, train, targets, config.head_mixtures, config.device, config.workers)
        job = FitJob(
            model=model,
            train=train,
            valid=valid,
            config=config,
            run=run,
            info=info,
            targets=targets,
            callbacks=tuple(callbacks),
            probe=probe,
        )
        Training(job, interrupts).run()
    model.eval()
    return run


def describe(dataset: SizedDataset | None) -> dict | None:
    """Return what identifies the items of a data set, as plain values. A run resumes only with an equal description."""
    if dataset is None:
        return None
    if hasattr(dataset, "describe"):
        return plain(dataset.describe())
    seed = getattr(dataset, "seed", None)
    return {"class": type(dataset).__name__, "length": len(dataset), "seed": seed if isinstance(seed, int) else None}


def _with_length(train: SizedDataset, config: FitConfig) -> SizedDataset:
    items = config.iterations * config.batch_size
    if hasattr(train, "describe"):
        if len(train) != items:
            raise ConfigError(
                f"The training data has the wrong length: got {len(train)} mixtures, expected {items} ({config.iterations} "
                f"batches of {config.batch_size}). Set its length to {items}."
            )
        return train
    if len(train) < 1:
        raise ConfigError("The training data set is empty. Give at least 1 item.")
    return RepeatedDataset(train, items, config.seed)
