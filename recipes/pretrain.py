"""Pretrains a network on the deep clustering loss::

    python -m recipes.pretrain recipes/conf/pretrain_musdb.yml --out runs/pretrain_musdb

The same command again goes on where a run was broken off. Where the stems are, and all else, may be said after
``--override``::

    python -m recipes.pretrain recipes/conf/pretrain_musdb.yml --out runs/pretrain_musdb \
        --override data.stores.musdb.folder=/data/musdb18hq training.device=cuda training.workers=8

On several GPUs, ``torchrun --nproc_per_node 4 -m`` stands in the place of ``python -m``.
"""

from __future__ import annotations

import sys

from nussl_transfer.cli.recipe import run_recipe

if __name__ == "__main__":
    sys.exit(run_recipe(__doc__, modes=("pretrain",)))
