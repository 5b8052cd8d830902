"""Comparisons in words, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nussl_transfer.report.text import decibels, probability

from .extent import counted, listed
from .findings import BETTER, CONTRARY, NOT_MEASURED, NOT_SHOWN, PARTLY, SHOWN, UNCLEAR, WORSE, finding, together, verdict
from .inputs import NONE, Study


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


def conclude(
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
        beside.append(f"Contrary to it, here: {series(contrary)}.")
    if open_:
        beside.append(f"Not shown here: {series(open_)}.")
    if not contrary and not open_ and whole != NOT_MEASURED:
        beside.append("No difference shown here contradicts it.")
    verdicts = (SHOWN, PARTLY, NOT_SHOWN, CONTRARY, NOT_MEASURED)
    named = {each: [part.name for part in parts if part.verdict == each] for each in verdicts}
    by_part = [f"{each} for {listed(names)}" for each, names in named.items() if names]
    sentence = f": {series(by_part)}." if len(by_part) > 1 else f"{by_part[0].removeprefix(whole)}." if by_part else "."
    return Answer(question, whole, f"{sentence} {after}".rstrip(), parts, " ".join(beside))


def verdict_of(study: Study, compared: list[dict]) -> str:
    """Returns what comparisons come to together."""
    return verdict([finding(entry, study.threshold) for entry in compared])


def each_finding(study: Study, compared: list[dict]) -> str:
    """Returns a sentence for each way in which comparisons came out."""
    words = {BETTER: "Better", WORSE: "Worse", UNCLEAR: "Not shown either way"}
    sentences = []
    for found, word in words.items():
        entries = [entry for entry in compared if finding(entry, study.threshold) == found]
        these = [f"{study.name(entry['pretraining'])} ({gain_and_p(study, entry)})" for entry in entries]
        if these:
            sentences.append(f"{word}: {series(these)}.")
    return " ".join(sentences)


def tally(study: Study, compared: list[dict]) -> str:
    """Returns how many comparisons came out better, worse and neither."""
    found = [finding(entry, study.threshold) for entry in compared]
    better, worse, unclear = (found.count(each) for each in (BETTER, WORSE, UNCLEAR))
    return f"Of {counted(len(found), 'network')} {better} better, {worse} worse, {unclear} not shown either way"


def where(study: Study, entry: dict) -> str:
    """Returns which network for which set, and what it gained."""
    condition = entry["condition"] if entry["question"] == "R2" else NONE
    name = study.name(entry["pretraining"], condition)
    return f"{name} for {study.spoken(entry['downstream'])} ({gain_and_p(study, entry)})"


def series(parts: Sequence[str]) -> str:
    """Returns parts that may hold commas, one after the other."""
    return "; ".join(parts)


def spread(compared: list[dict]) -> str:
    """Returns the lowest and the highest gain in mean SI-SDR."""
    values = [entry["mean_difference"] for entry in compared]
    lowest, highest = decibels(min(values), True), decibels(max(values), True)
    return f"{highest} dB" if len(values) == 1 else f"from {lowest} to {highest} dB"


def gain_and_p(study: Study, entry: dict) -> str:
    """Returns a gain in mean SI-SDR with its p-value."""
    # What is worse was not what the one-sided test asked: its p would be near 1.
    p_value = "" if finding(entry, study.threshold) == WORSE else f", {holm_p(entry)}"
    return f"{gain(entry)} dB{p_value}"


def gain(entry: dict) -> str:
    """Returns a gain in mean SI-SDR, in dB, without the unit."""
    return decibels(entry["mean_difference"], True)


def holm_p(entry: dict) -> str:
    """Returns a p-value after Holm's correction."""
    return f"Holm p = {probability(entry['p_holm'])}".replace("= <", "<")
