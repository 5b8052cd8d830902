"""Read and check the files that a page is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ..errors import DataError
from ..runtime.files import read_json

SAMPLE_RATE = 16000
MIXTURE, ORACLE = "mixture", "oracle"
ADVICE = "The page of nussl_transfer.report.page in the documentation lists the files that a report needs."


@dataclass(frozen=True)
class Example:
    """One excerpt and its estimates.

    Attributes:
        track: Name of the track.
        start_seconds: Where the excerpt starts.
        audio: [samples] at 16 kHz by (estimate, label): ('mixture', ''), ('references', 'violin'), ('fine-tuned',
            'violin').
        masks: [nf, nt] from 0 to 1, by (estimate, label).
        si_sdr: dB by estimate, then by label; None if the reference is silent.
        checkpoints: File name of each model, if example.json gives it.
    """

    track: str
    start_seconds: float
    audio: dict[tuple[str, str], np.ndarray]
    masks: dict[tuple[str, str], np.ndarray]
    si_sdr: dict[str, dict[str, float | None]]
    checkpoints: dict[str, str] = field(default_factory=dict)


def read_scores(path: Path) -> dict:
    """Read a ``scores.json`` as :func:`nussl_transfer.evaluation.evaluate.evaluate` writes it.

    Raises:
        DataError: The file is missing, has another format or lacks a key.
    """
    return read_json(path, ("labels", "models", "summary", "comparisons", "left_out"), "Score again.", version=1)


def read_curves(path: Path, scores: dict) -> dict[str, list[tuple[int, float]]]:
    """Read the points (iteration, test SI-SDR in dB) of each curve of ``curves.json``; the mixture's curve is constant.

    Raises:
        DataError: The file is missing, a curve has no measured point, or a curve belongs to no scored model.
    """
    curves, mixture = {}, None
    for name, curve in read_json(path, advice=ADVICE).items():
        if name not in scores["models"]:
            raise DataError(
                f"{path} is wrong: got a curve {name!r}, expected the scored models {', '.join(scores['models'])}. "
                "Rename the curve."
            )
        points = curve["points"] if isinstance(curve, dict) else curve
        found = [(p["iteration"], p["test_si_sdr"]) for p in points if p.get("test_si_sdr") is not None]
        if not found:
            raise DataError(f"{path}: the curve {name!r} has no point with a test_si_sdr. Train again with test excerpts.")
        curves[name] = sorted(found)
        if isinstance(curve, dict) and curve.get("mixture_si_sdr") is not None:
            mixture = curve["mixture_si_sdr"]
    if not curves:
        raise DataError(f"{path} has no curve. Add one for each training run.")
    if mixture is not None:
        ends = [iteration for points in curves.values() for iteration, _ in points]
        curves[MIXTURE] = [(min(ends), mixture), (max(ends), mixture)]
    return curves


def read_example(folder: Path, models: list[str], labels: list[str], masks: bool = True) -> Example:
    """Read the example that :func:`nussl_transfer.evaluation.evaluate.write_example` wrote.

    Args:
        folder: Folder of the example.
        models: Names of the models whose estimates are read.
        labels: Names of the sources.
        masks: Whether to read the masks as well.

    Raises:
        DataError: A file is missing or cannot be read.
    """
    about = read_json(folder / "example.json", advice=ADVICE)
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
    return DataError(f"{path} does not exist. {ADVICE}")


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
        # Only arrays: with allow_pickle off, an untrusted file cannot run code.
        with np.load(path, allow_pickle=False) as masks:
            mask = masks[label]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} has no readable mask of {label!r}: {error}. Make the example again.") from error
    return mask.astype(np.float32) / (255 if mask.dtype == np.uint8 else 1)
