"""Split stores into training and validation, and build the mixtures of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConfigError, DataError
from ..runtime.log import logger
from ..store.open import check_labels
from ..store.store import Store
from .config import MixtureConfig
from .joined import JoinedMixtures
from .mixtures import Mixtures

# Without validation tracks, one track in ten is held out, at least one. With fewer than four tracks one would be too many:
# then the last quarter of each is held out.
VALID_SHARE = 0.1
VALID_SPAN = 0.25
VALID_ITEMS = 48


@dataclass(frozen=True)
class TrainValidSplit:
    """The training and the validation part of a store.

    Attributes:
        train: Tracks to train on.
        valid: Tracks to validate on.
        train_span: The part of each training track that is used, as fractions of its length.
        valid_span: The part of each validation track that is used.
        share: With several stores, the share of the mixtures that comes from this one, in any unit. If it is None for
            all stores, their minutes are the shares.
    """

    train: Store
    valid: Store
    train_span: tuple[float, float] = (0.0, 1.0)
    valid_span: tuple[float, float] = (0.0, 1.0)
    share: float | None = None


def train_valid_split(store: Store, seed: int = 0, share: float | None = None) -> TrainValidSplit:
    """Split a store into training and validation; tracks of split 'test' are in neither. The choice is logged.

    Validation takes the tracks of split 'valid'. Where there are none, it takes one track in ten, at least one, and never
    music that is also trained on (:meth:`~nussl_transfer.store.store.Store.tracks_by_origin`). With fewer than four tracks,
    or where either side would lack a label, it takes the last quarter of every track.

    Args:
        store: The store.
        seed: Seed of the choice.
        share: See :class:`TrainValidSplit`.

    Raises:
        DataError: There are only test tracks, fewer than two stems, or validation tracks with other stems.
    """
    names = {split: [t.name for t in store.tracks if t.split == split] for split in ("valid", "test")}
    free = [track for track in store.tracks if track.split not in ("valid", "test")]
    if not free:
        raise DataError(f"{store.folder} has no tracks to train on: all are of split 'valid' or 'test'. Give others.")
    rest = store.select(names=[track.name for track in free])
    check_labels(rest.labels, store.folder)
    if names["valid"]:
        valid = store.select(names=names["valid"])
        if valid.labels != rest.labels:
            raise DataError(
                f"The training tracks of {store.folder} have {', '.join(rest.labels)}; its validation tracks have "
                f"{', '.join(valid.labels)}. Give both the same stems, leave some out, or give no validation tracks."
            )
        return TrainValidSplit(rest, valid, share=share)
    held = _held_out(rest, seed)
    if held:
        train = store.select(names={track.name for track in free} - set(held))
        valid = store.select(names=held)
        if train.labels == valid.labels == rest.labels:
            logger.info("Chosen for validation, and not trained on: %s.", ", ".join(sorted(held)))
            return TrainValidSplit(train, valid, share=share)
    logger.info("Chosen for validation, and not trained on: the last quarter of every track. No whole track can be spared.")
    return TrainValidSplit(rest, rest, (0.0, 1 - VALID_SPAN), (1 - VALID_SPAN, 1.0), share)


def _held_out(store: Store, seed: int) -> list[str]:
    """Return the names of about one track in ten, whole origins at a time; [] if that takes over a quarter of all."""
    groups, count = store.tracks_by_origin(), len(store.tracks)
    if len(groups) < 2:
        return []
    held: list[str] = []
    most = max(round(VALID_SHARE * count), min(1, int(VALID_SPAN * count)))
    for index in np.random.default_rng(seed).permutation(len(groups)):
        if len(held) + len(groups[index]) <= most:
            held += [track.name for track in groups[index]]
    smallest = min(groups, key=len)
    if not held and len(smallest) <= VALID_SPAN * count:
        held = [track.name for track in smallest]
    return held


def adapt_to_data(splits: Sequence[TrainValidSplit], config: MixtureConfig) -> MixtureConfig:
    """Change the options that the data does not allow, log the changes, and return the options.

    Tracks may be too short, or lack stems that coherent mixtures need. Given mixtures allow neither incoherent mixtures nor
    changes of gain, timbre or number of sources.

    Args:
        splits: The data.
        config: How mixtures are to be drawn; its ``excerpt_seconds`` is needed.
    """
    seconds = min(fitting_seconds(split, config.seconds) for split in splits)
    if any(split.train.has_mixtures for split in splits):
        plain = replace(config, coherent=1.0, gain_db=0.0, timbre=0.0, num_sources=None, fewest_sources=None)
        if plain != config:
            logger.info("The mixtures are given: every mixture is coherent, with the levels and timbres of its track.")
        return replace(plain, excerpt_seconds=seconds)
    if config.coherent > 0 and config.num_sources is None:
        for store in (store for split in splits for store in (split.train, split.valid)):
            needed = 2 if store.missing == "silence" else len(store.labels)
            if not any(len(track.stems) >= needed for track in store.tracks):
                which = "two stems" if store.missing == "silence" else f"all of {', '.join(store.labels)}"
                logger.info("No track of %s has %s: every mixture is incoherent.", store.folder, which)
                return replace(config, excerpt_seconds=seconds, coherent=0.0)
    return replace(config, excerpt_seconds=seconds)


def fitting_seconds(split: TrainValidSplit, excerpt_seconds: float) -> float:
    """Return the length of a mixture: ``excerpt_seconds``, or less where all tracks of a side are shorter (logged)."""
    rate = split.train.sample_rate
    longest = min(
        max(track.frames for track in store.tracks) * (span[1] - span[0]) / rate
        for store, span in ((split.train, split.train_span), (split.valid, split.valid_span))
    )
    if excerpt_seconds <= longest:
        return excerpt_seconds
    fitting = math.floor(100 * longest) / 100
    logger.info("No track is as long as %g s: mixtures are %g s long.", excerpt_seconds, fitting)
    return fitting


def mixtures_of(
    splits: Sequence[TrainValidSplit],
    config: MixtureConfig,
    items: int,
    valid_items: int = VALID_ITEMS,
    seed: int = 0,
) -> tuple[Mixtures | JoinedMixtures, Mixtures | JoinedMixtures]:
    """Build the training and the validation mixtures; validation changes neither pitch, tempo nor timbre.

    Args:
        splits: The data.
        config: How mixtures are drawn.
        items: Number of training mixtures.
        valid_items: Number of validation mixtures.
        seed: Seed of the training mixtures; validation has the next.

    Raises:
        ConfigError: Some stores have a share and others have none, or their labels differ.
        DataError: A store gives no such mixtures.
    """
    plain = replace(config, pitch=None, stretch=None, transpose=0, timbre=0.0)
    train = [Mixtures(split.train, config, items, seed, split.train_span) for split in splits]
    valid = [Mixtures(split.valid, plain, valid_items, seed + 1, split.valid_span) for split in splits]
    if len(splits) == 1:
        return train[0], valid[0]
    shares = shares_of(splits)
    return JoinedMixtures(train, shares, items, seed), JoinedMixtures(valid, shares, valid_items, seed + 1)


def shares_of(splits: Sequence[TrainValidSplit]) -> list[float]:
    """Return each store's share of the mixtures; where none is given, its share of the minutes.

    Raises:
        ConfigError: Some stores have a share and others have none.
    """
    given = [split.share for split in splits]
    shares = [share for share in given if share is not None] or [split.train.minutes() for split in splits]
    if len(shares) < len(splits):
        raise ConfigError(
            f"The shares of {len(given)} stores are {given}. Give all of them a share, or none to use their minutes."
        )
    return [share / sum(shares) for share in shares]
