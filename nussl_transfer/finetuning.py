"""A folder of stems goes in, a nussl checkpoint comes out: all stages in order, choices made where none are given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from nussl.ml import SeparationModel

from .builders import MASK_HEAD, PAPER, transplant
from .checkpoints import CheckpointInfo, read_checkpoint
from .datasets import open_tracks
from .errors import CheckpointError, ConfigError, DataError
from .manifest import MANIFEST
from .mixing import Mixtures
from .prepare import prepare
from .runs import Run, logged_to, logger
from .store import Store
from .training import FitConfig, fit
from .zoo import resolve

# With one track, its last quarter is kept for validation; with more, one track in ten, at least one.
VALID_SPAN = 0.25
VALID_SHARE = 0.1
VALID_ITEMS = 48


@dataclass(frozen=True)
class Material:
    """What is trained on and what is validated on: two stores, and the part of every track that is used."""

    train: Store
    valid: Store
    train_span: tuple[float, float] = (0.0, 1.0)
    valid_span: tuple[float, float] = (0.0, 1.0)


def finetune(
    stems: str | Path | Store,
    out: str | Path,
    source: str | Path | None = "body",
    mode: str = "whole",
    iterations: int = PAPER.finetune_iterations,
    batch_size: int = 8,
    excerpt_seconds: float | None = None,
    coherent: float = 0.5,
    like: str | Path = "body",
    groups: dict[str, list[str]] | None = None,
    ignore: Sequence[str] = (),
    frozen: Sequence[str] = (),
    learning_rate: float = PAPER.learning_rate,
    frame_step: int = 4,
    validate_every: int = PAPER.validate_every,
    keep_at: Sequence[int] = (),
    seed: int = 0,
    device: str = "cpu",
    bf16: bool = False,
    workers: int = 1,
    probe: Callable[[SeparationModel], float] | None = None,
) -> Run:
    """Fine-tunes a pretrained network on stems, and returns the folder of the run.

    Rate, STFT and sizes are those of the checkpoint that it starts from. What is decided on the way (which
    tracks validate, how long the mixtures are) is logged. Called again with the same arguments it goes on
    where it was broken off.

    Args:
        stems: A folder of stems of any known layout, a store, or the folder of one.
        out: Folder of the run; a raw folder's store is made below it.
        source: Checkpoint to start from, by name or path; None starts from scratch.
        mode: 'whole' or 'mask'.
        iterations: Batches in all.
        batch_size: Mixtures a batch.
        excerpt_seconds: Length of a mixture; None takes what the source was trained on.
        coherent: Share of mixtures whose stems come from one track at one time. The others make a small set
            larger.
        like: Whose rate, STFT and sizes a network from scratch has.
        groups: Stems to merge, ``{'male': ['tenor', 'bass']}``.
        ignore: Stems to leave out.
        frozen: Layers to freeze besides those of the mode.
        learning_rate: Of Adam.
        frame_step: The deep clustering loss is taken at every so-many-th frame; the paper's is 1.
        validate_every: Iterations between validations.
        keep_at: Iterations whose network is kept besides latest and best.
        seed: Of the new layers and of the mixtures.
        device: 'cpu' or 'cuda'.
        bf16: Whether linear and recurrent layers compute in bfloat16.
        workers: Processes that load.
        probe: Measures the network in training, for the curve.

    Raises:
        ConfigError: A choice cannot work.
        DataError: The stems are not fit for training.
        CheckpointError: The source cannot be read or does not fit.
    """
    if mode not in ("whole", "mask"):
        raise ConfigError(f"Fine-tuning in mode {mode!r} was asked for: there are 'whole' and 'mask'.")
    if mode == "mask" and source is None:
        raise ConfigError(
            "Mode 'mask' from scratch was asked for: a mask head on an untrained body learns nothing. Take mode 'whole', "
            "or a checkpoint to start from."
        )
    # First all that needs no audio: what cannot work is said before a store is made.
    config = FitConfig(
        mode=mode,
        iterations=iterations,
        batch_size=batch_size,
        learning_rate=learning_rate,
        frame_step=frame_step,
        frozen=tuple(frozen),
        validate_every=min(validate_every, iterations),
        keep_at=tuple(keep_at),
        bf16=bf16,
        seed=seed,
        device=device,
        workers=workers,
    )
    checkpoint = resolve(like if source is None else source)
    pretrained, parent = read_checkpoint(checkpoint)
    with logged_to(out):
        store = open_store(stems, Path(out) / "store", parent.sample_rate, groups, ignore)
        material = divide(store, seed)
        labels = material.train.labels
        seconds = fitting_seconds(material, parent.excerpt_seconds if excerpt_seconds is None else excerpt_seconds)
        if coherent > 0 and not (_has_whole_tracks(material.train) and _has_whole_tracks(material.valid)):
            logger.info("Not enough tracks have all of %s: every mixture is incoherent.", ", ".join(labels))
            coherent = 0.0
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model, report = transplant(pretrained, labels, parent.labels, fresh=source is None)
        logger.info("Network: %s.", report)
        channels = model.layers[MASK_HEAD].num_audio_channels
        if channels != 1:
            raise CheckpointError(
                f"{checkpoint} was to be fine-tuned: its network takes {channels} channels together, and stores are mono. "
                "Take a network for 1 channel."
            )
        train = Mixtures(material.train, seconds, iterations * batch_size, seed, coherent, span=material.train_span)
        valid = Mixtures(material.valid, seconds, VALID_ITEMS, seed + 1, coherent, span=material.valid_span)
        info = CheckpointInfo(
            labels=labels,
            mode=mode,
            sample_rate=parent.sample_rate,
            stft_params=parent.stft_params,
            excerpt_seconds=seconds,
            parent=None if source is None else _name_of(checkpoint),
            data={
                "name": store.dataset,
                "minutes": round(material.train.minutes(), 1),
                "tracks": len(material.train.tracks),
            },
        )
        return fit(model, train, valid, config, out, info, probe)


def open_store(
    stems: str | Path | Store,
    out: str | Path,
    sample_rate: int,
    groups: dict[str, list[str]] | None = None,
    ignore: Sequence[str] = (),
) -> Store:
    """Returns the store of what was given: a store as it is, raw stems prepared below ``out``.

    Raises:
        DataError: The store has another rate, or the stems are not fit for one.
        ConfigError: Groups were asked for of a store, whose labels are made already.
    """
    if isinstance(stems, Store) or (Path(stems) / MANIFEST).is_file():
        store = stems if isinstance(stems, Store) else Store(stems)
        if groups or ignore:
            raise ConfigError(f"{store.folder} is a store: its labels are made. Group or leave out when preparing it.")
        if store.sample_rate != sample_rate:
            raise DataError(
                f"Stems at {sample_rate} Hz are needed: the store {store.folder} is at {store.sample_rate} Hz. Prepare it "
                f"again with --sample-rate {sample_rate}."
            )
        return store
    dataset, tracks = open_tracks(stems, groups=groups, ignore=ignore)
    return prepare(tracks, out, sample_rate=sample_rate, dataset=dataset)


def divide(store: Store, seed: int = 0) -> Material:
    """Returns what to train on and what to validate on; tracks of split 'test' are in neither.

    Validation is the tracks of split 'valid'; without such, one track in ten, at least one; where that would
    take a label away from either side, or there is one track, it is the last quarter of every track. What was
    chosen is logged.

    Raises:
        DataError: There are only test tracks, fewer than two stems, or none to validate one of them.
    """
    names = {split: [t.name for t in store.tracks if t.split == split] for split in ("valid", "test")}
    free = [track for track in store.tracks if track.split not in ("valid", "test")]
    if not free:
        raise DataError(f"{store.folder} was to be trained on: all its tracks are for validation or testing.")
    rest = store.where(names=[track.name for track in free])
    if len(rest.labels) < 2:
        raise DataError(
            f"{store.folder} was to be trained on: its only stem is {rest.labels[0]!r}, and there is nothing to separate "
            "it from. Give the stems of two sources at least."
        )
    if names["valid"]:
        valid = store.where(names=names["valid"])
        if valid.labels != rest.labels:
            raise DataError(
                f"{store.folder} was to be trained on {', '.join(rest.labels)}: its validation tracks have "
                f"{', '.join(valid.labels)}. Give both the same stems, leave some out, or let no track be for validation."
            )
        return Material(rest, valid)
    order = np.random.default_rng(seed).permutation(len(free))
    held = [free[i].name for i in order[: max(1, round(VALID_SHARE * len(free)))]]
    if len(free) > 1:
        train = store.where(names={track.name for track in free} - set(held))
        valid = store.where(names=held)
        if train.labels == valid.labels == rest.labels:
            logger.info("No validation tracks were given: held out %s.", ", ".join(sorted(held)))
            return Material(train, valid)
    logger.info("No validation tracks were given, or to be spared: held out the last quarter of every track.")
    return Material(rest, rest, (0.0, 1 - VALID_SPAN), (1 - VALID_SPAN, 1.0))


def fitting_seconds(material: Material, asked: float) -> float:
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


def _has_whole_tracks(store: Store) -> bool:
    return any(len(track.stems) == len(store.labels) for track in store.tracks)


def _name_of(checkpoint: Path) -> str:
    """Returns what a checkpoint is called: all those of runs are called 'best' or 'latest', so these by their run."""
    in_run = checkpoint.absolute().parent
    return in_run.parent.name if in_run.name == "checkpoints" else checkpoint.stem
