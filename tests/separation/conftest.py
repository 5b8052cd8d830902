"""Shared by the tests of separators: a small checkpoint, and noise."""

from __future__ import annotations

import numpy as np
import nussl
import pytest
import torch

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.networks.chimera import build_transfer_chimera

RATE = 16000


@pytest.fixture(scope="session")
def make_checkpoint():
    """Return a function that writes a small checkpoint; some of its arguments are the network's."""

    def make(path, labels=("bass", "voice"), mode="whole", excerpt_seconds=10.0, **config):
        sizes = {"hidden_size": 6, "num_layers": 1, "embedding_size": 4, **config}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nussl.ml.SeparationModel(build_transfer_chimera(len(labels), **sizes))
        stft_params = nussl.STFTParams(512, 128, "sqrt_hann")
        return write_checkpoint(path, model, CheckpointInfo(tuple(labels), mode, RATE, stft_params, excerpt_seconds))

    return make


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, make_checkpoint):
    """A checkpoint that was trained on ten seconds: longer than most signals in tests."""
    return make_checkpoint(tmp_path_factory.mktemp("models") / "long.model.pth")


@pytest.fixture(scope="session")
def short_checkpoint(tmp_path_factory, make_checkpoint):
    """A checkpoint that was trained on half a second: 63 frames a chunk, 3 of them shared."""
    return make_checkpoint(tmp_path_factory.mktemp("models") / "short.model.pth", excerpt_seconds=0.5)


@pytest.fixture
def noise():
    """Return a function that makes noise, [channels, samples]."""

    def make(channels=1, samples=RATE, seed=0):
        return np.random.default_rng(seed).normal(0, 0.1, (channels, samples)).astype(np.float32)

    return make


@pytest.fixture
def signal():
    """Return a function that makes a nussl signal."""

    def make(audio, rate=RATE):
        return nussl.AudioSignal(audio_data_array=audio, sample_rate=rate)

    return make
