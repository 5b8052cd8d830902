"""Score networks, ensembles, the mixture and the oracle mask on a list of excerpts: SI-SDR, one row per reference.

A reference is left out of every mean and test, and its row says why, if its ratio does not measure separation:

* it is silent: never above -60 dBFS;
* it is alone in its mixture: no other source sounds, so the mixture equals the reference;
* its ratio is infinite: an estimate is exactly right, or silent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from nussl import STFTParams
from tqdm import tqdm

from ..errors import DataError
from ..runtime.device import resolve_device
from ..store.store import Store
from .batches import batches, count_workers, load_excerpts, load_mixtures, map_batches
from .estimators import PAPER_STFT, Estimator, Model, batch_si_sdr, make_estimator, of_mixture, to_device
from .excerpts import MixtureExcerpt, songs_of
from .metrics import BSS_EVAL, bss_eval

SILENT, ALONE, INFINITE = "silent", "alone in its mixture", "infinite ratio"


def score(
    model: Model,
    store: Store,
    excerpts: Sequence[MixtureExcerpt],
    name: str | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    progress: bool = True,
    stft_params: STFTParams = PAPER_STFT,
    museval: bool = False,
) -> list[dict]:
    """Score one model on a list of excerpts, and return one row for each excerpt and label.

    Args:
        model: A checkpoint; several checkpoints, scored as one ensemble; 'mixture', the mixture as the estimate of every
            source; or 'oracle', the oracle magnitude mask min(\\|S\\| / \\|X\\|, 1), which the training loss aims at.
        store: The store of the excerpts. Its labels must be those of the checkpoint.
        excerpts: As from `make_excerpts`.
        name: Name of the estimate in the rows; the model's by default.
        batch_size: Excerpts in a batch; about 64 s of audio by default.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        progress: Show a progress bar.
        stft_params: STFT of the oracle mask; a checkpoint has its own.
        museval: Also compute museval's ratios, as in `bss_eval`: hundreds of times slower.

    Returns:
        Rows ``{"excerpt", "track", "start", "song", "label", "si_sdr", "improvement", "left_out", "estimate"}``: the index
        of the excerpt, the track of the reference and its first sample, the song that the track was made from (or the
        track), the SI-SDR in dB, and its improvement over the mixture's. If the reference is left out, ``si_sdr`` and
        ``improvement`` are None, and ``left_out`` says why. With ``museval`` also ``sdr``, ``sir`` and ``sar``.

    Raises:
        CheckpointError: The checkpoint has no trained mask head, or its labels, sample rate or channels are not those of
            the store.
        ConfigError: There is no such device, or the checkpoints do not separate together.
        DataError: There are no excerpts, or a stem cannot be read.
    """
    name = str(model) if name is None else name
    return score_each({name: model}, store, excerpts, batch_size, device, progress, stft_params, museval)[name]


def score_each(
    models: Mapping[str, Model],
    store: Store,
    excerpts: Sequence[MixtureExcerpt],
    batch_size: int | None = None,
    device: str = "auto",
    progress: bool = True,
    stft_params: STFTParams = PAPER_STFT,
    museval: bool = False,
) -> dict[str, list[dict]]:
    """Return the rows of several models by name, each as from `score`; the excerpts are read once for all."""
    if not excerpts:
        raise DataError(f"There is nothing to score on {store.folder}: the list of excerpts is empty. Give at least one.")
    device = resolve_device(device)
    # Open all checkpoints before scoring anything, so that a wrong name fails at once.
    estimators = {name: make_estimator(model, store, device, stft_params) for name, model in models.items()}
    work = partial(_score_batch, estimators, store, excerpts, device, museval)
    bar = {"desc": f"scoring {', '.join(models)}", "unit": "excerpt", "disable": None if progress else True}
    with tqdm(total=len(excerpts), **bar) as shown:
        parts = list(batches(excerpts, batch_size, count_workers(device)))
        found = map_batches(work, parts, device, lambda scores: shown.update(len(scores.indices)))
    order = [index for scores in found for index in scores.indices]
    sounding = _in_order([scores.sounding for scores in found], order)
    of_mixtures = _in_order([scores.mixture for scores in found], order)
    rows = {}
    for name in models:
        columns = {key: _in_order([scores.of[name][key] for scores in found], order) for key in found[0].of[name]}
        why = reasons_left_out(sounding, of_mixtures, columns["si_sdr"])
        with np.errstate(invalid="ignore"):
            columns["improvement"] = columns["si_sdr"] - of_mixtures
        rows[name] = _rows(name, excerpts, store.labels, why, columns)
    return rows


def reasons_left_out(sounding: np.ndarray, mixture: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Return the reason why each reference is left out; None if it counts.

    Args:
        sounding: Whether each reference sounds.
        mixture: SI-SDR of the mixture in dB.
        estimate: SI-SDR of the estimate in dB.

    Shape:
        bool [excerpts, ns], [excerpts, ns], [excerpts, ns] -> object [excerpts, ns]

    >>> inf = float("inf")
    >>> sounding = np.array([[True, True], [True, False]])
    >>> reasons_left_out(sounding, np.array([[1.0, -1.0], [60.0, -60.0]]), np.array([[9.0, -inf], [50.0, 0.0]])).tolist()
    [[None, 'infinite ratio'], ['alone in its mixture', 'silent']]
    """
    why = np.full(sounding.shape, None, dtype=object)
    why[~np.isfinite(estimate)] = INFINITE
    why[(mixture == np.inf) | (sounding.sum(axis=1, keepdims=True) == 1)] = ALONE
    why[~sounding | np.isnan(mixture)] = SILENT
    return why


@dataclass
class _Scores:
    """Scores of a batch: the indices of its excerpts, which references sound, and [nb, ns] measures by estimate."""

    indices: list[int]
    sounding: np.ndarray
    mixture: torch.Tensor  # SI-SDR
    of: dict[str, dict[str, torch.Tensor | np.ndarray]]  # estimate -> measure -> [nb, ns]


@torch.inference_mode()
def _score_batch(
    estimators: Mapping[str, Estimator],
    store: Store,
    excerpts: Sequence[MixtureExcerpt],
    device: str,
    museval: bool,
    indices: list[int],
) -> _Scores:
    """Read a batch of excerpts and score all estimates on it."""
    batch = [excerpts[index] for index in indices]
    audio, sounding = load_excerpts(store, batch)  # [nb, ns, samples], [nb, ns]
    references = to_device(device, audio)
    given = to_device(device, load_mixtures(store, batch, audio)) if store.has_mixtures else None
    mixtures = references.sum(dim=1) if given is None else given  # [nb, samples]
    scores = _Scores(indices, sounding, batch_si_sdr(of_mixture, mixtures, references), {})
    for name, estimator in estimators.items():
        # Leave the tensors on the device: a copy after each batch would wait for the GPU.
        same = estimator is of_mixture
        scores.of[name] = {"si_sdr": scores.mixture if same else batch_si_sdr(estimator, mixtures, references)}
        if museval:
            scores.of[name].update(_bss_eval(estimator, mixtures, references))
    return scores


def _bss_eval(estimator: Estimator, mixtures: torch.Tensor, references: torch.Tensor) -> dict[str, np.ndarray]:
    """Return museval's ratios of a batch, [nb, ns] each."""
    found = []
    for part, estimates in estimator(mixtures, references):
        wanted = references[part].cpu().numpy()
        given = estimates.expand(wanted.shape).cpu().numpy()
        found += [bss_eval(*pair) for pair in zip(wanted, given, strict=True)]
    return {key: np.stack([one[key] for one in found]) for key in BSS_EVAL}


def _in_order(parts: Sequence[torch.Tensor | np.ndarray], order: Sequence[int]) -> np.ndarray:
    """Return the results of all batches as one array on the host, in the order of the excerpts."""
    tensors = [part for part in parts if isinstance(part, torch.Tensor)]
    # Copy the results of all batches at once, because each copy waits for the GPU.
    joined = torch.cat(tensors).cpu().numpy() if tensors else np.concatenate(parts)
    placed = np.empty_like(joined)
    placed[order] = joined
    return placed


def _rows(
    name: str,
    excerpts: Sequence[MixtureExcerpt],
    labels: Sequence[str],
    why: np.ndarray,
    columns: Mapping[str, np.ndarray],
) -> list[dict]:
    """Return the rows of one estimate; ``why`` and the columns are [excerpts, ns]."""
    rows, songs = [], songs_of(excerpts, labels)
    for index, excerpt in enumerate(excerpts):
        sources = {source.label: source for source in excerpt.sources}
        for number, label in enumerate(labels):
            source = sources.get(label, excerpt.sources[0])  # an absent source has no start of its own
            where = {"track": source.track.name, "start": source.start, "song": songs[label][index], "label": label}
            reason = why[index, number]
            measured = {
                key: float(values[index, number]) if reason is None and np.isfinite(values[index, number]) else None
                for key, values in columns.items()
            }
            rows.append({"excerpt": index, **where, **measured, "left_out": reason, "estimate": name})
    return rows
