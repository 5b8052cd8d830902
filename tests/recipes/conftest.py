"""A folder of recorded notes, and scores, for the tests of the pretraining corpora."""

from __future__ import annotations

import numpy as np
import pytest
from sine_samples import write_samples

from recipes.corpora import ensembles
from recipes.corpora.bands import notes_array

SCALE = (0, 2, 4, 5, 7, 9, 11, 12)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Return a folder of recordings of four instruments and two drums, all of them sines."""
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return folder


@pytest.fixture
def material(monkeypatch):
    """Replace music21's corpus by a score and a tune for each split."""
    part = notes_array([(i * 0.5, 0.5, 60 + SCALE[i % 8]) for i in range(32)])
    four = [part - np.array([0, 0, down, 0], dtype=np.float32) for down in (0, 5, 12, 17)]
    names = {
        split: next(f"made/{i}" for i in range(999) if ensembles.is_for(f"made/{i}", split)) for split in ("train", "valid")
    }
    given = {name: four for name in names.values()}, {name: [part] for name in names.values()}
    monkeypatch.setattr(ensembles, "read_material", lambda cache, workers: given)
