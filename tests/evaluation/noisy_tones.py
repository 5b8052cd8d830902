"""Stems that small networks can partly separate, and checkpoints of such networks."""

from __future__ import annotations

import numpy as np
import nussl
import torch

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.networks.chimera import build_transfer_chimera

RATE = 16000
STFT = nussl.STFTParams(512, 128, "sqrt_hann")
LABELS = ("bass", "voice")


def stem(seed, samples=int(2.5 * RATE), rate=RATE):
    """Return a tone of wandering pitch in a little noise, which masks can partly tell from another one."""
    generator = np.random.default_rng(seed)
    pitch = generator.uniform(100, 2000) * 2 ** (np.cumsum(generator.normal(0, 1, samples)) / 2000)
    return (0.2 * np.sin(2 * np.pi * np.cumsum(pitch) / rate) + generator.normal(0, 0.01, samples)).astype("f4")


def make_checkpoint(path, labels=LABELS, mode="whole", seed=0, rate=RATE, channels=1):
    torch.manual_seed(seed)
    config = build_transfer_chimera(len(labels), hidden_size=8, num_layers=1, embedding_size=4, num_audio_channels=channels)
    return write_checkpoint(path, nussl.ml.SeparationModel(config), CheckpointInfo(tuple(labels), mode, rate, STFT))
