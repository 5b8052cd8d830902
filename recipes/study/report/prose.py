"""The answers as Markdown."""

from __future__ import annotations

from nussl_transfer.report.elements import shown

from . import paper
from .answers import QUESTIONS, answers, efficiency
from .extent import extent, missing_parts
from .findings import rules
from .inputs import Study
from .wording import Part


def answers_markdown(study: Study) -> str:
    """Returns ``answers.md``: what was done, the answers, and when something counts as shown."""
    lines = [f"# {study.title}", "", " ".join(extent(study)), ""]
    for answer in answers(study):
        lines += [f"## {answer.question}. {QUESTIONS[answer.question]}", ""]
        lines += [f"**{shown(answer.verdict)}**{answer.sentence}", "", *_items(answer.parts), "", answer.paper, ""]
    lines += ["## Iterations", "", *_items(efficiency(study)), ""]
    lines += [
        f"The paper: on Dagstuhl ChoirSet the best fine-tuned model reached 5 dB in {paper.REACHED_IN:,} iterations, "
        f"the one from scratch in {paper.BASELINE_REACHED_IN:,}.",
        "",
    ]
    counted = rules(study.analysis["comparisons"], study.threshold)
    lines += ["## What counts as shown", "", *(f"* {rule}" for rule in counted), ""]
    missing = missing_parts(study)
    if missing:
        lines += ["## Missing", "", *(f"* {name}" for name in missing), ""]
    lines += [f"The paper is {paper.SOURCE}.", ""]
    return "\n".join(lines)


def _items(parts: list[Part]) -> list[str]:
    return [f"* **{part.head}** {part.sentence}".rstrip() for part in parts]
