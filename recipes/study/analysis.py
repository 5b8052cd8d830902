"""Analyse the scores of a study: means for the paper's tables, tests of its hypotheses, learning curves.

The unit of a test is the excerpt, as in the paper. A test compares two models on the same excerpts; the score of an
excerpt is the mean SI-SDR over its sources and over all seeds. The excerpts of all folds are pooled. The questions:

* H1: is each wholly fine-tuned network, from a body without augmentation, better than the one from scratch?
* H1_equal: the same against a network from scratch that trained for as many iterations as the fine-tuned one.
* H2: is each network whose body was pretrained with an augmentation better than the one without?
* R1: does the best pretraining set of a downstream set differ from each other pretraining set? The test is two-sided,
  because the best is chosen from the same scores; even so, this choice makes the p-values too small.
* R2: is fine-tuning the mask head alone better than fine-tuning the whole network?

``analysis.json``::

    {"format": 1, "size", "threshold", "missing": [planned models without scores],
     "missing_ceilings": [missing score files of the mixture or the oracle, of sets with scores],
     "ceilings": {downstream: {"mixture", "oracle": mean dB or null, "left_out": references, "excerpts", "songs"}},
     "cells": [{"downstream", "pretraining", "condition", "mode", "excerpts", "songs", "mean", "median",
                "improvement": dB over the mixture or null, "by_label": {label: mean}, "seeds": {seed: mean}}],
     "comparisons": [{"question", "downstream", "pretraining", "condition", "mode",
                      "against": {"pretraining", "condition", "mode"}, "excerpts", "songs", "mean_difference",
                      "median_difference", "interval": [low, high] or null, "confidence", "effect_size", "p_value",
                      "alternative": "greater" or "two-sided", "p_holm", "significant", "significant_holm"}],
     "curves": [{"downstream", "pretraining", "condition", "mode", "points": [[iteration, dB]], "best",
                 "reaches_baseline_at": first iteration at which it is as good as the baseline ever was, or null}]}
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nussl_transfer.evaluation.statistics import describe_differences, holm, mean_and_median, paired_means
from nussl_transfer.runtime.files import write_json

from .scores import FORMAT, MIXTURE, ORACLE, Scores, mean_of_excerpts, read_curve, read_results
from .study_file import read_plan

LOGGER = logging.getLogger(__name__)
WHOLE, MASK, SCRATCH, SCRATCH_EQUAL, NONE = "whole", "mask", "scratch", "scratch_equal", "none"


def analyse(folder: str | Path) -> dict:
    """Analyse the scores that a study has so far and write ``analysis.json``; the same files give the same bytes.

    Args:
        folder: Folder of the study: ``study.json``, ``scores``, ``curves``.

    Returns:
        The contents of ``analysis.json``; see the docstring of this module.

    Raises:
        DataError: A file is damaged, or is not of the excerpts of its set; the message names it.
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
    _warn_of_unplanned(folder, {*estimates, *models})
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
        "cells": [{**kind._asdict(), **cell.describe(mixtures.get(kind.downstream, {}))} for kind, cell in cells.items()],
        "comparisons": _corrected(list(_comparisons(plan, cells)), plan["threshold"]),
        "curves": analyse_curves(folder, plan["models"]),
    }
    write_json(folder / "analysis.json", result)
    return result


def estimate_name(downstream: str, fold: str | None, estimate: str) -> str:
    """Return the name of the scores of 'mixture' or 'oracle' on a downstream set, or on one fold of it."""
    return f"{downstream}-{estimate}" if fold is None else f"{downstream}.{fold}-{estimate}"


def _by_set(
    estimate: str, names: Mapping[str, tuple[str, str | None]], scores: Mapping[str, Scores]
) -> dict[str, dict[str | None, Scores]]:
    """Return an estimate's scores by downstream set, then by fold."""
    found: dict[str, dict[str | None, Scores]] = {}
    for name, (downstream, fold) in names.items():
        if name in scores and name == estimate_name(downstream, fold, estimate):
            found.setdefault(downstream, {})[fold] = scores[name]
    return found


def _ceilings(downstreams: Mapping[str, str], mixtures: Mapping, oracles: Mapping) -> dict[str, dict]:
    """Return the means of the mixture and of the oracle mask on each set for which they were scored."""
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
    """Yield every comparison whose two sides were scored, question by question."""
    pretrainings, augmentations = plan["pretrainings"], [name for name in plan["conditions"] if name != NONE]
    for question, baseline in (("H1", SCRATCH), ("H1_equal", SCRATCH_EQUAL)):
        for downstream in plan["downstreams"]:
            scratch = Kind(downstream, None, None, baseline)
            for pretraining in pretrainings:
                yield from _compared(question, cells, Kind(downstream, pretraining, NONE, WHOLE), scratch)
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
    """Yield the comparison of one kind of model with another if they have excerpts in common."""
    found = cells[kind].against(cells[other], alternative) if kind in cells and other in cells else None
    if found is not None:
        against = {"pretraining": other.pretraining, "condition": other.condition, "mode": other.mode}
        yield {"question": question, **kind._asdict(), "against": against, **found}


def _corrected(comparisons: list[dict], threshold: float) -> list[dict]:
    """Return comparisons with their significance: uncorrected, as in the paper, and after Holm's correction over all."""
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


def _warn_of_unplanned(folder: Path, known: set[str]) -> None:
    unplanned = sorted(path.name for path in (folder / "scores").glob("*.json") if path.stem not in known)
    if unplanned:
        LOGGER.warning("%s has scores that study.json does not plan; ignored: %s", folder, ", ".join(unplanned))


# Cells of the tables -----------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """The fields that the models of one cell share; a baseline has neither pretraining nor condition."""

    downstream: str
    pretraining: str | None
    condition: str | None
    mode: str


def runs_of_kinds(models: Sequence[dict], done: Collection[str]) -> dict[Kind, dict[int, dict[str | None, str]]]:
    """Return the names of the finished models by kind, then by seed and fold.

    For each kind, take the seed with the most folds, and the other seeds that have the same folds, so that means over seeds
    use the same excerpts.

    Args:
        models: The models of ``study.json``.
        done: Names of the finished models.
    """
    found: dict[Kind, dict[int, dict[str | None, str]]] = {}
    for model in models:
        if model["name"] in done:
            kind = Kind(*(model[name] for name in Kind._fields))
            found.setdefault(kind, {}).setdefault(model["seed"], {})[model["fold"]] = model["name"]
    for kind, seeds in found.items():
        most = max(seeds.values(), key=len)
        found[kind] = {seed: folds for seed, folds in seeds.items() if set(folds) == set(most)}
    return found


@dataclass(frozen=True)
class Cell:
    """Scores of one kind of model, by seed and fold; every seed has the same folds."""

    seeds: Mapping[int, Mapping[str | None, Scores]]

    @cached_property
    def sources(self) -> dict[str | None, np.ndarray]:
        """SI-SDR of each fold [ns, excerpts], the mean over seeds; NaN if it is left out in any seed."""
        first = next(iter(self.seeds.values()))
        return {fold: np.mean([folds[fold].si_sdr for folds in self.seeds.values()], axis=0) for fold in first}

    @cached_property
    def folds(self) -> dict[str | None, np.ndarray]:
        """Score of each excerpt of each fold [excerpts]: the mean over its sources, and over seeds."""
        return {fold: mean_of_excerpts(si_sdr) for fold, si_sdr in self.sources.items()}

    @property
    def mean(self) -> float | None:
        """Mean of the excerpts' scores in dB; None if there is none."""
        return mean_and_median(_joined(self.folds.values()))[0]

    def songs(self, scored: Mapping[str | None, np.ndarray] | None = None) -> list[list[str]]:
        """Return for each source the song of each excerpt that has a score.

        Args:
            scored: For each fold, which excerpts to take, bool [excerpts]; None: those that have a score in this cell.
        """
        first = next(iter(self.seeds.values()))
        if scored is None:
            scored = {fold: np.isfinite(values) for fold, values in self.folds.items()}
        of_sources: list[list[str]] = []
        for fold, taken in scored.items():
            for number, of_source in enumerate(first[fold].songs):
                if number == len(of_sources):
                    of_sources.append([])
                of_sources[number] += [song for song, is_taken in zip(of_source, taken, strict=True) if is_taken]
        return of_sources

    def describe(self, mixture: Mapping[str | None, Scores]) -> dict:
        """Return the entries of the tables for this cell.

        Args:
            mixture: The mixture's scores by fold, as far as they are there.
        """
        values = _joined(self.folds.values())
        improvement = None
        if len(values) and all(fold in mixture for fold in self.folds):
            improvement = float(_joined(self._minus({fold: mixture[fold].si_sdr for fold in self.folds}).values()).mean())
        return {
            "excerpts": len(values),
            "songs": len(set().union(*self.songs())),
            "mean": self.mean,
            "median": mean_and_median(values)[1],
            "improvement": improvement,
            "by_label": self._by_label(),
            "seeds": {
                str(seed): mean_and_median(_joined(scores.of_excerpts for scores in folds.values()))[0]
                for seed, folds in self.seeds.items()
            },
        }

    def against(self, other: Cell, alternative: str = "greater") -> dict | None:
        """Return the statistics of this cell's scores minus another's, excerpt by excerpt; None without a pair."""
        by_fold = self._minus(other.sources)
        differences = _joined(by_fold.values())
        if not len(differences):
            return None
        songs = self.songs({fold: np.isfinite(values) for fold, values in by_fold.items()})
        found = describe_differences(differences, songs, alternative)
        return {"excerpts": len(differences), **found, "alternative": alternative}

    def _minus(self, other: Mapping[str | None, np.ndarray]) -> dict[str | None, np.ndarray]:
        """Return the difference of each excerpt by fold [excerpts]: over the sources that have a score on both sides."""
        found = {}
        for fold, mine in self.sources.items():
            if fold in other:
                a, b, pairs = paired_means(mine, other[fold])
                found[fold] = np.full(mine.shape[1], np.nan)
                found[fold][pairs] = a - b
        return found

    def _by_label(self) -> dict[str, float | None]:
        every = [scores for folds in self.seeds.values() for scores in folds.values()]
        return {
            label: mean_and_median(_joined(scores.si_sdr[number] for scores in every))[0]
            for number, label in enumerate(every[0].labels)
        }


def _joined(columns: Iterable[np.ndarray]) -> np.ndarray:
    """Return the values of all columns, without NaN."""
    values = np.concatenate([*columns, np.zeros(0)])
    return values[np.isfinite(values)]


# Learning curves ---------------------------------------------------------------------------------------------------


def analyse_curves(folder: Path, models: Sequence[dict]) -> list[dict]:
    """Return the mean learning curve of each kind of model that has any, over seeds and folds.

    Args:
        folder: Folder of the study.
        models: The models of ``study.json``.

    Raises:
        DataError: A curve is damaged.
    """
    paths = {model["name"]: folder / "curves" / f"{model['name']}.json" for model in models}
    measured = {name: read_curve(path) for name, path in paths.items() if path.exists()}
    measured = {name: points for name, points in measured.items() if points}
    kinds = runs_of_kinds(models, measured)
    found = []
    for kind, seeds in kinds.items():
        folds = list(next(iter(seeds.values())))
        points = _mean_curve([measured[name] for of_seed in seeds.values() for name in of_seed.values()])
        if not points:
            continue
        baseline = kinds.get(Kind(kind.downstream, None, None, SCRATCH), {})
        comparable = [of_seed for of_seed in baseline.values() if set(folds) <= set(of_seed)]
        of_baseline = _mean_curve([measured[of_seed[fold]] for of_seed in comparable for fold in folds])
        entry = {"points": [list(point) for point in points.items()], "best": max(points.values())}
        found.append({**kind._asdict(), **entry, "reaches_baseline_at": _reached(points, of_baseline)})
    return found


def _mean_curve(curves: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Return the mean at each iteration that all curves have."""
    common = set.intersection(*map(set, curves)) if curves else set()
    return {iteration: sum(curve[iteration] for curve in curves) / len(curves) for iteration in sorted(common)}


def _reached(points: Mapping[int, float], baseline: Mapping[int, float]) -> int | None:
    """Return the first iteration that is as good as the best of the baseline; None if there is none."""
    if not baseline:
        return None
    best = max(baseline.values())
    return next((iteration for iteration, value in points.items() if value >= best), None)
