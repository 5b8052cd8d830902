"""Compute the embedding inside its loss, a few frames at a time, so that backward never holds all of its gradient.

The embedding is the largest tensor of a training step. Its gradient is as large, and each activation makes another tensor
of that size. A loss that depends only on Gram matrices can compute embedding and gradient piece by piece. For backward,
only the activation's output is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeGuard

import torch
from nussl.ml.networks.modules import Embedding
from torch import nn

from .grams import add_piece, blocks, embedding_gradient, empty_grams, piece_of

# An activation in place, and its gradient, given the gradient and the value of its output.
Activation: TypeAlias = tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]

# By nussl's names, in nussl's order.
ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": (torch.sigmoid_, torch.ops.aten.sigmoid_backward),
    "tanh": (torch.tanh_, torch.ops.aten.tanh_backward),
    "relu": (torch.relu_, lambda gradient, output: gradient * (output > 0)),
}
LINEAR: Activation = (lambda rows: rows, lambda gradient, output: gradient)


def is_plain_head(layer: nn.Module) -> TypeGuard[Embedding]:
    """Return whether a layer is nussl's own Embedding, with a linear layer that sees one frame at a time."""
    if not isinstance(layer, Embedding) or type(layer) is not Embedding:  # a subclass may compute something else
        return False
    return bool(layer.reshape) and layer.dim_to_embed == [-1]


class DeferredEmbedding:
    """An embedding that has not been computed: its head, and the head's input.

    Args:
        hidden: Input of the head.
        head: A head for which :meth:`supports` is true.
        dtype: Type in which the head's linear layer computes.

    Shape:
        hidden [nb, nt, hidden]
    """

    def __init__(self, hidden: torch.Tensor, head: Embedding, dtype: torch.dtype = torch.float32):
        self.hidden, self.head, self.dtype = hidden, head, dtype

    @staticmethod
    def supports(head: nn.Module) -> bool:
        """Return whether a head is nussl's Embedding, with one linear layer and at most one activation before unit_norm."""
        if not is_plain_head(head):
            return False
        return isinstance(head.activation, (list, tuple)) and {*head.activation} <= {*ACTIVATIONS, "unit_norm"}

    def make(self) -> torch.Tensor:
        """Compute the whole embedding, [nb, nt, nf, nc, D]."""
        return self.head(self.hidden)

    def grams(self, assignments: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compute the three Gram matrices of each item.

        Shape:
            assignments [nb, nt, nf, nc, ns], weights [nb, nt, nf, nc]
            -> U'WU [nb, D, D], U'WY [nb, D, ns], Y'WY [nb, ns, ns]
        """
        activation = next((name for name in ACTIVATIONS if name in self.head.activation), None)
        linear = self.head.linear
        options = self.head.embedding_size, activation, self.dtype, torch.is_grad_enabled()
        return _HeadGrams.apply(self.hidden, linear.weight, linear.bias, assignments, weights, *options)


class _HeadGrams(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # a FunctionCtx with attributes of this class
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        assignments: torch.Tensor,
        weights: torch.Tensor,
        size: int,
        activation: str | None,
        dtype: torch.dtype,
        keep_output: bool,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        act = LINEAR[0] if activation is None else ACTIVATIONS[activation][0]
        nb, nt, _ = hidden.shape
        matrix, offset, data = weight.to(dtype), None if bias is None else bias.to(dtype), hidden.to(dtype)
        # The only tensor of the embedding's size; without gradients there is none.
        kept = hidden.new_empty((nb, nt, len(weight)) if keep_output else (0,), dtype=dtype)
        gram = empty_grams(nb, size, assignments.shape[-1], hidden.device)
        for item, rows in _pieces(assignments):
            output = act(nn.functional.linear(data[item, rows], matrix, offset))  # [rows, nf * nc * D]
            if keep_output:
                kept[item, rows] = output
            points = output.view(-1, size).float()
            add_piece(gram[item], points, *_points(assignments, weights, item, rows))
        ctx.save_for_backward(data, matrix, kept, assignments, weights)
        ctx.size, ctx.activation, ctx.has_bias = size, activation, bias is not None
        ctx.dtypes = hidden.dtype, weight.dtype
        return blocks(gram, size)

    @staticmethod
    def backward(ctx: Any, within: torch.Tensor, across: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        data, matrix, kept, assignments, weights = ctx.saved_tensors
        activation_gradient = ACTIVATIONS.get(ctx.activation, LINEAR)[1]
        within, across = within + within.mT, across.mT
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(data) if wants_hidden else None
        grad_weight = torch.zeros_like(matrix, dtype=ctx.dtypes[1]) if wants_weight else None
        grad_bias = matrix.new_zeros(len(matrix), dtype=ctx.dtypes[1]) if ctx.has_bias and wants_bias else None
        for item, rows in _pieces(assignments):
            output = kept[item, rows]
            points = output.view(-1, ctx.size).float()
            given = _points(assignments, weights, item, rows)
            gradient = embedding_gradient(points, *given, within[item], across[item])
            gradient = activation_gradient(gradient, points).view(output.shape)
            if grad_bias is not None:
                grad_bias += gradient.sum(dim=0)
            gradient = gradient.to(matrix.dtype)
            if grad_hidden is not None:
                grad_hidden[item, rows] = gradient @ matrix
            if grad_weight is not None:
                grad_weight += gradient.T @ data[item, rows]
        grad_hidden = None if grad_hidden is None else grad_hidden.to(ctx.dtypes[0])
        return grad_hidden, grad_weight, grad_bias, None, None, None, None, None, None


def _points(assignments: torch.Tensor, weights: torch.Tensor, item: int, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the assignments [points, ns] and weights [points, 1] of some frames of an item."""
    return assignments[item, rows].reshape(-1, assignments.shape[-1]), weights[item, rows].reshape(-1, 1)


def _pieces(assignments: torch.Tensor) -> Iterator[tuple[int, slice]]:
    """Yield (item, slice of its frames), in a fixed order."""
    nb, nt, nf, nc = assignments.shape[:4]
    # Four times as many points as in `grams`: products with the layer's weights are faster with more rows.
    size = max(1, 4 * piece_of(assignments.device) // (nf * nc))
    for item in range(nb):
        for start in range(0, nt, size):
            yield item, slice(start, start + size)
