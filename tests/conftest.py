"""Fixtures of several test modules. Importing the package first repairs nussl for all of them."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import numpy as np
import pytest
import torch

import nussl_transfer  # noqa: F401  before nussl

import nussl  # isort: skip

from nussl_transfer.networks.chimera import build_transfer_chimera
from nussl_transfer.store.store import Store, StoreWriter

# Parallel test workers would compete for the cores, and sums depend on the number of threads.
torch.set_num_threads(1)

REGRESSION = Path(__file__).parent / "regression"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Escape file names that are not UTF-8 in captured logs: pytest-xdist cannot send them from its workers."""
    report = yield
    report.sections = [(title, text.encode("utf-8", "backslashreplace").decode("utf-8")) for title, text in report.sections]
    return report


@pytest.fixture
def old_checkpoint() -> Path:
    """A checkpoint that nussl 1.1.9 saved on Python 3.8 and torch 1.8.1: see regression/README.md."""
    return REGRESSION / "chimera.pth"


@pytest.fixture
def signals():
    """Return a function that makes a number of seeded mono noise signals of some seconds."""

    def make(sources: int = 2, seconds: float = 1.0, sample_rate: int = 16000) -> list[nussl.AudioSignal]:
        noise = 0.1 * np.random.default_rng(0).standard_normal((sources, 1, round(seconds * sample_rate)))
        noise = noise.astype(np.float32)
        return [nussl.AudioSignal(audio_data_array=row, sample_rate=sample_rate) for row in noise]

    return make


@pytest.fixture
def tiny_model():
    """Return a function that makes a seeded ChimeraNet small enough to run in a test."""

    def make(num_sources: int = 2, hidden_size: int = 4) -> nussl.ml.SeparationModel:
        build = nussl.ml.networks.builders.build_transfer_chimera
        config = build(num_sources, hidden_size=hidden_size, num_layers=1)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nussl.ml.SeparationModel(config)

    return make


@pytest.fixture(scope="session")
def tiny_stft() -> nussl.STFTParams:
    """An STFT of 33 bins: networks on it train in milliseconds."""
    return nussl.STFTParams(window_length=64, hop_length=16, window_type="sqrt_hann")


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory) -> Store:
    """Four tracks of bass, drums and voice, one to two seconds at 8 kHz. It is shared: tests must not change it."""
    rng = np.random.default_rng(0)
    writer = StoreWriter(tmp_path_factory.mktemp("stores") / "tiny", 8000, "tiny")
    for number, seconds in enumerate((1.0, 1.25, 1.5, 2.0)):
        time = np.arange(round(seconds * 8000)) / 8000
        writer.add(
            f"song {number}",
            None,
            {
                "bass": 0.3 * np.sin(2 * np.pi * (110 + 20 * number) * time),
                "drums": 0.3 * rng.standard_normal(len(time)) * np.exp(-20 * (time % 0.25)),
                "voice": 0.3 * np.sin(2 * np.pi * (1200 + 100 * number) * time + np.sin(2 * np.pi * 6 * time)),
            },
        )
    return writer.close()


@pytest.fixture(scope="session")
def small_chimera():
    """Return a function that makes a seeded ChimeraNet for `tiny_stft`, with three masks for `tiny_store`."""

    # Each configuration is built once and copied: nussl reads the source code of every layer for its metadata.
    @functools.cache
    def build(num_sources: int, seed: int, **size) -> nussl.ml.SeparationModel:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nussl.ml.SeparationModel(build_transfer_chimera(num_sources, **size))

    def make(num_sources: int = 3, seed: int = 0, **others) -> nussl.ml.SeparationModel:
        size = {"num_features": 33, "hidden_size": 8, "num_layers": 1, "embedding_size": 5, **others}
        return copy.deepcopy(build(num_sources, seed, **size))

    return make
