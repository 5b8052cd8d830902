"""Bach10 as it is on disk, with its spelling mistakes."""

from __future__ import annotations

import shutil

import layouts
import numpy as np
import pytest

from nussl_transfer.datasets.bach10 import Bach10
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.tracks import labels_of, missing_labels
from nussl_transfer.errors import DataError


@pytest.fixture
def folder(tmp_path):
    return layouts.bach10(tmp_path)


def test_both_spellings_of_the_saxophone_are_one_label(folder):
    tracks = Bach10.find_tracks(folder)
    assert [list(track.stems) for track in tracks] == [["bassoon", "clarinet", "saxophone", "violin"]] * 2
    assert [track.stems["saxophone"][0].name.split("-")[-1] for track in tracks] == ["saxphone.wav", "saxophone.wav"]


def test_a_piece_with_both_spellings_is_an_error(folder):
    piece = folder / "01-AchGottundHerr"
    shutil.copy(piece / "01-AchGottundHerr-saxphone.wav", piece / "01-AchGottundHerr-saxophone.wav")
    with pytest.raises(DataError, match="two files for saxophone, .*saxophone.wav and .*saxphone.wav. Remove one"):
        Bach10.find_tracks(folder)


def test_the_mixture_is_used_for_checking_and_is_not_a_stem(folder):
    track = Bach10.find_tracks(folder)[0]
    assert track.mixture.name == "01-AchGottundHerr.wav"
    assert track.mixture not in [path for files in track.stems.values() for path in files]


@pytest.mark.parametrize("levels", ["..", "../.."])
def test_it_is_found_from_a_folder_above_it(tmp_path, levels):
    root = layouts.bach10(tmp_path / "unpacked" / "Sources")
    assert [track.name for track in Bach10.find_tracks(root / levels)] == list(layouts.BACH10_PIECES[:2])


def test_the_folder_of_a_single_piece_is_read(folder):
    assert [track.name for track in Bach10.find_tracks(folder / "01-AchGottundHerr")] == ["01-AchGottundHerr"]


def test_files_that_macos_and_windows_leave_behind_are_not_audio(tmp_path):
    root = layouts.bach10(tmp_path)
    tracks = Bach10.find_tracks(root.parent)
    assert len(tracks) == 2
    assert all(not path.name.startswith(".") for track in tracks for files in track.stems.values() for path in files)


def test_a_piece_in_two_places_is_an_error_that_names_both(folder):
    shutil.copytree(folder / "01-AchGottundHerr", folder / "copy" / "01-AchGottundHerr")
    with pytest.raises(DataError, match="holds piece 01-AchGottundHerr of Bach10 twice, .*copy.*Give one copy"):
        Bach10.find_tracks(folder)


def test_a_file_of_another_piece_in_a_folder_is_left_out(folder):
    stray = folder / "01-AchGottundHerr" / "02-AchLiebenChristen-violin.wav"
    layouts.write(stray, layouts.tone(440))
    assert Bach10.find_tracks(folder)[0].left_out == (stray,)


def test_held_out_pieces_are_the_test_split(folder):
    for held_out in ("02-AchLiebenChristen", "02", 2, [2]):
        splits = {track.name[:2]: track.split for track in Bach10.find_tracks(folder, held_out=held_out)}
        assert splits == {"01": "train", "02": "test"}
    assert [track.name for track in Bach10(folder, held_out=2, split="test").items] == ["02-AchLiebenChristen"]


def test_holding_out_an_unknown_piece_is_an_error(folder):
    with pytest.raises(DataError, match="held_out: 10 is not a piece of this Bach10. Its pieces are 01-AchGottundHerr"):
        Bach10.find_tracks(folder, held_out=10)


def test_folds_leave_each_piece_out_once(folder):
    folds = Bach10.folds(Bach10.find_tracks(folder))
    assert [name for name, _ in folds] == list(layouts.BACH10_PIECES[:2])
    for name, tracks in folds:
        assert [track.name for track in tracks if track.split == "test"] == [name]
        assert sum(track.split == "train" for track in tracks) == 1


def test_folders_train_and_test_above_the_pieces_give_the_split(tmp_path):
    layouts.bach10(tmp_path / "train", seconds=0.1)
    (tmp_path / "test").mkdir()
    (piece,) = (tmp_path / "train").rglob("02-AchLiebenChristen")
    piece.rename(tmp_path / "test" / "02-AchLiebenChristen")
    assert {track.name[:2]: track.split for track in Bach10.find_tracks(tmp_path)} == {"01": "train", "02": "test"}
    assert {track.split for track in Bach10.find_tracks(tmp_path / "test")} == {None}


def test_nussl_items_keep_the_level_and_offset_of_the_files(folder):
    sources = Bach10(folder)[0]["sources"]
    assert np.isclose(sources["clarinet"].audio_data.mean(), -0.01, atol=2e-3)
    assert abs(sources["violin"].audio_data.mean()) < 2e-3


def test_parts_can_be_grouped(folder):
    _, tracks = open_tracks(
        folder, StemOptions(groups={"winds": ["clarinet", "saxophone", "bassoon"], "strings": "violin"})
    )
    assert {label: len(files) for label, files in tracks[0].stems.items()} == {"strings": 1, "winds": 3}


def test_a_folder_without_its_tracks_is_an_error_that_says_what_it_looks_for(tmp_path):
    layouts.track_major(tmp_path)
    with pytest.raises(DataError, match="holds no piece of Bach10.*01-AchGottundHerr-violin.wav. Give the folder"):
        Bach10.find_tracks(tmp_path)


def test_bach10_beside_other_audio_is_not_recognised(tmp_path):
    layouts.bach10(tmp_path)
    layouts.track_major(tmp_path / "mine")
    with pytest.raises(
        DataError, match="resembles Bach10: 8 files are named like its files.*its own folder, .*Bach10_v1.1, or"
    ):
        open_tracks(tmp_path)
    assert len(open_tracks(tmp_path, StemOptions(dataset="bach10"))[1]) == 2


def test_a_copy_that_lacks_one_of_the_four_parts_is_an_error(folder):
    for piece in folder.iterdir():
        (piece / f"{piece.name}-bassoon.wav").unlink()
    with pytest.raises(
        DataError, match="No piece of Bach10 in .* has a bassoon .of 2 pieces.. Copy the data set again, or name the stem"
    ):
        open_tracks(folder)
    assert labels_of(open_tracks(folder, StemOptions(ignore=["bassoon"]))[1]) == ("clarinet", "saxophone", "violin")
    assert labels_of(open_tracks(folder, StemOptions(groups={"high": "violin", "low": "saxophone"}))[1]) == ("high", "low")


def test_a_part_that_one_piece_lacks_is_reported_missing_for_that_piece(folder):
    (folder / "01-AchGottundHerr" / "01-AchGottundHerr-violin.wav").unlink()
    assert missing_labels(open_tracks(folder)[1]) == {"01-AchGottundHerr": ("violin",)}


def test_ten_pieces_give_ten_folds_and_nine_to_one_when_the_last_is_held_out(tmp_path):
    for number in range(1, 11):
        place = tmp_path / "Bach10_v1.1" / f"{number:02d}-Piece"
        place.mkdir(parents=True)
        for part in layouts.BACH10_PARTS:
            (place / f"{place.name}-{part}.wav").touch()
    tracks = Bach10.find_tracks(tmp_path)
    held = {name: [track.name for track in fold if track.split == "test"] for name, fold in Bach10.folds(tracks)}
    assert len(held) == 10 and all(names == [name] for name, names in held.items())
    assert all(sum(track.split == "train" for track in fold) == 9 for _, fold in Bach10.folds(tracks))
    paper = Bach10.find_tracks(tmp_path, held_out=10)
    assert [track.split for track in paper] == ["train"] * 9 + ["test"]
