"""Stems and a pretrained model for the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import nussl
import pytest
from layouts import tone, write

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint

RATE = 16000


@pytest.fixture
def stems(tmp_path) -> Path:
    """Two tracks of three seconds, each with a bass and a flute."""
    folder = tmp_path / "stems"
    for number, track in enumerate(("one", "two")):
        for label, pitch in (("bass", 110.0), ("flute", 880.0)):
            write(folder / track / f"{label}.wav", tone(pitch * (1 + number / 12), 3.0, RATE), RATE)
    return folder


@pytest.fixture
def body(tmp_path, tiny_model) -> Path:
    """A pretrained model, too small to separate anything."""
    info = CheckpointInfo((), "pretrain", RATE, nussl.STFTParams(512, 128, "sqrt_hann"), excerpt_seconds=1.0)
    return write_checkpoint(tmp_path / "tiny.pth", tiny_model(), info)
