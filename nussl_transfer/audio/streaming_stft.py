"""SciPy's STFT and its inverse, as nussl takes them, of audio that comes block by block.

What comes out, put together, is `targets.stft` of the whole signal, and `targets.istft` of the whole spectrum.
"""

from __future__ import annotations

import scipy.signal
import torch
from nussl import STFTParams

from ..errors import CheckpointError
from .stft import window


class StftStream:
    """The STFT of a signal that is pushed in block by block.

    Args:
        stft_params: Window length, hop and window.
        channels: Of the signal.
        device: Where it is computed.

    Attributes:
        samples: How many have been pushed in.
    """

    def __init__(self, stft_params: STFTParams, channels: int, device: torch.device | str = "cpu"):
        self.length, self.hop = stft_params.window_length, stft_params.hop_length
        self.taps = window(stft_params, device)
        self.taps /= self.taps.sum()
        self.samples = 0
        # Half a window of zeros goes before the signal; `waiting` starts where the next frame does.
        self.waiting = torch.zeros(channels, self.length // 2, device=device)

    def push(self, audio: torch.Tensor) -> torch.Tensor:
        """Returns the frames that are complete with this audio.

        Shape:
            [nc, n] -> complex64 [nc, nf, k], k may be 0
        """
        self.samples += audio.shape[1]
        return self._push(audio.to(self.waiting.device))

    def finish(self) -> torch.Tensor:
        """Returns the frames at the end: half a window of zeros, then zeros until the last frame is full.

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
    """The signal of a spectrum that is pushed in frame by frame: least squares, by weighted overlap-add.

    Args:
        stft_params: The parameters the spectrum was made with.
        device: Where it is computed.

    Raises:
        CheckpointError: The windows do not overlap enough for the signal to come back.
    """

    def __init__(self, stft_params: STFTParams, device: torch.device | str = "cpu"):
        self.length, self.hop = stft_params.window_length, stft_params.hop_length
        self.taps = window(stft_params, device)
        if not scipy.signal.check_NOLA(self.taps.cpu().numpy(), self.length, self.length - self.hop):
            raise CheckpointError(
                f"A signal was asked for of a spectrum with window {self.length} and hop {self.hop}: some samples are "
                "under no window. Take a checkpoint with a hop of at most half its window."
            )
        # Sums of frames and of windows squared over samples that later frames reach, too; the last row is the windows'.
        self.unfinished: torch.Tensor | None = None
        self.skip = self.length // 2  # the zeros before the signal

    def push(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Returns the audio that no later frame reaches; with the last frames, it may be more than the signal's.

        Shape:
            complex64 [rows, nf, k] -> float32 [rows, n], n may be 0
        """
        rows, _, count = spectrum.shape
        if not count:
            return self.taps.new_zeros(rows, 0)
        frames = torch.fft.irfft(spectrum * self.taps.sum(), n=self.length, dim=1) * self.taps[:, None]
        powers = self.taps.square()[None, :, None].expand(1, -1, count)
        total = self.length + self.hop * (count - 1)
        columns = torch.cat([frames, powers])  # [rows + 1, length, k]
        sums = torch.nn.functional.fold(columns, (1, total), (1, self.length), stride=(1, self.hop))[:, 0, 0]
        if self.unfinished is not None:
            sums[:, : self.unfinished.shape[1]] += self.unfinished
        settled = self.hop * count
        self.unfinished = sums[:, settled:].clone()
        return self._give(sums[:, :settled])

    def finish(self) -> torch.Tensor:
        """Returns the rest, and what follows the signal.

        Shape:
            float32 [rows, n]
        """
        return self._give(self.unfinished)

    def _give(self, sums: torch.Tensor) -> torch.Tensor:
        dropped = min(self.skip, sums.shape[1])
        self.skip -= dropped
        sums = sums[:, dropped:]
        # Behind the last frame but one there may be nothing under the window; there is no signal there, either.
        return sums[:-1] / sums[-1:].clamp(min=1e-10)
