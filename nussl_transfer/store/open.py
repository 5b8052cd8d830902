"""Open stems as a store; prepare one first if the stems are a plain folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..datasets.options import StemOptions
from ..datasets.recognise import open_tracks
from ..errors import ConfigError, DataError
from ..runtime.process_group import once_per_machine
from .manifest import MANIFEST
from .prepare import prepare
from .store import Store


def open_store(
    stems: str | Path | Store | Sequence[str | Path],
    out: str | Path,
    sample_rate: int,
    options: StemOptions | None = None,
    least_labels: int = 1,
) -> Store:
    """Open stems as a store at one rate; prepare a folder of stems in ``out`` first, once per machine.

    Args:
        stems: A store or the folder of one; or a folder of stems of any known layout, a stem list (``.csv``), or several
            of these, whose tracks are joined.
        out: Folder of the store that is made from a folder of stems.
        sample_rate: Rate that the store must have, in Hz.
        options: How a folder of stems is read; None recognises its data set and takes all its stems.
        least_labels: Number of different stems that a folder must hold; checked before the store is made.

    Raises:
        DataError: The store has another rate, or the stems cannot be made into one.
        ConfigError: ``options`` has groups or patterns to ignore, and ``stems`` is a store.
    """
    options = options or StemOptions()

    def opened(make: bool) -> Store:
        if isinstance(stems, Store):
            store = stems.select()
        elif isinstance(stems, (str, os.PathLike)) and (Path(stems) / MANIFEST).is_file():
            store = Store(Path(stems))
        elif make:
            name, tracks = open_tracks(stems, options)
            check_labels({label for track in tracks for label in track.stems}, stems, least_labels)
            return prepare(tracks, out, sample_rate=sample_rate, dataset=name, options=options)
        else:
            return Store(out)
        store.missing = "silence" if options.missing == "silence" else store.missing
        if options.groups or options.ignore:
            raise ConfigError(
                f"{store.folder} is a store, and its labels are fixed: groups and ignore apply to a folder of stems. Give "
                "the folder that the store was prepared from."
            )
        if store.sample_rate != sample_rate:
            raise DataError(
                f"{store.folder} is a store at {store.sample_rate} Hz: the model needs {sample_rate} Hz. Give the folder "
                f"that the store was prepared from, or prepare it again at {sample_rate} Hz."
            )
        return store

    return once_per_machine(lambda: opened(make=True), lambda: opened(make=False))


def check_labels(labels: Iterable[str], stems: object, least: int = 2) -> None:
    """Raise DataError if stems have too few labels.

    Args:
        labels: The labels, each once.
        stems: What holds the stems, for the message.
        least: Number of labels that are needed.
    """
    found = sorted(labels)
    if len(found) < least:
        raise DataError(
            f"{stems} has only the stem {', '.join(map(repr, found))}, and there is nothing to separate it from. Give the "
            f"stems of at least {least} sources."
        )
