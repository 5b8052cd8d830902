"""Stem lists: tracks from rows, parts of files, and one error for all wrong rows."""

import layouts
import numpy as np
import pytest

from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.stem_list import StemList
from nussl_transfer.errors import DataError
from nussl_transfer.store.prepare import prepare

RATE = 8000


@pytest.fixture
def listed(tmp_path):
    """Return a function that writes a list of these lines, beside two files of two seconds."""
    for name, pitch in (("x/take 1.wav", 220), ("y/keys.wav", 330), ("mix.wav", 440)):
        layouts.write(tmp_path / name, layouts.tone(pitch, 2.0, RATE), RATE)

    def write(*lines, header="track,label,file,split,start,end"):
        (tmp_path / "list.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8-sig")
        return tmp_path / "list.csv"

    return write


def test_rows_become_tracks_with_splits_parts_and_a_mixture(listed, tmp_path):
    path = listed("A,Vocals,x/take 1.wav,train,0.5,1.5", "A,piano,y/keys.wav,train,0.5,0:01.5", "A,mixture,mix.wav,train,,",
                  "B,vocals,x/take 1.wav,val,,1", "B,piano,y/keys.wav,val,1,")  # fmt: skip
    name, (a, b) = open_tracks(path)
    assert name == "StemList" and (a.split, b.split) == ("train", "valid")
    assert {label: files[0].name for label, files in a.stems.items()} == {"piano": "keys.wav", "vocals": "take 1.wav"}
    assert a.mixture == tmp_path / "mix.wav"
    assert a.spans == {tmp_path / "x" / "take 1.wav": (0.5, 1.5), tmp_path / "y" / "keys.wav": (0.5, 1.5)}
    assert b.spans == {tmp_path / "x" / "take 1.wav": (0.0, 1.0), tmp_path / "y" / "keys.wav": (1.0, None)}


def test_start_and_end_cut_the_file_in_items_and_store(listed, tmp_path):
    path = listed("A,vocals,x/take 1.wav,,0.5,1.5", "A,piano,y/keys.wav,,0.5,1.5")
    whole = layouts.tone(220, 2.0, RATE)[RATE // 2 : 3 * RATE // 2]
    np.testing.assert_allclose(StemList(path)[0]["sources"]["vocals"].audio_data[0], whole, atol=1e-3)
    store = prepare(open_tracks(path)[1], tmp_path / "store", RATE, progress=False)
    np.testing.assert_allclose(store.read(store.tracks[0], "vocals"), whole - whole.mean(), atol=1e-3)
    before = (tmp_path / "store" / "A" / "vocals.wav").stat().st_mtime_ns
    prepare(open_tracks(path)[1], tmp_path / "store", RATE, progress=False)
    assert (tmp_path / "store" / "A" / "vocals.wav").stat().st_mtime_ns == before, "the store is unchanged"
    path = listed("A,vocals,x/take 1.wav,,0,1", "A,piano,y/keys.wav,,0,1")
    store = prepare(open_tracks(path)[1], tmp_path / "store", RATE, progress=False)
    part = layouts.tone(220, 2.0, RATE)[:RATE]
    np.testing.assert_allclose(store.read(store.tracks[0], "vocals"), part - part.mean(), atol=1e-3)


def test_a_part_outside_its_file_is_an_error_that_names_the_track(listed, tmp_path):
    path = listed("A,vocals,x/take 1.wav,,0,1", "A,piano,y/keys.wav,,1.5,2.5")
    with pytest.raises(DataError, match="from 1.5 s to 2.5 s lies outside the file, which has 2.00 s"):
        StemList(path)
    with pytest.raises(DataError, match="outside the file"):
        prepare(open_tracks(path, StemOptions(length_tolerance=0.9))[1], tmp_path / "store", RATE,
                options=StemOptions(length_tolerance=0.9), progress=False)  # fmt: skip


def test_every_wrong_row_is_reported_at_once(listed):
    path = listed("A,,x/take 1.wav,,,", "A,piano,y/keys.wav,nowhere,,", "A,vocals,x/take 1.wav,,2,1",
                  "../A,b,y/keys.wav,,,",
                  "A,---,y/keys.wav,,,", "A,c,y/keys.wav,,soon,", "D,a,x/take 1.wav,,,", "D,b,x/take 1.wav,,,")  # fmt: skip
    with pytest.raises(DataError) as error:
        open_tracks(path)
    message = str(error.value)
    for line in ("7 rows are wrong", "line 2: its label is empty", "line 3: its split is 'nowhere'",
                 "line 4: it ends at 1 s, and starts at 2 s", "line 5: its track '../A' is not a relative path",
                 "line 6: its label '---' has no letter", "line 7: its start is 'soon'", "is in 'D' already"):  # fmt: skip
        assert line in message


@pytest.mark.parametrize(
    ("header", "sentence"),
    [("track,label", "Missing: file"), ("track,label,file,colour", "Unknown or twice: colour"), ("", "Missing: track")],
)
def test_the_first_line_names_the_columns(listed, header, sentence):
    with pytest.raises(DataError, match=sentence):
        open_tracks(listed("A,b,x/take 1.wav", header=header))


def test_semicolons_separate_columns_and_ignored_rows_are_skipped(listed):
    path = listed("A;vocals;x/take 1.wav", "A;piano;y/keys.wav", "A;organ;mix.wav", header="Track;Label;File")
    (track,) = open_tracks(path, StemOptions(ignore=["organ"]))[1]
    assert list(track.stems) == ["piano", "vocals"]
