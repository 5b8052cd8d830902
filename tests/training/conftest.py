"""Runs of a small network on the tiny store."""

from __future__ import annotations

import os

import pytest
from tiny_runs import PLAN, SECONDS

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.training.config import FitConfig
from nussl_transfer.training.fit import fit


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch):
    """Do not wait for the disk: no test simulates a power cut."""
    monkeypatch.setattr(os, "fsync", lambda number: None)


@pytest.fixture(scope="session")
def info(tiny_stft) -> CheckpointInfo:
    return CheckpointInfo(("bass", "drums", "voice"), "whole", 8000, tiny_stft, SECONDS, data={"name": "tiny"})


@pytest.fixture(scope="session")
def train_into(tiny_store, small_chimera, info):
    """Return a function that trains a small network on the tiny store, in a folder."""

    def run(
        out, model=None, mixtures=Mixtures, valid=Mixtures, probe=None, seed=1, callbacks=(), provenance=None, **plan
    ):  # fmt: skip
        config = FitConfig(**{**PLAN, **plan})
        model = small_chimera(num_layers=2, dropout=0.5) if model is None else model
        items = mixtures(tiny_store, MixtureConfig(SECONDS, coherent=0.5), config.iterations * config.batch_size, seed)
        held_out = valid(tiny_store, MixtureConfig(SECONDS, coherent=1.0), 3, seed + 1) if valid else None
        options = {"callbacks": callbacks, "probe": probe, "provenance": provenance}
        return model, fit(model, items, held_out, config=config, out=out, info=info, **options)

    return run


@pytest.fixture
def train(train_into, tmp_path):
    """Return a function that trains in tmp_path/run, unless told otherwise."""
    return lambda *given, out=tmp_path / "run", **options: train_into(out, *given, **options)


@pytest.fixture(scope="session")
def unbroken(train_into, tmp_path_factory):
    """The folder of an uninterrupted run. It is shared: tests must not change it."""
    return train_into(tmp_path_factory.mktemp("unbroken") / "run")[1].folder
