"""From a study's scores to what they say: cells of the paper's tables, tests of its hypotheses, curves.

A pair is an excerpt, as in the paper: two models on the same excerpt, each by its mean over the sources that sound. Of
several seeds it is the mean of their scores; the excerpts of all folds are taken together. What is asked:

* H1: is each network that was fine-tuned whole, pretrained without augmentation, better than the one from scratch?
* H2: is each that was pretrained with another condition better than without?
* R1: does the best pretraining of a downstream set differ from each other one? Which is the best is seen in the same
  scores, so the test is two-sided; that the best was picked still makes its p-values smaller than they should be.
* R2: is fine-tuning the mask head alone better than fine-tuning the whole network?

``analysis.json``::

    {"format": 1, "size", "threshold", "missing": [planned models without scores],
     "missing_ceilings": [names of score files of the mixture or the oracle that are not there, of sets with scores],
     "ceilings": {downstream: {"mixture", "oracle": mean dB or null, "left_out": silent references, "excerpts", "songs"}},
     "cells": [{"downstream", "pretraining", "condition", "mode", "excerpts", "songs", "mean", "median",
                "improvement": dB over the mixture or null, "by_label": {label: mean}, "seeds": {seed: mean}}],
     "comparisons": [{"question", "downstream", "pretraining", "condition", "mode",
                      "against": {"pretraining", "condition", "mode"}, "excerpts", "songs", "mean_difference",
                      "median_difference", "interval": [low, high] or null, "confidence", "effect_size", "p_value",
                      "alternative": "greater" or "two-sided", "p_holm", "significant", "significant_holm"}],
     "curves": [{"downstream", "pretraining", "condition", "mode", "points": [[iteration, dB]], "best",
                 "reaches_baseline_at": the first iteration at which it is as good as the baseline ever, or null}]}
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from nussl_transfer.evaluation.statistics import holm
from nussl_transfer.runtime.files import write_json

from .cells import MASK, NONE, SCRATCH, WHOLE, Cell, Kind, runs_of_kinds
from .curves import analyse_curves
from .results import FORMAT, Scores, read_plan, read_results

LOGGER = logging.getLogger(__name__)
MIXTURE, ORACLE = "mixture", "oracle"


def analyse(folder: str | Path) -> dict:
    """Analyses what a study has scored until now, and writes ``analysis.json``; the same files give the same bytes.

    Args:
        folder: Of the study: ``study.json``, ``scores``, ``curves``.

    Returns:
        What was written; see this module's own text.

    Raises:
        DataError: A file is damaged, or its scores are not of the excerpts of its set; the message names it.
    """
    folder = Path(folder)
    plan = read_plan(folder)
    models = {model["name"]: (model["downstream"], model["fold"]) for model in plan["models"]}
    estimates = {
        estimate_name(*test_set, estimate): test_set
        for test_set in dict.fromkeys(models.values())
        for estimate in (MIXTURE, ORACLE)
    }
    scores = read_results(folder, {**estimates, **models})
    _warn_of_strangers(folder, {*estimates, *models})
    started = {test_set for name, test_set in models.items() if name in scores}
    kinds = runs_of_kinds(plan["models"], [name for name in models if name in scores])
    cells = {
        kind: Cell({seed: {fold: scores[name] for fold, name in folds.items()} for seed, folds in seeds.items()})
        for kind, seeds in kinds.items()
    }
    mixtures, oracles = (_by_set(estimate, estimates, scores) for estimate in (MIXTURE, ORACLE))
    result = {
        "format": FORMAT,
        "size": plan["size"],
        "threshold": plan["threshold"],
        "missing": [name for name in models if name not in scores],
        "missing_ceilings": [name for name, of_set in estimates.items() if name not in scores and of_set in started],
        "ceilings": _ceilings(plan["downstreams"], mixtures, oracles),
        "cells": [
            {**kind._asdict(), **cell.describe(mixtures.get(kind.downstream, {}))} for kind, cell in cells.items()
        ],
        "comparisons": _corrected(list(_comparisons(plan, cells)), plan["threshold"]),
        "curves": analyse_curves(folder, plan["models"]),
    }
    write_json(folder / "analysis.json", result)
    return result


def estimate_name(downstream: str, fold: str | None, estimate: str) -> str:
    """Returns the name of the scores of 'mixture' or 'oracle' on a downstream set, or on one fold of it."""
    return f"{downstream}-{estimate}" if fold is None else f"{downstream}.{fold}-{estimate}"


def _by_set(
    estimate: str, names: Mapping[str, tuple[str, str | None]], scores: Mapping[str, Scores]
) -> dict[str, dict[str | None, Scores]]:
    """Returns an estimate's scores by downstream set and fold."""
    found: dict[str, dict[str | None, Scores]] = {}
    for name, (downstream, fold) in names.items():
        if name in scores and name == estimate_name(downstream, fold, estimate):
            found.setdefault(downstream, {})[fold] = scores[name]
    return found


def _ceilings(downstreams: Mapping[str, str], mixtures: Mapping, oracles: Mapping) -> dict[str, dict]:
    """Returns between what every separation lies, for each set of which it was measured."""
    found = {}
    for downstream in downstreams:
        both = {MIXTURE: mixtures.get(downstream), ORACLE: oracles.get(downstream)}
        means = {name: Cell({0: folds}).describe({}) for name, folds in both.items() if folds}
        if means:
            any_folds, any_means = both[MIXTURE] or both[ORACLE], next(iter(means.values()))
            found[downstream] = {
                **{name: means[name]["mean"] if name in means else None for name in both},
                "left_out": sum(scores.left_out for scores in any_folds.values()),
                "excerpts": any_means["excerpts"],
                "songs": any_means["songs"],
            }
    return found


def _comparisons(plan: Mapping, cells: Mapping[Kind, Cell]) -> Iterator[dict]:
    """Yields every comparison of which both sides were scored, question by question."""
    pretrainings, augmentations = plan["pretrainings"], [name for name in plan["conditions"] if name != NONE]
    for downstream in plan["downstreams"]:
        scratch = Kind(downstream, None, None, SCRATCH)
        for pretraining in pretrainings:
            yield from _compared("H1", cells, Kind(downstream, pretraining, NONE, WHOLE), scratch)
    for downstream in plan["downstreams"]:
        for condition in augmentations:
            for pretraining in pretrainings:
                plain = Kind(downstream, pretraining, NONE, WHOLE)
                yield from _compared("H2", cells, plain._replace(condition=condition), plain)
    for downstream in plan["downstreams"]:
        kinds = [Kind(downstream, pretraining, NONE, WHOLE) for pretraining in pretrainings]
        means = {kind: cells[kind].mean for kind in kinds if kind in cells and cells[kind].mean is not None}
        best = max(means, key=means.__getitem__, default=None)
        for kind in means:
            if kind != best:
                yield from _compared("R1", cells, best, kind, "two-sided")
    for downstream in plan["downstreams"]:
        for condition in plan["conditions"]:
            for pretraining in pretrainings:
                whole = Kind(downstream, pretraining, condition, WHOLE)
                yield from _compared("R2", cells, whole._replace(mode=MASK), whole)


def _compared(
    question: str, cells: Mapping[Kind, Cell], kind: Kind, other: Kind, alternative: str = "greater"
) -> Iterator[dict]:
    """Yields what is to be said of one kind of model against another, where they have excerpts in common."""
    found = cells[kind].against(cells[other], alternative) if kind in cells and other in cells else None
    if found is not None:
        against = {"pretraining": other.pretraining, "condition": other.condition, "mode": other.mode}
        yield {"question": question, **kind._asdict(), "against": against, **found}


def _corrected(comparisons: list[dict], threshold: float) -> list[dict]:
    """Returns comparisons with what is significant, as the paper counts, and after Holm's correction over all of them."""
    p_values = [comparison["p_value"] for comparison in comparisons]
    return [
        {
            **comparison,
            "p_holm": p_holm,
            "significant": comparison["p_value"] < threshold,
            "significant_holm": p_holm < threshold,
        }
        for comparison, p_holm in zip(comparisons, holm(p_values), strict=True)
    ]


def _warn_of_strangers(folder: Path, known: set[str]) -> None:
    strangers = sorted(path.name for path in (folder / "scores").glob("*.json") if path.stem not in known)
    if strangers:
        LOGGER.warning("%s has scores that study.json does not plan: %s", folder, ", ".join(strangers))
