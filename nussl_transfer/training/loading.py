"""Batches: which items come, in what order, made by how many processes."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader

from ..mixing import Mixtures


def batches(mixtures: Mixtures, indices: range, batch_size: int, workers: int = 0) -> DataLoader:
    """Returns batches of these items in their order.

    Args:
        mixtures: What the items are of.
        indices: Which items.
        batch_size: Items a batch; the last may have fewer.
        workers: Processes that make them; 0 makes them in this one.
    """
    # A loader draws a seed for its workers, which need none here. Of a generator of its own: drawn of torch's,
    # it would shift the dropout of a run that was broken off against that of one that was not.
    return DataLoader(
        mixtures,
        batch_size,
        sampler=indices,
        num_workers=min(workers, max(1, len(indices))),
        generator=torch.Generator(),
    )
