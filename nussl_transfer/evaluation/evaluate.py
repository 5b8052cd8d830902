"""Evaluate checkpoints on fixed excerpts: SI-SDR, its improvement over the mixture, and tests of the differences.

`evaluate` returns a plain dictionary, `Scores`, and writes it as ``scores.json``::

    {"format": 1, "sample_rate": 16000, "labels": ["bassoon", ...],
     "models": {"fine-tuned": "runs/fine-tuned/checkpoints/best.model.pth", ...},        a list for an ensemble
     "excerpts": [{"frames", "sources": [{"track", "label", "start", "frames", "gain", "pitch", "stretch"}, ...]}, ...],
     "scores": {"fine-tuned": [{"excerpt", "track", "start", "song", "label", "si_sdr", "improvement", "left_out",
                                "estimate"}, ...], ...},                                 dB; null: left out
     "summary": [{"estimate", "label", "n", "left_out", "mean", "median", "improvement"}, ...],  label null: all labels
     "comparisons": [{"better", "than", "n", "songs", "mean_difference", "median_difference",
                     "interval": [low, high], "confidence",      of the median; null with only one song
                     "effect_size", "p_value", "p_holm", "verdicts": {"paper": {...}, "ours": {...}}, ...}, ...],
     "left_out": 3,                                                references that no model is scored on
     "left_out_references": [{"excerpt", "track", "start", "label", "why", "estimate"}, ...]}  estimate null: all

A comparison pairs excerpts: the score of an excerpt is the mean over its sources that count.
`nussl_transfer.evaluation.score` says which references are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..audio.levels import ACTIVITY_DBFS
from ..audio.si_sdr import si_sdr
from ..checkpoints.checkpoint import CheckpointInfo, read_info
from ..datasets.options import StemOptions
from ..errors import ConfigError, DataError
from ..runtime.device import resolve_device
from ..runtime.files import write_json, written_aside
from ..separation.ensemble import find_checkpoints
from ..separation.files import safe_names
from ..store.manifest import MANIFEST
from ..store.open import open_store
from ..store.store import Store, write_stem
from .batches import load_excerpts, load_mixtures
from .estimators import MIXTURE, ORACLE, PAPER_STFT, Model, estimate_sources, open_for
from .excerpts import MixtureExcerpt, make_excerpts, songs_of
from .jams import read_excerpts, write_excerpts
from .score import ALONE, INFINITE, SILENT, reasons_left_out, score_each
from .statistics import compare, holm, summarise, verdicts

FORMAT = 1

Scores = dict[str, Any]


def evaluate(
    checkpoints: str | Path | Sequence[str | Path] | Mapping[str, Model],
    store: Store | str | Path,
    *,
    excerpts: Sequence[MixtureExcerpt] | str | Path | None = None,
    out: str | Path | None = None,
    museval: bool = False,
    device: str = "auto",
    oracle: bool = False,
    options: StemOptions | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Scores:
    """Score checkpoints and the mixture on the same excerpts, and test the differences.

    Args:
        checkpoints: **The one expected to be best first**: each is tested for being better than those after it, and all
            for being better than the mixture. A one-sided test needs its direction before the scores are known. A
            mapping gives names; its values are names, files or runs, or lists of these, which are scored as one ensemble
            (the mean of their masks).
        store: A store, its folder, or a folder of stems. The store of a folder of stems is made in ``<out>/store``.
        excerpts: As from `make_excerpts`, or a file of `write_excerpts`. By default the test tracks (without splits, all
            tracks) are cut side by side into excerpts as long as the training mixtures of the first checkpoint.
        out: A folder for ``scores.json`` (and ``excerpts.jams`` if the excerpts are made here), or a ``.json`` file. None
            writes nothing.
        museval: Also compute museval's SDR, SIR and SAR, as in `bss_eval`: hundreds of times slower.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        oracle: Also score the oracle magnitude masks min(\\|S\\| / \\|X\\|, 1), made from the references.
        options: How a folder of stems is read.
        batch_size: Excerpts in a batch; about 64 s of audio by default.
        progress: Show a progress bar.

    Returns:
        What ``scores.json`` holds; see the top of this module.

    Raises:
        CheckpointError: A checkpoint cannot be read or does not separate what the store holds.
        ConfigError: Two models have the same name, or one is called 'mixture' or 'oracle'.
        DataError: There are no excerpts, or none of them can be scored.

    Example:
        >>> scores = evaluate({"tuned": "run", "before": "quartet"}, "my-test-stems", out="scores")  # doctest: +SKIP
        >>> scores["summary"][0]["improvement"]  # doctest: +SKIP
        6.1
    """
    device = resolve_device(device)
    models = named_models(checkpoints)
    _check_names(models, {MIXTURE, ORACLE})
    first = next((read_info(path if isinstance(path, Path) else path[0]) for path in models.values()), None)
    opened = _open(store, out, first, options)
    chosen = _choose_excerpts(opened, excerpts, first, out)
    wanted: dict[str, Model] = {**models, MIXTURE: MIXTURE, **({ORACLE: ORACLE} if oracle else {})}
    stft_params = PAPER_STFT if first is None else first.stft_params
    scores = score_each(wanted, opened, chosen, batch_size, device, progress, stft_params, museval)
    result = collect(scores, opened, chosen, models)
    if out is not None:
        path = Path(out)
        write_json(path if path.suffix == ".json" else path / "scores.json", result)
    return result


def named_models(
    checkpoints: str | Path | Sequence[str | Path] | Mapping[str, Model],
) -> dict[str, Path | list[Path]]:
    """Return the checkpoint files by name; a list of files is an ensemble.

    A folder of several runs, such as that of `cross_validate`, is an ensemble of their best networks.

    Raises:
        CheckpointError: There is no such checkpoint.
        ConfigError: Two of them have the same name.
    """
    if isinstance(checkpoints, Mapping):
        given = dict(checkpoints)
    else:
        each = [checkpoints] if isinstance(checkpoints, str | Path) else list(checkpoints)
        names = [_short_name(one) for one in each]
        names = [name if names.count(name) == 1 else str(one) for name, one in zip(names, each, strict=True)]
        if len(set(names)) < len(names):
            raise ConfigError(f"A checkpoint is given twice: got {', '.join(names)}. Give each of them once.")
        given = dict(zip(names, each, strict=True))
    return {name: _resolved(model) for name, model in given.items()}


def _short_name(checkpoint: str | Path) -> str:
    """Return the name of a checkpoint: that of its run or file."""
    path = Path(checkpoint)
    in_run = path.parent.parent.name if path.parent.name == "checkpoints" else ""
    return in_run or path.name.removesuffix(".pth").removesuffix(".model")


def _resolved(model: Model) -> Path | list[Path]:
    found = find_checkpoints(model)
    return found[0] if len(found) == 1 and isinstance(model, str | Path) else found


def _open(
    store: Store | str | Path, out: str | Path | None, first: CheckpointInfo | None, options: StemOptions | None
) -> Store:
    """Return the store to score on; make it if a folder of stems is given."""
    if isinstance(store, Store):
        return store
    if (Path(store) / MANIFEST).is_file():
        return Store(store)
    if out is None or Path(out).suffix == ".json" or first is None:
        raise ConfigError(f"{store} is not a store. Give the folder `out`, where one can be made, or prepare a store.")
    return open_store(store, Path(out) / "store", first.sample_rate, options)


def _choose_excerpts(
    store: Store,
    excerpts: Sequence[MixtureExcerpt] | str | Path | None,
    first: CheckpointInfo | None,
    out: str | Path | None,
) -> Sequence[MixtureExcerpt]:
    """Return the excerpts that were given, or all of the test tracks."""
    if isinstance(excerpts, str | Path):
        return read_excerpts(excerpts, store)
    if excerpts is not None:
        return excerpts
    if first is None:
        raise ConfigError("Without a checkpoint, excerpts have no length: make them with make_excerpts.")
    tested = store.select(split="test") if any(track.split == "test" for track in store.tracks) else store
    chosen = make_excerpts(tested, first.excerpt_seconds)
    if out is not None and Path(out).suffix != ".json":
        write_excerpts(Path(out) / "excerpts.jams", chosen, store.sample_rate)
    return chosen


def collect(
    scores: Mapping[str, Sequence[dict]],
    store: Store,
    excerpts: Sequence[MixtureExcerpt],
    models: Mapping[str, Model],
) -> Scores:
    """Return what ``scores.json`` holds: rows, their summary, and each model tested against those after it.

    Args:
        scores: Rows of `score` by model, the one expected to be best first, the mixture among them.
        store: The store of the excerpts.
        excerpts: The scored excerpts.
        models: The checkpoints of each model.

    Raises:
        DataError: No reference can be scored.
    """
    mixture = scores[MIXTURE]
    reasons = Counter(row["left_out"] for row in mixture if row["left_out"])
    if reasons.total() == len(mixture):
        described = {
            SILENT: f"silent, never above {ACTIVITY_DBFS:g} dBFS in any tenth of a second",
            ALONE: "alone in their mixture, with nothing to separate",
            INFINITE: "of infinite ratio",
        }
        found = ", ".join(f"{count} {described[why]}" for why, count in reasons.items())
        raise DataError(
            f"None of the {len(excerpts)} excerpts of {store.folder} can be scored: of {len(mixture)} references, {found}. "
            "Use louder stems, or other or longer excerpts."
        )
    tested = combinations((name for name in scores if name != ORACLE), 2)
    songs = songs_of(excerpts, store.labels)
    comparisons = [{"better": a, "than": b, **compare(scores[a], scores[b], songs)} for a, b in tested]
    corrected = holm([entry["p_value"] for entry in comparisons])
    return {
        "format": FORMAT,
        "sample_rate": store.sample_rate,
        "labels": list(store.labels),
        "models": {
            name: str(model) if isinstance(model, str | Path) else [str(one) for one in model]
            for name, model in models.items()
        },
        "excerpts": [excerpt.plain() for excerpt in excerpts],
        "scores": dict(scores),
        "summary": [entry for rows in scores.values() for entry in summarise(rows)],
        "comparisons": [
            {**entry, "p_holm": p_holm, "verdicts": verdicts(entry, p_holm)}
            for entry, p_holm in zip(comparisons, corrected, strict=True)
        ],
        "left_out": reasons.total(),
        "left_out_references": _left_out_references(scores),
    }


def _left_out_references(scores: Mapping[str, Sequence[dict]]) -> list[dict]:
    """Return the references left out for every model, and those left out for one model because its ratio is infinite."""
    keys = ("excerpt", "track", "start", "label")
    found = [
        {**{key: row[key] for key in keys}, "why": row["left_out"], "estimate": None}
        for row in scores[MIXTURE]
        if row["left_out"]
    ]
    for name, rows in scores.items():
        found += [
            {**{key: row[key] for key in keys}, "why": row["left_out"], "estimate": name}
            for row in rows
            if row["left_out"] == INFINITE
        ]
    return found


def write_example(
    models: Mapping[str, str | Path], store: Store, excerpt: MixtureExcerpt, folder: str | Path, device: str = "auto"
) -> None:
    """Write the audio and the masks of one excerpt, for the page of `nussl_transfer.report`.

    ``folder`` gets ``mixture.wav``, ``references/<label>.wav``; for each model ``<name>/<label>.wav`` and
    ``<name>/masks.npz`` (for each label an array [nf, nt] of 0 to 255); and ``example.json`` with the excerpt and the
    SI-SDR of each estimate and of the mixture (null where it is left out).

    Args:
        models: A checkpoint for each name.
        store: The store of the excerpt.
        excerpt: As from `make_excerpts` or `of_track`.
        folder: Folder to write.
        device: 'auto', 'cpu', 'cuda' or 'mps'.

    Raises:
        CheckpointError: A checkpoint does not separate what the store holds.
        ConfigError: A model's name cannot be the name of a folder, or is taken.
    """
    _check_names(models, {MIXTURE, ORACLE, "references"}, as_folders=True)
    folder, device = Path(folder), resolve_device(device)
    references, sounding = load_excerpts(store, [excerpt])  # [1, ns, samples], [1, ns]
    mixture = load_mixtures(store, [excerpt], references)  # [1, samples]
    ratios = {MIXTURE: si_sdr(references[0], mixture)}
    write_stem(folder / "mixture.wav", mixture[0], store.sample_rate)
    names = safe_names(store.labels)
    for label, reference in zip(store.labels, references[0], strict=True):
        write_stem(folder / "references" / f"{names[label]}.wav", reference, store.sample_rate)
    for model_name, path in models.items():
        ensemble, order = open_for(store, path, device)
        given = torch.from_numpy(mixture).to(ensemble.device)
        found = estimate_sources(ensemble.masks, given, ensemble.stft_params, order)
        estimates, masks = (part.cpu().numpy() for part in found)  # [1, ns, samples], [1, ns, nf, nt]
        for label, estimate in zip(store.labels, estimates[0], strict=True):
            write_stem(folder / model_name / f"{names[label]}.wav", estimate, store.sample_rate)
        small = np.round(255 * masks[0].clip(0, 1)).astype(np.uint8)
        with written_aside(folder / model_name / "masks.npz") as aside, aside.open("wb") as file:
            np.savez_compressed(file, **dict(zip(store.labels, small, strict=True)))
        ratios[model_name] = si_sdr(references[0], estimates[0])
    about = {
        "track": excerpt.track,
        "start": excerpt.start,
        **excerpt.plain(),
        "sample_rate": store.sample_rate,
        "labels": list(store.labels),
        "checkpoints": {name: Path(path).name for name, path in models.items()},
        "si_sdr": {},
    }
    for name, values in ratios.items():
        why = reasons_left_out(sounding, ratios[MIXTURE].numpy()[None], values.numpy()[None])[0]
        about["si_sdr"][name] = {
            label: float(values[index]) if why[index] is None else None for index, label in enumerate(store.labels)
        }
    write_json(folder / "example.json", about)


def _check_names(names: Iterable[str], taken: set[str], as_folders: bool = False) -> None:
    for name in names:
        if name in taken or (as_folders and safe_names([name])[name] != name):
            raise ConfigError(
                f"A model cannot be called {name!r}: {', '.join(sorted(taken))} are taken"
                f"{', and the name must suit a folder' if as_folders else ''}. Call it something else."
            )
