"""Statistics equal SciPy's and closed forms, also for little data."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import scipy.stats

from nussl_transfer.evaluation.statistics import (
    compare,
    describe_differences,
    holm,
    median_interval,
    rank_biserial,
    signed_rank_test,
    verdicts,
)


def drawn(count=30, seed=0, mean=0.4):
    return np.random.default_rng(seed).normal(mean, 1, count)


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
@pytest.mark.parametrize("count", [1, 7, 50, 51, 400])
def test_the_test_is_scipys(count, alternative):
    differences = drawn(count)
    expected = scipy.stats.wilcoxon(differences, alternative=alternative).pvalue
    assert signed_rank_test(differences, alternative) == pytest.approx(expected)


def test_few_pairs_have_the_exact_probability_counted_out():
    # Ranks 1, 2 and 4 are in favour, a rank sum of 7. Of the 16 ways to sign four ranks, 5 have that sum or a larger one.
    differences = np.array([1.0, 2.0, -3.0, 4.0])
    sums = [sum(chosen) for size in range(5) for chosen in combinations([1, 2, 3, 4], size)]
    assert signed_rank_test(differences) == pytest.approx(sum(total >= 7 for total in sums) / 16) == pytest.approx(5 / 16)
    assert signed_rank_test(np.arange(1.0, 11.0)) == pytest.approx(2.0**-10)


def test_many_pairs_with_ties_and_zeros_have_the_normal_approximation_corrected_for_ties():
    differences = np.array([0.0] * 5 + [1.0] * 20 + [-1.0] * 10 + [2.0] * 15 + [-2.0] * 12)
    # Of 57 that differ, 30 share the ranks 1 to 30 and 27 the ranks 31 to 57.
    n, favour = 57, 20 * 15.5 + 15 * 44.0
    variance = n * (n + 1) * (2 * n + 1) / 24 - sum(t**3 - t for t in (30, 27)) / 48
    expected = scipy.stats.norm.sf((favour - n * (n + 1) / 4) / np.sqrt(variance))
    assert signed_rank_test(differences) == pytest.approx(expected)


def test_rounding_errors_do_not_rank_ties():
    exact, blurred = np.array([1.0, -1.0, 1.0, 1.0, 0.0]), np.array([1.0, -1.0 - 1e-13, 1.0, 1.0 + 1e-13, 1e-13])
    assert signed_rank_test(blurred) == signed_rank_test(exact) != signed_rank_test(np.array([1, -1.1, 1, 1.2, 0.1]))
    assert rank_biserial(blurred) == rank_biserial(exact)


@pytest.mark.parametrize("count", [1, 5, 100])
def test_equal_scores_are_no_evidence_and_no_scores_no_test(count):
    assert signed_rank_test(np.zeros(count)) == 1.0 and rank_biserial(np.zeros(count)) == 0.0
    assert signed_rank_test(np.array([])) is None and rank_biserial(np.array([])) is None


def test_the_effect_size_follows_from_scipys_rank_sum():
    for seed, count in enumerate([1, 9, 200]):
        differences = drawn(count, seed)
        favour = scipy.stats.wilcoxon(differences, alternative="greater").statistic  # sum of the ranks in favour
        assert rank_biserial(differences) == pytest.approx(4 * favour / (count * (count + 1)) - 1)
    assert rank_biserial(np.array([0.1, 5.0, 2.0])) == 1.0 and rank_biserial(np.array([-0.1, -5.0, 0.0])) == -1.0


def test_holm_is_the_closed_test_of_bonferronis():
    """An adjusted p-value is the largest that Bonferroni gives any set of hypotheses that contains this one."""
    p_values = np.random.default_rng(0).uniform(0, 0.9, 6).tolist()
    expected = [
        max(
            min(1.0, size * min(chosen))
            for size in range(1, 7)
            for chosen in combinations(p_values, size)
            if value in chosen
        )
        for value in p_values
    ]
    assert holm(p_values) == pytest.approx(expected)
    assert len(set(expected)) > 2 and max(expected) == 1.0


def test_holm_corrects_for_the_tests_made_and_keeps_their_order():
    # At 0.05 the first and the last are rejected, the others not.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.04, None, 0.01]) == pytest.approx([0.04, None, 0.02])
    assert holm([]) == [] and holm([None]) == [None]


def test_with_one_excerpt_per_song_the_interval_is_scipys_bootstrap():
    differences = drawn(201)
    low, high = median_interval(differences, [range(201)], resamples=20_000)
    expected = scipy.stats.bootstrap(
        (differences,), np.median, n_resamples=20_000, method="percentile", vectorized=True, rng=np.random.default_rng(5)
    ).confidence_interval
    # The random error of either end is about a hundredth of the width of the interval.
    spread = expected.high - expected.low
    assert (low, high) == (pytest.approx(expected.low, abs=spread / 20), pytest.approx(expected.high, abs=spread / 20))


def test_with_one_excerpt_per_song_the_interval_has_a_closed_form():
    # The median of a resample is at most the k-th smallest if 51 of 101 draws are: a binomial distribution.
    below = scipy.stats.binom.sf(50, 101, np.arange(1, 102) / 101)
    expected = [np.searchsorted(below, tail) for tail in (0.05, 0.95)]
    ends = median_interval(np.arange(101.0), [range(101)], confidence=0.9, resamples=40_000)
    assert ends == pytest.approx(expected, abs=0.51)


def test_the_median_of_an_even_number_is_between_the_two_in_the_middle():
    # Two songs are drawn as 0 0, 0 1, 1 0 or 1 1: half of the medians are 0.5.
    assert median_interval(np.array([0.0, 1.0]), [["a", "b"]], confidence=0.4) == [0.5, 0.5]
    assert median_interval(np.array([0.0, 1.0]), [["a", "b"]], confidence=0.6) == [0.0, 1.0]


def test_excerpts_of_one_song_are_drawn_together_as_scipy_draws_songs():
    generator = np.random.default_rng(1)
    songs = generator.integers(12, size=300)
    differences = generator.normal(0, 1, 12)[songs] + generator.normal(0, 0.3, 300)

    def median_of(chosen):
        return np.median(np.concatenate([differences[songs == song] for song in chosen]))

    expected = scipy.stats.bootstrap(
        (np.arange(12),), median_of, n_resamples=3000, method="percentile", vectorized=False, rng=generator
    ).confidence_interval
    low, high = median_interval(differences, [songs.tolist()])
    spread = expected.high - expected.low
    assert (low, high) == (pytest.approx(expected.low, abs=spread / 15), pytest.approx(expected.high, abs=spread / 15))
    # Taken as independent, the excerpts would give a much narrower interval.
    naive_low, naive_high = median_interval(differences, [range(300)])
    assert naive_high - naive_low < 0.5 * spread


def test_repeating_the_same_excerpts_does_not_narrow_the_interval():
    differences = drawn(25)
    once = median_interval(differences, [range(25)])
    assert median_interval(np.repeat(differences, 8), [np.repeat(np.arange(25), 8).tolist()]) == once
    # Neither do more sources of the same songs, nor another order of the excerpts.
    order = np.random.default_rng(2).permutation(25)
    assert median_interval(differences, [range(25), range(25)]) == once
    low, high = median_interval(differences[order], [order.tolist()])
    assert (low, high) == (pytest.approx(once[0], abs=0.1), pytest.approx(once[1], abs=0.1))


def test_songs_of_every_source_of_an_incoherent_mixture_count():
    generator = np.random.default_rng(3)
    of_bass, of_drums = generator.integers(15, size=(2, 600))
    effects = generator.normal(0, 1, (2, 15))
    differences = effects[0][of_bass] + effects[1][of_drums] + generator.normal(0, 0.2, 600)
    bass = [f"bass {song}" for song in of_bass]
    drums = [f"drums {song}" for song in of_drums]
    ends = [median_interval(differences, songs) for songs in ([bass], [drums], [bass, drums])]
    widths = [high - low for low, high in ends]
    # Variances of independent causes add up.
    assert widths[2] == pytest.approx(np.hypot(widths[0], widths[1]), rel=0.15)


def test_the_interval_covers_the_truth_as_often_as_stated():
    """Also if each source of a mixture has its own song. Excerpts taken as independent give too narrow intervals."""
    generator = np.random.default_rng(4)
    covers = np.zeros((3, 100), dtype=bool)
    for trial in range(100):
        songs = generator.integers(20, size=(2, 200))
        effects = generator.normal(0, 1, (2, 20))
        noise = generator.normal(0, 0.5, 200)
        coherent, incoherent = effects[0][songs[0]] + noise, effects[0][songs[0]] + effects[1][songs[1]] + noise
        names = [[f"{source} {song}" for song in songs[source]] for source in range(2)]
        for row, (differences, of_sources) in enumerate(
            [(coherent, names[:1]), (incoherent, names), (incoherent, [range(200)])]
        ):
            low, high = median_interval(differences, of_sources, resamples=400)
            covers[row, trial] = low <= 0 <= high
    covered = covers.mean(axis=1)
    assert min(covered[:2]) >= 0.87 and covered[2] < 0.7


def test_one_song_gives_no_interval():
    assert median_interval(drawn(), [["a"] * 30]) is None
    assert median_interval(drawn(), [["a"] * 30, ["a", "b"] * 15]) is None
    assert median_interval(np.array([]), [[]]) is None
    assert median_interval(drawn(2), [["a", "b"]]) is not None


def test_a_source_with_few_of_many_songs_has_an_interval():
    # Many draws of 42 songs have neither 'x' nor 'y': they have no pair, and are ignored.
    bass, drums = ["x", "y"] * 100, [str(index % 40) for index in range(200)]
    low, high = median_interval(drawn(200), [bass, drums])
    assert low < np.median(drawn(200)) < high


def test_one_seed_gives_one_interval():
    songs = [[index % 9 for index in range(60)]]
    assert median_interval(drawn(60), songs) == median_interval(drawn(60), songs)
    assert median_interval(drawn(60), songs) != median_interval(drawn(60), songs, seed=1)


def test_describe_differences_collects_all_statistics_as_json():
    differences, songs = drawn(40), [[index % 8 for index in range(40)]]
    assert describe_differences(differences, songs, "two-sided") == {
        "songs": 8,
        "mean_difference": pytest.approx(differences.mean()),
        "median_difference": pytest.approx(np.median(differences)),
        "interval": median_interval(differences, songs),
        "confidence": 0.95,
        "effect_size": rank_biserial(differences),
        "p_value": signed_rank_test(differences, "two-sided"),
    }
    none = describe_differences(np.array([]), [[]])
    assert none.pop("songs") == 0 and none.pop("confidence") == 0.95 and set(none.values()) == {None}


def rows(values, track="t"):
    return [
        {"excerpt": i, "track": track, "start": i, "label": "x", "si_sdr": v, "estimate": "e"} for i, v in enumerate(values)
    ]


def test_a_comparison_is_scipys_one_sided_wilcoxon_on_pairs():
    a, b = drawn(30, 0, 1.0), drawn(30, 1, 0.4)
    # Rows are paired by excerpt, in any order.
    found = compare(rows(a)[::-1], rows(b))
    assert found["p_value"] == pytest.approx(scipy.stats.wilcoxon(a, b, alternative="greater").pvalue)
    assert found["n"] == found["n_different"] == 30
    assert found["mean_difference"] == pytest.approx((a - b).mean())
    assert found["median_difference"] == pytest.approx(np.median(a - b))
    assert (found["median_a"], found["mean_b"]) == pytest.approx((np.median(a), b.mean()))
    # One-sided: the other way round is the complement, not the same.
    assert compare(rows(b), rows(a))["p_value"] > 0.5 > found["p_value"]


def test_a_comparison_pairs_excerpts_by_the_mean_over_the_sources_that_count_for_both():
    def of_sources(*columns):
        return [{**row, "label": label} for label, column in zip("xy", columns, strict=True) for row in rows(column)]

    a = of_sources([4.0, 2.0, None, 7.0], [6.0, 3.0, 5.0, None])
    b = of_sources([1.0, None, 1.0, None], [2.0, 1.0, 2.0, 3.0])
    found = compare(a, b)
    differences = [5.0 - 1.5, 3.0 - 1.0, 5.0 - 2.0]  # excerpt 3 has no source that counts for both
    assert found["n"] == 3 and found["mean_difference"] == pytest.approx(np.mean(differences))
    assert found["p_value"] == pytest.approx(scipy.stats.wilcoxon(differences, alternative="greater").pvalue)


def test_both_verdicts_are_returned():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.5, 1.0, 200)
    one_song = describe_differences(differences, [["only"] * 200])
    found = verdicts(one_song, one_song["p_value"])
    assert (
        found["paper"]["shown"] is True and "Wilcoxon signed-rank test over excerpts, p < 0.001" in found["paper"]["test"]
    )
    assert found["ours"]["shown"] is None and "needs two songs" in found["ours"]["why"]
    # Songs that disagree: the paper's test counts 200 excerpts, ours 4 songs.
    songs = [number % 4 for number in range(200)]
    apart = np.array([3.0, 2.0, 1.0, -4.0])[songs] + rng.normal(0, 0.1, 200)
    found = verdicts(tested := describe_differences(apart, [songs]), tested["p_value"])
    assert (found["paper"]["shown"], found["ours"]["shown"]) == (False, False)
    found = verdicts(tested := describe_differences(apart + 3.5, [songs]), tested["p_value"])
    assert (found["paper"]["shown"], found["ours"]["shown"]) == (True, False)
    found = verdicts(tested := describe_differences(apart + 5, [songs]), tested["p_value"])
    assert (found["paper"]["shown"], found["ours"]["shown"]) == (True, True)
    found = verdicts(tested, 0.002)  # one of many tests
    assert (found["paper"]["shown"], found["ours"]["shown"]) == (True, False)
    assert "p = 0.002 after Holm" in found["ours"]["why"]


def test_a_comparison_of_few_pairs_states_their_number():
    equal = compare(rows([1.0, 2.0, 3.0]), rows([1.0, 2.0, 3.0]))
    assert (equal["n"], equal["n_different"], equal["p_value"], equal["songs"]) == (3, 0, 1.0, 1)
    one = compare(rows([5.0]), rows([-5.0]))
    assert (one["n"], one["p_value"], one["interval"]) == (1, 0.5, None)
    none = compare(rows([None, 1.0]), rows([1.0]))
    assert (none["n"], none["p_value"], none["mean_difference"]) == (0, None, None)


def test_without_songs_each_track_counts_as_a_song():
    a, b = drawn(40, 0, 1.0).tolist(), drawn(40, 1, 0.4).tolist()
    halves = [[{**row, "track": "one" if row["excerpt"] < 20 else "two"} for row in rows(values)] for values in (a, b)]
    by_track = compare(*halves)
    assert by_track["songs"] == 2 and by_track["interval"] is not None
    songs = {"x": [str(index % 5) for index in range(40)]}
    told = compare(rows(a), rows(b), songs)
    assert told["songs"] == 5 and told["interval"] == median_interval(np.subtract(a, b), list(songs.values()))
