"""The losses on the embedding, without nussl's copies of it.

nussl normalises, weights and keeps [nb, nt * nf, D] several times over; at the paper's size each copy is 620
MB. Both of its losses need nothing but Gram matrices of at most D x D, whose gradient is known in closed
form. So these are taken piece by piece, and nothing but the embedding itself is kept for the way back; what
is made of them is as small as they are.
"""

from __future__ import annotations

import torch
from torch import nn

# Points of an item that are worked on at once. On a CPU, temporaries of 16,384 x 20 floats stay in a core's
# cache; a GPU would rather be asked seldom: 10 s are one piece there, and temporaries of 26 MB.
PIECE = 2**14
DEVICE_PIECE = 2**19
TINY = 1e-24  # the square of what nussl's normalisation takes for zero


class _GramLoss(nn.Module):
    """What the losses share: their names for what they are given, and the three Gram matrices.

    With rows U = V / |V| of the embedding, Y of the assignments, and W = diag(weights^2): U'WU, U'WY, Y'WY.
    """

    DEFAULT_KEYS = {"embedding": "embedding", "ideal_binary_mask": "assignments", "weights": "weights"}

    def forward(self, embedding: torch.Tensor, assignments: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Returns the loss, averaged over the batch; the length of an embedding makes no difference to it."""
        nb = embedding.shape[0]
        embedding = embedding.reshape(nb, -1, embedding.shape[-1])  # [nb, points, D]
        assignments = assignments.reshape(nb, -1, assignments.shape[-1])  # [nb, points, ns]
        weights = weights.reshape(nb, -1)  # [nb, points]
        # In float32 whatever is cast around it: sums over so many points lose too much in less.
        with torch.autocast(embedding.device.type, enabled=False):
            return self.of_grams(*_Grams.apply(embedding, assignments, weights), weights).mean()


class GramDeepClusteringLoss(_GramLoss):
    """The weighted deep clustering loss, equal in value and gradient to nussl's ``DeepClusteringLoss``.

    Shape:
        embedding [nb, nt, nf, nc, D], assignments [nb, nt, nf, nc, ns], weights [nb, nt, nf, nc] -> scalar

    References:
        Hershey, Chen, Le Roux, Watanabe, "Deep clustering: discriminative embeddings for segmentation and
        separation", ICASSP 2016. Wang, Le Roux, Hershey, "Alternative objective functions for deep
        clustering", ICASSP 2018, eq. 7.
    """

    def of_grams(
        self, within: torch.Tensor, across: torch.Tensor, ideal: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Returns (|U'WU|^2 - 2 |U'WY|^2 + |Y'WY|^2) / (sum of w^2)^2, one value an item."""
        norm = weights.square().sum(dim=1).square() + 1e-8  # [nb]
        squares = [gram.square().sum(dim=(1, 2)) for gram in (within, across, ideal)]
        return (squares[0] - 2 * squares[1] + squares[2]) / norm


class GramWhitenedKMeansLoss(_GramLoss):
    """The weighted whitened k-means loss, equal in value and gradient to nussl's ``WhitenedKMeansLoss``.

    Shape:
        embedding [nb, nt, nf, nc, D], assignments [nb, nt, nf, nc, ns], weights [nb, nt, nf, nc] -> scalar

    References:
        Wang, Le Roux, Hershey, "Alternative objective functions for deep clustering", ICASSP 2018, eq. 6.
    """

    def of_grams(
        self, within: torch.Tensor, across: torch.Tensor, ideal: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Returns D + ns - 2 tr((U'WU + I)^-1 U'WY (Y'WY + I)^-1 Y'WU), one value an item."""
        size, ns = across.shape[1:]
        # Positive definite, both: solving is exact where nussl's inverse loses digits.
        left = torch.linalg.solve_ex(within + torch.eye(size, device=within.device), across)[0]  # [nb, D, ns]
        right = torch.linalg.solve_ex(ideal + torch.eye(ns, device=ideal.device), across.mT)[0]  # [nb, ns, D]
        return size + ns - 2 * (left * right.mT).sum(dim=(1, 2))


class _Grams(torch.autograd.Function):
    """Embedding, assignments and weights to U'WU, U'WY, Y'WY, one of each an item.

    Where these have the gradients A, B and C, a row u of U has w^2 (u (A + A') + y B'), and v = |v| u the part
    of that across u, over |v|.
    """

    @staticmethod
    def forward(ctx, embedding, assignments, weights):
        size, ns = embedding.shape[-1], assignments.shape[-1]
        gram = embedding.new_zeros(len(embedding), size + ns, size + ns, dtype=torch.float32)
        for item, piece in _pieces(embedding):
            weight = weights[item, piece, None]
            both = [
                rows * (weight * _inverse_length(rows))
                for rows in (embedding[item, piece].float(), assignments[item, piece])
            ]
            both = torch.cat(both, dim=-1)  # [piece, D + ns]
            gram[item].addmm_(both.T, both)
        ctx.save_for_backward(embedding, assignments, weights)
        return gram[:, :size, :size].clone(), gram[:, :size, size:].clone(), gram[:, size:, size:].clone()

    @staticmethod
    def backward(ctx, within, across, _):
        embedding, assignments, weights = ctx.saved_tensors
        within, across = within + within.mT, across.mT
        gradient = torch.empty_like(embedding)
        for item, piece in _pieces(embedding):
            rows, sources = embedding[item, piece].float(), assignments[item, piece]
            inverse = _inverse_length(rows)
            rows = rows * inverse
            slope = torch.addmm(rows @ within[item], sources * _inverse_length(sources), across[item])
            slope.addcmul_(rows, _sum(rows * slope), value=-1)
            gradient[item, piece] = slope * (weights[item, piece, None].square() * inverse)
        return gradient, None, None


def _inverse_length(rows: torch.Tensor) -> torch.Tensor:
    return _sum(rows.square()).clamp_min(TINY).rsqrt()


def _sum(rows: torch.Tensor) -> torch.Tensor:
    # As a product: sums over a last axis of twenty take torch several times as long.
    return rows @ rows.new_ones(rows.shape[-1], 1)


def _pieces(points: torch.Tensor):
    """Yields (item, slice of its points), in an order that never changes: sums are the same on every run."""
    size = PIECE if points.device.type == "cpu" else DEVICE_PIECE
    for item in range(points.shape[0]):
        for start in range(0, points.shape[1], size):
            yield item, slice(start, start + size)
