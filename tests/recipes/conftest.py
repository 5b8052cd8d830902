"""A folder of recorded notes for the tests of the sampled corpora."""

from __future__ import annotations

import pytest
from sine_samples import write_samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Return a folder of recordings of four instruments and two drums, all of them sines."""
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return folder
