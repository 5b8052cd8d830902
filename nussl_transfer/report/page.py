"""The page: one HTML file with everything in it, and nothing from elsewhere."""

from __future__ import annotations

from html import escape

from . import figures
from .elements import chip, number, p_value, raised, shown, uri
from .inputs import MIXTURE, ORACLE, Example
from .listen import listen
from .style import DARK, LIGHT, MODELS, style_sheet
from .text import decibels, estimates_in_order, summary_of, verdict

# One player at a time. All that the page does by script; without it everything still works.
_SCRIPT = """
document.addEventListener("play", (event) => {
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
"""


def page(about: dict, scores: dict, curves: figures.Curves, example: Example) -> str:
    """Returns the HTML of the page.

    Args:
        about: Title, summary, facts, commands, notes.
        scores: As in ``scores.json``.
        curves: Points (iteration, dB) by name.
        example: What to listen to.
    """
    title = escape(str(about.get("title", "Scores of a separation")))
    models = list(scores["models"])
    summary = f"<p>{escape(str(about['summary']))}</p>" if about.get("summary") else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style_sheet()}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{summary}
{_headline(scores)}
</header>
<main>
<section aria-labelledby="scores">
<h2 id="scores">Scores</h2>
<p>{raised(escape(shown(verdict(scores))))}</p>
{_score_table(scores)}
{_test_table(scores)}
</section>
<section aria-labelledby="curves">
<h2 id="curves">Learning curves</h2>
{_curves(curves, models)}
</section>
<section aria-labelledby="listen">
<h2 id="listen">Listen</h2>
{listen(example, models, scores["labels"])}
</section>
{_making(about)}
<footer>
<p>SI-SDR, the scale-invariant signal-to-distortion ratio, compares an estimate with the true source, whatever the
loudness of either: 0 dB means as much error as signal, each 10 dB more a tenth of the error. As an estimate of each
source the mixture itself is what any separator has to beat{_about_oracle(scores)}.</p>
</footer>
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""


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
    def source(ground: int, size: tuple[float, float]) -> str:
        return uri("image/svg+xml", figures.curves_svg(curves, models, size, ground))

    wide, narrow = (8.6, 3.9), (4.6, 3.9)
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
        "<figure><picture>"
        f'<source media="(max-width: 36rem) and (prefers-color-scheme: dark)" srcset="{source(DARK, narrow)}">'
        f'<source media="(max-width: 36rem)" srcset="{source(LIGHT, narrow)}">'
        f'<source media="(prefers-color-scheme: dark)" srcset="{source(DARK, wide)}">'
        f'<img src="{source(LIGHT, wide)}" alt="Test SI-SDR against iteration: {escape(ends, quote=True)}.">'
        "</picture><figcaption>Mean SI-SDR on a few fixed test excerpts as training goes on, as in Figure 3 of the "
        "paper; the dashed line is the mixture. A pretrained network starts at iteration 0 with its body trained and "
        "its mask head new.</figcaption></figure>"
        '<details><summary>The numbers of the curves</summary><div class="scroll"><table class="curves">'
        '<thead><tr><th scope="col">curve</th><th scope="col">iteration</th><th scope="col">SI-SDR (dB)</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div></details>"
    )


def _making(about: dict) -> str:
    facts = "".join(
        f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>" for name, value in about.get("facts", [])
    )
    commands = escape("\n".join(map(str, about.get("commands", []))))
    notes = "".join(f"<p>{escape(str(note))}</p>" for note in about.get("notes", []))
    parts = [
        f'<dl class="facts">{facts}</dl>' if facts else "",
        f"<pre><code>{commands}</code></pre>" if commands else "",
        notes,
    ]
    if not any(parts):
        return ""
    return f'<section aria-labelledby="making"><h2 id="making">How it was made</h2>{"".join(parts)}</section>'


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
    if ORACLE not in estimates_in_order(scores):
        return ""
    return (
        "; the oracle, masks made from the true sources themselves with the phase of the mixture, is about what "
        "such masks can reach"
    )
