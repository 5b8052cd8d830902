"""Format numbers and names, and the tables of scores for the terminal."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Callable, Sequence

from tabulate import tabulate

from ..evaluation.statistics import describe_left_out
from .inputs import MIXTURE, ORACLE

# How scores are paired in the tests.
PAIRS = "excerpt by excerpt"


def capital(text: str) -> str:
    """Return text with a capital first letter."""
    return text[:1].upper() + text[1:]


def estimates_in_order(scores: dict) -> list[str]:
    """Return the names of the scored estimates, from the worst expected to the best: mixture, models, oracle."""
    scored = list(dict.fromkeys(entry["estimate"] for entry in scores["summary"]))
    models = [name for name in reversed(scores["models"]) if name in scored]
    return [name for name in (MIXTURE, *models, ORACLE) if name in scored]


def summary_of(scores: dict) -> dict[tuple[str, str | None], dict]:
    """Return the summary's entries by (estimate, label); label None is all labels together."""
    return {(entry["estimate"], entry["label"]): entry for entry in scores["summary"]}


def decibels(value: float | None, signed: bool = False) -> str:
    """Return a level or a difference with two decimals and a true minus sign; a dash for None.

    >>> decibels(-4.005), decibels(1.5, signed=True), decibels(None), decibels(-0.001, signed=True)
    ('\u22124.00', '+1.50', '\u2013', '0.00')
    """
    if value is None:
        return "\u2013"
    if abs(value) < 0.005:
        return "0.00"
    return (f"{value:+.2f}" if signed else f"{value:.2f}").replace("-", "\u2212")


def probability(value: float | None) -> str:
    """Return a p-value: three decimals, or a power of ten below 0.001.

    >>> probability(0.04), probability(3.21e-12), probability(0.0)
    ('0.040', '3.2 \u00d7 10\u207b\u00b9\u00b2', '< 10\u207b\u00b3\u2070\u2070')
    """
    if value is None:
        return "\u2013"
    if value >= 0.001:
        return f"{value:.3f}"
    if value < 1e-300:
        return f"< 10{_raised(-300)}"
    exponent = math.floor(math.log10(value))
    mantissa = f"{value / 10**exponent:.1f}" if exponent > -300 else "1.0"
    if mantissa == "10.0":
        mantissa, exponent = "1.0", exponent + 1
    return f"{mantissa} \u00d7 10{_raised(exponent)}"


def listed(parts: Sequence[str]) -> str:
    """Return parts as an English enumeration.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1.

    >>> counted(1, "song"), counted(1000, "song")
    ('1 song', '1,000 songs')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shown_words(shown: bool | None) -> str:
    """Return a verdict of a comparison in words: 'shown', 'not shown' or 'cannot tell'."""
    return "cannot tell" if shown is None else "shown" if shown else "not shown"


def verdict(scores: dict, significance: float = 0.001) -> str:
    """Return one sentence on the first comparison, whichever side is better; empty if nothing was compared.

    Args:
        scores: As read from ``scores.json``.
        significance: Threshold of p; the paper's by default.
    """
    if not scores["comparisons"] or not scores["comparisons"][0]["n"]:
        return ""
    first = scores["comparisons"][0]
    difference = first["mean_difference"]
    clear = first["p_value"] < significance
    return (
        f"{first['better']} against {first['than']}: {decibels(abs(difference))} dB "
        f"{'better' if difference >= 0 else 'worse'} in mean SI-SDR, over {first['n']} excerpts "
        f"(one-sided Wilcoxon signed-rank test: {_p_is(first['p_value'])}, {'' if clear else 'not '}significant at "
        f"p < {significance:g})."
    )


def text_table(scores: dict) -> str:
    """Return the scores as text: tables of SI-SDR, of the improvement over the mixture and of museval's ratios; the tests.

    Args:
        scores: As :func:`nussl_transfer.evaluation.evaluate.evaluate` returns them.
    """
    estimates, summary = estimates_in_order(scores), summary_of(scores)
    others = [name for name in estimates if name != MIXTURE]
    labels = [*scores["labels"], None]

    def rows_of(names: list[str], cell: Callable[[dict], str]) -> list[list[str]]:
        return [[label or "all", *(cell(summary[name, label]) for name in names)] for label in labels]

    rows = rows_of(estimates, lambda entry: f"{decibels(entry['mean'])} ({decibels(entry['median'])})")
    counted = [[*row, str(summary[estimates[0], label]["n"])] for row, label in zip(rows, labels, strict=True)]
    lines = [*_table(["SI-SDR/dB", *estimates, "n"], counted), "", "mean (median)."]
    overall = [summary[name, None] for name in others]
    if any(entry.get("improvement") is not None for entry in overall):
        rows = rows_of(others, lambda entry: decibels(entry.get("improvement"), signed=True))
        lines += ["", *_table(["SI-SDRi/dB", *others], rows), "", "mean improvement over the mixture."]
    if any("sdr" in entry for entry in overall):
        rows = rows_of(estimates, lambda entry: " / ".join(decibels(entry[name]) for name in ("sdr", "sir", "sar")))
        lines += ["", *_table(["SDR/SIR/SAR", *estimates], rows), "", "median in dB, by museval (BSS Eval 4)."]
    lines += ["", "One-sided Wilcoxon signed-rank tests of SI-SDR, excerpt by excerpt:"]
    for entry in scores["comparisons"]:
        lines.append(
            f"  {entry['better']} over {entry['than']}: {decibels(entry['mean_difference'], True)} dB mean, "
            f"{decibels(entry['median_difference'], True)} dB median{_interval(entry)}, n = {entry['n']}, "
            f"{_p_is(entry['p_value'])}{_corrected(entry)}{_verdicts(entry)}"
        )
    rules = next((entry["verdicts"] for entry in scores["comparisons"] if entry.get("verdicts")), None)
    if rules:
        lines += [f"  The paper's rule: {rules['paper']['test']}.", f"  Our rule: {rules['ours']['test']}."]
    if left_out := describe_left_out(scores):
        lines.append(left_out)
    return "\n".join(lines)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; a column is as wide as its cells, and long names are wrapped to that."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(names))]
    heads = [
        "\n".join(textwrap.wrap(name, max(width, *map(len, name.split()))))
        for name, width in zip(names, widths, strict=True)
    ]
    align = ["left"] + ["right"] * (len(names) - 1)
    return tabulate(rows, heads, "simple", colalign=align, disable_numparse=True).splitlines()


def folds_table(scores: dict) -> str:
    """Return the score of each network of a cross-validation on its held-out tracks.

    Args:
        scores: As :func:`nussl_transfer.pipelines.cross_validation.cross_validate` returns them.
    """
    rows = scores["folds"]
    repeats = sorted({row["repeat"] for row in rows})
    several = len(repeats) > 1
    cells = [
        [*([row["repeat"]] if several else []), row["fold"], decibels(row["mean"]), ", ".join(row["tracks"])]
        for row in rows
    ]
    head = [*(["repeat"] if several else []), "fold", "SI-SDR/dB", "tested on"]
    align = ["left"] * (len(head) - 2) + ["right", "left"]
    lines = tabulate(cells, head, "simple", colalign=align, disable_numparse=True).splitlines()
    # Each fold counts once, although folds differ in the number and the length of their tracks.
    means = [
        statistics.fmean(row["mean"] for row in rows if row["repeat"] == repeat and row["mean"] is not None)
        for repeat in repeats
        if any(row["repeat"] == repeat and row["mean"] is not None for row in rows)
    ]
    if len(means) > 1:
        lines.append(
            f"Mean of the folds over {len(means)} repeats: {decibels(statistics.fmean(means))} dB, from "
            f"{decibels(min(means))} to {decibels(max(means))} (standard deviation {decibels(statistics.stdev(means))})."
        )
    return "\n".join(lines)


def _interval(entry: dict) -> str:
    """Return the interval of the median in words; scores of one song, and of earlier versions, have none."""
    if entry.get("interval") is None:
        return ""
    low, high = (decibels(end, True) for end in entry["interval"])
    return f" ({100 * entry['confidence']:g} % interval of {entry['songs']} songs: {low} to {high})"


def _corrected(entry: dict) -> str:
    return f" ({probability(entry['p_holm'])} after Holm)" if entry.get("p_holm") is not None else ""


def _verdicts(entry: dict) -> str:
    """Return the verdict by the paper's rule and by ours, if the comparison has them."""
    verdicts = entry.get("verdicts")
    if not verdicts:
        return ""
    paper, ours = (shown_words(verdicts[name]["shown"]) for name in ("paper", "ours"))
    if paper != ours:
        return f"; {paper} by the paper's rule, {ours} by ours"
    return "; shown by neither rule" if verdicts["paper"]["shown"] is False else f"; {paper} by both rules"


def _p_is(value: float | None) -> str:
    return f"p = {probability(value)}".replace("= <", "<")


def _raised(number: int) -> str:
    raised = "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
    return str(number).translate(str.maketrans("-0123456789", raised))
