"""StemOptions: which values it accepts, and that the data sets get them."""

import layouts
import pytest

from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"silent": "no"}, "silent is 'no'. Choose one of 'error', 'keep', 'skip'"),
        ({"missing": "keep"}, "missing is 'keep'. Choose one of 'error', 'skip', 'silence'"),
        ({"length_tolerance": 1.0}, "length_tolerance=1.0 is out of range"),
        ({"length_tolerance": float("nan")}, "length_tolerance=nan is out of range"),
        ({"rest": True, "use_mixtures": True}, "rest and use_mixtures exclude each other"),
    ],
)
def test_values_out_of_range_are_errors(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        StemOptions(**options)


def test_a_single_ignore_pattern_becomes_a_tuple():
    assert StemOptions(ignore="organ").ignore == StemOptions(ignore=["organ"]).ignore == ("organ",)


def test_data_set_options_are_passed_on(tmp_path):
    folder = layouts.track_major(tmp_path, ("A", "B"), ("bass", "drums", "vocals"), seconds=0.1)
    name, tracks = open_tracks(folder, StemOptions(groups={"low": ["bass", "drums"], "high": "vocals"}, ignore="B"))
    assert (name, [(track.name, list(track.stems)) for track in tracks]) == ("StemFolder", [("A", ["high", "low"])])
    with pytest.raises(ConfigError, match="layout"):
        open_tracks(folder, StemOptions(options={"layout": "sideways"}))
