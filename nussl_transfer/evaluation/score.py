"""Excerpts in batches, through what is to be scored, to scores: audio goes to the device, and scores alone come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from nussl import STFTParams
from nussl.ml import SeparationModel
from tqdm import tqdm

from ..errors import DataError
from ..store.store import Store
from .batches import batches, load_excerpts
from .estimates import PAPER_STFT, Estimator, estimator_of, of_mixture, of_network
from .excerpts import MixtureExcerpt, songs_of
from .metrics import BSS_EVAL, bss_eval, si_sdr
from .workers import results_of, workers_on


def score(
    model: str | Path,
    store: Store,
    excerpts: Sequence[MixtureExcerpt],
    name: str | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    stft_params: STFTParams = PAPER_STFT,
    museval: bool = False,
) -> list[dict]:
    """Returns one row an excerpt and label: how near an estimate comes to the reference.

    Args:
        model: A checkpoint; 'mixture', the mixture itself as the estimate of everything; or 'oracle', masks made from
            the references, min(\\|S\\| / \\|X\\|, 1): what the training loss would have a network reach.
        store: Where the excerpts lie. Its labels must be the checkpoint's.
        excerpts: As from `make_excerpts`.
        name: Name of the estimate in the rows; the model's by default.
        batch_size: Excerpts through the network at once; as many as make a minute or two when None.
        device: 'cpu' or 'cuda'.
        progress: Show a progress bar.
        stft_params: Of the oracle's masks; a checkpoint brings its own.
        museval: Also museval's ratios, as in `bss_eval`: hundreds of times slower.

    Returns:
        Rows ``{"excerpt", "track", "start", "song", "label", "si_sdr", "improvement", "estimate"}``: the excerpt's place in
        the list, the reference's track and first sample, and what that track was made from, or its name; ``si_sdr`` in dB,
        and ``improvement``, how far that is above the mixture's, both None where the reference is silent. With ``museval``
        also ``sdr``, ``sir`` and ``sar`` in dB, None besides where museval has none.

    Raises:
        CheckpointError: The checkpoint has no trained mask head, or its labels, sample rate or channels are not the
            store's.
        ConfigError: There is no such device.
        DataError: There are no excerpts, or a stem cannot be read.
    """
    name = str(model) if name is None else name
    return score_each({name: model}, store, excerpts, batch_size, device, progress, stft_params, museval)[name]


def score_each(
    models: Mapping[str, str | Path],
    store: Store,
    excerpts: Sequence[MixtureExcerpt],
    batch_size: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    stft_params: STFTParams = PAPER_STFT,
    museval: bool = False,
) -> dict[str, list[dict]]:
    """Returns the rows of several estimates by name, each as `score` gives them; excerpts are read once for all."""
    if not excerpts:
        raise DataError(f"Excerpts of {store.folder} were to be scored: the list holds none. Give one excerpt at least.")
    # All are opened before anything is scored: a wrong name should not cost an hour.
    estimators = {name: estimator_of(model, store, device, stft_params) for name, model in models.items()}
    work = partial(_score_batch, estimators, store, excerpts, device, museval)
    bar = {"desc": f"scoring {', '.join(models)}", "unit": "excerpt", "disable": None if progress else True}
    found = []
    with tqdm(total=len(excerpts), **bar) as shown:
        for scores in results_of(work, batches(excerpts, batch_size, workers_on(device)), device):
            found.append(scores)
            shown.update(len(scores.places))
    order = [place for scores in found for place in scores.places]
    sounds = _in_order([scores.sounds for scores in found], order)
    of_mixtures = _in_order([scores.mixture for scores in found], order)
    rows = {}
    for name in models:
        columns = {key: _in_order([scores.of[name][key] for scores in found], order) for key in found[0].of[name]}
        columns["improvement"] = columns["si_sdr"] - of_mixtures
        rows[name] = _rows(name, excerpts, store.labels, sounds, columns)
    return rows


@dataclass
class _Scores:
    """What is found of a batch: the excerpts' places, which references sound, and measures, [nb, ns] each."""

    places: list[int]
    sounds: np.ndarray
    mixture: torch.Tensor  # SI-SDR
    of: dict[str, dict[str, torch.Tensor | np.ndarray]]  # name of an estimate, of a measure


@torch.inference_mode()
def _score_batch(
    estimators: Mapping[str, Estimator],
    store: Store,
    excerpts: Sequence[MixtureExcerpt],
    device: str,
    museval: bool,
    places: list[int],
) -> _Scores:
    """Reads some of the excerpts, and scores all estimates of them."""
    audio, sounds = load_excerpts(store, [excerpts[place] for place in places])  # [nb, ns, samples], [nb, ns]
    references = _on(device, audio)
    mixtures = references.sum(dim=1)  # [nb, samples]
    scores = _Scores(places, sounds, _si_sdr(of_mixture, mixtures, references), {})
    for name, estimator in estimators.items():
        # Tensors stay where they are: to bring them here now would be to wait for the device, batch by batch.
        same = estimator is of_mixture
        scores.of[name] = {"si_sdr": scores.mixture if same else _si_sdr(estimator, mixtures, references)}
        if museval:
            scores.of[name].update(_bss_eval(estimator, mixtures, references))
    return scores


class SourceSeparationProbe:
    """Measures a live model on a few fixed excerpts: the mean SI-SDR in dB, for a curve over training.

    The excerpts are read once. The model is put back as it was: each module's training flag, its outputs.

    Args:
        store: Where the excerpts lie.
        excerpts: As from `make_excerpts`; a dozen or two.
        stft_params: The model's.
        batch_size: Excerpts through the network at once.

    Attributes:
        mixture_si_sdr: The same mean with the mixture as the estimate; NaN, as every measure, if no reference sounds.
    """

    def __init__(self, store: Store, excerpts: Sequence[MixtureExcerpt], stft_params: STFTParams, batch_size: int = 16):
        self.stft_params = stft_params
        self.batches = [
            load_excerpts(store, [excerpts[place] for place in places]) for places in batches(excerpts, batch_size)
        ]
        self.mixture_si_sdr = self._mean(of_mixture, "cpu")

    def __call__(self, model: SeparationModel) -> float:
        """Returns the mean SI-SDR in dB over all excerpts and labels, of the model as it is now."""
        device = next(model.parameters()).device
        return self._mean(lambda mixtures, references: of_network(model, mixtures, self.stft_params), device)

    @torch.inference_mode()
    def _mean(self, estimator: Estimator, device: torch.device | str) -> float:
        found = []
        for audio, sounds in self.batches:
            references = _on(device, audio)
            found.append(_si_sdr(estimator, references.sum(dim=1), references).cpu().numpy()[sounds])
        values = np.concatenate(found)
        return float(values.mean()) if len(values) else float("nan")


def _on(device: torch.device | str, audio: np.ndarray) -> torch.Tensor:
    """Returns audio on a device; where that is another one, copying goes on while the next is read."""
    tensor = torch.from_numpy(audio)
    return tensor if torch.device(device).type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def _si_sdr(estimator: Estimator, mixtures: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Returns the SI-SDR of a batch, [nb, ns]."""
    return torch.cat([si_sdr(references[part], estimates) for part, estimates in estimator(mixtures, references)])


def _bss_eval(estimator: Estimator, mixtures: torch.Tensor, references: torch.Tensor) -> dict[str, np.ndarray]:
    """Returns museval's ratios of a batch, [nb, ns] each."""
    found = []
    for part, estimates in estimator(mixtures, references):
        wanted = references[part].cpu().numpy()
        given = estimates.expand(wanted.shape).cpu().numpy()
        found += [bss_eval(*pair) for pair in zip(wanted, given, strict=True)]
    return {key: np.stack([one[key] for one in found]) for key in BSS_EVAL}


def _in_order(parts: Sequence[torch.Tensor | np.ndarray], order: Sequence[int]) -> np.ndarray:
    """Returns what was found batch by batch as one array on the host, in the order of the excerpts."""
    joined = torch.cat(parts).cpu().numpy() if torch.is_tensor(parts[0]) else np.concatenate(parts)
    placed = np.empty_like(joined)
    placed[order] = joined
    return placed


def _rows(
    name: str,
    excerpts: Sequence[MixtureExcerpt],
    labels: Sequence[str],
    sounds: np.ndarray,
    columns: Mapping[str, np.ndarray],
) -> list[dict]:
    """Returns the rows of one estimate; ``sounds`` and the columns are [excerpts, ns]."""
    rows, songs = [], songs_of(excerpts, labels)
    for place, excerpt in enumerate(excerpts):
        sources = {source.label: source for source in excerpt.sources}
        for number, label in enumerate(labels):
            source = sources.get(label, excerpt.sources[0])  # one that is not there has no place of its own
            where = {"track": source.track.name, "start": source.start, "song": songs[label][place], "label": label}
            measured = {key: _plain(values[place, number], sounds[place, number]) for key, values in columns.items()}
            rows.append({"excerpt": place, **where, **measured, "estimate": name})
    return rows


def _plain(value: np.floating, counts: np.bool_) -> float | None:
    return float(value) if counts and np.isfinite(value) else None
