"""Separate a mixture of any length in memory that does not grow with it.

Each stage takes the output of the previous stage as it comes, and holds no more of it than it needs::

    blocks of the mixture -> the model's rate -> STFT -> masks, chunk by chunk -> inverse STFT -> rate of the output

The covariances of a Wiener filter need the whole mixture: each iteration of the filter runs the first stages once more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..audio.io import Header, blocks, header, resampled
from ..audio.levels import ACTIVITY_DBFS, Activity
from ..audio.stft import IstftStream, StftStream
from ..audio.writer import check_format, written_audio
from ..errors import ConfigError, DataError
from ..runtime.log import logger
from .chunks import Chunking, chunking_of, in_chunks
from .ensemble import Checkpoints, Ensemble
from .high_band import BandShares, high_bands
from .wiener import SpatialFilter

RESIDUAL = "residual"
# Frames of a file that are read at once: 1.5 s at 44.1 kHz.
BLOCK = 1 << 16
# Test-time shifts delay the mixture by up to this many seconds.
SHIFT_SECONDS = 0.5
MOST_SHIFTS = 64
MOST_PASSES = 10
MOST_CHANNELS = 64


@dataclass(frozen=True)
class Request:
    """The options of a separation, checked.

    Attributes:
        labels: Labels to return, in any order; empty for all.
        residual: Whether to return the mixture minus those labels, too.
        keep_rate: Whether to return signals at the rate of the input, instead of the model's.
        high_band: Whether signals at the input's rate get their share of the mixture above the model's band.
        format: Format of files: 'wav' (float32), 'flac' (24 bits), 'ogg' or 'mp3'.
        shifts: Number of differently delayed copies of the mixture whose estimates are averaged; 1 is the mixture alone.
        wiener: Number of passes that fit a multichannel Wiener filter to the estimates; 0 uses the masks alone. It has no
            effect on a mixture of one channel.
    """

    labels: Sequence[str] = ()
    residual: bool = False
    keep_rate: bool = False
    high_band: bool = True
    format: str = "wav"
    shifts: int = 1
    wiener: int = 0

    def __post_init__(self) -> None:
        check_format(self.format)
        if not 1 <= self.shifts <= MOST_SHIFTS:
            raise ConfigError(f"shifts is the number of delays to average: got {self.shifts}, expected 1 to {MOST_SHIFTS}.")
        if not 0 <= self.wiener <= MOST_PASSES:
            raise ConfigError(
                f"wiener is a number of passes of the filter: got {self.wiener}, expected 0 to {MOST_PASSES}."
            )


@dataclass(frozen=True)
class Mixture:
    """A signal that can be read from its start as often as needed.

    Attributes:
        name: Its name in messages.
        head: Its rate, channels and length.
        read: Returns its blocks, float32 [n, nc], from the start.
    """

    name: str
    head: Header
    read: Callable[[], Iterable[np.ndarray]]

    @classmethod
    def of_file(cls, path: str | Path) -> Mixture:
        """Return the mixture in a file.

        Raises:
            AudioFileError: See `nussl_transfer.audio.io.header`.
        """
        return cls(str(path), header(path), lambda: blocks(path, BLOCK))

    @classmethod
    def of_array(cls, audio: np.ndarray, sample_rate: int) -> Mixture:
        """Return the mixture in an array.

        Shape:
            [nc, samples] or [samples]

        Raises:
            DataError: The array has another shape, is empty, or holds NaN or infinite samples.
        """
        audio = np.atleast_2d(np.asarray(audio))
        if audio.ndim != 2 or len(audio) > MOST_CHANNELS or not np.issubdtype(audio.dtype, np.floating):
            raise DataError(
                f"Audio must be a float array [channels, samples] of at most {MOST_CHANNELS} channels: got {audio.dtype} "
                f"{list(audio.shape)}. Transpose it, or scale integers to -1..1."
            )
        if not audio.size:
            raise DataError("Audio must have at least one sample: got an empty array.")
        if not np.isfinite(audio).all():
            raise DataError("Audio must be finite: the array holds NaN or infinite samples.")
        if isinstance(sample_rate, bool) or not 0 < sample_rate < 1e7 or sample_rate != int(sample_rate):
            raise DataError(f"The sample rate must be a whole number of Hz: got {sample_rate!r}.")
        head = Header(int(sample_rate), len(audio), audio.shape[1], "FLOAT")
        pieces = range(0, audio.shape[1], BLOCK)
        return cls("the array", head, lambda: (audio[:, at : at + BLOCK].T.astype(np.float32) for at in pieces))


class StreamSeparator:
    """Separate mixtures with the masks of one checkpoint, or with the mean masks of several.

    Args:
        checkpoints: One or several checkpoints, or a folder of runs; see `Ensemble`.
        request: The outputs.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        bf16: Whether the networks multiply in bfloat16.
        chunk_seconds: Length of a chunk in seconds; None takes that of the training mixtures.

    Attributes:
        outputs: Names of the outputs: the requested labels in the model's order, then the residual's name.

    Raises:
        CheckpointError: A checkpoint cannot be read or has no trained mask head.
        ConfigError: A label or the device does not exist, the chunks are too short, or checkpoints do not fit together.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        request: Request = Request(),
        device: str = "auto",
        bf16: bool = False,
        chunk_seconds: float | None = None,
    ):
        self.ensemble = Ensemble(checkpoints, device)
        labels = self.ensemble.labels
        unknown = [label for label in request.labels if label not in labels]
        if unknown:
            raise ConfigError(f"Unknown label {', '.join(unknown)}: the model separates {', '.join(labels)}.")
        self.request, self.bf16 = request, bf16
        self.rate = self.ensemble.sample_rate
        self.chunking: Chunking = chunking_of(
            self.ensemble.excerpt_seconds, self.rate, self.ensemble.stft_params, chunk_seconds
        )
        self.picked = [number for number, label in enumerate(labels) if label in (request.labels or labels)]
        self.labels = [labels[number] for number in self.picked]
        self.outputs = list(self.labels)
        if request.residual:
            name, number = RESIDUAL, 2
            while name in labels:  # a label of the model may have the residual's name
                name, number = f"{RESIDUAL}_{number}", number + 1
            self.outputs.append(name)

    def rate_of(self, mixture: Mixture) -> int:
        """Return the rate of the outputs in Hz."""
        return mixture.head.sample_rate if self.request.keep_rate else self.rate

    def write(
        self, mixture: Mixture, targets: Mapping[str, Path], advance: Callable[[float], None] = lambda seconds: None
    ) -> None:
        """Write each output to its file: all of them, or none if an error or an interrupt ends the separation.

        Args:
            mixture: The mixture.
            targets: A file for each of `outputs`.
            advance: Called with the seconds separated since its last call. An exception in it ends the separation.

        Raises:
            DataError: The mixture cannot be read to its end, an estimate is not finite, or the format cannot hold it.
            OSError: The disk rejects a write.
        """
        rate, channels = self.rate_of(mixture), mixture.head.channels
        passes = 1 + self._wiener_passes(mixture)
        frames = round(mixture.head.frames * rate / mixture.head.sample_rate)
        with ExitStack() as stack:
            writers = [
                stack.enter_context(written_audio(targets[name], rate, channels, frames, self.request.format))
                for name in self.outputs
            ]
            for pieces in self.stream(mixture, advance):
                for writer, piece in zip(writers, pieces, strict=True):
                    writer.write(piece)
                advance(len(pieces[0]) / rate / passes)
            self._check_length(mixture, writers[0].frames)

    def collect(self, mixture: Mixture, advance: Callable[[float], None] = lambda seconds: None) -> dict[str, np.ndarray]:
        """Return each output as an array.

        Shape:
            float32 [nc, frames] each

        Raises:
            DataError: See `write`.
        """
        found: list[list[np.ndarray]] = []
        passes = 1 + self._wiener_passes(mixture)
        for pieces in self.stream(mixture, advance):
            found.append(pieces)
            advance(len(pieces[0]) / self.rate_of(mixture) / passes)
        self._check_length(mixture, len(found))
        columns = zip(*found, strict=True)
        return {name: np.concatenate(column).T for name, column in zip(self.outputs, columns, strict=True)}

    def _check_length(self, mixture: Mixture, frames: int) -> None:
        if not frames:
            head = mixture.head
            raise DataError(
                f"{mixture.name} is too short: {head.frames} samples at {head.sample_rate} Hz are none at "
                f"{self.rate_of(mixture)} Hz. Give a longer signal, or keep its rate."
            )

    def _wiener_passes(self, mixture: Mixture) -> int:
        return self.request.wiener if mixture.head.channels > 1 else 0

    def stream(
        self, mixture: Mixture, advance: Callable[[float], None] = lambda seconds: None
    ) -> Iterator[list[np.ndarray]]:
        """Yield the next frames of each output, float32 [n, nc], in the order of `outputs`.

        A mixture that is silent gives silent outputs, and a warning at the end.

        Args:
            mixture: The mixture.
            advance: Called in the passes that fit the Wiener filter, with the seconds read divided by the number of all
                passes.

        Raises:
            DataError: The mixture cannot be read to its end, or an estimate is not finite.
        """
        head, rate = mixture.head, self.rate_of(mixture)
        if self.ensemble.channels not in (1, head.channels):
            raise DataError(
                f"{mixture.name} has {head.channels} channels: the model separates {self.ensemble.channels} channels "
                "together. Give audio with as many channels."
            )
        full_band = self.request.high_band and rate > self.rate
        read = _Counted(mixture.read(), head.sample_rate)
        pieces = self._shifted(mixture, read, full_band, advance)
        if rate != self.rate:
            pieces = _exactly(resampled(pieces, self.rate, rate), read)
        # Read the mixture a second time: keeping it until its estimate is ready would hold a whole batch of chunks.
        again = _Buffer(resampled(mixture.read(), head.sample_rate, rate))
        done, width = 0, len(self.labels) * head.channels
        for piece in filter(len, pieces):
            estimates = piece[:, :width].reshape(len(piece), -1, head.channels)  # [n, labels, nc]
            if full_band or self.request.residual:
                whole = again.take(len(piece))
            if full_band:
                low, shares, one = np.split(piece[:, width:], [head.channels, head.channels + width], axis=1)
                shares = shares.reshape(estimates.shape)
                estimates = estimates + high_bands(whole, low, shares, one[:, 0], len(self.ensemble.labels))
            outputs = [np.ascontiguousarray(estimates[:, number]) for number in range(estimates.shape[1])]
            if self.request.residual:
                outputs.append(whole - sum(outputs))
            if not all(np.isfinite(output).all() for output in outputs):
                raise DataError(
                    f"{mixture.name} cannot be separated: the estimates are not finite numbers from {done / rate:.1f} s "
                    f"on. Its samples reach {read.peak:.3g}; if that is far above 1, scale the audio down."
                )
            done += len(piece)
            yield outputs
        if not read.activity.found():
            logger.warning(
                "%s is silent, never above %g dBFS in any tenth of a second, and so are its stems.",
                mixture.name, ACTIVITY_DBFS,
            )  # fmt: skip

    def _shifted(
        self, mixture: Mixture, read: Iterable[np.ndarray], full_band: bool, advance: Callable[[float], None]
    ) -> Iterator[np.ndarray]:
        """Yield the mean of the estimates of the mixture and of delayed copies of it; see `_estimates`."""
        count = self.request.shifts
        delays = [round(number * SHIFT_SECONDS * self.rate / count) for number in range(count)]
        others = [_Buffer(self._estimates(mixture, mixture.read(), full_band, delay)) for delay in delays[1:]]
        for piece in self._estimates(mixture, read, full_band, advance=advance):
            yield sum((other.take(len(piece)) for other in others), start=piece) / np.float32(count) if others else piece

    def _estimates(
        self,
        mixture: Mixture,
        read: Iterable[np.ndarray],
        full_band: bool,
        delay: int = 0,
        advance: Callable[[float], None] = lambda seconds: None,
    ) -> Iterator[np.ndarray]:
        """Yield the estimates of all picked labels, as long as the mixture, at the model's rate.

        With ``full_band`` the columns of the estimates are followed by those of the mixture itself, by the labels' shares
        of the high band, and by a column of ones.

        Args:
            mixture: The mixture.
            read: Its blocks, at its own rate.
            full_band: Whether the high band will be shared out.
            delay: Samples of silence to put before the mixture; they are cut off again.
            advance: See `stream`.

        Shape:
            [n, nc] each -> [m, labels x nc (+ nc + labels x nc + 1)] each
        """
        channels, device, params = mixture.head.channels, self.ensemble.device, self.ensemble.stft_params
        samples = mixture.head.frames * self.rate / mixture.head.sample_rate + delay
        chunking = self.chunking.at_most(int(samples) // params.hop_length + 3)
        network = functools.partial(self.ensemble.masks, bf16=self.bf16)

        def masked_spectra(analysis: StftStream, read: Iterable[np.ndarray]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            def spectra() -> Iterator[torch.Tensor]:
                if delay:
                    yield self._as_rows(analysis.push(torch.zeros(channels, delay)))
                for audio in resampled(read, mixture.head.sample_rate, self.rate):
                    yield self._as_rows(analysis.push(torch.from_numpy(np.ascontiguousarray(audio.T))))
                yield self._as_rows(analysis.finish())

            return in_chunks(spectra(), network, chunking, to_input=torch.abs)

        spatial, passes = SpatialFilter(), self._wiener_passes(mixture)
        for _ in range(passes):
            for spectrum, masks in masked_spectra(StftStream(params, channels, device), mixture.read()):
                spatial.observe(self._by_channel(spectrum), self._by_channel(masks))
                advance(spectrum.shape[1] * params.hop_length / self.rate / (passes + 1))
            spatial.update()
        analysis, synthesis = StftStream(params, channels, device), IstftStream(params, device)
        bands, given = _FullBand(self, channels) if full_band else None, 0
        for spectrum, masks in masked_spectra(analysis, read):
            if passes:
                sources = spatial.estimate(self._by_channel(spectrum), self._by_channel(masks))[..., self.picked]
                masked = sources.permute(3, 2, 1, 0).flatten(0, 1).to(device, torch.complex64)
            else:
                # Picking copies masks, which takes five times as long as applying them: avoid it if all are picked.
                picked = masks if len(self.picked) == masks.shape[-1] else masks[..., self.picked]
                masked = self._as_channels(spectrum[..., None] * picked)
            if bands:
                masked = torch.cat([masked, self._as_channels(spectrum[..., None])])
            audio = synthesis.push(masked)[:, : analysis.samples - given]  # [labels x nc (+ nc), m]
            given += audio.shape[1]
            piece = audio.T.cpu().numpy()
            if bands:
                piece = bands.push(piece, spectrum, masks)
            dropped = min(delay, len(piece))
            delay -= dropped
            yield piece[dropped:]
        piece = synthesis.finish()[:, : analysis.samples - given].T.cpu().numpy()
        yield (bands.finish(piece, analysis.samples) if bands else piece)[delay:]

    def _as_rows(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return a spectrum [nc, nf, n] as the network takes it, [rows, n, nf, nc]."""
        return spectrum.permute(2, 1, 0)[None] if self.ensemble.channels > 1 else spectrum.transpose(1, 2)[..., None]

    def _by_channel(self, rows: torch.Tensor) -> torch.Tensor:
        """Return a spectrum or masks in the network's order, [rows, n, nf, nc, ...], as [n, nf, nc, ...]."""
        return rows[0] if self.ensemble.channels > 1 else rows.squeeze(3).movedim(0, 2)

    def _as_channels(self, spectra: torch.Tensor) -> torch.Tensor:
        """Return spectra in the network's order, [rows, n, nf, nc, ns], as [ns x nc, nf, n]."""
        together = self.ensemble.channels > 1
        spectra = spectra[0].permute(3, 2, 1, 0) if together else spectra[..., 0, :].permute(3, 0, 2, 1)
        return spectra.flatten(0, 1)


class _FullBand:
    """Join the audio with the high-band shares of the same samples; either may be ready before the other."""

    def __init__(self, separator: StreamSeparator, channels: int):
        self.picked = separator.picked
        self.shares = BandShares(separator.ensemble.stft_params.hop_length)
        self.audio, self.gains, self.given = _Buffer(), _Buffer(), 0

    def push(self, audio: np.ndarray, spectrum: torch.Tensor, masks: torch.Tensor) -> np.ndarray:
        """Return the samples for which both are ready, [m, columns]."""
        self.gains.push(self._columns(self.shares.push(spectrum, masks)))
        return self._joined(audio)

    def finish(self, audio: np.ndarray, samples: int) -> np.ndarray:
        """Return the remaining samples; ``samples`` is the length of the whole signal."""
        self.gains.push(self._columns(self.shares.finish(samples - self.given - len(self.gains))))
        return self._joined(audio)

    def _columns(self, shares: np.ndarray) -> np.ndarray:
        return shares[:, self.picked].reshape(len(shares), len(self.picked) * shares.shape[2])

    def _joined(self, audio: np.ndarray) -> np.ndarray:
        self.audio.push(audio)
        count = min(len(self.audio), len(self.gains))
        self.given += count
        return np.hstack([self.audio.take(count), self.gains.take(count), np.ones((count, 1), np.float32)])


class _Counted:
    """Pass on the blocks of a signal, and keep the number of frames so far, their peak and their activity."""

    def __init__(self, pieces: Iterable[np.ndarray], sample_rate: int):
        self.pieces, self.frames, self.peak, self.activity = pieces, 0, 0.0, Activity(sample_rate)

    def __iter__(self) -> Iterator[np.ndarray]:
        for piece in self.pieces:
            self.frames += len(piece)
            self.peak = max(self.peak, float(np.abs(piece).max(initial=0)))
            self.activity.push(piece)
            yield piece


def _exactly(pieces: Iterable[np.ndarray], read: _Counted) -> Iterator[np.ndarray]:
    """Yield exactly as many frames as were read: resampling to another rate and back may add or drop some at the end."""
    given = 0
    for piece in pieces:
        piece = piece[: read.frames - given]
        given += len(piece)
        yield piece
    yield np.zeros((read.frames - given, piece.shape[1]), np.float32)


class _Buffer:
    """A queue of rows: they come in pieces of any length, and are taken in pieces of other lengths.

    Args:
        pieces: Source of more rows, read when the queue has too few.
    """

    def __init__(self, pieces: Iterable[np.ndarray] = ()):
        self.pieces = iter(pieces)
        self.rows: np.ndarray | None = None

    def __len__(self) -> int:
        return 0 if self.rows is None else len(self.rows)

    def push(self, rows: np.ndarray) -> None:
        """Add rows at the end."""
        self.rows = rows if self.rows is None else np.concatenate([self.rows, rows])

    def take(self, count: int) -> np.ndarray:
        """Return the next rows."""
        taken, missing = [] if self.rows is None else [self.rows], count - len(self)
        while missing > 0:
            taken.append(next(self.pieces))
            missing -= len(taken[-1])
        rows = np.concatenate(taken)
        self.rows = rows[count:].copy()
        return rows[:count]
