"""Summarise scores and test differences: means, the paper's Wilcoxon test, and an interval that resamples songs.

The unit of a test is the excerpt, because the sources of one mixture depend on each other: an excerpt's score is the mean
over its sources that count. Differences are between two models on the same excerpt, in dB.

`verdicts` returns two verdicts. The paper's rule is a one-sided Wilcoxon signed-rank test over excerpts with p < .001. It
treats excerpts as independent, but excerpts of one song are not: with few songs, its p-values are too small. Our rule
requires the same test after Holm's correction, and a bootstrap interval of the median difference that resamples songs and
lies above 0. Neither predicts the result of another training run of the same network. This module uses only NumPy and
SciPy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import scipy.stats

CONFIDENCE = 0.95
RESAMPLES = 10_000
# The paper calls a difference significant below this p-value.
SIGNIFICANCE = 0.001
# A message lists at most this many left-out references, with label, track and time.
SHOWN_REFERENCES = 3

# Differences in dB are rounded to this many decimals: the remaining digits are noise, which must not decide their ranks, as
# the documentation of scipy.stats.wilcoxon warns.
DECIMALS = 9


# Summaries -------------------------------------------------------------------------------------------------------------


def summarise(rows: Sequence[dict]) -> list[dict]:
    """Return the means of one estimate: for each label, then for all labels together (label None).

    References that are left out (``si_sdr`` None) do not count.

    Args:
        rows: Rows of `score`.

    Returns:
        Entries of ``n``, the number of references that count; ``left_out``, the number of the others; ``mean`` and
        ``median`` SI-SDR in dB; ``improvement``, the mean improvement over the mixture; with museval also the medians
        ``sdr``, ``sir`` and ``sar``, as in museval's own summaries. A value is None if no reference counts.
    """
    measured = [name for name in ("sdr", "sir", "sar") if name in rows[0]]
    summary = []
    for label in [*dict.fromkeys(row["label"] for row in rows), None]:
        of_label = [row for row in rows if label in (None, row["label"])]
        values = _values(of_label, "si_sdr")
        mean, median = mean_and_median(values)
        entry = {"estimate": rows[0]["estimate"], "label": label, "n": len(values), "left_out": len(of_label) - len(values)}
        entry |= {"mean": mean, "median": median, "improvement": mean_and_median(_values(of_label, "improvement"))[0]}
        summary.append(entry | {name: mean_and_median(_values(of_label, name))[1] for name in measured})
    return summary


def describe_left_out(scores: Mapping) -> str:
    """Return one sentence on the references that are left out, why, and where they are; empty if there are none.

    Args:
        scores: As from `evaluate`. Older files have only the number of these references.
    """
    named = scores.get("left_out_references")
    if named is None:
        return f"Left out: {scores['left_out']} silent references." if scores["left_out"] else ""
    if not named:
        return ""
    rate, parts = scores["sample_rate"], []
    for (why, estimate), count in Counter((one["why"], one["estimate"]) for one in named).items():
        places = [
            f"{one['label']} of {one['track']} at {one['start'] / rate:.1f} s"
            for one in named
            if (one["why"], one["estimate"]) == (why, estimate)
        ]
        more = f" and {count - SHOWN_REFERENCES} more" if count > SHOWN_REFERENCES else ""
        whose = f" by {estimate}" if estimate else ""
        parts.append(f"{count} {why}{whose} ({'; '.join(places[:SHOWN_REFERENCES])}{more})")
    total = len(next(iter(scores["scores"].values()))) if scores.get("scores") else None
    return f"Left out{f' of {total} references' if total else ''}: {', '.join(parts)}."


def mean_and_median(values: np.ndarray) -> tuple[float | None, float | None]:
    """Return the mean and the median, None each if there are no values."""
    return (float(values.mean()), float(np.median(values))) if len(values) else (None, None)


def _values(rows: Sequence[dict], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows if row.get(name) is not None], dtype=np.float64)


# Tests -----------------------------------------------------------------------------------------------------------------


def signed_rank_test(differences: np.ndarray, alternative: str = "greater") -> float | None:
    """Return the p-value of SciPy's Wilcoxon signed-rank test of differences [pairs]; the paper's is one-sided.

    SciPy drops differences of zero. Without ties and zeros the p-value of up to 50 pairs is exact, and cannot fall below
    2^-pairs; otherwise it is the normal approximation, or with ties and few pairs a permutation test.

    Args:
        differences: In dB.
        alternative: 'greater', 'less' or 'two-sided'.

    Returns:
        The p-value; 1 if every difference is zero (where SciPy returns NaN or 1); None if there is no pair.

    References:
        Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945).
    """
    rounded = np.round(differences, DECIMALS)
    if not len(rounded):
        return None
    if not rounded.any():
        return 1.0
    return float(scipy.stats.wilcoxon(rounded, alternative=alternative).pvalue)


def rank_biserial(differences: np.ndarray) -> float | None:
    """Return the matched-pairs rank-biserial correlation, from -1 to 1: the effect size of the signed-rank test.

    It is the share of the rank sum in favour minus the share against: 1 if every difference is above zero, 0 if none
    differs. None if there is no pair.

    References:
        Kerby, "The simple difference formula", Comprehensive Psychology 3 (2014).

    >>> rank_biserial(np.array([3.0, 2.0, -1.0, 0.0]))   # ranks 3 and 2 for, 1 against: (5 - 1) / 6
    0.6666666666666666
    """
    if not len(differences):
        return None
    rounded = np.round(differences, DECIMALS)
    rounded = rounded[rounded != 0]
    ranks = scipy.stats.rankdata(np.abs(rounded))
    return float((ranks * np.sign(rounded)).sum() / ranks.sum()) if len(ranks) else 0.0


def median_interval(
    differences: np.ndarray,
    songs: Sequence[Sequence[Hashable]],
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[float] | None:
    """Return the bootstrap interval of the median difference in dB, resampling songs instead of excerpts.

    This is the percentile interval of the cluster bootstrap: each resample draws as many songs as there are, with
    replacement, and takes all excerpts of each. In an incoherent mixture each source has its own song, and excerpts that
    share a song depend on each other. There, songs are resampled for one source at a time, and the deviations of the
    median are summed over the sources. This counts the variation of excerpts within songs once for each source. So if
    songs hardly differ, the interval is too wide rather than too narrow.

    An interval from few songs is too narrow. In simulations where songs varied half as much as the excerpts of one song,
    95 % intervals held the median in 92 % of cases with 20 songs, 90 % with 10, 79 % with 4 and 53 % with 2; for mixtures
    of four songs each, in 94 % with 25.

    Args:
        differences: In dB, one for each pair.
        songs: For each source, the song of each pair.
        confidence: Probability that the interval should hold the median.
        resamples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        Lower and upper end. None if there is no pair, or if some source has only one song, from which nothing follows for
        other songs.

    References:
        Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.8. Cameron, Gelbach and Miller,
        "Robust inference with multiway clustering", Journal of Business & Economic Statistics 29 (2011), without the terms
        that they subtract.
    """
    if not len(differences) or not songs or any(len(set(of_source)) < 2 for of_source in songs):
        return None
    every = dict.fromkeys(song for of_source in songs for song in of_source)
    numbers = {song: number for number, song in enumerate(every)}
    # Sources that group the pairs in the same way, as in coherent mixtures, count once.
    groupings = dict.fromkeys(tuple(numbers[song] for song in of_source) for of_source in songs)
    times = _drawn(len(numbers), resamples, seed)  # [resamples, songs]
    middle = np.median(differences)
    deviations = sum(_medians(differences, np.array(grouping), times) - middle for grouping in groupings)
    tail = (1 - confidence) / 2
    # The median is NaN if a resample holds no song of a source.
    return [float(end) for end in middle + np.nanquantile(deviations, [tail, 1 - tail])]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values with Holm's correction, which bounds the chance of one false finding among all of them.

    None marks a test that was not made; it stays None and does not count.

    References:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    tested = sorted((value, index) for index, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (value, index) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * value))
        corrected[index] = highest
    return corrected


def describe_differences(
    differences: np.ndarray, songs: Sequence[Sequence[Hashable]], alternative: str = "greater"
) -> dict:
    """Return all statistics of paired differences, as plain values for JSON.

    Args:
        differences: In dB, one for each pair.
        songs: For each source, the song of each pair.
        alternative: As for `signed_rank_test`.

    Returns:
        ``songs``, the number of songs; ``mean_difference`` and ``median_difference`` in dB; ``interval`` of the median and
        its ``confidence``; ``effect_size``, ``p_value``. A value is None if there are too few pairs for it.
    """
    interval = median_interval(differences, songs)
    mean, median = mean_and_median(differences)
    return {
        "songs": len(set().union(*songs)) if len(differences) else 0,
        "mean_difference": mean,
        "median_difference": median,
        "interval": interval,
        "confidence": CONFIDENCE,
        "effect_size": rank_biserial(differences),
        "p_value": signed_rank_test(differences, alternative),
    }


def shown_by_our_rule(
    p_holm: float | None, interval: Sequence[float] | None, significance: float = SIGNIFICANCE
) -> bool | None:
    """Return whether our rule shows a difference above 0: the corrected test and the interval over songs must both show it.

    Args:
        p_holm: The p-value with Holm's correction over all tests that are made together.
        interval: Interval of the median difference over songs.
        significance: Threshold of p.

    Returns:
        True or False; None if there is no interval, as with a single song.

    >>> shown_by_our_rule(1e-5, [0.1, 0.9]), shown_by_our_rule(0.01, [0.1, 0.9]), shown_by_our_rule(1e-5, None)
    (True, False, None)
    """
    if interval is None or p_holm is None:
        return None
    return p_holm < significance and interval[0] > 0


def verdicts(found: Mapping, p_holm: float | None, significance: float = SIGNIFICANCE) -> dict[str, dict]:
    """Return the paper's verdict on a difference and ours, each with its name.

    Args:
        found: As from `describe_differences` of a one-sided test.
        p_holm: Its p-value with Holm's correction over all tests that are made together.
        significance: The paper calls a difference shown below this p-value.

    Returns:
        ``paper`` and ``ours``, each ``{"test", "shown", "why"}``. ``shown`` is True if the first model is better, False if
        the rule does not show that, None if the rule cannot tell; ``why`` gives the numbers or the reason.

    >>> few = {"p_value": 1e-5, "interval": None, "confidence": 0.95, "songs": 1}
    >>> [verdict["shown"] for verdict in verdicts(few, 3e-5).values()]
    [True, None]
    """
    p_value, interval, songs = found["p_value"], found["interval"], found["songs"]
    paper = {
        "test": f"one-sided Wilcoxon signed-rank test over excerpts, p < {significance:g}",
        "shown": None if p_value is None else p_value < significance,
        "why": "There is no pair of excerpts." if p_value is None else f"p = {p_value:.2g}",
    }
    ours = {
        "test": f"the same test with Holm's correction, p < {significance:g}, and the {100 * found['confidence']:g} % "
        "bootstrap interval of the median difference over songs above 0",
        "shown": shown_by_our_rule(p_holm, interval, significance),
        "why": f"p = {p_holm:.2g} after Holm, from {interval[0]:+.2f} to {interval[1]:+.2f} dB, {songs} songs"
        if interval is not None and p_holm is not None
        else f"An interval over songs needs two songs of every source: got {songs} in all.",
    }
    return {"paper": paper, "ours": ours}


def paired_means(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the scores of two models by excerpt: the means over the sources that count for both.

    Args:
        a: SI-SDR in dB; NaN or infinite where a reference is left out.
        b: The same references by another model.

    Returns:
        Scores of a, scores of b, and the index of the excerpt of each pair. Excerpts without a source that counts for both
        are left out.

    Shape:
        [ns, excerpts], [ns, excerpts] -> [pairs], [pairs], int [pairs]

    >>> nan = float("nan")
    >>> paired_means(np.array([[1.0, 2.0, nan], [3.0, 9.0, 1.0]]), np.array([[0.0, 1.0, 5.0], [1.0, nan, nan]]))
    (array([2., 2.]), array([0.5, 1. ]), array([0, 1]))
    """
    counts = np.isfinite(a) & np.isfinite(b)
    pairs = np.flatnonzero(counts.any(axis=0))
    number = counts[:, pairs].sum(axis=0)
    means = [np.where(counts, values, 0)[:, pairs].sum(axis=0) / number for values in (a, b)]
    return means[0], means[1], pairs


def compare(rows_a: Sequence[dict], rows_b: Sequence[dict], songs: Mapping[str, Sequence[str]] | None = None) -> dict:
    """Test whether a is better than b, on pairs of excerpts.

    Args:
        rows_a: Rows of `score`.
        rows_b: Rows of `score`, of the same excerpts. References that count for only one of the two are not compared.
        songs: For each label the song of each excerpt, as from `songs_of`; by default each track is a song.

    Returns:
        ``n``, the number of pairs; ``n_different``, of those that differ; ``mean_a``, ``median_a``, ``mean_b``,
        ``median_b`` in dB; and what `describe_differences` says of a - b.
    """
    rows_of_both = [*rows_a, *rows_b]
    columns = {excerpt: number for number, excerpt in enumerate(dict.fromkeys(row["excerpt"] for row in rows_of_both))}
    labels = {label: number for number, label in enumerate(dict.fromkeys(row["label"] for row in rows_of_both))}
    ratios = np.full((2, len(labels), len(columns)), np.nan)
    for number, rows in enumerate((rows_a, rows_b)):
        for row in rows:
            if row["si_sdr"] is not None:
                ratios[number, labels[row["label"]], columns[row["excerpt"]]] = row["si_sdr"]
    a, b, pairs = paired_means(*ratios)
    result: dict = {"n": len(pairs), "n_different": int(np.count_nonzero(a != b))}
    for name, values in (("a", a), ("b", b)):
        result[f"mean_{name}"], result[f"median_{name}"] = mean_and_median(values)
    chosen = [list(columns)[pair] for pair in pairs]
    if songs is None:
        tracks = {row["excerpt"]: row["track"] for row in reversed(rows_of_both)}
        of_sources = [[tracks[excerpt] for excerpt in chosen]]
    else:
        of_sources = [[of_label[excerpt] for excerpt in chosen] for of_label in songs.values()]
    return {**result, **describe_differences(a - b, of_sources)}


def _drawn(songs: int, resamples: int, seed: int) -> np.ndarray:
    """Return how often each resample draws each song; a resample draws as many songs as there are.

    Shape:
        float32 [resamples, songs]
    """
    drawn = np.random.default_rng(seed).integers(songs, size=(resamples, songs))
    cells = drawn + songs * np.arange(resamples)[:, None]
    times = np.bincount(cells.ravel(), minlength=resamples * songs).reshape(resamples, songs)
    return times.astype(np.float32)  # whole numbers below 2^24 are exact


def _medians(values: np.ndarray, groups: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the median of each resample, in which a value counts as often as its group was drawn; NaN if none was drawn.

    Resamples are not built. A bisection finds the median from two tables: how often each group was drawn, and how many of
    the k smallest values are in each group.

    Shape:
        [pairs], [pairs] of 0 to groups - 1, [resamples, groups] -> [resamples]
    """
    order = np.argsort(values, kind="stable")
    among = np.zeros((len(values) + 1, times.shape[1]), dtype=np.float32)
    among[np.arange(1, len(values) + 1), groups[order]] = 1
    among = among.cumsum(axis=0)  # [k, groups]
    size = times @ among[-1]

    def of_rank(rank: np.ndarray) -> np.ndarray:
        """Return the value of this rank, counted from 0, in each resample."""
        low, high = np.zeros(len(times), dtype=np.int64), np.full(len(times), len(values))
        while (low < high).any():
            half = (low + high) // 2
            enough = np.einsum("rg,rg->r", times, among[half]) > rank
            low, high = np.where(enough, low, half + 1), np.where(enough, half, high)
        return values[order][np.minimum(low, len(values)) - 1]  # any value where a resample is empty

    return np.where(size > 0, (of_rank((size - 1) // 2) + of_rank(size // 2)) / 2, np.nan)
