"""Experiments: all options of a run, section by section, with the paper's values as defaults.

`nussl_transfer.pipelines.experiment_reading` reads an experiment from YAML; ``recipes/pretrain.py`` and
``recipes/finetune.py`` train one with the functions below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
import nussl
import torch

from ..checkpoints.checkpoint import CheckpointInfo
from ..datasets.options import StemOptions
from ..errors import ConfigError
from ..evaluation.excerpts import MixtureExcerpt, make_excerpts
from ..evaluation.jams import read_excerpts
from ..evaluation.probe import SourceSeparationProbe
from ..mixing.config import MixtureConfig
from ..mixing.split import VALID_ITEMS, TrainValidSplit, train_valid_split
from ..networks.chimera import PAPER, build_transfer_chimera
from ..runtime.process_group import is_main_process, synchronized
from ..store.open import open_store
from ..store.store import Store
from ..training.config import FitConfig
from .finetune import Start, check_trainable


@dataclass(frozen=True)
class StoreConfig(StemOptions):
    """Stems to train on: a folder of stems or a store, with all options of `StemOptions`.

    Attributes:
        folder: Folder of the stems, or of a store.
        share: Share of the mixtures that comes from this store. If no store has one, the shares are in proportion to the
            minutes of the stores.
    """

    folder: str = field(kw_only=True)
    share: float | None = None


@dataclass(frozen=True)
class DataConfig(MixtureConfig):
    """The data to train on, and all options of `MixtureConfig`, with which mixtures are drawn from it.

    Attributes:
        stores: The stores by name. A file that sets one to null removes it.
        prepared: Folder in which stores are made, each in a folder of its name. Experiments with the same folder share
            them.
        augment: Which of ``pitch`` and ``stretch`` change the training mixtures.
        valid_items: Number of validation mixtures.
    """

    excerpt_seconds: float = PAPER.excerpt_seconds
    coherent: float = 1.0
    pitch: tuple[float, float] = PAPER.pitch_semitones
    stretch: tuple[float, float] = PAPER.stretch
    stores: dict[str, StoreConfig] = field(default_factory=dict)
    prepared: str = "stores"
    augment: tuple[Literal["pitch", "stretch"], ...] = ()
    valid_items: int = VALID_ITEMS

    def mixture_config(self) -> MixtureConfig:
        """Return how training mixtures are drawn."""
        values = {item.name: getattr(self, item.name) for item in fields(MixtureConfig)}
        unused = {name: None for name in ("pitch", "stretch") if name not in self.augment}
        return MixtureConfig(**{**values, **unused})


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a new network; a pretrained network keeps its own sizes.

    Attributes:
        sample_rate: Sample rate in Hz.
        window_length: Window of the STFT in samples.
        hop_length: Hop of the STFT in samples.
        window_type: Window type of the STFT.
        num_features: Frequency bins, window length / 2 + 1.
        hidden_size: Units in each direction of the recurrent layers.
        num_layers: Number of recurrent layers.
        bidirectional: Whether they run in both directions.
        dropout: Dropout between recurrent layers.
        embedding_size: Dimensions of the embedding.
        embedding_activation: Activations of the embedding.
        mask_activation: Activations of the masks.
    """

    sample_rate: int = PAPER.sample_rate
    window_length: int = PAPER.window_length
    hop_length: int = PAPER.hop_length
    window_type: str = PAPER.window_type
    num_features: int = PAPER.num_features
    hidden_size: int = PAPER.hidden_size
    num_layers: int = PAPER.num_layers
    bidirectional: bool = PAPER.bidirectional
    dropout: float = 0.0
    embedding_size: int = PAPER.embedding_size
    embedding_activation: tuple[str, ...] = ("tanh", "unit_norm")
    mask_activation: tuple[str, ...] = ("softmax",)

    def __post_init__(self) -> None:
        bins = self.window_length // 2 + 1
        if self.num_features != bins:
            raise ConfigError(
                f"network.num_features is {self.num_features}: a window of {self.window_length} samples gives {bins} bins. "
                "Change one of them."
            )

    @property
    def stft_params(self) -> nussl.STFTParams:
        """The STFT parameters."""
        return nussl.STFTParams(self.window_length, self.hop_length, self.window_type)


@dataclass(frozen=True)
class Iterations:
    """Number of iterations for each kind of run."""

    pretrain: int = PAPER.pretrain_iterations
    finetune: int = PAPER.finetune_iterations
    scratch: int = PAPER.baseline_iterations


@dataclass(frozen=True)
class TrainingConfig(FitConfig):
    """How to train: all of :class:`~nussl_transfer.training.config.FitConfig`, with iterations by the kind of run.

    Attributes:
        iterations: A number, or one for each kind of run.
    """

    # Wider than the field of FitConfig: `fit_config` makes it a number.
    iterations: int | Iterations = Iterations()  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Skip the checks of `FitConfig`: :meth:`fit_config` makes them when the kind of run is known."""

    def fit_config(self, kind: str) -> FitConfig:
        """Return the training options of a run of one kind: 'pretrain', 'finetune' or 'scratch'."""
        values = {item.name: getattr(self, item.name) for item in fields(FitConfig)}
        if isinstance(self.iterations, Iterations):
            values["iterations"] = getattr(self.iterations, kind)
        return FitConfig(**values)


@dataclass(frozen=True)
class StartConfig:
    """The network that training starts from.

    Attributes:
        checkpoint: A pretrained model's name, a file or a run; None makes a new network.
    """

    checkpoint: str | None = None


@dataclass(frozen=True)
class TestConfig:
    """The test of a network.

    Attributes:
        excerpts: Number of excerpts of the test tracks that are scored.
        coherent: Whether their stems come from one track at one time.
        significance: The p-value below which the paper's test calls a difference significant.
        probed: Number of test excerpts that are scored at each validation, for the curve; 0 for none.
        excerpt_list: JAMS list from which the excerpts are taken, evenly spaced; None draws them.
    """

    __test__ = False  # not a test of pytest

    excerpts: int = PAPER.test_excerpts
    coherent: bool = True
    significance: float = PAPER.significance
    probed: int = 0
    excerpt_list: str | None = None


@dataclass(frozen=True)
class Experiment:
    """Everything that decides a run."""

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    start: StartConfig = field(default_factory=StartConfig)
    test: TestConfig = field(default_factory=TestConfig)

    @property
    def kind(self) -> str:
        """'pretrain' in that mode; else 'finetune' with a checkpoint, 'scratch' without."""
        if self.training.mode == "pretrain":
            return "pretrain"
        return "scratch" if self.start.checkpoint is None else "finetune"


def start_of(experiment: Experiment) -> tuple[Start, FitConfig]:
    """Return the network that an experiment starts from and its training options, after all checks that need no stems.

    Raises:
        ConfigError: The experiment cannot work.
        CheckpointError: The pretrained model cannot be read or does not fit.
    """
    with synchronized():
        config = experiment.training.fit_config(experiment.kind)
        _check(experiment)
    checkpoint = experiment.start.checkpoint
    start = plan_of(experiment.network) if checkpoint is None else Start.read(checkpoint)
    with synchronized():
        check_trainable(start, config)
    return start, config


def open_stores(experiment: Experiment, sample_rate: int) -> list[Store]:
    """Open the stores of an experiment at a rate in Hz, and make those that do not exist.

    They are sorted by name, so that their order in the file does not matter.

    Raises:
        DataError: The stems cannot be made into a store.
    """
    prepared = Path(experiment.data.prepared)
    return [_open(about, prepared / name, sample_rate) for name, about in sorted(experiment.data.stores.items())]


def split_stores(experiment: Experiment, stores: Sequence[Store], seed: int) -> list[TrainValidSplit]:
    """Return the tracks to train on and those to validate on, for each store of :func:`open_stores`.

    Raises:
        DataError: A store has too few tracks.
    """
    shares = [about.share for _, about in sorted(experiment.data.stores.items())]
    return [train_valid_split(store, seed, share) for store, share in zip(stores, shares, strict=True)]


def plan_of(network: NetworkConfig) -> Start:
    """Return the start of training from scratch: a new network of these sizes."""
    config = build_transfer_chimera(
        num_sources=2,
        num_features=network.num_features,
        hidden_size=network.hidden_size,
        num_layers=network.num_layers,
        bidirectional=network.bidirectional,
        dropout=network.dropout,
        embedding_size=network.embedding_size,
        embedding_activation=network.embedding_activation,
        mask_activation=network.mask_activation,
    )
    info = CheckpointInfo((), "unknown", network.sample_rate, network.stft_params)
    with torch.random.fork_rng(devices=[]):  # training uses only the sizes of this network, not its weights
        return Start(nussl.ml.SeparationModel(config), info)


def _check(experiment: Experiment) -> None:
    if not experiment.data.stores:
        raise ConfigError("The experiment has no stems: give a folder, as data.stores.NAME.folder.")
    if experiment.test.probed and (experiment.kind == "pretrain" or len(experiment.data.stores) > 1):
        raise ConfigError(
            "test.probed scores the network while it trains. In mode 'pretrain' no masks are trained, and with several "
            "stores it is not clear which one to test on. Set it to 0."
        )


def _open(about: StoreConfig, prepared: Path, sample_rate: int) -> Store:
    options = StemOptions(**{item.name: getattr(about, item.name) for item in fields(StemOptions)})
    return open_store(Path(about.folder).expanduser(), prepared, sample_rate, options)


def excerpts_of(store: Store, experiment: Experiment, count: int) -> list[MixtureExcerpt]:
    """Return excerpts of a store's test tracks: from the experiment's list, or drawn.

    Raises:
        DataError: There are no test tracks, or the list has other tracks.
    """
    tested, test = store.select(split="test"), experiment.test
    if test.excerpt_list is None:
        return make_excerpts(tested, experiment.data.excerpt_seconds, count, coherent=test.coherent)
    listed = read_excerpts(test.excerpt_list, tested)
    chosen = dict.fromkeys(np.linspace(0, len(listed) - 1, min(count, len(listed))).round().astype(int))
    return [listed[index] for index in chosen]


def probe_of(experiment: Experiment, store: Store, start: Start) -> SourceSeparationProbe | None:
    """Return a function that scores the network at each validation on test excerpts; None if ``test.probed`` is 0.

    Only the main process gets one.
    """
    if not experiment.test.probed or not is_main_process():
        return None
    excerpts = excerpts_of(store, experiment, experiment.test.probed)
    return SourceSeparationProbe(store.select(split="test"), excerpts, start.info.stft_params)
