"""Frames of any length through a network in chunks of one length, several at once, joined by cross-fades.

A recurrent network on a whole hour needs memory for the hour, and computes its steps one vector at a time. Chunks need
the memory of one batch, and their steps are products of matrices. The framing is that of the whole signal: a chunk is
a run of the signal's own frames, so that inside it the result is the network's on these frames, to the last bit but
those of another order of summing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from nussl import STFTParams

from ..errors import ConfigError

# Of a chunk, shared with the next: half a second to either side of what a network of ten seconds hears.
OVERLAP = 0.1
# Frames in a batch, all chunks and channels together: 16 times ten seconds at 125 frames a second. More would not be
# faster, and the memory of a separation is in proportion.
BATCH_FRAMES = 20_000
# What a checkpoint says it was trained on is believed within these bounds, in seconds.
SHORTEST, LONGEST, USUAL = 0.25, 60.0, 10.0


@dataclass(frozen=True)
class Chunking:
    """How frames are cut: chunks of ``frames`` that share ``overlap`` with the next, ``batch`` of them at once."""

    frames: int
    overlap: int
    batch: int

    def __post_init__(self):
        if self.frames < 1 or self.batch < 1 or not 0 <= self.overlap <= self.frames // 2:
            raise ConfigError(
                f"Chunks of {self.frames} frames, {self.overlap} shared, {self.batch} at once were asked for: take at "
                "least 1, 1 at once, and let two chunks share at most half of themselves."
            )

    @property
    def hop(self) -> int:
        """Returns the frames from the start of a chunk to that of the next."""
        return self.frames - self.overlap

    def starts(self, frames: int) -> list[int]:
        """Returns where the chunks of a signal start; the last one is moved back until it ends with the signal.

        >>> Chunking(frames=10, overlap=2, batch=1).starts(21)
        [0, 8, 11]
        """
        last = max(0, frames - self.frames)
        return [*range(0, last, self.hop), last]


def chunking_of(
    trained_seconds: float, sample_rate: int, stft_params: STFTParams, chunk_seconds: float | None = None
) -> Chunking:
    """Returns the chunks for a network: as long as what it was trained on, or as asked for.

    Args:
        trained_seconds: Length of the mixtures that it was trained on.
        sample_rate: Its rate in Hz.
        stft_params: Its STFT.
        chunk_seconds: Length of a chunk; that of the training when None.

    Raises:
        ConfigError: The length asked for is no positive number, or is below four windows.
    """
    shortest = 4 * stft_params.window_length / sample_rate
    if chunk_seconds is not None and not (math.isfinite(chunk_seconds) and chunk_seconds >= shortest):
        raise ConfigError(
            f"Chunks of {chunk_seconds:g} s were asked for: take at least {shortest:g} s, four windows of the model's "
            f"STFT; it was trained on {trained_seconds:g} s."
        )
    if chunk_seconds is None:
        believed = SHORTEST <= trained_seconds <= LONGEST
        chunk_seconds = max(trained_seconds if believed else USUAL, shortest)
    # As many frames as an excerpt of this length has: half a window of zeros at either end makes one more.
    frames = round(chunk_seconds * sample_rate) // stft_params.hop_length + 1
    return Chunking(frames, max(1, round(OVERLAP * frames)), max(1, BATCH_FRAMES // frames))


def in_chunks(
    pieces: Iterable[torch.Tensor], network: Callable[[torch.Tensor], torch.Tensor], chunking: Chunking
) -> Iterator[torch.Tensor]:
    """Yields what a network gives for frames that come piece by piece, in order; it never holds more than a batch.

    Where two chunks overlap, the first fades out and the second in, and their weights add up to one: what adds up to
    one in either, such as softmax masks, does so in the result. A signal of no more frames than a chunk goes through
    the network as it is.

    Args:
        pieces: Frames, of any number at a time; rows, such as channels, go through the network as items of a batch.
        network: Is given [nb, n, ...] with nb at most ``chunking.batch``, and gives [nb, n, ...].
        chunking: How they are cut.

    Shape:
        [rows, n, ...] each -> [rows, m, ...] each; the sums of all n and of all m are the same
    """
    joined, waiting, passed, at_once = _Joined(chunking), None, 0, 1
    for piece in pieces:
        # `waiting` holds all frames from the start of the chunk before the next, which is `passed` frames further on.
        waiting = piece if waiting is None else torch.cat([waiting, piece], dim=1)
        at_once = max(1, chunking.batch // len(piece))
        span = (at_once - 1) * chunking.hop + chunking.frames
        while waiting.shape[1] - passed >= span:
            starts = [passed + number * chunking.hop for number in range(at_once)]
            yield from map(joined.add, _run(waiting, starts, network, chunking))
            # The last chunk may have to reach back by a whole hop.
            waiting, passed = waiting[:, starts[-1] :].clone(), chunking.hop
    if waiting is None:
        return
    frames = waiting.shape[1]
    if joined.tail is not None and frames - passed == chunking.overlap:
        yield joined.tail  # the last chunk ended with the signal
        return
    starts, regular = [], passed
    while regular + chunking.frames < frames:
        starts.append(regular)
        regular += chunking.hop
    # The last one reaches back, to be as long as the others; what it knows better than they is faded in as ever.
    starts.append(max(0, frames - chunking.frames))
    for begin in range(0, len(starts), at_once):
        some = starts[begin : begin + at_once]
        *between, last = _run(waiting, some, network, chunking)
        yield from map(joined.add, between)
        yield joined.add(last) if begin + at_once < len(starts) else joined.end(last, regular - starts[-1])


def _run(
    frames: torch.Tensor, starts: list[int], network: Callable[[torch.Tensor], torch.Tensor], chunking: Chunking
) -> list[torch.Tensor]:
    """Returns the network's output for each chunk, [rows, n, ...]."""
    rows = len(frames)
    stacked = torch.cat([frames[:, start : start + chunking.frames] for start in starts])  # [chunks x rows, n, ...]
    outputs = torch.cat([network(part) for part in stacked.split(chunking.batch)])
    return list(outputs.split(rows))


class _Joined:
    """Chunks in order to a signal: each without its tail, which waits for the next to fade in over it."""

    def __init__(self, chunking: Chunking):
        self.hop = chunking.hop
        rising = torch.arange(1, chunking.overlap + 1) / (chunking.overlap + 1)
        self.rising = torch.sin(0.5 * math.pi * rising).square()  # with its mirror image adds up to one
        self.tail: torch.Tensor | None = None

    def add(self, output: torch.Tensor) -> torch.Tensor:
        """Returns what is settled once a chunk is there, [rows, hop, ...]."""
        output = self._faded(output)
        self.tail = output[:, self.hop :].clone()
        return output[:, : self.hop]

    def end(self, output: torch.Tensor, known: int) -> torch.Tensor:
        """Returns the rest, of a last chunk whose first ``known`` frames have gone out."""
        return self._faded(output[:, known:])

    def _faded(self, output: torch.Tensor) -> torch.Tensor:
        if self.tail is None or not len(self.rising):
            return output
        overlap = len(self.rising)
        rising = self.rising.to(output.device).reshape(-1, *[1] * (output.ndim - 2))
        output = output.clone()  # what a network gives under inference mode may not be written to
        output[:, :overlap] = torch.lerp(self.tail, output[:, :overlap], rising)
        return output
