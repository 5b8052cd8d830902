"""Stage 10, evaluation: fixed excerpts, SI-SDR, and whether a difference is one.

`evaluate` scores checkpoints and the mixture on one list of excerpts and writes ``scores.json``::

    {"format": 1, "sample_rate": 16000, "labels": ["bassoon", ...],
     "models": {"fine-tuned": "runs/fine-tuned/checkpoints/best.model.pth", ...},
     "excerpts": [{"frames", "sources": [{"track", "label", "start", "frames", "gain", "pitch", "stretch"}, ...]}, ...],
     "scores": {"fine-tuned": [{"excerpt", "track", "start", "song", "label", "si_sdr", "improvement", "estimate"}, ...],
                ...},                                               dB; null: left out
     "summary": [{"estimate", "label", "n", "mean", "median", "improvement"}, ...],    label null: all together
     "comparisons": [{"better", "than", "n", "songs", "mean_difference", "median_difference",
                     "interval": [low, high], "confidence",      of the median; null where there is but one song
                     "effect_size", "p_value", "p_holm", ...}, ...],
     "left_out": 3}                                                                    references that are silent
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from ..checkpoints.checkpoint import read_info
from ..errors import ConfigError, DataError
from ..runtime.files import write_json, written_aside
from ..separation.naming import safe_names
from ..store.store import Store, write_stem
from .batches import load_excerpts
from .estimates import MIXTURE, ORACLE, PAPER_STFT, estimate_sources, load_for
from .excerpts import MixtureExcerpt, drawn_excerpts, make_excerpts, of_track, silent_excerpts, songs_of
from .jams import read_excerpts, write_excerpts
from .metrics import LIMIT_DB, bss_eval, si_sdr
from .score import SourceSeparationProbe, score, score_each
from .statistics import compare, holm
from .summary import summarise

__all__ = [
    "LIMIT_DB", "MIXTURE", "ORACLE", "MixtureExcerpt", "SourceSeparationProbe", "bss_eval", "collect", "compare",
    "drawn_excerpts", "estimate_sources", "evaluate", "make_excerpts", "of_track", "read_excerpts", "score", "score_each",
    "si_sdr", "silent_excerpts", "songs_of", "summarise", "write_example", "write_excerpts",
]  # fmt: skip

FORMAT = 1


def evaluate(
    models: Mapping[str, str | Path],
    store: Store,
    excerpts: Sequence[MixtureExcerpt],
    out: str | Path,
    oracle: bool = False,
    batch_size: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    museval: bool = False,
) -> dict:
    """Scores checkpoints and the mixture on the same excerpts, tests the differences, and writes ``scores.json``.

    Args:
        models: A name and a checkpoint each, **the one expected to be best first**: each is tested for being better
            than those after it, and all for being better than the mixture. The direction of a one-sided test has to
            be chosen before the scores are known.
        store: Where the excerpts lie.
        excerpts: As from `make_excerpts` or `read_excerpts`.
        out: The file to write, or a folder to write ``scores.json`` into.
        oracle: Also score the masks made from the references, as a ceiling.
        batch_size: Excerpts through a network at once; as many as make a minute or two when None.
        device: 'cpu' or 'cuda'.
        progress: Show a progress bar.
        museval: Also museval's SDR, SIR and SAR, as in `bss_eval`: hundreds of times slower.

    Returns:
        What was written; see this module's own text.

    Raises:
        CheckpointError: A checkpoint does not separate what the store holds.
        ConfigError: A model is named 'mixture' or 'oracle'.
        DataError: There is no excerpt, or no reference in any of them sounds.
    """
    _check_names(models, {MIXTURE, ORACLE})
    if not excerpts:
        raise DataError(f"Scores on {store.folder} were asked for: the list of excerpts is empty. Make one.")
    asked = {**models, MIXTURE: MIXTURE, **({ORACLE: ORACLE} if oracle else {})}
    stft_params = next((read_info(path).stft_params for path in models.values()), PAPER_STFT)
    scores = score_each(asked, store, excerpts, batch_size, device, progress, stft_params, museval)
    result = collect(scores, store, excerpts, models)
    out = Path(out)
    write_json(out if out.suffix == ".json" else out / "scores.json", result)
    return result


def collect(
    scores: Mapping[str, Sequence[dict]],
    store: Store,
    excerpts: Sequence[MixtureExcerpt],
    models: Mapping[str, str | Path],
) -> dict:
    """Returns what a ``scores.json`` holds: rows, their summary, and each estimate tested against those after it.

    Args:
        scores: Rows of `score` by estimate, the one expected to be best first, the mixture among them.
        store: Where the excerpts lie.
        excerpts: What was scored.
        models: Where each model is.

    Raises:
        DataError: No reference in any excerpt sounds.
    """
    left_out = sum(row["si_sdr"] is None for row in scores[MIXTURE])
    if left_out == len(scores[MIXTURE]):
        raise DataError(
            f"Scores on {len(excerpts)} excerpts of {store.folder} were asked for: no reference sounds in any of "
            "them. Take others."
        )
    tested = combinations((name for name in scores if name != ORACLE), 2)
    songs = songs_of(excerpts, store.labels)
    comparisons = [{"better": a, "than": b, **compare(scores[a], scores[b], songs)} for a, b in tested]
    corrected = holm([entry["p_value"] for entry in comparisons])
    return {
        "format": FORMAT,
        "sample_rate": store.sample_rate,
        "labels": list(store.labels),
        "models": {name: str(path) for name, path in models.items()},
        "excerpts": [excerpt.plain() for excerpt in excerpts],
        "scores": dict(scores),
        "summary": [entry for rows in scores.values() for entry in summarise(rows)],
        "comparisons": [
            {**entry, "p_holm": p_holm} for entry, p_holm in zip(comparisons, corrected, strict=True)
        ],
        "left_out": left_out,
    }


def write_example(
    models: Mapping[str, str | Path], store: Store, excerpt: MixtureExcerpt, folder: str | Path, device: str = "cpu"
) -> None:
    """Writes what one excerpt sounds and looks like, for the page that `nussl_transfer.report` makes.

    Into ``folder``: ``mixture.wav``, ``references/<label>.wav``; for each model ``<name>/<label>.wav`` and
    ``<name>/masks.npz`` (one array [nf, nt] of 0 to 255 a label); ``example.json`` with the excerpt, and the SI-SDR of
    each estimate and of the mixture.

    Args:
        models: A name and a checkpoint each.
        store: Where the excerpt lies.
        excerpt: As from `make_excerpts` or `of_track`.
        folder: Folder to write.
        device: 'cpu' or 'cuda'.

    Raises:
        CheckpointError: A checkpoint does not separate what the store holds.
        ConfigError: A model's name cannot be the name of a folder, or is one that is used.
    """
    _check_names(models, {MIXTURE, ORACLE, "references"}, as_folders=True)
    folder = Path(folder)
    references, sounds = load_excerpts(store, [excerpt])  # [1, ns, samples], [1, ns]
    mixture = references.sum(axis=1)  # [1, samples]
    ratios = {MIXTURE: si_sdr(references[0], mixture)}
    write_stem(folder / "mixture.wav", mixture[0], store.sample_rate)
    names = safe_names(store.labels)
    for label, reference in zip(store.labels, references[0], strict=True):
        write_stem(folder / "references" / f"{names[label]}.wav", reference, store.sample_rate)
    for model_name, path in models.items():
        network, stft_params = load_for(store, path, device)
        found = estimate_sources(network, torch.from_numpy(mixture), stft_params)
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
        "si_sdr": {
            name: {
                label: float(values[index]) if sounds[0, index] else None
                for index, label in enumerate(store.labels)
            }
            for name, values in ratios.items()
        },
    }
    write_json(folder / "example.json", about)


def _check_names(names: Iterable[str], taken: set[str], as_folders: bool = False) -> None:
    for name in names:
        if name in taken or (as_folders and safe_names([name])[name] != name):
            raise ConfigError(
                f"A model was to be called {name!r}: {', '.join(sorted(taken))} are taken"
                f"{', and it must do as the name of a folder' if as_folders else ''}. Call it something else."
            )
