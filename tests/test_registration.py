"""Tests of the names that nussl's modules have after `import nussl_transfer`."""

from __future__ import annotations

import importlib
import logging
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import nussl
import pytest
import torch

from nussl_transfer.checkpoints.zoo import resolve
from nussl_transfer.errors import CheckpointError, TransferError
from nussl_transfer.networks import losses
from nussl_transfer.registration import TABLE, Part, register, register_all

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("part", TABLE, ids=lambda part: f"{part.module}.{part.name}")
def test_each_part_is_in_nussl_under_its_name(part):
    module = importlib.import_module(part.module)
    assert part.name in dir(module)
    assert getattr(module, part.name) is part.load()
    assert part.load().__module__.startswith("nussl_transfer.")


def test_the_names_that_the_documentation_promises():
    names = {f"{part.module}.{part.name}" for part in TABLE}
    assert {
        "nussl.datasets.DagstuhlChoirSet",
        "nussl.ml.networks.builders.transplant",
        "nussl.ml.train.AutoClip",
        "nussl.separation.deep.TransferMaskEstimation",
        "nussl.separation.deep.TransferDeepClustering",
    } <= names
    assert not hasattr(nussl.datasets, "ChoirSet")


def test_a_loss_is_found_by_name_in_nussls_own_closures(tiny_model):
    model = tiny_model()
    optimizer = torch.optim.Adam(model.parameters())
    closure = nussl.ml.train.closures.TrainClosure({"GramDeepClusteringLoss": {}}, optimizer, model)
    assert isinstance(closure.losses[0][0], losses.GramDeepClusteringLoss)


def test_a_registered_data_set_is_one_of_nussls():
    assert issubclass(nussl.datasets.Bach10, nussl.datasets.BaseDataset)
    assert issubclass(nussl.datasets.StemFolder, nussl.datasets.BaseDataset)


def test_registering_twice_is_harmless():
    register_all()
    register_all()
    assert all(getattr(importlib.import_module(part.module), part.name) is part.load() for part in TABLE)


@pytest.fixture
def place(monkeypatch):
    """A module `place` in which `taken` is some object; names that it lacks are 'lacking'."""
    module = types.ModuleType("place")
    module.taken = object()
    module.__getattr__ = lambda name: f"{name} is lacking"
    monkeypatch.setitem(sys.modules, "place", module)
    return module


def test_a_taken_name_is_an_error_and_nothing_is_registered(place):
    theirs = place.taken
    parts = [Part("place", "free", "runtime.files.write_json"), Part("place", "taken", "runtime.files.write_json")]
    with pytest.raises(TransferError, match=r"write_json as place\.taken: <object .* has that name. Rename"):
        register(*parts)
    assert place.taken is theirs
    assert place.free == "free is lacking"


def test_a_modules_own_lazy_names_still_resolve(place):
    register(Part("place", "part", "runtime.files.write_json"))
    assert place.part.__name__ == "write_json" and vars(place)["part"] is place.part
    assert place.other == "other is lacking"


def test_nussls_own_names_are_never_replaced():
    with pytest.raises(TransferError, match=r"nussl\.datasets\.MUSDB18: <class .* has that name"):
        register(Part("nussl.datasets", "MUSDB18", "datasets.stem_folder.StemFolder"))
    assert nussl.datasets.MUSDB18 is nussl.datasets.hooks.MUSDB18


# Models by name ------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_tmp_path(tmp_path, monkeypatch):
    """The test runs in an empty folder, with an empty folder for the user's own models."""
    monkeypatch.setenv("NUSSL_TRANSFER_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_nussls_separators_load_a_model_by_name(in_tmp_path, signals):
    by_name = nussl.separation.deep.DeepMaskEstimation(signals(1)[0], model_path="quartet")()
    by_path = nussl.separation.deep.DeepMaskEstimation(signals(1)[0], model_path=str(resolve("quartet")))()
    assert len(by_name) == len(by_path) == 4
    for one, other in zip(by_name, by_path, strict=True):
        np.testing.assert_array_equal(one.audio_data, other.audio_data)


@pytest.mark.parametrize("separator", ["DeepMaskEstimation", "TransferMaskEstimation"])
def test_every_separator_with_a_model_path_takes_the_name(in_tmp_path, signals, separator):
    made = getattr(nussl.separation.deep, separator)(signals(1)[0], model_path="choir")
    assert made.metadata["sample_rate"] == 16000
    model, _ = nussl.ml.SeparationModel.load("choir")
    assert list(model.state_dict()) == list(made.model.state_dict())


def test_the_folder_of_a_run_is_a_model_path_too(in_tmp_path, old_checkpoint, signals):
    (in_tmp_path / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(old_checkpoint, in_tmp_path / "run" / "checkpoints" / "best.model.pth")
    assert len(nussl.separation.deep.DeepMaskEstimation(signals(1)[0], "run")()) == 2


def test_a_file_with_the_name_of_a_model_wins_and_the_log_says_so(in_tmp_path, old_checkpoint, caplog, signals):
    with caplog.at_level(logging.INFO, logger="nussl_transfer"):
        nussl.ml.SeparationModel.load("quartet")
    assert caplog.messages == [f"Model quartet: loading {resolve('quartet')}."]
    caplog.clear()
    shutil.copy(old_checkpoint, in_tmp_path / "quartet")
    with caplog.at_level(logging.INFO, logger="nussl_transfer"):
        separated = nussl.separation.deep.DeepMaskEstimation(signals(1)[0], "quartet")()
    assert len(separated) == 2, "the network of two sources in the file, not the shipped one of four"
    assert f"loading the file {in_tmp_path / 'quartet'}" in caplog.text


def test_an_unknown_name_is_an_error_that_lists_the_names(in_tmp_path):
    with pytest.raises(CheckpointError, match="'quartett'.*quartet"):
        nussl.ml.SeparationModel.load("quartett")


CLOSURES_FIRST = """
import nussl_transfer.training.closures
import nussl.ml.train.closures
from nussl.ml.train.closures import TransferClosure
assert TransferClosure is nussl_transfer.training.closures.TransferClosure
assert not hasattr(nussl.ml.train.closures, "Nothing")
"""


def test_the_closures_are_registered_when_their_own_module_is_the_first_import():
    ended = subprocess.run([sys.executable, "-c", CLOSURES_FIRST], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
