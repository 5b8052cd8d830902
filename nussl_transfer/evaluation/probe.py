"""Measure SI-SDR on test excerpts while a network trains, for the learning curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from nussl import STFTParams
from nussl.ml import SeparationModel

from ..networks.forward import run_network
from ..runtime.log import logger
from ..store.store import Store
from .batches import batches, load_excerpts
from .estimators import batch_si_sdr, of_masks, of_mixture, to_device
from .excerpts import MixtureExcerpt
from .score import reasons_left_out


class SourceSeparationProbe:
    """Measure the mean SI-SDR in dB of a network in training, on a few fixed excerpts.

    The excerpts are read once. References that are silent or alone in their mixture are left out, and so are infinite
    ratios. A call does not change the network, its training flags or its outputs.

    Args:
        store: The store of the excerpts.
        excerpts: As from `make_excerpts`; a dozen or two.
        stft_params: STFT of the network.
        batch_size: Excerpts in a batch.

    Attributes:
        mixture_si_sdr: Mean SI-SDR of the mixture over the same references, in dB; NaN if none of them counts.
        left_out: Number of references that are silent or alone in their mixture.
    """

    def __init__(self, store: Store, excerpts: Sequence[MixtureExcerpt], stft_params: STFTParams, batch_size: int = 16):
        self.stft_params = stft_params
        self._batches: list[tuple[np.ndarray, np.ndarray]] = []
        mixture, self.left_out = [], 0
        for indices in batches(excerpts, batch_size):
            audio, sounding = load_excerpts(store, [excerpts[index] for index in indices])
            references = torch.from_numpy(audio)
            ratios = batch_si_sdr(of_mixture, references.sum(dim=1), references).numpy()
            counts = ~reasons_left_out(sounding, ratios, ratios).astype(bool)  # the reason is None for those that count
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
        estimator = partial(of_masks, masks, self.stft_params, None)
        with _in_evaluation_mode(model):
            for audio, counts in self._batches:
                references = to_device(device, audio)
                found.append(batch_si_sdr(estimator, references.sum(dim=1), references).cpu().numpy()[counts])
        return _mean(found)


@contextmanager
def _in_evaluation_mode(model: SeparationModel) -> Iterator[None]:
    """Put a network into evaluation mode, then restore the flag of each part: frozen parts may be in it on purpose."""
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
