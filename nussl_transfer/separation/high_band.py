"""Share out the part of a mixture above a model's band among its sources.

A model that works at 16 kHz cannot estimate sources above 8 kHz. The high band is the mixture minus its low band, the part
below. Each source gets a share of the high band: its share of the power in the octave below 8 kHz by its mask, smoothed
over a few frames. The shares of all sources sum to one, so the high bands of the sources sum to that of the mixture.

This restores brightness; it does not separate the high band. The table has the mean SI-SDR of the four stems on 30 s of
three pieces of Bach10 at 44.1 kHz (03, 05, 06) with the shipped ``quartet``. The level of a stem above 8 kHz is 39 to 54 dB
below its total level.

=====================  =========  ===========
estimate               full band  above 8 kHz
=====================  =========  ===========
without the high band  -1.57 dB   -31.9 dB
with it                -1.57 dB   -7.1 dB
the mixture itself     -4.72 dB   -6.3 dB
=====================  =========  ===========

A share is one number for the whole high band: if two sources sound there at once, both get the same sound, at different
levels. Smoothing over 0, 2 or 6 frames on either side changes the second column by 0.04 dB.
"""

from __future__ import annotations

import numpy as np
import torch

# Frames before and after each frame over which the power is summed.
SMOOTHING = 2


class BandShares:
    """Compute each source's share of the highest octave, one value per sample, from spectra that come block by block.

    Args:
        hop: Samples from one frame of the STFT to the next.
        smoothing: Frames on either side over which the power is summed.
    """

    def __init__(self, hop: int, smoothing: int = SMOOTHING):
        self.hop, self.smoothing = hop, smoothing
        # Powers of the latest frames, which are still needed to smooth later ones. None before the first frame.
        self._powers: np.ndarray | None = None
        self._last: np.ndarray | None = None  # the share at the last frame that has been passed on

    def push(self, spectrum: torch.Tensor, masks: torch.Tensor) -> np.ndarray:
        """Return the shares of the samples that these frames complete.

        Args:
            spectrum: Of the mixture.
            masks: Of all sources.

        Shape:
            complex64 [rows, n, nf, nc], float32 [rows, n, nf, nc, ns] -> float32 [samples, ns, rows x nc]
        """
        octave = slice(spectrum.shape[2] // 2, None)
        power = spectrum[:, :, octave].abs().square()
        sums = torch.einsum("rnfc,rnfcs->nsrc", power, masks[:, :, octave].to(power.device)).flatten(2).cpu().numpy()
        if self._powers is None:  # silence before the first frame
            self._powers = np.zeros((self.smoothing, *sums.shape[1:]), np.float32)
        return self._interpolated(self._smoothed(self._powers, sums))

    def finish(self, samples: int) -> np.ndarray:
        """Return the shares of the last ``samples`` samples.

        Shape:
            float32 [samples, ns, rows x nc]
        """
        if self._powers is None:
            raise ValueError("finish() needs at least one push()")
        nothing = np.zeros((self.smoothing, *self._powers.shape[1:]), np.float32)
        rest = self._interpolated(self._smoothed(self._powers, nothing))
        if self._last is None:
            raise ValueError("finish() needs at least one frame")
        constant = np.repeat(self._last[None], max(0, samples - len(rest)), axis=0)
        return np.concatenate([rest, constant])[:samples]

    def _smoothed(self, before: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """Return the shares at the frames whose neighbours are all known, [k, ns, channels]."""
        width = 2 * self.smoothing + 1
        powers = np.concatenate([before, sums])
        count = max(0, len(powers) - width + 1)
        self._powers = powers[count:]
        if not count:
            return powers[:0]
        smooth = sum((powers[start : start + count] for start in range(width)), start=np.zeros_like(powers[:count]))
        total = smooth.sum(axis=1, keepdims=True)
        equal = np.full_like(smooth, 1 / smooth.shape[1])
        return np.divide(smooth, total, out=equal, where=total > 0)

    def _interpolated(self, shares: np.ndarray) -> np.ndarray:
        """Return the shares of the samples up to the last frame: frame k lies at sample k x hop."""
        points = shares if self._last is None else np.concatenate([self._last[None], shares])
        if len(points) == 0:
            return points
        self._last = points[-1]
        rising = (np.arange(self.hop, dtype=np.float32) / self.hop)[:, None, None]
        between = points[:-1, None] + (points[1:] - points[:-1])[:, None] * rising  # [k, hop, ns, channels]
        return between.reshape(-1, *points.shape[1:])


def high_bands(mixture: np.ndarray, low: np.ndarray, shares: np.ndarray, one: np.ndarray, sources: int) -> np.ndarray:
    """Return each source's part of the high band of a mixture.

    Args:
        mixture: The mixture at the output's rate.
        low: Its low band: the mixture at the model's rate, resampled.
        shares: Of the sources, resampled as the low band was.
        one: A constant 1, resampled likewise: dividing by it makes the shares sum to one again.
        sources: Number of sources; ``shares`` may hold some of them only.

    Shape:
        [n, nc], [n, nc], [n, ns, nc], [n] -> [n, ns, nc]
    """
    equal = np.full_like(shares, 1 / sources)
    exact = np.divide(shares, one[:, None, None], out=equal, where=one[:, None, None] > 0.1)
    return (mixture - low)[:, None] * exact
