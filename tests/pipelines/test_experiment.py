"""Test the recipes that train experiments, from the command line and stems to the folder of a run."""

from __future__ import annotations

import json
import runpy
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

import nussl_transfer
from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, read_checkpoint, read_info, write_checkpoint
from nussl_transfer.errors import ConfigError
from nussl_transfer.pipelines.experiment import NetworkConfig, plan_of
from nussl_transfer.pipelines.experiment_reading import read_experiment
from nussl_transfer.store.store import StoreWriter
from recipes.finetune import finetune
from recipes.pretrain import pretrain

CONF = Path(__file__).parents[2] / "recipes" / "conf"
TINY = {
    "network": {"sample_rate": 8000, "window_length": 64, "hop_length": 16, "num_features": 33, "embedding_size": 5},
    "data": {"excerpt_seconds": 0.25},
}


def make_store(folder: Path, labels=("bass", "voice"), splits=("train", "valid", "test"), seconds: float = 1.0):
    rng = np.random.default_rng(len(labels))
    writer = StoreWriter(folder, 8000, folder.name)
    for split in splits:
        stems = {label: 0.1 * rng.standard_normal(round(8000 * seconds)) for label in labels}
        writer.add(f"song for {split}", split, stems)
    return writer.close()


def main_of(recipe: str, words: list[str]) -> int:
    """Run a recipe's own file as a program, and return its status."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", [f"{recipe}.py", *words])
        runpy.run_path(str(CONF.parent / f"{recipe}.py"), run_name="__main__")
    return ended.value.code


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("stores") / "one")


@pytest.fixture(scope="module")
def body(tmp_path_factory, small_chimera, tiny_stft) -> Path:
    info = CheckpointInfo((), "pretrain", 8000, tiny_stft, excerpt_seconds=0.25)
    return write_checkpoint(tmp_path_factory.mktemp("models") / "a body.pth", small_chimera(num_sources=2), info)


@pytest.fixture
def write_experiment(tmp_path, store):
    """Return a function that writes a difference from smoke.yml, and return its path."""

    def write(**sections) -> Path:
        stores = {"stems": {"folder": str(store.folder)}}
        difference = {"base": str(CONF / "smoke.yml"), **TINY}
        difference["data"] = {**TINY["data"], "stores": stores, **sections.pop("data", {})}
        path = tmp_path / "experiment.yml"
        path.write_text(yaml.safe_dump({**difference, **sections}))
        return path

    return write


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, store):
    """Return the folder of a run of recipes.pretrain."""
    folder = tmp_path_factory.mktemp("pretrained")
    path = folder / "tiny.yml"
    difference = {"base": str(CONF / "smoke.yml"), **TINY, "training": {"mode": "pretrain"}}
    difference["data"] = {**TINY["data"], "stores": {"stems": {"folder": str(store.folder)}}}
    path.write_text(yaml.safe_dump(difference))
    words = [str(path), "--out", str(folder / "run"), "--override", "training.seed=3", "training.workers=0"]
    assert main_of("pretrain", words) == 0
    return folder / "run"


def test_a_pretrained_network_has_the_given_sizes_and_no_labels(pretrained):
    network, info = read_checkpoint(pretrained / "checkpoints" / "best.model.pth")
    assert (info.mode, info.labels, info.parent, info.sample_rate) == ("pretrain", (), None, 8000)
    assert tuple(info.stft_params[:2]) == (64, 16) and info.excerpt_seconds == 0.25
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes["layers.recurrent_stack.rnn.weight_ih_l0"] == (32, 33)
    assert shapes["layers.embedding.linear.weight"] == (33 * 5, 16)
    points = json.loads((pretrained / "curve.json").read_text())["points"]
    assert [point["iteration"] for point in points] == [0, 2, 4]


def test_the_config_of_a_run_has_its_provenance(pretrained, store):
    config = yaml.safe_load((pretrained / "config.yml").read_text())
    found = config["provenance"]
    assert found["seed"] == config["seed"] == 3
    assert found["versions"]["nussl-transfer"] == nussl_transfer.__version__
    assert found["versions"]["torch"] == metadata.version("torch")
    assert list(found["stores"]) == [str(store.folder)]
    experiment = found["experiment"]
    assert experiment["training"]["mode"] == "pretrain" and experiment["network"]["hidden_size"] == 8
    assert experiment["data"]["stores"]["stems"]["folder"] == str(store.folder)


def test_the_recorded_experiment_reproduces_the_run(pretrained, tmp_path):
    experiment = yaml.safe_load((pretrained / "config.yml").read_text())["provenance"]["experiment"]
    (tmp_path / "again.yml").write_text(yaml.safe_dump(experiment))
    again = pretrain(read_experiment(tmp_path / "again.yml"), tmp_path / "run")
    before, _ = read_checkpoint(pretrained / "checkpoints" / "latest.model.pth")
    after, _ = read_checkpoint(again.latest)
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())


def test_fine_tuning_starts_from_a_run_and_the_same_command_resumes_it(pretrained, write_experiment, tmp_path, capsys):
    words = [str(write_experiment(start={"checkpoint": str(pretrained)})), "--out", str(tmp_path / "run")]
    assert main_of("finetune", words) == 0
    said = capsys.readouterr()
    assert "copied normalization, recurrent_stack, embedding; made new mask" in said.err and "best.model.pth" in said.out
    info = read_info(tmp_path / "run" / "checkpoints" / "best.model.pth")
    assert (info.mode, info.labels, info.parent) == ("whole", ("bass", "voice"), "run")
    assert main_of("finetune", words) == 0
    assert "all 4 iterations are done" in capsys.readouterr().err
    assert main_of("finetune", [*words, "--override", "training.learning_rate=0.5"]) == 2
    assert "learning_rate: 0.001 there, 0.5 now" in capsys.readouterr().err


def test_mode_mask_and_named_layers_are_frozen(body, write_experiment, tmp_path):
    before = read_checkpoint(body)[0].state_dict()
    for mode, frozen, kept in (("mask", [], {"recurrent_stack", "embedding"}), ("whole", ["embedding"], {"embedding"})):
        training = {"mode": mode, "frozen": frozen}
        run = finetune(
            read_experiment(write_experiment(start={"checkpoint": str(body)}, training=training)), tmp_path / mode
        )
        after = read_checkpoint(run.latest)[0].state_dict()
        same = {name.split(".")[1] for name in before if before[name].shape == after[name].shape}
        changed = {name.split(".")[1] for name in before if name in after and before[name].shape == after[name].shape
                   and not torch.equal(before[name], after[name])}  # fmt: skip
        assert kept <= same - changed, mode


def test_an_unknown_layer_is_an_error_before_a_store_is_opened(body, write_experiment, tmp_path):
    nowhere = {"stores": {"stems": {"folder": "nowhere"}}}
    path = write_experiment(start={"checkpoint": str(body)}, training={"frozen": ["body"]}, data=nowhere)
    with pytest.raises(ConfigError, match="Layers body cannot be frozen: the network has .*recurrent_stack"):
        finetune(read_experiment(path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_stems_are_prepared_in_the_folder_of_the_experiment(write_experiment, tmp_path):
    for song in ("one", "two"):
        for number, label in enumerate(("bass", "organ", "tenor", "voice")):
            (tmp_path / "songs" / song).mkdir(parents=True, exist_ok=True)
            audio = 0.1 * np.random.default_rng(number).standard_normal(8000)
            soundfile.write(tmp_path / "songs" / song / f"{label}.wav", audio, 8000)
    choir = {"folder": str(tmp_path / "songs"), "groups": {"low": ["bass", "tenor"], "high": ["voice"]}}
    path = write_experiment(data={"stores": {"stems": None, "choir": choir}, "prepared": str(tmp_path / "stores")})
    run = finetune(read_experiment(path), tmp_path / "run")
    assert read_info(run.best).labels == ("high", "low")
    assert (tmp_path / "stores" / "choir" / "manifest.json").is_file() and not (tmp_path / "run" / "store").exists()


def test_two_stores_are_mixed_by_their_shares(write_experiment, store, tmp_path):
    long = make_store(tmp_path / "long", seconds=3.0)
    stores = {"stems": {"folder": str(store.folder)}, "long": {"folder": str(long.folder)}}
    run = finetune(read_experiment(write_experiment(data={"stores": stores})), tmp_path / "run")
    assert run.config["training"]["shares"] == [0.75, 0.25], "stores come in the order of their names, shares by minutes"
    assert read_info(run.best).data["name"] == "long+one"
    given = {name: {**about, "share": 1.0} for name, about in stores.items()}
    run = finetune(read_experiment(write_experiment(data={"stores": given})), tmp_path / "equal")
    assert run.config["training"]["shares"] == [0.5, 0.5]


def test_only_training_mixtures_are_augmented(write_experiment, tmp_path):
    run = finetune(
        read_experiment(write_experiment(data={"augment": ["pitch"], "coherent": 0.5, "gain_db": 2.0})), tmp_path / "run"
    )
    training, validation = run.config["training"], run.config["validation"]
    assert training["pitch"] == [-3.0, 3.0] and validation["pitch"] == [0.0, 0.0]
    assert training["stretch"] == validation["stretch"] == [1.0, 1.0]
    assert training["coherent"] == validation["coherent"] == 0.5 and training["gain_db"] == 2.0
    assert (training["length"], validation["length"]) == (8, 2)


def test_the_curve_has_the_si_sdr_of_test_tracks_with_the_option_probed(write_experiment, tmp_path):
    run = finetune(read_experiment(write_experiment(test={"probed": 2})), tmp_path / "run")
    points = run.read_curve()["points"]
    assert all(isinstance(point["test_si_sdr"], float) for point in points)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"data": {"stores": {"stems": None}}}, "has no stems: give a folder"),
        ({"training": {"mode": "mask"}}, "Mode 'mask' needs a pretrained model"),
        ({"training": {"mode": "pretrain"}, "test": {"probed": 2}}, "In mode 'pretrain' no masks are trained"),
        ({"training": {"iterations": 0}}, "iterations must be a whole number from 1"),
    ],
)
def test_an_impossible_experiment_is_an_error(write_experiment, tmp_path, sections, said):
    with pytest.raises(ConfigError, match=said):
        finetune(read_experiment(write_experiment(**sections)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_interrupted_recipe_says_how_to_resume(write_experiment, tmp_path, capsys, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nussl_transfer.training.fit.fit", stopped)
    assert main_of("finetune", [str(write_experiment()), "--out", str(tmp_path / "run")]) == 130
    assert "Give the same command again" in capsys.readouterr().err


def test_a_recipe_rejects_the_modes_of_the_other_and_names_it(write_experiment, tmp_path, capsys):
    for recipe, mode, other in (("finetune", "pretrain", "pretrain"), ("pretrain", "whole", "finetune")):
        words = [str(write_experiment(training={"mode": mode})), "--out", str(tmp_path / "run")]
        assert main_of(recipe, words) == 2
        said = capsys.readouterr().err
        assert f"mode '{mode}', but this recipe trains in mode" in said and f"Use recipes.{other}" in said


def test_the_papers_network_is_the_default():
    start = plan_of(NetworkConfig())
    assert start.name is None and start.info.sample_rate == 16000
    shapes = {name: tuple(tensor.shape) for name, tensor in start.network.state_dict().items()}
    assert shapes["layers.recurrent_stack.rnn.weight_hh_l3_reverse"] == (2000, 500)
    assert shapes["layers.embedding.linear.weight"] == (257 * 20, 1000)
