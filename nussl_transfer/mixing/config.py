"""Options that decide how mixtures are drawn; passed whole to every function that mixes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

from ..audio.augment import change_ranges
from ..errors import ConfigError

# Gains above this are typing errors: 60 dB is a factor of 1,000.
MOST_DB = 60.0
MOST_SEMITONES = 6


@dataclass(frozen=True)
class MixtureConfig:
    """Choose how mixtures are drawn from stems.

    Attributes:
        excerpt_seconds: Length of a mixture in seconds. None: the length that the checkpoint was trained on.
        coherent: Probability, 0 to 1, that a mixture is coherent: all its stems come from one track at one time, and share
            pitch and tempo. In the other mixtures each stem has its own track, time, pitch and tempo, which makes a small
            set larger.
        num_sources: Number of sources in a mixture. Their labels differ, and are drawn for each mixture. None: one source
            for each label. Give a number to pretrain on a store of many instruments (Section 2.1 of the paper: deep
            clustering works for any sources, and any number of them).
        fewest_sources: With ``num_sources``: draw the number of sources uniformly from this to ``num_sources``. A new
            network learns from mixtures of two sources long before it learns from mixtures of four.
        gain_db: Each stem is made louder or softer by up to this many dB, drawn uniformly.
        pitch: Lowest and highest shift in semitones, drawn uniformly; the paper's is (-3, 3). None: no shift.
        stretch: Lowest and highest tempo, drawn uniformly; the paper's is (0.8, 1.2), where 1.2 plays faster. None: no
            change.
        transpose: Half of the stems are played faster or slower, like a tape, so that they sound a whole number of
            semitones higher or lower: 1 up to this number, all equally often. The notes stay in tune with those of the
            other stems, and there is no phase vocoder to hear. The stems of a coherent mixture share the change. 0: none.
        sounding: Draw only excerpts in which every source is active somewhere.
        timbre: Probability, 0 to 1, that a stem gets a random timbre (`nussl_transfer.audio.timbre`): a smooth equalizer
            and, perhaps, a room. 0 turns it off; the paper does not change timbres.
        eq_db: Standard deviation of that equalizer's gains in dB. 5 suits pretraining; 1 to 2 is a mild setting for
            fine-tuning.
        room: Probability, 0 to 1, that a stem with a random timbre also gets a random room.

    Raises:
        ConfigError: A value is out of its range.

    >>> MixtureConfig(excerpt_seconds=2.0, pitch=(-3, 3)).pitch
    (-3, 3)
    """

    excerpt_seconds: float | None = None
    coherent: float = 0.5
    num_sources: int | None = None
    fewest_sources: int | None = None
    gain_db: float = 0.0
    pitch: tuple[float, float] | None = None
    stretch: tuple[float, float] | None = None
    transpose: int = 0
    sounding: bool = False
    timbre: float = 0.0
    eq_db: float = 3.0
    room: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        if self.excerpt_seconds is not None and not (math.isfinite(self.excerpt_seconds) and self.excerpt_seconds > 0):
            raise ConfigError(f"excerpt_seconds is {self.excerpt_seconds}. Give a length above 0 seconds.")
        for name in ("coherent", "timbre", "room"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}. Give a probability between 0 and 1.")
        for name in ("gain_db", "eq_db"):
            if not 0 <= getattr(self, name) <= MOST_DB:
                raise ConfigError(f"{name} is {getattr(self, name)}. Give a number of dB from 0 to {MOST_DB:g}.")
        if not isinstance(self.transpose, Integral) or not 0 <= self.transpose <= MOST_SEMITONES:
            raise ConfigError(
                f"transpose is {self.transpose}. Give a whole number of semitones from 0 to {MOST_SEMITONES}."
            )
        most, fewest = self.num_sources, self.fewest_sources
        if most is not None and most < 1:
            raise ConfigError(f"num_sources is {most}. Give at least 1, or None for one source for each label.")
        if fewest is not None and (most is None or not 1 <= fewest <= most):
            raise ConfigError(
                f"fewest_sources is {fewest} and num_sources is {most}. Give both, fewest_sources from 1 to num_sources."
            )
        pitch, (slowest, fastest) = change_ranges(self.pitch, self.stretch)
        for semitones in (-self.transpose, self.transpose):
            ratio = 2 ** (semitones / 12)
            change_ranges((pitch[0] + semitones, pitch[1] + semitones), (slowest * ratio, fastest * ratio))

    @property
    def seconds(self) -> float:
        """Return the length of a mixture in seconds.

        Raises:
            ConfigError: ``excerpt_seconds`` is None.
        """
        if self.excerpt_seconds is None:
            raise ConfigError(
                "excerpt_seconds is None, and there is no checkpoint to take the length from. Give a length in seconds."
            )
        return self.excerpt_seconds
