"""Draw mixtures from one store: track, time, gain, pitch, tempo and timbre are functions of (seed, index).

All random choices of an item are drawn first, as one `Excerpt` for each source; reading the audio comes second. No state
is kept between items, and no global random state is read or changed. So the same index gives the same audio in any order,
in any number of worker processes, and after any interruption.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import Dataset

from ..audio.augment import change_ranges, source_samples
from ..audio.timbre import draw_timbre
from ..errors import ConfigError, DataError
from ..store.manifest import MIXTURE, StoredTrack
from ..store.store import Store
from .config import MixtureConfig
from .excerpt import Excerpt, read_excerpt
from .positions import Pool, Positions, count, draw_start

TRANSPOSED = 0.5  # share of the stems that ``transpose`` changes
MISSING = ("error", "skip", "silence")


class Mixtures(Dataset):
    """Draw mixtures from a store.

    A *coherent* mixture takes all its stems from one track at one time, and gives them the same pitch and tempo. An
    *incoherent* mixture draws track, time, pitch and tempo for each stem.

    Args:
        store: The stems.
        config: How mixtures are drawn; its ``excerpt_seconds`` is needed.
        length: Number of items.
        seed: Seed of the items, 0 or above.
        span: The part of every track that is used, as fractions of its length. With another pitch or tempo the vocoder
            also reads a tenth of a second beyond it, which is not in the mixture.
        missing: How coherent mixtures treat tracks that lack labels. 'error' and 'skip': draw only tracks that have all
            labels. 'silence': draw every track; a label that it lacks is silent. With 'silence' an item has one source for
            each label of the store, even with ``num_sources``: labels that are not drawn are silent. None: the choice
            with which the store was prepared.

    Attributes:
        labels: Labels of the store, in alphabetical order.
        num_sources: Number of sources of an item, ns.
        samples: Number of samples of an item.
        given_mixtures: Whether the store holds the mixture of each track, because it was prepared with ``use_mixtures``.
            Then ``mix_audio`` is that mixture (mastered, for example), and the sources need not sum to it.

    Shape:
        An item is ``{'mix_audio': float32 [1, samples], 'source_audio': float32 [1, samples, ns], 'index': int}``. Sources
        are in alphabetical order of their labels, and sum to the mixture exactly, unless mixtures are given.

    Raises:
        ConfigError: An argument is wrong, or the store has fewer labels than ``num_sources``.
        DataError: No track of the store gives such a mixture.
    """

    def __init__(
        self,
        store: Store,
        config: MixtureConfig,
        length: int,
        seed: int = 0,
        span: tuple[float, float] = (0.0, 1.0),
        missing: str | None = None,
    ):
        missing = store.missing if missing is None else missing
        _check(config, store, seed, span, missing)
        self.store, self.config, self.missing = store, config, missing
        self.length, self.seed, self.span = length, seed, span
        self.labels, self.given_mixtures = store.labels, store.has_mixtures
        self.samples = round(config.seconds * store.sample_rate)
        self.coherent, self.sounding = config.coherent, config.sounding
        self.pitch, self.stretch = change_ranges(config.pitch, config.stretch)
        self._draws_labels = config.num_sources is not None
        self._most = len(self.labels) if config.num_sources is None else config.num_sources
        self._fewest = config.fewest_sources or self._most
        # With one source for each label, every label has a fixed index in the item.
        self._by_label = missing == "silence" or not self._draws_labels
        self.num_sources = len(self.labels) if self._by_label else self._most
        self._positions = Positions(store.sample_rate, span)
        # The shortest excerpt of a stem: a stem that is active in it is active in a longer one from the same start.
        self._shortest = source_samples(self.samples, self.stretch[0] * 2 ** (-config.transpose / 12))
        self._coherent_pools = self._pools_of_tracks() if self.coherent > 0 else []
        self._stem_pools = {
            label: self._pool(self._tracks_with(label), label) for label in self.labels if self.coherent < 1
        }

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self.length:
            raise IndexError(f"Index {index} is out of range: there are {self.length} items.")
        return mix([(self.store, excerpt) for excerpt in self.draw(index)], self, index, self.given_mixtures)

    def draw(self, index: int) -> list[Excerpt]:
        """Draw the sources of item ``index``, without reading audio."""
        rng = np.random.default_rng([self.seed, index])
        if self.draw_coherence(rng):
            return self.draw_track(rng)
        return [self.draw_stem(rng, label) for label in self.draw_labels(rng, self.labels)]

    def draw_coherence(self, rng: np.random.Generator) -> bool:
        """Draw whether a mixture is coherent."""
        return bool(rng.random() < self.coherent)

    def draw_track(self, rng: np.random.Generator) -> list[Excerpt]:
        """Draw a coherent mixture: a track, a start, and which of its stems to take."""
        # Where tracks lack labels, a label is drawn first, so that rare labels are drawn as often as others.
        pools = self._coherent_pools
        pool = pools[0] if len(pools) == 1 else pools[int(rng.integers(len(pools)))]
        track = pool.draw(rng)
        frames, changes = self._draw_changes(rng)
        start = draw_start(rng, self._starts(track, None, frames))
        labels = self.draw_labels(rng, self._labels_at(track, start, frames))
        return [self._excerpt(rng, track, label, start, frames, changes) for label in labels]

    def draw_labels(self, rng: np.random.Generator, labels: Sequence[str]) -> list[str]:
        """Draw the labels of a mixture from those that it can have."""
        most = self._most
        if self._fewest < most:
            most = int(rng.integers(self._fewest, most + 1))
        most = min(most, len(labels))
        return [labels[i] for i in sorted(rng.choice(len(labels), most, replace=False))]

    def draw_stem(self, rng: np.random.Generator, label: str) -> Excerpt:
        """Draw one source of an incoherent mixture: a track that has the label, and a start."""
        track = self._stem_pools[label].draw(rng)
        frames, changes = self._draw_changes(rng)
        start = draw_start(rng, self._starts(track, label, frames))
        return self._excerpt(rng, track, label, start, frames, changes)

    def source_index(self, number: int, label: str) -> int:
        """Return the index of a source in an item.

        Args:
            number: Its number in the order of the draw.
            label: Its label.
        """
        return self.labels.index(label) if self._by_label else number

    def sounding_share(self) -> dict[str, float]:
        """Return the share of all starts at which every source is active; ``sounding`` does not change it.

        Returns:
            'coherent': the share for coherent mixtures. Each label: the share for its stems in incoherent mixtures.
        """
        shares = {}
        if self.coherent > 0:
            shares["coherent"] = self._share(self._tracks(), None)
        if self.coherent < 1:
            shares |= {label: self._share(self._tracks_with(label), label) for label in self.labels}
        return shares

    def describe(self) -> dict:
        """Return all that decides the items, as plain values: two sets of mixtures with equal descriptions are equal."""
        config = {**vars(self.config), "pitch": list(self.pitch), "stretch": list(self.stretch)}
        own = {"samples": self.samples, "length": self.length, "seed": self.seed, "span": list(self.span)}
        stems = {"tracks": len(self.store.tracks), "stems": self.store.fingerprint()}
        return {**config, **own, "missing": self.missing, "given_mixtures": self.given_mixtures, **stems}

    def _tracks(self) -> list[StoredTrack]:
        """Return the tracks that coherent mixtures are drawn from."""
        takes_incomplete = self._draws_labels or self.missing == "silence"
        tracks = [track for track in self.store.tracks if takes_incomplete or len(track.stems) == len(self.labels)]
        if not tracks:
            raise DataError(
                f"{self.store.folder} has no track with all of {', '.join(self.labels)}, and coherent mixtures need one. "
                "Set missing to 'silence' to draw tracks that lack labels, set coherent to 0, or leave labels out."
            )
        return tracks

    def _tracks_with(self, label: str) -> list[StoredTrack]:
        return [track for track in self.store.tracks if label in track.stems]

    def _pools_of_tracks(self) -> list[Pool]:
        """Return the pools that coherent mixtures are drawn from: one, or one for each label if tracks may lack labels."""
        tracks = self._tracks()
        complete = all(len(track.stems) == len(self.labels) for track in tracks)
        if self.missing != "silence" or complete:
            return [self._pool(tracks, None)]
        found = [[track for track in tracks if label in track.stems] for label in self.labels]
        if not self.sounding:
            return [Pool(having) for having in found]
        whole = self._pool(tracks, None)  # raises DataError if no track has an active start
        weights = dict(zip((track.name for track in whole.tracks), np.diff(whole.ends, prepend=0), strict=True))
        return [
            Pool(having, [weights[track.name] for track in having])
            for having in found
            if any(weights[track.name] for track in having)
        ]

    def _pool(self, tracks: Sequence[StoredTrack], label: str | None) -> Pool:
        """Return the tracks from which a label or, for None, a coherent mixture is drawn."""
        if not self.sounding:
            return Pool(tracks)
        weights = [count(self._active_starts(track, label, self._shortest)) for track in tracks]
        if not any(weights):
            every = f"{self._fewest} or more sources" if self._draws_labels else " and ".join(self.labels)
            active = f"{every} are active" if label is None else f"{label} is active"
            instead = "set coherent to 0" if label is None else f"leave {label} out"
            raise DataError(
                f"{self.store.folder} has no excerpt of {self.samples / self.store.sample_rate:g} s in which {active}. Set "
                f"sounding to False, take longer mixtures or fewer sources, or {instead}."
            )
        return Pool(tracks, weights)

    def _starts(self, track: StoredTrack, label: str | None, frames: int) -> np.ndarray:
        if self.sounding:
            return self._active_starts(track, label, frames)
        return self._positions.starts(track, frames)

    def _active_starts(self, track: StoredTrack, label: str | None, frames: int) -> np.ndarray:
        labels: Iterable[str] = track.stems if label is None else [label]
        # Where a track may lack labels, all stems that it has must be active.
        at_least = min(self._fewest, len(track.stems)) if self.missing == "silence" else self._fewest
        return self._positions.active_starts(track, labels, frames, at_least if label is None else 1)

    def _share(self, tracks: Sequence[StoredTrack], label: str | None) -> float:
        all_starts = sum(count(self._positions.starts(track, self.samples)) for track in tracks)
        return sum(count(self._active_starts(track, label, self.samples)) for track in tracks) / all_starts

    def _labels_at(self, track: StoredTrack, start: int, frames: int) -> list[str]:
        """Return the labels that a coherent mixture can have here."""
        labels = sorted(track.stems)
        if self.sounding:
            labels = [label for label in labels if self._positions.is_active(track, label, start, frames)]
        return labels

    def _draw_changes(self, rng: np.random.Generator) -> tuple[int, tuple[float, float]]:
        """Draw pitch and tempo; return how many samples of the stem a mixture needs, and both.

        A fixed value draws no random number, so that turning one option on does not change the draws of the others.
        """
        pitch, stretch = (float(rng.uniform(low, high)) if low < high else low for low, high in (self.pitch, self.stretch))
        if self.config.transpose and rng.random() < TRANSPOSED:
            semitones = int(rng.choice([-1, 1])) * int(rng.integers(1, self.config.transpose + 1))
            pitch, stretch = pitch + semitones, stretch * 2 ** (semitones / 12)
        return source_samples(self.samples, stretch), (pitch, stretch)

    def _excerpt(
        self,
        rng: np.random.Generator,
        track: StoredTrack,
        label: str,
        start: int,
        frames: int,
        changes: tuple[float, float],
    ) -> Excerpt:
        config = self.config
        gain = float(10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20))
        timbre = None
        if config.timbre > 0 and rng.random() < config.timbre:
            timbre = draw_timbre(rng, config.eq_db, config.room)
        inside = min(frames, self._positions.limits(track)[1] - start)
        return Excerpt(track, label, start, inside, gain, *changes, timbre)


def mix(drawn: Sequence[tuple[Store, Excerpt]], mixtures: Mixtures, index: int, given_mixture: bool) -> dict:
    """Read the sources of an item, and add them up or read the given mixture.

    Args:
        drawn: Each source, with the store that holds it.
        mixtures: Says how many sources and samples an item has, and the index of each source.
        index: Index of the item.
        given_mixture: Whether the mixture is read from the store: that of the first source's track, from the same start.
    """
    source_audio = np.zeros((1, mixtures.samples, mixtures.num_sources), dtype=np.float32)
    mix_audio = np.zeros((1, mixtures.samples), dtype=np.float32)
    for number, (store, excerpt) in enumerate(drawn):
        audio = read_excerpt(store, excerpt, mixtures.samples)
        source_audio[0, :, mixtures.source_index(number, excerpt.label)] = audio
        # 20 times as fast as a sum over the last axis. With up to seven sources, the bits are the same.
        mix_audio[0] += audio
    if given_mixture:
        store, first = drawn[0]
        mix_audio[0] = read_excerpt(store, replace(first, label=MIXTURE), mixtures.samples)
    return {"mix_audio": torch.from_numpy(mix_audio), "source_audio": torch.from_numpy(source_audio), "index": index}


def _check(config: MixtureConfig, store: Store, seed: int, span: tuple[float, float], missing: str) -> None:
    if not isinstance(config, MixtureConfig):
        raise ConfigError(
            f"config is {config!r}. Give a MixtureConfig: Mixtures(store, MixtureConfig(excerpt_seconds=2.0), length)."
        )
    if round(config.seconds * store.sample_rate) < 1:
        raise ConfigError(
            f"excerpt_seconds is {config.seconds}: less than one sample at {store.sample_rate} Hz. Give a longer one."
        )
    if config.num_sources is not None and config.num_sources > len(store.labels):
        raise ConfigError(
            f"num_sources is {config.num_sources}: {store.folder} has {len(store.labels)} labels "
            f"({', '.join(store.labels)}). Give 1 to {len(store.labels)}."
        )
    changed = config.coherent < 1 or config.gain_db > 0 or config.timbre > 0 or config.num_sources is not None
    if store.has_mixtures and changed:
        raise ConfigError(
            f"{store.folder} was prepared with its own mixtures (use_mixtures), which fit only the unchanged stems of "
            "one track. Set coherent to 1, gain_db and timbre to 0, and num_sources to None; or prepare it without "
            "use_mixtures."
        )
    if not 0 <= span[0] < span[1] <= 1:
        raise ConfigError(f"span is {span}. Give two fractions of a track, from 0 to 1, the start before the end.")
    if seed < 0:
        raise ConfigError(f"seed is {seed}. Give 0 or above.")
    if missing not in MISSING:
        raise ConfigError(f"missing is {missing!r}. Choose one of {', '.join(map(repr, MISSING))}.")
