"""Compute the Gram matrices of an embedding and its assignments, and their gradient, piece by piece.

Let the rows of V be the embedding of each point, U = V / norm(V) its unit vectors, Y the assignments (of unit length as
well), and W = diag(w^2) the squared weights. The matrices are sums over points::

    U'WU = sum w^2 u'u        U'WY = sum w^2 u'y        Y'WY = sum w^2 y'y

Let A, B and C be the gradients of a loss for these matrices. A change du of one row changes the loss by
<A, w^2 (du'u + u'du)> + <B, w^2 du'y>, so the gradient for u is::

    g = w^2 (u (A + A') + y B')

u = v / norm(v) does not depend on the length of v, so only the part of g orthogonal to u reaches v, divided by the length::

    dL/dv = (g - (g u') u) / norm(v)

The gradient needs only the two matrices A + A' and B', and one row at a time: no copy of the embedding is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.autograd.function import BackwardCFunction, FunctionCtx

# Points in a piece. On a CPU, temporaries of 16,384 x 20 floats stay in a core's cache. On a GPU, few large kernels are
# faster: 10 s are one piece, with temporaries of 26 MB.
PIECE = 2**14
DEVICE_PIECE = 2**19
TINY = 1e-24  # the square of the length below which nussl's normalisation does not scale a vector to unit length


def piece_of(device: torch.device) -> int:
    """Return the number of points of a piece."""
    return PIECE if device.type == "cpu" else DEVICE_PIECE


def empty_grams(items: int, size: int, ns: int, device: torch.device) -> torch.Tensor:
    """Return zeros to which pieces are added: float32 [items, size + ns, size + ns]."""
    return torch.zeros(items, size + ns, size + ns, device=device)


def add_piece(gram: torch.Tensor, rows: torch.Tensor, sources: torch.Tensor, weight: torch.Tensor) -> None:
    """Add some points to the three matrices of an item, which are blocks of one matrix.

    Shape:
        gram [D + ns, D + ns], rows float32 [points, D], sources [points, ns], weight [points, 1]
    """
    both = torch.cat([part * (weight * _inverse_length(part)) for part in (rows, sources)], dim=-1)
    gram.addmm_(both.T, both)  # [D + ns, D + ns]


def blocks(gram: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return U'WU [nb, D, D], U'WY [nb, D, ns] and Y'WY [nb, ns, ns] from the matrix of all pieces."""
    return gram[:, :size, :size].clone(), gram[:, :size, size:].clone(), gram[:, size:, size:].clone()


def embedding_gradient(
    rows: torch.Tensor, sources: torch.Tensor, weight: torch.Tensor, within: torch.Tensor, across: torch.Tensor
) -> torch.Tensor:
    """Return the gradient for some points of the embedding (see the top of this module).

    Args:
        rows: The embedding.
        sources: The assignments.
        weight: The weights.
        within: A + A'.
        across: B'.

    Shape:
        rows float32 [points, D], sources [points, ns], weight [points, 1], within [D, D], across [ns, D]
        -> float32 [points, D]
    """
    inverse = _inverse_length(rows)
    rows = rows * inverse
    found = (rows @ within).addmm_(sources * _inverse_length(sources), across)
    found.addcmul_(rows, _sum(rows * found), value=-1)
    return found.mul_(weight.square() * inverse)


class Grams(torch.autograd.Function):
    """Map embedding [nb, points, D], assignments [nb, points, ns], weights [nb, points] to the matrices of each item."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, embedding: torch.Tensor, assignments: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return U'WU, U'WY, Y'WY; only the inputs are kept for the backward pass."""
        size = embedding.shape[-1]
        gram = empty_grams(len(embedding), size, assignments.shape[-1], embedding.device)
        for item, piece in _pieces(embedding):
            rows = embedding[item, piece].float()
            add_piece(gram[item], rows, assignments[item, piece], weights[item, piece, None])
        ctx.save_for_backward(embedding, assignments, weights)
        return blocks(gram, size)

    @staticmethod
    def backward(
        ctx: BackwardCFunction, within: torch.Tensor, across: torch.Tensor, _: torch.Tensor
    ) -> tuple[torch.Tensor, None, None]:
        """Return the gradient of the embedding."""
        # torch declares a tuple of one tensor.
        embedding, assignments, weights = ctx.saved_tensors  # type: ignore[misc]
        within, across = within + within.mT, across.mT
        gradient = torch.empty_like(embedding)
        for item, piece in _pieces(embedding):
            given = embedding[item, piece].float(), assignments[item, piece], weights[item, piece, None]
            gradient[item, piece] = embedding_gradient(*given, within[item], across[item])
        return gradient, None, None


def _inverse_length(rows: torch.Tensor) -> torch.Tensor:
    return _sum(rows.square()).clamp_min(TINY).rsqrt()


def _sum(rows: torch.Tensor) -> torch.Tensor:
    # As a product: torch takes several times as long to sum over a last axis of twenty.
    return rows @ rows.new_ones(rows.shape[-1], 1)


def _pieces(points: torch.Tensor) -> Iterator[tuple[int, slice]]:
    """Yield (item, slice of its points), in a fixed order, so that sums are the same in every run."""
    size = piece_of(points.device)
    for item in range(points.shape[0]):
        for start in range(0, points.shape[1], size):
            yield item, slice(start, start + size)
