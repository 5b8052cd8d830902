"""Compute nussl's STFT and its inverse in torch, for batches on any device."""

from __future__ import annotations

from functools import lru_cache

import nussl
import scipy.signal
import torch
from nussl import STFTParams

from ..errors import ConfigError


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
