"""The last stage: the parts of this package that are to be found in nussl, under nussl's own names.

`python -c "import nussl_transfer; from nussl_transfer.registration import TABLE; print(*TABLE, sep='\\n')"`
prints what is put where. A user of nussl then has them where nussl's own are: `nussl.datasets.Bach10`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from .errors import TransferError
from .runtime.deferred import on_import


class Part(NamedTuple):
    """One object of this package and its place in nussl.

    Attributes:
        module: Full name of nussl's module.
        name: What it is called there.
        home: Its module in this package, and its name there.
    """

    module: str
    name: str
    home: str

    def found(self) -> Any:
        """Returns the object."""
        module, _, name = self.home.rpartition(".")
        return getattr(importlib.import_module(f"{__package__}.{module}"), name)


TABLE = (
    Part("nussl.datasets", "Bach10", "datasets.Bach10"),
    Part("nussl.datasets", "ChoirSet", "datasets.ChoirSet"),
    Part("nussl.datasets", "Remixpacks", "datasets.Remixpacks"),
    Part("nussl.datasets", "Slakh", "datasets.Slakh"),
    Part("nussl.datasets", "StemFolder", "datasets.StemFolder"),
    # nussl has a hook of the name MUSDB18 already.
    Part("nussl.datasets", "TransferMUSDB18", "datasets.MUSDB18"),
    Part("nussl.ml.networks.builders", "build_transfer_chimera", "networks.chimera.build_transfer_chimera"),
)
# These two are in nussl's modules for training, which run when something is first asked of them.
LOSSES = (
    # nussl's closures look a loss up here, by the name it has in the loss dictionary.
    Part("nussl.ml.train.loss", "GramDeepClusteringLoss", "networks.losses.GramDeepClusteringLoss"),
    Part("nussl.ml.train.loss", "GramWhitenedKMeansLoss", "networks.losses.GramWhitenedKMeansLoss"),
)
CLOSURES = (
    Part("nussl.ml.train.closures", "TransferClosure", "training.closures.TransferClosure"),
    Part("nussl.ml.train.closures", "TransferValidationClosure", "training.closures.TransferValidationClosure"),
)


def register(table: Iterable[Part]) -> None:
    """Put each part in its place in nussl. Doing it twice is harmless.

    Raises:
        TransferError: another object has one of the names already; then nothing was put anywhere.
    """
    places = [(importlib.import_module(part.module), part.name, part.found()) for part in table]
    for module, name, part in places:
        taken = getattr(module, name, part)
        if taken is not part:
            raise TransferError(
                f"Registering {part.__module__}.{part.__qualname__} as {module.__name__}.{name}: that "
                f"name is taken, by {taken!r}. Give the one or the other another name."
            )
    for module, name, part in places:
        setattr(module, name, part)


def register_lazily(table: Iterable[Part]) -> None:
    """Have each part come to its place in nussl when it is first asked for there.

    The closures derive from classes of the very module that they are put in: where they are imported first, they are not
    made yet when that module has run.
    """
    for part in table:
        module = importlib.import_module(part.module)
        before = vars(module).get("__getattr__")

        def found(name: str, module=module, part=part, before=before) -> Any:
            if name == part.name:
                setattr(module, name, part.found())
                return vars(module)[name]
            if before is not None:
                return before(name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = found


def register_all() -> None:
    """Put every part in its place: those for training when nussl's modules for it run."""
    register(TABLE)
    on_import("nussl.ml.train", _register_training)


def _register_training() -> None:
    register(LOSSES)
    register_lazily(CLOSURES)
