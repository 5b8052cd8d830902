"""Measure how close an estimate is to its reference: SI-SDR on any device, museval's SDR, SIR and SAR on the CPU."""

from __future__ import annotations

import museval
import numpy as np
import torch

# Beyond this a ratio is rounding error: it is infinite. Infinite ratios are left out of all means and tests.
LIMIT_DB = 100.0

# museval's ISR is not used: in mono it only says how much of an estimate a filter could repair.
BSS_EVAL = ("sdr", "sir", "sar")


def si_sdr(reference: torch.Tensor | np.ndarray, estimate: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Return the scale-invariant signal-to-distortion ratio in dB, after removing the means; NaN for a silent reference.

    It is ``inf`` if the estimate is the reference at another level (above 100 dB), and ``-inf`` if the estimate is silent
    or has nothing of the reference (below -100 dB). All sums are in float64, so that levels and offsets cost no digits.

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


def bss_eval(references: np.ndarray, estimates: np.ndarray) -> dict[str, np.ndarray]:
    """Return museval's SDR, SIR and SAR in dB of the sources of one mono excerpt, by BSS Eval version 4.

    The excerpt is one window, so the ratios also equal mir_eval's ``bss_eval_images``. museval's windows of one second
    would cut off the tails of the distortion filters, which are fitted to the whole excerpt: on 2 s of a recorded quartet
    SIR fell by 10 to 30 dB.

    museval refuses silent signals. A silent reference is left out, as if the excerpt did not have it. A silent estimate
    has no ratios, and does not change those of the others. Ratios beyond 100 dB are infinite.

    Args:
        references: References of all sources.
        estimates: Estimates of the same sources.

    Shape:
        [ns, samples], [ns, samples] -> 'sdr', 'sir' and 'sar', [ns] each, NaN where there is none

    References:
        Stöter, Liutkus, Ito, "The 2018 signal separation evaluation campaign", LVA/ICA 2018.
        Vincent, Gribonval, Févotte, "Performance measurement in blind audio source separation", IEEE TASLP 14 (2006).
    """
    found = {name: np.full(len(references), np.nan) for name in BSS_EVAL}
    heard, answered = references.any(axis=-1), estimates.any(axis=-1)
    if heard.any():
        standing = np.where(answered[:, None], estimates, references)  # museval needs a sound in each
        whole = {"win": np.inf, "hop": np.inf}
        sdr, _, sir, sar = museval.evaluate(references[heard, :, None], standing[heard, :, None], **whole)  # [heard, 1]
        for name, ratios in zip(BSS_EVAL, (sdr, sir, sar), strict=True):
            ratios = ratios[:, 0]
            found[name][heard] = np.where(np.abs(ratios) > LIMIT_DB, np.copysign(np.inf, ratios), ratios)
            found[name][~answered] = np.nan
    return found
