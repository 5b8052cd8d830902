"""The deep clustering loss, without nussl's copies of the embedding.

nussl normalises, weights and keeps [nb, nt * nf, D] several times over; at the paper's size each copy is 620
MB. The loss needs three Gram matrices of at most D x D, and its gradient is known in closed form, so both are
taken piece by piece and nothing but the embedding itself is kept for the way back.
"""

from __future__ import annotations

import torch
from torch import nn

# Points of an item that are worked on at once: temporaries of 16,384 x 20 floats stay in a core's cache.
PIECE = 16384


class GramDeepClusteringLoss(nn.Module):
    """The weighted deep clustering loss, equal in value and gradient to nussl's ``DeepClusteringLoss``.

    Shape:
        embedding [nb, nt, nf, nc, D], assignments [nb, nt, nf, nc, ns], weights [nb, nt, nf, nc] -> scalar

    References:
        Hershey, Chen, Le Roux, Watanabe, "Deep clustering: discriminative embeddings for segmentation and
        separation", ICASSP 2016. Wang, Le Roux, Hershey, "Alternative objective functions for deep
        clustering", ICASSP 2018, eq. 7.
    """

    DEFAULT_KEYS = {"embedding": "embedding", "ideal_binary_mask": "assignments", "weights": "weights"}

    def forward(
        self, embedding: torch.Tensor, assignments: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Returns the loss, averaged over the batch."""
        nb = embedding.shape[0]
        embedding = embedding.reshape(nb, -1, embedding.shape[-1])  # [nb, points, D]
        assignments = assignments.reshape(nb, -1, assignments.shape[-1])  # [nb, points, ns]
        return _GramLoss.apply(embedding, assignments, weights.reshape(nb, -1)).mean()


class _GramLoss(torch.autograd.Function):
    """One loss an item: (|U'WU|^2 - 2 |U'WY|^2 + |Y'WY|^2) / (sum of w^2)^2, rows of U = V / |V|, W = diag(w^2).

    With A = U'WU and B = U'WY, the gradient for a row u of U is 4 w^2 (A u - B y), and for v = |v| u it is
    the part of that across u, over |v|.
    """

    @staticmethod
    def forward(ctx, embedding, assignments, weights):
        norm = weights.square().sum(dim=1).square() + 1e-8  # [nb]
        size, ns = embedding.shape[-1], assignments.shape[-1]
        gram = embedding.new_zeros(len(embedding), size + ns, size + ns, dtype=torch.float32)
        for item, piece in _pieces(embedding):
            both = torch.cat([_unit(embedding[item, piece]), _unit(assignments[item, piece])], dim=-1)
            both *= weights[item, piece, None]
            gram[item] += both.T @ both
        within, across, ideal = gram[:, :size, :size], gram[:, :size, size:], gram[:, size:, size:]
        ctx.save_for_backward(embedding, assignments, weights, within, across, norm)
        squares = [part.square().sum(dim=(1, 2)) for part in (within, across, ideal)]
        return (squares[0] - 2 * squares[1] + squares[2]) / norm

    @staticmethod
    def backward(ctx, upstream):
        embedding, assignments, weights, within, across, norm = ctx.saved_tensors
        scale = 4 * upstream / norm  # [nb]
        gradient = torch.empty_like(embedding)
        for item, piece in _pieces(embedding):
            rows = embedding[item, piece].float()
            length = rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)
            rows = rows / length
            slope = torch.addmm(
                rows @ within[item], _unit(assignments[item, piece]), across[item].T, alpha=-1
            )
            slope = slope - rows * (slope * rows).sum(dim=-1, keepdim=True)
            gradient[item, piece] = slope * (scale[item] * weights[item, piece, None].square() / length)
        return gradient, None, None


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return nn.functional.normalize(rows.float(), dim=-1)


def _pieces(points: torch.Tensor):
    """Yields (item, slice of its points), in an order that never changes: sums are the same on every run."""
    for item in range(points.shape[0]):
        for start in range(0, points.shape[1], PIECE):
            yield item, slice(start, start + PIECE)
