"""Stage 4, targets: a batch of audio becomes what a ChimeraNet is trained on, on the batch's own device.

Equal to nussl's ``MagnitudeSpectrumApproximation`` (or, when asked, ``PhaseSensitiveSpectrumApproximation``),
``MagnitudeWeights`` and ``ToSeparationModel`` applied item by item (contract 3), but batched and in torch: audio
crosses to the device, spectra are made there.
"""

from __future__ import annotations

from functools import lru_cache

import nussl
import scipy.signal
import torch
from nussl import STFTParams

from .errors import ConfigError


class Targets:
    """Adds spectra and targets to a batch of audio.

    Args:
        stft_params: Window length, hop (both in samples) and window of the STFT.
        phase_sensitive: Whether ``source_magnitudes`` and, through them, ``ideal_binary_mask`` are those of
            :func:`phase_sensitive_magnitudes`. The paper's are plain magnitudes. What the network is given is the same
            for both, and so is separating with it.

    Shape:
        In: ``mix_audio`` [nb, nc, samples], ``source_audio`` [nb, nc, samples, ns] (may be absent).
        Out, added: ``mix_magnitude`` and ``weights`` [nb, nt, nf, nc]; ``source_magnitudes`` and
        ``ideal_binary_mask`` [nb, nt, nf, nc, ns].
    """

    def __init__(self, stft_params: STFTParams, phase_sensitive: bool = False):
        self.stft_params, self.phase_sensitive = stft_params, phase_sensitive

    def __call__(self, batch: dict) -> dict:
        """Returns the batch with spectra and targets; the one given stays as it is."""
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


@lru_cache  # made anew for each batch, it would have to cross to the device each time
def window(stft_params: STFTParams, device: torch.device | str = "cpu") -> torch.Tensor:
    """Returns nussl's window as float32 [window_length]; nussl's 'sqrt_hann' is the root of SciPy's periodic Hann."""
    samples = nussl.AudioSignal.get_window(stft_params.window_type, stft_params.window_length)
    with torch.inference_mode(False):  # it outlives whatever mode it is first asked for in
        return torch.from_numpy(samples).to(device=device, dtype=torch.float32)


def stft(audio: torch.Tensor, stft_params: STFTParams) -> torch.Tensor:
    """Returns SciPy's STFT of audio, as ``nussl.AudioSignal.stft`` computes it.

    Half a window of zeros goes before and after the signal, then zeros until the last frame is full; the
    spectrum is divided by the sum of the window, so that a full-scale sine has magnitude one half whatever
    the window.

    Args:
        audio: The signal.
        stft_params: Window length, hop and window.

    Shape:
        audio [..., samples] -> complex64 [..., nf, nt]

    References:
        scipy.signal.stft with ``boundary='zeros', padded=True``.
    """
    length, hop = stft_params.window_length, stft_params.hop_length
    shape = audio.shape
    half = length // 2
    to_full_frame = -(shape[-1] + 2 * half - length) % hop
    padded = torch.nn.functional.pad(audio.reshape(-1, shape[-1]), (half, half + to_full_frame))
    taps = window(stft_params, audio.device)
    spectrum = torch.stft(padded, length, hop, length, taps / taps.sum(), center=False, return_complex=True)
    return spectrum.reshape(*shape[:-1], *spectrum.shape[-2:])


def istft(spectrum: torch.Tensor, stft_params: STFTParams, samples: int) -> torch.Tensor:
    """Returns the signal of an STFT made by :func:`stft`, by weighted overlap-add (least squares).

    Args:
        spectrum: STFT.
        stft_params: The parameters it was made with.
        samples: Length of the signal it was made from.

    Shape:
        complex64 [..., nf, nt] -> float32 [..., samples]

    Raises:
        ConfigError: The windows do not overlap enough for the signal to come back.
    """
    taps = window(stft_params, spectrum.device)
    power = _window_power(stft_params, spectrum.shape[-1], spectrum.device)
    frames = torch.fft.irfft(spectrum.transpose(-1, -2) * taps.sum(), n=len(taps)) * taps  # [..., nt, length]
    inside = slice(len(taps) // 2, len(taps) // 2 + samples)
    return _overlap_add(frames, stft_params.hop_length)[..., inside] / power[inside]


def _overlap_add(frames: torch.Tensor, hop: int) -> torch.Tensor:
    """Returns the sum of frames that begin ``hop`` samples after one another, and zeros to a whole number of hops.

    The k-th hops of all frames follow each other: they are added at once, without an index for each sample.

    Shape:
        [..., nt, length] -> [..., (nt + ceil(length / hop) - 1) * hop]
    """
    *shape, count, length = frames.shape
    hops = -(-length // hop)
    sums = frames.new_zeros(*shape, count + hops - 1, hop)
    for number in range(hops):
        part = frames[..., number * hop : (number + 1) * hop]
        sums[..., number : number + count, : part.shape[-1]] += part
    return sums.flatten(-2)


@lru_cache(maxsize=16)
def _window_power(stft_params: STFTParams, count: int, device: torch.device) -> torch.Tensor:
    """Returns the sum of the squares of so many windows, as long as `_overlap_add` makes it."""
    length, hop = stft_params.window_length, stft_params.hop_length
    taps = window(stft_params, device)
    if hop > length or not scipy.signal.check_NOLA(taps.cpu().numpy(), length, length - hop):
        raise ConfigError(
            f"An inverse STFT was asked for with window {length} and hop {hop}: some samples are under no window. "
            "Take a hop of at most half the window."
        )
    with torch.inference_mode(False):
        return _overlap_add(taps.square().expand(count, length), hop)


def spectrogram(audio: torch.Tensor, stft_params: STFTParams) -> torch.Tensor:
    """Returns the STFT in nussl's order of axes.

    Shape:
        audio [..., nc, samples] -> complex64 [..., nt, nf, nc]
    """
    return stft(audio, stft_params).movedim(-3, -1).transpose(-3, -2)


def magnitude(audio: torch.Tensor, stft_params: STFTParams) -> torch.Tensor:
    """Returns the magnitude spectrogram in nussl's order of axes.

    Shape:
        audio [..., nc, samples] -> float32 [..., nt, nf, nc]
    """
    return spectrogram(audio, stft_params).abs()


def phase_sensitive_magnitudes(sources: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
    """Returns the part of each source that is in phase with the mixture, from 0 to the mixture's magnitude.

    An estimate has the mixture's phase. The best it can do for a source S in a mixture X is its projection on X,
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
    """Returns 1 where a source is the loudest of all, else 0; a bin that two share at the top belongs to none.

    Shape:
        [..., ns] -> [..., ns]
    """
    loudest = source_magnitudes == source_magnitudes.amax(dim=-1, keepdim=True)
    return (loudest & (loudest.sum(dim=-1, keepdim=True) == 1)).to(source_magnitudes.dtype)


def magnitude_weights(mix_magnitude: torch.Tensor) -> torch.Tensor:
    """Returns the deep clustering weights: the root of each bin's share of its item's magnitude, times nt x nf.

    Shape:
        [nb, nt, nf, nc] -> [nb, nt, nf, nc]

    References:
        Wang, Le Roux, Hershey, "Alternative objective functions for deep clustering", ICASSP 2018.
    """
    bins = mix_magnitude.shape[1] * mix_magnitude.shape[2]
    total = mix_magnitude.sum(dim=(1, 2, 3), keepdim=True)
    return (mix_magnitude / (total + 1e-6) * bins).sqrt()
