"""Compute spectra and training targets of a batch of audio, on the batch's device.

They equal those of nussl's ``MagnitudeSpectrumApproximation`` (or ``PhaseSensitiveSpectrumApproximation``),
``MagnitudeWeights`` and ``ToSeparationModel`` on each item, computed for the whole batch in torch: only the audio is copied
to the device.
"""

from __future__ import annotations

import torch
from nussl import STFTParams

from ..audio.stft import spectrogram


class Targets:
    """Add spectra and targets to a batch of audio.

    Args:
        stft_params: Window length, hop (both in samples) and window of the STFT.
        phase_sensitive: Whether ``source_magnitudes``, and with them ``ideal_binary_mask``, come from
            :func:`phase_sensitive_magnitudes`. The paper's are plain magnitudes. The input of the network, and separation,
            are the same for both.

    Shape:
        In: ``mix_audio`` [nb, nc, samples], ``source_audio`` [nb, nc, samples, ns] (may be absent).
        Out, added: ``mix_magnitude`` and ``weights`` [nb, nt, nf, nc]; ``source_magnitudes`` and
        ``ideal_binary_mask`` [nb, nt, nf, nc, ns].
    """

    def __init__(self, stft_params: STFTParams, phase_sensitive: bool = False):
        self.stft_params, self.phase_sensitive = stft_params, phase_sensitive

    def __call__(self, batch: dict) -> dict:
        """Return a copy of the batch with spectra and targets."""
        batch = dict(batch)
        mix = spectrogram(batch["mix_audio"], self.stft_params)  # [nb, nt, nf, nc]
        batch["mix_magnitude"] = mix.abs()
        batch["weights"] = magnitude_weights(batch["mix_magnitude"])
        if "source_audio" in batch:
            sources = batch["source_audio"].movedim(-1, 0)  # [ns, nb, nc, samples]
            sources = spectrogram(sources, self.stft_params).movedim(0, -1)  # [nb, nt, nf, nc, ns]
            made = phase_sensitive_magnitudes(sources, mix) if self.phase_sensitive else sources.abs()
            batch["source_magnitudes"] = made
            batch["ideal_binary_mask"] = ideal_binary_mask(made)
        return batch


def phase_sensitive_magnitudes(sources: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
    """Return the part of each source that is in phase with the mixture, from 0 to the mixture's magnitude.

    An estimate has the mixture's phase. The best estimate of a source S in a mixture X is its projection on X,
    ``abs(S) * cos(angle(S) - angle(X)) = real(S * conj(X)) / abs(X)``; a mask between 0 and 1 reaches it from 0 to
    ``abs(X)``.

    Shape:
        complex [..., ns], complex [...] -> float [..., ns]

    References:
        Erdogan, Hershey, Watanabe, Le Roux, "Phase-sensitive and recognition-boosted speech separation using deep
        recurrent neural networks", ICASSP 2015.

    >>> phase_sensitive_magnitudes(torch.tensor([[3j, 4 + 0j, -1j, 9j]]), torch.tensor([5j]))
    tensor([[3., 0., 0., 5.]])
    """
    mix = mix[..., None]
    magnitude = mix.abs()
    # Where the mixture is 0, so is the product, and the bound.
    along = (sources * mix.conj()).real / magnitude.clamp(min=torch.finfo(magnitude.dtype).tiny)
    return along.clamp(min=0.0).minimum(magnitude)


def ideal_binary_mask(source_magnitudes: torch.Tensor) -> torch.Tensor:
    """Return 1 where a source is the loudest, else 0; no source owns a bin where two are equally loud or all are silent.

    A silent source therefore owns no bin.

    Shape:
        [..., ns] -> [..., ns]
    """
    loudest = source_magnitudes == source_magnitudes.amax(dim=-1, keepdim=True)
    owned = loudest & (loudest.sum(dim=-1, keepdim=True) == 1) & (source_magnitudes > 0)
    return owned.to(source_magnitudes.dtype)


def magnitude_weights(mix_magnitude: torch.Tensor) -> torch.Tensor:
    """Return the deep clustering weights: the root of each bin's share of its item's magnitude, times nt x nf.

    Shape:
        [nb, nt, nf, nc] -> [nb, nt, nf, nc]

    References:
        Wang, Le Roux, Hershey, "Alternative objective functions for deep clustering", ICASSP 2018.
    """
    bins = mix_magnitude.shape[1] * mix_magnitude.shape[2]
    total = mix_magnitude.sum(dim=(1, 2, 3), keepdim=True)
    return (mix_magnitude / (total + 1e-6) * bins).sqrt()
