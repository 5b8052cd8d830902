"""Numbers and names as they are written, and the table for the terminal."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Callable

from ..evaluation.statistics import describe_left_out
from .inputs import MIXTURE, ORACLE


def estimates_in_order(scores: dict) -> list[str]:
    """Returns the names of what was scored, the one expected to be worst first: mixture, models, oracle."""
    scored = list(dict.fromkeys(entry["estimate"] for entry in scores["summary"]))
    models = [name for name in reversed(scores["models"]) if name in scored]
    return [name for name in (MIXTURE, *models, ORACLE) if name in scored]


def summary_of(scores: dict) -> dict[tuple[str, str | None], dict]:
    """Returns the summary's entries by (estimate, label); label None stands for all."""
    return {(entry["estimate"], entry["label"]): entry for entry in scores["summary"]}


def decibels(value: float | None, signed: bool = False) -> str:
    """Returns a level or a difference with two decimals and a true minus sign; a dash where there is none.

    >>> decibels(-4.005), decibels(1.5, signed=True), decibels(None), decibels(-0.001, signed=True)
    ('\u22124.00', '+1.50', '\u2013', '0.00')
    """
    if value is None:
        return "\u2013"
    if abs(value) < 0.005:
        return "0.00"
    return (f"{value:+.2f}" if signed else f"{value:.2f}").replace("-", "\u2212")


def probability(value: float | None) -> str:
    """Returns a p-value: three decimals, or a power of ten below 0.001.

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


def verdict(scores: dict, significance: float = 0.001) -> str:
    """Returns one sentence on the first comparison, whichever wins; empty where nothing was compared.

    Args:
        scores: As read from ``scores.json``.
        significance: Below this p the difference counts; the paper's value.
    """
    if not scores["comparisons"] or not scores["comparisons"][0]["n"]:
        return ""
    first = scores["comparisons"][0]
    difference = first["mean_difference"]
    clear = first["p_value"] < significance
    return (
        f"{first['better']} against {first['than']}: {decibels(abs(difference))} dB "
        f"{'better' if difference >= 0 else 'worse'} in mean SI-SDR, over {first['n']} pairs of excerpt and source "
        f"(one-sided Wilcoxon signed-rank test: {_p_is(first['p_value'])}, {'' if clear else 'not '}significant at "
        f"p < {significance:g})."
    )


def text_table(scores: dict) -> str:
    """Returns the scores as plain tables: SI-SDR, how far that is above the mixture's, museval's ratios; then the tests.

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
    lines += ["", "One-sided Wilcoxon signed-rank tests of SI-SDR:"]
    for entry in scores["comparisons"]:
        lines.append(
            f"  {entry['better']} over {entry['than']}: {decibels(entry['mean_difference'], True)} dB mean, "
            f"{decibels(entry['median_difference'], True)} dB median{_interval(entry)}, n = {entry['n']}, "
            f"{_p_is(entry['p_value'])}{_corrected(entry)}"
        )
    if left_out := describe_left_out(scores):
        lines.append(left_out)
    return "\n".join(lines)


def _table(names: list[str], rows: list[list[str]]) -> list[str]:
    """Returns the lines of a table; long names stand in several, above numbers that decide how wide a column is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(names))]
    heads = [
        textwrap.wrap(name, max(width, *map(len, name.split()))) for name, width in zip(names, widths, strict=True)
    ]
    widths = [max(width, *map(len, head)) for width, head in zip(widths, heads, strict=True)]
    height = max(map(len, heads))
    head_rows = list(zip(*([""] * (height - len(head)) + head for head in heads), strict=True))
    lines = []
    for row in head_rows + rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("   ".join([row[0].ljust(widths[0]), *cells]))
    return [*lines[:height], "-" * len(lines[0]), *lines[height:]]


def folds_table(scores: dict) -> str:
    """Returns what each network of a cross-validation scored on the tracks that it had not heard.

    Args:
        scores: As :func:`nussl_transfer.pipelines.cross_validation.cross_validate` returns them.
    """
    rows = scores["folds"]
    repeats = sorted({row["repeat"] for row in rows})
    lines = [f"{'repeat  ' if len(repeats) > 1 else ''}fold  SI-SDR/dB  tested on"]
    lines.append("-" * len(lines[0]))
    for row in rows:
        number = f"{row['repeat']:<8}" if len(repeats) > 1 else ""
        lines.append(f"{number}{row['fold']:<6}{decibels(row['mean']):>9}  {', '.join(row['tracks'])}")
    # Folds differ in how many tracks they hold, and tracks in length: these are means over the folds, as they stand above.
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
    """Returns between what the median may lie; scores of earlier versions, and of one song, have no interval."""
    if entry.get("interval") is None:
        return ""
    low, high = (decibels(end, True) for end in entry["interval"])
    return f" ({100 * entry['confidence']:g} % interval of {entry['songs']} songs: {low} to {high})"


def _corrected(entry: dict) -> str:
    return f" ({probability(entry['p_holm'])} after Holm)" if entry.get("p_holm") is not None else ""


def _p_is(value: float | None) -> str:
    return f"p = {probability(value)}".replace("= <", "<")


def _raised(number: int) -> str:
    raised = "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
    return str(number).translate(str.maketrans("-0123456789", raised))
