"""Who works at a run, what they tell each other, and what one of them does for all.

All that is told goes through the CPU (gloo), so that no GPU is waited for; gradients go as the device has it.
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

idist = OnFirstUse("ignite.distributed")  # with all of ignite, which only training needs

T = TypeVar("T")
# The others wait while one prepares stems, which may take hours. Nobody waits for who is dead: a connection that is
# closed is noticed, and torchrun ends all when one ends.
PATIENCE = timedelta(hours=24)


class RemoteRankError(TransferError):
    """Something failed in another process, which tells of it."""


def is_single_process() -> bool:
    """Returns whether this is the only process."""
    return idist.get_world_size() == 1


def is_main_process() -> bool:
    """Returns whether this is the process that writes and speaks for all."""
    return idist.get_rank() == 0


@contextmanager
def join_process_group() -> Iterator[None]:
    """Within the block, the processes that torchrun started work together; there may be one only.

    On machines with GPUs each takes its own.

    Raises:
        ConfigError: They do not find each other.
        TransferError: One of them is gone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    _join()
    try:
        yield
        all_reduce_max(0)  # nobody leaves before the last
    except RuntimeError as error:
        # What was begun with who is gone cannot be ended either: it is left to the end of this process.
        if "gloo" not in str(error).lower() and "nccl" not in str(error).lower():
            raise
        raise TransferError(
            f"Process {idist.get_rank()} of {idist.get_world_size()} lost another, which says why if it can. The same "
            "command goes on from what is saved."
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
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)
    except (KeyError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{os.environ['WORLD_SIZE']} processes were to work together (WORLD_SIZE): {str(error).splitlines()[0]}. Start "
            "them with torchrun."
        ) from error
    # In a job of SLURM's, ignite would take the rank there for the local rank: it is that of torchrun itself.
    job = os.environ.pop("SLURM_JOB_ID", None)
    idist.sync()
    if job is not None:
        os.environ["SLURM_JOB_ID"] = job


# Agreement ------------------------------------------------------------------------------------------------------------


@contextmanager
def synchronized() -> Iterator[None]:
    """All processes leave the block at a time; where it fails in one, it fails in all, and the first that failed says why.

    Within the block no process may wait for another.

    Raises:
        Elsewhere: It failed in another process.
    """
    if is_single_process():
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # the others wait, whatever it is
        failure = error
    rank, size = idist.get_rank(), idist.get_world_size()
    first = size - all_reduce_max(0 if failure is None else size - rank)
    if first == rank and failure is not None:
        raise failure
    if first < size:
        raise _elsewhere(first) from failure


def main_rank_error(error: TransferError) -> TransferError:
    """Returns an error for all processes to raise at the same place, so that the first alone says it."""
    return error if is_main_process() else _elsewhere(0)


def _elsewhere(rank: int) -> RemoteRankError:
    return RemoteRankError(f"Process {rank} of {idist.get_world_size()} failed, and says why.")


def all_reduce_max(number: int) -> int:
    """Returns the largest of the numbers that the processes have."""
    if is_single_process():
        return number
    told = torch.tensor(number)
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return int(told)


def all_reduce_sum(numbers: Sequence[float]) -> list[float]:
    """Returns the sum over all processes, number by number."""
    if is_single_process():
        return list(numbers)
    told = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(told)
    return told.tolist()


def all_gather(value: T) -> list[T]:
    """Returns what each process has, first to last."""
    if is_single_process():
        return [value]
    found: list = [None] * idist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def broadcast(value: T) -> T:
    """Returns what the first process has."""
    if is_single_process():
        return value
    told = [value]
    dist.broadcast_object_list(told, src=0)
    return told[0]


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """After the block torch's random state is what it was before, of this process's GPU where each has one."""
    # To look at a GPU takes memory on it: nobody looks at another's.
    own = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=None if is_single_process() else own):
        yield


def broadcast_model(model: nn.Module) -> None:
    """Gives all processes the first one's weights and buffers."""
    if not is_single_process():
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)


# Division -------------------------------------------------------------------------------------------------------------


def check_batch_divides(batch_size: int) -> None:
    """Raises ConfigError unless every process has as many items of a batch."""
    size = idist.get_world_size()
    if batch_size % size:
        raise ConfigError(
            f"Batches of {batch_size} were to be divided among {size} processes: each must have as many. Take a batch size "
            f"that is a multiple of {size}, or another number of processes."
        )


def rank_share(items: range) -> range:
    """Returns this process's items of a batch: where they cannot be equally many, the last ones may have fewer."""
    size, rank = idist.get_world_size(), idist.get_rank()
    most = -(-len(items) // size)
    return items[rank * most : (rank + 1) * most]


def rank_seed(seed: int, iteration: int = 0) -> int:
    """Returns a seed for this process, from ``iteration`` on; the first's is the one given.

    With one seed for all, the same units would be dropped for an item of every process.
    """
    if is_main_process():
        return seed
    return int(np.random.SeedSequence([seed, idist.get_rank(), iteration]).generate_state(1)[0])


def once_per_machine(make: Callable[[], T], use: Callable[[], T] | None = None) -> T:
    """Returns what one process of each machine makes, one machine after another, and the others then use.

    Machines may share a folder, in which the first makes what the others find, or have their own.

    Args:
        make: Makes it, or finds that it is made.
        use: What the other processes of a machine then do; ``make``, when not given.
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
