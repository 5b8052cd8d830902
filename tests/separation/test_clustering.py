"""TransferDeepClustering replaces nussl's DeepClustering, with the same clusters in every chunk."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import nussl
import pytest
import torch
from nussl.separation.deep import DeepClustering

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.errors import CheckpointError
from nussl_transfer.separation import mixin as chunked_mixin
from nussl_transfer.separation.clustering import TransferDeepClustering

RATE = 16000


@pytest.fixture(scope="module")
def body(tmp_path_factory, make_checkpoint):
    path = tmp_path_factory.mktemp("models") / "body.pth"
    return make_checkpoint(path, mode="pretrain", excerpt_seconds=0.5, hidden_size=16)


def array(estimates):
    return np.stack([estimate.audio_data for estimate in estimates])  # [ns, nc, samples]


def nearest_permutation(ours, theirs):
    """Return the order of our sources that is nearest to theirs."""
    orders = itertools.permutations(range(len(ours)))
    return min((ours[list(order)] for order in orders), key=lambda found: np.abs(found - theirs).sum())


@pytest.mark.parametrize("mask_type", ["soft", "binary"])
@pytest.mark.parametrize("clustering_type", ["KMeans", "GaussianMixture"])
def test_estimates_of_a_signal_no_longer_than_a_chunk_are_nussls(body, noise, signal, mask_type, clustering_type):
    mixture = signal(noise(2, 7000))
    options = {"mask_type": mask_type, "clustering_type": clustering_type, "random_state": 0}
    ours = array(TransferDeepClustering(mixture, 2, body, **options)())
    theirs = array(DeepClustering(mixture, 2, str(body), **options)())
    np.testing.assert_allclose(nearest_permutation(ours, theirs), theirs, atol=1e-6)


def test_the_separator_takes_the_arguments_of_nussls():
    ours, theirs = (inspect.signature(kind).parameters for kind in (TransferDeepClustering, DeepClustering))
    shared = [(name, ours[name].kind, ours[name].default) for name in ours if name in theirs]
    assert shared == [(name, theirs[name].kind, theirs[name].default) for name in theirs]


def by_pitch(magnitude):
    """Return an embedding of two clusters: the bins below 80, and the others."""
    high = (torch.arange(257) >= 80).float()[None, None, :, None].expand(magnitude.shape)
    cloud = 0.2 * torch.rand(*magnitude.shape, 2, generator=torch.Generator().manual_seed(0))
    return torch.stack([high, 1 - high], dim=-1) + cloud


def test_a_cluster_keeps_its_number_through_the_whole_signal(body, signal, monkeypatch):
    """Two tones take turns, for longer than a chunk each: each tone is always in the same estimate."""
    time = np.arange(6 * RATE) / RATE
    low, high = np.sin(2 * np.pi * 300 * time), np.sin(2 * np.pi * 6000 * time)
    first = (time // 1.5).astype(int) % 2 == 0
    mixture = signal(0.3 * np.where(first, low, high)[None])
    separator = TransferDeepClustering(mixture, 2, body, mask_type="binary", random_state=0)
    monkeypatch.setattr(separator, "_network", lambda output: by_pitch)
    estimates = array(separator())[:, 0]
    np.testing.assert_allclose(estimates.sum(axis=0), mixture.audio_data[0], atol=1e-5)
    parts = [estimates[:, number * RATE * 3 // 2 :][:, : RATE * 3 // 2] for number in range(4)]
    shares = [(part[0] ** 2).sum() / (part**2).sum() for part in parts]
    if shares[0] > 0.5:
        shares = [1 - share for share in shares]
    np.testing.assert_allclose(shares, [0, 1, 0, 1], atol=0.01)


def test_inside_chunks_the_masks_of_given_clusters_are_nussls_on_the_whole_signal(body, noise, signal):
    centres = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    mixture, masks = signal(noise(1, 4 * RATE)), []
    for kind in (TransferDeepClustering, DeepClustering):
        separator = kind(mixture, 2, str(body), fit_clusterer=False, init=centres)
        separator.clusterer._n_threads = 1  # what a fit would have set
        separator()
        np.testing.assert_array_equal(separator.clusterer.cluster_centers_, centres)
        masks.append(np.stack([mask.mask for mask in separator.result_masks]))
    difference = np.abs(masks[0] - masks[1])
    # So small a network remembers only a few frames.
    assert np.median(difference) < 1e-6 and difference.mean() < 0.01
    np.testing.assert_allclose(masks[0].sum(axis=0), 1, atol=1e-6)


def test_the_embedding_of_a_long_signal_is_never_held_whole(body, noise, signal, monkeypatch):
    separator = TransferDeepClustering(signal(noise(1, 5 * RATE)), 2, body, random_state=0)
    monkeypatch.setattr(chunked_mixin, "SAMPLED_CHUNKS", 3)
    sizes = []
    separator.model.layers["embedding"].register_forward_hook(lambda layer, given, output: sizes.append(output.shape))
    fitted = []
    fit = separator.clusterer.fit
    monkeypatch.setattr(separator.clusterer, "fit", lambda points: fitted.append(points.shape) or fit(points))
    separator()
    assert separator.chunking.batch == 79  # half as many chunks as for masks
    assert sizes == [(1, 63, 257, 1, 4)] * 3 + [(11, 63, 257, 1, 4)]
    assert len(fitted) == 1 and fitted[0][0] < 3 * 63 * 257 / 2


def test_an_embedding_can_be_given(body, noise, signal):
    separator = TransferDeepClustering(signal(noise(1, 7000)), 2, body, random_state=0)
    expected = array(separator())
    again = TransferDeepClustering(signal(noise(1, 7000)), 2, body, random_state=0)
    np.testing.assert_allclose(array(again(features=separator.features)), expected, atol=1e-6)
    assert separator.extract_features().shape == (257, 56, 1, 4)


@pytest.mark.parametrize("seconds", [0.25, 3.0])
def test_silence_separates_to_silence(body, signal, seconds):
    separator = TransferDeepClustering(signal(np.zeros((1, int(seconds * RATE)))), 2, body, random_state=0)
    assert not np.any(array(separator()))


@pytest.mark.parametrize("seconds", [0.25, 2.0])
def test_the_separator_measures_its_confidence(body, noise, signal, seconds):
    separator = TransferDeepClustering(signal(noise(1, int(seconds * RATE))), 2, body, random_state=0)
    separator()
    assert -1 <= separator.confidence() <= 1
    assert 0 <= separator.confidence("loudness_confidence")


def test_a_network_without_an_embedding_is_an_error(tmp_path, noise, signal):
    config = nussl.ml.networks.builders.build_recurrent_mask_inference(257, 4, 1, True, 0.0, 2, ["softmax"])
    info = CheckpointInfo(("a", "b"), "whole", RATE, nussl.STFTParams(512, 128, "sqrt_hann"))
    path = write_checkpoint(tmp_path / "mask.pth", nussl.ml.SeparationModel(config), info)
    with pytest.raises(CheckpointError, match="lacks an embedding: its network"):
        TransferDeepClustering(signal(noise()), 2, path)
