"""What a run trains on: stems are opened as a store, divided into training and validation, and drawn into mixtures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ..datasets.options import StemOptions
from ..datasets.recognise import open_tracks
from ..errors import ConfigError, DataError
from ..runtime.log import logger
from ..runtime.process_group import once_per_machine
from ..store.manifest import MANIFEST
from ..store.prepare import prepare
from ..store.store import Store
from .joined import JoinedMixtures
from .mixtures import Mixtures

# With one track, its last quarter is kept for validation; with more, one track in ten, at least one.
VALID_SPAN = 0.25
VALID_SHARE = 0.1
VALID_ITEMS = 48


@dataclass(frozen=True)
class TrainValidSplit:
    """What is trained on and what is validated on: two stores, and the part of every track that is used.

    ``share`` is how much of the mixtures comes from here, beside other material; None: as much as it has minutes.
    """

    train: Store
    valid: Store
    train_span: tuple[float, float] = (0.0, 1.0)
    valid_span: tuple[float, float] = (0.0, 1.0)
    share: float | None = None


@dataclass(frozen=True)
class MixtureConfig:
    """How mixtures are drawn: the arguments of :class:`~nussl_transfer.mixing.mixtures.Mixtures`."""

    excerpt_seconds: float | None = None
    coherent: float = 1.0
    num_sources: int | None = None
    fewest_sources: int | None = None
    gain_db: float = 0.0
    sounding: bool = False
    pitch: tuple[float, float] | None = None
    stretch: tuple[float, float] | None = None


def open_store(
    stems: str | Path | Store,
    out: str | Path,
    sample_rate: int,
    options: StemOptions | None = None,
) -> Store:
    """Returns the store of what was given: a store as it is, raw stems prepared in ``out``.

    Args:
        stems: A folder of stems of any known layout, a store, or the folder of one.
        out: Folder of the store that is made.
        sample_rate: Rate that is needed, in Hz.
        options: How a folder of stems is read; None recognises its data set and takes all its stems.

    Raises:
        DataError: The store has another rate, or the stems are not fit for one.
        ConfigError: Groups were asked for of a store, whose labels are made already.
    """

    options = options or StemOptions()

    def given() -> Store | None:
        if not (isinstance(stems, Store) or (Path(stems) / MANIFEST).is_file()):
            return None
        store = stems if isinstance(stems, Store) else Store(stems)
        if options.groups or options.ignore:
            raise ConfigError(f"{store.folder} is a store: its labels are made. Group or leave out when preparing it.")
        if store.sample_rate != sample_rate:
            raise DataError(
                f"Stems at {sample_rate} Hz are needed: the store {store.folder} is at {store.sample_rate} Hz. Prepare it "
                f"again with --sample-rate {sample_rate}."
            )
        return store

    def made() -> Store:
        name, tracks = open_tracks(stems, options)
        return prepare(tracks, out, sample_rate=sample_rate, dataset=name, options=options)

    return once_per_machine(lambda: given() or made(), lambda: given() or Store(out))


def train_valid_split(store: Store, seed: int = 0, share: float | None = None) -> TrainValidSplit:
    """Returns what to train on and what to validate on; tracks of split 'test' are in neither.

    Validation is the tracks of split 'valid'; without such, one track in ten, at least one, and no music that is
    trained on (:meth:`~nussl_transfer.store.store.Store.tracks_by_origin`). Where there is no such choice, or it would take a label away
    from either side, it is the last quarter of every track. What was chosen is logged.

    Args:
        store: What to divide.
        seed: Of the choice.
        share: Of the material, see :class:`TrainValidSplit`.

    Raises:
        DataError: There are only test tracks, fewer than two stems, or none to validate one of them.
    """
    names = {split: [t.name for t in store.tracks if t.split == split] for split in ("valid", "test")}
    free = [track for track in store.tracks if track.split not in ("valid", "test")]
    if not free:
        raise DataError(f"{store.folder} was to be trained on: all its tracks are for validation or testing.")
    rest = store.select(names=[track.name for track in free])
    if len(rest.labels) < 2:
        raise DataError(
            f"{store.folder} was to be trained on: its only stem is {rest.labels[0]!r}, and there is nothing to separate "
            "it from. Give the stems of two sources at least."
        )
    if names["valid"]:
        valid = store.select(names=names["valid"])
        if valid.labels != rest.labels:
            raise DataError(
                f"{store.folder} was to be trained on {', '.join(rest.labels)}: its validation tracks have "
                f"{', '.join(valid.labels)}. Give both the same stems, leave some out, or let no track be for validation."
            )
        return TrainValidSplit(rest, valid, share=share)
    held = _held_out(rest, seed)
    if held:
        train = store.select(names={track.name for track in free} - set(held))
        valid = store.select(names=held)
        if train.labels == valid.labels == rest.labels:
            logger.info("No validation tracks were given: held out %s.", ", ".join(sorted(held)))
            return TrainValidSplit(train, valid, share=share)
    logger.info("No validation tracks were given, or to be spared: held out the last quarter of every track.")
    return TrainValidSplit(rest, rest, (0.0, 1 - VALID_SPAN), (1 - VALID_SPAN, 1.0), share)


def _held_out(store: Store, seed: int) -> list[str]:
    """Returns the names of one track in ten, drawn by seed, with all that are the same music; [] if there is no choice."""
    groups, count = store.tracks_by_origin(), len(store.tracks)
    if len(groups) < 2:
        return []
    held: list[str] = []
    for index in np.random.default_rng(seed).permutation(len(groups)):
        if len(held) + len(groups[index]) <= max(1, round(VALID_SHARE * count)):
            held += [track.name for track in groups[index]]
    smallest = min(groups, key=len)
    if not held and len(smallest) <= VALID_SPAN * count:
        held = [track.name for track in smallest]
    return held


def adapt_to_data(materials: Sequence[TrainValidSplit], drawing: MixtureConfig) -> MixtureConfig:
    """Returns a drawing that the material allows: shorter mixtures, or incoherent ones; what was changed is logged."""
    seconds = min(fitting_seconds(material, drawing.excerpt_seconds) for material in materials)
    if drawing.coherent > 0 and drawing.num_sources is None:
        for store in (store for material in materials for store in (material.train, material.valid)):
            if not any(len(track.stems) == len(store.labels) for track in store.tracks):
                labels = ", ".join(store.labels)
                logger.info("Not enough tracks of %s have all of %s: every mixture is incoherent.", store.folder, labels)
                return replace(drawing, excerpt_seconds=seconds, coherent=0.0)
    return replace(drawing, excerpt_seconds=seconds)


def fitting_seconds(material: TrainValidSplit, asked: float) -> float:
    """Returns the length of a mixture: as asked, or as long as the longest track of either side, which is then logged."""
    rate = material.train.sample_rate
    longest = min(
        max(track.frames for track in store.tracks) * (span[1] - span[0]) / rate
        for store, span in ((material.train, material.train_span), (material.valid, material.valid_span))
    )
    if asked <= longest:
        return asked
    fitting = math.floor(100 * longest) / 100
    logger.info("Mixtures of %g s were asked for: there is too little sound for that, they are %g s.", asked, fitting)
    return fitting


def mixtures_of(
    materials: Sequence[TrainValidSplit], drawing: MixtureConfig, items: int, valid_items: int = VALID_ITEMS, seed: int = 0
) -> tuple[Mixtures | JoinedMixtures, Mixtures | JoinedMixtures]:
    """Returns what a run trains on and what it validates on; validation is never shifted or stretched.

    Raises:
        ConfigError: Some material has a share and some has none, or the parts have other labels.
    """
    given = asdict(drawing)
    plain = {**given, "pitch": None, "stretch": None}
    train = [Mixtures(m.train, length=items, seed=seed, span=m.train_span, **given) for m in materials]
    valid = [Mixtures(m.valid, length=valid_items, seed=seed + 1, span=m.valid_span, **plain) for m in materials]
    if len(materials) == 1:
        return train[0], valid[0]
    shares = shares_of(materials)
    return JoinedMixtures(train, shares, items, seed), JoinedMixtures(valid, shares, valid_items, seed + 1)


def shares_of(materials: Sequence[TrainValidSplit]) -> list[float]:
    """Returns the share of the mixtures that each material has; without any given, that of the minutes it has.

    Raises:
        ConfigError: Some have a share and some have none.
    """
    given = [material.share for material in materials]
    if all(share is None for share in given):
        given = [material.train.minutes() for material in materials]
    if None in given:
        raise ConfigError(
            f"The shares of {len(given)} stores were given as {given}: give all of them one, or none, and each has the "
            "share of its minutes."
        )
    return [share / sum(given) for share in given]
