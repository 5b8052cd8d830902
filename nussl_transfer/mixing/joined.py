"""Mixtures of several stores, joined."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from ..errors import ConfigError
from .excerpt import Excerpt
from .mixtures import Mixtures


class JoinedMixtures(Dataset):
    """Mixtures of which each comes from one of several stores, as the paper joins MUSDB and Slakh.

    Args:
        parts: Mixtures of stores with the same labels. What they draw is theirs to say; their own seeds and lengths are
            not used.
        shares: Of each part, in mixtures; in any unit: ``[1, 3]`` takes a quarter from the first.
        length: Number of items.
        seed: First half of what decides an item; the index is the other.

    Attributes:
        store: The store of the first part; ``stores`` has all.

    Shape:
        An item is that of :class:`Mixtures`.

    Raises:
        ConfigError: The parts do not fit together, or a share cannot be one.
    """

    def __init__(self, parts: Sequence[Mixtures], shares: Sequence[float], length: int, seed: int = 0):
        parts, shares = tuple(parts), [float(share) for share in shares]
        if not parts or len(parts) != len(shares):
            raise ConfigError(f"{len(parts)} parts were to be joined in {len(shares)} shares: give each part its share.")
        if any(not math.isfinite(share) or share < 0 for share in shares) or not sum(shares) > 0:
            raise ConfigError(f"Shares are 0 or above, and one of them above 0: got {shares}.")
        if seed < 0:
            raise ConfigError(f"A seed is 0 or above: got {seed}.")
        for what, values in (
            ("labels", [part.labels for part in parts]),
            ("numbers of sources", [part.num_sources for part in parts]),
            ("sample rates", [part.store.sample_rate for part in parts]),
            ("samples a mixture", [part.samples for part in parts]),
        ):
            if len(set(values)) > 1:
                common = sorted(set.intersection(*(set(part.labels) for part in parts)))
                raise ConfigError(
                    f"Mixtures of {' and '.join(str(part.store.folder) for part in parts)} were to be joined: their {what} "
                    f"differ, {' and '.join(map(str, values))}. Make them alike"
                    + (f": store.select(labels={common})." if what == "labels" and common else ".")
                )
        self.parts, self.length, self.seed = parts, length, seed
        self.shares = [share / sum(shares) for share in shares]
        self.stores = tuple(part.store for part in parts)
        self.store = self.stores[0]
        self.labels, self.samples, self.num_sources = parts[0].labels, parts[0].samples, parts[0].num_sources

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self.length:
            raise IndexError(f"Item {index} was asked for: there are {self.length}.")
        which, excerpts = self._draw(index)
        return self.parts[which].make(excerpts, index)

    def draw(self, index: int) -> list[Excerpt]:
        """Returns what item ``index`` is made of; no audio is read."""
        return self._draw(index)[1]

    def sounding_share(self) -> list[dict[str, float]]:
        """Returns `Mixtures.sounding_share` of each part."""
        return [part.sounding_share() for part in self.parts]

    def describe(self) -> dict:
        """Returns what decides the items, as plain values."""
        parts = [part.describe() for part in self.parts]
        for part in parts:
            del part["seed"], part["length"]
        return {"length": self.length, "seed": self.seed, "shares": self.shares, "joined": parts}

    def _draw(self, index: int) -> tuple[int, list[Excerpt]]:
        rng = np.random.default_rng([self.seed, index])
        ends = np.cumsum(self.shares)
        which = min(int(np.searchsorted(ends, rng.random(), side="right")), len(ends) - 1)
        return which, self.parts[which].draw_with(rng)
