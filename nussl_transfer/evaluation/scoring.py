"""Excerpts through a network, in batches, to scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from nussl import STFTParams
from nussl.ml import SeparationModel
from tqdm import tqdm

from ..builders import PAPER
from ..checkpoints import read_checkpoint
from ..devices import refuse_absent
from ..errors import CheckpointError
from ..separators import refuse_untrained, run_network
from ..store import Store
from ..targets import istft, stft
from .excerpts import MixtureExcerpt, batches, load_excerpts
from .metrics import si_sdr

MIXTURE, ORACLE = "mixture", "oracle"
PAPER_STFT = STFTParams(PAPER.window_length, PAPER.hop_length, PAPER.window_type)

# (mixtures [nb, samples], references [nb, ns, samples]) -> estimates [nb, ns, samples], or [nb, 1, samples] for all
Estimator = Callable[[np.ndarray, np.ndarray], np.ndarray]


def score(
    model: str | Path,
    store: Store,
    excerpts: Sequence[MixtureExcerpt],
    name: str | None = None,
    batch_size: int = 8,
    device: str = "cpu",
    progress: bool = True,
    stft_params: STFTParams = PAPER_STFT,
) -> list[dict]:
    """Returns one row an excerpt and label: how near an estimate comes to the reference.

    Args:
        model: A checkpoint; 'mixture', the mixture itself as the estimate of everything; or 'oracle', masks made from
            the references, min(\\|S\\| / \\|X\\|, 1): what the training loss would have a network reach.
        store: Where the excerpts lie. Its labels must be the checkpoint's.
        excerpts: As from `make_excerpts`.
        name: Name of the estimate in the rows; the model's by default.
        batch_size: Excerpts through the network at once.
        device: 'cpu' or 'cuda'.
        progress: Show a progress bar.
        stft_params: Of the oracle's masks; a checkpoint brings its own.

    Returns:
        Rows ``{"excerpt", "track", "start", "label", "si_sdr", "estimate"}``: the excerpt's place in the list, the
        reference's track and first sample; ``si_sdr`` in dB, None where the reference is silent.

    Raises:
        CheckpointError: The checkpoint has no trained mask head, or its labels, sample rate or channels are not the
            store's.
    """
    name = str(model) if name is None else name
    estimator = _estimator(model, store, device, stft_params)
    rows: list[dict] = []
    first = 0  # not the bar's count, which stays 0 where there is no terminal
    with tqdm(total=len(excerpts), desc=f"scoring {name}", unit="excerpt", disable=None if progress else True) as bar:
        for batch in batches(excerpts, batch_size):
            references, sounds = load_excerpts(store, batch)  # [nb, ns, samples], [nb, ns]
            ratios = si_sdr(references, estimator(references.sum(axis=1), references))  # [nb, ns]
            for index, excerpt in enumerate(batch):
                sources = {source.label: source for source in excerpt.sources}
                for number, label in enumerate(store.labels):
                    value = float(ratios[index, number]) if sounds[index, number] else None
                    source = sources.get(label, excerpt.sources[0])  # one that is not there has no place of its own
                    where = {"track": source.track.name, "start": source.start, "label": label}
                    rows.append({"excerpt": first + index, **where, "si_sdr": value, "estimate": name})
            first += len(batch)
            bar.update(len(batch))
    return rows


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
        self.batches = [load_excerpts(store, batch) for batch in batches(excerpts, batch_size)]
        self.mixture_si_sdr = self._mean(lambda mixtures, references: mixtures[:, None])

    def __call__(self, model: SeparationModel) -> float:
        """Returns the mean SI-SDR in dB over all excerpts and labels, of the model as it is now."""
        return self._mean(lambda mixtures, references: estimate_sources(model, mixtures, self.stft_params)[0])

    def _mean(self, estimator: Estimator) -> float:
        ratios = [si_sdr(refs, estimator(refs.sum(axis=1), refs))[sounds] for refs, sounds in self.batches]
        found = np.concatenate(ratios)
        return float(found.mean()) if len(found) else float("nan")


def estimate_sources(
    model: SeparationModel, mixtures: np.ndarray, stft_params: STFTParams
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a model's estimates of equally long mono mixtures, and its masks, all in one batch on its own device.

    They are those of nussl's ``DeepMaskEstimation`` on each mixture alone.

    Shape:
        [nb, samples] -> float32 [nb, ns, samples], float32 [nb, ns, nf, nt]
    """
    flags = [(module, module.training) for module in model.modules()]
    audio = torch.from_numpy(np.ascontiguousarray(mixtures)).to(next(model.parameters()).device)
    try:
        model.eval()
        spectrum = stft(audio, stft_params)  # [nb, nf, nt]
        magnitude = spectrum.abs().transpose(1, 2)[..., None]  # [nb, nt, nf, nc = 1]
        masks = run_network(model, magnitude, "mask")[..., 0, :].permute(0, 3, 2, 1)  # [nb, ns, nf, nt]
        estimates = istft(masks * spectrum[:, None], stft_params, audio.shape[-1])
    finally:
        # Not model.train(): a frozen part may have been left in eval on purpose.
        for module, training in flags:
            module.training = training
    return estimates.cpu().numpy(), masks.cpu().numpy()


def load_for(store: Store, path: str | Path, device: str = "cpu") -> tuple[SeparationModel, STFTParams]:
    """Returns a checkpoint's network and STFT, after making sure that it separates what the store holds.

    Raises:
        CheckpointError: See `score`.
        ConfigError: There is no such device.
    """
    refuse_absent(device)
    model, info = read_checkpoint(path)
    refuse_untrained(path, info.mode, model)
    asked = f"{path} was to be scored on {store.folder}"
    if tuple(sorted(info.labels)) != store.labels:
        raise CheckpointError(
            f"{asked}: it separates {', '.join(info.labels)}, the store holds {', '.join(store.labels)}. Prepare the "
            "store with the checkpoint's labels: group stems, or leave some out."
        )
    if info.sample_rate != store.sample_rate:
        raise CheckpointError(
            f"{asked}: it works at {info.sample_rate} Hz, the store at {store.sample_rate} Hz. Prepare the store at "
            f"{info.sample_rate} Hz."
        )
    channels = model.layers["mask"].num_audio_channels
    if channels != 1:
        raise CheckpointError(
            f"{asked}: it separates {channels} channels together, a store is mono. Take a mono checkpoint."
        )
    return model.to(device), info.stft_params


def _estimator(model: str | Path, store: Store, device: str, stft_params: STFTParams) -> Estimator:
    if model == MIXTURE:
        return lambda mixtures, references: mixtures[:, None]
    if model == ORACLE:
        return lambda mixtures, references: _oracle(mixtures, references, stft_params)
    network, own_params = load_for(store, model, device)
    return lambda mixtures, references: estimate_sources(network, mixtures, own_params)[0]


def _oracle(mixtures: np.ndarray, references: np.ndarray, params: STFTParams) -> np.ndarray:
    spectrum = stft(torch.from_numpy(mixtures), params)[:, None]  # [nb, 1, nf, nt]
    wanted = stft(torch.from_numpy(references), params).abs()  # [nb, ns, nf, nt]
    masks = (wanted / spectrum.abs().clamp(min=1e-12)).clamp(max=1)
    return istft(masks * spectrum, params, mixtures.shape[-1]).numpy()
