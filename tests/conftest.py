"""What several test modules need. Importing the package first mends nussl for all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import nussl_transfer  # noqa: F401  before nussl

import nussl  # isort: skip

# Workers side by side would otherwise fight for the cores, and sums depend on the number of threads.
torch.set_num_threads(1)

REGRESSION = Path(__file__).parent / "regression"


@pytest.fixture
def old_checkpoint() -> Path:
    """A checkpoint that nussl 1.1.9 saved on Python 3.8 and torch 1.8.1: see regression/README.md."""
    return REGRESSION / "chimera.pth"


@pytest.fixture
def signals():
    """Returns a function that makes (sources) seeded noise signals of (seconds), mono."""

    def make(sources: int = 2, seconds: float = 1.0, sample_rate: int = 16000) -> list[nussl.AudioSignal]:
        noise = 0.1 * np.random.default_rng(0).standard_normal((sources, 1, round(seconds * sample_rate)))
        noise = noise.astype(np.float32)
        return [nussl.AudioSignal(audio_data_array=row, sample_rate=sample_rate) for row in noise]

    return make


@pytest.fixture
def tiny_model():
    """Returns a function that makes a seeded ChimeraNet small enough to run in a test."""

    def make(num_sources: int = 2, hidden_size: int = 4) -> nussl.ml.SeparationModel:
        build = nussl.ml.networks.builders.build_transfer_chimera
        config = build(num_sources, hidden_size=hidden_size, num_layers=1)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nussl.ml.SeparationModel(config)

    return make
