"""Tests that nussl's separators give the estimates recorded on the packages of 2021."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nussl
import pytest

HERE = Path(__file__).parent


@pytest.fixture
def mixture():
    return nussl.AudioSignal(audio_data_array=np.load(HERE / "chimera_mix.npy"), sample_rate=16000)


def test_deep_mask_estimation_gives_the_recorded_estimates(mixture):
    recorded = np.load(HERE / "chimera_estimates.npy")
    sources = nussl.separation.deep.DeepMaskEstimation(mixture, str(HERE / "chimera.pth"))()
    estimates = np.stack([source.audio_data for source in sources])
    assert estimates.shape == recorded.shape == (2, 1, 16000)
    assert np.abs(estimates - recorded).max() <= 1e-4 * np.abs(recorded).max()


def test_the_recorded_estimates_sum_to_the_recorded_mixture(mixture):
    recorded = np.load(HERE / "chimera_estimates.npy")
    np.testing.assert_allclose(recorded.sum(axis=0), mixture.audio_data, atol=1e-5)


def test_deep_clustering_separates_with_the_recorded_network(mixture):
    sources = nussl.separation.deep.DeepClustering(mixture, 2, str(HERE / "chimera.pth"), random_state=0)()
    estimates = np.stack([source.audio_data for source in sources])
    assert estimates.shape == (2, 1, 16000)
    assert all(np.abs(estimate).max() > 0.01 for estimate in estimates)
    # Soft masks sum to one at every point of the spectrogram.
    np.testing.assert_allclose(estimates.sum(axis=0), mixture.audio_data, atol=1e-5)


def test_overlap_add_with_its_default_window_separates_a_longer_file(mixture):
    longer = nussl.AudioSignal(audio_data_array=np.tile(mixture.audio_data, 3), sample_rate=16000)
    separator = nussl.separation.deep.DeepMaskEstimation(longer, str(HERE / "chimera.pth"))
    sources = nussl.separation.composite.OverlapAdd(separator, window_duration=1)()
    estimates = np.stack([source.audio_data for source in sources])
    assert estimates.shape == (2, 1, 48000)
    # The masks sum to one, and the windows of neighbouring chunks too, so the mixture comes out again.
    np.testing.assert_allclose(estimates.sum(axis=0), longer.audio_data, atol=1e-4)
