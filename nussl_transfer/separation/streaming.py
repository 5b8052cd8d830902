"""One audio file into one file a label, in memory that does not grow with its length.

Every stage takes what the one before has ready and holds no more than it needs::

    blocks of the file -> the model's rate -> STFT -> masks, chunk by chunk -> inverse STFT -> rate of the output -> files
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from nussl import STFTParams

from ..audio.io import Header, blocks, header, resampled
from ..audio.stft import IstftStream, StftStream
from ..audio.writer import check_format, written_audio
from ..errors import ConfigError, DataError
from ..networks.forward import run_network
from .chunks import Chunking, chunking_of, in_chunks
from .naming import free_name, safe_names
from .network import open_mask_network

RESIDUAL = "residual"
# Frames read at once: a few seconds.
BLOCK = 1 << 16


@dataclass(frozen=True)
class Request:
    """What is asked for of every file.

    Attributes:
        labels: Which labels are written, in any order; all when empty.
        residual: Whether the mixture minus those labels is written, too.
        keep_rate: Whether files are written at the rate of the input, instead of the model's.
        format: 'wav' (float32), 'flac' (24 bits), 'ogg' or 'mp3'.
    """

    labels: Sequence[str] = ()
    residual: bool = False
    keep_rate: bool = False
    format: str = "wav"


class FileSeparator:
    """Separates audio files with the masks of one checkpoint.

    From here on the C library (glibc) returns large blocks to the system when they are freed, in the whole process.

    Args:
        model: Checkpoint.
        request: What is asked for.
        device: 'cpu' or 'cuda'.
        bf16: Whether the network multiplies in bfloat16.
        chunk_seconds: Length of a chunk; that of the mixtures the network was trained on when None.

    Raises:
        CheckpointError: The checkpoint cannot be read or has no trained mask head.
        ConfigError: There is no such label, device or format, or the chunks are too short.
    """

    def __init__(
        self,
        model: str | Path,
        request: Request = Request(),
        device: str = "cpu",
        bf16: bool = False,
        chunk_seconds: float | None = None,
    ):
        check_format(request.format)
        self.network, info = open_mask_network(model, device)
        unknown = [label for label in request.labels if label not in info.labels]
        if unknown:
            raise ConfigError(f"Labels {', '.join(unknown)} were asked for: {model} separates {', '.join(info.labels)}.")
        self.request, self.device, self.bf16 = request, device, bf16
        self.rate: int = info.sample_rate
        self.stft_params: STFTParams = info.stft_params
        self.chunking: Chunking = chunking_of(info.excerpt_seconds, self.rate, self.stft_params, chunk_seconds)
        self.picked = [number for number, label in enumerate(info.labels) if label in (request.labels or info.labels)]
        self.labels = [info.labels[number] for number in self.picked]

    def separate(
        self, path: Path, folder: Path, advance: Callable[[float], None] = lambda seconds: None
    ) -> dict[str, Path]:
        """Writes ``<folder>/<label>.<format>`` for each label and returns the paths; all of them or none.

        Args:
            path: An audio file, of any rate, length and number of channels.
            folder: Where to write; made when absent.
            advance: Is told how many seconds have been separated since it was told last.

        Raises:
            DataError: The file cannot be read, or not to its end; or the output format cannot hold what comes of it.
            OSError: The disk does not take what is written.
        """
        head = header(path)
        self._check(path, head.channels)
        rate = head.sample_rate if self.request.keep_rate else self.rate
        frames = round(head.frames * rate / head.sample_rate)
        names = safe_names(self.labels)
        if self.request.residual:
            rest = free_name(RESIDUAL, names.values())  # a label of the model may be called so, too
            names[rest] = rest
        targets = {name: folder / f"{file}.{self.request.format}" for name, file in names.items()}
        with ExitStack() as stack:
            writers = [
                stack.enter_context(written_audio(target, rate, head.channels, frames, self.request.format))
                for target in targets.values()
            ]
            for pieces in self._outputs(path, head):
                for writer, piece in zip(writers, pieces, strict=True):
                    writer.write(piece)
                advance(len(pieces[0]) / rate)
            if not writers[0].frames:
                raise DataError(
                    f"{path} has {head.frames} samples at {head.sample_rate} Hz: that is none at {rate} Hz. Give a longer "
                    "file, or keep its rate."
                )
        return targets

    def _check(self, path: Path, channels: int) -> None:
        wanted = self.network.layers["mask"].num_audio_channels
        if wanted not in (1, channels):
            raise DataError(
                f"{path} has {channels} channels: the checkpoint separates {wanted} together. Give it such a file."
            )
        self.together = wanted > 1

    def _outputs(self, path: Path, head: Header) -> Iterator[list[np.ndarray]]:
        """Yields for each file to be written its next frames, [n, nc]."""
        read = _Counted(blocks(path, BLOCK))
        pieces = self._estimates(resampled(read, head.sample_rate, self.rate), head.channels)
        rate = self.rate
        if self.request.keep_rate and head.sample_rate != rate:
            rate = head.sample_rate
            pieces = _exactly(resampled(pieces, self.rate, rate), read)
        # The file is read again for the residual: it would have to be held for a whole batch of chunks.
        mixture = _Taken(resampled(blocks(path, BLOCK), head.sample_rate, rate))
        for piece in filter(len, pieces):
            estimates = np.split(piece, len(self.labels), axis=1)
            if self.request.residual:
                estimates.append(mixture.take(len(piece)) - sum(estimates))
            yield estimates

    def _estimates(self, mixture: Iterable[np.ndarray], channels: int) -> Iterator[np.ndarray]:
        """Yields the estimates of all picked labels, as long as the mixture, both at the model's rate.

        Shape:
            [n, nc] each -> [m, labels x nc] each
        """
        analysis = StftStream(self.stft_params, channels, self.device)
        synthesis = IstftStream(self.stft_params, self.device)
        given = 0

        def spectra() -> Iterator[torch.Tensor]:
            for audio in mixture:
                yield self._as_rows(analysis.push(torch.from_numpy(audio.T)))
            yield self._as_rows(analysis.finish())

        network = functools.partial(run_network, self.network, output="mask", bf16=self.bf16, exact=False)
        for spectrum, masks in in_chunks(spectra(), network, self.chunking, heard=torch.abs):
            masked = self._as_channels(spectrum[..., None] * masks[..., self.picked])
            audio = synthesis.push(masked)[:, : analysis.samples - given]  # [labels x nc, m]
            given += audio.shape[1]
            yield audio.T.cpu().numpy()
        yield synthesis.finish()[:, : analysis.samples - given].T.cpu().numpy()

    def _as_rows(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Returns a spectrum [nc, nf, n] as the network takes it, [rows, n, nf, nc]."""
        return spectrum.permute(2, 1, 0)[None] if self.together else spectrum.transpose(1, 2)[..., None]

    def _as_channels(self, spectra: torch.Tensor) -> torch.Tensor:
        """Returns spectra [ns x nc, nf, n] of those in the network's order, [rows, n, nf, nc, ns]."""
        spectra = spectra[0].permute(3, 2, 1, 0) if self.together else spectra[..., 0, :].permute(3, 0, 2, 1)
        return spectra.flatten(0, 1)


class _Counted:
    """Blocks of a file as they come, with the number of frames so far."""

    def __init__(self, pieces: Iterable[np.ndarray]):
        self.pieces, self.frames = pieces, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for piece in self.pieces:
            self.frames += len(piece)
            yield piece


def _exactly(pieces: Iterable[np.ndarray], read: _Counted) -> Iterator[np.ndarray]:
    """Yields as many frames as were read: resampling there and back may gain or lose some at the end."""
    given = 0
    for piece in pieces:
        piece = piece[: read.frames - given]
        given += len(piece)
        yield piece
    yield np.zeros((read.frames - given, piece.shape[1]), np.float32)


class _Taken:
    """A signal that comes in pieces and is taken in others."""

    def __init__(self, pieces: Iterable[np.ndarray]):
        self.pieces, self.rest = iter(pieces), None

    def take(self, frames: int) -> np.ndarray:
        """Returns the next frames, [frames, nc]."""
        taken = [] if self.rest is None else [self.rest]
        while sum(map(len, taken)) < frames:
            taken.append(next(self.pieces))
        together = np.concatenate(taken)
        self.rest = together[frames:].copy()
        return together[:frames]
