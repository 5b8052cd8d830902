"""Read and check the files that the report of a study is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nussl_transfer.errors import DataError
from nussl_transfer.report.inputs import Example, read_example
from nussl_transfer.runtime.files import read_json

SCRATCH, SCRATCH_EQUAL, FINE_TUNED = "scratch", "scratch_equal", "fine-tuned"
BASELINES = {SCRATCH: "from scratch", SCRATCH_EQUAL: "from scratch, equal iterations"}
WHOLE, MASK, NONE = "whole", "mask", "none"

_PLAN = ("size", "command", "seeds", "threshold", "pretrainings", "conditions", "downstreams", "modes", "data", "models")
_ANALYSIS = ("size", "threshold", "missing", "ceilings", "cells", "comparisons", "curves")


@dataclass(frozen=True)
class Reached:
    """How soon the fine-tuned networks of a downstream set reached the best score of the network from scratch.

    Attributes:
        best: Best test SI-SDR of the network from scratch, in dB.
        baseline: The iteration of that score.
        fine_tuned: Iteration at which the network of each pretraining set reached it, or None.
    """

    best: float
    baseline: int
    fine_tuned: dict[str, int | None]

    @property
    def first(self) -> tuple[str, int] | None:
        """The pretraining set that reached it first, and the iteration."""
        found = [(iteration, name) for name, iteration in self.fine_tuned.items() if iteration is not None]
        return (min(found)[1], min(found)[0]) if found else None


@dataclass(frozen=True)
class Study:
    """The results of a study, or of a part of one.

    Attributes:
        plan: Contents of ``study.json``.
        analysis: Contents of ``analysis.json``.
        examples: Excerpts to listen to, by downstream set.
    """

    plan: dict
    analysis: dict
    examples: dict[str, Example] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """The threshold of significance: smaller p-values are significant."""
        return float(self.analysis["threshold"])

    @property
    def title(self) -> str:
        """Title of the page and of the answers."""
        return f"Transfer learning in music source separation: the study, size {self.plan['size']}"

    def planned(self, downstream: str, **values: str | None) -> bool:
        """Return whether the plan has a model of a downstream set whose fields have these values."""
        models = (model for model in self.plan["models"] if model["downstream"] == downstream)
        return any(all(model[name] == value for name, value in values.items()) for model in models)

    def augmented(self) -> list[str]:
        """Return the downstream sets for which the plan compares augmentations in pretraining."""
        conditions = [name for name in self.plan["conditions"] if name != NONE]
        sets = self.plan["downstreams"]
        return [key for key in sets if any(self.planned(key, condition=name, mode=WHOLE) for name in conditions)]

    def masked(self) -> list[str]:
        """Return the downstream sets for which the plan fine-tunes the mask head alone."""
        return [key for key in self.plan["downstreams"] if self.planned(key, mode=MASK)]

    def labels(self, downstream: str) -> list[str]:
        """Return the sources of a downstream set."""
        return list(self.plan["data"].get(downstream, {}).get("sources", []))

    def cell(self, downstream: str, pretraining: str | None, condition: str | None, mode: str) -> dict | None:
        """Return the scores of one kind of model, over seeds and folds; None if it has none."""
        wanted = (downstream, pretraining, condition, mode)
        found = (cell for cell in self.analysis["cells"] if _key(cell) == wanted and cell["mean"] is not None)
        return next(found, None)

    def comparisons(self, question: str, **values: str) -> list[dict]:
        """Return the comparisons of a question that have pairs and whose fields have these values."""
        measured = [entry for entry in self.analysis["comparisons"] if entry["mean_difference"] is not None]
        found = [entry for entry in measured if entry["question"] == question]
        return [entry for entry in found if all(entry[name] == value for name, value in values.items())]

    def curve(self, downstream: str, pretraining: str | None, condition: str | None, mode: str) -> dict | None:
        """Return the learning curve of one kind of model, or None."""
        wanted = (downstream, pretraining, condition, mode)
        return next((curve for curve in self.analysis["curves"] if _key(curve) == wanted), None)

    def main_curves(self, downstream: str) -> dict[str | None, dict]:
        """Return the curves of Figure 3 by pretraining set: no augmentation, fine-tuned whole; None is from scratch."""
        keys = [(None, None, SCRATCH), *((name, NONE, WHOLE) for name in self.plan["pretrainings"])]
        found = {key[0]: self.curve(downstream, *key) for key in keys}
        return {name: curve for name, curve in found.items() if curve and curve["points"]}

    def reached(self, downstream: str) -> Reached | None:
        """Return how soon the baseline's best was reached; None if the baseline or the fine-tuned have no curve."""
        curves = self.main_curves(downstream)
        baseline = curves.pop(None, None)
        if baseline is None or not curves:
            return None
        iteration, best = max(baseline["points"], key=lambda point: (point[1], -point[0]))
        return Reached(best, iteration, {name: curve["reaches_baseline_at"] for name, curve in curves.items()})

    def at_equal_iterations(self, downstream: str) -> tuple[int, float, list[float]] | None:
        """Return the last iteration that all curves have, and there the dB of the baseline and of the fine-tuned."""
        curves = self.main_curves(downstream)
        if None not in curves or len(curves) < 2:
            return None
        scored = {name: dict(map(tuple, curve["points"])) for name, curve in curves.items()}
        common = set.intersection(*(set(points) for points in scored.values())) - {0}
        if not common:
            return None
        last = max(common)
        baseline = scored.pop(None)
        return last, baseline[last], [points[last] for points in scored.values()]

    def in_sentence(self, downstream: str) -> str:
        """Return the name of a downstream set as in a sentence: 'Bach10, recorded' is 'Bach10 (recorded)'."""
        name, _, kind = self.plan["downstreams"][downstream].partition(", ")
        return f"{name} ({kind})" if kind else name

    def name(self, pretraining: str | None, condition: str | None = NONE, mode: str = WHOLE) -> str:
        """Return the name of a kind of model: 'from scratch', 'MUSDB', 'MUSDB, pitch shift, mask'."""
        if pretraining is None:
            return BASELINES.get(mode, BASELINES[SCRATCH])
        parts = [self.plan["pretrainings"].get(pretraining, pretraining)]
        if condition not in (None, NONE):
            parts.append(self.plan["conditions"].get(condition, condition).lower())
        return ", ".join([*parts, "mask"] if mode == MASK else parts)


def read_study(folder: Path) -> Study:
    """Read the study in a folder.

    The example of a downstream set may be missing; if its folder exists, the example must be complete.

    Raises:
        DataError: A file is missing, cannot be read or contradicts the others; the message names it.
    """
    plan = read_json(folder / "study.json", _PLAN, "Write the plan of the study again.", version=1)
    analysis = read_json(folder / "analysis.json", _ANALYSIS, "Analyse the scores again.", version=1)
    _check_known(folder / "analysis.json", plan, analysis)
    examples = {}
    for downstream in plan["downstreams"]:
        example = folder / "examples" / downstream
        if example.is_dir():
            labels = plan["data"][downstream]["sources"]
            examples[downstream] = read_example(example, [SCRATCH, FINE_TUNED], labels, masks=False)
    return Study(plan, analysis, examples)


def _key(entry: dict) -> tuple[str, str | None, str | None, str]:
    return entry["downstream"], entry["pretraining"], entry["condition"], entry["mode"]


def _check_known(path: Path, plan: dict, analysis: dict) -> None:
    """Raise DataError if the analysis has names that the plan lacks, as after a change of the plan."""
    unknown = set(plan["downstreams"]) - set(plan["data"])
    if unknown:
        raise DataError(f"{path.parent / 'study.json'}: data lacks {', '.join(sorted(unknown))}. Write it again.")
    known = {
        "downstream": set(plan["downstreams"]),
        "pretraining": {*plan["pretrainings"], None},
        "condition": {*plan["conditions"], None},
    }
    for entry in (*analysis["cells"], *analysis["comparisons"], *analysis["curves"]):
        for name, values in known.items():
            if entry[name] not in values:
                raise DataError(
                    f"{path} has the {name} {entry[name]!r}, which study.json does not have. Analyse the scores again."
                )
    unplanned = sorted(set(analysis["missing"]) - {model["name"] for model in plan["models"]})
    if unplanned:
        raise DataError(f"{path} misses {unplanned[0]!r}, which study.json does not plan. Analyse the scores again.")
