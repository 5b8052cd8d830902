"""When something counts as found: the rules, stated once for the page and the code."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN, PARTLY, NOT_SHOWN, NOT_MEASURED = "shown", "partly shown", "not shown", "not measured"
BETTER, WORSE, UNCLEAR = "better", "worse", "unclear"

RULES = (
    "Scores are compared pair by pair: two models on the same excerpt, each by its mean SI-SDR over the sources that sound.",
    "One model is better than another where the Wilcoxon signed-rank test is significant at p < {threshold:g} after Holm's "
    "correction over all tests of the grid, and the {confidence} interval of the median difference, by a bootstrap that "
    "draws whole songs, lies above zero. It is worse where that interval lies below zero. Otherwise no difference is shown.",
    "H1, H2 and R2 are tested one-sided, as in the paper. R1 is tested two-sided: which pretraining is the best was seen "
    "in the same scores.",
    "A statement about several comparisons is shown where all of them show it, partly shown where some do, and not shown "
    "where none does. What was not measured is left out, and named.",
    "The paper counts p < {threshold:g} before any correction. The star and bold type mean that; a dagger (\u2020) beside them "
    "says that it is not significant after Holm's correction.",
)


def finding(comparison: dict) -> str:
    """Returns whether the first model of a comparison is `BETTER` or `WORSE` than the second, or neither shown.

    >>> finding({"significant_holm": True, "interval": [0.1, 0.4]}), finding({"significant_holm": True, "interval": [-0.1, 1]})
    ('better', 'unclear')
    >>> finding({"significant_holm": False, "interval": [-2.0, -1.0]}), finding({"significant_holm": True, "interval": None})
    ('worse', 'unclear')
    """
    low, high = comparison["interval"] or (None, None)
    if low is None or high is None:
        return UNCLEAR
    if comparison["significant_holm"] and low > 0:
        return BETTER
    return WORSE if high < 0 else UNCLEAR


def verdict(findings: Sequence[str], wanted: str = BETTER) -> str:
    """Returns what findings come to together.

    >>> verdict(["better", "better"]), verdict(["better", "worse"]), verdict(["unclear"]), verdict([])
    ('shown', 'partly shown', 'not shown', 'not measured')
    """
    if not findings:
        return NOT_MEASURED
    count = sum(found == wanted for found in findings)
    return SHOWN if count == len(findings) else PARTLY if count else NOT_SHOWN


def together(verdicts: Sequence[str]) -> str:
    """Returns what verdicts come to together; what was not measured does not count.

    >>> together(["shown", "not measured"]), together(["shown", "not shown"]), together(["not shown"])
    ('shown', 'partly shown', 'not shown')
    """
    found = [each for each in verdicts if each != NOT_MEASURED]
    if not found:
        return NOT_MEASURED
    if all(each == SHOWN for each in found):
        return SHOWN
    return NOT_SHOWN if all(each == NOT_SHOWN for each in found) else PARTLY


def rules(threshold: float, confidence: float) -> list[str]:
    """Returns the rules as they are printed."""
    return [rule.format(threshold=threshold, confidence=f"{100 * confidence:g} %") for rule in RULES]


def mark(comparison: dict) -> str:
    """Returns the mark of significance: a star as the paper sets it, with a dagger where Holm's correction takes it back.

    >>> mark({"significant": True, "significant_holm": True}), mark({"significant": True, "significant_holm": False})
    ('*', '*\u2020')
    """
    if not comparison["significant"]:
        return ""
    return "*" if comparison["significant_holm"] else "*\u2020"
