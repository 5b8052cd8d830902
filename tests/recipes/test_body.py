"""Test the recipe of the pretrained model on tiny stores: its targets, two runs, and what is published."""

from __future__ import annotations

import json

import numpy as np
import nussl
import pytest
import torch

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, read_checkpoint, write_checkpoint
from nussl_transfer.networks.chimera import build_transfer_chimera, without_embedding
from nussl_transfer.store.store import Store, StoreWriter
from recipes import body
from recipes.corpora.programs import FAMILIES, KITS, PROGRAMS, family_of

STFT = nussl.STFTParams(512, 128, "sqrt_hann")


def make_store(folder, labels=("flute", "harp", "oboe", "tuba")):
    rng = np.random.default_rng(0)
    writer = StoreWriter(folder, 16000, "ensembles")
    for number in range(3):
        stems = {label: (0.1 * rng.standard_normal(16000)).astype(np.float32) for label in labels}
        writer.add(f"piece{number}", "valid" if number == 2 else "train", stems)
    return writer.close().folder


def test_every_program_and_kit_has_a_family():
    labels = [entry[0] for entry in PROGRAMS.values()] + list(KITS.values())
    assert {family_of(label) for label in labels} == set(FAMILIES)
    assert list(FAMILIES) == sorted(FAMILIES)


def test_sources_of_one_family_share_a_mask_and_keep_their_clusters(tmp_path):
    store = Store(make_store(tmp_path / "store", ("clarinet", "flute", "piccolo", "violin")))
    config = body.replace(body.MIXTURES, excerpt_seconds=0.25, fewest_sources=4, coherent=1.0, timbre=0.0)
    items = body.FamilyMixtures([store.select("train")], [1.0], config, 4, seed=0)
    item = items[1]
    batch = {key: torch.as_tensor(value)[None] for key, value in item.items() if key != "index"}
    made = body.FamilyTargets(STFT)(batch)
    assert made["ideal_binary_mask"].shape[-1] == 4
    magnitudes = made["source_magnitudes"][0]
    assert magnitudes.shape[-1] == len(FAMILIES)
    # nussl's STFT of the two flutes' sum is the magnitude of their family.
    flutes = item["source_audio"][0, :, 1] + item["source_audio"][0, :, 2]
    signal = nussl.AudioSignal(audio_data_array=flutes.numpy()[None], sample_rate=16000, stft_params=STFT)
    expected = np.abs(signal.stft())[..., 0].T
    np.testing.assert_allclose(magnitudes[..., 0, FAMILIES.index("flute")], expected, atol=1e-6)
    assert magnitudes[..., FAMILIES.index("drums")].abs().max() == 0


def test_a_store_without_splits_validates_on_every_tenth_work(tmp_path):
    writer = StoreWriter(tmp_path / "store", 16000, "quartets")
    names = [f"piece{number:02}" for number in range(21)]
    for name in [*names, "piece03-recorded", "piece10-played1", "piece10-played2", "piece11-played1"]:
        writer.add(name, None, {"violin": np.full(1600, 0.1, dtype=np.float32) * np.arange(1600) / 1600})
    train, valid = body.split_of(Store(writer.close().folder))
    held_out = {"piece00", "piece10", "piece10-played1", "piece10-played2", "piece20"}
    assert {track.name for track in valid.tracks} == held_out
    assert len(train.tracks) == 20 and not held_out & {track.name for track in train.tracks}
    given = Store(make_store(tmp_path / "given"))
    assert [[track.name for track in part.tracks] for part in body.split_of(given)] == [["piece0", "piece1"], ["piece2"]]


def test_mixtures_take_their_shares_from_the_stores(tmp_path):
    stores = [Store(make_store(tmp_path / name)).select("train") for name in "ab"]
    config = body.replace(body.MIXTURES, excerpt_seconds=0.25)
    items = body.FamilyMixtures(stores, [3.0, 2.0], config, 20, seed=0)
    assert items.period == [0] * 6 + [1] * 4
    with pytest.raises(IndexError):
        items[20]


def test_two_runs_are_published_with_their_commands_and_curves(tmp_path, monkeypatch):
    monkeypatch.setattr(body, "VALID_ITEMS", 4)
    small = {
        "iterations": 2,
        "batch_size": 2,
        "excerpt_seconds": 0.25,
        "validate_every": 1,
    }
    stores, runs = [str(make_store(tmp_path / "store"))], [str(tmp_path / "one"), str(tmp_path / "two")]
    body.pretrain(stores, runs[0], hidden_size=4, num_layers=1, **small)
    body.pretrain(stores, runs[1], checkpoint=runs[0], hidden_size=6, learning_rate=2e-4, **small)
    (tmp_path / "weights").mkdir()
    path = body.publish(runs, str(tmp_path / "weights"))

    published, info = read_checkpoint(path)
    trained, _ = read_checkpoint(f"{runs[1]}/checkpoints/best.model.pth")
    assert info.labels == () and info.mode == "pretrain"
    assert "mask" not in published.layers, "the masks of the families stay behind"
    entry = json.loads((tmp_path / "zoo.json").read_text())["body"]
    assert entry["bytes"] == path.stat().st_size and "1 x 6 BLSTM" in entry["what"]
    for name, tensor in published.state_dict().items():
        torch.testing.assert_close(tensor, trained.state_dict()[name], rtol=1e-3, atol=1e-4)
    first, second = json.loads((tmp_path / "weights" / "body.json").read_text())["stages"]
    assert "--checkpoint" not in first["command"] and f"--checkpoint {runs[0]}" in second["command"]
    assert [point["iteration"] for point in first["points"]] == [0, 1, 2]
    # The second run starts from the best network of the first, so it starts with that network's loss.
    best = min(point["valid_loss"] for point in first["points"][1:])
    assert second["points"][0]["valid_loss"] == pytest.approx(best, rel=1e-3)

    body.publish(runs[1:], str(tmp_path / "weights"), continued=True)
    stages = json.loads((tmp_path / "weights" / "body.json").read_text())["stages"]
    assert stages == [first, second, second]

    # Training can go on from the published model: least squares give the family masks back.
    body.pretrain(stores, str(tmp_path / "three"), checkpoint=str(path), **small)
    assert "head_mixtures: 256" in (tmp_path / "three" / "config.yml").read_text()
    continued, info = read_checkpoint(tmp_path / "three" / "checkpoints" / "latest.model.pth")
    assert info.labels == FAMILIES and continued.layers["recurrent_stack"].rnn.hidden_size == 6


def test_training_goes_on_from_a_separator_with_new_heads(tmp_path):
    separator = nussl.ml.SeparationModel(build_transfer_chimera(num_sources=3, hidden_size=6, num_layers=1))
    info = CheckpointInfo(("bass", "drums", "voice"), "whole", 16000, STFT)
    path = write_checkpoint(tmp_path / "separator.pth", without_embedding(separator), info)
    network = body.make_network(str(path), None, None, seed=0)
    assert network.layers["mask"].linear.out_features == len(FAMILIES) * 257
    assert network.layers["embedding"].linear.out_features == 20 * 257
    for name, weight in network.layers["recurrent_stack"].state_dict().items():
        torch.testing.assert_close(weight, separator.layers["recurrent_stack"].state_dict()[name], rtol=0, atol=0)
