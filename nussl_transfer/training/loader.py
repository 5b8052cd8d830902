"""Batches: which items come, in what order, made by how many processes; and what is said when one cannot be made."""

from __future__ import annotations

import os
import re
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from ..errors import DataError
from ..mixing.mixtures import Mixtures
from ..runtime.process_group import all_reduce_sum, rank_share, synchronized


class Batches:
    """Batches of items in their order, made anew each time it is gone through.

    Where processes work together, each has its part of every batch.

    Args:
        mixtures: What the items are of.
        indices: Which items.
        batch_size: Items a batch; the last may have fewer.
        workers: Processes that make them; 0 makes them in this one.
        name: What they are for, for messages.
        device: Where they are wanted.
        in_step: Whether all processes go through it together: then all end where one cannot make an item.

    Raises:
        DataError: While going through it: an item could not be made, or the process that was at it died.
    """

    def __init__(
        self,
        mixtures: Mixtures,
        indices: range,
        batch_size: int,
        workers: int,
        name: str,
        device: str,
        in_step: bool = False,
    ):
        self.mixtures, self.name, self.device, self.in_step = mixtures, name, device, in_step
        wholes = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
        parts = [rank_share(whole) for whole in wholes]
        self._shares = [len(part) / len(whole) for part, whole in zip(parts, wholes, strict=True)]
        workers = min(workers, max(1, len(indices)))
        # For each worker: its process, and the item that it is at. Where all can see it.
        self.at = torch.full((max(1, workers), 2), -1, dtype=torch.int64).share_memory_()
        # A loader draws a seed for its workers, which need none here. Of a generator of its own: drawn of torch's,
        # it would shift the dropout of a run that was broken off against that of one that was not.
        self.loader = DataLoader(
            _Watched(mixtures, self.at),
            batch_sampler=[part for part in parts if part],
            num_workers=workers,
            generator=torch.Generator(),
            collate_fn=_collate,
            worker_init_fn=_leave_signals_to_the_main_process,
            pin_memory=device.startswith("cuda"),
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict]:
        batches = iter(self.loader)
        for _ in range(len(self)):
            with synchronized() if self.in_step else nullcontext():
                batch = self._made(next(batches))
            # Sent before nussl's engine does, which would wait for each tensor to be there.
            yield {name: _sent(value, self.device) for name, value in batch.items()}

    def of_all(self, losses: Sequence[float]) -> list[float]:
        """Returns the loss of each whole batch, where the processes have those of their parts."""
        own = iter(losses)
        return all_reduce_sum([share * next(own) if share else 0.0 for share in self._shares])

    def _made(self, batch: dict | _Failure) -> dict:
        if isinstance(batch, _Failure):
            made_of = describe_item(self.mixtures, batch.index)
            raise DataError(
                f"Item {batch.index} of the {self.name} mixtures ({made_of}) could not be made: {batch.message}"
            ) from batch.cause
        return batch


@contextmanager
def explain_worker_death(*loaders: Batches | None) -> Iterator[None]:
    """Within the block, the death of a process that makes batches is told as the item that it was at.

    Raises:
        DataError: One died.
    """
    try:
        yield
    except RuntimeError as error:  # torch has no class for it, and raises it wherever this process is just then
        dead = re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", str(error))
        if dead is None:
            raise
        processes = {int(number) for number in dead[1].split(",")}
        what = [
            f"item {item} of the {loader.name} mixtures ({describe_item(loader.mixtures, item)})"
            for loader in loaders
            if loader is not None
            for process, item in loader.at.tolist()
            if process in processes and item >= 0
        ]
        said = str(error).splitlines()[0].strip(" .")
        raise DataError(
            f"A process that makes mixtures died at {' and '.join(what) or 'its start'}. {said}. Where memory "
            "ran out, take fewer workers or smaller batches; where a file is at fault, `workers=0` shows how. The same "
            "command goes on from what is saved."
        ) from error


def describe_item(mixtures: Mixtures, index: int) -> str:
    """Returns the tracks and stems that an item is made of, or nothing that could fail."""
    try:
        excerpts = mixtures.draw(index)
    except Exception as error:  # it may be the very thing that failed
        return f"whose tracks cannot be drawn, {type(error).__name__}"
    labels: dict[str, list[str]] = {}
    for excerpt in excerpts:
        labels.setdefault(excerpt.track.name, []).append(excerpt.label)
    return "; ".join(f"track {track!r}: {', '.join(found)}" for track, found in labels.items())


@dataclass(frozen=True)
class _Failure:
    """An item that could not be made, as it comes out of a process that loads."""

    index: int
    message: str
    cause: BaseException | None


class _Watched(Dataset):
    """Mixtures that say where they are, and give a failure instead of raising, which torch would tell as a traceback."""

    def __init__(self, mixtures: Mixtures, at: torch.Tensor):
        self.mixtures, self.at = mixtures, at

    def __len__(self) -> int:
        return len(self.mixtures)

    def __getitem__(self, index: int) -> dict | _Failure:
        worker = get_worker_info()
        if worker is not None:
            self.at[worker.id, 1] = index
        try:
            return self.mixtures[index]
        except Exception as error:  # whatever it is, the run is over, and says at which item
            message = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
            if worker is None:
                return _Failure(index, message, error)
            return _Failure(index, message, RuntimeError(traceback.format_exc()))


def _collate(items: Sequence[dict | _Failure]) -> dict | _Failure:
    failed = [item for item in items if isinstance(item, _Failure)]
    return failed[0] if failed else default_collate(items)


def _sent(value: object, device: str) -> object:
    return value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value


def _leave_signals_to_the_main_process(number: int) -> None:
    """A Ctrl-C, and many a SIGTERM, reaches all processes: the main one still needs its batch to end an iteration."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    worker = get_worker_info()
    worker.dataset.at[number, 0] = os.getpid()
