"""Draw mixtures from several stores: a coherent mixture from one of them, an incoherent one from all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from ..errors import ConfigError
from ..store.store import Store
from .excerpt import Excerpt
from .mixtures import Mixtures, mix


class JoinedMixtures(Dataset):
    """Draw mixtures from several stores, as the paper joins MUSDB18 and Slakh.

    A coherent mixture comes from one store. In an incoherent mixture a store is drawn for each stem, so that stems of
    different stores mix: "stems from independently random chosen songs" (Section 3.1 of the paper).

    Args:
        parts: Mixtures of stores that have the same labels. Each part draws its tracks by its own options; its seed and
            length are not used.
        shares: Share of each part in the mixtures, in any unit: ``[1, 3]`` takes a quarter from the first.
        length: Number of items.
        seed: Seed of the items, 0 or above.

    Attributes:
        store: The store of the first part; ``stores`` has all.

    Shape:
        An item is that of :class:`Mixtures`.

    Raises:
        ConfigError: The parts differ in labels, sources, rate or length, or a share is wrong.
    """

    def __init__(self, parts: Sequence[Mixtures], shares: Sequence[float], length: int, seed: int = 0):
        parts, shares = tuple(parts), [float(share) for share in shares]
        if not parts or len(parts) != len(shares):
            raise ConfigError(f"There are {len(parts)} parts and {len(shares)} shares. Give each part one share.")
        if any(not math.isfinite(share) or share < 0 for share in shares) or not sum(shares) > 0:
            raise ConfigError(f"shares are {shares}. Give numbers from 0 up, at least one of them above 0.")
        if seed < 0:
            raise ConfigError(f"seed is {seed}. Give 0 or above.")
        for what, values in (
            ("labels", [part.labels for part in parts]),
            ("numbers of sources", [part.num_sources for part in parts]),
            ("sample rates", [part.store.sample_rate for part in parts]),
            ("numbers of samples", [part.samples for part in parts]),
        ):
            if len(set(values)) > 1:
                common = sorted(set.intersection(*(set(part.labels) for part in parts)))
                raise ConfigError(
                    f"{' and '.join(str(part.store.folder) for part in parts)} cannot be joined: their {what} differ, "
                    f"{' and '.join(map(str, values))}. Make them equal"
                    + (f": store.select(labels={common})." if what == "labels" and common else ".")
                )
        self.parts, self.length, self.seed = parts, length, seed
        self.shares = [share / sum(shares) for share in shares]
        self.stores = tuple(part.store for part in parts)
        self.store = self.stores[0]
        self.labels, self.samples, self.num_sources = parts[0].labels, parts[0].samples, parts[0].num_sources
        # A part that draws coherent mixtures only cannot draw single stems.
        self._gives_stems = [part.coherent < 1 for part in parts]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self.length:
            raise IndexError(f"Index {index} is out of range: there are {self.length} items.")
        part, drawn = self._draw(index)
        return mix(drawn, self.parts[0], index, part.given_mixtures)

    def draw(self, index: int) -> list[Excerpt]:
        """Draw the sources of item ``index``, without reading audio."""
        return [excerpt for _, excerpt in self._draw(index)[1]]

    def sounding_share(self) -> list[dict[str, float]]:
        """Return `Mixtures.sounding_share` of each part."""
        return [part.sounding_share() for part in self.parts]

    def describe(self) -> dict:
        """Return all that decides the items, as plain values."""
        parts = [part.describe() for part in self.parts]
        for part in parts:
            del part["seed"], part["length"]
        return {"length": self.length, "seed": self.seed, "shares": self.shares, "joined": parts}

    def _draw(self, index: int) -> tuple[Mixtures, list[tuple[Store, Excerpt]]]:
        """Draw the part and the sources of an item, each source with its store."""
        rng = np.random.default_rng([self.seed, index])
        part = self._draw_part(rng, self.shares)
        if part.draw_coherence(rng):
            return part, [(part.store, excerpt) for excerpt in part.draw_track(rng)]
        drawn, shares = [], [share * gives for share, gives in zip(self.shares, self._gives_stems, strict=True)]
        for label in part.draw_labels(rng, part.labels):
            stem_part = self._draw_part(rng, shares)
            drawn.append((stem_part.store, stem_part.draw_stem(rng, label)))
        return part, drawn

    def _draw_part(self, rng: np.random.Generator, shares: Sequence[float]) -> Mixtures:
        """Draw a part in proportion to its share."""
        ends = np.cumsum(shares)
        which = int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))
        return self.parts[min(which, len(ends) - 1)]
