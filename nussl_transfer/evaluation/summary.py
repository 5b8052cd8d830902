"""What scores come to over many excerpts. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .statistics import mean_and_median


def summarise(rows: Sequence[dict]) -> list[dict]:
    """Returns what the rows of one estimate come to: for each label, then for all (label None).

    Args:
        rows: Rows of `score`.

    Returns:
        Entries of ``n``, ``mean`` and ``median`` SI-SDR in dB; ``improvement``, the mean of that over the mixture's; and,
        where museval was asked, the medians ``sdr``, ``sir`` and ``sar``, as museval sums up. None where nothing counts.
    """
    measured = [name for name in ("sdr", "sir", "sar") if name in rows[0]]
    summary = []
    for label in [*dict.fromkeys(row["label"] for row in rows), None]:
        of_label = [row for row in rows if label in (None, row["label"])]
        values = _values(of_label, "si_sdr")
        mean, median = mean_and_median(values)
        entry = {"estimate": rows[0]["estimate"], "label": label, "n": len(values), "mean": mean, "median": median}
        entry["improvement"] = mean_and_median(_values(of_label, "improvement"))[0]
        summary.append(entry | {name: mean_and_median(_values(of_label, name))[1] for name in measured})
    return summary


def _values(rows: Sequence[dict], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows if row.get(name) is not None], dtype=np.float64)
