"""Chunks: inside a chunk the result is the network's, overlaps are cross-faded, and pieces may have any length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nussl import STFTParams

from nussl_transfer.errors import ConfigError
from nussl_transfer.separation.chunks import Chunking, chunking_of, in_chunks

STFT = STFTParams(512, 128, "sqrt_hann")


def joined(frames, chunking, network, cuts=(), rows=1):
    """Return the output for numbered frames, which come in pieces that end at `cuts`."""
    signal = torch.arange(float(frames)).repeat(rows, 1)[..., None]  # [rows, n, 1]
    pieces = [piece for piece in torch.tensor_split(signal, list(cuts), dim=1) if piece.shape[1]]
    pairs = [(frames.clone(), output) for frames, output in in_chunks(pieces, network, chunking)]
    torch.testing.assert_close(torch.cat([frames for frames, _ in pairs], dim=1), signal)
    return torch.cat([output for _, output in pairs], dim=1)[..., 0]


def numbered(part):
    """A network that returns the first frame of the chunk for each of its frames."""
    return part[:, :1].expand_as(part)


@pytest.mark.parametrize("batch", [1, 3, 100])
@pytest.mark.parametrize("overlap", [0, 1, 5])
def test_every_frame_comes_out_once_and_in_order(batch, overlap):
    for frames in (*range(1, 45), 100, 101, 177):
        cuts = np.random.default_rng(frames).integers(0, frames + 1, 4)
        found = joined(frames, Chunking(10, overlap, batch), lambda part: part, sorted(cuts), rows=2)
        torch.testing.assert_close(found, torch.arange(float(frames)).repeat(2, 1))


@pytest.mark.parametrize("frames", [11, 26, 29, 34, 35, 50])
@pytest.mark.parametrize("batch", [1, 2, 8])
def test_inside_a_chunk_the_result_is_the_networks_and_in_overlaps_a_weighted_mean(frames, batch):
    chunking = Chunking(10, 2, batch)
    found = joined(frames, chunking, numbered)[0].numpy()
    # Compute the expected result frame by frame: a chunk fades in over the tail of the chunk before. The last chunk, which
    # may start earlier, fades in at its regular start.
    starts = chunking.starts(frames)
    expected = np.full(frames, np.nan)
    for number, start in enumerate(starts):
        begin = number * chunking.hop
        for frame in range(begin, start + 10):
            place = (frame - begin + 1) / 3
            weight = np.sin(np.pi / 2 * place) ** 2 if number and frame < begin + 2 else 1.0
            before = 0.0 if weight == 1 else (1 - weight) * expected[frame]
            expected[frame] = before + weight * start
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_result_is_the_same_whatever_the_pieces_and_the_batch():
    network = torch.nn.GRU(1, 1, batch_first=True, bidirectional=True)
    with torch.no_grad():
        results = [
            joined(83, Chunking(20, 4, batch), lambda part: network(part)[0], cuts)
            for batch, cuts in [(1, ()), (4, (1, 2, 60)), (50, range(1, 83))]
        ]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=1e-6)


def test_batches_are_never_larger_than_allowed_and_full_where_possible():
    sizes = []

    def network(part):
        sizes.append(tuple(part.shape[:2]))
        return part

    joined(10 + 8 * 8, Chunking(10, 2, 4), network)
    assert sizes == [(4, 10), (4, 10), (1, 10)]  # the last one ends with the signal
    sizes.clear()
    joined(26, Chunking(10, 2, 4), network, rows=6)  # six channels, chunk by chunk
    assert sizes == [(4, 10), (2, 10)] * 3


def test_a_signal_of_one_chunk_is_processed_in_one_piece():
    seen = []
    joined(10, Chunking(10, 5, 4), lambda part: seen.append(part) or part)
    assert len(seen) == 1 and seen[0].shape == (1, 10, 1)


def test_no_frame_is_held_longer_than_a_batch_needs():
    chunking, given = Chunking(10, 2, 3), 0
    held = []

    def pieces():
        nonlocal given
        for _ in range(500):
            given += 1
            yield torch.zeros(1, 1, 1)

    for frames, _ in in_chunks(pieces(), lambda part: part, chunking):
        held.append(given)
        given -= frames.shape[1]
    assert max(held) <= 2 * 10 + 3 * 8


def test_chunks_have_the_length_of_the_training_excerpts_or_the_given_one():
    assert chunking_of(10.0, 16000, STFT) == Chunking(1251, 63, 8)
    assert chunking_of(10.0, 16000, STFT, chunk_seconds=2.0).frames == 251
    # An absurd length in a checkpoint is ignored, so it does not decide on the memory.
    for nonsense in (float("nan"), -3.0, 0.0, 1e12):
        assert chunking_of(nonsense, 16000, STFT).frames == 1251


@pytest.mark.parametrize("seconds", [0.2, 1.0, 3.3, 10.0, 30.0, 60.0])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_batch_has_at_most_ten_thousand_frames_unless_one_chunk_has_more(seconds, rate):
    chunking = chunking_of(seconds, rate, STFT)
    assert chunking.batch * chunking.frames <= max(10_050, chunking.frames)
    assert (chunking.batch + 1) * chunking.frames > 10_050  # and as many as it may


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.1, float("nan"), float("inf")])
def test_impossible_lengths_are_errors(seconds):
    with pytest.raises(ConfigError, match="the shortest is 0.128 s"):
        chunking_of(10.0, 16000, STFT, chunk_seconds=seconds)


def test_two_chunks_share_at_most_half_of_themselves():
    with pytest.raises(ConfigError, match="at most half"):
        Chunking(10, 6, 1)
