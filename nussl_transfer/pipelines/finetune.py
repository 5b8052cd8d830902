"""Fine-tune a pretrained model on a folder of stems: prepare a store, split it, draw mixtures, train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from nussl.ml import SeparationModel

from ..checkpoints.checkpoint import CheckpointInfo, read_checkpoint
from ..checkpoints.zoo import models, resolve
from ..datasets.options import StemOptions
from ..errors import CheckpointError, ConfigError, TransferError
from ..mixing.config import MixtureConfig
from ..mixing.split import (
    VALID_ITEMS,
    TrainValidSplit,
    adapt_to_data,
    mixtures_of,
    train_valid_split,
)
from ..networks.chimera import PAPER, channels_of, transplant
from ..networks.freezing import parameter_groups
from ..runtime.files import is_newer
from ..runtime.log import logger
from ..runtime.process_group import is_main_process, once_per_machine, preserve_random_state, synchronized
from ..store.open import open_store
from ..store.store import Store
from ..training.config import FitConfig
from ..training.fit import fit
from ..training.provenance import provenance
from ..training.run import Run, lock_run_folder
from .summary import report_run

# Labels of a mask head that is not trained: two, the fewest that nussl's separators accept.
UNTRAINED = ("a", "b")
WARMUP_ITERATIONS = 100
PRETRAINED_RATE, SCRATCH_RATE = 0.004, 0.002  # learning rates


@dataclass(frozen=True)
class Start:
    """The network that training starts from.

    Attributes:
        network: The network. If ``name`` is None, only its layer sizes are used.
        info: What its checkpoint records: sample rate, STFT, labels.
        name: Name of the pretrained model; None trains from scratch.
    """

    network: SeparationModel
    info: CheckpointInfo
    name: str | None = None

    @classmethod
    def read(cls, checkpoint: str | Path | None, like: str | Path = "body") -> Start:
        """Read a pretrained network; without a checkpoint, plan a new one with the layer sizes of ``like``.

        Raises:
            CheckpointError: The checkpoint cannot be read, or its network is not for mono audio.
        """
        path = once_per_machine(lambda: resolve(like if checkpoint is None else checkpoint))
        with synchronized():
            network, info = read_checkpoint(path)
            channels = channels_of(network)
            if channels != 1:
                raise CheckpointError(
                    f"{path} cannot be fine-tuned: its network takes {channels} channels together, and stores are mono. "
                    "Take a network for 1 channel."
                )
        return cls(network, info, None if checkpoint is None else _name_of(path))


def default_training(pretrained: bool = True, **changes: Any) -> FitConfig:
    """Return the training options that :func:`finetune` uses by default, with some of them changed.

    They suit minutes of stems and a CPU: batches of 8; the clustering loss at every fourth frame, with a tenth of the
    paper's weight; four times the paper's learning rate, or twice for a network from scratch, to which it rises over the
    first 100 iterations (of fewer than 300, over the first third); averaged weights. A new mask head is first fitted by
    least squares. The best network is the one with the lowest mask loss on the validation mixtures. ``FitConfig()`` itself
    has the paper's values.

    Args:
        pretrained: Whether the network is pretrained. From scratch, the learning rate is half as high.
        changes: Any field of :class:`~nussl_transfer.training.config.FitConfig`.

    >>> default_training(iterations=300).batch_size
    8
    """
    ours = {"batch_size": 8, "frame_step": 4, "dc_weight": 0.001, "ema_decay": 0.99}
    ours["learning_rate"] = PRETRAINED_RATE if pretrained else SCRATCH_RATE
    values = {**ours, "head_mixtures": 256, "choose_by": "mask_loss", **changes}
    iterations = values.get("iterations", PAPER.finetune_iterations)
    values["validate_every"] = min(values.get("validate_every", PAPER.validate_every), max(1, iterations))
    # Without a warm-up, the first steps undo what least squares gave a wide new network.
    values.setdefault("warmup_iterations", min(WARMUP_ITERATIONS, iterations // 3))
    return FitConfig(**values)


def default_mixtures(**changes: Any) -> MixtureConfig:
    """Return the mixture options that :func:`finetune` uses by default, with some of them changed.

    Half of the mixtures are coherent. Levels vary by 2 dB, half of the stems are transposed by up to two semitones, and
    half get a mild equalizer. ``MixtureConfig()`` itself changes nothing about the stems.

    Args:
        changes: Any field of :class:`~nussl_transfer.mixing.config.MixtureConfig`.

    >>> default_mixtures(coherent=1.0).gain_db
    2.0
    """
    return MixtureConfig(**{"gain_db": 2.0, "transpose": 2, "timbre": 0.5, "eq_db": 1.5, **changes})


def paper_finetune(**changes: Any) -> dict:
    """Return the paper's training and mixture options, as arguments of :func:`finetune`.

    Use: ``finetune(stems, out, **paper_finetune())``.

    Args:
        changes: Any field of :class:`~nussl_transfer.training.config.FitConfig`, such as ``device`` or ``workers``.

    Returns:
        ``training`` and ``mixtures``: batches of 24 coherent mixtures of 10 s, the clustering loss at every frame, and the
        lowest validation loss to choose the best network.

    >>> paper_finetune()["training"].batch_size
    24
    """
    training = FitConfig(**changes)
    return {"training": training, "mixtures": MixtureConfig(excerpt_seconds=PAPER.excerpt_seconds, coherent=1.0)}


def finetune(
    stems: str | Path | Store | Sequence[str | Path],
    out: str | Path,
    *,
    checkpoint: str | Path | None = "body",
    mode: str = "whole",
    training: FitConfig | None = None,
    mixtures: MixtureConfig = default_mixtures(),  # noqa: B008  frozen
    groups: dict[str, list[str]] | None = None,
    ignore: Sequence[str] = (),
    seed: int = 0,
    options: StemOptions | None = None,
    like: str | Path = "body",
    valid_items: int = VALID_ITEMS,
    probe: Callable[[SeparationModel], float] | None = None,
    report: bool = True,
) -> Run:
    """Fine-tune a pretrained model on stems, and return the run: its folder, checkpoints and curve.

    The sample rate, the STFT and the layer sizes are those of the pretrained model. The log says which tracks validate
    and how long the mixtures are. Calling it again with the same arguments resumes an interrupted run.

    Args:
        stems: A folder of stems of any known layout, a stem list (``.csv``), several of these, a store, or the folder of
            one.
        out: Folder of the run. The store of a folder of stems is made in ``<out>/store``.
        checkpoint: Pretrained model: a name, a file or a run. None trains from scratch.
        mode: 'whole' trains the whole network; 'mask' trains only the mask head.
        training: How to train; by default :func:`default_training`, which depends on ``checkpoint``. Its ``mode`` and
            ``seed`` are replaced by the arguments of this function.
        mixtures: How to draw mixtures. By default they are as long as those that the pretrained model was trained on, and
            half of them are coherent; the others mix stems of different tracks and times, which adds variety to a small
            set.
        groups: Stems to merge, ``{'male': ['tenor', 'bass']}``; short for ``options.groups``.
        ignore: Stems, files and folders to skip; short for ``options.ignore``.
        seed: Seed of the new layers, of the mixtures and of the validation tracks.
        options: How a folder of stems is read: all options of :class:`~nussl_transfer.datasets.options.StemOptions`.
        like: Without a checkpoint: the model whose sample rate, STFT and layer sizes the new network gets.
        valid_items: Number of validation mixtures.
        probe: A function that scores the network at each validation, for the curve.
        report: At the end, score the best network on its validation tracks, and write ``report.txt``, ``report.json`` and
            ``curve.png`` into the run: scores by label, whether it overfits, what to try next. It takes some seconds.

    Raises:
        ConfigError: An option is wrong, or the folder holds another run.
        DataError: The stems cannot be trained on.
        CheckpointError: The pretrained model cannot be read or does not fit.

    Example:
        >>> run = finetune("my-stems", "run", training=default_training(iterations=300))  # doctest: +SKIP
    """
    if mode not in ("whole", "mask"):
        raise ConfigError(f"mode is wrong: got {mode!r}, expected 'whole' or 'mask'.")
    # Check everything that needs no audio before making a store, which may take long.
    if seed < 0:
        raise ConfigError(f"seed is wrong: got {seed}, expected 0 or more.")
    if valid_items < 1:
        raise ConfigError(f"valid_items is wrong: got {valid_items}, expected 1 or more.")
    training = default_training(pretrained=checkpoint is not None) if training is None else training
    config = replace(training, mode=mode, seed=seed)
    start = Start.read(checkpoint, like)
    check_trainable(start, config)
    with lock_run_folder(out):
        read_as = stem_options(options, groups, ignore)
        store = open_store(stems, Path(out) / "store", start.info.sample_rate, read_as, least_labels=2)
        _suggest_separator(store.labels, start)
        split = train_valid_split(store, seed)
        run = train_on([split], start, with_length(mixtures, start), config, out, probe, valid_items)
        if report and is_main_process() and not is_newer(run.folder / "report.txt", run.best):
            try:
                report_run(run, split, seed, config.device)
            except (TransferError, OSError) as error:  # the run itself is complete
                logger.warning("The report on %s could not be made: %s", run.folder, error)
        return run


def stem_options(
    options: StemOptions | None, groups: dict[str, list[str]] | None = None, ignore: Sequence[str] = ()
) -> StemOptions:
    """Return stem options in which ``groups`` and ``ignore`` replace those of ``options``, if given.

    >>> stem_options(None, ignore=["organ"]).ignore
    ('organ',)
    """
    options = options or StemOptions()
    return replace(options, groups=groups or options.groups, ignore=ignore or options.ignore)


def with_length(mixtures: MixtureConfig, start: Start) -> MixtureConfig:
    """Return mixture options with an excerpt length: the given one, else that of the pretrained model's mixtures."""
    if mixtures.excerpt_seconds is not None:
        return mixtures
    return replace(mixtures, excerpt_seconds=start.info.excerpt_seconds)


def check_trainable(start: Start, config: FitConfig) -> None:
    """Check the options that can be checked without stems, before a store is made.

    Raises:
        ConfigError: Mode 'mask' without a pretrained model, or a layer name that matches nothing.
    """
    if config.mode == "mask" and start.name is None:
        raise ConfigError(
            "Mode 'mask' needs a pretrained model, but none is given: a mask head on an untrained body learns nothing. Use "
            "mode 'whole', or give a checkpoint."
        )
    network = start.network
    if config.mode != "pretrain":
        with preserve_random_state():
            # The pretrained network may lack a head.
            network = transplant(network, UNTRAINED, clusters=config.mode == "whole")[0]
    parameter_groups(network, config.mode, config.frozen, config.learning_rate, config.body_learning_rate)


def train_on(
    splits: Sequence[TrainValidSplit],
    start: Start,
    mixtures: MixtureConfig,
    config: FitConfig,
    out: str | Path,
    probe: Callable[[SeparationModel], float] | None = None,
    valid_items: int = VALID_ITEMS,
) -> Run:
    """Train a network on one or several train/validation splits, and return the run.

    Args:
        splits: One split for each store.
        start: The network to start from. In modes 'whole' and 'mask' it gets a mask head for the labels of the stems.
        mixtures: How to draw mixtures. They become shorter or incoherent if the stems require it.
        config: How to train.
        out: Folder of the run.
        probe: A function that scores the network at each validation, for the curve.
        valid_items: Number of validation mixtures.

    Raises:
        ConfigError: An option is wrong.
        DataError: The stems cannot be trained on.
    """
    with lock_run_folder(out):
        with synchronized():
            mixtures = adapt_to_data(splits, mixtures)
            train, valid = mixtures_of(splits, mixtures, config.iterations * config.batch_size, valid_items, config.seed)
            labels = () if config.mode == "pretrain" else train.labels
            model = network_for(start, labels, config)
            if start.name is not None and sorted(labels) == sorted(start.info.labels):
                config = replace(config, head_mixtures=0)  # keep the trained mask head
            info = checkpoint_info(start, labels, splits, mixtures, config)
            came_from = provenance([split.train for split in splits], config.seed)
        return fit(model, train, valid, config=config, out=out, info=info, probe=probe, provenance=came_from)


def network_for(start: Start, labels: Sequence[str], config: FitConfig) -> SeparationModel:
    """Return the network to train, with a mask head for the labels.

    Without labels, a pretrained network keeps its mask head, and a new one gets an untrained head.
    """
    if not labels and start.name is not None:
        return start.network
    with preserve_random_state():
        torch.manual_seed(config.seed)
        network, report = transplant(
            start.network, labels or UNTRAINED, start.info.labels, fresh=start.name is None, clusters=config.mode == "whole"
        )
    logger.info("Network: %s.", report)
    return network


def checkpoint_info(
    start: Start, labels: Sequence[str], splits: Sequence[TrainValidSplit], mixtures: MixtureConfig, config: FitConfig
) -> CheckpointInfo:
    """Return what the checkpoints of a run record: labels, sample rate, STFT, pretrained model and training stems."""
    return CheckpointInfo(
        labels=tuple(labels),
        mode=config.mode,
        sample_rate=start.info.sample_rate,
        stft_params=start.info.stft_params,
        excerpt_seconds=mixtures.excerpt_seconds or start.info.excerpt_seconds,
        parent=start.name,
        data={
            "name": "+".join(split.train.dataset for split in splits),
            "minutes": round(sum(split.train.minutes() for split in splits), 1),
            "tracks": sum(len(split.train.tracks) for split in splits),
        },
    )


def _suggest_separator(labels: Sequence[str], start: Start) -> None:
    """Log the name of a published separator of the same sources, if training starts from another pretrained model."""
    if start.name is None or sorted(labels) == sorted(start.info.labels):
        return
    for name, about in models().items():
        if sorted(about.get("sources") or ()) == sorted(labels) and not about.get("own"):
            logger.info("The model %r separates these stems already. To start from it: --checkpoint %s.", name, name)


def _name_of(checkpoint: Path) -> str:
    """Return the name of a checkpoint: the name of its run, if it is in one, else of its file.

    The files of all runs have the same names, 'best' and 'latest'.
    """
    in_run = checkpoint.absolute().parent
    return in_run.parent.name if in_run.name == "checkpoints" else checkpoint.stem
