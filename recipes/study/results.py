"""What a study has scored, read from its folder and held to what belongs together.

``study.json`` plans the models; ``scores/<model>.json`` holds what each scored, once it is done, and
``scores/<downstream>-mixture.json`` and ``-oracle.json`` what the mixture and the best masks did. All that is of one
downstream set and fold is on one list of excerpts; a file that is not is refused: its pairs would be of different sounds.

A score file has a column a label, with a value an excerpt::

    {"format": 1, "model": name, "checkpoint": str or null, "excerpts": file, "excerpts_sha256": of that file,
     "labels": ["female", "male"], "songs": {label: [song of that source in excerpt i, ...]},
     "si_sdr": {label: [dB, or null where the reference is silent, ...]}, "left_out": silent references, "seconds": float}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nussl_transfer.errors import DataError

FORMAT = 1
LARGEST = 1000.0  # dB; scores are cut far below it
_PLAN = ("size", "threshold", "pretrainings", "conditions", "downstreams", "models")
_MODEL = ("name", "downstream", "pretraining", "condition", "mode", "seed", "fold")
_SCORES = ("model", "excerpts_sha256", "labels", "songs", "si_sdr")


@dataclass(frozen=True)
class Scores:
    """What one estimate scored on one list of excerpts.

    ``songs`` has a tuple a label, of the song of its source in each excerpt; ``si_sdr`` is in dB, [ns, excerpts], NaN
    where a reference is silent.
    """

    path: Path
    excerpts_sha256: str
    labels: tuple[str, ...]
    songs: tuple[tuple[str, ...], ...]
    si_sdr: np.ndarray

    @property
    def left_out(self) -> int:
        """The number of silent references."""
        return int(np.isnan(self.si_sdr).sum())

    @property
    def of_excerpts(self) -> np.ndarray:
        """The mean over the sources that sound of each excerpt [excerpts]; NaN where none does."""
        sounding = np.isfinite(self.si_sdr)
        with np.errstate(invalid="ignore"):
            return np.where(sounding, self.si_sdr, 0).sum(axis=0) / sounding.sum(axis=0)


def read_plan(folder: Path) -> dict:
    """Returns what ``study.json`` holds.

    Raises:
        DataError: It is not there, or lacks something.
    """
    path = folder / "study.json"
    plan = _read_object(path, _PLAN, "Plan the study again.")
    seen: set[tuple] = set()
    for model in plan["models"]:
        lacking = [key for key in _MODEL if key not in model]
        if lacking:
            raise DataError(f"{path} plans a model without {', '.join(lacking)}: each has {', '.join(_MODEL)}. Plan again.")
        both = {(model["name"],), tuple(model[key] for key in _MODEL[1:])}
        if both & seen:
            raise DataError(f"{path} plans {model['name']!r}, or what it is, twice. Plan again.")
        seen |= both
    return plan


def read_results(folder: Path, names: Mapping[str, tuple[str, str | None]]) -> dict[str, Scores]:
    """Returns what is there of the scores of these names.

    Args:
        folder: Of the study.
        names: To each, the downstream set and the fold, whose excerpts all are the same.

    Raises:
        DataError: A file is damaged, is of another model, or of other excerpts than those of its set and fold.
    """
    found: dict[str, Scores] = {}
    first: dict[tuple[str, str | None], Scores] = {}
    first_of_folds: dict[str, Scores] = {}
    for name, (downstream, fold) in names.items():
        path = folder / "scores" / f"{name}.json"
        if path.exists():
            scores = found[name] = read_scores(path, name)
            _check_same_labels(scores, first_of_folds.setdefault(downstream, scores))
            _check_same_excerpts(scores, first.setdefault((downstream, fold), scores))
    return found


def read_scores(path: Path, name: str) -> Scores:
    """Returns what a file of scores holds.

    Raises:
        DataError: It is not there, is of another model, or is not as it was written.
    """
    what_to_do = "Score the model again."
    about = _read_object(path, _SCORES, what_to_do)
    if about["model"] != name:
        raise DataError(f"{path} should hold the scores of {name!r}: they are of {about['model']!r}. {what_to_do}")
    labels = about["labels"]
    if not isinstance(labels, list) or not labels or len(set(map(str, labels))) < len(labels):
        raise DataError(f"{path} should have one name a source: its labels are {labels!r}. {what_to_do}")
    for key in ("songs", "si_sdr"):
        if not isinstance(about[key], dict) or set(about[key]) != set(labels):
            raise DataError(f"{path} should have {key} for each of {', '.join(labels)}: it has others. {what_to_do}")
    columns = [about[key][label] for key in ("songs", "si_sdr") for label in labels]
    lengths = {len(column) if isinstance(column, list) else None for column in columns}
    if len(lengths) > 1 or lengths <= {0, None}:
        raise DataError(
            f"{path} should have as many songs as scores for each source: found lists of {_listed(lengths)}. {what_to_do}"
        )
    ratios = [about["si_sdr"][label] for label in labels]
    if any(value is not None and type(value) not in (int, float) for ratio in ratios for value in ratio):
        raise DataError(f"{path} should have numbers or null for scores: it has something else. {what_to_do}")
    if any(value is not None and not -LARGEST < value < LARGEST for ratio in ratios for value in ratio):
        raise DataError(f"{path} has a score that no SI-SDR can be. {what_to_do}")
    si_sdr = np.array(ratios, dtype=np.float64)  # [ns, excerpts]; None becomes NaN
    songs = tuple(tuple(map(str, about["songs"][label])) for label in labels)
    return Scores(path, str(about["excerpts_sha256"]), tuple(labels), songs, si_sdr)


def read_curve(path: Path) -> dict[int, float]:
    """Returns test SI-SDR in dB by iteration, of a run's ``curve.json``, where it was measured.

    Raises:
        DataError: It is not there, or is no curve.
    """
    what_to_do = "Copy the curve from its run again."
    points = _read_object(path, ("points",), what_to_do, kind=None)["points"]
    try:
        return {
            int(point["iteration"]): float(point["test_si_sdr"])
            for point in points
            if point.get("test_si_sdr") is not None
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} should hold points of a curve: {type(error).__name__} {error}. {what_to_do}") from error


def _check_same_labels(scores: Scores, first: Scores) -> None:
    if scores.labels != first.labels:
        raise DataError(
            f"{scores.path} should have the sources of {first.path.name}, {', '.join(first.labels)}: it has "
            f"{', '.join(scores.labels)}. Score both on the same set."
        )


def _check_same_excerpts(scores: Scores, first: Scores) -> None:
    """Raises DataError where two estimates were not scored on the same excerpts."""
    what = None
    if scores.excerpts_sha256 != first.excerpts_sha256:
        what = f"SHA-256 {scores.excerpts_sha256[:12]} of the list, not {first.excerpts_sha256[:12]}"
    elif scores.si_sdr.shape != first.si_sdr.shape:
        what = f"{scores.si_sdr.shape[1]} excerpts, not {first.si_sdr.shape[1]}"
    elif scores.songs != first.songs:
        what = "other songs"
    elif (np.isnan(scores.si_sdr) != np.isnan(first.si_sdr)).any():
        what = "other references that are silent"
    if what is not None:
        raise DataError(
            f"{scores.path} should be of the excerpts of {first.path.name}: it has {what}. Score both on the same list."
        )


def _read_object(path: Path, keys: Sequence[str], what_to_do: str, kind: int | None = FORMAT) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_check_constant)
    except FileNotFoundError:
        raise DataError(f"A study was to be analysed: {path} is not there. {what_to_do}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}. {what_to_do}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} should hold a JSON object: it holds a {type(value).__name__}. {what_to_do}")
    if kind is not None and value.get("format") != kind:
        raise DataError(f"{path} should be of format {kind}: found {value.get('format')!r}. {what_to_do}")
    lacking = [key for key in keys if key not in value]
    if lacking:
        raise DataError(f"{path} lacks {', '.join(lacking)}. {what_to_do}")
    return value


def _check_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _listed(lengths: set[int | None]) -> str:
    return ", ".join("no length" if length is None else str(length) for length in sorted(lengths, key=str))
