"""Render the chorales that train `body` and `quartet`: played by soundfonts, synthetic players and recorded notes."""

from __future__ import annotations

from pathlib import Path

from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.store.prepare import prepare
from nussl_transfer.store.store import Store

from .players import add_played_quartets
from .quartets import render_quartets
from .sampled import add_recorded_quartets

PLAYED, TAKES = 240, 3  # chorales of synthetic players, and how often each is played


def render_chorales(folder: Path, samples: Path | None) -> Store:
    """Return a store of chorales for violin, clarinet, saxophone and bassoon, without splits.

    120 chorales are played by soundfonts and, if a folder of recorded notes is given, as many by those; `PLAYED` chorales
    are played `TAKES` times by synthetic players. What is finished is not rendered again.

    Args:
        folder: Folder for the stems, in `quartets`, and for the store, in `stores/quartets`.
        samples: Folder of the libraries of recordings that `sampled.json` names; None leaves recorded notes out.
    """
    tree = render_quartets(folder)
    add_played_quartets(tree, folder, PLAYED, TAKES, seed=1)
    if samples is not None:
        add_recorded_quartets(tree, folder, samples)
    return prepare(open_tracks(tree)[1], folder / "stores" / "quartets", dataset="rendered chorales")
