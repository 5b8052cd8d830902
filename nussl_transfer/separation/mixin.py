"""`ChunkedMixin`, the base class of both separators: run the network of a nussl separator in chunks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import nussl
import soxr
import torch
from nussl.core.masks import MaskBase
from nussl.ml import SeparationModel
from nussl.separation.base import DeepMixin

from ..checkpoints.checkpoint import CheckpointInfo, read_info
from ..checkpoints.zoo import resolve
from ..errors import DataError
from ..networks.forward import run_network
from ..runtime.device import resolve_device
from .chunks import Chunking, chunking_of, in_chunks
from .ensemble import require_finite_weights
from .high_band import BandShares, high_bands

# Confidence is measured on at most this many chunks, evenly spread, so its cost does not grow with the signal.
SAMPLED_CHUNKS = 16
Network = Callable[[torch.Tensor], torch.Tensor]


class ChunkedMixin(DeepMixin):
    """Extend nussl's `DeepMixin`: run the network on the signal in chunks.

    Args:
        chunk_seconds: Length of a chunk in seconds; None takes that of the training mixtures.
        bf16: Whether the network multiplies in bfloat16: faster where the processor supports it.
        keep_rate: Whether the estimates have the sample rate of the given signal instead of the network's.
        high_band: With ``keep_rate``, whether they get their share of the signal above the network's band.
    """

    BATCH_DIVISOR = 1  # a subclass whose output is larger than masks takes smaller batches

    # nussl sets these.
    device: str
    model: SeparationModel

    def __init__(
        self,
        *args: object,
        chunk_seconds: float | None = None,
        bf16: bool = False,
        keep_rate: bool = False,
        high_band: bool = True,
        **kwargs: object,
    ):
        self.chunk_seconds, self.bf16, self.keep_rate, self.high_band = chunk_seconds, bf16, keep_rate, high_band
        super().__init__(*args, **kwargs)

    def load_model(self, model_path: str | Path, device: str = "cpu") -> None:
        """Load a checkpoint.

        Raises:
            CheckpointError: It cannot be read, lacks the output that this separator needs, or has weights that are not
                finite.
            ConfigError: The device does not exist, or the chunks are too short.
        """
        device = resolve_device(device)
        if not Path(model_path).is_file():  # a name, an address, or the folder of a run
            model_path = resolve(model_path)
        info = read_info(model_path)
        super().load_model(str(model_path), device=device)
        if self.device != device:  # without CUDA, nussl uses the CPU instead of an Apple GPU
            self.device, self.model = device, self.model.to(device)
        self._check(model_path, info)
        require_finite_weights(model_path, self.model)
        chunking = chunking_of(info.excerpt_seconds, info.sample_rate, info.stft_params, self.chunk_seconds)
        self.chunking: Chunking = replace(chunking, batch=max(1, chunking.batch // self.BATCH_DIVISOR))

    def _check(self, model_path: str | Path, info: CheckpointInfo) -> None:
        raise NotImplementedError

    def _preprocess_audio_signal(self) -> None:
        """Reset the results for a new signal; nussl calls this.

        The spectrum is computed later, when the network's STFT is known.
        """
        self.result_masks: list[MaskBase] = []
        self.stft: np.ndarray | None = None
        self._samples = self.audio_signal.signal_length
        self._given = self.audio_signal.audio_data, self.audio_signal.sample_rate

    def _get_input_data_for_model(self, **kwargs: object) -> dict:
        rate, window = self.metadata["sample_rate"], self.metadata["stft_params"].window_length
        if self.audio_signal.sample_rate != rate:
            self.audio_signal.resample(rate)
        self._samples = self.audio_signal.signal_length
        if self._samples < window:  # SciPy's STFT needs a whole window
            self.audio_signal.zero_pad(0, window - self._samples)
        data = super()._get_input_data_for_model(**kwargs)
        self.stft = self.audio_signal.stft_data
        return data

    def _run_chunks(self, magnitude: torch.Tensor, network: Network) -> torch.Tensor:
        """Return a network's output for a whole signal on the CPU, [rows, nt, nf, nc, ...]."""
        chunking = self.chunking.at_most(magnitude.shape[1])
        pairs = in_chunks([magnitude], lambda part: network(part).cpu(), chunking)
        return torch.cat([output for _, output in pairs], dim=1)

    def _network(self, output: str) -> Network:
        return functools.partial(run_network, self.model, output=output, bf16=self.bf16)

    def _in_nussls_order(self, output: torch.Tensor) -> np.ndarray:
        """Reorder an output's axes from [rows, nt, nf, nc, n] to nussl's [nf, nt, nc, n]."""
        if self.metadata["num_channels"] == 1:
            output = output.transpose(0, -2)  # the rows are channels
        return output.squeeze(0).transpose(0, 1).cpu().numpy()

    def _sampled(self, magnitude: torch.Tensor) -> list[slice]:
        """Return at most `SAMPLED_CHUNKS` chunks that are not silent, evenly spread."""
        whole = [slice(start, start + self.chunking.frames) for start in self.chunking.starts(magnitude.shape[1])]
        sounding = [chunk for chunk in whole if magnitude[:, chunk].max() > 0]
        picked = np.linspace(0, len(sounding) - 1, min(len(sounding), SAMPLED_CHUNKS)).round().astype(int)
        return [sounding[index] for index in picked]

    def _mean_confidence(self, approach: str, num_sources: int, **kwargs: object) -> float:
        magnitude = self.input_data["mix_magnitude"]
        chunks = self._sampled(magnitude)
        if not chunks:
            raise DataError("A silent signal has no confidence: there is nothing to cluster.")
        measure = getattr(nussl.ml.confidence, approach)
        found = []
        for chunk in chunks:
            features = self._in_nussls_order(self._network("embedding")(magnitude[:, chunk]))
            representation = self._in_nussls_order(magnitude[:, chunk, ..., None])[..., 0]
            found.append(measure(None, features, num_sources, **{"representation": representation, **kwargs}))
        return float(np.mean(found))

    def make_audio_signals(self) -> list[nussl.AudioSignal]:
        """Return the estimates, as long as the given signal.

        Raises:
            DataError: An estimate is NaN or infinite.
        """
        estimates = super().make_audio_signals()
        if not all(np.isfinite(estimate.audio_data).all() for estimate in estimates):
            raise DataError("The estimates are not finite numbers. If the signal is far above full scale, scale it down.")
        for estimate in estimates:
            if estimate.signal_length != self._samples:
                estimate.audio_data = estimate.audio_data[:, : self._samples]
        return self._at_given_rate(estimates) if self.keep_rate else estimates

    def _at_given_rate(self, estimates: list[nussl.AudioSignal]) -> list[nussl.AudioSignal]:
        """Return estimates at the rate and the length of the given signal, with their shares of its high band."""
        (given, rate), own_rate = self._given, self.audio_signal.sample_rate
        if rate == own_rate:
            return estimates

        def resampled(audio: np.ndarray) -> np.ndarray:
            # Resampling to another rate and back may add or drop a sample at the end.
            audio = soxr.resample(audio.T, own_rate, rate).T[:, : given.shape[1]]
            return np.pad(audio, ((0, 0), (0, given.shape[1] - audio.shape[1])))

        found = [resampled(estimate.audio_data) for estimate in estimates]
        if self.high_band and rate > own_rate:
            low = resampled(self.audio_signal.audio_data[:, : self._samples])
            one = resampled(np.ones((1, self._samples)))[0]
            for number, shares in enumerate(np.moveaxis(self._shares(), 1, 0)):  # [samples, nc] each
                high = high_bands(given.T, low.T, resampled(shares.T).T[:, None], one, len(estimates))
                found[number] += high[:, 0].T
        return [nussl.AudioSignal(audio_data_array=audio, sample_rate=rate) for audio in found]

    def _shares(self) -> np.ndarray:
        """Return each estimate's share of the high band at the network's rate, [samples, ns, nc]."""
        stacked = np.stack([mask.mask for mask in self.result_masks], axis=-1)  # [nf, nt, nc, ns]
        spectrum, masks = (torch.from_numpy(array).transpose(0, 1)[None] for array in (self.stft, stacked))
        shares = BandShares(self.metadata["stft_params"].hop_length)
        first = shares.push(spectrum.to(torch.complex64), masks.float())[: self._samples]
        return np.concatenate([first, shares.finish(self._samples - len(first))])
