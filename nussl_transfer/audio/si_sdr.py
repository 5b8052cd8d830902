"""Measure how close an estimate is to its reference: SI-SDR, on any device that has float64."""

from __future__ import annotations

import numpy as np
import torch

# A ratio beyond this is rounding error and counts as infinite. All means and tests leave out infinite ratios.
LIMIT_DB = 100.0


def si_sdr(reference: torch.Tensor | np.ndarray, estimate: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Return the scale-invariant signal-to-distortion ratio in dB, after removing the means; NaN for a silent reference.

    It is ``inf`` if the estimate is the reference at any level (above 100 dB), and ``-inf`` if the estimate is silent or
    has nothing of the reference (below -100 dB). All sums are in float64, so that no level or offset costs precision.

    Shape:
        [..., samples], [..., samples] -> float64 [...], on the same device

    References:
        Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or well done?", ICASSP 2019. Equals nussl's
        ``BSSEvalScale`` to 1e-3 dB.

    >>> reference = torch.tensor([1.0, -1.0, 1.0, -1.0])
    >>> si_sdr(reference, 3 * reference + torch.tensor([1.0, 1.0, -1.0, -1.0]))   # 10 log10(3^2 / 1)
    tensor(9.5424, dtype=torch.float64)
    """
    reference, estimate = _centred(reference), _centred(estimate)
    wanted, given = torch.linalg.vecdot(reference, reference), torch.linalg.vecdot(estimate, estimate)
    along = torch.linalg.vecdot(reference, estimate).square() / wanted
    # By Pythagoras: |estimate|^2 = |along the reference|^2 + |distortion|^2. At 100 dB the difference has five digits left.
    ratio = 10 * torch.log10(along / (given - along).clamp(min=0))
    ratio = torch.where(ratio > LIMIT_DB, torch.inf, ratio)
    ratio = torch.where((ratio < -LIMIT_DB) | (given == 0), -torch.inf, ratio)  # a silent estimate gives 0 / 0
    return torch.where(wanted == 0, torch.nan, ratio)


def _centred(signal: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Return the signal in float64 without its mean; a constant signal becomes exactly 0."""
    signal = torch.as_tensor(signal).double()
    return signal - signal.mean(dim=-1, keepdim=True)
