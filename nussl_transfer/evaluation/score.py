"""Score networks, ensembles, the mixture and the oracle mask on a list of excerpts: SI-SDR, one row per reference.

A reference is left out of every mean and test, and its row says why, if its ratio does not measure separation:

* it is silent: never above -60 dBFS;
* it is alone in its mixture: no other source sounds, so the mixture equals the reference;
* its ratio is infinite: an estimate is exactly right, or silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from nussl import STFTParams
from nussl.ml import SeparationModel
from tqdm import tqdm

from ..audio.si_sdr import si_sdr
from ..audio.stft import istft, stft
from ..errors import CheckpointError, DataError
from ..networks.chimera import PAPER
from ..networks.forward import run_network
from ..runtime.device import resolve_device
from ..runtime.log import logger
from ..separation.ensemble import Ensemble
from ..store.store import Store
from .batches import batches, count_workers, load_excerpts, load_mixtures, map_batches
from .excerpts import MixtureExcerpt, songs_of
from .metrics import BSS_EVAL, bss_eval

MIXTURE, ORACLE = "mixture", "oracle"
SILENT, ALONE, INFINITE = "silent", "alone in its mixture", "infinite ratio"
PAPER_STFT = STFTParams(PAPER.window_length, PAPER.hop_length, PAPER.window_type)

# A checkpoint, or several whose masks are averaged.
Model = str | Path | Sequence[str | Path]
# Magnitudes [nb, nt, nf, nc] -> masks [nb, nt, nf, nc, ns]
Masks = Callable[[torch.Tensor], torch.Tensor]
# (mixtures [nb, samples], references [nb, ns, samples]) -> slices of the batch, and their estimates [k, ns, samples], or
# [k, 1, samples] for one estimate of all sources.
Estimator = Callable[[torch.Tensor, torch.Tensor], Iterator[tuple[slice, torch.Tensor]]]


# Rows ------------------------------------------------------------------------------------------------------------------


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
        store: Where the excerpts lie. Its labels must be those of the checkpoint.
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
        track), SI-SDR in dB, and how far it is above the mixture's. ``si_sdr`` and ``improvement`` are None where the
        reference is left out, and ``left_out`` says why (else None). With ``museval`` also ``sdr``, ``sir`` and ``sar``.

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
        raise DataError(f"There is nothing to score on {store.folder}: the list of excerpts is empty. Give one at least.")
    device = resolve_device(device)
    # Open all checkpoints before scoring anything, so that a wrong name fails at once.
    estimators = {name: make_estimator(model, store, device, stft_params) for name, model in models.items()}
    work = partial(_score_batch, estimators, store, excerpts, device, museval)
    bar = {"desc": f"scoring {', '.join(models)}", "unit": "excerpt", "disable": None if progress else True}
    with tqdm(total=len(excerpts), **bar) as shown:
        parts = list(batches(excerpts, batch_size, count_workers(device)))
        found = map_batches(work, parts, device, lambda scores: shown.update(len(scores.places)))
    order = [place for scores in found for place in scores.places]
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
    """Return why references are left out, None where one counts.

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

    places: list[int]
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
    places: list[int],
) -> _Scores:
    """Read a batch of excerpts and score all estimates on it."""
    batch = [excerpts[place] for place in places]
    audio, sounding = load_excerpts(store, batch)  # [nb, ns, samples], [nb, ns]
    references = _on(device, audio)
    given = _on(device, load_mixtures(store, batch, audio)) if store.has_mixtures else None
    mixtures = references.sum(dim=1) if given is None else given  # [nb, samples]
    scores = _Scores(places, sounding, _si_sdr(of_mixture, mixtures, references), {})
    for name, estimator in estimators.items():
        # The tensors stay on the device: copying them here would wait for it after each batch.
        same = estimator is of_mixture
        scores.of[name] = {"si_sdr": scores.mixture if same else _si_sdr(estimator, mixtures, references)}
        if museval:
            scores.of[name].update(_bss_eval(estimator, mixtures, references))
    return scores


def _si_sdr(estimator: Estimator, mixtures: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Return the SI-SDR of a batch, [nb, ns]."""
    return torch.cat([si_sdr(references[part], estimates) for part, estimates in estimator(mixtures, references)])


def _bss_eval(estimator: Estimator, mixtures: torch.Tensor, references: torch.Tensor) -> dict[str, np.ndarray]:
    """Return museval's ratios of a batch, [nb, ns] each."""
    found = []
    for part, estimates in estimator(mixtures, references):
        wanted = references[part].cpu().numpy()
        given = estimates.expand(wanted.shape).cpu().numpy()
        found += [bss_eval(*pair) for pair in zip(wanted, given, strict=True)]
    return {key: np.stack([one[key] for one in found]) for key in BSS_EVAL}


def _on(device: torch.device | str, audio: np.ndarray) -> torch.Tensor:
    """Return audio on a device; a GPU copies while the next batch is read."""
    tensor = torch.from_numpy(audio)
    kind = torch.device(device).type
    if kind == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor if kind == "cpu" else tensor.to(device)


def _in_order(parts: Sequence[torch.Tensor | np.ndarray], order: Sequence[int]) -> np.ndarray:
    """Return the results of all batches as one array on the host, in the order of the excerpts."""
    tensors = [part for part in parts if isinstance(part, torch.Tensor)]
    # One copy from the device for all batches: each copy waits for it.
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
    for place, excerpt in enumerate(excerpts):
        sources = {source.label: source for source in excerpt.sources}
        for number, label in enumerate(labels):
            source = sources.get(label, excerpt.sources[0])  # an absent source has no start of its own
            where = {"track": source.track.name, "start": source.start, "song": songs[label][place], "label": label}
            reason = why[place, number]
            measured = {
                key: float(values[place, number]) if reason is None and np.isfinite(values[place, number]) else None
                for key, values in columns.items()
            }
            rows.append({"excerpt": place, **where, **measured, "left_out": reason, "estimate": name})
    return rows


# The curve of a training ------------------------------------------------------------------------------------------------


class SourceSeparationProbe:
    """Measure the mean SI-SDR in dB of a network in training, on a few fixed excerpts.

    The excerpts are read once. References that are silent or alone in their mixture are left out, and so are infinite
    ratios. The network is left as it was: training flags and outputs.

    Args:
        store: Where the excerpts lie.
        excerpts: As from `make_excerpts`; a dozen or two.
        stft_params: STFT of the network.
        batch_size: Excerpts in a batch.

    Attributes:
        mixture_si_sdr: The mean of the mixture over the same references; NaN if none of them counts.
        left_out: Number of references that are silent or alone in their mixture.
    """

    def __init__(self, store: Store, excerpts: Sequence[MixtureExcerpt], stft_params: STFTParams, batch_size: int = 16):
        self.stft_params = stft_params
        self._batches: list[tuple[np.ndarray, np.ndarray]] = []
        mixture, self.left_out = [], 0
        for places in batches(excerpts, batch_size):
            audio, sounding = load_excerpts(store, [excerpts[place] for place in places])
            references = torch.from_numpy(audio)
            ratios = _si_sdr(of_mixture, references.sum(dim=1), references).numpy()
            counts = ~reasons_left_out(sounding, ratios, ratios).astype(bool)  # None: it counts
            self._batches.append((audio, counts))
            mixture.append(ratios[counts])
            self.left_out += int((~counts).sum())
        self.mixture_si_sdr = _mean(mixture)
        if self.left_out:
            logger.info("The curve leaves out %d references that are silent or alone in their mixture.", self.left_out)

    @torch.inference_mode()
    def __call__(self, model: SeparationModel) -> float:
        """Return the mean SI-SDR in dB over all references that count; NaN if there are none."""
        device = next(model.parameters()).device
        found = []
        masks = partial(run_network, model, output="mask", exact=False)
        estimator = partial(_of_masks, masks, self.stft_params, None)
        with _in_evaluation_mode(model):
            for audio, counts in self._batches:
                references = _on(device, audio)
                found.append(_si_sdr(estimator, references.sum(dim=1), references).cpu().numpy()[counts])
        return _mean(found)


@contextmanager
def _in_evaluation_mode(model: SeparationModel) -> Iterator[None]:
    """Put a network into evaluation mode, and restore the flag of each part: a frozen part may be in it on purpose."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in flags:
            module.training = training


def _mean(parts: Sequence[np.ndarray]) -> float:
    """Return the mean of all finite values; NaN if there are none."""
    values = np.concatenate([*parts, np.zeros(0)])
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


# Estimates -------------------------------------------------------------------------------------------------------------


def make_estimator(model: Model, store: Store, device: str = "cpu", stft_params: STFTParams = PAPER_STFT) -> Estimator:
    """Return the estimator of a checkpoint, of an ensemble, of 'mixture' or of 'oracle', on a device.

    Raises:
        CheckpointError: See `open_for`.
        ConfigError: See `open_for`.
    """
    if model == MIXTURE:
        return of_mixture
    if model == ORACLE:
        return partial(_of_oracle, stft_params)
    ensemble, order = open_for(store, model, device)
    return partial(_of_masks, ensemble.masks, ensemble.stft_params, order)


def of_mixture(mixtures: torch.Tensor, references: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the mixture as the estimate of every source."""
    for part in _parts(mixtures):
        yield part, mixtures[part, None]


def _of_masks(
    masks: Masks,
    stft_params: STFTParams,
    order: Sequence[int] | None,
    mixtures: torch.Tensor,
    references: torch.Tensor,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the estimates by masks, in the given order; the masks are computed once for the whole batch."""
    found, spectra = _masks(masks, mixtures, stft_params, order)  # [nb, ns, nf, nt]; [k, nf, nt] each
    for part, spectrum in zip(_parts(mixtures), spectra, strict=True):
        yield part, istft(found[part] * spectrum[:, None], stft_params, mixtures.shape[-1])


def _of_oracle(
    stft_params: STFTParams, mixtures: torch.Tensor, references: torch.Tensor
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the estimates by the oracle magnitude masks min(|S| / |X|, 1)."""
    for part in _parts(mixtures):
        spectrum = stft(mixtures[part, None], stft_params)  # [k, 1, nf, nt]
        masks = stft(references[part], stft_params).abs() / spectrum.abs().clamp(min=1e-12)  # [k, ns, nf, nt]
        yield part, istft(masks.clamp(max=1) * spectrum, stft_params, mixtures.shape[-1])


@torch.inference_mode()
def estimate_sources(
    masks: Masks, mixtures: torch.Tensor, stft_params: STFTParams, order: Sequence[int] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the estimates of equally long mono mixtures, and their masks.

    They are those of nussl's ``DeepMaskEstimation`` on each mixture alone.

    Args:
        masks: Computes masks, such as `Ensemble.masks`.
        mixtures: Equally long mono mixtures, on the device of the networks.
        stft_params: STFT of the networks.
        order: The mask of each source to return; all, in their own order, by default.

    Shape:
        [nb, samples] -> float32 [nb, ns, samples], float32 [nb, ns, nf, nt]
    """
    found, spectra = _masks(masks, mixtures, stft_params, order)
    return istft(found * torch.cat(spectra)[:, None], stft_params, mixtures.shape[-1]), found


def _masks(
    masks: Masks, mixtures: torch.Tensor, stft_params: STFTParams, order: Sequence[int] | None
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return masks [nb, ns, nf, nt] and the spectra of the parts, [k, nf, nt]."""
    spectra = [stft(mixtures[part], stft_params) for part in _parts(mixtures)]
    magnitude = torch.cat([spectrum.transpose(1, 2).abs() for spectrum in spectra])[..., None]  # [nb, nt, nf, nc = 1]
    found = masks(magnitude)[..., 0, :].permute(0, 3, 2, 1)
    return found if order is None or list(order) == sorted(order) else found[:, list(order)], spectra


def _parts(batch: torch.Tensor) -> Iterator[slice]:
    """Yield slices of a batch: on the CPU two items at a time, which fit into its cache; else the whole batch."""
    step = 2 if batch.device.type == "cpu" else len(batch)
    yield from (slice(first, min(first + step, len(batch))) for first in range(0, len(batch), step))


def open_for(store: Store, model: Model, device: str = "cpu") -> tuple[Ensemble, list[int]]:
    """Open a checkpoint or an ensemble to be scored on a store, and return it with the mask of each label of the store.

    Raises:
        CheckpointError: A checkpoint has no trained mask head, or its labels, sample rate or channels are not those of
            the store.
        ConfigError: There is no such device, or the checkpoints do not separate together.
    """
    ensemble = Ensemble(model, device)
    cannot = f"{ensemble.members[0].path} cannot be scored on {store.folder}"
    if tuple(sorted(ensemble.labels)) != store.labels:
        raise CheckpointError(
            f"{cannot}: it separates {', '.join(ensemble.labels)}, the store holds {', '.join(store.labels)}. Prepare the "
            "store with the checkpoint's labels: group stems, or leave some out."
        )
    if ensemble.sample_rate != store.sample_rate:
        raise CheckpointError(
            f"{cannot}: it works at {ensemble.sample_rate} Hz, the store at {store.sample_rate} Hz. Prepare the store at "
            f"{ensemble.sample_rate} Hz."
        )
    if ensemble.channels != 1:
        raise CheckpointError(
            f"{cannot}: it separates {ensemble.channels} channels together, a store is mono. Take a mono checkpoint."
        )
    return ensemble, [ensemble.labels.index(label) for label in store.labels]
