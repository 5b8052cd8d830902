"""The body's recipe on a tiny store: two stages, and what is published of them."""

from __future__ import annotations

import json

import numpy as np
import torch

from nussl_transfer.checkpoints.checkpoint import read_checkpoint
from nussl_transfer.store.store import StoreWriter
from recipes import body


def make_store(folder):
    rng = np.random.default_rng(0)
    writer = StoreWriter(folder, 16000, "ensembles")
    for number in range(3):
        stems = {label: 0.1 * rng.standard_normal(16000) for label in ("flute", "harp", "oboe", "tuba")}
        writer.add(f"piece{number}", "valid" if number == 2 else "train", stems)
    return writer.close().folder


def test_two_stages_are_published_with_their_commands_and_curves(tmp_path, monkeypatch):
    monkeypatch.setattr(body, "VALID_BATCHES", 1)
    small = {"iterations": 2, "batch_size": 2, "excerpt_seconds": 0.25, "hidden_size": 4, "num_layers": 1,
             "validate_every": 1, "workers": 0, "threads": 1}  # fmt: skip
    store, runs = str(make_store(tmp_path / "store")), [str(tmp_path / "one"), str(tmp_path / "two")]
    body.pretrain(store, runs[0], **small)
    body.pretrain(store, runs[1], start=runs[0], learning_rate=2e-4, **small)
    path = body.publish(runs, str(tmp_path / "models"))

    published, info = read_checkpoint(path)
    trained, _ = read_checkpoint(f"{runs[1]}/checkpoints/best.model.pth")
    assert info.mode == "pretrain" and info.labels == ()
    for name, tensor in trained.state_dict().items():
        torch.testing.assert_close(published.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)
    about = json.loads((tmp_path / "models" / "body.json").read_text())
    first, second = about["stages"]
    assert f"--store {store} --run {runs[0]} --iterations 2" in first["command"]
    assert "--start" not in first["command"] and f"--start {runs[0]}" in second["command"]
    assert [point["iteration"] for point in second["points"]] == [0, 1, 2]
    # The second goes on from the best of the first: on the same validation mixtures it starts where that was.
    best = min(point["valid_loss"] for point in first["points"][1:])
    assert abs(second["points"][0]["valid_loss"] - best) < 1e-3
