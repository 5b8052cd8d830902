"""Stage 3, mixing: a store becomes an endless supply of mixtures, each a function of (seed, index).

No state is kept between items and no global random state is touched, so the same index gives the same audio
in any order, in any number of worker processes and after any interruption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from .errors import ConfigError, DataError
from .manifest import StoredTrack
from .store import Store


@dataclass(frozen=True)
class Excerpt:
    """Where one source of a mixture comes from: a stem of a track, from ``start``, and how loud it is mixed."""

    track: StoredTrack
    label: str
    start: int
    gain: float


class Mixtures(Dataset):
    """Mixtures drawn from a store.

    A *coherent* mixture takes its stems from one track at one time. An *incoherent* one draws track and time
    for each stem on its own.

    Args:
        store: Where the stems are.
        duration: Length of a mixture in seconds.
        length: Number of items.
        seed: First half of what decides an item; the index is the other.
        coherent: Probability that an item is coherent, 0 to 1.
        num_sources: None: an item has one source for each label of the store. A number: that many different
            labels are drawn for each item, which is how a store of many instruments pretrains (Section 2.1 of
            the paper: deep clustering does not care which, or how many, sources there are). Where a track has
            fewer stems, the last sources are silence.
        fewest_sources: With ``num_sources``, each item has this many sources at least, drawn uniformly, and silence for
            the rest. Mixtures of two teach a new network what belongs together long before mixtures of four do.
        gain_db: Each stem is made louder or softer by up to this many dB, drawn uniformly.
        span: The part of every track that is used, as fractions of its length.

    Shape:
        An item is ``{'mix_audio': float32 [1, samples], 'source_audio': float32 [1, samples, ns], 'index':
        int}``. Sources are in alphabetical order of their labels, and sum to the mixture exactly.

    Raises:
        ConfigError: An argument cannot work.
        DataError: No track can give a mixture of the kind asked for.
    """

    def __init__(
        self,
        store: Store,
        duration: float,
        length: int,
        seed: int = 0,
        coherent: float = 1.0,
        num_sources: int | None = None,
        fewest_sources: int | None = None,
        gain_db: float = 0.0,
        span: tuple[float, float] = (0.0, 1.0),
    ):
        if not 0 <= coherent <= 1:
            raise ConfigError(
                f"The probability of a coherent mixture must lie between 0 and 1: got {coherent}."
            )
        if not duration > 0:
            raise ConfigError(f"The length of a mixture must be above 0 seconds: got {duration}.")
        if not 0 <= span[0] < span[1] <= 1:
            raise ConfigError(
                f"A span is a part of a track, from 0 to 1, the start before the end: got {span}."
            )
        if seed < 0 or not gain_db >= 0:
            raise ConfigError(
                f"A seed and a range of gains are 0 or above: got seed {seed}, gain_db {gain_db}."
            )
        self.store = store
        self.samples = round(duration * store.sample_rate)
        self.length, self.seed, self.coherent, self.gain_db, self.span = length, seed, coherent, gain_db, span
        self.labels = store.labels
        self.num_sources = len(self.labels) if num_sources is None else num_sources
        if not 1 <= self.num_sources <= len(self.labels):
            raise ConfigError(
                f"Mixtures of {self.num_sources} sources were asked for: {store.folder} has {len(self.labels)} labels "
                f"({', '.join(self.labels)}). Ask for 1 to {len(self.labels)}."
            )
        self.fewest_sources = self.num_sources if fewest_sources is None else fewest_sources
        if not 1 <= self.fewest_sources <= self.num_sources or (num_sources is None and fewest_sources is not None):
            raise ConfigError(
                f"Mixtures of {fewest_sources} to {num_sources} sources were asked for: name both, the smaller "
                "first, from 1."
            )
        draws_labels = num_sources is not None
        whole = [track for track in store.tracks if draws_labels or len(track.stems) == len(self.labels)]
        if coherent > 0 and not whole:
            raise DataError(
                f"Coherent mixtures were asked for: no track of {store.folder} has all of {', '.join(self.labels)}. "
                "Set coherent to 0, or leave labels out."
            )
        self._whole = _Pool(whole) if whole else None
        self._having = {
            label: _Pool([track for track in store.tracks if label in track.stems]) for label in self.labels
        }

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self.length:
            raise IndexError(f"Item {index} was asked for: there are {self.length}.")
        source_audio = np.zeros((1, self.samples, self.num_sources), dtype=np.float32)
        for number, excerpt in enumerate(self.draw(index)):
            audio = self._read(excerpt)
            source_audio[0, : len(audio), number] = audio
        mix_audio = source_audio.sum(axis=-1)
        return {
            "mix_audio": torch.from_numpy(mix_audio),
            "source_audio": torch.from_numpy(source_audio),
            "index": index,
        }

    def draw(self, index: int) -> list[Excerpt]:
        """Returns what item ``index`` is made of; all that is random about it is drawn here, and no audio is read."""
        rng = np.random.default_rng([self.seed, index])
        if rng.random() < self.coherent:
            track = self._whole.draw(rng)
            start = self._draw_start(rng, track)
            labels = self._draw_labels(rng, sorted(track.stems))
            return [Excerpt(track, label, start, self._draw_gain(rng)) for label in labels]
        excerpts = []
        for label in self._draw_labels(rng, self.labels):
            track = self._having[label].draw(rng)
            excerpts.append(Excerpt(track, label, self._draw_start(rng, track), self._draw_gain(rng)))
        return excerpts

    def _draw_labels(self, rng: np.random.Generator, labels: list[str] | tuple[str, ...]) -> list[str]:
        count = self.num_sources
        if self.fewest_sources < count:
            count = int(rng.integers(self.fewest_sources, count + 1))
        count = min(count, len(labels))
        return [labels[i] for i in sorted(rng.choice(len(labels), count, replace=False))]

    def _draw_start(self, rng: np.random.Generator, track: StoredTrack) -> int:
        first, end = (round(part * track.frames) for part in self.span)
        return int(rng.integers(first, max(first, end - self.samples) + 1))

    def _draw_gain(self, rng: np.random.Generator) -> float:
        return float(10 ** (rng.uniform(-self.gain_db, self.gain_db) / 20))

    def _read(self, excerpt: Excerpt) -> np.ndarray:
        end = round(self.span[1] * excerpt.track.frames)
        frames = min(self.samples, end - excerpt.start)
        audio = self.store.read(excerpt.track, excerpt.label, excerpt.start, frames)
        return audio if excerpt.gain == 1 else audio * np.float32(excerpt.gain)


class _Pool:
    """Tracks, drawn in proportion to their length, so that every second of music is as likely as any other."""

    def __init__(self, tracks: list[StoredTrack]):
        self.tracks = tracks
        self.ends = np.cumsum([track.frames for track in tracks])

    def draw(self, rng: np.random.Generator) -> StoredTrack:
        return self.tracks[int(np.searchsorted(self.ends, rng.integers(self.ends[-1]), side="right"))]
