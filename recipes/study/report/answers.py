"""The paper's hypotheses and research questions, answered in sentences made from the numbers."""

from __future__ import annotations

import statistics

from nussl_transfer.report.text import decibels

from . import paper
from .curves import at_equal_iterations, reached
from .extent import listed
from .findings import BETTER, NOT_MEASURED, SHOWN, UNCLEAR, WORSE, finding, together
from .inputs import NONE, SCRATCH, WHOLE, Study
from .wording import Answer, Part, conclude, each_finding, gain, holm_p, series, spread, tally, verdict_of, where

QUESTIONS = {
    "H1": "Are pretrained and fine-tuned networks better than networks trained from scratch?",
    "H2": "Does augmentation in pretraining improve the fine-tuned network further?",
    "R1": "Does it matter what the network was pretrained on: is the best set better than every other?",
    "R2": "Is a network better where only its mask head is fine-tuned than where all of it is?",
}


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
        parts.append(Part(name, "", sentence + _at_equal_iterations(study, downstream)))
    return parts


def _at_equal_iterations(study: Study, downstream: str) -> str:
    found = at_equal_iterations(study, downstream)
    if found is None:
        return ""
    iteration, baseline, fine_tuned = found
    low, high = (decibels(value) for value in (min(fine_tuned), max(fine_tuned)))
    theirs = f"{low} dB" if low == high else f"{low} to {high} dB"
    return f" At iteration {iteration:,} it stood at {decibels(baseline)} dB, what was fine-tuned at {theirs}."


def _first_hypothesis(study: Study) -> Answer:
    parts, contrary, open_ = [], [], []
    for downstream in study.plan["downstreams"]:
        name = study.spoken(downstream)
        compared = study.comparisons("H1", downstream=downstream)
        base = study.cell(downstream, None, None, SCRATCH)
        sentence = f"From scratch {decibels(base['mean'])} dB. " if base and compared else ""
        parts.append(Part(name, verdict_of(study, compared), sentence + each_finding(study, compared)))
        for entry in compared:
            expected, found = paper.better_than_scratch(downstream, entry["pretraining"]), finding(entry, study.threshold)
            which = f"{study.name(entry['pretraining'])} for {name}"
            if (expected, found) in ((True, WORSE), (False, BETTER)):
                contrary.append(f"{which} is {found} than from scratch")
            elif expected and found == UNCLEAR:
                open_.append(which)
    said = (
        "The paper found fine-tuned models far better than from scratch for Bach10 and Remixpacks, and for Dagstuhl "
        "ChoirSet only the one pretrained on Slakh."
    )
    return conclude("H1", parts, said, contrary, open_, after=_iterations(study))


def _second_hypothesis(study: Study) -> Answer:
    parts, gains, contrary = [], {}, []
    for condition, name in study.plan["conditions"].items():
        if condition == NONE:
            continue
        compared = study.comparisons("H2", condition=condition)
        sentence = ""
        if compared:
            gains[condition] = statistics.median(entry["mean_difference"] for entry in compared)
            better = [where(study, entry) for entry in compared if finding(entry, study.threshold) == BETTER]
            sentence = (
                f"{tally(study, compared)}; gain in mean SI-SDR {spread(compared)}, in the median "
                f"{decibels(gains[condition], True)} dB.{f' Better: {series(better)}.' if better else ''}"
            )
        parts.append(Part(name.lower(), verdict_of(study, compared), sentence))
    if together([part.verdict for part in parts]) == SHOWN:
        contrary.append("every augmentation that was measured helped every network")
    best = max(gains, key=gains.get, default=None)
    if paper.BEST_CONDITION in gains and gains[best] > gains[paper.BEST_CONDITION]:
        contrary.append(
            f"{study.plan['conditions'][best].lower()} has the largest median gain ({decibels(gains[best], True)} dB; "
            f"incoherent mixing {decibels(gains[paper.BEST_CONDITION], True)} dB; which is the largest is not tested)"
        )
    said = (
        "The paper found the effect \u201cambiguous at best\u201d, and incoherent mixing the best with a gain of "
        f"{paper.BEST_GAIN:.2f} dB."
    )
    return conclude("H2", parts, said, contrary)


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
                others.append(f"{gain(entry)} dB over {study.name(other)} ({holm_p(entry)}{unsure})")
                if paper.same_set(downstream) == "choir" and other == "slakh" and found == BETTER:
                    contrary.append(f"{best} is better than Slakh for {name}")
            sentence = f"The best is {best}: {listed(others)}."
        parts.append(Part(name, verdict_of(study, compared), sentence))
    said = (
        "The paper tests no pretraining set against another; for Dagstuhl ChoirSet only Slakh helped, which it lays to the "
        "distance between the domains."
    )
    return conclude("R1", parts, said, contrary)


def _second_question(study: Study) -> Answer:
    parts, contrary, alike, shared = [], [], 0, 0
    for downstream in study.masked():
        name = study.spoken(downstream)
        compared = study.comparisons("R2", downstream=downstream)
        sentence = f"{tally(study, compared)}; mask minus whole {spread(compared)}." if compared else ""
        parts.append(Part(name, verdict_of(study, compared), sentence))
        for entry in compared:
            theirs = paper.mask_minus_whole(downstream, entry["pretraining"], entry["condition"])
            if theirs is None:
                continue
            shared += 1
            alike += (theirs > 0) == (entry["mean_difference"] > 0)
            if finding(entry, study.threshold) == (WORSE if paper.is_bold(theirs) else BETTER):
                contrary.append(f"{where(study, entry)}, in the paper {decibels(theirs, True)} dB")
    said = "The paper found a drop everywhere but for Dagstuhl ChoirSet pretrained on MUSDB with an augmentation."
    if shared:
        said += f" Of {shared} differences that it has too, {alike} have its sign here."
    return conclude("R2", parts, said, contrary)


def _iterations(study: Study) -> str:
    def of(mode: str) -> list[str]:
        return [f"{n:,}" for n in sorted({model["iterations"] for model in study.plan["models"] if model["mode"] == mode})]

    scratch, whole = of(SCRATCH), of(WHOLE)
    if not scratch or not whole:
        return ""
    return f"From scratch, networks took {listed(scratch)} iterations on the downstream set; fine-tuned, {listed(whole)}."
