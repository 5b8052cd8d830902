"""The page: one HTML file with everything in it, and nothing from elsewhere."""

from __future__ import annotations

from html import escape

from . import figures
from .document import document, in_colours_and_widths, section
from .elements import ABOUT_ORACLE, ABOUT_SI_SDR, chip, facts, number, p_value, raised, shown, uri
from .inputs import MIXTURE, ORACLE, Example
from .listen import listen
from .style import DARK, LIGHT, MODELS
from .text import decibels, estimates_in_order, summary_of, verdict


def page(about: dict, scores: dict, curves: figures.Curves, example: Example) -> str:
    """Returns the HTML of the page.

    Args:
        about: Title, summary, facts, commands, notes.
        scores: As in ``scores.json``.
        curves: Points (iteration, dB) by name.
        example: What to listen to.
    """
    models = list(scores["models"])
    summary = f"<p>{escape(str(about['summary']))}</p>" if about.get("summary") else ""
    told = (
        f"<p>{raised(escape(shown(verdict(scores))))}</p>\n{_score_table(scores)}\n{_test_table(scores)}"
    )
    parts = [
        section("scores", "Scores", told),
        section("curves", "Learning curves", _curves(curves, models)),
        section("listen", "Listen", listen(example, models, scores["labels"])),
        _making(about),
        f"<footer>\n<p>{ABOUT_SI_SDR}{_about_oracle(scores)}.</p>\n</footer>",
    ]
    title = str(about.get("title", "Scores of a separation"))
    return document(title, f"{summary}\n{_headline(scores)}", "\n".join(parts))


def _headline(scores: dict) -> str:
    summary = summary_of(scores)
    items = []
    for name in estimates_in_order(scores):
        if name != ORACLE:
            items.append(
                f'<div style="--colour: {_model_variable(scores, name)}"><dt>{escape(shown(name))}</dt>'
                f"<dd>{number(summary[name, None]['mean'])}</dd></div>"
            )
    return (
        f'<dl class="figures" aria-label="Mean SI-SDR over all excerpts and sources">{"".join(items)}</dl>\n'
        '<p class="small">Mean SI-SDR in dB over all test excerpts and sources; higher is better.</p>'
    )


def _score_table(scores: dict) -> str:
    estimates, summary = estimates_in_order(scores), summary_of(scores)
    head = "".join(f'<th scope="col">{_line(scores, name)}{escape(shown(name))}</th>' for name in estimates)
    rows = []
    for label in [*scores["labels"], None]:
        entries = [summary[name, label] for name in estimates]
        cells = "".join(
            f'<td>{number(entry["mean"])}<span class="median">{number(entry["median"])}</span></td>'
            for entry in entries
        )
        named = f"{chip(scores['labels'], label)}{escape(label)}" if label is not None else "all"
        rows.append(
            f'<tr{"" if label is not None else " class=all"}><th scope="row">{named}</th>{cells}'
            f'<td class="n"><data value="{entries[0]["n"]}">{entries[0]["n"]}</data></td></tr>'
        )
    left_out = scores["left_out"]
    silent = f" {left_out} silent reference{'s' if left_out != 1 else ''} left out." if left_out else ""
    return (
        '<div class="scroll"><table class="scores"><caption><span>SI-SDR in dB on the test excerpts: the mean, and below '
        f"it the median; n is the number of scores.{silent}</span></caption><thead><tr>"
        f'<th scope="col">source</th>{head}<th scope="col" class="n">n</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _test_table(scores: dict) -> str:
    rows = []
    for entry in scores["comparisons"]:
        rows.append(
            f'<tr><th scope="row">{escape(shown(entry["better"]))} over {escape(entry["than"])}</th>'
            f"<td>{number(entry['mean_difference'], signed=True)}</td>"
            f"<td>{number(entry['median_difference'], signed=True)}</td>"
            f'<td><data value="{entry["n"]}">{entry["n"]}</data></td>'
            f"<td>{p_value(entry['p_value'])}</td></tr>"
        )
    return (
        '<div class="scroll"><table class="tests"><caption><span>Differences in dB, pair by pair of excerpt and '
        "source, and one-sided Wilcoxon signed-rank tests of their being above zero.</span></caption><thead><tr>"
        '<th scope="col">comparison</th><th scope="col">mean</th><th scope="col">median</th><th scope="col">n</th>'
        f'<th scope="col">p</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _curves(curves: figures.Curves, models: list[str]) -> str:
    sizes = {False: (8.6, 3.9), True: (4.6, 3.9)}
    sources = {
        (narrow, ground == DARK): uri("image/svg+xml", figures.curves_svg(curves, models, sizes[narrow], ground))
        for narrow in sizes
        for ground in (LIGHT, DARK)
    }
    ends = "; ".join(
        f"{name} {decibels(points[0][1])} dB at iteration {points[0][0]}, "
        f"{decibels(points[-1][1])} dB at {points[-1][0]}"
        for name, points in curves.items()
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{iteration:,}</td><td>{number(value)}</td></tr>'
        for name, points in curves.items()
        for iteration, value in points
    )
    return (
        f"<figure>{in_colours_and_widths(sources, f'Test SI-SDR against iteration: {ends}.')}"
        "<figcaption>Mean SI-SDR on a few fixed test excerpts as training goes on, as in Figure 3 of the "
        "paper; the dashed line is the mixture. A pretrained network starts at iteration 0 with its body trained and "
        "its mask head new.</figcaption></figure>"
        '<details><summary>The numbers of the curves</summary><div class="scroll"><table class="curves">'
        '<thead><tr><th scope="col">curve</th><th scope="col">iteration</th><th scope="col">SI-SDR (dB)</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div></details>"
    )


def _making(about: dict) -> str:
    commands = escape("\n".join(map(str, about.get("commands", []))))
    parts = [
        facts(about.get("facts", [])),
        f"<pre><code>{commands}</code></pre>" if commands else "",
        "".join(f"<p>{escape(str(note))}</p>" for note in about.get("notes", [])),
    ]
    return section("making", "How it was made", "".join(parts)) if any(parts) else ""


def _line(scores: dict, name: str) -> str:
    """Returns a piece of an estimate's line in the figure of the curves."""
    if name == ORACLE:
        return ""
    dashed = " dashed" if name == MIXTURE else ""
    return f'<span class="chip line{dashed}" style="--colour: {_model_variable(scores, name)}"></span>'


def _model_variable(scores: dict, name: str) -> str:
    models = list(scores["models"])
    return f"var(--model{models.index(name) % len(MODELS)})" if name in models else "var(--muted)"


def _about_oracle(scores: dict) -> str:
    return ABOUT_ORACLE if ORACLE in estimates_in_order(scores) else ""
