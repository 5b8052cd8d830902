"""Stores made from data sets: their content, the errors, and how the next run continues after a killed one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import layouts
import numpy as np
import pytest
import soundfile
import soxr

from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.stem_folder import StemFolder
from nussl_transfer.datasets.tracks import Track
from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.store import prepare as module
from nussl_transfer.store import store as stores
from nussl_transfer.store.open import open_store
from nussl_transfer.store.prepare import prepare
from nussl_transfer.store.store import Store

SLOW = """
import sys, time
import nussl_transfer
from nussl_transfer.store import store
from nussl_transfer.datasets import StemFolder
from nussl_transfer.store.prepare import prepare
write = store.write_stem
def slowly(*args):
    write(*args)
    time.sleep(0.1)
store.write_stem = slowly
prepare(StemFolder.find_tracks(sys.argv[1]), sys.argv[2], workers=1)
"""


@pytest.fixture
def folder(tmp_path):
    return layouts.track_major(tmp_path / "set", ("A", "B", "C"), ("bass", "vocals"), seconds=0.5)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "store"


def make(folder, out, **options):
    return prepare(StemFolder.find_tracks(folder), out, **options)


def stamps(out):
    """Return the files of a store, with the time of writing and the inode of each."""
    return {str(path.relative_to(out)): (path.stat().st_mtime_ns, path.stat().st_ino) for path in out.rglob("*.wav")}


def same_audio(one, other):
    """Return whether two stores hold bit-identical stems. (The files' headers hold the time of writing.)"""
    return sorted(stamps(one)) == sorted(stamps(other)) and all(
        np.array_equal(soundfile.read(one / name)[0], soundfile.read(other / name)[0]) for name in stamps(one)
    )


def leftovers(out):
    return [path for path in out.rglob("*") if path.name.endswith(".part")]


# What is in a store


def test_stems_are_mono_at_the_stores_rate_without_their_mean(tmp_path, out):
    path = layouts.write(tmp_path / "A" / "bass.wav", np.stack([layouts.tone(110), layouts.tone(220)], axis=1) + 0.01)
    layouts.write(tmp_path / "A" / "vocals.wav", layouts.tone(440))
    store = make(tmp_path, out)
    audio = soundfile.read(path, dtype="float32")[0].mean(axis=1)
    expected = soxr.resample(audio - audio.mean(), 44100, 16000, "HQ")
    got = store.read(store.tracks[0], "bass")
    assert got.dtype == np.float32 and abs(got.mean()) < 1e-7
    assert np.allclose(got, expected, atol=1e-5)
    assert (store.sample_rate, store.labels, store.tracks[0].frames) == (16000, ("bass", "vocals"), 16000)
    assert soundfile.info(out / "A" / "bass.wav").subtype == "FLOAT"


def test_the_files_of_a_group_are_summed(folder, out):
    parts = make(folder, out)
    grouped = StemFolder.find_tracks(folder, groups={"all": ["bass", "vocals"]})
    whole = prepare(grouped, out.with_name("whole"))
    for track, both in zip(parts.tracks, whole.tracks, strict=True):
        assert np.allclose(parts.read(track, "bass") + parts.read(track, "vocals"), whole.read(both, "all"), atol=1e-6)


def test_the_offset_of_bach10_is_removed(tmp_path, out):
    name, tracks = open_tracks(layouts.bach10(tmp_path))
    store = prepare(tracks, out, dataset=name)
    assert store.dataset == "Bach10" and len(store.tracks) == 2
    assert all(abs(store.read(track, label).mean()) < 1e-7 for track in store.tracks for label in store.labels)


def test_shorter_stems_get_zeros_at_their_tail(folder, out):
    layouts.write(folder / "A" / "bass.wav", layouts.tone(110, 0.497) + 0.01)
    store = make(folder, out)
    audio = store.read(store.tracks[0], "bass")
    assert len(audio) == 8000 and np.abs(audio[-40:]).max() < 1e-6 and np.abs(audio[-80:-60]).max() > 1e-3


def test_different_rates_in_a_track_are_resampled_to_one(folder, out):
    layouts.write(folder / "A" / "bass.wav", layouts.tone(110, 0.5, 22050), 22050)
    assert make(folder, out).tracks[0].frames == 8000


def test_the_store_keeps_the_splits(tmp_path, out):
    layouts.track_major(tmp_path / "set", ("train/A", "valid/B"), seconds=0.1)
    store = make(tmp_path / "set", out)
    assert {track.name: track.split for track in store.tracks} == {"train/A": "train", "valid/B": "valid"}


def test_one_and_several_workers_make_the_same_store(folder, out):
    make(folder, out, workers=1)
    make(folder, out.with_name("other"), workers=3)
    assert (out / "manifest.json").read_bytes() == (out.with_name("other") / "manifest.json").read_bytes()
    assert same_audio(out, out.with_name("other"))


def test_an_offset_makes_no_click_at_the_ends(folder, out):
    layouts.write(folder / "A" / "bass.wav", 0.3 + 0.01 * layouts.tone(110, 0.5))
    store = make(folder, out)
    assert store.tracks[0].stems["bass"].peak < 0.0011


# Errors


def break_in_every_way(folder):
    """Make a data set with one error of each kind, and return the message that each must give."""
    names = ("cut", "empty", "long", "missing", "nan", "quiet", "sound")
    layouts.track_major(folder, names, ("bass", "vocals"), mixture=None, seconds=0.5)
    path = folder / "cut" / "bass.wav"
    path.write_bytes(path.read_bytes()[:20000])
    (folder / "empty" / "bass.wav").write_bytes(b"")
    layouts.write(folder / "long" / "bass.wav", layouts.tone(110, 0.6))
    (folder / "missing" / "bass.wav").unlink()
    soundfile.write(folder / "nan" / "bass.wav", np.full(22050, np.nan), 44100, subtype="FLOAT")
    layouts.write(folder / "quiet" / "bass.wav", np.zeros(22050))
    return {
        "cut, bass": "was cut",
        "empty, bass": "is empty",
        "long": "its stems differ in length: bass.wav 0.60 s, vocals.wav 0.50 s",
        "missing": "lacks bass",
        "nan, bass": "holds NaN",
        "quiet, bass": "is silent",
    }


def test_every_error_is_listed_at_once_and_no_store_is_made(tmp_path, out):
    expected = break_in_every_way(tmp_path / "set")
    with pytest.raises(DataError) as caught:
        make(tmp_path / "set", out)
    first, *lines, last = (line for line in str(caught.value).splitlines() if not line.startswith("      "))
    assert first == "The data set has 6 errors:"
    assert len(lines) == 6
    for line, (where, what) in zip(sorted(lines), sorted(expected.items()), strict=True):
        assert line.startswith(f"  {where}: ") and what in line
    assert last.startswith(f"No store was made in {out}")
    assert not out.exists()


def test_all_decoding_errors_are_listed_and_finished_tracks_are_kept(folder, out):
    for track in "AB":
        for stem in ("bass", "vocals"):
            soundfile.write(folder / track / f"{stem}.wav", np.full(22050, np.nan), 44100, subtype="FLOAT")
    with pytest.raises(DataError, match="^The data set has 4 errors:") as caught:
        make(folder, out)
    assert str(caught.value).count("holds NaN") == 4
    assert not (out / "manifest.json").exists()
    before = stamps(out)
    assert set(before) == {"C/bass.wav", "C/vocals.wav"}
    layouts.track_major(folder, ("A", "B"), ("bass", "vocals"), seconds=0.5)
    assert len(make(folder, out).tracks) == 3
    assert {name: stamps(out)[name] for name in before} == before


def test_a_silent_stem_is_an_error_kept_or_skipped(folder, out, caplog):
    layouts.write(folder / "A" / "bass.wav", np.full(22050, 0.1))
    with pytest.raises(DataError, match="The data set has 1 error:\n  A, bass: is silent"):
        make(folder, out)
    assert [track.name for track in make(folder, out, options=StemOptions(silent="skip")).tracks] == ["B", "C"]
    assert "track A is left out, with silent stems: bass" in caplog.text
    store = make(folder, out, options=StemOptions(silent="keep"))
    assert [track.name for track in store.tracks] == ["A", "B", "C"]
    assert store.tracks[0].stems["bass"].active == []
    with pytest.raises(DataError, match="is silent"):  # entries of an earlier run are checked again
        make(folder, out)


def test_a_track_that_lacks_a_stem_can_be_skipped(folder, out, caplog):
    (folder / "B" / "bass.wav").unlink()
    assert [track.name for track in make(folder, out, options=StemOptions(missing="skip")).tracks] == ["A", "C"]
    assert "track B is left out: it lacks bass" in caplog.text


def test_a_sample_rate_of_zero_is_an_error(folder, out):
    with pytest.raises(ConfigError, match="sample_rate is 0"):
        make(folder, out, sample_rate=0)


@pytest.mark.parametrize("rate", [-1, 16, 16000.5, float("nan"), float("inf"), 10**9])
def test_an_invalid_sample_rate_is_an_error(folder, out, rate):
    with pytest.raises(ConfigError, match="sample_rate is .*from 1000 to 384000"):
        make(folder, out, sample_rate=rate)
    assert not out.exists()


@pytest.mark.parametrize("workers", [0, -1])
def test_an_invalid_number_of_workers_is_an_error(folder, out, workers):
    with pytest.raises(ConfigError, match=f"workers is {workers}. Give a number of threads of at least 1"):
        make(folder, out, workers=workers)


def test_a_folder_that_cannot_be_made_is_an_error(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="store cannot be made: Not a directory. Name a folder that you may write to"):
        make(folder, tmp_path / "file" / "store")


def test_two_processes_cannot_prepare_one_folder_at_once(folder, out):
    child = subprocess.Popen([sys.executable, "-c", SLOW, str(folder), str(out)])
    try:
        while not any(out.rglob("*.wav")):
            assert child.poll() is None
            time.sleep(0.01)
        with pytest.raises(ConfigError, match=f"process {child.pid} on .* is writing to it"):
            make(folder, out)
        assert child.wait(60) == 0
    finally:
        child.kill()
    assert [track.name for track in Store(out).tracks] == ["A", "B", "C"] and not (out / ".lock").exists()
    assert [track.name for track in make(folder, out).tracks] == ["A", "B", "C"], "the folder is free again"


def test_the_manifest_records_that_missing_labels_are_silent(folder, out):
    (folder / "B" / "bass.wav").unlink()
    store = make(folder, out, options=StemOptions(missing="silence"))
    assert store.missing == Store(out).missing == "silence" and [len(track.stems) for track in store.tracks] == [2, 1, 2]
    assert open_store(store, "unused", 16000).missing == "silence"


def test_a_folder_with_other_files_is_not_written_to(folder, out, tmp_path):
    out.mkdir()
    (out / "thesis.tex").write_text("")
    with pytest.raises(DataError, match="holds files that belong to no store. Name a new or an empty folder"):
        make(folder, out)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file, and a store is a folder"):
        make(folder, tmp_path / "file")
    with pytest.raises(DataError, match="holds files that belong to no store"):
        make(folder, folder)
    tracks = StemFolder.find_tracks(folder)
    (folder / ".parts").mkdir()  # as in an unfinished store
    with pytest.raises(DataError, match="contains the stem .*: a store cannot contain its sources. Name another folder"):
        prepare(tracks, folder)
    (folder / ".parts").rmdir()
    make(folder, tmp_path / "other", dataset="x")
    with pytest.raises(DataError, match="holds a store of x at 16000 Hz, and cannot hold one of stems at 8000 Hz"):
        make(folder, tmp_path / "other", sample_rate=8000)


def test_a_disk_without_space_is_an_error_before_anything_is_written(folder, out, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(DataError, match="the store needs 0.0 GB, 0.0 GB are free. Make room"):
        make(folder, out)
    assert not out.exists()


def test_a_disk_that_fills_up_stops_the_run_and_leaves_no_manifest(folder, out, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stores, "write_stem", full)
    with pytest.raises(DataError, match="the disk is full. Make room, .* and run this again: finished tracks are kept"):
        make(folder, out)
    assert not (out / "manifest.json").exists()


# Resuming


def test_a_second_run_repeats_no_work(folder, out, monkeypatch):
    make(folder, out)
    before = stamps(out)
    monkeypatch.setattr(module, "_make", None)
    make(folder, out)
    assert stamps(out) == before


def test_the_next_run_finishes_a_killed_one_without_repeating_work(tmp_path, out):
    tracks = tuple("ABCDEFGH")
    folder = layouts.track_major(tmp_path / "set", tracks, ("bass", "vocals"), mixture=None, seconds=0.2)
    child = subprocess.Popen([sys.executable, "-c", SLOW, str(folder), str(out)])
    try:
        while len(list(out.rglob("*.json"))) < 3:
            assert child.poll() is None, "the run ended before it was killed"
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not (out / "manifest.json").exists()
    with pytest.raises(DataError, match="holds no manifest.json"):
        Store(out)
    finished = [json.loads(path.read_text())["track"]["name"] for path in out.rglob("*.json")]
    assert 3 <= len(finished) < len(tracks)
    before = {name: stamp for name, stamp in stamps(out).items() if name.split("/")[0] in finished}
    (out / "Z").mkdir()
    (out / "Z" / ".bass.wav.1.part").write_bytes(b"half")  # if the kill came in the middle of a file
    store = make(folder, out)
    assert {name: stamps(out)[name] for name in before} == before
    assert [track.name for track in store.tracks] == list(tracks) and leftovers(out) == []
    whole = make(folder, out.with_name("whole"))
    assert (whole.folder / "manifest.json").read_bytes() == (out / "manifest.json").read_bytes()
    assert same_audio(out, whole.folder)


@pytest.mark.parametrize("touch", ["content", "time"])
def test_only_the_track_of_a_changed_source_is_prepared_again(folder, out, touch):
    make(folder, out)
    before = stamps(out)
    if touch == "content":
        layouts.write(folder / "B" / "bass.wav", layouts.tone(55, 0.5))
    else:
        os.utime(folder / "B" / "bass.wav", (1, 1))
    make(folder, out)
    changed = {name.split("/")[0] for name, stamp in stamps(out).items() if before[name] != stamp}
    assert changed == {"B"}


@pytest.mark.parametrize("harm", ["cut", "gone", "entry"])
def test_a_damaged_stored_stem_is_prepared_again(folder, out, harm):
    make(folder, out)
    path = out / "B" / "bass.wav"
    whole, _ = soundfile.read(path)
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    elif harm == "gone":
        path.unlink()
    else:
        (out / ".parts" / "B.json").write_text('{"track": [')
    make(folder, out)
    assert np.array_equal(soundfile.read(path)[0], whole)


def test_tracks_and_stems_removed_from_the_data_set_are_removed_from_the_store(folder, out):
    make(folder, out)
    shutil.rmtree(folder / "B")
    assert [track.name for track in make(folder, out).tracks] == ["A", "C"]
    assert not (out / "B").exists() and not (out / ".parts" / "B.json").exists()
    prepare(StemFolder.find_tracks(folder, groups={"all": ["bass", "vocals"]}), out)
    assert sorted(stamps(out)) == ["A/all.wav", "C/all.wav"]


def test_the_manifest_is_gone_while_a_stem_is_prepared_again(folder, out, monkeypatch):
    make(folder, out)
    os.utime(folder / "B" / "bass.wav", (1, 1))
    monkeypatch.setattr(stores, "write_stem", lambda *args: (_ for _ in ()).throw(OSError(5, "I/O error")))
    with pytest.raises(DataError, match="cannot be written"):
        make(folder, out)
    assert not (out / "manifest.json").exists()


def test_a_broken_new_track_leaves_the_store_unchanged(folder, out):
    make(folder, out)
    manifest = (out / "manifest.json").read_bytes()
    layouts.track_major(folder, ("D",), ("bass", "vocals"), seconds=0.5)
    soundfile.write(folder / "D" / "bass.wav", np.full(22050, np.nan), 44100, subtype="FLOAT")
    with pytest.raises(DataError, match="D, bass: .*NaN"):
        make(folder, out)
    assert (out / "manifest.json").read_bytes() == manifest and len(Store(out).tracks) == 3


def test_an_edited_entry_removes_no_file_outside_the_store(folder, out, tmp_path):
    make(folder, out)
    precious = tmp_path / "precious.wav"
    precious.write_bytes(b"x")
    for file in ("../precious.wav", str(precious)):
        entry = {"track": {"stems": {"bass": {"file": file}}}}
        (out / ".parts" / "gone.json").write_text(json.dumps(entry))
        make(folder, out)
        assert precious.exists() and not (out / ".parts" / "gone.json").exists()


def test_a_changed_split_reads_no_audio(folder, out):
    make(folder, out)
    before = stamps(out)
    tracks = [Track(track.name, track.stems, "test") for track in StemFolder.find_tracks(folder)]
    assert {track.split for track in prepare(tracks, out).tracks} == {"test"}
    assert stamps(out) == before
