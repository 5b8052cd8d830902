"""The paper's hypotheses and research questions, answered in sentences made from the numbers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..text import decibels, probability
from . import paper
from .curves import reached
from .extent import counted, listed
from .findings import (
    BETTER,
    CONTRARY,
    NOT_MEASURED,
    NOT_SHOWN,
    PARTLY,
    SHOWN,
    UNCLEAR,
    WORSE,
    finding,
    together,
    verdict,
)
from .inputs import NONE, SCRATCH, WHOLE, Study

QUESTIONS = {
    "H1": "Are pretrained and fine-tuned networks better than networks trained from scratch?",
    "H2": "Does augmentation in pretraining improve the fine-tuned network further?",
    "R1": "Does it matter what the network was pretrained on: is the best set better than every other?",
    "R2": "Is a network better where only its mask head is fine-tuned than where all of it is?",
}


@dataclass(frozen=True)
class Part:
    """What is said of one set or condition; ``verdict`` is empty where there is nothing to judge."""

    name: str
    verdict: str
    sentence: str

    @property
    def head(self) -> str:
        """The words that the sentence begins with."""
        name = self.name[:1].upper() + self.name[1:]
        return f"{name}: {self.verdict}." if self.verdict else f"{name}."


@dataclass(frozen=True)
class Answer:
    """The answer to one question: what all comes to, what each part says, and how the paper had it.

    ``sentence`` goes on from the verdict.
    """

    question: str
    verdict: str
    sentence: str
    parts: list[Part] = field(default_factory=list)
    paper: str = ""


def answers(study: Study) -> list[Answer]:
    """Returns the answers to H1, H2, R1 and R2, in this order."""
    return [_first_hypothesis(study), _second_hypothesis(study), _first_question(study), _second_question(study)]


def efficiency(study: Study) -> list[Part]:
    """Returns, for each downstream set, in how many iterations a fine-tuned network reached the baseline's best score."""
    parts = []
    for downstream in study.plan["downstreams"]:
        name = study.spoken(downstream)
        row = reached(study, downstream)
        if row is None:
            parts.append(Part(name, NOT_MEASURED, ""))
            continue
        sentence = f"From scratch, the best score was {decibels(row.best)} dB, at iteration {row.baseline:,}."
        if row.first is None:
            sentence += " No fine-tuned network reached it."
        else:
            pretraining, iteration = row.first
            factor = f", a factor of {row.baseline / iteration:.3g}" if iteration else ""
            sentence += f" {study.name(pretraining)} reached it first, at iteration {iteration:,}{factor}."
        parts.append(Part(name, "", sentence))
    return parts


def _first_hypothesis(study: Study) -> Answer:
    parts, contrary, open_ = [], [], []
    for downstream in study.plan["downstreams"]:
        name = study.spoken(downstream)
        compared = study.comparisons("H1", downstream=downstream)
        base = study.cell(downstream, None, None, SCRATCH)
        sentence = f"From scratch {decibels(base['mean'])} dB. " if base and compared else ""
        parts.append(Part(name, _verdict(study, compared), sentence + _each(study, compared)))
        for entry in compared:
            expected, found = paper.better_than_scratch(downstream, entry["pretraining"]), finding(entry, study.threshold)
            where = f"{study.name(entry['pretraining'])} for {name}"
            if (expected, found) in ((True, WORSE), (False, BETTER)):
                contrary.append(f"{where} is {found} than from scratch")
            elif expected and found == UNCLEAR:
                open_.append(where)
    said = (
        "The paper found fine-tuned models far better than from scratch for Bach10 and Remixpacks, and for Dagstuhl "
        "ChoirSet only the one pretrained on Slakh."
    )
    return _answer("H1", parts, said, contrary, open_, after=_iterations(study))


def _second_hypothesis(study: Study) -> Answer:
    parts, gains, contrary = [], {}, []
    for condition, name in study.plan["conditions"].items():
        if condition == NONE:
            continue
        compared = study.comparisons("H2", condition=condition)
        sentence = ""
        if compared:
            gains[condition] = statistics.median(entry["mean_difference"] for entry in compared)
            better = [_where(study, entry) for entry in compared if finding(entry, study.threshold) == BETTER]
            sentence = (
                f"{_tally(study, compared)}; gain in mean SI-SDR {_range(compared)}, in the median "
                f"{decibels(gains[condition], True)} dB.{f' Better: {_series(better)}.' if better else ''}"
            )
        parts.append(Part(name.lower(), _verdict(study, compared), sentence))
    if together([part.verdict for part in parts]) == SHOWN:
        contrary.append("every augmentation that was measured helped every network")
    best = max(gains, key=gains.get, default=None)
    if paper.BEST_CONDITION in gains and gains[best] > gains[paper.BEST_CONDITION]:
        contrary.append(
            f"{study.plan['conditions'][best].lower()} has the largest median gain ({decibels(gains[best], True)} dB; "
            f"incoherent mixing {decibels(gains[paper.BEST_CONDITION], True)} dB)"
        )
    said = (
        "The paper found the effect \u201cambiguous at best\u201d, and incoherent mixing the best with a gain of "
        f"{paper.BEST_GAIN:.2f} dB."
    )
    return _answer("H2", parts, said, contrary)


def _first_question(study: Study) -> Answer:
    parts, contrary = [], []
    for downstream in study.plan["downstreams"]:
        name = study.spoken(downstream)
        compared = study.comparisons("R1", downstream=downstream)
        sentence = ""
        if compared:
            best = study.name(compared[0]["pretraining"])
            others = []
            for entry in compared:
                other, found = entry["against"]["pretraining"], finding(entry, study.threshold)
                unsure = "; not shown" if found != BETTER else ""
                others.append(f"{_mean(entry)} dB over {study.name(other)} ({_p(entry)}{unsure})")
                if paper.same_set(downstream) == "choir" and other == "slakh" and found == BETTER:
                    contrary.append(f"{best} is better than Slakh for {name}")
            sentence = f"The best is {best}: {listed(others)}."
        parts.append(Part(name, _verdict(study, compared), sentence))
    said = (
        "The paper tests no pretraining set against another; for Dagstuhl ChoirSet only Slakh helped, which it lays to the "
        "distance between the domains."
    )
    return _answer("R1", parts, said, contrary)


def _second_question(study: Study) -> Answer:
    parts, contrary, alike, shared = [], [], 0, 0
    for downstream in study.masked():
        name = study.spoken(downstream)
        compared = study.comparisons("R2", downstream=downstream)
        sentence = f"{_tally(study, compared)}; mask minus whole {_range(compared)}." if compared else ""
        parts.append(Part(name, _verdict(study, compared), sentence))
        for entry in compared:
            theirs = paper.mask_minus_whole(downstream, entry["pretraining"], entry["condition"])
            if theirs is None:
                continue
            shared += 1
            alike += (theirs > 0) == (entry["mean_difference"] > 0)
            if finding(entry, study.threshold) == (WORSE if paper.is_bold(theirs) else BETTER):
                contrary.append(f"{_where(study, entry)}, in the paper {decibels(theirs, True)} dB")
    said = "The paper found a drop everywhere but for Dagstuhl ChoirSet pretrained on MUSDB with an augmentation."
    if shared:
        said += f" Of {shared} differences that it has too, {alike} have its sign here."
    return _answer("R2", parts, said, contrary)


def _answer(
    question: str,
    parts: list[Part],
    said: str,
    contrary: Sequence[str],
    open_: Sequence[str] = (),
    after: str = "",
) -> Answer:
    """Returns an answer, put together from its parts and what beside the paper is contrary, or open."""
    whole = together([part.verdict for part in parts])
    beside = [said]
    if contrary:
        beside.append(f"Contrary to it, here: {_series(contrary)}.")
    if open_:
        beside.append(f"Not shown here: {_series(open_)}.")
    if not contrary and not open_ and whole != NOT_MEASURED:
        beside.append("No difference shown here contradicts it.")
    verdicts = (SHOWN, PARTLY, NOT_SHOWN, CONTRARY, NOT_MEASURED)
    named = {each: [part.name for part in parts if part.verdict == each] for each in verdicts}
    by_part = [f"{each} for {listed(names)}" for each, names in named.items() if names]
    sentence = f": {_series(by_part)}." if len(by_part) > 1 else f"{by_part[0].removeprefix(whole)}." if by_part else "."
    return Answer(question, whole, f"{sentence} {after}".rstrip(), parts, " ".join(beside))


def _verdict(study: Study, compared: list[dict]) -> str:
    return verdict([finding(entry, study.threshold) for entry in compared])


def _each(study: Study, compared: list[dict]) -> str:
    """Returns a sentence for each way in which comparisons came out."""
    words = {BETTER: "Better", WORSE: "Worse", UNCLEAR: "Not shown either way"}
    sentences = []
    for found, word in words.items():
        entries = [entry for entry in compared if finding(entry, study.threshold) == found]
        these = [f"{study.name(entry['pretraining'])} ({_gain(study, entry)})" for entry in entries]
        if these:
            sentences.append(f"{word}: {_series(these)}.")
    return " ".join(sentences)


def _tally(study: Study, compared: list[dict]) -> str:
    found = [finding(entry, study.threshold) for entry in compared]
    better, worse, unclear = (found.count(each) for each in (BETTER, WORSE, UNCLEAR))
    return f"Of {counted(len(found), 'network')} {better} better, {worse} worse, {unclear} not shown either way"


def _where(study: Study, entry: dict) -> str:
    condition = entry["condition"] if entry["question"] == "R2" else NONE
    name = study.name(entry["pretraining"], condition)
    return f"{name} for {study.spoken(entry['downstream'])} ({_gain(study, entry)})"


def _series(parts: Sequence[str]) -> str:
    return "; ".join(parts)


def _range(compared: list[dict]) -> str:
    values = [entry["mean_difference"] for entry in compared]
    lowest, highest = decibels(min(values), True), decibels(max(values), True)
    return f"{highest} dB" if len(values) == 1 else f"from {lowest} to {highest} dB"


def _gain(study: Study, entry: dict) -> str:
    # What is worse was not what the one-sided test asked: its p would be near 1.
    p_value = "" if finding(entry, study.threshold) == WORSE else f", {_p(entry)}"
    return f"{_mean(entry)} dB{p_value}"


def _mean(entry: dict) -> str:
    return decibels(entry["mean_difference"], True)


def _p(entry: dict) -> str:
    return f"Holm p = {probability(entry['p_holm'])}".replace("= <", "<")


def _iterations(study: Study) -> str:
    def of(mode: str) -> list[str]:
        return [f"{n:,}" for n in sorted({model["iterations"] for model in study.plan["models"] if model["mode"] == mode})]

    scratch, whole = of(SCRATCH), of(WHOLE)
    if not scratch or not whole:
        return ""
    return f"From scratch, networks took {listed(scratch)} iterations on the downstream set; fine-tuned, {listed(whole)}."
