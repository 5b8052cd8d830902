"""Gram matrices of an embedding and its assignments, and their gradient, piece by piece.

With rows U = V / norm(V) of the embedding, Y of the assignments, and W = diag(weights^2), they are U'WU, U'WY and
Y'WY. Where these have the gradients A, B and C, a row u of U has w^2 (u (A + A') + y B'), and v = norm(v) u the
part of that across u, over norm(v).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

# Points that are worked on at once. On a CPU, temporaries of 16,384 x 20 floats stay in a core's cache; a GPU
# would rather be asked seldom: 10 s are one piece there, and temporaries of 26 MB.
PIECE = 2**14
DEVICE_PIECE = 2**19
TINY = 1e-24  # the square of what nussl's normalisation takes for zero


def piece_of(device: torch.device) -> int:
    """Returns how many points to work on at once."""
    return PIECE if device.type == "cpu" else DEVICE_PIECE


def empty_grams(items: int, size: int, ns: int, device: torch.device) -> torch.Tensor:
    """Returns zeros to add pieces to: float32 [items, size + ns, size + ns]."""
    return torch.zeros(items, size + ns, size + ns, device=device)


def add_piece(gram: torch.Tensor, rows: torch.Tensor, sources: torch.Tensor, weight: torch.Tensor) -> None:
    """Adds some points to an item's three matrices, which are the blocks of one.

    Shape:
        gram [D + ns, D + ns], rows float32 [points, D], sources [points, ns], weight [points, 1]
    """
    both = torch.cat([part * (weight * _inverse_length(part)) for part in (rows, sources)], dim=-1)
    gram.addmm_(both.T, both)  # [D + ns, D + ns]


def blocks(gram: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns U'WU [nb, D, D], U'WY [nb, D, ns] and Y'WY [nb, ns, ns] of what pieces were added to."""
    return gram[:, :size, :size].clone(), gram[:, :size, size:].clone(), gram[:, size:, size:].clone()


def slope(
    rows: torch.Tensor, sources: torch.Tensor, weight: torch.Tensor, within: torch.Tensor, across: torch.Tensor
) -> torch.Tensor:
    """Returns the gradient for some points of the embedding.

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
    """Embedding [nb, points, D], assignments [nb, points, ns], weights [nb, points] to the matrices of each item."""

    @staticmethod
    def forward(ctx, embedding, assignments, weights):
        """Returns U'WU, U'WY, Y'WY; only what was given is kept for the way back."""
        size = embedding.shape[-1]
        gram = empty_grams(len(embedding), size, assignments.shape[-1], embedding.device)
        for item, piece in _pieces(embedding):
            rows = embedding[item, piece].float()
            add_piece(gram[item], rows, assignments[item, piece], weights[item, piece, None])
        ctx.save_for_backward(embedding, assignments, weights)
        return blocks(gram, size)

    @staticmethod
    def backward(ctx, within, across, _):
        """Returns the gradient of the embedding."""
        embedding, assignments, weights = ctx.saved_tensors
        within, across = within + within.mT, across.mT
        gradient = torch.empty_like(embedding)
        for item, piece in _pieces(embedding):
            given = embedding[item, piece].float(), assignments[item, piece], weights[item, piece, None]
            gradient[item, piece] = slope(*given, within[item], across[item])
        return gradient, None, None


def _inverse_length(rows: torch.Tensor) -> torch.Tensor:
    return _sum(rows.square()).clamp_min(TINY).rsqrt()


def _sum(rows: torch.Tensor) -> torch.Tensor:
    # As a product: sums over a last axis of twenty take torch several times as long.
    return rows @ rows.new_ones(rows.shape[-1], 1)


def _pieces(points: torch.Tensor) -> Iterator[tuple[int, slice]]:
    """Yields (item, slice of its points), in an order that never changes: sums are the same on every run."""
    size = piece_of(points.device)
    for item in range(points.shape[0]):
        for start in range(0, points.shape[1], size):
            yield item, slice(start, start + size)
