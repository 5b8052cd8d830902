"""A name, a path or the folder of a run becomes the file of a checkpoint."""

from __future__ import annotations

import json

import pytest

from nussl_transfer import zoo
from nussl_transfer.errors import CheckpointError


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A registry of one bundled model."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small.pth").write_bytes(b"a checkpoint")
    registry = tmp_path / "zoo.json"
    registry.write_text(json.dumps({"small body": {"file": "small.pth", "what": "made up"}}))
    monkeypatch.setattr(zoo, "MODELS", tmp_path / "models")
    monkeypatch.setattr(zoo, "REGISTRY", registry)
    return tmp_path


def test_a_bundled_name_is_a_file_of_the_package(shelf):
    assert zoo.resolve("small body") == shelf / "models" / "small.pth"


def test_a_path_is_itself(shelf):
    path = shelf / "models" / "small.pth"
    assert zoo.resolve(path) == zoo.resolve(str(path)) == path


def test_the_folder_of_a_run_is_its_best_network(shelf):
    best = shelf / "run" / "checkpoints" / "best.model.pth"
    best.parent.mkdir(parents=True)
    best.write_bytes(b"a checkpoint")
    assert zoo.resolve(shelf / "run") == best


@pytest.mark.parametrize("model", ["smal body", "no/such/file.pth", "."])
def test_what_is_neither_is_an_error_that_lists_the_names(shelf, monkeypatch, model):
    monkeypatch.chdir(shelf / "models")
    with pytest.raises(CheckpointError, match=f"Model '{model}' was asked for: .*the names are small body"):
        zoo.resolve(model)


def test_every_name_says_what_it_is_and_where():
    assert "body" in zoo.models()
    for name, about in zoo.models().items():
        assert about.keys() >= {"file", "what"} and about["what"], name
        assert zoo.resolve(name).parent == zoo.MODELS and zoo.resolve(name).suffix == ".pth"
