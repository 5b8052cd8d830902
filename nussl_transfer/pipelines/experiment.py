"""An experiment is conducted: stores are made or found, a network is made or read, and it is trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import nussl
import torch

from ..checkpoints.checkpoint import CheckpointInfo
from ..datasets.options import StemOptions
from ..errors import ConfigError
from ..evaluation.excerpts import MixtureExcerpt, make_excerpts
from ..evaluation.jams import read_excerpts
from ..evaluation.score import SourceSeparationProbe
from ..mixing.config import MixtureConfig
from ..mixing.split import train_valid_split
from ..networks.chimera import build_transfer_chimera
from ..runtime.process_group import is_main_process, synchronized
from ..store.open import open_store
from ..store.store import Store
from ..training.run import Run, lock_run_folder, plain
from .experiment_sections import Experiment, NetworkConfig, StoreConfig
from .finetune import Start, check_trainable, train_on


def conduct(experiment: Experiment, out: str | Path) -> Run:
    """Trains what an experiment says, and returns the folder of the run; called again, it goes on.

    Args:
        experiment: As from :func:`read_experiment`.
        out: Folder of the run.

    Raises:
        ConfigError: The experiment cannot work, or the folder holds another.
        DataError: The stems are not fit for training.
        CheckpointError: The checkpoint to start from cannot be read or does not fit.
    """
    with synchronized():
        config = experiment.training.fit_config(experiment.kind)
        _check(experiment)
    checkpoint = experiment.start.checkpoint
    start = plan_of(experiment.network) if checkpoint is None else Start.read(checkpoint)
    with synchronized():
        check_trainable(start, config)
    data = experiment.data
    with lock_run_folder(out):
        stores = open_stores(experiment, start.info.sample_rate)
        with synchronized():
            shares = [about.share for _, about in sorted(data.stores.items())]
            materials = [train_valid_split(store, config.seed, share) for store, share in zip(stores, shares, strict=True)]
            drawing = MixtureConfig(
                excerpt_seconds=data.excerpt_seconds,
                coherent=data.coherent,
                num_sources=data.num_sources,
                fewest_sources=data.fewest_sources,
                gain_db=data.gain_db,
                sounding=data.sounding,
                pitch=data.pitch if "pitch" in data.augment else None,
                stretch=data.stretch if "stretch" in data.augment else None,
            )
            probe = _probe(stores[0], experiment, start) if experiment.test.probed and is_main_process() else None
        return train_on(materials, start, drawing, config, out, probe, data.valid_items, plain(asdict(experiment)))


def open_stores(experiment: Experiment, sample_rate: int) -> list[Store]:
    """Returns the stores of an experiment, which are made where they are not, at a rate in Hz.

    They are in the order of their names, so that the same stores written in another order are the same run.

    Raises:
        DataError: The stems are not fit for a store.
    """
    prepared = Path(experiment.data.prepared)
    return [_open(about, prepared / name, sample_rate) for name, about in sorted(experiment.data.stores.items())]


def plan_of(network: NetworkConfig) -> Start:
    """Returns a start with no checkpoint: a network of these sizes, to be made anew."""
    config = build_transfer_chimera(
        num_sources=2,
        num_features=network.num_features,
        hidden_size=network.hidden_size,
        num_layers=network.num_layers,
        bidirectional=network.bidirectional,
        dropout=network.dropout,
        embedding_size=network.embedding_size,
        embedding_activation=network.embedding_activation,
        mask_activation=network.mask_activation,
    )
    info = CheckpointInfo((), "unknown", network.sample_rate, network.stft_params)
    with torch.random.fork_rng(devices=[]):  # its weights are drawn again when it is made
        return Start(nussl.ml.SeparationModel(config), info)


def _check(experiment: Experiment) -> None:
    if not experiment.data.stores:
        raise ConfigError("An experiment without stems was asked for: name a folder, as data.stores.NAME.folder.")
    if experiment.test.probed and (experiment.kind == "pretrain" or len(experiment.data.stores) > 1):
        raise ConfigError(
            "test.probed asks for the SI-SDR of the network while it trains: in mode 'pretrain' no masks are trained, and "
            "with several stores it is not said which is tested on. Set it to 0."
        )


def _open(about: StoreConfig, prepared: Path, sample_rate: int) -> Store:
    options = StemOptions(about.dataset, about.options, about.groups, about.ignore, about.silent, about.missing)
    return open_store(Path(about.folder).expanduser(), prepared, sample_rate, options)


def excerpts_of(store: Store, experiment: Experiment, count: int) -> list[MixtureExcerpt]:
    """Returns so many excerpts of a store's test tracks, as the experiment says: from its list, or drawn.

    Raises:
        DataError: There are no test tracks, or the list is not of them.
    """
    tested, test = store.select(split="test"), experiment.test
    if test.excerpt_list is None:
        return make_excerpts(tested, experiment.data.excerpt_seconds, count, coherent=test.coherent)
    listed = read_excerpts(test.excerpt_list, tested)
    chosen = dict.fromkeys(np.linspace(0, len(listed) - 1, min(count, len(listed))).round().astype(int))
    return [listed[place] for place in chosen]


def _probe(store: Store, experiment: Experiment, start: Start) -> SourceSeparationProbe:
    excerpts = excerpts_of(store, experiment, experiment.test.probed)
    return SourceSeparationProbe(store.select(split="test"), excerpts, start.info.stft_params)
