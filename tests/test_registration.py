"""What is to be found in nussl after `import nussl_transfer`."""

from __future__ import annotations

import importlib
import sys
import types

import nussl
import pytest
import torch

from nussl_transfer import builders, closures, datasets, losses
from nussl_transfer.errors import TransferError
from nussl_transfer.registration import TABLE, Part, register


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
    register()
    register()
    assert all(getattr(importlib.import_module(module), name) is part for module, name, part in TABLE)


def test_a_name_that_is_taken_raises_and_nothing_is_put_anywhere(monkeypatch):
    place = types.ModuleType("place")
    monkeypatch.setitem(sys.modules, "place", place)
    place.taken = theirs = object()

    def free():
        """A part with a name that is free."""

    with pytest.raises(TransferError, match=r"as place\.taken: that name is taken, by <object .*another name"):
        register([Part("place", "free", free), Part("place", "taken", free)])
    assert place.taken is theirs
    assert not hasattr(place, "free")


def test_nussls_own_names_are_never_replaced():
    with pytest.raises(TransferError, match=r"nussl\.datasets\.MUSDB18: that name is taken"):
        register([Part("nussl.datasets", "MUSDB18", datasets.StemFolder)])
    assert nussl.datasets.MUSDB18 is nussl.datasets.hooks.MUSDB18
