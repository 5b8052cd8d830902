"""Stage 0, several processes: one run on several GPUs or machines, each process with its part of every batch.

    processes.py    who works at a run, what they tell each other, and what one of them does for all
    averaging.py    the gradient of the whole batch, and its statistics

`torchrun` starts them, :func:`joined` makes them one. Gradients are averaged here, in one buffer between the
gradient and the step, and not by torch's ``DistributedDataParallel``. That hooks itself into the ``forward`` of
a module that wraps the network; nussl's closures call the network itself, part of it or twice a step
(`passes.py`), freeze layers after it was made, and address ``model.layers``. One sum of one buffer is exact for
all of these, and the norm that is clipped, the step that is skipped and the average of the weights are those of
the whole batch without a word about it. What it gives up is to send while gradients are still computed: the
paper's network has 100 MB of them, a few milliseconds between GPUs of one machine.

Where there is one process, all of this does nothing.
"""

from .averaging import averaged, statistics_of_all
from .processes import (
    Elsewhere,
    alike,
    alone,
    from_first,
    gathered,
    is_first,
    joined,
    largest,
    made_once,
    own_part,
    own_seed,
    random_state_kept,
    refuse_undivided,
    spread,
    together,
    total,
)

__all__ = [
    "Elsewhere",
    "alike",
    "alone",
    "averaged",
    "from_first",
    "gathered",
    "is_first",
    "joined",
    "largest",
    "made_once",
    "own_part",
    "own_seed",
    "random_state_kept",
    "refuse_undivided",
    "spread",
    "statistics_of_all",
    "together",
    "total",
]
