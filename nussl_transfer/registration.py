"""Add parts of this package to nussl's own modules, and let nussl load models by name.

A user of nussl finds them beside nussl's own: ``nussl.datasets.Bach10``, ``nussl.ml.train.closures.TransferClosure``.
``TABLE`` lists all of them. nussl's loader also takes the names of models, wherever nussl takes a ``model_path``.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import types
from collections.abc import Callable
from typing import Any, NamedTuple

from .errors import TransferError
from .runtime.deferred import on_import
from .runtime.log import logger


class Part(NamedTuple):
    """One object of this package and its place in nussl.

    Attributes:
        module: Full name of nussl's module.
        name: The name there.
        home: Module and name in this package.
    """

    module: str
    name: str
    home: str

    def load(self) -> Any:
        """Import and return the object."""
        module, _, name = self.home.rpartition(".")
        return getattr(importlib.import_module(f"{__package__}.{module}"), name)


TABLE = (
    Part("nussl.datasets", "Bach10", "datasets.bach10.Bach10"),
    Part("nussl.datasets", "DagstuhlChoirSet", "datasets.choirset.DagstuhlChoirSet"),
    Part("nussl.datasets", "Remixpacks", "datasets.remixpacks.Remixpacks"),
    Part("nussl.datasets", "Slakh", "datasets.slakh.Slakh"),
    Part("nussl.datasets", "StemFolder", "datasets.stem_folder.StemFolder"),
    Part("nussl.datasets", "StemList", "datasets.stem_list.StemList"),
    # nussl has its own MUSDB18.
    Part("nussl.datasets", "TransferMUSDB18", "datasets.musdb18.MUSDB18"),
    Part("nussl.ml.networks.builders", "build_transfer_chimera", "networks.chimera.build_transfer_chimera"),
    Part("nussl.ml.networks.builders", "transplant", "networks.chimera.transplant"),
    # nussl's closures look up a loss here by its name in the loss dictionary.
    Part("nussl.ml.train.loss", "GramDeepClusteringLoss", "networks.losses.GramDeepClusteringLoss"),
    Part("nussl.ml.train.loss", "GramWhitenedKMeansLoss", "networks.losses.GramWhitenedKMeansLoss"),
    Part("nussl.ml.train.closures", "TransferClosure", "training.closures.TransferClosure"),
    Part("nussl.ml.train.closures", "TransferValidationClosure", "training.closures.TransferValidationClosure"),
    Part("nussl.ml.train", "AutoClip", "training.autoclip.AutoClip"),
    Part("nussl.separation.deep", "TransferMaskEstimation", "separation.masks.TransferMaskEstimation"),
    Part("nussl.separation.deep", "TransferDeepClustering", "separation.clustering.TransferDeepClustering"),
)


def register_all() -> None:
    """Offer every part of ``TABLE``, and models by name, once nussl's module is imported. A second call is harmless."""
    for module in dict.fromkeys(part.module for part in TABLE):
        on_import(module, functools.partial(register, *(part for part in TABLE if part.module == module)))
    on_import("nussl.core.migration", load_by_name)


def load_by_name() -> None:
    """Let nussl's loader accept what `checkpoints.zoo.resolve` accepts: a name, the folder of a run, or an address."""
    from nussl.core.migration import SafeModelLoader

    load = SafeModelLoader.load
    if hasattr(load, "__wrapped__"):
        return

    @functools.wraps(load)
    def load_resolved(self: SafeModelLoader, model_path: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        return load(self, find_checkpoint(model_path), *args, **kwargs)

    SafeModelLoader.load = load_resolved


def find_checkpoint(model_path: str | os.PathLike) -> str:
    """Return the file of a checkpoint for nussl's loader: a file of that name wins, and the choice is logged.

    Raises:
        CheckpointError: There is no such file, and no model of that name.
    """
    from .checkpoints.zoo import models, resolve

    path = os.fspath(model_path)
    if not os.path.isfile(path):
        found = str(resolve(path))
        logger.info("Model %s: loading %s.", path, found)
        return found
    if path in models():
        logger.warning(
            "%s is a file and the name of a model: loading the file %s. Rename the file to load the model.",
            *(path, os.path.abspath(path)),
        )
    return path


def register(*parts: Part) -> None:
    """Offer parts in nussl's modules; each is imported when it is first used there.

    A part cannot be imported here: importing `TransferClosure` imports nussl's closures, and this function runs while
    nussl's closures are being imported.

    Raises:
        TransferError: Another object has one of the names already. Then none of the parts is offered.
    """
    for part in parts:
        taken = vars(importlib.import_module(part.module)).get(part.name)
        if taken is not None and taken is not part.load():
            raise TransferError(
                f"Cannot register {__package__}.{part.home} as {part.module}.{part.name}: {taken!r} has that name. "
                "Rename one of them."
            )
    for part in parts:
        _offers_of(sys.modules[part.module])[part.name] = part


def _offers_of(module: types.ModuleType) -> dict[str, Part]:
    """Return the parts that a module offers, by name; the module also offers every part added to this dictionary."""
    present = vars(module).get("__getattr__")
    if isinstance(present, _Offers):
        return present.parts
    offers = _Offers(module, present)
    vars(module).update(__getattr__=offers, __dir__=offers.names)
    return offers.parts


class _Offers:
    """The ``__getattr__`` and ``__dir__`` (PEP 562) of a module that offers parts."""

    def __init__(self, module: types.ModuleType, before: Callable[[str], Any] | None):
        self.module, self.before = module, before
        self.parts: dict[str, Part] = {}

    def __call__(self, name: str) -> Any:
        if name in self.parts:
            vars(self.module)[name] = found = self.parts[name].load()
            return found
        if self.before is not None:
            return self.before(name)
        raise AttributeError(f"module {self.module.__name__!r} has no attribute {name!r}")

    def names(self) -> list[str]:
        return sorted({*vars(self.module), *self.parts})
