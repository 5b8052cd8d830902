"""How near an estimate comes to its reference: SI-SDR on the device that both are on, and museval's ratios on the host."""

from __future__ import annotations

import museval
import numpy as np
import torch

# Where an estimate is exactly right, or silent although its reference sounds, SI-SDR is infinite; this stands for it,
# so that a mean of scores exists and JSON can hold it.
LIMIT_DB = 100.0

# What museval gives of each source; in mono its ISR only says how much of an estimate a filter would mend.
BSS_EVAL = ("sdr", "sir", "sar")


def si_sdr(reference: torch.Tensor | np.ndarray, estimate: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Returns the scale-invariant signal-to-distortion ratio in dB, of zero-mean signals; NaN where a reference is 0.

    Infinite ratios are cut to 100 dB, a silent estimate's to -100 dB. All sums are of float64: a level or an offset far
    from the others' costs no digit.

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
    # What is not along the reference is across it (Pythagoras). At 100 dB, ten digits below the others, it has five left.
    ratio = 10 * torch.log10(along / (given - along).clamp(min=0))
    # A silent estimate gives 0 / 0.
    ratio = torch.where(given == 0, -LIMIT_DB, ratio)
    return torch.where(wanted == 0, torch.nan, ratio.clamp(-LIMIT_DB, LIMIT_DB))


def _centred(signal: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Returns float64 without the mean; of what is constant in float32, exactly 0."""
    signal = torch.as_tensor(signal).double()
    return signal - signal.mean(dim=-1, keepdim=True)


def bss_eval(references: np.ndarray, estimates: np.ndarray) -> dict[str, np.ndarray]:
    """Returns museval's SDR, SIR and SAR in dB of the sources of one mono excerpt, by BSS Eval version 4.

    The excerpt is one window, so that they are those of mir_eval's ``bss_eval_images``, too. The windows of a second that
    museval takes of songs cut off what the distortion filters, which are fitted to the whole, spill over their edges: on
    2 s of a recorded quartet SIR fell by 10 to 30 dB.

    museval refuses what is silent throughout. A silent reference interferes with nothing and is left out, as if the
    excerpt did not have it; a silent estimate has no ratio, and those of the others do not depend on it. Infinite ratios
    are cut to 100 dB.

    Args:
        references: Sources.
        estimates: As many.

    Shape:
        [ns, samples], [ns, samples] -> 'sdr', 'sir' and 'sar', [ns] each, NaN where there is none

    References:
        Stöter, Liutkus, Ito, "The 2018 signal separation evaluation campaign", LVA/ICA 2018.
        Vincent, Gribonval, Févotte, "Performance measurement in blind audio source separation", IEEE TASLP 14 (2006).
    """
    found = {name: np.full(len(references), np.nan) for name in BSS_EVAL}
    heard, answered = references.any(axis=-1), estimates.any(axis=-1)
    if heard.any():
        standing = np.where(answered[:, None], estimates, references)  # museval wants a sound for each
        whole = {"win": np.inf, "hop": np.inf}
        sdr, _, sir, sar = museval.evaluate(references[heard, :, None], standing[heard, :, None], **whole)  # [heard, 1]
        for name, ratios in zip(BSS_EVAL, (sdr, sir, sar), strict=True):
            found[name][heard] = ratios[:, 0].clip(-LIMIT_DB, LIMIT_DB)
            found[name][~answered] = np.nan
    return found
