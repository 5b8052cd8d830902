"""Compute nussl's losses of the embedding without copying the embedding.

nussl keeps several normalised and weighted copies of [nb, nt * nf, D]; at the paper's size each copy takes 620 MB. Both of
its losses depend only on Gram matrices of at most D x D, whose gradient has a closed form. Here these matrices are summed
piece by piece.

    grams.py    the matrices of an embedding
    heads.py    the matrices of the embedding that a head would compute, without keeping it
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import nn

from .grams import Grams
from .heads import DeferredEmbedding

__all__ = ["DeferredEmbedding", "GramDeepClusteringLoss", "GramWhitenedKMeansLoss"]


class _GramLoss(nn.Module):
    """Base of the losses: the names of their inputs, and the three Gram matrices (see `grams`)."""

    DEFAULT_KEYS = {"embedding": "embedding", "ideal_binary_mask": "assignments", "weights": "weights"}

    def forward(
        self, embedding: torch.Tensor | DeferredEmbedding, assignments: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean loss of the batch; it does not depend on the length of an embedding vector."""
        # In float32 under any autocast: bfloat16 loses too much in sums over so many points.
        device = weights.device.type
        with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
            if isinstance(embedding, DeferredEmbedding):
                grams = embedding.grams(assignments, weights)
            else:
                nb, size, ns = len(embedding), embedding.shape[-1], assignments.shape[-1]
                grams = Grams.apply(
                    embedding.reshape(nb, -1, size), assignments.reshape(nb, -1, ns), weights.reshape(nb, -1)
                )
            return self.of_grams(*grams, weights.reshape(len(weights), -1)).mean()

    def of_grams(
        self, within: torch.Tensor, across: torch.Tensor, ideal: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Return one value for each item.

        Shape:
            within U'WU [nb, D, D], across U'WY [nb, D, ns], ideal Y'WY [nb, ns, ns], weights [nb, points] -> [nb]
        """
        raise NotImplementedError


class GramDeepClusteringLoss(_GramLoss):
    """Compute the weighted deep clustering loss, equal in value and gradient to nussl's ``DeepClusteringLoss``.

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
        """Return (norm(U'WU)^2 - 2 norm(U'WY)^2 + norm(Y'WY)^2) / (sum of w^2)^2, one value for each item."""
        norm = weights.square().sum(dim=1).square() + 1e-8  # [nb]
        squares = [gram.square().sum(dim=(1, 2)) for gram in (within, across, ideal)]
        return (squares[0] - 2 * squares[1] + squares[2]) / norm


class GramWhitenedKMeansLoss(_GramLoss):
    """Compute the weighted whitened k-means loss, equal in value and gradient to nussl's ``WhitenedKMeansLoss``.

    Shape:
        embedding [nb, nt, nf, nc, D], assignments [nb, nt, nf, nc, ns], weights [nb, nt, nf, nc] -> scalar

    References:
        Wang, Le Roux, Hershey, "Alternative objective functions for deep clustering", ICASSP 2018, eq. 6.
    """

    def of_grams(
        self, within: torch.Tensor, across: torch.Tensor, ideal: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Return D + ns - 2 tr((U'WU + I)^-1 U'WY (Y'WY + I)^-1 Y'WU), one value for each item."""
        size, ns = across.shape[1:]
        # Both are positive definite: solving keeps digits that nussl's inverse loses.
        left = torch.linalg.solve_ex(within + torch.eye(size, device=within.device), across)[0]  # [nb, D, ns]
        right = torch.linalg.solve_ex(ideal + torch.eye(ns, device=ideal.device), across.mT)[0]  # [nb, ns, D]
        return size + ns - 2 * (left * right.mT).sum(dim=(1, 2))
