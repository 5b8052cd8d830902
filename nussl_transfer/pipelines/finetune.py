"""A folder of stems goes in, a nussl checkpoint comes out: all stages in order, choices made where none are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from nussl.ml import SeparationModel

from ..checkpoints.checkpoint import CheckpointInfo, read_checkpoint
from ..checkpoints.zoo import resolve
from ..datasets.options import StemOptions
from ..errors import CheckpointError, ConfigError
from ..mixing.split import (
    VALID_ITEMS,
    MixtureConfig,
    TrainValidSplit,
    adapt_to_data,
    mixtures_of,
    open_store,
    train_valid_split,
)
from ..networks.chimera import MASK_HEAD, PAPER, transplant
from ..networks.freezing import parameter_groups
from ..runtime.log import logger
from ..runtime.process_group import once_per_machine, preserve_random_state, synchronized
from ..store.store import Store
from ..training.fit import fit
from ..training.provenance import provenance
from ..training.run import FitConfig, Run, lock_run_folder

UNTRAINED = ("a", "b")

@dataclass(frozen=True)
class Start:
    """Where training starts: a network, what it was trained on, and its name; one without a name is only a plan."""

    network: SeparationModel
    info: CheckpointInfo
    name: str | None = None

    @classmethod
    def read(cls, source: str | Path | None, like: str | Path = "body") -> Start:
        """Returns the network of a checkpoint; with no source, one to be made anew, of the sizes of another.

        Raises:
            CheckpointError: The checkpoint cannot be read, or its network is not for mono audio.
        """
        checkpoint = once_per_machine(lambda: resolve(like if source is None else source))
        with synchronized():
            network, info = read_checkpoint(checkpoint)
            channels = network.layers[MASK_HEAD].num_audio_channels
            if channels != 1:
                raise CheckpointError(
                    f"{checkpoint} was to be fine-tuned: its network takes {channels} channels together, and stores are "
                    "mono. Take a network for 1 channel."
                )
        return cls(network, info, None if source is None else _name_of(checkpoint))


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
    frame_step: int = 4,
    validate_every: int = PAPER.validate_every,
    valid_items: int = VALID_ITEMS,
    keep_at: Sequence[int] = (),
    seed: int = 0,
    workers: int = 1,
    probe: Callable[[SeparationModel], float] | None = None,
    **training,
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
        frame_step: The deep clustering loss is taken at every so-many-th frame; the paper's is 1.
        validate_every: Iterations between validations.
        valid_items: Mixtures that a validation takes.
        keep_at: Iterations whose network is kept besides latest and best.
        seed: Of the new layers and of the mixtures.
        workers: Processes that load.
        probe: Measures the network in training, for the curve.
        training: What else :class:`~nussl_transfer.training.run.FitConfig` has: ``learning_rate``, ``body_learning_rate``,
            ``phase_sensitive``, ``stop_after``, ``ema_decay``, ``accumulate``, ``bf16``, ``device`` and so on.

    Raises:
        ConfigError: A choice cannot work.
        DataError: The stems are not fit for training.
        CheckpointError: The source cannot be read or does not fit.
    """
    if mode not in ("whole", "mask"):
        raise ConfigError(f"Fine-tuning in mode {mode!r} was asked for: there are 'whole' and 'mask'.")
    # First all that needs no audio: what cannot work is said before a store is made.
    config = FitConfig(
        mode=mode,
        iterations=iterations,
        batch_size=batch_size,
        frame_step=frame_step,
        frozen=tuple(frozen),
        validate_every=min(validate_every, iterations),
        keep_at=tuple(keep_at),
        seed=seed,
        workers=workers,
        **training,
    )
    start = Start.read(source, like)
    check_trainable(start, config)
    with lock_run_folder(out):
        store = open_store(stems, Path(out) / "store", start.info.sample_rate, StemOptions(groups=groups, ignore=ignore))
        drawing = MixtureConfig(start.info.excerpt_seconds if excerpt_seconds is None else excerpt_seconds, coherent)
        return train_on([train_valid_split(store, seed)], start, drawing, config, out, probe, valid_items)


def check_trainable(start: Start, config: FitConfig) -> None:
    """Raises ConfigError where a run of this kind could not begin, whatever the stems: said before a store is made."""
    if config.mode == "mask" and start.name is None:
        raise ConfigError(
            "Mode 'mask' from scratch was asked for: a mask head on an untrained body learns nothing. Take mode 'whole', "
            "or a checkpoint to start from."
        )
    parameter_groups(start.network, config.mode, config.frozen, config.learning_rate, config.body_learning_rate)


def train_on(
    materials: Sequence[TrainValidSplit],
    start: Start,
    drawing: MixtureConfig,
    config: FitConfig,
    out: str | Path,
    probe: Callable[[SeparationModel], float] | None = None,
    valid_items: int = VALID_ITEMS,
    experiment: dict | None = None,
) -> Run:
    """Trains a network on material, and returns the folder of the run.

    Args:
        materials: What to train on and to validate on.
        start: Where to start. Modes 'whole' and 'mask' put a mask head for the material's labels on it.
        drawing: How mixtures are drawn; shortened, or made incoherent, where the material asks for it.
        config: How to train.
        out: Folder of the run.
        probe: Measures the network in training, for the curve.
        valid_items: Mixtures that a validation takes.
        experiment: What was asked for, as plain values, to be written down beside the run.

    Raises:
        ConfigError: A choice cannot work.
        DataError: The material is not fit for training.
    """
    with lock_run_folder(out):
        with synchronized():
            drawing = adapt_to_data(materials, drawing)
            train, valid = mixtures_of(materials, drawing, config.iterations * config.batch_size, valid_items, config.seed)
            labels = () if config.mode == "pretrain" else train.labels
            model = _network(start, labels, config)
            info = CheckpointInfo(
                labels=labels,
                mode=config.mode,
                sample_rate=start.info.sample_rate,
                stft_params=start.info.stft_params,
                excerpt_seconds=drawing.excerpt_seconds,
                parent=start.name,
                data={
                    "name": "+".join(material.train.dataset for material in materials),
                    "minutes": round(sum(material.train.minutes() for material in materials), 1),
                    "tracks": sum(len(material.train.tracks) for material in materials),
                },
            )
            came_from = provenance([material.train for material in materials], config.seed, experiment)
        return fit(model, train, valid, config, out, info, probe, provenance=came_from)


def _network(start: Start, labels: Sequence[str], config: FitConfig) -> SeparationModel:
    """Returns the network to train; in mode 'pretrain' its mask head stays whatever it is."""
    if not labels and start.name is not None:
        return start.network
    with preserve_random_state():
        torch.manual_seed(config.seed)
        # A mask head that nobody trains has two masks, the least that a separator of nussl's accepts.
        network, report = transplant(start.network, labels or UNTRAINED, start.info.labels, fresh=start.name is None)
    logger.info("Network: %s.", report)
    return network


def _name_of(checkpoint: Path) -> str:
    """Returns what a checkpoint is called: all those of runs are called 'best' or 'latest', so these by their run."""
    in_run = checkpoint.absolute().parent
    return in_run.parent.name if in_run.name == "checkpoints" else checkpoint.stem
