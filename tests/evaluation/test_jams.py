"""Lists of excerpts: `jams` itself validates them, and they reproduce the same audio."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import jams
import numpy as np
import pytest

from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.evaluation.batches import load_excerpts
from nussl_transfer.evaluation.evaluate import evaluate
from nussl_transfer.evaluation.excerpts import drawn_excerpts, make_excerpts, silent_excerpts
from nussl_transfer.evaluation.jams import read_excerpts, write_excerpts
from nussl_transfer.evaluation.score import score
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.store.store import Store, StoreWriter

VALUES = {"time": 0, "duration": 0.5, "confidence": 1}
# jams validates with functions that jsonschema has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Passing a schema to Validator:DeprecationWarning")
CHANGED = {"pitch": (-3.0, 3.0), "stretch": (0.8, 1.2), "gain_db": 6.0}


@pytest.fixture
def drawn(tiny_store):
    """Mixtures of every kind, as a list."""
    return drawn_excerpts(Mixtures(tiny_store, MixtureConfig(0.5, coherent=0.5, **CHANGED), 12, seed=4))


@pytest.fixture
def listed(drawn, tiny_store, tmp_path):
    path = tmp_path / "excerpts.jams"
    write_excerpts(path, drawn, tiny_store.sample_rate)
    return path


def test_a_list_comes_back_from_its_file_and_makes_the_same_audio_bit_for_bit(drawn, listed, tiny_store):
    found = read_excerpts(listed, Store(tiny_store.folder))
    assert found == drawn
    for again, before in zip(found, drawn, strict=True):
        np.testing.assert_array_equal(load_excerpts(tiny_store, [again])[0], load_excerpts(tiny_store, [before])[0])


def test_a_list_of_training_mixtures_reproduces_their_audio(drawn, tiny_store):
    mixtures = Mixtures(tiny_store, MixtureConfig(0.5, coherent=0.5, **CHANGED), 12, seed=4)
    for index, excerpt in enumerate(drawn):
        references, _ = load_excerpts(tiny_store, [excerpt])
        np.testing.assert_array_equal(references[0], mixtures[index]["source_audio"][0].numpy().T)


def test_jams_alone_reads_and_validates_a_list(listed, drawn):
    """Read a list in a process without this package: its namespace is JAMS's own."""
    code = f"""
import sys, jams
jam = jams.load({str(listed)!r}, validate=True, strict=True)
assert jam.validate(strict=True) and "nussl_transfer" not in sys.modules
print(len(jam.annotations), [len(a.data) for a in jam.annotations] == [3] * 12, jam.file_metadata.duration)
values = jam.annotations[0].data[1].value
print(values["label"], values["source_file"], values["pitch_shift"], values["time_stretch"])
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    source = drawn[0].sources[1]
    assert run.stdout.splitlines() == [
        "12 True 0.5",
        f"{source.label} {source.track.name}/{source.label}.wav {source.pitch} {1 / source.stretch}",
    ]


def test_jams_rejects_an_invalid_source(listed):
    """Show that the validation above can fail."""
    content = json.loads(listed.read_text())
    content["annotations"][0]["data"][0]["value"]["time_stretch"] = -1
    listed.write_text(json.dumps(content))
    with pytest.raises(jams.SchemaError):
        jams.load(str(listed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content, value: value.update(track="gone"), "'gone' from .*has 0 samples"),
        (lambda content, value: value.update(label="zither"), "of 'zither' of"),
        (lambda content, value: value.update(start=10**9), "from 1000000000: the store .* samples of it"),
        (lambda content, value: value.update(start=-1), "from -1"),
        (lambda content, value: value.pop("frames"), "lacks a value or has a wrong one: KeyError 'frames'"),
        (lambda content, value: value.update(gain="loud"), "lacks a value or has a wrong one"),
        (lambda content, value: value.update(gain=float("nan")), "gain of nan"),
        (lambda content, value: value.update(pitch=90.0), "wrong pitch or tempo.*90 semitones"),
        (lambda content, value: value.update(stretch=1e-9), "wrong pitch or tempo"),
        (lambda content, value: value.update(time_stretch=-1), "SchemaError"),
        (lambda content, value: content["sandbox"]["nussl_transfer"].update(sample_rate=44100), "44100 Hz, the store"),
        (lambda content, value: content["sandbox"]["nussl_transfer"].update(format=9), "got 9, expected 1"),
        (lambda content, value: content["sandbox"].clear(), "is not a list of excerpts in JAMS"),
        (lambda content, value: content["annotations"][0].update(namespace="beat"), "is not a list of excerpts in JAMS"),
        (lambda content, value: content["annotations"][0]["data"].clear(), r"the labels \[\], expected at least one"),
        (lambda content, value: content["annotations"][0]["data"].append({**VALUES, "value": value}), "each label once"),
        (lambda content, value: content["annotations"][0]["sandbox"].update(frames=0), "got 0 samples"),
        (lambda content, value: content.update(validate=1), "is not a list of excerpts in JAMS"),
        (lambda content, value: content.clear(), "is not a list of excerpts in JAMS"),
    ],
)
def test_a_list_that_is_not_of_this_store_or_not_whole_is_refused(listed, tiny_store, change, message):
    content = json.loads(listed.read_text())
    change(content, content["annotations"][0]["data"][0]["value"])
    listed.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_excerpts(listed, tiny_store)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"excerpts": [{"track": "one"}]}'])
def test_a_file_that_is_not_jams_is_refused(tmp_path, tiny_store, text):
    path = tmp_path / "excerpts.json"
    path.write_text(text)
    with pytest.raises(DataError, match="is not a list of excerpts in JAMS.*Make it with make_excerpts"):
        read_excerpts(path, tiny_store)
    with pytest.raises(DataError, match="FileNotFoundError"):
        read_excerpts(tmp_path / "none.jams", tiny_store)


def test_other_stems_under_the_same_names_are_reported(listed, tiny_store, tmp_path, caplog):
    writer = StoreWriter(tmp_path / "louder", tiny_store.sample_rate)
    for track in tiny_store.tracks:
        writer.add(track.name, None, {label: 2 * tiny_store.read(track, label) for label in track.stems})
    louder = writer.close()
    with caplog.at_level(logging.WARNING):
        read_excerpts(listed, tiny_store)
        assert not caplog.records
        read_excerpts(listed, louder)
    assert "made from stems with other levels or lengths" in caplog.text


# Incoherent and sounding lists ----------------------------------------------------------------------------------------


def test_an_incoherent_list_takes_a_track_and_time_for_each_source(tiny_store):
    excerpts = make_excerpts(tiny_store, 0.5, count=30, seed=1, coherent=False)
    assert len(excerpts) == 30 and excerpts == make_excerpts(tiny_store, 0.5, count=30, seed=1, coherent=False)
    assert sum(len({(s.track.name, s.start) for s in excerpt.sources}) == 3 for excerpt in excerpts) > 25
    assert all([source.label for source in excerpt.sources] == ["bass", "drums", "voice"] for excerpt in excerpts)
    with pytest.raises(ConfigError, match="Give their number, count"):
        make_excerpts(tiny_store, 0.5, coherent=False)


def test_rows_of_an_incoherent_list_name_the_origin_of_each_reference(tiny_store):
    excerpts = make_excerpts(tiny_store, 0.5, count=5, coherent=False)
    rows = score("mixture", tiny_store, excerpts, progress=False)
    expected = [
        (number, source.track.name, source.start, source.label)
        for number, excerpt in enumerate(excerpts)
        for source in excerpt.sources
    ]
    assert [(row["excerpt"], row["track"], row["start"], row["label"]) for row in rows] == expected


def test_excerpts_of_one_place_in_two_mixtures_are_two_pairs(tiny_store, tmp_path):
    # With one track as long as the mixtures, every excerpt is at the same place.
    excerpts = make_excerpts(tiny_store.select(names=["song 0"]), 1.0, count=4, coherent=False)
    scores = evaluate({}, tiny_store, excerpts=excerpts, out=tmp_path, oracle=True, progress=False)
    assert len({(row["track"], row["start"]) for row in scores["scores"]["mixture"]}) == 1
    assert len({row["excerpt"] for row in scores["scores"]["mixture"]}) == 4
    assert scores["excerpts"] == [excerpt.plain() for excerpt in excerpts]


@pytest.fixture
def gaps(tmp_path):
    """Four seconds of 'bass'; 'voice' is silent for the first two."""
    writer = StoreWriter(tmp_path / "gaps", 1000)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 4000))
    noise[1, :2000] = 0
    noise -= noise.mean(axis=1, keepdims=True) * (noise != 0)
    writer.add("song", None, {"bass": noise[0], "voice": noise[1]})
    return writer.close()


def test_the_number_of_excerpts_with_a_silent_source_is_always_logged(gaps, caplog):
    with caplog.at_level(logging.INFO, logger="nussl_transfer"):
        excerpts = make_excerpts(gaps, 1.0)
    assert silent_excerpts(excerpts, gaps) == 2 and "2 of 4 excerpts" in caplog.text


def test_sounding_excerpts_are_those_in_which_every_source_sounds(gaps, caplog):
    beside = make_excerpts(gaps, 1.0, sounding=True)
    assert [excerpt.start for excerpt in beside] == [2000, 3000]
    drawn = make_excerpts(gaps, 1.0, count=40, sounding=True)
    assert silent_excerpts(drawn, gaps) == 0 and len(drawn) == 40 and min(e.start for e in drawn) >= 1000
    assert load_excerpts(gaps, drawn)[1].all()
    with pytest.raises(DataError, match="None of the 1 excerpts .* has sound in every source"):
        writer = StoreWriter(gaps.folder / "silent", 1000)
        writer.add("song", None, {"bass": np.zeros(2000), "voice": np.ones(2000)})
        make_excerpts(writer.close(), 2.0, sounding=True)
