"""When something counts as found: the rules, stated once for the page and the code."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN, PARTLY, NOT_SHOWN, NOT_MEASURED = "shown", "partly shown", "not shown", "not measured"
CONTRARY = "the contrary is shown"
BETTER, WORSE, UNCLEAR = "better", "worse", "unclear"

RULES = (
    "Scores are compared pair by pair: two models on one excerpt, each by its mean SI-SDR over the sources that sound.",
    "One model is better than another where the Wilcoxon signed-rank test is significant at p < {threshold:g} after "
    "Holm\u2019s correction over all tests of the grid, and the {confidence} interval of the median difference, by a "
    "bootstrap that draws whole songs, lies above zero. It is worse where that interval lies below zero and the test the "
    "other way round has p < {threshold:g}. Otherwise it is not shown either way; so too where all excerpts are of one "
    "song, which has no interval. Where songs are fewer than about ten, intervals are rather too narrow.",
    "H1, H2 and R2 are tested one-sided, as in the paper. R1 is tested two-sided: which pretraining is the best was seen "
    "in the same scores, which still makes its p rather too small.",
    "A statement about several comparisons is shown where all of them are better, partly shown where some are, not shown "
    "where none is; the contrary is shown where all of them are worse. What was not measured is left out, and named.",
    "A star and bold type mark p < {threshold:g} before any correction, as in the paper; a dagger (\u2020) beside them "
    "says that Holm\u2019s correction takes it back.",
)


def finding(comparison: dict, threshold: float) -> str:
    """Returns whether the first model of a comparison is `BETTER` or `WORSE` than the second, or neither shown.

    >>> tested = {"alternative": "greater", "p_value": 1e-9, "significant_holm": True, "interval": [0.1, 0.4]}
    >>> finding(tested, 0.001), finding({**tested, "interval": [-0.1, 0.4]}, 0.001)
    ('better', 'unclear')
    >>> against = {"alternative": "greater", "p_value": 1 - 1e-9, "significant_holm": False, "interval": [-2.0, -1.0]}
    >>> finding(against, 0.001), finding({**against, "p_value": 0.9}, 0.001), finding({**against, "interval": None}, 0.001)
    ('worse', 'unclear', 'unclear')
    """
    if comparison["interval"] is None or comparison["p_value"] is None:
        return UNCLEAR
    low, high = comparison["interval"]
    if comparison["significant_holm"] and low > 0:
        return BETTER
    p_value = comparison["p_value"]
    reverse = p_value if comparison["alternative"] == "two-sided" else 1 - p_value
    return WORSE if high < 0 and reverse < threshold else UNCLEAR


def verdict(findings: Sequence[str]) -> str:
    """Returns what findings come to together.

    >>> verdict(["better", "better"]), verdict(["better", "worse"]), verdict(["unclear", "worse"])
    ('shown', 'partly shown', 'not shown')
    >>> verdict(["worse", "worse"]), verdict([])
    ('the contrary is shown', 'not measured')
    """
    if not findings:
        return NOT_MEASURED
    found = set(findings)
    if BETTER in found:
        return SHOWN if found == {BETTER} else PARTLY
    return CONTRARY if found == {WORSE} else NOT_SHOWN


def together(verdicts: Sequence[str]) -> str:
    """Returns what verdicts come to together; what was not measured does not count.

    >>> together(["shown", "not measured"]), together(["shown", "not shown"])
    ('shown', 'partly shown')
    >>> together(["not shown", "the contrary is shown"])
    'not shown'
    """
    found = set(verdicts) - {NOT_MEASURED}
    if len(found) < 2:
        return found.pop() if found else NOT_MEASURED
    return PARTLY if found & {SHOWN, PARTLY} else NOT_SHOWN


def rules(comparisons: Sequence[dict], threshold: float) -> list[str]:
    """Returns the rules as they are printed, with the threshold and confidence of the study."""
    confidence = comparisons[0]["confidence"] if comparisons else 0.95
    return [rule.format(threshold=threshold, confidence=f"{100 * confidence:g} %") for rule in RULES]


def mark(comparison: dict) -> str:
    """Returns the mark of significance: a star as the paper sets it, with a dagger where Holm's correction takes it back.

    >>> mark({"significant": True, "significant_holm": True}), mark({"significant": True, "significant_holm": False})
    ('*', '*\u2020')
    """
    if not comparison["significant"]:
        return ""
    return "*" if comparison["significant_holm"] else "*\u2020"
