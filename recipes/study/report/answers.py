"""Answer the paper's hypotheses and research questions in sentences made from the numbers, on a page and in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from nussl_transfer.report.text import capital, counted, decibels, listed, probability

from . import paper
from .coverage import extent, missing_parts
from .findings import (
    BETTER,
    CONTRARY,
    NOT_MEASURED,
    NOT_SHOWN,
    OUR_RULE,
    PAPER_RULE,
    PARTLY,
    SHOWN,
    UNCLEAR,
    WORSE,
    combined_verdict,
    finding,
    finding_by_paper,
    rules,
    verdict,
)
from .inputs import NONE, SCRATCH, SCRATCH_EQUAL, WHOLE, Study

QUESTIONS = {
    "H1": "Are pretrained and fine-tuned networks better than networks trained from scratch?",
    "H1_equal": "Are they better than networks trained from scratch for as many iterations on the downstream set?",
    "H2": "Does augmentation in pretraining improve the fine-tuned network further?",
    "R1": "Does it matter what the network was pretrained on: is the best set better than every other?",
    "R2": "Is a network better if only its mask head is fine-tuned than if all of it is?",
}
_MEAN, _MEDIAN = "mean_difference", "median_difference"


@dataclass(frozen=True)
class Part:
    """The answer for one set or condition.

    Attributes:
        name: The set or condition.
        by_paper: Verdict by the paper's rule; empty if there is nothing to judge.
        by_ours: Verdict by our rule; likewise.
        sentence: The numbers.
    """

    name: str
    by_paper: str
    by_ours: str
    sentence: str

    @property
    def head(self) -> str:
        """The words that the part begins with."""
        name = capital(self.name)
        if not self.by_ours:
            return f"{name}."
        if self.by_ours == NOT_MEASURED:
            return f"{name}: {NOT_MEASURED}."
        if self.by_paper == self.by_ours:
            return f"{name}: {self.by_ours} by both rules."
        return f"{name}: {self.by_paper} by {PAPER_RULE}, {self.by_ours} by {OUR_RULE}."


@dataclass(frozen=True)
class Verdict:
    """The verdict on a whole question by one rule, and the parts that it comes from."""

    rule: str
    verdict: str
    detail: str


@dataclass(frozen=True)
class Answer:
    """The answer to one question: the verdict by each rule, a remark, the parts, and how it compares with the paper."""

    question: str
    verdicts: tuple[Verdict, ...]
    remark: str = ""
    parts: list[Part] = field(default_factory=list)
    paper: str = ""

    @property
    def title(self) -> str:
        """The question with its key."""
        return f"{self.key}. {QUESTIONS[self.question]}"

    @property
    def key(self) -> str:
        """The question's key as it is shown."""
        return self.question.replace("_equal", ", equal iterations")

    def by(self, rule: str) -> str:
        """Return the verdict by a rule."""
        return next(each.verdict for each in self.verdicts if each.rule == rule)


def answers(study: Study) -> list[Answer]:
    """Return the answers to H1, H1 at equal iterations (if the study has such baselines), H2, R1 and R2."""
    equal = any(model["mode"] == SCRATCH_EQUAL for model in study.plan["models"])
    return [
        _first_hypothesis(study),
        *([_equal_iterations(study)] if equal else []),
        _second_hypothesis(study),
        _first_question(study),
        _second_question(study),
    ]


def efficiency(study: Study) -> list[Part]:
    """Return, for each downstream set, how soon a fine-tuned network reached the best score of the one from scratch."""
    parts = []
    for downstream in study.plan["downstreams"]:
        name = study.in_sentence(downstream)
        row = study.reached(downstream)
        if row is None:
            parts.append(Part(name, NOT_MEASURED, NOT_MEASURED, ""))
            continue
        sentence = f"The best score from scratch was {decibels(row.best)} dB, at iteration {row.baseline:,}."
        if row.first is None:
            sentence += " No fine-tuned network reached it."
        else:
            pretraining, iteration = row.first
            factor = f", a factor of {row.baseline / iteration:.3g}" if iteration else ""
            sentence += f" {study.name(pretraining)} reached it first, at iteration {iteration:,}{factor}."
        parts.append(Part(name, "", "", sentence + _at_equal_iterations(study, downstream)))
    return parts


def answers_markdown(study: Study) -> str:
    """Return ``answers.md``: what was done, the answers, and the rules."""
    lines = [f"# {study.title}", "", " ".join(extent(study)), ""]
    for answer in answers(study):
        lines += [f"## {answer.title}", ""]
        for each in answer.verdicts:
            lines += [f"By {each.rule}: **{each.verdict}**{each.detail}", ""]
        if answer.remark:
            lines += [answer.remark, ""]
        lines += [*_items(answer.parts), "", answer.paper, ""]
    lines += ["## Iterations", "", *_items(efficiency(study)), ""]
    lines += [
        f"The paper: on Dagstuhl ChoirSet the best fine-tuned model reached 5 dB in {paper.REACHED_IN:,} iterations, "
        f"the one from scratch in {paper.BASELINE_REACHED_IN:,}.",
        "",
    ]
    lines += ["## The rules", "", *(f"* {rule}" for rule in rules(study.analysis["comparisons"], study.threshold)), ""]
    missing = missing_parts(study)
    if missing:
        lines += ["## Missing", "", *(f"* {name}" for name in missing), ""]
    lines += [f"The paper is {paper.SOURCE}.", ""]
    return "\n".join(lines)


def _joined(parts: Sequence[str]) -> str:
    """Return parts that may contain commas, in one sentence."""
    return "; ".join(parts)


def _items(parts: Sequence[Part]) -> list[str]:
    return [f"* **{part.head}** {part.sentence}".rstrip() for part in parts]


# The questions ---------------------------------------------------------------------------------------------------------


def _first_hypothesis(study: Study) -> Answer:
    parts, contrary, open_ = [], [], []
    for downstream in study.plan["downstreams"]:
        name = study.in_sentence(downstream)
        compared = study.comparisons("H1", downstream=downstream)
        sentence = _baseline_score(study, downstream, SCRATCH) if compared else ""
        parts.append(_part(study, name, compared, sentence + _each_finding(study, compared)))
        for entry in compared:
            expected, found = paper.better_than_scratch(downstream, entry["pretraining"]), finding(entry, study.threshold)
            which = f"{study.name(entry['pretraining'])} for {name}"
            if (expected, found) in ((True, WORSE), (False, BETTER)):
                contrary.append(f"{which} is {found} than from scratch")
            elif expected and found == UNCLEAR:
                open_.append(which)
    statement = (
        "The paper found fine-tuned models far better than from scratch for Bach10 and Remixpacks, and for Dagstuhl "
        "ChoirSet only the one pretrained on Slakh."
    )
    return _answer("H1", parts, statement, contrary, open_, _iterations(study, SCRATCH))


def _equal_iterations(study: Study) -> Answer:
    parts = []
    for downstream in study.plan["downstreams"]:
        compared = study.comparisons("H1_equal", downstream=downstream)
        sentence = _baseline_score(study, downstream, SCRATCH_EQUAL) if compared else ""
        parts.append(_part(study, study.in_sentence(downstream), compared, sentence + _each_finding(study, compared)))
    statement = "The paper trains from scratch six times as long as it fine-tunes; it has no baseline of equal iterations."
    return _answer("H1_equal", parts, statement, None, (), _iterations(study, SCRATCH_EQUAL))


def _second_hypothesis(study: Study) -> Answer:
    parts, gains, contrary = [], {}, []
    for condition, name in study.plan["conditions"].items():
        if condition == NONE:
            continue
        compared = study.comparisons("H2", condition=condition)
        sentence = ""
        if compared:
            # As in Figure 2: the gain of a network is the median over excerpts.
            gains[condition] = statistics.median(entry[_MEDIAN] for entry in compared)
            better = [_which(study, entry, _MEDIAN) for entry in compared if finding(entry, study.threshold) == BETTER]
            middle = f", {decibels(gains[condition], True)} dB in the middle network" if len(compared) > 1 else ""
            sentence = (
                f"{_tally(study, compared)}; gain as in Figure 2, the median over excerpts: {_spread(compared, _MEDIAN)}"
                f"{middle}.{f' Better: {_joined(better)}.' if better else ''}"
            )
        parts.append(_part(study, name.lower(), compared, sentence))
    if combined_verdict([part.by_ours for part in parts]) == SHOWN:
        contrary.append("every augmentation that was measured helped every network")
    best = max(gains, key=gains.get, default=None)
    if paper.BEST_CONDITION in gains and gains[best] > gains[paper.BEST_CONDITION]:
        contrary.append(
            f"{study.plan['conditions'][best].lower()} has the largest gain in the middle network "
            f"({decibels(gains[best], True)} dB; incoherent mixing {decibels(gains[paper.BEST_CONDITION], True)} dB; which "
            "is the largest is not tested)"
        )
    statement = (
        "The paper found the effect \u201cambiguous at best\u201d, and incoherent mixing the best with a gain of "
        f"{paper.BEST_GAIN:.2f} dB."
    )
    return _answer("H2", parts, statement, contrary)


def _first_question(study: Study) -> Answer:
    parts, contrary = [], []
    for downstream in study.plan["downstreams"]:
        name = study.in_sentence(downstream)
        compared = study.comparisons("R1", downstream=downstream)
        sentence = ""
        if compared:
            best = study.name(compared[0]["pretraining"])
            others = []
            for entry in compared:
                other, found = entry["against"]["pretraining"], finding(entry, study.threshold)
                unsure = "; not shown" if found != BETTER else ""
                others.append(f"{_gain(entry)} dB over {study.name(other)} ({_holm_p(entry)}{unsure})")
                if paper.same_set(downstream) == "choir" and other == "slakh" and found == BETTER:
                    contrary.append(f"{best} is better than Slakh for {name}")
            sentence = f"The best is {best}: {listed(others)}."
        parts.append(_part(study, name, compared, sentence))
    statement = (
        "The paper tests no pretraining set against another; for Dagstuhl ChoirSet only Slakh helped, which it explains by "
        "the distance between the domains."
    )
    return _answer("R1", parts, statement, contrary)


def _second_question(study: Study) -> Answer:
    parts, contrary, same_sign, shared = [], [], 0, 0
    for downstream in study.masked():
        compared = study.comparisons("R2", downstream=downstream)
        sentence = f"{_tally(study, compared)}; mask minus whole {_spread(compared)}." if compared else ""
        parts.append(_part(study, study.in_sentence(downstream), compared, sentence))
        for entry in compared:
            theirs = paper.mask_minus_whole(downstream, entry["pretraining"], entry["condition"])
            if theirs is None:
                continue
            shared += 1
            same_sign += (theirs > 0) == (entry[_MEAN] > 0)
            if finding(entry, study.threshold) == (WORSE if paper.is_bold(theirs) else BETTER):
                contrary.append(f"{_which(study, entry)}, in the paper {decibels(theirs, True)} dB")
    statement = "The paper found a drop everywhere but for Dagstuhl ChoirSet pretrained on MUSDB with an augmentation."
    if shared:
        statement += f" {same_sign} of the {shared} differences that it reports too have the same sign here."
    return _answer("R2", parts, statement, contrary)


def _part(study: Study, name: str, compared: Sequence[dict], sentence: str) -> Part:
    """Return the part of one set or condition, with a note if a single test song leaves our rule without an interval."""
    by_paper = verdict([finding_by_paper(entry, study.threshold) for entry in compared])
    by_ours = verdict([finding(entry, study.threshold) for entry in compared])
    single = {entry["downstream"] for entry in compared if entry["interval"] is None and entry["songs"] == 1}
    if single:
        sets = listed([study.in_sentence(downstream) for downstream in single])
        sentence += f" {sets} has one test song, so our rule cannot say \u201cshown\u201d there."
    return Part(name, by_paper, by_ours, sentence.strip())


def _answer(
    question: str,
    parts: list[Part],
    statement: str,
    contrary: Sequence[str] | None,
    open_: Sequence[str] = (),
    remark: str = "",
) -> Answer:
    """Return an answer from its parts, with the findings that contradict the paper or are open by our rule.

    ``contrary`` is None if the paper says nothing on the question.
    """
    verdicts = tuple(
        _verdict(rule, [(part.name, getattr(part, key)) for part in parts])
        for rule, key in ((PAPER_RULE, "by_paper"), (OUR_RULE, "by_ours"))
    )
    comparison = [statement]
    if contrary:
        comparison.append(f"Contrary to it, here (by {OUR_RULE}): {_joined(contrary)}.")
    if open_:
        comparison.append(f"Not shown here (by {OUR_RULE}): {_joined(open_)}.")
    if contrary is not None and not contrary and not open_ and verdicts[-1].verdict != NOT_MEASURED:
        comparison.append("No difference shown here contradicts it.")
    return Answer(question, verdicts, remark, parts, " ".join(comparison))


def _verdict(rule: str, parts: Sequence[tuple[str, str]]) -> Verdict:
    whole = combined_verdict([found for _, found in parts])
    order = (SHOWN, PARTLY, NOT_SHOWN, CONTRARY, NOT_MEASURED)
    named = {each: [name for name, found in parts if found == each] for each in order}
    by_part = [f"{each} for {listed(names)}" for each, names in named.items() if names]
    detail = "."
    if len(by_part) > 1:
        detail = f": {_joined(by_part)}."
    elif by_part:
        detail = f"{by_part[0].removeprefix(whole)}."
    return Verdict(rule, whole, detail)


# Their numbers ---------------------------------------------------------------------------------------------------------


def _baseline_score(study: Study, downstream: str, mode: str) -> str:
    base = study.cell(downstream, None, None, mode)
    if not base:
        return ""
    over = base.get("improvement")
    over = f", {decibels(over, True)} dB over the mixture" if over is not None else ""
    return f"{capital(study.name(None, None, mode))}: {decibels(base['mean'])} dB{over}. "


def _each_finding(study: Study, compared: Sequence[dict]) -> str:
    """Return a sentence for each of the findings better, worse and unclear, by our rule."""
    words = {BETTER: "Better", WORSE: "Worse", UNCLEAR: "Not shown either way"}
    sentences = []
    for found, word in words.items():
        entries = [entry for entry in compared if finding(entry, study.threshold) == found]
        these = [f"{study.name(entry['pretraining'])} ({_gain_and_p(study, entry)})" for entry in entries]
        if these:
            sentences.append(f"{word}: {_joined(these)}.")
    return " ".join(sentences)


def _tally(study: Study, compared: Sequence[dict]) -> str:
    """Return how many comparisons are better, worse and unclear, by our rule."""
    found = [finding(entry, study.threshold) for entry in compared]
    better, worse, unclear = (found.count(each) for each in (BETTER, WORSE, UNCLEAR))
    return f"Of {counted(len(found), 'network')} {better} better, {worse} worse, {unclear} not shown either way"


def _which(study: Study, entry: dict, statistic: str = _MEAN) -> str:
    """Return which network for which set, and its gain."""
    condition = entry["condition"] if entry["question"] == "R2" else NONE
    name = study.name(entry["pretraining"], condition)
    return f"{name} for {study.in_sentence(entry['downstream'])} ({_gain_and_p(study, entry, statistic)})"


def _spread(compared: Sequence[dict], statistic: str = _MEAN) -> str:
    """Return the lowest and the highest gain."""
    values = [entry[statistic] for entry in compared]
    lowest, highest = decibels(min(values), True), decibels(max(values), True)
    return f"{highest} dB" if len(values) == 1 else f"from {lowest} to {highest} dB"


def _gain_and_p(study: Study, entry: dict, statistic: str = _MEAN) -> str:
    # The one-sided p-value of a worse network is near 1 and carries no information.
    p_value = "" if finding(entry, study.threshold) == WORSE else f", {_holm_p(entry)}"
    return f"{_gain(entry, statistic)} dB{p_value}"


def _gain(entry: dict, statistic: str = _MEAN) -> str:
    return decibels(entry[statistic], True)


def _holm_p(entry: dict) -> str:
    return f"Holm p = {probability(entry['p_holm'])}".replace("= <", "<")


def _at_equal_iterations(study: Study, downstream: str) -> str:
    found = study.at_equal_iterations(downstream)
    if found is None:
        return ""
    iteration, baseline, fine_tuned = found
    low, high = (decibels(value) for value in (min(fine_tuned), max(fine_tuned)))
    theirs = f"{low} dB" if low == high else f"{low} to {high} dB"
    return f" At iteration {iteration:,} it had {decibels(baseline)} dB, the fine-tuned networks {theirs}."


def _iterations(study: Study, baseline: str) -> str:
    def of(mode: str) -> list[str]:
        return [f"{n:,}" for n in sorted({model["iterations"] for model in study.plan["models"] if model["mode"] == mode})]

    scratch, whole = of(baseline), of(WHOLE)
    if not scratch or not whole:
        return ""
    return f"Iterations on the downstream set: {listed(scratch)} from scratch, {listed(whole)} fine-tuned."
