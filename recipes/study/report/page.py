"""The page of a study: answers first, then figures, tables, sound, and how it was made."""

from __future__ import annotations

from html import escape

from nussl_transfer.report.document import document, in_colours_and_widths, section
from nussl_transfer.report.elements import ABOUT_ORACLE, ABOUT_SI_SDR, facts, raised, shown, uri
from nussl_transfer.report.inputs import Example
from nussl_transfer.report.listen import listen

from . import paper
from .answers import QUESTIONS, answers, efficiency
from .extent import extent, missing_parts
from .findings import rules
from .inputs import FINE_TUNED, SCRATCH, Study
from .wording import Answer, Part
from .writing import Table, as_html

# All sound of the page, as it stands in it, and how wide a spectrogram is at most.
AUDIO_BYTES = 5_000_000
PICTURE_WIDTH = 400
NOT_PLANNED = "<p>No part of this study.</p>"

Pictures = dict[tuple[bool, bool], bytes]


def page(study: Study, tables: dict[str, Table], figures: dict[str, Pictures], captions: dict[str, str]) -> str:
    """Returns the HTML of the page.

    Args:
        study: What was done and found.
        tables: By the name of their file.
        figures: SVG files by the name of the figure, then by (narrow, dark).
        captions: Of the figures, plain text.
    """
    found = answers(study)
    drawn = {name: _figure(pictures, captions[name]) for name, pictures in figures.items()}
    parts = [
        section("answers", "Answers", "".join(map(_answer, found)) + _rules(study)),
        section("scores", "Scores", drawn["figure1"] + _folded("All scores", as_html(tables["scores"]))),
        section("augmentation", "Augmentation in pretraining", drawn["figure2"] if study.augmented() else NOT_PLANNED),
        section("mask", "The mask head alone", as_html(tables["table2"]) if study.masked() else NOT_PLANNED),
        section("curves", "Learning curves", drawn["figure3"] + _list(efficiency(study)) + as_html(tables["iterations"])),
        section("statistics", "Statistics", _folded("All comparisons", as_html(tables["statistics"]))),
        section("data", "Data", as_html(tables["table1"])),
        _listen(study),
        _making(study),
        f"<footer>\n<p>{ABOUT_SI_SDR}{ABOUT_ORACLE}.</p>\n<p>The paper: {escape(paper.SOURCE)}.</p>\n</footer>",
    ]
    header = f"<p>{escape(' '.join(extent(study)))}</p>\n{_verdicts(found)}"
    return document(study.title, header, "\n".join(parts))


def _verdicts(found: list[Answer]) -> str:
    items = "".join(
        f'<div style="--colour: var(--muted)"><dt>{answer.question}</dt><dd>{escape(shown(answer.verdict))}</dd></div>'
        for answer in found
    )
    return f'<dl class="figures verdicts" aria-label="What was shown">{items}</dl>'


def _answer(answer: Answer) -> str:
    return (
        f'<div class="answer"><h3>{escape(answer.question)}. {escape(QUESTIONS[answer.question])}</h3>'
        f"<p><strong>{escape(shown(answer.verdict))}</strong>{_prose(answer.sentence)}</p>{_list(answer.parts)}"
        f'<p class="beside">{_prose(answer.paper)}</p></div>'
    )


def _list(parts: list[Part]) -> str:
    items = "".join(f"<li><strong>{escape(part.head)}</strong> {_prose(part.sentence)}</li>" for part in parts)
    return f'<ul class="parts">{items}</ul>'


def _prose(text: str) -> str:
    """Returns sentences as HTML in which a number stays on a line with its unit."""
    for part in (" dB", "p = ", "p < ", " \u00d7 ", " %"):
        text = text.replace(part, part.replace(" ", "\u00a0"))
    return raised(escape(text))


def _rules(study: Study) -> str:
    items = "".join(f"<li>{_prose(rule)}</li>" for rule in rules(study.analysis["comparisons"], study.threshold))
    return f"<details open><summary>What counts as shown</summary><ul>{items}</ul></details>"


def _figure(pictures: Pictures, caption: str) -> str:
    sources = {key: uri("image/svg+xml", picture) for key, picture in pictures.items()}
    return f"<figure>{in_colours_and_widths(sources, caption)}<figcaption>{escape(caption)}</figcaption></figure>"


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _listen(study: Study) -> str:
    if not study.examples:
        return section("listen", "Listen", "<p>No example was made yet.</p>")
    budget = AUDIO_BYTES // len(study.examples)
    clips = "".join(
        f'<div class="example"><h3>{escape(study.plan["downstreams"][downstream])}</h3>{_which(study, example)}'
        f"{listen(example, [SCRATCH, FINE_TUNED], study.labels(downstream), budget, PICTURE_WIDTH)}</div>"
        for downstream, example in study.examples.items()
    )
    return section("listen", "Listen", clips)


def _which(study: Study, example: Example) -> str:
    """Returns a sentence on which model the one called fine-tuned is, where the example tells."""
    models = {model["name"]: model for model in study.plan["models"]}
    model = models.get(example.checkpoints.get(FINE_TUNED, "").removesuffix(".pth"))
    if model is None:
        return ""
    name = study.name(model["pretraining"], model["condition"], model["mode"])
    return f"<p>Fine-tuned is the network pretrained on {escape(name)}.</p>"


def _making(study: Study) -> str:
    missing = missing_parts(study)
    names = f"<pre><code>{escape(chr(10).join(missing))}</code></pre>"
    return section(
        "making",
        "How it was made",
        facts(study.plan.get("settings", []))
        + f"<pre><code>{escape(study.plan['command'])}</code></pre>"
        + (_folded(f"Missing: {len(missing)}", names) if missing else ""),
    )
