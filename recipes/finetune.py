"""Fine-tune a pretrained network, or train one from scratch.

::

    python -m recipes.finetune recipes/conf/finetune_bach10.yml --out runs/bach10

The same command again resumes an interrupted run. ``--override`` changes the pretrained model and any other option::

    python -m recipes.finetune recipes/conf/finetune_bach10.yml --out runs/bach10 \
        --override start.checkpoint=runs/pretrain_slakh data.stores.bach10.folder=/data/Bach10_v1.1

On several GPUs, use ``torchrun --nproc_per_node 4 -m`` instead of ``python -m``.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from nussl_transfer.cli.recipe import run_recipe
from nussl_transfer.mixing.split import adapt_to_data, mixtures_of
from nussl_transfer.pipelines.experiment import Experiment, open_stores, probe_of, split_stores, start_of
from nussl_transfer.pipelines.finetune import checkpoint_info, network_for
from nussl_transfer.runtime.process_group import synchronized
from nussl_transfer.training.fit import fit
from nussl_transfer.training.provenance import provenance
from nussl_transfer.training.run import Run, lock_run_folder, plain


def finetune(experiment: Experiment, out: Path) -> Run:
    """Train a separator from a pretrained network or from scratch, and return the run. Called again, it resumes."""
    # Check the options, and read the pretrained network or plan a new one, before any store is made.
    start, config = start_of(experiment)
    with lock_run_folder(out):
        # Data: stores of stems, split into train and validation tracks. Mixtures are drawn from them.
        stores = open_stores(experiment, start.info.sample_rate)
        with synchronized():  # an error in one process ends all of them
            splits = split_stores(experiment, stores, config.seed)
            mixtures = adapt_to_data(splits, experiment.data.mixture_config())
            count = config.iterations * config.batch_size
            train, valid = mixtures_of(splits, mixtures, count, experiment.data.valid_items, config.seed)

            # Network: the pretrained body with a new mask head, one mask for each label of the stems.
            network = network_for(start, train.labels, config)

            # The checkpoint's description: labels, sample rate, STFT, pretrained model, training stems.
            info = checkpoint_info(start, train.labels, splits, mixtures, config)
            came_from = provenance([split.train for split in splits], config.seed, plain(asdict(experiment)))

            # The curve has the SI-SDR of test excerpts, if the experiment sets `test.probed`.
            probe = probe_of(experiment, stores[0], start)

        # Training: nussl's trainer with checkpoints, validation and resuming.
        return fit(network, train, valid, config=config, out=out, info=info, probe=probe, provenance=came_from)


if __name__ == "__main__":
    sys.exit(run_recipe(__doc__, finetune, modes=("whole", "mask")))
