"""How much of the grid was done, in words."""

from __future__ import annotations

from . import paper
from .inputs import MASK, SCRATCH, WHOLE, Study

_KINDS = {SCRATCH: "from scratch", WHOLE: "fine-tuned whole", MASK: "fine-tuned by the mask head alone"}


def extent(study: Study) -> list[str]:
    """Returns sentences on what was planned, what was done, and what it was done on."""
    sentences = [_planned(study), _done(study)]
    seeds = study.plan["seeds"]
    if len(seeds) > 1:
        sentences.append(f"Every model was trained with {len(seeds)} seeds; scores are means over them.")
    else:
        sentences.append("Each was trained once, so nothing here says how another training run would have come out.")
    scored = [
        f"{study.spoken(key)} on {counted(ceiling['excerpts'], 'excerpt')} of {counted(ceiling['songs'], 'song')}"
        for key in study.plan["downstreams"]
        if (ceiling := study.analysis["ceilings"].get(key))
    ]
    if scored:
        sentences.append(f"Scored were {listed(scored)}.")
    sentences += _stand_ins(list(study.plan["data"].values()))
    return sentences


def _stand_ins(data: list[dict]) -> list[str]:
    names = [each["name"] for each in data if each.get("stand_in")]
    if not names:
        return []
    which = "All data sets" if len(names) == len(data) else listed(names)
    what = "is a rendered stand-in" if len(names) == 1 else "are rendered stand-ins"
    return [f"{which} {what} and not the paper\u2019s music: compare directions with the paper\u2019s, not decibels."]


def missing_parts(study: Study) -> list[str]:
    """Returns what was planned and is not there: models, scores of the mixture and the oracle, examples to listen to."""
    folds = {model["downstream"] for model in study.plan["models"] if model["fold"] is not None}
    examples = [key for key in study.plan["downstreams"] if key not in study.examples and key not in folds]
    lacking = [*study.analysis["missing"], *study.analysis.get("missing_ceilings", [])]
    return [*lacking, *(f"example of {key}" for key in examples)]


def listed(parts: list[str]) -> str:
    """Returns parts as one reads them aloud.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def counted(number: int, noun: str) -> str:
    """Returns a number of things.

    >>> counted(1, "song"), counted(1000, "song")
    ('1 song', '1,000 songs')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _planned(study: Study) -> str:
    plan = study.plan
    kinds = {_kind(model) for model in plan["models"]}
    of_paper = sum(
        mode == SCRATCH or (pretraining in paper.PRETRAININGS and condition in paper.CONDITIONS)
        for downstream, pretraining, condition, mode in kinds
        if downstream in paper.DOWNSTREAMS
    )
    total = paper.BASELINES + paper.FINE_TUNED
    share = "all" if of_paper == total else f"{of_paper} of the"
    extra = f", and {len(kinds) - of_paper} more" if len(kinds) > of_paper else ""
    return (
        f"The grid of this study holds {share} {total} kinds of model of the paper\u2019s{extra}: "
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
    end = "Nothing is missing" if not missing else f"{len(missing)} are missing, named below"
    return f"{runs} were scored: {listed(shares)}. {end}."


def _kind(model: dict) -> tuple[str, str | None, str | None, str]:
    return model["downstream"], model["pretraining"], model["condition"], model["mode"]
