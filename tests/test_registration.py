"""Tests of the names that nussl's modules have after `import nussl_transfer`."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
from pathlib import Path

import nussl
import pytest
import torch

from nussl_transfer.errors import TransferError
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
