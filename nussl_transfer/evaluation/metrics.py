"""SI-SDR, and whether a difference is one. NumPy and SciPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats

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


def compare(rows_a: Sequence[dict], rows_b: Sequence[dict]) -> dict:
    """Tests whether a is better than b: a one-sided Wilcoxon signed-rank test on pairs of excerpt and label.

    Args:
        rows_a: Rows of `score`.
        rows_b: Rows of `score`, of the same excerpts. What only one of the two has is not compared.

    Returns:
        ``n`` pairs, of which ``n_different`` differ; ``mean_a``, ``median_a`` and so on of a, b and the difference
        a - b, in dB; ``p_value``, the probability of ranks so much in a's favour if a were no better: 1 where no pair
        differs, None where there is no pair. With n pairs it cannot fall below 2^-n.
    """
    of_b = {_key(row): row["si_sdr"] for row in rows_b if row["si_sdr"] is not None}
    pairs = [
        (row["si_sdr"], of_b[_key(row)]) for row in rows_a if row["si_sdr"] is not None and _key(row) in of_b
    ]
    result: dict = {"n": len(pairs), "n_different": sum(a != b for a, b in pairs), "p_value": None}
    a, b = np.array(pairs).reshape(-1, 2).T
    for name, values in (("a", a), ("b", b), ("difference", a - b)):
        result[f"mean_{name}"], result[f"median_{name}"] = _mean_and_median(values)
    if pairs:
        # SciPy has no answer where every difference is zero.
        different = result["n_different"] > 0
        result["p_value"] = (
            float(scipy.stats.wilcoxon(a, b, alternative="greater").pvalue) if different else 1.0
        )
    return result


def summarise(rows: Sequence[dict]) -> list[dict]:
    """Returns n, mean and median SI-SDR in dB of one estimate's rows: for each label, then for all (label None)."""
    summary = []
    for label in [*dict.fromkeys(row["label"] for row in rows), None]:
        values = np.array(
            [row["si_sdr"] for row in rows if label in (None, row["label"]) and row["si_sdr"] is not None]
        )
        mean, median = _mean_and_median(values)
        entry = {
            "estimate": rows[0]["estimate"],
            "label": label,
            "n": len(values),
            "mean": mean,
            "median": median,
        }
        summary.append(entry)
    return summary


def _key(row: dict) -> tuple:
    return row["excerpt"], row["track"], row["start"], row["label"]


def _mean_and_median(values: np.ndarray) -> tuple[float | None, float | None]:
    return (float(values.mean()), float(np.median(values))) if len(values) else (None, None)
