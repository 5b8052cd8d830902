"""A small store and a small checkpoint for the tests of scores."""

from __future__ import annotations

import pytest
from noisy_tones import RATE, make_checkpoint, stem

from nussl_transfer.store.store import StoreWriter


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    writer = StoreWriter(tmp_path_factory.mktemp("store"), RATE)
    writer.add("one", "test", {"bass": stem(0), "voice": stem(1)})
    writer.add("two", "test", {"bass": stem(2), "voice": stem(3)})
    # Shorter than an excerpt of one second.
    writer.add("short", "test", {"bass": stem(4, 9000), "voice": stem(5, 9000)})
    return writer.close()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("model") / "best.model.pth")
