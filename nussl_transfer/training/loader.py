"""Load batches in a fixed order, with worker processes; name the item of a failed load or a killed worker."""

from __future__ import annotations

import os
import re
import signal
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from ..errors import DataError
from ..runtime.process_group import all_reduce_sum, rank_share, synchronized

SPAWN_ADVICE = (
    "Where Python starts worker processes by spawning them (Windows, macOS), a script must train inside "
    "`if __name__ == '__main__':`; or set `workers=0`."
)


class SizedDataset(Protocol):
    """Any torch ``Dataset`` with a length."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> object: ...


class RepeatedDataset(Dataset):
    """A data set repeated to a number of items, in a new order each time.

    Args:
        dataset: At least one item.
        length: Number of items.
        seed: Decides every order.

    >>> ten = RepeatedDataset(["a", "b", "c"], 10, seed=0)
    >>> sorted(ten[k] for k in range(3)), sorted(ten[k] for k in range(3, 6))
    (['a', 'b', 'c'], ['a', 'b', 'c'])
    """

    def __init__(self, dataset: SizedDataset, length: int, seed: int = 0):
        self.dataset, self.length, self.seed = dataset, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> object:
        if not 0 <= index < self.length:
            raise IndexError(f"Item {index} is out of range: there are {self.length}.")
        return self.dataset[self.position(index)]

    def position(self, index: int) -> int:
        """Return which item of the data set item ``index`` is."""
        repeat, offset = divmod(index, len(self.dataset))
        return int(_order(self.seed, repeat, len(self.dataset))[offset])


@lru_cache(maxsize=4)
def _order(seed: int, repeat: int, length: int) -> np.ndarray:
    return np.random.default_rng([seed, repeat]).permutation(length)


class Batches:
    """Batches of a data set's items, in order. Iterate again to make them again.

    An iteration that is left unfinished must be ended by `close`: its loader processes ignore SIGTERM, and Python waits for
    them when it exits.

    In a group of processes, each rank loads its share of every batch.

    Args:
        dataset: The items.
        indices: Which items.
        batch_size: Items per batch. The last batch may have fewer.
        workers: Number of loader processes. 0 loads in this process.
        name: What the items are for, for messages.
        device: Where the batches go.
        in_step: Whether all ranks iterate in step. Then a failure in one rank is raised in all of them.

    Raises:
        DataError: While iterating: an item cannot be made, or its loader process died.
    """

    def __init__(
        self,
        dataset: SizedDataset,
        indices: range,
        batch_size: int,
        workers: int,
        name: str,
        device: str,
        in_step: bool = False,
    ):
        self.dataset, self.name, self.device, self.in_step = dataset, name, device, in_step
        self._iteration: Generator[dict, None, None] | None = None
        wholes = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
        parts = [rank_share(whole) for whole in wholes]
        self._shares = [len(part) / len(whole) for part, whole in zip(parts, wholes, strict=True)]
        workers = min(workers, max(1, len(indices)))
        # One row per worker, in shared memory: its process id, and the item it is making.
        self.worker_items = torch.full((max(1, workers), 2), -1, dtype=torch.int64).share_memory_()
        # The loader draws a seed for its workers, which do not use it. If it drew from torch's own generator, dropout in
        # a resumed run would differ from that in an uninterrupted one.
        self.loader = DataLoader(
            _Watched(dataset, self.worker_items),
            # torch declares lists of indices, but only iterates over them; a range needs no memory.
            batch_sampler=[part for part in parts if part],  # type: ignore[misc]
            num_workers=workers,
            generator=torch.Generator(),
            collate_fn=_collate,
            worker_init_fn=_leave_signals_to_the_main_process,
            pin_memory=device.startswith("cuda"),
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict]:
        self.close()
        self._iteration = self._iterate()
        return self._iteration

    def close(self) -> None:
        """End the iteration that was left unfinished, if any, and its loader processes."""
        if self._iteration is not None:
            self._iteration.close()

    def _iterate(self) -> Generator[dict, None, None]:
        batches = iter(self.loader)
        try:
            for _ in range(len(self)):
                with synchronized() if self.in_step else nullcontext():
                    batch = self._made(next(batches))
                # Copied asynchronously here: nussl's engine would copy each tensor synchronously.
                yield {name: _sent(value, self.device) for name, value in batch.items()}
        finally:
            # The loader processes end with their iterator, which the traceback of an error would keep.
            del batches

    def whole_batch_losses(self, losses: Sequence[float]) -> list[float]:
        """Return the loss of each whole batch, from this rank's losses of its shares."""
        own = iter(losses)
        return all_reduce_sum([share * next(own) if share else 0.0 for share in self._shares])

    def _made(self, batch: dict | _Failure) -> dict:
        if isinstance(batch, _Failure):
            raise DataError(
                f"Item {batch.index} of the {self.name} data ({describe_item(self.dataset, batch.index)}) cannot be made: "
                f"{batch.message}"
            ) from batch.cause
        return batch


@contextmanager
def loader_processes(*loaders: Batches | None) -> Iterator[None]:
    """Report the death of a loader process within the block as the item that it was making; end all of them after it.

    Raises:
        DataError: A loader process died.
    """
    try:
        yield
    except RuntimeError as error:  # torch has no class for it, and raises it wherever the main process happens to be
        dead = re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", str(error))
        if dead is None:
            raise
        processes = {int(number) for number in dead[1].split(",")}
        what = [
            f"item {item} of the {loader.name} data ({describe_item(loader.dataset, item)})"
            for loader in loaders
            if loader is not None
            for process, item in loader.worker_items.tolist()
            if process in processes and item >= 0
        ]
        reason = str(error).splitlines()[0].strip(" .")
        if what:
            advice = (
                "If memory ran out, take fewer workers or smaller batches; if a file is at fault, `workers=0` names it."
            )
        else:
            advice = SPAWN_ADVICE
        raise DataError(
            f"A loader process died at {' and '.join(what) or 'its start'}: {reason}. {advice} The same command resumes "
            "from the last save."
        ) from error
    finally:
        for loader in loaders:
            if loader is not None:
                loader.close()


def describe_item(dataset: SizedDataset, index: int) -> str:
    """Return the tracks and stems that an item is made of; for a data set without `draw`, its class."""
    if isinstance(dataset, RepeatedDataset):
        return f"item {dataset.position(index)} of {type(dataset.dataset).__name__}"
    if not hasattr(dataset, "draw"):
        return type(dataset).__name__
    try:
        excerpts = dataset.draw(index)
    except Exception as error:  # this may be what failed
        return f"its tracks cannot be drawn, {type(error).__name__}"
    labels: dict[str, list[str]] = {}
    for excerpt in excerpts:
        labels.setdefault(excerpt.track.name, []).append(excerpt.label)
    return "; ".join(f"track {track!r}: {', '.join(found)}" for track, found in labels.items())


@dataclass(frozen=True)
class _Failure:
    """An item that cannot be made, as a loader process returns it."""

    index: int
    message: str
    cause: BaseException | None


class _Watched(Dataset):
    """A data set that records which item it makes, and returns a failure where torch would print a traceback."""

    def __init__(self, dataset: SizedDataset, worker_items: torch.Tensor):
        self.dataset, self.worker_items = dataset, worker_items

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[int, dict] | _Failure:
        worker = get_worker_info()
        if worker is not None:
            self.worker_items[worker.id, 1] = index
        try:
            return index, _numbers_of(self.dataset[index])
        except Exception as error:  # whatever it is, the run ends and names the item
            message = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
            if worker is None:
                return _Failure(index, message, error)
            return _Failure(index, message, RuntimeError(traceback.format_exc()))


def _numbers_of(item: object) -> dict:
    """Return the tensors, arrays and numbers of an item.

    Raises:
        DataError: The item holds no mixture.
    """
    if not isinstance(item, dict) or not item.keys() & {"mix_audio", "mix_magnitude"}:
        found = ", ".join(map(str, item)) if isinstance(item, dict) else type(item).__name__
        raise DataError(
            f"An item has the wrong form: got {found}, expected a dictionary with 'mix_audio' and 'source_audio', or with "
            "nussl's spectra. Give the data set nussl's transforms up to ToSeparationModel, or return such a dictionary."
        )
    kinds = (torch.Tensor, np.ndarray, np.number, int, float)
    return {name: value for name, value in item.items() if isinstance(value, kinds)}


def _collate(items: Sequence[tuple[int, dict] | _Failure]) -> dict | _Failure:
    made: list[tuple[int, dict]] = []
    for item in items:
        if isinstance(item, _Failure):
            return item
        made.append(item)
    try:
        return default_collate([values for _, values in made])
    except (RuntimeError, TypeError, KeyError) as error:
        (first, names), (last, _) = made[0], made[-1]
        shapes = {name: sorted({tuple(np.shape(values.get(name, 0))) for _, values in made}) for name in names}
        differing = {name: found for name, found in shapes.items() if len(found) > 1}
        message = f"items {first} to {last} do not fit into one batch, their shapes differ: {differing}"
        return _Failure(first, message if differing else f"{type(error).__name__}: {error}", error)


def _sent(value: object, device: str) -> object:
    return value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value


def _leave_signals_to_the_main_process(number: int) -> None:
    """Ignore Ctrl-C and SIGTERM, which often reach all processes: the main one still needs the current batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    worker = get_worker_info()
    if worker is not None and isinstance(worker.dataset, _Watched):
        worker.dataset.worker_items[number, 0] = os.getpid()
