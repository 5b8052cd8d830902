"""Fine-tunes a pretrained network, or trains one from scratch::

    python -m recipes.finetune recipes/conf/finetune_bach10.yml --out runs/bach10

The same command again goes on where a run was broken off. What to start from, and all else, may be said after
``--override``::

    python -m recipes.finetune recipes/conf/finetune_bach10.yml --out runs/bach10 \
        --override start.checkpoint=runs/pretrain_slakh data.stores.bach10.folder=/data/Bach10_v1.1

On several GPUs, ``torchrun --nproc_per_node 4 -m`` stands in the place of ``python -m``.
"""

from __future__ import annotations

import sys

from nussl_transfer.cli.recipe import run_recipe

if __name__ == "__main__":
    sys.exit(run_recipe(__doc__, modes=("whole", "mask")))
