"""Decide whether a comparison shows a difference, by the paper's rule and by ours; state both rules for the page."""

from __future__ import annotations

from collections.abc import Sequence

from nussl_transfer.evaluation.statistics import shown_by_our_rule

SHOWN, PARTLY, NOT_SHOWN, NOT_MEASURED = "shown", "partly shown", "not shown", "not measured"
CONTRARY = "the contrary is shown"
BETTER, WORSE, UNCLEAR = "better", "worse", "unclear"
PAPER_RULE, OUR_RULE = "the paper\u2019s rule", "our rule"

RULES = (
    "Scores are compared excerpt by excerpt: two models on the same excerpt, each by its mean SI-SDR over the sources.",
    "The paper\u2019s rule: one model is better than another if the Wilcoxon signed-rank test over the excerpts gives "
    "p < {threshold:g}, without a correction; it is worse if the test in the other direction does. The test treats "
    "excerpts as independent, but excerpts of one song are not, so its p is too small if there are few songs.",
    "Our rule: one model is better than another if p < {threshold:g} after Holm\u2019s correction over all tests of the "
    "study, and the {confidence} interval of the median difference, from a bootstrap that draws whole songs, lies above "
    "zero. "
    "It is worse if that interval lies below zero and the test in the other direction gives p < {threshold:g}. With fewer "
    "than about ten songs the interval is too narrow. With one test song there is no interval: then our rule can never say "
    "\u201cshown\u201d, whatever the scores are.",
    "H1, H2 and R2 are tested one-sided, as in the paper. R1 is tested two-sided, and the paper has no test for it: the "
    "best pretraining set is chosen from the same scores, which makes its p too small under both rules.",
    "A statement about several comparisons is shown if all of them are better, partly shown if some are, and not shown if "
    "none is; the contrary is shown if all of them are worse. What was not measured is left out and named.",
    "A star and bold type mark p < {threshold:g} before any correction, as in the paper; a dagger (\u2020) beside them "
    "means that it is not significant after Holm\u2019s correction.",
)


def finding(comparison: dict, threshold: float) -> str:
    """Return whether the first model of a comparison is `BETTER` or `WORSE` than the second by our rule, or `UNCLEAR`.

    >>> tested = {"alternative": "greater", "p_value": 1e-9, "p_holm": 1e-7, "interval": [0.1, 0.4]}
    >>> finding(tested, 0.001), finding({**tested, "interval": [-0.1, 0.4]}, 0.001)
    ('better', 'unclear')
    >>> against = {"alternative": "greater", "p_value": 1 - 1e-9, "p_holm": 1.0, "interval": [-2.0, -1.0]}
    >>> finding(against, 0.001), finding({**against, "p_value": 0.9}, 0.001), finding({**against, "interval": None}, 0.001)
    ('worse', 'unclear', 'unclear')
    """
    shown = shown_by_our_rule(comparison["p_holm"], comparison["interval"], threshold)
    if shown is None:
        return UNCLEAR
    if shown:
        return BETTER
    return WORSE if comparison["interval"][1] < 0 and _reverse_p(comparison) < threshold else UNCLEAR


def finding_by_paper(comparison: dict, threshold: float) -> str:
    """Return the same by the paper's rule, the Wilcoxon test over excerpts alone.

    >>> tested = {"alternative": "greater", "p_value": 1e-9, "mean_difference": 0.3}
    >>> finding_by_paper(tested, 0.001), finding_by_paper({**tested, "p_value": 1 - 1e-9}, 0.001)
    ('better', 'worse')
    >>> both = {**tested, "alternative": "two-sided", "effect_size": -0.4}
    >>> finding_by_paper(both, 0.001), finding_by_paper({**both, "p_value": 0.5}, 0.001)
    ('worse', 'unclear')
    """
    p_value = comparison["p_value"]
    if p_value is None:
        return UNCLEAR
    if comparison["alternative"] == "two-sided":
        if p_value >= threshold:
            return UNCLEAR
        return BETTER if comparison["effect_size"] > 0 else WORSE
    if p_value < threshold:
        return BETTER
    return WORSE if _reverse_p(comparison) < threshold else UNCLEAR


def verdict(findings: Sequence[str]) -> str:
    """Return the verdict on a statement about several comparisons.

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


def combined_verdict(verdicts: Sequence[str]) -> str:
    """Return the verdict of several verdicts; parts that were not measured do not count.

    >>> combined_verdict(["shown", "not measured"]), combined_verdict(["shown", "not shown"])
    ('shown', 'partly shown')
    >>> combined_verdict(["not shown", "the contrary is shown"])
    'not shown'
    """
    found = set(verdicts) - {NOT_MEASURED}
    if len(found) < 2:
        return found.pop() if found else NOT_MEASURED
    return PARTLY if found & {SHOWN, PARTLY} else NOT_SHOWN


def rules(comparisons: Sequence[dict], threshold: float) -> list[str]:
    """Return the rules as they are printed, with the threshold and confidence of the study."""
    confidence = comparisons[0]["confidence"] if comparisons else 0.95
    return [rule.format(threshold=threshold, confidence=f"{100 * confidence:g} %") for rule in RULES]


def mark(comparison: dict) -> str:
    """Return a star if p is significant, as in the paper, with a dagger if it is not after Holm's correction.

    >>> mark({"significant": True, "significant_holm": True}), mark({"significant": True, "significant_holm": False})
    ('*', '*\u2020')
    """
    if not comparison["significant"]:
        return ""
    return "*" if comparison["significant_holm"] else "*\u2020"


def _reverse_p(comparison: dict) -> float:
    """Return the p-value of the test in the other direction."""
    return comparison["p_value"] if comparison["alternative"] == "two-sided" else 1 - comparison["p_value"]
