"""The losses on the embedding, without nussl's copies of it.

nussl normalises, weights and keeps [nb, nt * nf, D] several times over; at the paper's size each copy is 620
MB. Both of its losses need nothing but Gram matrices of at most D x D, whose gradient is known in closed
form. So these are taken piece by piece; what is made of them is as small as they are.

    grams.py    the matrices, of an embedding
    heads.py    the matrices, of what the embedding would be made of
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import nn

from .grams import Grams
from .heads import DeferredEmbedding

__all__ = ["DeferredEmbedding", "GramDeepClusteringLoss", "GramWhitenedKMeansLoss"]


class _GramLoss(nn.Module):
    """What the losses share: their names for what they are given, and the three Gram matrices (see `grams`)."""

    DEFAULT_KEYS = {"embedding": "embedding", "ideal_binary_mask": "assignments", "weights": "weights"}

    def forward(
        self, embedding: torch.Tensor | DeferredEmbedding, assignments: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Returns the loss, averaged over the batch; the length of an embedding makes no difference to it."""
        # In float32 whatever is cast around it: sums over so many points lose too much in less.
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
        """Returns (norm(U'WU)^2 - 2 norm(U'WY)^2 + norm(Y'WY)^2) / (sum of w^2)^2, one value an item."""
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
