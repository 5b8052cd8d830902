"""Chorales of the three kinds of players come into one store, and nothing is rendered twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.corpora import chorales


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Replace the three renderers by ones that write noise; return the list of the calls."""
    made: list[str] = []

    def write(tree: Path, name: str) -> None:
        made.append(name)
        (tree / name).mkdir(parents=True, exist_ok=True)
        for number, label in enumerate(("bassoon", "clarinet", "saxophone", "violin")):
            audio = 0.1 * np.random.default_rng(number).standard_normal(16000)
            soundfile.write(tree / name / f"{label}.wav", audio, 16000)

    def by_soundfonts(out: Path) -> Path:
        write(out / "quartets", "bwv1")
        return out / "quartets"

    monkeypatch.setattr(chorales, "render_quartets", by_soundfonts)
    monkeypatch.setattr(chorales, "add_played_quartets", lambda tree, works, *counts, seed: write(tree, "bwv1-played1"))
    monkeypatch.setattr(chorales, "add_recorded_quartets", lambda tree, works, samples: write(tree, "bwv1-recorded"))
    return made


def test_one_store_holds_the_chorales_of_all_kinds(tmp_path, calls):
    store = chorales.render_chorales(tmp_path, tmp_path / "samples")
    assert calls == ["bwv1", "bwv1-played1", "bwv1-recorded"]
    assert sorted(track.name for track in store.tracks) == calls
    assert store.labels == ("bassoon", "clarinet", "saxophone", "violin") and store.folder.is_relative_to(tmp_path)
    assert {track.split for track in store.tracks} == {None}


def test_without_recorded_notes_there_are_two_kinds(tmp_path, calls):
    chorales.render_chorales(tmp_path, None)
    assert calls == ["bwv1", "bwv1-played1"]
