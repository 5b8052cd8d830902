"""SI-SDR, and what it comes to over many excerpts. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .statistics import mean_and_median

# Where an estimate is exactly right, or silent although its reference sounds, SI-SDR is infinite; this stands for it,
# so that a mean of scores exists and JSON can hold it.
LIMIT_DB = 100.0


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Returns the scale-invariant signal-to-distortion ratio in dB, of zero-mean signals; NaN where a reference is 0.

    Infinite ratios are cut to 100 dB, a silent estimate's to -100 dB.

    Shape:
        [..., samples], [..., samples] -> [...]

    References:
        Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or well done?", ICASSP 2019. Equals nussl's
        ``BSSEvalScale`` to 1e-3 dB.

    >>> reference = np.array([1.0, -1.0, 1.0, -1.0])
    >>> float(si_sdr(reference, 3 * reference + [1.0, 1.0, -1.0, -1.0]).round(4))   # 10 log10(3^2 / 1)
    9.5424
    """
    reference = np.asarray(reference, dtype=np.float64)
    estimate = np.asarray(estimate, dtype=np.float64)
    reference = reference - reference.mean(axis=-1, keepdims=True)
    estimate = estimate - estimate.mean(axis=-1, keepdims=True)
    energy = np.square(reference).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (reference * estimate).sum(axis=-1) / energy
        target = scale[..., None] * reference
        signal = np.square(target).sum(axis=-1)
        ratio = 10 * np.log10(signal / np.square(estimate - target).sum(axis=-1))
    # A silent estimate gives 0 / 0.
    ratio = np.where(np.square(estimate).sum(axis=-1) == 0, -LIMIT_DB, ratio)
    return np.where(energy == 0, np.nan, np.clip(ratio, -LIMIT_DB, LIMIT_DB))


def summarise(rows: Sequence[dict]) -> list[dict]:
    """Returns n, mean and median SI-SDR in dB of one estimate's rows: for each label, then for all (label None)."""
    summary = []
    for label in [*dict.fromkeys(row["label"] for row in rows), None]:
        values = np.array(
            [row["si_sdr"] for row in rows if label in (None, row["label"]) and row["si_sdr"] is not None]
        )
        mean, median = mean_and_median(values)
        entry = {
            "estimate": rows[0]["estimate"],
            "label": label,
            "n": len(values),
            "mean": mean,
            "median": median,
        }
        summary.append(entry)
    return summary
