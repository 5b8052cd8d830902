"""Reduce over the processes that share a batch: gradients, losses, batch-normalisation statistics.

All losses are means over items, and all processes have equally many items (`check_batch_divides`). So the mean of their
losses is the loss of the whole batch, and the mean of their gradients its gradient.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.distributed as dist
from torch import nn
from torch.autograd.function import FunctionCtx
from torch.nn.modules.batchnorm import _BatchNorm

from .process_group import idist, is_single_process


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Replace the gradients by those of the whole batch, and return its losses.

    A NaN in one process becomes a NaN in all of them.

    Args:
        parameters: The parameters; the same ones must have gradients in all processes.
        losses: The losses of this process's part of the batch, by name.
    """
    if is_single_process():
        return losses
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    pieces = [*(gradient.reshape(-1) for gradient in gradients), torch.stack([*losses.values()]).float()]
    flat = torch.cat(pieces)
    dist.all_reduce(flat)
    flat /= idist.get_world_size()
    *means, of_losses = flat.split([len(piece) for piece in pieces])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))
    return dict(zip(losses, of_losses.unbind(), strict=True))


def sum_over_processes(part: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor on the CPU over all processes."""
    if is_single_process():
        return part
    total = part.clone()
    dist.all_reduce(total)
    return total


def normalize_over_processes(norm: _BatchNorm, part: torch.Tensor) -> torch.Tensor:
    """Normalise this process's part of a batch with the mean and the variance of the whole batch.

    The running statistics of the module follow the whole batch. The module stays torch's own, as it must in a checkpoint;
    ``torch.nn.SyncBatchNorm`` is another class, and runs on GPUs only.

    Shape:
        [nb, channels, ...] -> the same
    """
    axes = [axis for axis in range(part.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(part.ndim)]
    count = part.numel() // part.shape[1] * idist.get_world_size()
    mean = _Total.apply(part.float().sum(axes)) / count  # [channels]
    centred = part - mean.view(shape)
    # Squares of centred values: with a large mean, E[x^2] - E[x]^2 would cancel.
    variance = _Total.apply(centred.square().sum(axes)) / count  # [channels]
    _update_running_statistics(norm, mean.detach(), variance.detach() * (count / (count - 1)))
    normal = centred * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        normal = normal * norm.weight.view(shape) + norm.bias.view(shape)
    return normal.to(part.dtype)


@torch.no_grad()
def _update_running_statistics(norm: _BatchNorm, mean: torch.Tensor, variance: torch.Tensor) -> None:
    if not norm.track_running_stats or norm.running_mean is None or norm.running_var is None:
        return
    count = cast(torch.Tensor, norm.num_batches_tracked)
    count += 1
    # Without a momentum, torch's running statistics are the mean over all batches.
    momentum = 1 / count if norm.momentum is None else norm.momentum
    norm.running_mean += momentum * (mean - norm.running_mean)
    norm.running_var += momentum * (variance - norm.running_var)


class _Total(torch.autograd.Function):
    """Sum over all processes. Every process uses the sum, so the gradient of a part is the sum of all their gradients."""

    @staticmethod
    def forward(ctx: FunctionCtx, part: torch.Tensor) -> torch.Tensor:
        part = part.clone()
        dist.all_reduce(part)
        return part

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:
        return _Total.apply(gradient)
