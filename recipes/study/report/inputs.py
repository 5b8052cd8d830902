"""What a study's report is made from, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nussl_transfer.errors import DataError
from nussl_transfer.report.inputs import Example, read_example, read_json

SCRATCH, FINE_TUNED = "scratch", "fine-tuned"
WHOLE, MASK, NONE = "whole", "mask", "none"

_PLAN = ("size", "command", "seeds", "threshold", "pretrainings", "conditions", "downstreams", "modes", "data", "models")
_ANALYSIS = ("size", "threshold", "missing", "ceilings", "cells", "comparisons", "curves")


@dataclass(frozen=True)
class Study:
    """A study that was done, or a part of one.

    ``plan`` is what ``study.json`` holds, ``analysis`` what ``analysis.json`` holds; ``examples`` by downstream set.
    """

    plan: dict
    analysis: dict
    examples: dict[str, Example] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """p-values below it are significant."""
        return float(self.analysis["threshold"])

    @property
    def title(self) -> str:
        """What the page and the answers are called."""
        return f"Transfer learning in music source separation: the study, size {self.plan['size']}"

    def planned(self, downstream: str, **values: str | None) -> bool:
        """Returns whether a downstream set was to have a model of which the named fields have these values."""
        models = (model for model in self.plan["models"] if model["downstream"] == downstream)
        return any(all(model[name] == value for name, value in values.items()) for model in models)

    def augmented(self) -> list[str]:
        """Returns the downstream sets for which pretraining with augmentation was to be compared."""
        conditions = [name for name in self.plan["conditions"] if name != NONE]
        sets = self.plan["downstreams"]
        return [key for key in sets if any(self.planned(key, condition=name, mode=WHOLE) for name in conditions)]

    def masked(self) -> list[str]:
        """Returns the downstream sets for which the mask head alone was to be fine-tuned."""
        return [key for key in self.plan["downstreams"] if self.planned(key, mode=MASK)]

    def labels(self, downstream: str) -> list[str]:
        """Returns the sources of a downstream set."""
        return list(self.plan["data"].get(downstream, {}).get("sources", []))

    def cell(self, downstream: str, pretraining: str | None, condition: str | None, mode: str) -> dict | None:
        """Returns what one model scored, over its seeds and folds; None where it was not scored, or all was silent."""
        wanted = (downstream, pretraining, condition, mode)
        found = (cell for cell in self.analysis["cells"] if _key(cell) == wanted and cell["mean"] is not None)
        return next(found, None)

    def comparisons(self, question: str, **values: str) -> list[dict]:
        """Returns the comparisons of a question that have pairs, those in which the named fields have these values."""
        measured = [entry for entry in self.analysis["comparisons"] if entry["mean_difference"] is not None]
        found = [entry for entry in measured if entry["question"] == question]
        return [entry for entry in found if all(entry[name] == value for name, value in values.items())]

    def curve(self, downstream: str, pretraining: str | None, condition: str | None, mode: str) -> dict | None:
        """Returns a curve over training; None where there is none."""
        wanted = (downstream, pretraining, condition, mode)
        return next((curve for curve in self.analysis["curves"] if _key(curve) == wanted), None)

    def spoken(self, downstream: str) -> str:
        """Returns the name of a downstream set as it stands in a sentence: 'Bach10, recorded' is 'Bach10 (recorded)'."""
        name, _, kind = self.plan["downstreams"][downstream].partition(", ")
        return f"{name} ({kind})" if kind else name

    def name(self, pretraining: str | None, condition: str | None = NONE, mode: str = WHOLE) -> str:
        """Returns how a kind of model is called: 'from scratch', 'MUSDB', 'MUSDB, pitch shift, mask'."""
        if pretraining is None:
            return "from scratch"
        parts = [self.plan["pretrainings"].get(pretraining, pretraining)]
        if condition not in (None, NONE):
            parts.append(self.plan["conditions"].get(condition, condition).lower())
        return ", ".join([*parts, "mask"] if mode == MASK else parts)


def read_study(folder: Path) -> Study:
    """Returns the study that lies in a folder.

    A downstream set may lack its example, as a folder; an example that is there must be whole.

    Raises:
        DataError: A file is missing, cannot be read, or does not fit the others; the message names it.
    """
    plan = _read(folder / "study.json", _PLAN, "Write the study's plan again.")
    analysis = _read(folder / "analysis.json", _ANALYSIS, "Analyse the scores again.")
    _check_known(folder / "analysis.json", plan, analysis)
    examples = {}
    for downstream in plan["downstreams"]:
        place = folder / "examples" / downstream
        if place.is_dir():
            labels = plan["data"][downstream]["sources"]
            examples[downstream] = read_example(place, [SCRATCH, FINE_TUNED], labels, masks=False)
    return Study(plan, analysis, examples)


def _key(entry: dict) -> tuple[str, str | None, str | None, str]:
    return entry["downstream"], entry["pretraining"], entry["condition"], entry["mode"]


def _read(path: Path, keys: Sequence[str], what_to_do: str) -> dict:
    found = read_json(path)
    lacking = [key for key in keys if key not in found]
    if found.get("format") != 1 or lacking:
        what = f"it lacks {', '.join(lacking)}" if lacking else f"it is of format {found.get('format')!r}"
        raise DataError(f"{path} should be of format 1: {what}. {what_to_do}")
    return found


def _check_known(path: Path, plan: dict, analysis: dict) -> None:
    """Raises DataError where the analysis speaks of what the plan does not have, as after a change of the plan."""
    unknown = set(plan["downstreams"]) - set(plan["data"])
    if unknown:
        raise DataError(f"{path.parent / 'study.json'}: data has nothing on {', '.join(sorted(unknown))}. Write it again.")
    known = {
        "downstream": set(plan["downstreams"]),
        "pretraining": {*plan["pretrainings"], None},
        "condition": {*plan["conditions"], None},
    }
    for entry in (*analysis["cells"], *analysis["comparisons"], *analysis["curves"]):
        for name, values in known.items():
            if entry[name] not in values:
                raise DataError(
                    f"{path} has the {name} {entry[name]!r}: the plan in study.json has none of that name. Analyse the "
                    "scores again."
                )
    strangers = sorted(set(analysis["missing"]) - {model["name"] for model in plan["models"]})
    if strangers:
        raise DataError(f"{path} misses {strangers[0]!r}, which study.json does not plan. Analyse the scores again.")
