"""Make the page of an evaluation: one HTML file that contains its pictures, sound and style, and loads nothing.

The folder that a page is made from::

    about.json      {"title": str, "summary": str, "facts": [[name, value], ...], "commands": [str, ...],
                     "notes": [str, ...]}; every key is optional
    scores.json     as nussl_transfer.evaluation.evaluate.evaluate writes it
    curves.json     {name: the contents of that run's curve.json, ...}: its "points" have "iteration" and "test_si_sdr"
                    (dB, null if it was not measured); beside them "mixture_si_sdr". Names as in scores.json.
    example/        as nussl_transfer.evaluation.evaluate.write_example writes it:
        example.json    {"track", "start", "frames", "sample_rate", "si_sdr": {name: {label: dB}}}
        mixture.wav
        references/<label>.wav
        <name>/<label>.wav, <name>/masks.npz     for each model of scores.json; one array [nf, nt] for each label

Pages are jinja2 templates (``templates/``) that escape all text. This package imports neither torch nor nussl.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from ..evaluation.statistics import describe_left_out
from ..runtime.files import read_json, write_text, written_aside
from . import figures
from .inputs import ADVICE, MIXTURE, ORACLE, Example, read_curves, read_example, read_scores
from .listen import data_uri, listening_part
from .text import PAIRS, capital, decibels, estimates_in_order, probability, shown_words, summary_of, verdict

TEMPLATES = Path(__file__).parent / "templates"
# The versions of a drawing, by (narrow screen, dark background); the browser takes the first whose media query matches.
_MEDIA = {
    (True, True): "(max-width: 36rem) and (prefers-color-scheme: dark)",
    (True, False): "(max-width: 36rem)",
    (False, True): "(prefers-color-scheme: dark)",
    (False, False): "",
}
Drawings = Mapping[tuple[bool, bool], bytes]


def write_page(folder: str | Path, out: str | Path) -> Path:
    """Make the page of a folder and return its path.

    Args:
        folder: Folder with the files listed above.
        out: HTML file to write.

    Raises:
        DataError: A file is missing or cannot be read; the message names it.
    """
    folder, out = Path(folder), Path(out)
    about = read_json(folder / "about.json", advice=ADVICE)
    scores = read_scores(folder / "scores.json")
    curves = read_curves(folder / "curves.json", scores)
    example = read_example(folder / "example", list(scores["models"]), scores["labels"])
    html = page(about, scores, curves, example)
    write_text(out, html)
    return out


def write_curves(folder: str | Path, out: str | Path) -> Path:
    """Draw the ``curves.json`` of a folder as a PNG file and return its path.

    Args:
        folder: Folder with ``curves.json``, and ``scores.json`` for the order of the models, hence their colours.
        out: PNG file to write.

    Raises:
        DataError: A file is missing or cannot be read; the message names it.
    """
    folder, out = Path(folder), Path(out)
    scores = read_scores(folder / "scores.json")
    curves = read_curves(folder / "curves.json", scores)
    with written_aside(out) as aside:
        figures.curves_png(curves, list(scores["models"]), aside)
    return out


def page(about: dict, scores: dict, curves: figures.Curves, example: Example) -> str:
    """Return the HTML of the page.

    Args:
        about: Title, summary, facts, commands and notes, as in ``about.json``.
        scores: As in ``scores.json``.
        curves: Points (iteration, dB) by name.
        example: The excerpt to listen to.
    """
    models, labels, summary = list(scores["models"]), scores["labels"], summary_of(scores)
    names = estimates_in_order(scores)
    estimates = [
        {
            "name": name,
            "overall": {"improvement": None, **summary[name, None]},
            "colour": _model_colour(models, name),
            "is_mixture": name == MIXTURE,
            "is_oracle": name == ORACLE,
        }
        for name in names
    ]
    score_rows = [
        {"label": label, "number": number % len(figures.LABELS), "entries": [summary[name, label] for name in names]}
        for number, label in enumerate([*labels, None])
    ]
    return render(
        "page.html",
        title=str(about.get("title", "Scores of a separation")),
        about={"summary": "", "facts": [], "commands": [], "notes": [], **about},
        estimates=estimates,
        score_rows=score_rows,
        has_improvement=any(summary[name, None].get("improvement") is not None for name in names),
        has_oracle=ORACLE in names,
        left_out=describe_left_out(scores),
        comparisons=scores["comparisons"],
        rules=next((entry["verdicts"] for entry in scores["comparisons"] if entry.get("verdicts")), None),
        verdict=verdict(scores),
        pairs=PAIRS,
        curves=curves,
        curve_drawing=drawing_versions(_draw_curves(curves, models)),
        curve_alt=_describe_curves(curves),
        example=listening_part(example, models, labels),
    )


def render(template: str, *folders: Path, **values: object) -> str:
    """Return the HTML of a template that extends ``base.html``.

    Args:
        template: Name of the template.
        folders: Folders of templates to search before this package's own.
        values: Variables of the template; ``title`` is required.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "capital": capital,
        "decibels": decibels,
        "keep_units": keep_units,
        "powers": powers,
        "probability": probability,
        "shown_words": shown_words,
    }
    script = (TEMPLATES / "player.js").read_text(encoding="utf-8")
    environment.globals |= {
        "colours": _colours(),
        "frequency_marks": figures.frequency_marks(),
        "script": Markup(script),
        "script_sha256": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return environment.get_template(template).render(**values)


def drawing_versions(svgs: Drawings) -> list[tuple[str, str]]:
    """Return (media query, data URI) of the four versions of a drawing, the default last."""
    return [(media, data_uri("image/svg+xml", svgs[version])) for version, media in _MEDIA.items()]


def powers(text: str) -> Markup:
    """Return text as HTML, with powers of ten as ``<sup>`` instead of the superscript digits of the terminal.

    >>> powers("p < 10\u207b\u00b3")
    Markup('p &lt; 10<sup>\u22123</sup>')
    """
    superscripts = "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
    plain = str.maketrans(superscripts, "\u22120123456789")
    return Markup(
        re.sub(f"[{superscripts}]+", lambda match: f"<sup>{match.group().translate(plain)}</sup>", str(escape(text)))
    )


def keep_units(text: str) -> str:
    """Return sentences in which a number stays on one line with its unit."""
    for part in (" dB", "p = ", "p < ", " \u00d7 ", " %"):
        text = text.replace(part, part.replace(" ", "\u00a0"))
    return text


def _draw_curves(curves: figures.Curves, models: list[str]) -> Drawings:
    size = {False: (8.6, 3.9), True: (4.6, 3.9)}
    ground = {False: figures.LIGHT, True: figures.DARK}
    return {(narrow, dark): figures.curves_svg(curves, models, size[narrow], ground[dark]) for narrow, dark in _MEDIA}


def _describe_curves(curves: figures.Curves) -> str:
    ends = "; ".join(
        f"{name} {decibels(points[0][1])} dB at iteration {points[0][0]}, {decibels(points[-1][1])} dB at {points[-1][0]}"
        for name, points in curves.items()
    )
    return f"Test SI-SDR against iteration: {ends}."


def _model_colour(models: list[str], name: str) -> str:
    return f"var(--model{models.index(name) % len(figures.MODELS)})" if name in models else "var(--muted)"


def _colours() -> list[tuple[str, tuple[str, str]]]:
    """Return the CSS variables of the colours: name, (on a light background, on a dark one)."""
    fixed = [(name, getattr(figures, name.upper())) for name in ("ground", "ink", "muted", "rule", "panel")]
    models = [(f"model{number}", pair) for number, pair in enumerate(figures.MODELS)]
    return fixed + models + [(f"label{number}", pair) for number, pair in enumerate(figures.LABELS)]
