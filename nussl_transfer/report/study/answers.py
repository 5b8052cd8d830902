"""The paper's hypotheses and research questions, answered in sentences made from the numbers."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from ..text import decibels, probability
from . import paper
from .curves import reached
from .extent import listed
from .findings import BETTER, NOT_MEASURED, NOT_SHOWN, PARTLY, SHOWN, UNCLEAR, WORSE, finding, together, verdict
from .inputs import NONE, SCRATCH, WHOLE, Study

QUESTIONS = {
    "H1": "Are pretrained and fine-tuned networks better than networks trained from scratch?",
    "H2": "Does augmentation in pretraining improve the fine-tuned network further?",
    "R1": "Does it matter what the network was pretrained on?",
    "R2": "Fine-tuned by its mask head alone, is the network better than fine-tuned whole?",
}


@dataclass(frozen=True)
class Part:
    """The answer for one set or condition."""

    name: str
    verdict: str
    sentence: str


@dataclass(frozen=True)
class Answer:
    """The answer to one question: what all comes to, what each part says, and how the paper had it."""

    question: str
    verdict: str
    sentence: str
    parts: list[Part] = field(default_factory=list)
    paper: str = ""


def answers(study: Study) -> list[Answer]:
    """Returns the answers to H1, H2, R1 and R2, in this order."""
    return [_first_hypothesis(study), _second_hypothesis(study), _first_question(study), _second_question(study)]


def _first_hypothesis(study: Study) -> Answer:
    parts, against = [], []
    for downstream, name in study.plan["downstreams"].items():
        found = study.comparisons("H1", downstream=downstream)
        base = study.cell(downstream, None, None, SCRATCH)
        sentence = f"From scratch {decibels(base['mean'])} dB. " if base and found else ""
        parts.append(Part(name, verdict([*map(finding, found)]), sentence + _told(study, found)))
        for entry in found:
            expected = paper.better_than_scratch(downstream, entry["pretraining"])
            where = f"{study.name(entry['pretraining'])} for {name} {_gain(entry)}"
            if (expected is True and finding(entry) == WORSE) or (expected is False and finding(entry) == BETTER):
                against.append(f"{where} is {finding(entry)} than from scratch")
            elif expected is True and finding(entry) == UNCLEAR:
                against.append(f"{where} is not shown to be better")
    iterations = _iterations(study)
    return Answer(
        "H1",
        together([part.verdict for part in parts]),
        _by_part(parts, "downstream set") + (f" {iterations}" if iterations else ""),
        parts,
        _beside(
            "The paper found fine-tuned models far better than from scratch for Bach10 and Remixpacks, and for Dagstuhl "
            "ChoirSet only the one pretrained on Slakh.",
            against,
            any(part.verdict != NOT_MEASURED for part in parts),
        ),
    )


def _second_hypothesis(study: Study) -> Answer:
    parts, gains = [], {}
    for condition, name in study.plan["conditions"].items():
        found = study.comparisons("H2", condition=condition)
        if condition == NONE:
            continue
        sentence = ""
        if found:
            gains[condition] = statistics.median(entry["mean_difference"] for entry in found)
            sentence = (
                f"{_tally(found)}; gains in mean SI-SDR from {decibels(min(map(_mean, found)), True)} to "
                f"{decibels(max(map(_mean, found)), True)} dB, their median {decibels(gains[condition], True)} dB."
            )
            better = [_of(study, entry) for entry in found if finding(entry) == BETTER]
            sentence += f" Better: {'; '.join(better)}." if better else ""
        parts.append(Part(name, verdict([*map(finding, found)]), sentence))
    against = []
    whole = together([part.verdict for part in parts])
    if whole == SHOWN:
        against.append("here every augmentation helped every network that was measured")
    best = max(gains, key=gains.get, default=None)
    if best is not None and best != paper.BEST_CONDITION and paper.BEST_CONDITION in gains:
        against.append(
            f"here the augmentation with the largest median gain is {study.plan['conditions'][best].lower()} "
            f"({decibels(gains[best], True)} dB; incoherent mixing {decibels(gains[paper.BEST_CONDITION], True)} dB)"
        )
    return Answer(
        "H2",
        whole,
        _by_part(parts, "condition"),
        parts,
        _beside(
            "The paper found the effect \u201cambiguous at best\u201d, and incoherent mixing the best with a gain of "
            f"{paper.BEST_GAIN:.2f} dB.",
            against,
            bool(gains),
        ),
    )


def _first_question(study: Study) -> Answer:
    parts, against = [], []
    for downstream, name in study.plan["downstreams"].items():
        found = study.comparisons("R1", downstream=downstream)
        sentence = ""
        if found:
            best = found[0]["pretraining"]
            others = [
                f"{decibels(entry['mean_difference'], True)} dB over {study.name(entry['against']['pretraining'])} "
                f"({_p(entry)}{'' if finding(entry) == BETTER else '; not shown'})"
                for entry in found
            ]
            sentence = f"The best is {study.name(best)}: {listed(others)}."
            if paper.same_set(downstream) == "choir" and best != "slakh":
                against.append(f"here {study.name(best)} has the highest mean on {name}")
        parts.append(Part(name, verdict([*map(finding, found)]), sentence))
    return Answer(
        "R1",
        together([part.verdict for part in parts]),
        _by_part(parts, "downstream set").replace("Shown for", "The best is better than every other for"),
        parts,
        _beside(
            "The paper tests no pretraining set against another; for Dagstuhl ChoirSet only Slakh helped, and it supposes "
            "that the domains of the others were too far away.",
            against,
            any(part.verdict != NOT_MEASURED for part in parts),
        ),
    )


def _second_question(study: Study) -> Answer:
    parts, against, alike, shared = [], [], 0, 0
    for downstream, name in study.plan["downstreams"].items():
        found = study.comparisons("R2", downstream=downstream)
        sentence = ""
        if found:
            sentence = (
                f"{_tally(found, 'mask model')}; mask minus whole from {decibels(min(map(_mean, found)), True)} to "
                f"{decibels(max(map(_mean, found)), True)} dB."
            )
        for entry in found:
            theirs = paper.mask_minus_whole(downstream, entry["pretraining"], entry["condition"])
            if theirs is None:
                continue
            shared += 1
            alike += (theirs > 0) == (_mean(entry) > 0)
            if finding(entry) == (WORSE if paper.is_bold(theirs) else BETTER):
                against.append(
                    f"{_of(study, entry)} (the paper {decibels(theirs, True)} dB)"
                )
        parts.append(Part(name, verdict([*map(finding, found)]), sentence))
    return Answer(
        "R2",
        together([part.verdict for part in parts]),
        _by_part(parts, "downstream set"),
        parts,
        _beside(
            "The paper found a drop everywhere but for Dagstuhl ChoirSet pretrained on MUSDB with an augmentation."
            + (f" The sign is the paper's in {alike} of {shared} differences." if shared else ""),
            against,
            bool(shared),
        ),
    )


def efficiency(study: Study) -> list[Part]:
    """Returns, for each downstream set, in how many iterations a fine-tuned network reached the baseline's best score."""
    parts = []
    for downstream, name in study.plan["downstreams"].items():
        row = reached(study, downstream)
        if row is None:
            parts.append(Part(name, NOT_MEASURED, ""))
            continue
        start = f"From scratch, the best score was {decibels(row.best)} dB, at iteration {row.baseline:,}."
        if row.first is None:
            parts.append(Part(name, NOT_SHOWN, f"{start} No fine-tuned network reached it."))
            continue
        factor = f", {row.baseline / row.first[1]:.1f} times as fast" if row.first[1] else ""
        end = f"{study.name(row.first[0])} reached it first, at iteration {row.first[1]:,}{factor}."
        parts.append(Part(name, SHOWN if row.first[1] < row.baseline else NOT_SHOWN, f"{start} {end}"))
    return parts


def _told(study: Study, found: list[dict]) -> str:
    """Returns a sentence a finding: which comparisons came out so."""
    words = {BETTER: "Better", WORSE: "Worse", UNCLEAR: "Not shown either way"}
    sentences = []
    for each, word in words.items():
        these = [f"{study.name(e['pretraining'])} {_gain(e)}" for e in found if finding(e) == each]
        if these:
            sentences.append(f"{word}: {'; '.join(these)}.")
    return " ".join(sentences)


def _tally(found: list[dict], noun: str = "model") -> str:
    counts = {each: sum(finding(entry) == each for entry in found) for each in (BETTER, WORSE, UNCLEAR)}
    return (
        f"Of {len(found)} {noun}{'' if len(found) == 1 else 's'} {counts[BETTER]} better, {counts[WORSE]} worse, "
        f"{counts[UNCLEAR]} not shown either way"
    )


def _of(study: Study, entry: dict) -> str:
    where = study.plan["downstreams"][entry["downstream"]]
    condition = entry["condition"] if entry["question"] == "R2" else NONE
    return f"{study.name(entry['pretraining'], condition)} for {where} {_gain(entry)}"


def _gain(entry: dict) -> str:
    return f"({decibels(_mean(entry), True)} dB, {_p(entry)})"


def _p(entry: dict) -> str:
    return f"Holm p = {probability(entry['p_holm'])}".replace("= <", "<")


def _mean(entry: dict) -> float:
    return entry["mean_difference"]


def _by_part(parts: list[Part], noun: str) -> str:
    """Returns what the parts come to: which are shown, partly shown, not shown, not measured."""
    names = {each: [part.name for part in parts if part.verdict == each] for each in (SHOWN, PARTLY, NOT_SHOWN, NOT_MEASURED)}
    said = [f"{each[:1].upper()}{each[1:]} for {listed(found)}." for each, found in names.items() if found]
    return " ".join(said) or f"There is no {noun}."


def _beside(said: str, against: list[str], measured: bool) -> str:
    if not measured:
        return said
    if not against:
        return f"{said} Nothing measured here contradicts it."
    return f"{said} Here it is not so: {'; '.join(against)}."


def _iterations(study: Study) -> str:
    def of(chosen: list[dict]) -> str:
        numbers = sorted({model["iterations"] for model in chosen})
        return listed([f"{number:,}" for number in numbers])

    scratch = [model for model in study.plan["models"] if model["mode"] == SCRATCH]
    whole = [model for model in study.plan["models"] if model["mode"] == WHOLE]
    if not scratch or not whole:
        return ""
    return f"From scratch, networks took {of(scratch)} iterations on the downstream set; fine-tuned, {of(whole)}."
