"""Write and read the scores of a study: one file for each model, all models of a set on the same list of excerpts.

``scores/<model>.json`` has the scores of a model, ``scores/<set>-mixture.json`` and ``-oracle.json`` those of the mixture
and of the oracle magnitude mask. All files of one downstream set and fold must use the same list of excerpts: otherwise
a pair would compare different sounds.

A file has a column for each label, with a value for each excerpt::

    {"format": 1, "model": name, "checkpoint": str or null, "excerpts": file, "excerpts_sha256": of that file,
     "labels": ["female", "male"], "songs": {label: [song of that source in excerpt i, ...]},
     "si_sdr": {label: [dB, or null if the reference is left out, ...]},
     "left_out": {reason: number of references}, "infinite": {label: [excerpts left out for an infinite ratio, ...]},
     "seconds": time of scoring}

:mod:`nussl_transfer.evaluation.score` says which references are left out, and why.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nussl_transfer.errors import DataError
from nussl_transfer.runtime.files import read_json, write_json

if TYPE_CHECKING:
    from nussl_transfer.store.store import Store

FORMAT = 1
DIGITS = 4  # decimals of a score in dB; two ways of computing it differ by ten times as much
LARGEST = 1000.0  # dB; no score is near it
MIXTURE, ORACLE = "mixture", "oracle"
INFINITE = "infinite ratio"
_SCORES = ("model", "excerpts_sha256", "labels", "songs", "si_sdr")


def write_scores(
    model: str | Path,
    name: str,
    store: Store,
    excerpt_list: str | Path,
    out: str | Path,
    batch_size: int = 16,
    device: str = "cpu",
    **oracle,
) -> dict:
    """Score a model on a list of excerpts and write the file that `read_scores` reads.

    Args:
        model: A checkpoint, 'mixture' or 'oracle'.
        name: Its name in the study.
        store: Store of the excerpts.
        excerpt_list: The list, in JAMS.
        out: File to write.
        batch_size: Excerpts in a batch.
        device: 'cpu' or 'cuda'.
        oracle: ``stft_params`` of the oracle mask.

    Returns:
        The contents of the file.

    Raises:
        CheckpointError: The labels of the checkpoint are not those of the store.
        DataError: The list is not of this store.
    """
    # Import these here, so that reading scores does not import torch.
    from nussl_transfer.evaluation.excerpts import songs_of
    from nussl_transfer.evaluation.jams import read_excerpts
    from nussl_transfer.evaluation.score import score

    started = time.monotonic()
    excerpts = read_excerpts(excerpt_list, store)
    rows = score(model, store, excerpts, name, batch_size, device, **oracle)
    columns: dict[str, list[float | None]] = {label: [None] * len(excerpts) for label in store.labels}
    infinite: dict[str, list[int]] = {label: [] for label in store.labels}
    for row in rows:
        value = row["si_sdr"]
        columns[row["label"]][row["excerpt"]] = None if value is None else round(value, DIGITS)
        if row.get("left_out") == INFINITE:
            infinite[row["label"]].append(row["excerpt"])
    result = {
        "format": FORMAT,
        "model": name,
        "checkpoint": None if model in (MIXTURE, ORACLE) else str(model),
        "excerpts": Path(excerpt_list).name,
        "excerpts_sha256": hashlib.sha256(Path(excerpt_list).read_bytes()).hexdigest(),
        "labels": list(store.labels),
        "songs": songs_of(excerpts, store.labels),
        "si_sdr": columns,
        "left_out": dict(Counter(row.get("left_out") or "silent" for row in rows if row["si_sdr"] is None)),
        "infinite": infinite,
        "seconds": round(time.monotonic() - started, 2),
    }
    write_json(Path(out), result)
    return result


@dataclass(frozen=True)
class Scores:
    """Scores of one estimate on one list of excerpts.

    Attributes:
        path: The file.
        excerpts_sha256: Hash of the list of excerpts.
        labels: Names of the sources.
        songs: For each label, the song of its source in each excerpt.
        si_sdr: dB [ns, excerpts]; NaN if the reference is left out.
        infinite: Whether it is left out because the estimate's ratio is infinite, bool [ns, excerpts].
    """

    path: Path
    excerpts_sha256: str
    labels: tuple[str, ...]
    songs: tuple[tuple[str, ...], ...]
    si_sdr: np.ndarray
    infinite: np.ndarray = field(repr=False)

    @property
    def left_out(self) -> int:
        """The number of references that are left out."""
        return int(np.isnan(self.si_sdr).sum())

    @property
    def of_excerpts(self) -> np.ndarray:
        """The mean of each excerpt over its sources [excerpts]; NaN if all are left out."""
        return mean_of_excerpts(self.si_sdr)


def mean_of_excerpts(si_sdr: np.ndarray) -> np.ndarray:
    """Return the mean of each excerpt over the sources that have a score; NaN if none has.

    Shape:
        [ns, excerpts] -> [excerpts]
    """
    scored = np.isfinite(si_sdr)
    with np.errstate(invalid="ignore"):
        return np.where(scored, si_sdr, 0).sum(axis=0) / scored.sum(axis=0)


def read_results(folder: Path, names: Mapping[str, tuple[str, str | None]]) -> dict[str, Scores]:
    """Read the scores of these names, as far as they are there.

    Args:
        folder: Folder of the study.
        names: (downstream set, fold) of each name; scores of the same set and fold must be of the same excerpts.

    Raises:
        DataError: A file is damaged, or is of another model or of other excerpts.
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
    """Read a file of scores.

    Raises:
        DataError: The file is missing or damaged, or has the scores of another model.
    """
    advice = "Score the model again."
    about = read_json(path, _SCORES, advice, version=FORMAT)
    if about["model"] != name:
        raise DataError(f"{path} is wrong: got scores of {about['model']!r}, expected those of {name!r}. {advice}")
    labels = about["labels"]
    if not isinstance(labels, list) or not labels or len(set(map(str, labels))) < len(labels):
        raise DataError(f"{path} is wrong: got labels {labels!r}, expected one name for each source. {advice}")
    for key in ("songs", "si_sdr"):
        if not isinstance(about[key], dict) or set(about[key]) != set(labels):
            raise DataError(f"{path} is wrong: got {key} of other labels, expected {', '.join(labels)}. {advice}")
    columns = [about[key][label] for key in ("songs", "si_sdr") for label in labels]
    lengths = {len(column) if isinstance(column, list) else None for column in columns}
    if len(lengths) > 1 or lengths <= {0, None}:
        raise DataError(
            f"{path} is wrong: got lists of {_listed(lengths)}, expected as many songs as scores for each source. {advice}"
        )
    ratios = [about["si_sdr"][label] for label in labels]
    if any(value is not None and type(value) not in (int, float) for ratio in ratios for value in ratio):
        raise DataError(f"{path} is wrong: a score is neither a number nor null. {advice}")
    if any(value is not None and not -LARGEST < value < LARGEST for ratio in ratios for value in ratio):
        raise DataError(f"{path} is wrong: a score is outside the possible range of SI-SDR. {advice}")
    si_sdr = np.array(ratios, dtype=np.float64)  # [ns, excerpts]; None becomes NaN
    infinite = np.zeros(si_sdr.shape, dtype=bool)
    try:
        for number, label in enumerate(labels):
            infinite[number, about.get("infinite", {}).get(label, [])] = True
    except (AttributeError, IndexError, TypeError) as error:
        raise DataError(f"{path} is wrong: `infinite` does not list excerpts by label. {advice}") from error
    songs = tuple(tuple(map(str, about["songs"][label])) for label in labels)
    return Scores(path, str(about["excerpts_sha256"]), tuple(labels), songs, si_sdr, infinite)


def read_curve(path: Path) -> dict[int, float]:
    """Read the measured test SI-SDR in dB by iteration from a run's ``curve.json``.

    Raises:
        DataError: The file is missing or is not a curve.
    """
    advice = "Copy the curve from its run again."
    points = read_json(path, ("points",), advice)["points"]
    try:
        return {
            int(point["iteration"]): float(point["test_si_sdr"]) for point in points if point.get("test_si_sdr") is not None
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not a curve: {type(error).__name__} {error}. {advice}") from error


def _check_same_labels(scores: Scores, first: Scores) -> None:
    if scores.labels != first.labels:
        raise DataError(
            f"{scores.path} is wrong: got the sources {', '.join(scores.labels)}, expected those of {first.path.name}, "
            f"{', '.join(first.labels)}. Score both on the same set."
        )


def _check_same_excerpts(scores: Scores, first: Scores) -> None:
    """Raise DataError if two estimates were not scored on the same excerpts."""
    differs = None
    if scores.excerpts_sha256 != first.excerpts_sha256:
        differs = f"SHA-256 {scores.excerpts_sha256[:12]} of the list, not {first.excerpts_sha256[:12]}"
    elif scores.si_sdr.shape != first.si_sdr.shape:
        differs = f"{scores.si_sdr.shape[1]} excerpts, not {first.si_sdr.shape[1]}"
    elif scores.songs != first.songs:
        differs = "other songs"
    else:
        # Infinite ratios may differ, because they depend on the estimate. Silent references depend on the list alone.
        silent = (np.isnan(each.si_sdr) & ~each.infinite for each in (scores, first))
        comparable = ~(scores.infinite | first.infinite)
        if np.logical_xor(*silent)[comparable].any():
            differs = "other silent references"
    if differs is not None:
        raise DataError(
            f"{scores.path} is not of the excerpts of {first.path.name}: it has {differs}. Score both on the same list."
        )


def _listed(lengths: set[int | None]) -> str:
    return ", ".join("no length" if length is None else str(length) for length in sorted(lengths, key=str))
