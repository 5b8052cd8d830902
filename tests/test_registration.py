"""What is to be found in nussl after `import nussl_transfer`."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
from pathlib import Path

import nussl
import pytest
import torch

from nussl_transfer.datasets import recognise as datasets
from nussl_transfer.errors import TransferError
from nussl_transfer.networks import chimera as builders
from nussl_transfer.networks import losses
from nussl_transfer.registration import CLOSURES, LOSSES, TABLE, Part, register, register_all
from nussl_transfer.training import closures

ROOT = Path(__file__).parents[1]


def test_the_parts_are_in_nussl_under_their_names():
    assert nussl.datasets.Bach10 is datasets.Bach10
    assert nussl.datasets.StemFolder is datasets.StemFolder
    assert nussl.ml.networks.builders.build_transfer_chimera is builders.build_transfer_chimera
    assert nussl.ml.train.closures.TransferClosure is closures.TransferClosure
    assert nussl.ml.train.closures.TransferValidationClosure is closures.TransferValidationClosure
    assert nussl.ml.train.loss.GramDeepClusteringLoss is losses.GramDeepClusteringLoss
    assert nussl.ml.train.loss.GramWhitenedKMeansLoss is losses.GramWhitenedKMeansLoss


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
    parts = (*TABLE, *LOSSES, *CLOSURES)
    assert all(getattr(importlib.import_module(part.module), part.name) is part.found() for part in parts)


def test_a_name_that_is_taken_raises_and_nothing_is_put_anywhere(monkeypatch):
    place = types.ModuleType("place")
    monkeypatch.setitem(sys.modules, "place", place)
    place.taken = theirs = object()

    parts = [Part("place", "free", "runtime.files.write_json"), Part("place", "taken", "runtime.files.write_json")]
    with pytest.raises(TransferError, match=r"write_json as place\.taken: that name is taken, by <object .*another name"):
        register(parts)
    assert place.taken is theirs
    assert not hasattr(place, "free")


def test_nussls_own_names_are_never_replaced():
    with pytest.raises(TransferError, match=r"nussl\.datasets\.MUSDB18: that name is taken"):
        register([Part("nussl.datasets", "MUSDB18", "datasets.StemFolder")])
    assert nussl.datasets.MUSDB18 is nussl.datasets.hooks.MUSDB18


FIRST = """
import nussl_transfer.training.closures
import nussl.ml.train.closures
from nussl.ml.train.closures import TransferClosure
assert TransferClosure is nussl_transfer.training.closures.TransferClosure
assert not hasattr(nussl.ml.train.closures, "Nothing")
"""


def test_the_parts_are_there_too_where_a_module_for_training_is_the_first_that_is_imported():
    ended = subprocess.run([sys.executable, "-c", FIRST], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
