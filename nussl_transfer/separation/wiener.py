"""Filter the channels of a mixture jointly: a multichannel Wiener filter whose statistics come from masks.

Masks scale each channel on its own. If sources come from different directions, the channels together tell them apart. At
each frequency, a source is modelled by the covariance of its channels, which is constant over the signal (where it comes
from), times a power that changes from frame to frame (what it plays). The filter computes the mean of the source given the
mixture, under that model. The estimates give better covariances and powers for the next iteration.

The covariances are sums over all frames. So each iteration reads the mixture once more, and memory does not grow with the
length of the mixture. With masks that sum to one, the estimates sum to the mixture.

On 15 s of the first recorded piece of Bach10, its four stems placed in stereo and separated with the shipped ``quartet``,
the mean SI-SDR over stems and channels is

==================================================  =======  =====  ======  ======
stereo                                              mixture  masks  1 pass  2
==================================================  =======  =====  ======  ======
levels (constant-power panning)                     -7.02    0.54   2.56    3.06
levels and delays of up to 0.45 ms                  -5.39    1.90   2.77    2.91
the same in a reverberation of 0.4 s, 6 dB below    -5.18    1.83   2.28    2.21
==================================================  =======  =====  ======  ======

References:
    Duong, Vincent and Gribonval, "Under-determined reverberant audio source separation using a full-rank spatial
    covariance model", IEEE Transactions on Audio, Speech, and Language Processing 18 (2010). The updates are those of
    norbert (Liutkus and Stoter, 2019), which Open-Unmix uses; a test compares them.
"""

from __future__ import annotations

import torch

# Frames are filtered in blocks whose covariances have this many numbers in all: 64 MB.
AT_ONCE = 1 << 22
# Share of the mixture's power that is added to its covariance: without it, that of two equal channels has no inverse.
REGULARIZATION = 1e-8


class SpatialFilter:
    """Estimate sources from all channels of a mixture; each iteration takes one more pass over the mixture.

    For each iteration, give all frames to `observe`, then call `update`. After the last iteration, `estimate` returns the
    estimates of any frames. Without any iteration, these are the masked mixtures.

    Attributes:
        covariances: For each finished iteration the covariances of the sources, complex128 [nf, ns, nc, nc].
    """

    def __init__(self) -> None:
        self.covariances: list[torch.Tensor] = []
        self._sums: tuple[torch.Tensor, torch.Tensor] | None = None

    def observe(self, spectrum: torch.Tensor, masks: torch.Tensor) -> None:
        """Add frames to the covariances of the next iteration.

        Shape:
            complex64 [n, nf, nc], float32 [n, nf, nc, ns]
        """
        estimates = self.estimate(spectrum, masks)
        products = torch.einsum("nfcs,nfds->fscd", estimates, estimates.conj())
        powers = _powers(estimates).sum(dim=0)  # [nf, ns]
        if self._sums is None:
            self._sums = products, powers
        else:
            self._sums = self._sums[0] + products, self._sums[1] + powers

    def update(self) -> None:
        """End an iteration: from now on, `estimate` also uses the covariances of the frames observed in it.

        Raises:
            ValueError: No frames were observed.
        """
        if self._sums is None:
            raise ValueError("No frames were observed. Give them to `observe` first.")
        products, powers = self._sums
        self.covariances.append(products / powers.clamp(min=torch.finfo(powers.dtype).tiny)[..., None, None])
        self._sums = None

    def estimate(self, spectrum: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return the estimates of all sources, with the covariances of all finished iterations.

        Shape:
            complex64 [n, nf, nc], float32 [n, nf, nc, ns] -> complex128 [n, nf, nc, ns]
        """
        if spectrum.device.type == "mps":  # it has no float64
            spectrum, masks = spectrum.cpu(), masks.cpu()
        frames = max(1, AT_ONCE // (spectrum.shape[1] * spectrum.shape[2] ** 2))
        parts = zip(spectrum.to(torch.complex128).split(frames), masks.split(frames), strict=True)
        return torch.cat([self._filtered(*part) for part in parts])

    def _filtered(self, spectrum: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        estimates = spectrum[..., None] * masks
        for covariances in self.covariances:
            powers = _powers(estimates).to(covariances.dtype)  # [n, nf, ns]
            mixture = torch.einsum("nfs,fscd->nfcd", powers, covariances)
            unmixed = _solve(mixture, spectrum)  # [n, nf, nc]
            estimates = torch.einsum("nfs,fscd,nfd->nfcs", powers, covariances, unmixed)
        return estimates


def _powers(estimates: torch.Tensor) -> torch.Tensor:
    """Return the mean power of the channels: [n, nf, nc, ns] -> float64 [n, nf, ns]."""
    return estimates.abs().square().mean(dim=2)


def _solve(covariances: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
    """Return the inverse covariances times a spectrum; 0 where both are 0: [n, nf, nc, nc], [n, nf, nc] -> [n, nf, nc]."""
    channels = spectrum.shape[-1]
    power = covariances.diagonal(dim1=-2, dim2=-1).real.mean(dim=-1)  # [n, nf]
    added = torch.where(power > 0, REGULARIZATION * power, 1.0)
    regular = covariances + added[..., None, None] * torch.eye(channels, dtype=covariances.dtype, device=covariances.device)
    return torch.linalg.solve(regular, spectrum)
