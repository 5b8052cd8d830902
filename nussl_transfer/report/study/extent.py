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
        f"{name} on {_count(ceiling['excerpts'], 'excerpt')} of {_count(ceiling['songs'], 'song')}"
        for key, name in study.plan["downstreams"].items()
        if (ceiling := study.analysis["ceilings"].get(key))
    ]
    if scored:
        sentences.append(f"Scored were {listed(scored)}.")
    stand_ins = [each["name"] for each in study.plan["data"].values() if each.get("stand_in")]
    if stand_ins:
        sentences.append(
            f"{listed(stand_ins)} {'are rendered stand-ins' if len(stand_ins) > 1 else 'is a rendered stand-in'} and not "
            "the recordings of the paper: compare directions with the paper's, not decibels."
        )
    return sentences


def missing_models(study: Study) -> list[str]:
    """Returns the names of the models that were planned and not scored."""
    return list(study.analysis["missing"])


def listed(parts: list[str]) -> str:
    """Returns parts as one reads them aloud.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _planned(study: Study) -> str:
    plan = study.plan
    kinds = {_kind(model) for model in plan["models"]}
    of_paper = sum(
        mode == SCRATCH or (pretraining in paper.PRETRAININGS and condition in paper.CONDITIONS)
        for downstream, pretraining, condition, mode in kinds
        if downstream in paper.DOWNSTREAMS
    )
    total = paper.BASELINES + paper.FINE_TUNED
    extra = len(kinds) - of_paper
    return (
        f"The grid of this study holds {'all' if of_paper == total else f'{of_paper} of the'} {total} kinds of model of the "
        f"paper's{f', and {extra} more' if extra else ''}: {_count(len(plan['pretrainings']), 'pretraining set')}, "
        f"{_count(len(plan['conditions']), 'condition')} and {_count(len(plan['downstreams']), 'downstream set')}."
    )


def _done(study: Study) -> str:
    models = study.plan["models"]
    missing = set(missing_models(study))
    shares = []
    for mode, words in _KINDS.items():
        names = [model["name"] for model in models if model["mode"] == mode]
        if names:
            shares.append(f"{sum(name not in missing for name in names)} of {len(names)} {words}")
    runs = f"{len(models) - len(missing):,} of {_count(len(models), 'training run')} on downstream sets"
    end = "Nothing is missing" if not missing else f"{len(missing)} are missing, named below"
    return f"{runs} were scored: {listed(shares)}. {end}."


def _kind(model: dict) -> tuple[str, str | None, str | None, str]:
    return model["downstream"], model["pretraining"], model["condition"], model["mode"]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
