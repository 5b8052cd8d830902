"""Stage 0: where is computed. What was asked for, or an error; never the CPU in silence."""

from __future__ import annotations

import torch

from ..errors import ConfigError
from ..runtime.deferred import OnFirstUse
from .process_group import is_single_process

idist = OnFirstUse("ignite.distributed")


def check_device(device: str) -> None:
    """Makes sure that torch can compute on a device.

    nussl takes the CPU where CUDA was asked for and there is none, without a word.

    Args:
        device: 'cpu', 'cuda', or one of several, 'cuda:1'; of processes that work together each has its own 'cuda'.

    Raises:
        ConfigError: There is no such device.
    """
    try:
        kind, number = torch.device(device).type, torch.device(device).index
    except (RuntimeError, TypeError):
        kind, number = None, None
    if kind not in ("cpu", "cuda"):
        raise ConfigError(f"Device {device!r} was asked for: there are 'cpu', 'cuda' and, of several, 'cuda:1'.")
    if kind == "cpu":
        return
    if not torch.cuda.is_available():
        raise ConfigError(f"Device {device!r} was asked for: torch sees no CUDA device. Take 'cpu'.")
    if not is_single_process() and (number is not None or idist.get_local_rank() >= torch.cuda.device_count()):
        raise ConfigError(
            f"Device {device!r} was asked for in {idist.get_nproc_per_node()} processes a machine: each has a GPU of its "
            f"own, and torch sees {torch.cuda.device_count()}. Take 'cuda', and as many processes as there are GPUs."
        )
    if (number or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"Device {device!r} was asked for: torch sees {torch.cuda.device_count()}, counted from 0. Take 'cuda'."
        )
