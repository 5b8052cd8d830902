"""Stores of noise, with the splits, lengths and labels that a test needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nussl_transfer.store.store import Store, StoreWriter


def noise(seconds: float, rate: int = 8000, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))


def make_store(folder: Path, tracks: dict[str, tuple[str | None, float, tuple[str, ...]]], rate: int = 8000) -> Store:
    """Make a store from tracks, given as name -> (split, seconds, labels)."""
    writer = StoreWriter(folder, rate, "made up")
    for name, (split, seconds, labels) in tracks.items():
        writer.add(name, split, {label: noise(seconds, rate, number) for number, label in enumerate(labels)})
    return writer.close()
