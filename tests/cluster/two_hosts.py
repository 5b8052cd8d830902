"""Train a tiny network on one host of hosts.sh, and compare the results of two runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import nussl_transfer  # isort: skip  # noqa: F401  (before nussl)
import nussl
import torch

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, read_checkpoint
from nussl_transfer.cli.status import recipe_status
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.networks.chimera import build_transfer_chimera
from nussl_transfer.store.store import Store, StoreWriter
from nussl_transfer.training.config import FitConfig
from nussl_transfer.training.fit import fit

RATE, STFT = 8000, nussl.STFTParams(64, 16, "sqrt_hann")


def make_data(folder: str) -> None:
    """Write a store of tones and noise."""
    rng = np.random.default_rng(0)
    writer = StoreWriter(folder, RATE, "tones")
    time = np.arange(2 * RATE) / RATE
    for number in range(4):
        tone = 0.3 * np.sin(2 * np.pi * (200 + 50 * number) * time)
        writer.add(f"song{number}", None, {"noise": 0.1 * rng.standard_normal(len(time)), "tone": tone})
    writer.close()


def train(store: str, out: str, iterations: int) -> int:
    """Train for some iterations; return the exit status."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nussl.ml.SeparationModel(
        build_transfer_chimera(2, num_features=33, hidden_size=16, num_layers=1, embedding_size=5)
    )
    config = FitConfig(iterations=iterations, batch_size=4, validate_every=2, progress=False, device="cpu")
    mixtures = Mixtures(Store(store), MixtureConfig(excerpt_seconds=0.5), iterations * 4, seed=1)
    info = CheckpointInfo(("noise", "tone"), "whole", RATE, STFT, 0.5)
    return recipe_status(lambda: fit(model, mixtures, None, config=config, out=out, info=info) and 0)


def compare(one: str, other: str, tolerance: float) -> int:
    """Return 0 where the latest weights of two runs differ by no more than a tolerance."""
    weights = [read_checkpoint(Path(run) / "checkpoints" / "latest.model.pth")[0].state_dict() for run in (one, other)]
    apart = max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0])
    print(f"largest difference of a weight: {apart:.2e}")
    return int(apart > tolerance)


def iteration(run: str) -> int:
    """Print the last saved iteration of a run."""
    state = Path(run) / "state.pt"
    print(torch.load(state, weights_only=True)["iteration"] if state.exists() else 0)
    return 0


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "data":
        make_data(words[0])
    elif what == "train":
        sys.exit(train(words[0], words[1], int(words[2])))
    elif what == "compare":
        sys.exit(compare(words[0], words[1], float(words[2])))
    else:
        sys.exit(iteration(words[0]))
