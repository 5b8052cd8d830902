"""Compute nussl's STFT and its inverse in torch: of whole batches, or of a signal that comes block by block.

The blocks of `StftStream` and `IstftStream`, put together, equal `stft` of the whole signal and `istft` of the whole
spectrum.
"""

from __future__ import annotations

from functools import lru_cache

import nussl
import scipy.signal
import torch
from nussl import STFTParams

from ..errors import ConfigError


@lru_cache  # a window made anew for each batch would be copied to the device each time
def window(stft_params: STFTParams, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return nussl's window as float32 [window_length]; nussl's 'sqrt_hann' is the root of SciPy's periodic Hann.

    All callers share the tensor: never change it in place.
    """
    samples = nussl.AudioSignal.get_window(stft_params.window_type, stft_params.window_length)
    with torch.inference_mode(False):  # the cached tensor is also used outside inference mode
        return torch.from_numpy(samples).to(device=device, dtype=torch.float32)


def stft(audio: torch.Tensor, stft_params: STFTParams) -> torch.Tensor:
    """Return SciPy's STFT of audio, as ``nussl.AudioSignal.stft`` computes it.

    Half a window of zeros goes before and after the signal, then zeros until the last frame is full; the
    spectrum is divided by the sum of the window, so that a full-scale sine has magnitude one half with any
    window.

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
    """Return the signal of an STFT made by :func:`stft`, by weighted overlap-add (least squares).

    Args:
        spectrum: STFT.
        stft_params: The parameters of that STFT.
        samples: Length of the signal.

    Shape:
        complex64 [..., nf, nt] -> float32 [..., samples]

    Raises:
        ConfigError: The windows overlap too little to invert the STFT.
    """
    taps = window(stft_params, spectrum.device)
    power = _window_power(stft_params, spectrum.shape[-1], spectrum.device)
    frames = torch.fft.irfft(spectrum.transpose(-1, -2) * taps.sum(), n=len(taps)) * taps  # [..., nt, length]
    inside = slice(len(taps) // 2, len(taps) // 2 + samples)
    return _overlap_add(frames, stft_params.hop_length)[..., inside] / power[inside]


def _overlap_add(frames: torch.Tensor, hop: int) -> torch.Tensor:
    """Return the sum of frames that begin ``hop`` samples apart, padded with zeros to a whole number of hops.

    The k-th hops of all frames follow one another, so they are added at once, without an index for each sample.

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
    """Return the overlap-added squares of ``count`` windows, by which `istft` divides."""
    length, hop = stft_params.window_length, stft_params.hop_length
    taps = window(stft_params, device)
    _check_invertible(stft_params)
    with torch.inference_mode(False):
        return _overlap_add(taps.square().expand(count, length), hop)


def _check_invertible(stft_params: STFTParams) -> None:
    length, hop = stft_params.window_length, stft_params.hop_length
    if hop > length or not scipy.signal.check_NOLA(window(stft_params).numpy(), length, length - hop):
        raise ConfigError(
            f"The STFT with window {length} and hop {hop} has no inverse: some samples are under no window. "
            "Use a hop of at most half the window."
        )


def spectrogram(audio: torch.Tensor, stft_params: STFTParams) -> torch.Tensor:
    """Return the STFT in nussl's order of axes.

    Shape:
        audio [..., nc, samples] -> complex64 [..., nt, nf, nc]
    """
    return stft(audio, stft_params).movedim(-3, -1).transpose(-3, -2)


def magnitude(audio: torch.Tensor, stft_params: STFTParams) -> torch.Tensor:
    """Return the magnitude spectrogram in nussl's order of axes.

    Shape:
        audio [..., nc, samples] -> float32 [..., nt, nf, nc]
    """
    return spectrogram(audio, stft_params).abs()


class StftStream:
    """Compute the STFT of a signal block by block.

    Args:
        stft_params: Window length, hop and window.
        channels: Number of channels of the signal.
        device: Device to compute on.

    Attributes:
        samples: Samples pushed so far.
    """

    def __init__(self, stft_params: STFTParams, channels: int, device: torch.device | str = "cpu"):
        self.length, self.hop = stft_params.window_length, stft_params.hop_length
        taps = window(stft_params, device)
        self.taps = taps / taps.sum()
        self.samples = 0
        # Half a window of zeros precedes the signal. `waiting` starts where the next frame starts.
        self.waiting = torch.zeros(channels, self.length // 2, device=device)

    def push(self, audio: torch.Tensor) -> torch.Tensor:
        """Return the frames that this audio completes.

        Shape:
            [nc, n] -> complex64 [nc, nf, k], k may be 0
        """
        self.samples += audio.shape[1]
        return self._push(audio.to(self.waiting.device))

    def finish(self) -> torch.Tensor:
        """Return the frames at the end: half a window of zeros, then zeros until the last frame is full.

        Shape:
            complex64 [nc, nf, k]
        """
        half = self.length // 2
        to_full_frame = -(self.samples + 2 * half - self.length) % self.hop
        return self._push(self.waiting.new_zeros(len(self.waiting), half + to_full_frame))

    def _push(self, audio: torch.Tensor) -> torch.Tensor:
        self.waiting = torch.cat([self.waiting, audio], dim=1)
        frames = max(0, (self.waiting.shape[1] - self.length) // self.hop + 1)
        if not frames:
            return self.waiting.new_zeros(len(self.waiting), self.length // 2 + 1, 0, dtype=torch.complex64)
        complete = self.waiting[:, : self.length + (frames - 1) * self.hop]
        self.waiting = self.waiting[:, frames * self.hop :].clone()
        return torch.stft(complete, self.length, self.hop, self.length, self.taps, center=False, return_complex=True)


class IstftStream:
    """Compute the signal of a spectrum block by block: least squares, by weighted overlap-add.

    Args:
        stft_params: The parameters of the STFT.
        device: Device to compute on.

    Raises:
        ConfigError: The windows overlap too little to invert the STFT.
    """

    def __init__(self, stft_params: STFTParams, device: torch.device | str = "cpu"):
        self.length, self.hop = stft_params.window_length, stft_params.hop_length
        self.taps = window(stft_params, device)
        _check_invertible(stft_params)
        # Sums of frames over samples that later frames still reach; the last row sums the squares of the windows.
        self.unfinished: torch.Tensor | None = None
        self.skip = self.length // 2  # zeros before the signal, still to be dropped

    def push(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the audio that no later frame reaches. At the end it may be longer than the signal.

        Shape:
            complex64 [rows, nf, k] -> float32 [rows, n], n may be 0
        """
        count = spectrum.shape[2]
        if not count:
            return self.taps.new_zeros(len(spectrum), 0)
        frames = torch.fft.irfft(spectrum.transpose(1, 2) * self.taps.sum(), n=self.length) * self.taps  # [rows, k, length]
        power = self.taps.square().expand(1, count, self.length)
        sums = torch.cat([_overlap_add(frames, self.hop), _overlap_add(power, self.hop)])
        if self.unfinished is not None:
            sums[:, : self.unfinished.shape[1]] += self.unfinished
        settled = self.hop * count
        self.unfinished = sums[:, settled:].clone()
        return self._give(sums[:, :settled])

    def finish(self) -> torch.Tensor:
        """Return the rest of the audio, and the zeros that follow the signal.

        Shape:
            float32 [rows, n]

        Raises:
            ValueError: No frame was pushed.
        """
        if self.unfinished is None:
            raise ValueError("finish() needs at least one frame from push()")
        return self._give(self.unfinished)

    def _give(self, sums: torch.Tensor) -> torch.Tensor:
        dropped = min(self.skip, sums.shape[1])
        self.skip -= dropped
        sums = sums[:, dropped:]
        # Near the end some samples are under no window; there is no signal there either.
        return sums[:-1] / sums[-1:].clamp(min=1e-10)
