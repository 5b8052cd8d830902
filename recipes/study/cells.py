"""Cells of the paper's tables: what models that differ in seed and fold alone scored together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nussl_transfer.evaluation.statistics import describe_differences, mean_and_median

from .results import Scores

WHOLE, MASK, SCRATCH, NONE = "whole", "mask", "scratch", "none"


class Kind(NamedTuple):
    """What models of one cell have in common; without pretraining there is no condition."""

    downstream: str
    pretraining: str | None
    condition: str | None
    mode: str


def runs_of_kinds(models: Sequence[dict], done: Collection[str]) -> dict[Kind, dict[int, dict[str | None, str]]]:
    """Returns the names of the models that are done, by kind, then by seed and fold.

    Of each kind, the seeds that have most folds, all the same ones: means over seeds are of the same excerpts.

    Args:
        models: Of ``study.json``.
        done: Names.
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
    def folds(self) -> dict[str | None, np.ndarray]:
        """Of each fold the score of each excerpt [excerpts]: the mean over the sources that sound, and over seeds."""
        first = next(iter(self.seeds.values()))
        return {
            fold: np.mean([folds[fold].of_excerpts for folds in self.seeds.values()], axis=0) for fold in first
        }

    @property
    def mean(self) -> float | None:
        """The mean of the excerpts' scores in dB; None where there is none."""
        return mean_and_median(_joined(self.folds.values()))[0]

    def songs(self, folds: Collection[str | None] | None = None) -> list[list[str]]:
        """Returns for each source the song of each excerpt that has a score, of these folds, or of all."""
        first = next(iter(self.seeds.values()))
        of_sources: list[list[str]] = []
        for fold in self.folds if folds is None else folds:
            scored = np.isfinite(self.folds[fold])
            for number, of_source in enumerate(first[fold].songs):
                if number == len(of_sources):
                    of_sources.append([])
                of_sources[number] += [song for song, is_scored in zip(of_source, scored, strict=True) if is_scored]
        return of_sources

    def describe(self, mixture: Mapping[str | None, Scores]) -> dict:
        """Returns what the tables say of a cell.

        Args:
            mixture: The mixture's scores by fold; those that there are.
        """
        values = _joined(self.folds.values())
        of_mixture = [mixture[fold].of_excerpts for fold in self.folds if fold in mixture]
        whole = len(values) and len(of_mixture) == len(self.folds)
        return {
            "excerpts": len(values),
            "songs": len(set().union(*self.songs())),
            "mean": self.mean,
            "median": mean_and_median(values)[1],
            "improvement": self.mean - float(_joined(of_mixture).mean()) if whole else None,
            "by_label": self._by_label(),
            "seeds": {
                str(seed): mean_and_median(_joined(scores.of_excerpts for scores in folds.values()))[0]
                for seed, folds in self.seeds.items()
            },
        }

    def against(self, other: Cell, alternative: str = "greater") -> dict | None:
        """Returns what is to be said of this cell's scores minus another's, excerpt by excerpt; None without a pair."""
        common = [fold for fold in self.folds if fold in other.folds]
        differences = _joined(self.folds[fold] - other.folds[fold] for fold in common)
        if not len(differences):
            return None
        found = describe_differences(differences, self.songs(common), alternative)
        return {"excerpts": len(differences), **found, "alternative": alternative}

    def _by_label(self) -> dict[str, float | None]:
        every = [scores for folds in self.seeds.values() for scores in folds.values()]
        return {
            label: mean_and_median(_joined(scores.si_sdr[number] for scores in every))[0]
            for number, label in enumerate(every[0].labels)
        }


def _joined(columns: Iterable[np.ndarray]) -> np.ndarray:
    """Returns all values of some columns, without those that are no score."""
    values = np.concatenate([*columns, np.zeros(0)])
    return values[np.isfinite(values)]
