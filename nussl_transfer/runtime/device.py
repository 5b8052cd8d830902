"""Choose the device to compute on, and check a device that the user names.

nussl silently uses the CPU when there is no CUDA device. Here an absent device is an error.
"""

from __future__ import annotations

import functools

import torch

from ..errors import ConfigError
from .deferred import OnFirstUse
from .log import logger
from .process_group import is_single_process

idist = OnFirstUse("ignite.distributed")


def resolve_device(name: str = "auto") -> str:
    """Return the device to compute on, and log the choice once per process.

    Args:
        name: 'auto' picks 'cuda', else 'mps', else 'cpu': the first that torch can use. Any other name is checked
            and returned unchanged: 'cpu', 'cuda', 'cuda:1' or 'mps'.

    Raises:
        ConfigError: ``name`` is not a device, or torch cannot use it here.

    Examples:
        >>> resolve_device("cpu")
        'cpu'
    """
    if name == "auto":
        # Processes of one group exchange gradients by NCCL or gloo, and neither reads memory of an Apple GPU.
        if torch.cuda.is_available():
            name = "cuda"
        else:
            name = "mps" if _mps_is_available() and is_single_process() else "cpu"
    check_device(name)
    _log_choice(name)
    return name


def check_device(device: str) -> None:
    """Raise ConfigError unless torch can compute on a device.

    Args:
        device: 'cpu', 'cuda', 'cuda:1' or 'mps'. With several processes, 'cuda' is the GPU of this process.
    """
    try:
        kind, number = torch.device(device).type, torch.device(device).index
    except (RuntimeError, TypeError):
        kind, number = None, None
    if kind not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"Unknown device {device!r}. Use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.")
    if kind == "cuda":
        _check_cuda(device, number)
    elif kind == "mps":
        _check_mps(device, number)


def _check_cuda(device: str, number: int | None) -> None:
    if not torch.cuda.is_available():
        raise ConfigError(f"Device {device!r} is not available: torch sees no CUDA device. Use 'cpu' or 'auto'.")
    count = torch.cuda.device_count()
    if not is_single_process() and (number is not None or idist.get_local_rank() >= count):
        raise ConfigError(
            f"Device {device!r} does not work with {idist.get_nproc_per_node()} processes per machine: each process needs "
            f"its own GPU, and torch sees {count}. Use 'cuda', and as many processes as there are GPUs."
        )
    if (number or 0) >= count:
        found = f"torch sees {count} CUDA device{'s' * (count != 1)}, numbered from 0"
        raise ConfigError(f"Device {device!r} is not available: {found}. Use 'cuda'.")


def _check_mps(device: str, number: int | None) -> None:
    if not _mps_is_available() or number:
        raise ConfigError(f"Device {device!r} is not available: torch sees no such Apple GPU. Use 'cpu' or 'auto'.")
    if not is_single_process():
        raise ConfigError(f"Device {device!r} does not work with several processes. Use one process, or 'cpu'.")


def _mps_is_available() -> bool:
    return torch.backends.mps.is_available()


@functools.cache
def _log_choice(device: str) -> None:
    logger.info("Device: %s.", device)
