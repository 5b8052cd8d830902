"""Process-group helpers: ranks, collectives, and work done once per machine.

Messages go through the CPU (gloo), so that they do not synchronise with a GPU; gradients go through the device's backend.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from ..errors import ConfigError, TransferError
from ..runtime.deferred import OnFirstUse

idist = OnFirstUse("ignite.distributed")  # imports all of ignite, which only training needs

T = TypeVar("T")
# The others wait while one process prepares stems, which may take hours. A dead process is noticed earlier: its
# connections close, and torchrun ends the others.
TIMEOUT = timedelta(hours=24)


class RemoteRankError(TransferError):
    """Another process failed, and reports the error itself."""


def is_single_process() -> bool:
    """Return whether this is the only process."""
    return idist.get_world_size() == 1


def is_main_process() -> bool:
    """Return whether this is the process that writes files and messages for all."""
    return idist.get_rank() == 0


@contextmanager
def join_process_group() -> Iterator[None]:
    """Within the block, the processes that torchrun started form a group. Without torchrun, do nothing.

    On machines with GPUs each process uses its own.

    Raises:
        ConfigError: The processes do not find each other.
        TransferError: One of them has ended.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    _join()
    try:
        yield
        all_reduce_max(0)  # wait for all processes
    except RuntimeError as error:
        # A collective with a dead process never ends, so the group stays open until this process ends.
        if "gloo" not in str(error).lower() and "nccl" not in str(error).lower():
            raise
        raise TransferError(
            f"Process {idist.get_rank()} of {idist.get_world_size()} lost the connection to another process. Look for its "
            "error message, and run the same command again to resume."
        ) from error
    except BaseException:
        idist.finalize()
        raise
    idist.finalize()


def _join() -> None:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() and dist.is_nccl_available() else 0
    try:
        if int(os.environ["LOCAL_RANK"]) < gpus:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=TIMEOUT)
    except (KeyError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"The {os.environ['WORLD_SIZE']} processes of WORLD_SIZE cannot connect: {str(error).splitlines()[0]}. Start "
            "them with torchrun."
        ) from error
    # In a SLURM job, ignite would take SLURM's rank as the local rank. But that is torchrun's, not that of this process.
    job = os.environ.pop("SLURM_JOB_ID", None)
    idist.sync()
    if job is not None:
        os.environ["SLURM_JOB_ID"] = job


# Collectives ----------------------------------------------------------------------------------------------------------


@contextmanager
def synchronized() -> Iterator[None]:
    """Barrier: an exception in one rank is raised in all, and the lowest failing rank reports it.

    Within the block no process may wait for another.

    Raises:
        RemoteRankError: Another process failed.
    """
    if is_single_process():
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # any exception: the others wait
        failure = error
    rank, size = idist.get_rank(), idist.get_world_size()
    first = size - all_reduce_max(0 if failure is None else size - rank)
    if first == rank and failure is not None:
        raise failure
    if first < size:
        raise _remote_error(first) from failure


def main_rank_error(error: TransferError) -> TransferError:
    """Return the error for every process to raise at the same point, so that only the main process reports it."""
    return error if is_main_process() else _remote_error(0)


def _remote_error(rank: int) -> RemoteRankError:
    return RemoteRankError(f"Process {rank} of {idist.get_world_size()} failed; see its error message.")


def all_reduce_max(number: int) -> int:
    """Return the largest of the processes' numbers."""
    if is_single_process():
        return number
    largest = torch.tensor(number)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def all_reduce_sum(numbers: Sequence[float]) -> list[float]:
    """Return the sums over all processes, element by element."""
    if is_single_process():
        return list(numbers)
    sums = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(sums)
    return sums.tolist()


def all_gather(value: T) -> list[T]:
    """Return the values of all processes, in the order of their ranks."""
    if is_single_process():
        return [value]
    found: list = [None] * idist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def broadcast(value: T) -> T:
    """Return the main process's value."""
    if is_single_process():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """Restore torch's random state after the block; each of several processes restores that of its own GPU."""
    # Reading a GPU's state allocates memory on it, so no process reads another's GPU.
    own = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=None if is_single_process() else own):
        yield


def broadcast_model(model: nn.Module) -> None:
    """Copy the main process's weights and buffers to all processes."""
    if not is_single_process():
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)


# Sharing the work -----------------------------------------------------------------------------------------------------


def check_batch_divides(batch_size: int) -> None:
    """Raise ConfigError unless all processes get equally many items of a batch."""
    size = idist.get_world_size()
    if batch_size % size:
        raise ConfigError(
            f"Batch size {batch_size} is wrong: {size} processes cannot share it equally. Use a multiple of {size}, or "
            "another number of processes."
        )


def rank_share(items: range) -> range:
    """Return this process's items of a batch; the last processes may get fewer."""
    size, rank = idist.get_world_size(), idist.get_rank()
    most = -(-len(items) // size)
    return items[rank * most : (rank + 1) * most]


def rank_seed(seed: int, iteration: int = 0) -> int:
    """Return a seed for this process from ``iteration`` on; the main process gets ``seed`` itself.

    With one seed for all, dropout would drop the same units in every process.
    """
    if is_main_process():
        return seed
    return int(np.random.SeedSequence([seed, idist.get_rank(), iteration]).generate_state(1)[0])


def once_per_machine(make: Callable[[], T], use: Callable[[], T] | None = None) -> T:
    """Call ``make`` in one process per machine, one machine after another, then ``use`` in the others.

    If the machines share a folder, the first makes what the others find.

    Args:
        make: Makes the result, or finds that it exists.
        use: Called in the other processes of each machine; ``make`` if not given.
    """
    if is_single_process():
        return make()
    made = None
    for rank, local_rank in enumerate(all_gather(idist.get_local_rank())):
        if local_rank == 0:
            with synchronized():
                if rank == idist.get_rank():
                    made = make()
    with synchronized():
        return (use or make)() if made is None else made
