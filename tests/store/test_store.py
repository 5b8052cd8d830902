"""A store returns the audio that was written to it, by seek, and its manifest describes that audio."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from nussl_transfer.errors import DataError
from nussl_transfer.store.store import Store, StoreWriter, describe_stem, write_stem

RATE = 8000


def noise(frames: int, seed: int = 0) -> np.ndarray:
    audio = 0.1 * np.random.default_rng(seed).standard_normal(frames)
    return (audio - audio.mean()).astype(np.float32)


@pytest.fixture
def store(tmp_path) -> Store:
    writer = StoreWriter(tmp_path / "store", RATE, "made up")
    writer.add("b", "train", {"viola": noise(4000, 1), "flute": noise(4000, 2)})
    writer.add("a", "test", {"viola": noise(2400, 3)}, {"viola": [{"path": "x.wav", "size": 1, "mtime_ns": 2}]})
    return writer.close()


def test_audio_is_read_back_as_written(store):
    track = store.select(names=["b"]).tracks[0]
    np.testing.assert_allclose(store.read(track, "viola"), noise(4000, 1), atol=1e-8)
    assert store.read(track, "viola").dtype == np.float32


def test_a_part_equals_the_slice_of_the_whole(store):
    track = store.select(names=["b"]).tracks[0]
    whole = store.read(track, "flute")
    np.testing.assert_array_equal(store.read(track, "flute", 1234, 100), whole[1234:1334])
    np.testing.assert_array_equal(store.read(track, "flute", 3990), whole[3990:])


def test_files_are_mono_float32_wavs_at_the_rate_of_the_store(store):
    found = soundfile.info(store.folder / "b" / "viola.wav")
    assert (found.channels, found.samplerate, found.subtype, found.format) == (1, RATE, "FLOAT", "WAV")


def test_the_offset_of_a_stem_is_removed(tmp_path):
    writer = StoreWriter(tmp_path, RATE)
    writer.add("a", None, {"x": noise(4000) + np.float32(0.5)})
    store = writer.close()
    audio = store.read(store.tracks[0], "x")
    assert abs(audio.mean(dtype=np.float64)) < 1e-7
    np.testing.assert_allclose(audio, noise(4000), atol=1e-6)


def test_tracks_of_one_origin_stay_together_after_reading_the_manifest(tmp_path):
    writer = StoreWriter(tmp_path, RATE)
    for name, origin in (("a", "x"), ("b", None), ("c", "x"), ("d", None), ("x", None)):
        writer.add(name, None, {"flute": np.ones(8)}, origin=origin)
    groups = [[track.name for track in group] for group in writer.close().tracks_by_origin()]
    assert groups == [["a", "c"], ["b"], ["d"], ["x"]]
    about = json.loads((tmp_path / "manifest.json").read_text())
    for track in about["tracks"]:  # as in older manifests
        del track["origin"]
    (tmp_path / "manifest.json").write_text(json.dumps(about))
    assert [len(group) for group in Store(tmp_path).tracks_by_origin()] == [1] * 5


def test_the_manifest_has_the_documented_form(store):
    manifest = json.loads((store.folder / "manifest.json").read_text())
    assert manifest.keys() == {"format", "sample_rate", "labels", "dataset", "missing", "tracks"}
    assert (manifest["format"], manifest["sample_rate"], manifest["dataset"]) == (1, RATE, "made up")
    assert manifest["labels"] == ["flute", "viola"]
    first = manifest["tracks"][0]
    assert (first["name"], first["split"], first["frames"]) == ("a", "test", 2400)
    assert first["stems"]["viola"].keys() == {"file", "rms", "peak", "active", "sources"}
    assert first["stems"]["viola"]["file"] == "a/viola.wav"
    assert first["stems"]["viola"]["sources"] == [{"path": "x.wav", "size": 1, "mtime_ns": 2}]


def test_labels_and_tracks_are_in_alphabetical_order(store):
    assert store.labels == ("flute", "viola")
    assert [track.name for track in store.tracks] == ["a", "b"]


def test_minutes_are_those_of_the_tracks_or_of_one_label(store):
    assert store.minutes() == pytest.approx(6400 / RATE / 60)
    assert store.minutes("flute") == pytest.approx(4000 / RATE / 60)


def test_a_view_has_the_tracks_of_a_split_or_of_names(store):
    assert [track.name for track in store.select(split="train").tracks] == ["b"]
    assert [track.name for track in store.select(names=["a", "b"]).tracks] == ["a", "b"]
    assert store.select(split="test").labels == ("viola",)
    assert len(store.tracks) == 2, "the store itself was changed"


def test_selecting_absent_tracks_is_an_error_that_lists_what_exists(store):
    with pytest.raises(DataError, match="no split 'valid'.*2 tracks, splits test, train"):
        store.select(split="valid")
    with pytest.raises(DataError, match=r"no tracks \['c'\]"):
        store.select(names=["c"])


@pytest.mark.parametrize("frames", [1, 799, 800, 801, 4000, 4321])
def test_levels_are_those_of_the_samples(frames):
    audio = noise(frames) + np.float32(0.01)
    about = describe_stem(audio, RATE)
    assert about["rms"] == pytest.approx(np.sqrt(np.mean(audio.astype(np.float64) ** 2)))
    assert about["peak"] == np.abs(audio).max()
    assert about["active"] == [[0, frames]]


def test_activity_is_where_the_stem_is_loud_enough():
    audio = np.zeros(8000, dtype=np.float32)
    audio[1600:2400] = 0.1 * np.sin(np.arange(800))
    audio[3300:3400] = 0.1
    audio[7900:] = 0.1
    # Blocks are a tenth of a second: 800 samples.
    assert describe_stem(audio, RATE)["active"] == [[1600, 2400], [3200, 4000], [7200, 8000]]


@pytest.mark.parametrize(("dbfs", "sounds"), [(-59, True), (-61, False)])
def test_activity_begins_at_60_db_below_full_scale(dbfs, sounds):
    audio = np.full(8000, 10 ** (dbfs / 20), dtype=np.float32)
    assert describe_stem(audio, RATE)["active"] == ([[0, 8000]] if sounds else [])


def test_a_silent_stem_is_never_active():
    assert describe_stem(np.zeros(1000, dtype=np.float32), RATE) == {"rms": 0.0, "peak": 0.0, "active": []}


def test_stems_of_unequal_length_are_an_error(tmp_path):
    with pytest.raises(DataError, match="'song'.*differ in length.*'x': 100.*'y': 101"):
        StoreWriter(tmp_path, RATE).add("song", None, {"x": noise(100), "y": noise(101)})


def test_a_track_without_samples_or_stems_is_an_error(tmp_path):
    for stems in ({}, {"x": np.zeros(0, dtype=np.float32)}):
        with pytest.raises(DataError, match="'song'"):
            StoreWriter(tmp_path, RATE).add("song", None, stems)


@pytest.mark.parametrize(("name", "label"), [("..", "x"), ("../../song", "x"), ("song", "../../x"), ("/tmp/song", "x")])
def test_names_that_point_outside_the_store_are_errors(tmp_path, name, label):
    with pytest.raises(DataError, match="outside"):
        StoreWriter(tmp_path / "store", RATE).add(name, None, {label: noise(100)})
    assert not list(tmp_path.rglob("*.wav"))


def test_two_tracks_of_one_name_are_an_error(tmp_path):
    writer = StoreWriter(tmp_path, RATE)
    writer.add("song", "train", {"x": noise(100)})
    with pytest.raises(DataError, match="two tracks 'song'"):
        writer.add("song", "valid", {"x": noise(200)})


def test_there_is_no_store_before_the_writer_is_closed(tmp_path):
    writer = StoreWriter(tmp_path, RATE)
    writer.add("song", None, {"x": noise(100)})
    with pytest.raises(DataError, match="holds no manifest.json.*nussl-transfer prepare"):
        Store(tmp_path)


def test_a_stem_file_is_replaced_atomically(tmp_path, monkeypatch):
    path = tmp_path / "x.wav"
    write_stem(path, noise(100), RATE)
    before = path.read_bytes()

    def write_half(file, *_, **__):
        file.write_bytes(b"RIFF")
        raise OSError("disk is full")

    monkeypatch.setattr(soundfile, "write", write_half)
    with pytest.raises(OSError, match="disk is full"):
        write_stem(path, noise(200), RATE)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.wav"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "got a JSON list, expected an object"),
        ('{"format": 2}', "format 2, expected 1"),
        ('{"format": 1, "tracks": []}', "sample_rate"),
        ('{"format": 1, "sample_rate": 8000, "dataset": "", "tracks": []}', "lists no track"),
        ('{"format": 1, "sample_rate": 8000, "dataset": "", "tracks": [{"name": "a"}]}', "stems"),
        (
            '{"format": 1, "sample_rate": 8000, "dataset": "", "tracks": [{"name": "a", "split": null, "frames": 1, '
            '"stems": {"x": {"file": "a/x.wav"}}}]}',
            "rms",
        ),
    ],
)
def test_a_wrong_manifest_is_an_error(tmp_path, text, message):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=message):
        Store(tmp_path)


def test_a_missing_stem_file_is_an_error_that_names_it(store):
    (store.folder / "b" / "viola.wav").unlink()
    with pytest.raises(DataError, match=r"b/viola\.wav.*[Pp]repare the store again"):
        store.read(store.select(names=["b"]).tracks[0], "viola")


def test_a_cut_stem_file_is_an_error_that_says_how_much_is_left(store):
    write_stem(store.folder / "b" / "viola.wav", noise(1000), RATE)
    track = store.select(names=["b"]).tracks[0]
    with pytest.raises(DataError, match="got 200 of 500 samples from 800"):
        store.read(track, "viola", 800, 500)
    with pytest.raises(DataError, match=r"b/viola\.wav"):
        store.read(track, "viola", 3000, 500)


def test_a_stem_file_that_is_not_audio_is_an_error_that_names_it(store):
    (store.folder / "b" / "viola.wav").write_bytes(b"no audio")
    with pytest.raises(DataError, match=r"b/viola\.wav"):
        store.read(store.select(names=["b"]).tracks[0], "viola")
