"""What an experiment says, section by section; the defaults are the paper's."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

import nussl

from ..errors import ConfigError
from ..mixing.split import VALID_ITEMS
from ..networks.chimera import PAPER
from ..training.config import FitConfig


@dataclass(frozen=True)
class StoreConfig:
    """Stems to train on: a store, or a data set that a store is made of.

    Attributes:
        folder: Folder of the stems, or of a store.
        share: How much of the mixtures comes from here, beside other stores; None for all: as much as it has minutes.
        dataset: Name of the data set; None recognises it.
        options: The data set's own, such as ``{held_out: 10}`` of Bach10.
        groups: Stems to merge, ``{male: [tenor, bass]}``; what is in no group is left out.
        ignore: Stems, files and folders to pass over.
        silent: What to do about a stem in which nothing sounds.
        missing: What to do about a track that lacks a stem.
    """

    folder: str
    share: float | None = None
    dataset: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, list[str]] | None = None
    ignore: tuple[str, ...] = ()
    silent: Literal["error", "keep", "skip"] = "error"
    missing: Literal["error", "skip"] = "error"


@dataclass(frozen=True)
class DataConfig:
    """What is trained on, and how mixtures are drawn from it.

    Attributes:
        stores: A name each. A difference that sets one to null takes it away.
        prepared: Folder that stores are made in, by their names; shared by all experiments that name the same.
        excerpt_seconds: Length of a mixture.
        coherent: Share of mixtures whose stems come from one track at one time.
        augment: Which of the two augmentations training mixtures have.
        pitch: Semitones that a mixture is shifted by: the least and the most.
        stretch: Factor that a mixture's length is changed by: the least and the most.
        sounding: Whether excerpts are drawn from where stems sound.
        num_sources: Sounds in a mixture; None: one for each label.
        fewest_sources: Fewest sounds in a mixture, if their number is drawn.
        gain_db: Each stem is made louder or softer by up to this many dB.
        valid_items: Mixtures that a validation takes.
    """

    stores: dict[str, StoreConfig] = field(default_factory=dict)
    prepared: str = "stores"
    excerpt_seconds: float = PAPER.excerpt_seconds
    coherent: float = 1.0
    augment: tuple[Literal["pitch", "stretch"], ...] = ()
    pitch: tuple[float, float] = PAPER.pitch_semitones
    stretch: tuple[float, float] = PAPER.stretch
    sounding: bool = False
    num_sources: int | None = None
    fewest_sources: int | None = None
    gain_db: float = 0.0
    valid_items: int = VALID_ITEMS


@dataclass(frozen=True)
class NetworkConfig:
    """A network that is made anew; one that is started from has its own sizes.

    Attributes:
        sample_rate: Rate of the audio in Hz.
        window_length: Of the STFT, in samples.
        hop_length: Of the STFT, in samples.
        window_type: Of the STFT.
        num_features: Bins of the spectrogram, window length / 2 + 1.
        hidden_size: Units of each direction of the recurrent layers.
        num_layers: Recurrent layers.
        bidirectional: Whether they run both ways.
        dropout: Between recurrent layers.
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

    def __post_init__(self):
        bins = self.window_length // 2 + 1
        if self.num_features != bins:
            raise ConfigError(
                f"network.num_features is {self.num_features}: a window of {self.window_length} samples gives {bins} bins. "
                "Change either."
            )

    @property
    def stft_params(self) -> nussl.STFTParams:
        """The STFT."""
        return nussl.STFTParams(self.window_length, self.hop_length, self.window_type)


@dataclass(frozen=True)
class Iterations:
    """Batches in all, for each kind of run."""

    pretrain: int = PAPER.pretrain_iterations
    finetune: int = PAPER.finetune_iterations
    scratch: int = PAPER.baseline_iterations


@dataclass(frozen=True)
class TrainingConfig(FitConfig):
    """How to train: all of :class:`~nussl_transfer.training.config.FitConfig`, with iterations by the kind of run.

    Attributes:
        iterations: A number, or a number for each kind, of which the run takes its own.
    """

    iterations: int | Iterations = Iterations()

    def __post_init__(self):
        """Checks nothing: :meth:`fit_config` does, when the kind is known."""

    def fit_config(self, kind: str) -> FitConfig:
        """Returns how a run of this kind trains: 'pretrain', 'finetune' or 'scratch'."""
        values = {item.name: getattr(self, item.name) for item in fields(FitConfig)}
        if isinstance(self.iterations, Iterations):
            values["iterations"] = getattr(self.iterations, kind)
        return FitConfig(**values)


@dataclass(frozen=True)
class StartConfig:
    """Where training starts.

    Attributes:
        checkpoint: A model's name, a file or a run; None makes a new network.
    """

    checkpoint: str | None = None


@dataclass(frozen=True)
class TestConfig:
    """What a network is tested on.

    Attributes:
        excerpts: Excerpts of the test tracks that are drawn for a score.
        coherent: Whether their stems come from one track at one time.
        significance: Below this p a difference counts.
        probed: Excerpts that the network is measured on at each validation, for the curve; 0 for none.
        excerpt_list: A list of excerpts, in JAMS, that those are taken from, evenly spaced; None: they are drawn.
    """

    __test__ = False  # it is no test of pytest's

    excerpts: int = PAPER.test_excerpts
    coherent: bool = True
    significance: float = PAPER.significance
    probed: int = 0
    excerpt_list: str | None = None


@dataclass(frozen=True)
class Experiment:
    """All that decides a run."""

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    start: StartConfig = field(default_factory=StartConfig)
    test: TestConfig = field(default_factory=TestConfig)

    @property
    def kind(self) -> str:
        """'pretrain' for mode pretrain; else 'finetune', or 'scratch' where there is no checkpoint to start from."""
        if self.training.mode == "pretrain":
            return "pretrain"
        return "scratch" if self.start.checkpoint is None else "finetune"
