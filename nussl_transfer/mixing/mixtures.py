"""Mixtures of one store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from ..audio.augment import change_ranges, source_samples
from ..errors import ConfigError, DataError
from ..store.manifest import StoredTrack
from ..store.store import Store
from .excerpt import Excerpt, read_excerpt
from .positions import Places, Pool, count, draw_start


class Mixtures(Dataset):
    """Mixtures drawn from a store.

    A *coherent* mixture takes its stems from one track at one time, and changes pitch and tempo of all alike. An
    *incoherent* one draws track, time, pitch and tempo for each stem on its own.

    Args:
        store: Where the stems are.
        excerpt_seconds: Length of a mixture in seconds.
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
        span: The part of every track that is used, as fractions of its length. With another pitch or tempo, the tenth of
            a second beyond it is heard by the vocoder, and not in the mixture.
        pitch: Lowest and highest change of pitch in semitones, drawn uniformly; the paper's is (-3, 3).
        stretch: Lowest and highest tempo, drawn uniformly; the paper's is (0.8, 1.2). 1.2 is faster by a fifth.
        sounding: Only mixtures in which every source sounds somewhere, as the manifest has it, drawn uniformly among
            all places that do; with ``num_sources``, labels are drawn among those that sound there.

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
        excerpt_seconds: float,
        length: int,
        seed: int = 0,
        coherent: float = 1.0,
        num_sources: int | None = None,
        fewest_sources: int | None = None,
        gain_db: float = 0.0,
        span: tuple[float, float] = (0.0, 1.0),
        pitch: tuple[float, float] | None = None,
        stretch: tuple[float, float] | None = None,
        sounding: bool = False,
    ):
        _check(excerpt_seconds, seed, coherent, gain_db, span)
        self.store = store
        self.samples = round(excerpt_seconds * store.sample_rate)
        self.length, self.seed, self.coherent, self.gain_db, self.span = length, seed, coherent, gain_db, span
        self.pitch, self.stretch = change_ranges(pitch, stretch)
        self.sounding = sounding
        self.labels = store.labels
        self.num_sources, self.fewest_sources = _numbers_of_sources(store, num_sources, fewest_sources)
        self._draws_labels = num_sources is not None
        self._places = Places(store.sample_rate, span)
        # The shortest excerpt of a stem: where one sounds, a longer one from the same place does too.
        self._shortest = source_samples(self.samples, self.stretch[0])
        self._whole = self._pool(self._complete(), None) if coherent > 0 else None
        self._having = {label: self._pool(self._tracks_with(label), label) for label in self.labels if coherent < 1}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self.length:
            raise IndexError(f"Item {index} was asked for: there are {self.length}.")
        return self.make(self.draw(index), index)

    def draw(self, index: int) -> list[Excerpt]:
        """Returns what item ``index`` is made of; all that is random about it is drawn here, and no audio is read."""
        return self.draw_with(np.random.default_rng([self.seed, index]))

    def draw_with(self, rng: np.random.Generator) -> list[Excerpt]:
        """Returns what a mixture is made of, drawn by a generator."""
        if rng.random() < self.coherent:
            track = self._whole.draw(rng)
            frames, changes = self._draw_changes(rng)
            start = draw_start(rng, self._starts(track, None, frames))
            labels = self._draw_labels(rng, self._labels_at(track, start, frames))
            return [self._excerpt(rng, track, label, start, frames, changes) for label in labels]
        excerpts = []
        for label in self._draw_labels(rng, self.labels):
            track = self._having[label].draw(rng)
            frames, changes = self._draw_changes(rng)
            start = draw_start(rng, self._starts(track, label, frames))
            excerpts.append(self._excerpt(rng, track, label, start, frames, changes))
        return excerpts

    def make(self, excerpts: Sequence[Excerpt], index: int) -> dict:
        """Returns the item that is made of these excerpts."""
        source_audio = np.zeros((1, self.samples, self.num_sources), dtype=np.float32)
        mix_audio = np.zeros((1, self.samples), dtype=np.float32)
        for number, excerpt in enumerate(excerpts):
            audio = read_excerpt(self.store, excerpt, self.samples)
            source_audio[0, :, number] = audio
            # One by one: to the same bits as a sum over the last axis (of up to seven), in a twentieth of its time.
            mix_audio[0] += audio
        return {
            "mix_audio": torch.from_numpy(mix_audio),
            "source_audio": torch.from_numpy(source_audio),
            "index": index,
        }

    def sounding_share(self) -> dict[str, float]:
        """Returns the share of all places in which what is drawn there sounds, whether or not ``sounding`` was asked for.

        Returns:
            'coherent': where every source of a mixture sounds; and each label on its own, where mixtures are incoherent.
        """
        shares = {}
        if self.coherent > 0:
            shares["coherent"] = self._share(self._complete(), None)
        if self.coherent < 1:
            shares |= {label: self._share(self._tracks_with(label), label) for label in self.labels}
        return shares

    def describe(self) -> dict:
        """Returns what decides the items, as plain values."""
        names = ("samples", "length", "seed", "coherent", "num_sources", "fewest_sources", "gain_db", "sounding")
        ranges = {name: list(getattr(self, name)) for name in ("span", "pitch", "stretch")}
        stems = {"tracks": len(self.store.tracks), "stems": self.store.fingerprint()}
        return {**{name: getattr(self, name) for name in names}, **ranges, **stems}

    def _complete(self) -> list[StoredTrack]:
        tracks = [t for t in self.store.tracks if self._draws_labels or len(t.stems) == len(self.labels)]
        if not tracks:
            raise DataError(
                f"Coherent mixtures were asked for: no track of {self.store.folder} has all of {', '.join(self.labels)}. "
                "Set coherent to 0, or leave labels out."
            )
        return tracks

    def _tracks_with(self, label: str) -> list[StoredTrack]:
        return [track for track in self.store.tracks if label in track.stems]

    def _pool(self, tracks: Sequence[StoredTrack], label: str | None) -> Pool:
        """Returns the tracks that mixtures are drawn from: of one label, or (None) of all."""
        if not self.sounding:
            return Pool(tracks)
        weights = [count(self._sounding_starts(track, label, self._shortest)) for track in tracks]
        if not any(weights):
            every = f"{self.fewest_sources} sources" if self._draws_labels else " and ".join(self.labels)
            instead = "set coherent to 0" if label is None else f"leave {label} out"
            raise DataError(
                f"Mixtures of {self.samples / self.store.sample_rate:g} s in which {label or every} sound "
                f"were asked for: 0 % of the places in {self.store.folder} are such. Set sounding to False, take longer "
                f"mixtures or fewer sources, or {instead}."
            )
        return Pool(tracks, weights)

    def _starts(self, track: StoredTrack, label: str | None, frames: int) -> np.ndarray:
        if self.sounding:
            return self._sounding_starts(track, label, frames)
        return self._places.everywhere(track, frames)

    def _sounding_starts(self, track: StoredTrack, label: str | None, frames: int) -> np.ndarray:
        if label is not None:
            return self._places.sounding(track, [label], frames, 1)
        return self._places.sounding(track, track.stems, frames, self.fewest_sources)

    def _share(self, tracks: Sequence[StoredTrack], label: str | None) -> float:
        everywhere = sum(count(self._places.everywhere(track, self.samples)) for track in tracks)
        return sum(count(self._sounding_starts(track, label, self.samples)) for track in tracks) / everywhere

    def _labels_at(self, track: StoredTrack, start: int, frames: int) -> list[str]:
        """Returns the labels that a coherent mixture may take here."""
        labels = sorted(track.stems)
        if self.sounding:
            labels = [label for label in labels if self._places.sounds(track, label, start, frames)]
        return labels

    def _draw_changes(self, rng: np.random.Generator) -> tuple[int, dict[str, float]]:
        """Returns the samples of the source that a mixture takes, and its pitch and tempo.

        Nothing is drawn where there is nothing to choose, so that items are what they were before there was a choice.
        """
        changes = {}
        for name, (low, high) in (("pitch", self.pitch), ("stretch", self.stretch)):
            changes[name] = float(rng.uniform(low, high)) if low < high else low
        return source_samples(self.samples, changes["stretch"]), changes

    def _draw_labels(self, rng: np.random.Generator, labels: Sequence[str]) -> list[str]:
        most = self.num_sources
        if self.fewest_sources < most:
            most = int(rng.integers(self.fewest_sources, most + 1))
        most = min(most, len(labels))
        return [labels[i] for i in sorted(rng.choice(len(labels), most, replace=False))]

    def _excerpt(
        self, rng: np.random.Generator, track: StoredTrack, label: str, start: int, frames: int, changes: dict
    ) -> Excerpt:
        gain = float(10 ** (rng.uniform(-self.gain_db, self.gain_db) / 20))
        inside = min(frames, self._places.limits(track)[1] - start)
        return Excerpt(track, label, start, inside, gain, **changes)


def _check(excerpt_seconds: float, seed: int, coherent: float, gain_db: float, span: tuple[float, float]) -> None:
    if not 0 <= coherent <= 1:
        raise ConfigError(f"The probability of a coherent mixture must lie between 0 and 1: got {coherent}.")
    if not excerpt_seconds > 0:
        raise ConfigError(f"The length of a mixture must be above 0 seconds: got {excerpt_seconds}.")
    if not 0 <= span[0] < span[1] <= 1:
        raise ConfigError(f"A span is a part of a track, from 0 to 1, the start before the end: got {span}.")
    if seed < 0 or not gain_db >= 0:
        raise ConfigError(f"A seed and a range of gains are 0 or above: got seed {seed}, gain_db {gain_db}.")


def _numbers_of_sources(store: Store, most: int | None, fewest: int | None) -> tuple[int, int]:
    """Returns how many sources a mixture has at most and at least."""
    labels = store.labels
    found = len(labels) if most is None else most
    if not 1 <= found <= len(labels):
        raise ConfigError(
            f"Mixtures of {found} sources were asked for: {store.folder} has {len(labels)} labels "
            f"({', '.join(labels)}). Ask for 1 to {len(labels)}."
        )
    least = found if fewest is None else fewest
    if not 1 <= least <= found or (most is None and fewest is not None):
        raise ConfigError(
            f"Mixtures of {fewest} to {most} sources were asked for: name both, the smaller first, from 1."
        )
    return found, least
