"""Fine-tuning: a folder of stems goes in, a nussl checkpoint comes out, and the log says what was decided."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import nussl
import pytest
import soundfile
import torch
from made_up_stores import make_store, noise
from nussl import STFTParams

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, read_checkpoint, read_info, write_checkpoint
from nussl_transfer.errors import CheckpointError, ConfigError, DataError
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.split import train_valid_split
from nussl_transfer.networks.chimera import PAPER, without_embedding
from nussl_transfer.pipelines import finetune as finetuning
from nussl_transfer.pipelines.finetune import default_training, finetune, paper_finetune
from nussl_transfer.store.store import Store

LABELS = ("bass", "drums", "voice")


def short(**changes) -> dict:
    """Return arguments of `finetune` for a run of four iterations."""
    training = {"iterations": 4, "batch_size": 2, "validate_every": 2, **changes}
    return {"training": default_training(**training), "valid_items": 4, "report": False}


SHORT = short()


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, "nussl_transfer")
    return caplog


@pytest.fixture(scope="module")
def body(small_chimera, tiny_stft, tmp_path_factory) -> Path:
    """A pretrained body of two masks, for half a second at 8 kHz."""
    info = CheckpointInfo((), "pretrain", 8000, tiny_stft, excerpt_seconds=0.5)
    return write_checkpoint(tmp_path_factory.mktemp("models") / "a body.pth", small_chimera(num_sources=2), info)


def write_tracks(folder: Path, tracks: dict[str, float], labels=LABELS, rate: int = 8000) -> Path:
    """Write a folder of stems for each track (name: seconds)."""
    for number, (name, seconds) in enumerate(tracks.items()):
        (folder / name).mkdir(parents=True)
        for which, label in enumerate(labels):
            soundfile.write(folder / name / f"{label}.wav", noise(seconds, rate, 10 * number + which), rate)
    return folder


def names(store: Store) -> list[str]:
    return [track.name for track in store.tracks]


def changed_layers(one, other) -> set[str]:
    before = one.state_dict()
    return {name.split(".")[1] for name, tensor in other.state_dict().items() if not torch.equal(before[name], tensor)}


# The whole way --------------------------------------------------------------------------------------------------------


def test_a_raw_folder_of_tracks_becomes_a_separator(tmp_path, body, log):
    stems = write_tracks(tmp_path / "songs", {"one": 1.5, "two": 1.5, "three": 2.0, "four": 1.5}, rate=11025)
    run = finetune(stems, tmp_path / "run", checkpoint=body, **SHORT)
    info = read_info(run.best)
    assert (info.labels, info.mode, info.parent, info.sample_rate) == (LABELS, "whole", "a body", 8000)
    assert info.excerpt_seconds == 0.5 and info.data["tracks"] == 3
    assert [point["iteration"] for point in run.read_curve()["points"]] == [0, 2, 4]
    assert "Chosen for validation, and not trained on:" in log.text
    assert "Network: copied normalization, recurrent_stack, embedding; made new mask; dropped mask." in log.text
    assert Store(tmp_path / "run" / "store").sample_rate == 8000

    mixture = nussl.AudioSignal(audio_data_array=noise(1.0)[None], sample_rate=8000)
    estimates = nussl.separation.deep.DeepMaskEstimation(mixture, str(run.best))()
    assert len(estimates) == 3
    np.testing.assert_allclose(sum(e.audio_data for e in estimates), mixture.audio_data, atol=1e-5)


def test_one_track_of_20_seconds_is_divided_in_time_and_its_mixtures_shortened(tmp_path, small_chimera, tiny_stft, log):
    info = CheckpointInfo((), "pretrain", 8000, tiny_stft, excerpt_seconds=10.0)
    body = write_checkpoint(tmp_path / "body.pth", small_chimera(num_sources=2), info)
    stems = write_tracks(tmp_path / "songs", {"only one": 20.0})
    run = finetune(stems, tmp_path / "run", checkpoint=body, **short(iterations=2, batch_size=1))
    assert "not trained on: the last quarter of every track" in log.text
    assert "No track is as long as 10 s: mixtures are 5 s long." in log.text
    assert read_info(run.best).excerpt_seconds == 5.0
    training, validation = (run.config[key] for key in ("training", "validation"))
    assert (training["samples"], training["span"]) == (40000, [0.0, 0.75])
    assert (validation["samples"], validation["span"]) == (40000, [0.75, 1.0])
    assert training["seed"] != validation["seed"]


def test_a_folder_for_each_stem_whose_files_do_not_belong_together_trains_incoherently(tmp_path, body, log):
    for which, label in enumerate(LABELS):
        (tmp_path / "pool" / label).mkdir(parents=True)
        for take in range(2):
            audio = noise(2.0 + which, seed=10 * which + take)
            soundfile.write(tmp_path / "pool" / label / f"{label[:2]} take {take}.wav", audio, 8000)
    run = finetune(tmp_path / "pool", tmp_path / "run", checkpoint=body, mixtures=MixtureConfig(coherent=0.5), **SHORT)
    assert "every mixture is incoherent" in log.text
    assert run.config["training"]["coherent"] == 0
    assert read_info(run.best).labels == LABELS


def test_a_track_in_a_folder_for_validation_validates(tmp_path, body, log):
    write_tracks(tmp_path / "songs" / "train", {"one": 1.5, "two": 1.5})
    write_tracks(tmp_path / "songs" / "valid", {"three": 1.5})
    run = finetune(tmp_path / "songs", tmp_path / "run", checkpoint=body, **SHORT)
    assert "No validation tracks" not in log.text
    split = train_valid_split(Store(run.folder / "store"))
    assert [name.split("/")[-1] for name in names(split.valid)] == ["three"]
    assert sorted(name.split("/")[-1] for name in names(split.train)) == ["one", "two"]
    assert read_info(run.best).data["tracks"] == 2


def test_mode_mask_changes_the_mask_head_alone(tmp_path, body, tiny_store):
    run = finetune(tiny_store, tmp_path / "run", checkpoint=body, mode="mask", **SHORT)
    tuned, info = read_checkpoint(run.latest)
    parent, _ = read_checkpoint(body)
    assert info.mode == "mask" and tuned.layers["mask"].embedding_size == 3
    parent.layers["mask"] = tuned.layers["mask"]
    assert not changed_layers(parent, tuned)


def test_from_scratch_only_the_layer_sizes_of_the_body_are_used(tmp_path, body, tiny_store, log):
    run = finetune(tiny_store, tmp_path / "run", checkpoint=None, like=body, **SHORT)
    network, info = read_checkpoint(run.best)
    parent, _ = read_checkpoint(body)
    assert info.parent is None
    assert "copied nothing" in log.text
    parent.layers["mask"] = network.layers["mask"]
    assert {"recurrent_stack", "embedding"} <= changed_layers(parent, network)
    assert network.state_dict()["layers.recurrent_stack.rnn.weight_ih_l0"].shape == (32, 33)


def test_a_store_may_be_given_as_an_object_or_a_folder(tmp_path, body, tiny_store):
    for number, stems in enumerate((tiny_store, tiny_store.folder, str(tiny_store.folder))):
        run = finetune(stems, tmp_path / str(number), checkpoint=body, **SHORT)
        assert not (run.folder / "store").exists()
    finals = [read_checkpoint(tmp_path / str(n) / "checkpoints" / "latest.model.pth")[0] for n in range(3)]
    assert not changed_layers(finals[0], finals[1]) and not changed_layers(finals[0], finals[2])


def test_a_mask_head_for_the_same_labels_is_kept(tmp_path, body, tiny_store, log):
    first = finetune(tiny_store, tmp_path / "first", checkpoint=body, **SHORT)
    log.clear()
    second = finetune(tiny_store, tmp_path / "second", checkpoint=first.folder, **SHORT)
    assert "made new nothing" in log.text
    assert read_info(second.best).parent == "first"
    third = finetune(tiny_store, tmp_path / "third", checkpoint=second.latest, **SHORT)
    assert read_info(third.best).parent == "second"


def test_a_separator_without_embedding_is_fine_tuned_whole(tmp_path, small_chimera, tiny_stft, tiny_store, log):
    info = CheckpointInfo(LABELS, "whole", 8000, tiny_stft, excerpt_seconds=0.5)
    separator = write_checkpoint(tmp_path / "separator.pth", without_embedding(small_chimera()), info)
    run = finetune(tiny_store, tmp_path / "run", checkpoint=separator, **SHORT)
    assert "made new embedding; dropped nothing" in log.text
    trained, _ = read_checkpoint(run.latest)
    given = read_checkpoint(separator)[0].state_dict()
    moved = {name.split(".")[1] for name, tensor in trained.state_dict().items()
             if name in given and not torch.equal(given[name], tensor)}  # fmt: skip
    assert {"mask", "recurrent_stack"} <= moved
    assert trained.layers["embedding"].embedding_size == PAPER.embedding_size


def test_stems_of_a_published_separator_get_its_name_in_the_log(tmp_path, body, log):
    choir = make_store(tmp_path / "choir", {f"song {n}": (None, 1.5, ("male", "female")) for n in range(4)})
    first = finetune(choir, tmp_path / "run", checkpoint=body, **SHORT)
    assert "The model 'choir' separates these stems already. To start from it: --checkpoint choir." in log.text
    log.clear()
    finetune(choir, tmp_path / "again", checkpoint=first.folder, **SHORT)  # starts from masks of these labels
    finetune(choir, tmp_path / "scratch", checkpoint=None, like=body, **SHORT)
    assert "separates these stems" not in log.text


def test_in_mode_mask_a_separator_gets_no_embedding(tmp_path, small_chimera, tiny_stft, tiny_store):
    info = CheckpointInfo(LABELS, "whole", 8000, tiny_stft, excerpt_seconds=0.5)
    separator = write_checkpoint(tmp_path / "separator.pth", without_embedding(small_chimera()), info)
    run = finetune(tiny_store, tmp_path / "run", checkpoint=separator, mode="mask", **SHORT)
    assert "embedding" not in read_checkpoint(run.latest)[0].layers


def test_a_second_call_trains_nothing_and_other_arguments_are_an_error(tmp_path, body, tiny_store, log):
    run = finetune(tiny_store, tmp_path / "run", checkpoint=body, **SHORT)
    before = run.latest.read_bytes()
    finetune(tiny_store, tmp_path / "run", checkpoint=body, **SHORT)
    assert "all 4 iterations are done" in log.text and run.latest.read_bytes() == before
    with pytest.raises(ConfigError, match="another configuration .*seed: 0 there, 1 now"):
        finetune(tiny_store, tmp_path / "run", checkpoint=body, seed=1, **SHORT)


def test_the_same_seed_gives_the_same_network_and_another_another(tmp_path, body, tiny_store):
    before = torch.get_rng_state()
    finals = []
    for number, seed in enumerate((3, 3, 4)):
        run = finetune(tiny_store, tmp_path / str(number), checkpoint=body, seed=seed, **SHORT)
        finals.append(read_checkpoint(run.latest)[0])
    assert not changed_layers(finals[0], finals[1]) and "mask" in changed_layers(finals[0], finals[2])
    assert torch.equal(torch.get_rng_state(), before), "torch's global random state was changed"


def test_groups_and_ignored_stems_decide_the_labels(tmp_path, body):
    stems = write_tracks(tmp_path / "songs", {"one": 1.5, "two": 1.5}, ("alto", "bass", "organ", "tenor"))
    groups = {"low": ["bass", "tenor"], "high": ["alto"]}
    run = finetune(stems, tmp_path / "run", checkpoint=body, groups=groups, ignore=["organ"], **SHORT)
    assert read_info(run.best).labels == ("high", "low")


def test_a_probe_is_called_at_each_validation(tmp_path, body, tiny_store):
    run = finetune(tiny_store, tmp_path / "run", checkpoint=body, probe=lambda model: 1.25, **SHORT)
    assert [point["test_si_sdr"] for point in run.read_curve()["points"]] == [1.25] * 3


def test_a_run_shorter_than_validate_every_validates_at_its_end(tmp_path, body, tiny_store):
    run = finetune(tiny_store, tmp_path / "run", checkpoint=body, **short(iterations=3, validate_every=100))
    assert [point["iteration"] for point in run.read_curve()["points"]] == [0, 3]


def test_the_papers_options_and_the_defaults_are_as_documented():
    paper = paper_finetune(workers=3)
    training, mixtures = paper["training"], paper["mixtures"]
    assert (training.batch_size, training.frame_step, training.iterations) == (24, 1, PAPER.finetune_iterations)
    assert (mixtures.excerpt_seconds, mixtures.coherent, training.workers) == (10.0, 1.0, 3)
    ours = default_training(iterations=30)
    assert (ours.batch_size, ours.frame_step, ours.validate_every, ours.choose_by) == (8, 4, 30, "mask_loss")
    assert (training.choose_by, training.warmup_iterations) == ("loss", 0)
    warmed = [default_training(iterations=n).warmup_iterations for n in (1, 30, 300, 2000)]
    assert warmed == [0, 10, 100, 100] and default_training(warmup_iterations=0).warmup_iterations == 0
    assert (ours.learning_rate, default_training(pretrained=False).learning_rate) == (0.004, 0.002)
    assert default_training(pretrained=False, learning_rate=0.1).learning_rate == 0.1
    assert (MixtureConfig().excerpt_seconds, MixtureConfig().coherent) == (None, 0.5)


def test_the_default_learning_rate_depends_on_the_start(tmp_path, body, tiny_store, monkeypatch):
    def train_on(splits, start, mixtures, config, *others):
        raise LookupError(config.learning_rate)

    monkeypatch.setattr(finetuning, "train_on", train_on)
    for start, rate in ((body, "0.004"), (None, "0.002")):
        with pytest.raises(LookupError, match=rate):
            finetune(tiny_store, tmp_path / rate, checkpoint=start, like=body)


# What is refused ------------------------------------------------------------------------------------------------------


def test_wrong_options_are_errors_before_a_store_is_made(tmp_path, body):
    stems = write_tracks(tmp_path / "songs", {"one": 1.5})
    wrong = [
        ({"mode": "pretrain"}, ConfigError, "mode is wrong: got 'pretrain', expected 'whole' or 'mask'"),
        (
            {"checkpoint": None, "mode": "mask", "like": body},
            ConfigError,
            "'mask' needs a pretrained model.*Use mode 'whole'",
        ),
        ({"checkpoint": "no such model"}, CheckpointError, "no model 'no such model'.*Published models: .*body"),
        ({"training": short(frozen=("mark",))["training"]}, ConfigError, "mark.*recurrent_stack"),
        ({"seed": -1}, ConfigError, "seed is wrong: got -1, expected 0 or more"),
        ({"valid_items": 0}, ConfigError, "valid_items is wrong: got 0, expected 1 or more"),
    ]
    for arguments, error, message in wrong:
        with pytest.raises(error, match=message):
            finetune(stems, tmp_path / "run", **{"checkpoint": body, **SHORT, **arguments})
    assert not (tmp_path / "run").exists()


def test_a_store_at_another_rate_is_refused(tmp_path, body):
    store = make_store(tmp_path / "store", {"one": (None, 2.0, LABELS)}, rate=16000)
    with pytest.raises(DataError, match="is a store at 16000 Hz: the model needs 8000 Hz.*prepare it again at 8000 Hz"):
        finetune(store, tmp_path / "run", checkpoint=body, **SHORT)


def test_a_single_stem_is_refused(tmp_path, body):
    store = make_store(tmp_path / "store", {"one": (None, 2.0, ("voice",))})
    with pytest.raises(DataError, match="has only the stem .voice."):
        finetune(store, tmp_path / "run", checkpoint=body, **SHORT)
    folder = write_tracks(tmp_path / "songs", {"one": 1.5, "two": 1.5}, labels=("voice",))
    with pytest.raises(DataError, match="songs has only the stem 'voice'.*at least 2 sources"):
        finetune(folder, tmp_path / "raw", checkpoint=body, **SHORT)
    assert not (tmp_path / "raw" / "store").exists()


def test_a_network_for_two_channels_together_is_refused(tmp_path, tiny_store, small_chimera, tiny_stft):
    stereo = small_chimera(num_sources=2, num_audio_channels=2)
    body = write_checkpoint(tmp_path / "body.pth", stereo, CheckpointInfo((), "pretrain", 8000, tiny_stft, 0.5))
    with pytest.raises(CheckpointError, match="takes 2 channels together"):
        finetune(tiny_store, tmp_path / "run", checkpoint=body, **SHORT)


def test_labels_that_only_test_tracks_have_get_no_mask(tmp_path, body):
    tracks = {"a": (None, 2, ("bass", "voice")), "b": (None, 2, ("bass", "voice")), "c": ("test", 2, LABELS)}
    run = finetune(make_store(tmp_path / "store", tracks), tmp_path / "run", checkpoint=body, **SHORT)
    assert read_info(run.best).labels == ("bass", "voice")


def test_rate_and_stft_are_those_of_the_checkpoint(tmp_path, small_chimera):
    params = STFTParams(128, 32, "hann")
    network = small_chimera(num_sources=2, num_features=65)
    body = write_checkpoint(tmp_path / "body.pth", network, CheckpointInfo((), "pretrain", 4000, params, 0.5))
    run = finetune(write_tracks(tmp_path / "songs", {"one": 3.0}), tmp_path / "run", checkpoint=body, **SHORT)
    info = read_info(run.best)
    assert (info.sample_rate, info.stft_params) == (4000, params)
    manifest = json.loads((tmp_path / "run" / "store" / "manifest.json").read_text())
    assert manifest["sample_rate"] == 4000 and manifest["tracks"][0]["frames"] == 12000


def test_the_log_of_a_run_has_what_was_decided_before_training_and_each_line_once(tmp_path, body):
    run = finetune(write_tracks(tmp_path / "songs", {"one": 1.5, "two": 1.5}), tmp_path / "run", checkpoint=body, **SHORT)
    log = (run.folder / "run.log").read_text()
    for decided in ("Chosen for validation, and not trained on:", "Network: copied", "iteration 4 "):
        assert log.count(decided) == 1, decided
