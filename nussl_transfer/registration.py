"""The last stage: the parts of this package that are to be found in nussl, under nussl's own names.

`python -c "import nussl_transfer; from nussl_transfer.registration import TABLE; print(*TABLE, sep='\\n')"`
prints what is put where. A user of nussl then has them where nussl's own are: `nussl.datasets.Bach10`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from .builders import build_transfer_chimera
from .closures import TransferClosure, TransferValidationClosure
from .datasets import MUSDB18, Bach10, ChoirSet, Remixpacks, Slakh, StemFolder
from .errors import TransferError
from .losses import GramDeepClusteringLoss, GramWhitenedKMeansLoss


class Part(NamedTuple):
    """One object of this package and its place in nussl."""

    module: str
    name: str
    part: Any


TABLE = (
    Part("nussl.datasets", "Bach10", Bach10),
    Part("nussl.datasets", "ChoirSet", ChoirSet),
    Part("nussl.datasets", "Remixpacks", Remixpacks),
    Part("nussl.datasets", "Slakh", Slakh),
    Part("nussl.datasets", "StemFolder", StemFolder),
    # nussl has a hook of the name MUSDB18 already.
    Part("nussl.datasets", "TransferMUSDB18", MUSDB18),
    Part("nussl.ml.networks.builders", "build_transfer_chimera", build_transfer_chimera),
    # nussl's closures look a loss up here, by the name it has in the loss dictionary.
    Part("nussl.ml.train.loss", "GramDeepClusteringLoss", GramDeepClusteringLoss),
    Part("nussl.ml.train.loss", "GramWhitenedKMeansLoss", GramWhitenedKMeansLoss),
    Part("nussl.ml.train.closures", "TransferClosure", TransferClosure),
    Part("nussl.ml.train.closures", "TransferValidationClosure", TransferValidationClosure),
)


def register(table: Iterable[Part] = TABLE) -> None:
    """Put each part in its place in nussl. Doing it twice is harmless.

    Raises:
        TransferError: another object has one of the names already; then nothing was put anywhere.
    """
    places = [(importlib.import_module(module), name, part) for module, name, part in table]
    for module, name, part in places:
        taken = getattr(module, name, part)
        if taken is not part:
            raise TransferError(
                f"Registering {part.__module__}.{part.__qualname__} as {module.__name__}.{name}: that "
                f"name is taken, by {taken!r}. Give the one or the other another name."
            )
    for module, name, part in places:
        setattr(module, name, part)
