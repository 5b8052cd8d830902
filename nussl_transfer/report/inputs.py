"""What a page is made from, read and checked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ..errors import DataError

SAMPLE_RATE = 16000
MIXTURE, ORACLE = "mixture", "oracle"


@dataclass(frozen=True)
class Example:
    """One excerpt: audio [samples] at 16 kHz, masks [nf, nt] from 0 to 1.

    ``audio`` and ``masks`` by (estimate, label): ('mixture', ''), ('references', 'violin'), ('fine-tuned', 'violin').
    ``checkpoints`` has the name of each model's file, where it is told.
    """

    track: str
    start_seconds: float
    audio: dict[tuple[str, str], np.ndarray]
    masks: dict[tuple[str, str], np.ndarray]
    si_sdr: dict[str, dict[str, float | None]]
    checkpoints: dict[str, str] = field(default_factory=dict)


def read_json(path: Path) -> dict:
    """Returns what a JSON file holds.

    Raises:
        DataError: It is not there, or is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}. Make it again.") from error
    if not isinstance(value, dict):
        raise DataError(
            f"{path} should hold a JSON object: it holds a {type(value).__name__}. Make it again."
        )
    return value


def read_scores(path: Path) -> dict:
    """Returns a ``scores.json``, as :func:`nussl_transfer.evaluation.evaluate.evaluate` writes it.

    Raises:
        DataError: It is not there, or lacks something.
    """
    scores = read_json(path)
    lacking = [key for key in ("labels", "models", "summary", "comparisons", "left_out") if key not in scores]
    if scores.get("format") != 1 or lacking:
        raise DataError(
            f"{path} should be of format 1: it lacks {', '.join(lacking) or 'that'}. Score again."
        )
    return scores


def read_curves(path: Path, scores: dict) -> dict[str, list[tuple[int, float]]]:
    """Returns the points (iteration, test SI-SDR in dB) of each curve of ``curves.json``, and the mixture's, constant.

    Raises:
        DataError: It is not there, no point of a curve was measured, or a curve is of a model that was not scored.
    """
    curves, mixture = {}, None
    for name, curve in read_json(path).items():
        if name not in scores["models"]:
            raise DataError(
                f"{path} has a curve {name!r}: the models scored are {', '.join(scores['models'])}. Name it as one of "
                "them."
            )
        points = curve["points"] if isinstance(curve, dict) else curve
        found = [(p["iteration"], p["test_si_sdr"]) for p in points if p.get("test_si_sdr") is not None]
        if not found:
            raise DataError(f"{path}: no point of the curve {name!r} has a test_si_sdr. Train with a probe.")
        curves[name] = sorted(found)
        if isinstance(curve, dict) and curve.get("mixture_si_sdr") is not None:
            mixture = curve["mixture_si_sdr"]
    if not curves:
        raise DataError(f"{path} holds no curve. Give it one a training run.")
    if mixture is not None:
        ends = [iteration for points in curves.values() for iteration, _ in points]
        curves[MIXTURE] = [(min(ends), mixture), (max(ends), mixture)]
    return curves


def read_example(folder: Path, models: list[str], labels: list[str], masks: bool = True) -> Example:
    """Returns the example that :func:`nussl_transfer.evaluation.evaluate.write_example` wrote.

    Args:
        folder: Where it lies.
        models: Names of the estimates.
        labels: Names of the sources.
        masks: Read the masks as well.

    Raises:
        DataError: A file is not there or cannot be read.
    """
    about = read_json(folder / "example.json")
    audio = {(MIXTURE, ""): _read_audio(folder / "mixture.wav")}
    found = {}
    for label in labels:
        audio["references", label] = _read_audio(folder / "references" / f"{label}.wav")
        for model in models:
            audio[model, label] = _read_audio(folder / model / f"{label}.wav")
            if masks:
                found[model, label] = _read_mask(folder / model / "masks.npz", label)
    return Example(
        track=str(about.get("track", "")),
        start_seconds=about.get("start", 0) / about.get("sample_rate", SAMPLE_RATE),
        audio=audio,
        masks=found,
        si_sdr=about.get("si_sdr", {}),
        checkpoints=about.get("checkpoints", {}),
    )


def _missing(path: Path) -> DataError:
    return DataError(
        f"A report was asked for: {path} is not there. See nussl_transfer.report for the files it needs."
    )


def _read_audio(path: Path) -> np.ndarray:
    if not path.is_file():
        raise _missing(path)
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)  # [samples, nc]
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path} cannot be read as audio: {error}. Make it again.") from error
    audio = audio.mean(axis=1)  # [samples]
    return soxr.resample(audio, rate, SAMPLE_RATE) if rate != SAMPLE_RATE else audio


def _read_mask(path: Path, label: str) -> np.ndarray:
    try:
        # Arrays only: allow_pickle is off, so nothing in a stranger's file runs.
        with np.load(path, allow_pickle=False) as masks:
            mask = masks[label]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"The mask of {label!r} was looked for in {path}: {error}. Make the example again."
        ) from error
    return mask.astype(np.float32) / (255 if mask.dtype == np.uint8 else 1)
