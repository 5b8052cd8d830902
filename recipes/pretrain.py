"""Pretrain a network with the deep clustering loss.

::

    python -m recipes.pretrain recipes/conf/pretrain_musdb.yml --out runs/pretrain_musdb

The same command again resumes an interrupted run. ``--override`` changes the folders of the stems and any other option::

    python -m recipes.pretrain recipes/conf/pretrain_musdb.yml --out runs/pretrain_musdb \
        --override data.stores.musdb.folder=/data/musdb18hq training.device=cuda training.workers=8

On several GPUs, use ``torchrun --nproc_per_node 4 -m`` instead of ``python -m``.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from nussl_transfer.cli.recipe import run_recipe
from nussl_transfer.mixing.split import adapt_to_data, mixtures_of
from nussl_transfer.pipelines.experiment import Experiment, open_stores, split_stores, start_of
from nussl_transfer.pipelines.finetune import checkpoint_info, network_for
from nussl_transfer.runtime.process_group import synchronized
from nussl_transfer.training.fit import fit
from nussl_transfer.training.provenance import provenance
from nussl_transfer.training.run import Run, lock_run_folder, plain


def pretrain(experiment: Experiment, out: Path) -> Run:
    """Train the body of a network with the deep clustering loss, and return the run. Called again, it resumes."""
    # Check the options, and plan the network, before any store is made.
    start, config = start_of(experiment)
    with lock_run_folder(out):
        # Data: stores of stems, split into train and validation tracks. Mixtures are drawn from them.
        stores = open_stores(experiment, start.info.sample_rate)
        with synchronized():  # an error in one process ends all of them
            splits = split_stores(experiment, stores, config.seed)
            mixtures = adapt_to_data(splits, experiment.data.mixture_config())
            count = config.iterations * config.batch_size
            train, valid = mixtures_of(splits, mixtures, count, experiment.data.valid_items, config.seed)

            # Network: its mask head stays untrained, so it has no labels.
            network = network_for(start, (), config)

            # The checkpoint's description: sample rate, STFT, training stems.
            info = checkpoint_info(start, (), splits, mixtures, config)
            came_from = provenance([split.train for split in splits], config.seed, plain(asdict(experiment)))

        # Training: nussl's trainer with checkpoints, validation and resuming.
        return fit(network, train, valid, config=config, out=out, info=info, provenance=came_from)


if __name__ == "__main__":
    sys.exit(run_recipe(__doc__, pretrain, modes=("pretrain",)))
