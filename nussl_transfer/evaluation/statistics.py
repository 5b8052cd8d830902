"""Whether a difference is one: tests of paired scores, and what a careful reader asks for beside them.

A pair is two scores of the same excerpt; a difference is the one minus the other, in dB. The paper's test takes the pairs
as independent, and excerpts of one song are not: its p-values promise more than they hold where songs are few. The interval
of `median_interval` therefore resamples songs, not excerpts. None of this says how another training run of the same
network would have come out. NumPy and SciPy only.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import scipy.stats

CONFIDENCE = 0.95
RESAMPLES = 10_000

# Differences nearer to each other than this, in dB, are equal: rounding in their last digits should not rank them, as
# scipy.stats.wilcoxon warns.
DECIMALS = 9


def signed_rank_test(differences: np.ndarray, alternative: str = "greater") -> float | None:
    """Returns the p-value of SciPy's Wilcoxon signed-rank test of differences [pairs]; the paper's is one-sided.

    As SciPy states: differences of zero are dropped; without ties and zeros the p-value of up to 50 pairs is exact, and
    cannot fall below 2^-pairs; else it is of the normal approximation, or, with ties and few pairs, of all permutations.

    Args:
        differences: In dB.
        alternative: 'greater', 'less' or 'two-sided'.

    Returns:
        1 where every difference is zero: no ranks could favour either side less. SciPy answers NaN, or 1 where pairs are so
        few that it permutes them. None where there is no pair.

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
    """Returns the matched-pairs rank-biserial correlation, from -1 to 1: the effect size of the signed-rank test.

    It is the share of the rank sum that is in favour minus the share that is against: 1 where every difference is
    above zero, 0 where none differs. None where there is no pair.

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
    """Returns the bootstrap interval of the median of differences, in dB, with songs drawn anew, not excerpts.

    Whole songs are drawn with replacement, as many as there are, each with all its excerpts: the percentile interval of
    the cluster bootstrap. In an incoherent mixture each source has a song of its own, and excerpts that share any of these
    depend on each other. There, a draw of songs decides how often an excerpt counts by the song of one source at a time,
    and the deviations of the median that this causes, source by source, are added up. What excerpts vary by themselves is
    in each of these deviations, so that the interval is rather too wide than too narrow where songs hardly matter.

    Songs that are few tell little of how much songs differ, and any interval from them is too narrow. In simulations in
    which songs varied by half as much as the excerpts of one song, intervals that were to hold the median in 95 of 100
    cases held it in 92 with 20 songs, 90 with 10, 79 with 4 and 53 with 2; of mixtures of four songs each, in 94 with 25.

    Args:
        differences: In dB, one a pair.
        songs: One sequence a source: the song of each pair.
        confidence: Probability that the interval is to hold the median.
        resamples: How often songs are drawn.
        seed: The same seed gives the same interval.

    Returns:
        Lower and upper end. None where there is no pair, or only one song of some source: nothing tells how another song
        would have come out.

    References:
        Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.8. Cameron, Gelbach and Miller,
        "Robust inference with multiway clustering", Journal of Business & Economic Statistics 29 (2011), without the terms
        that are subtracted there.
    """
    if not len(differences) or not songs or any(len(set(of_source)) < 2 for of_source in songs):
        return None
    every = dict.fromkeys(song for of_source in songs for song in of_source)
    numbers = {song: number for number, song in enumerate(every)}
    # Sources that group the pairs alike, as in coherent mixtures, are one.
    groupings = dict.fromkeys(tuple(numbers[song] for song in of_source) for of_source in songs)
    times = _drawn(len(numbers), resamples, seed)  # [resamples, songs]
    middle = np.median(differences)
    deviations = sum(_medians(differences, np.array(grouping), times) - middle for grouping in groupings)
    tail = (1 - confidence) / 2
    # A source whose songs are few among all may be left with no pair: of such a resample nothing is known.
    return [float(end) for end in middle + np.nanquantile(deviations, [tail, 1 - tail])]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Returns p-values corrected for their number: the chance of one false finding among all stays below the threshold.

    None, for what was not tested, stays None and does not count.

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
    """Returns all that is said of paired differences, as plain values for JSON.

    Args:
        differences: In dB, one a pair.
        songs: One sequence a source: the song of each pair.
        alternative: As for `signed_rank_test`.

    Returns:
        ``songs``, how many different ones; ``mean_difference`` and ``median_difference`` in dB; ``interval`` of the median,
        ``confidence``; ``effect_size``, ``p_value``. None for what cannot be said of so few.
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


def compare(
    rows_a: Sequence[dict], rows_b: Sequence[dict], songs: Mapping[str, Sequence[str]] | None = None
) -> dict:
    """Tests whether a is better than b, on pairs of excerpt and label.

    Args:
        rows_a: Rows of `score`.
        rows_b: Rows of `score`, of the same excerpts. What only one of the two has is not compared.
        songs: For each label the song of each excerpt, as of `songs_of`; without it a track is a song.

    Returns:
        ``n`` pairs, of which ``n_different`` differ; ``mean_a``, ``median_a`` and so on of a and b in dB; and what
        `describe_differences` says of a - b.
    """
    of_b = {_key(row): row["si_sdr"] for row in rows_b}
    both = [row for row in rows_a if row["si_sdr"] is not None and of_b.get(_key(row)) is not None]
    a = np.array([row["si_sdr"] for row in both], dtype=np.float64)
    b = np.array([of_b[_key(row)] for row in both], dtype=np.float64)
    result: dict = {"n": len(both), "n_different": int(np.count_nonzero(a != b))}
    for name, values in (("a", a), ("b", b)):
        result[f"mean_{name}"], result[f"median_{name}"] = mean_and_median(values)
    if songs is None:
        of_sources = [[row["track"] for row in both]]
    else:
        of_sources = [[of_label[row["excerpt"]] for row in both] for of_label in songs.values()]
    return {**result, **describe_differences(a - b, of_sources)}


def mean_and_median(values: np.ndarray) -> tuple[float | None, float | None]:
    """Returns both, None each where there is no value."""
    return (float(values.mean()), float(np.median(values))) if len(values) else (None, None)


def _key(row: dict) -> tuple:
    return row["excerpt"], row["track"], row["start"], row["label"]


def _drawn(songs: int, resamples: int, seed: int) -> np.ndarray:
    """Returns how often each of so many songs is drawn, as many in all, in each resample.

    Shape:
        float32 [resamples, songs]
    """
    drawn = np.random.default_rng(seed).integers(songs, size=(resamples, songs))
    places = drawn + songs * np.arange(resamples)[:, None]
    times = np.bincount(places.ravel(), minlength=resamples * songs).reshape(resamples, songs)
    return times.astype(np.float32)  # whole numbers below 2^24 are exact


def _medians(values: np.ndarray, groups: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Returns the medians of values that are there as many times as their group is; NaN where none is there.

    No resample is written out: how often its groups are there, and how many of the k smallest values are of each group, is
    enough to find a median by halving.

    Shape:
        [pairs], [pairs] of 0 to groups - 1, [resamples, groups] -> [resamples]
    """
    order = np.argsort(values, kind="stable")
    among = np.zeros((len(values) + 1, times.shape[1]), dtype=np.float32)
    among[np.arange(1, len(values) + 1), groups[order]] = 1
    among = among.cumsum(axis=0)  # [k, groups]
    size = times @ among[-1]

    def of_rank(rank: np.ndarray) -> np.ndarray:
        """Returns the value that has this rank, counted from 0, in each resample."""
        low, high = np.zeros(len(times), dtype=np.int64), np.full(len(times), len(values))
        while (low < high).any():
            half = (low + high) // 2
            enough = np.einsum("rg,rg->r", times, among[half]) > rank
            low, high = np.where(enough, low, half + 1), np.where(enough, half, high)
        return values[order][np.minimum(low, len(values)) - 1]  # of nothing, any

    return np.where(size > 0, (of_rank((size - 1) // 2) + of_rank(size // 2)) / 2, np.nan)
