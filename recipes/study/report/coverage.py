"""Say how much of the paper's grid a study covers, what was run and what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from nussl_transfer.report.text import counted, listed

from . import paper
from .inputs import MASK, SCRATCH, SCRATCH_EQUAL, WHOLE, Study

_KINDS = {
    SCRATCH: "from scratch",
    SCRATCH_EQUAL: "from scratch for as many iterations as the fine-tuned",
    WHOLE: "fine-tuned whole",
    MASK: "with the mask head alone fine-tuned",
}


def extent(study: Study) -> list[str]:
    """Return sentences on what was planned, what was done, and on which data."""
    sentences = [_planned(study), _done(study)]
    if left_out := study.plan.get("left_out"):
        sentences.append(f"Left out on request (SETS): {listed(list(left_out.values()))}.")
    sentences.append(_seeds(study))
    scored = [
        f"{study.in_sentence(key)} on {counted(ceiling['excerpts'], 'excerpt')} of {counted(ceiling['songs'], 'song')}"
        for key in study.plan["downstreams"]
        if (ceiling := study.analysis["ceilings"].get(key))
    ]
    if scored:
        sentences.append(f"Scored: {listed(scored)}.")
    if study.plan.get("bf16"):
        sentences.append("Networks were trained in bfloat16 mixed precision; the paper does not state its precision.")
    sentences += _stand_ins(list(study.plan["data"].values()))
    return sentences


def missing_parts(study: Study) -> list[str]:
    """Return what was planned and is missing: models, scores of the mixture and the oracle, examples."""
    folds = {model["downstream"] for model in study.plan["models"] if model["fold"] is not None}
    examples = [key for key in study.plan["downstreams"] if key not in study.examples and key not in folds]
    missing = [*study.analysis["missing"], *study.analysis.get("missing_ceilings", [])]
    return [*missing, *(f"example of {key}" for key in examples)]


def _planned(study: Study) -> str:
    plan = study.plan
    kinds = {(model["downstream"], model["pretraining"], model["condition"], model["mode"]) for model in plan["models"]}
    of_paper = sum(
        mode == SCRATCH or (pretraining in paper.PRETRAININGS and condition in paper.CONDITIONS)
        for downstream, pretraining, condition, mode in kinds
        if downstream in paper.DOWNSTREAMS
    )
    total = paper.BASELINES + paper.FINE_TUNED
    share = "all" if of_paper == total else f"{of_paper} of the"
    extra = f", and {len(kinds) - of_paper} more" if len(kinds) > of_paper else ""
    return (
        f"This study has {share} {total} kinds of model of the paper{extra}: "
        f"{counted(len(plan['pretrainings']), 'pretraining set')}, "
        f"{counted(len(plan['conditions']), 'condition')} and {counted(len(plan['downstreams']), 'downstream set')}."
    )


def _done(study: Study) -> str:
    models = study.plan["models"]
    missing = set(study.analysis["missing"])
    shares = []
    for mode, words in _KINDS.items():
        names = [model["name"] for model in models if model["mode"] == mode]
        if names:
            shares.append(f"{sum(name not in missing for name in names)} of {len(names)} {words}")
    runs = f"{len(models) - len(missing):,} of {counted(len(models), 'training run')} on downstream sets"
    end = "Nothing is missing" if not missing else f"{len(missing)} are missing and listed below"
    return f"{runs} were scored: {listed(shares)}. {end}."


def _seeds(study: Study) -> str:
    seeds, bodies = study.plan["seeds"], study.plan.get("body_seeds", study.plan["seeds"])
    if len(seeds) == 1:
        return "Each network was trained once, so nothing here predicts the result of another training run."
    cells = study.analysis["cells"]
    complete = sum(len(cell["seeds"]) == len(seeds) for cell in cells)
    if complete == len(cells):
        sentence = f"Every model was trained with {len(seeds)} seeds; scores are means over them."
    else:
        sentence = (
            f"Of the {counted(len(cells), 'kind')} of model that were scored, {complete} were trained with "
            f"{len(seeds)} seeds, the others with fewer; each score is the mean over its own seeds."
        )
    if len(bodies) == 1:
        sentence += " Each body was pretrained once, so nothing here predicts the result of another pretraining."
    return sentence


def _stand_ins(data: Sequence[dict]) -> list[str]:
    names = [each["name"] for each in data if each.get("stand_in")]
    if not names:
        return []
    which = "All data sets" if len(names) == len(data) else listed(names)
    what = "is a rendered stand-in" if len(names) == 1 else "are rendered stand-ins"
    return [f"{which} {what} and not the paper\u2019s music: compare directions with the paper\u2019s, not decibels."]
