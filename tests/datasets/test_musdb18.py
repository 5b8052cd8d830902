"""MUSDB18 in its three forms, complete and incomplete."""

from __future__ import annotations

import layouts
import numpy as np
import pytest
import soundfile

from nussl_transfer.datasets.musdb18 import MUSDB18, TRACKS, VALIDATION
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.slakh import Slakh
from nussl_transfer.datasets.tracks import missing_labels
from nussl_transfer.datasets.validation.check import check
from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.store.prepare import prepare

FIRST, VALID, COMMA, TEST = (song.split("/")[1] for song in layouts.MUSDB18_SONGS)


@pytest.fixture
def folder(tmp_path):
    return layouts.musdb18(tmp_path)


def shape(folder, **options):
    """Return label -> file names of the first track."""
    track = MUSDB18.find_tracks(folder, **options)[0]
    return {label: [path.name for path in files] for label, files in track.stems.items()}


def test_the_list_has_150_songs_of_which_14_are_for_validation():
    assert len(TRACKS) == 150 and len(VALIDATION) == 14 and VALIDATION < TRACKS


def test_a_whole_tree_splits_into_86_14_and_50(tmp_path):
    # The folder decides which 50 are for the test; none of the 14 is among them.
    names = sorted(TRACKS - VALIDATION)
    for number, name in enumerate([*names, *sorted(VALIDATION)]):
        path = tmp_path / ("test" if number < 50 else "train") / f"{name}.stem.mp4"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    splits = [track.split for track in MUSDB18.find_tracks(tmp_path)]
    assert {split: splits.count(split) for split in set(splits)} == {"train": 86, "valid": 14, "test": 50}


def test_the_14_validation_songs_of_the_package_musdb_are_the_valid_split(folder):
    splits = {track.name: track.split for track in MUSDB18.find_tracks(folder)}
    assert splits == {FIRST: "train", VALID: "valid", COMMA: "train", TEST: "test"}
    assert [track.name for track in MUSDB18(folder, split="valid").items] == [VALID]


def test_sources_can_be_the_papers_the_four_stems_or_those_common_with_slakh(folder):
    assert shape(folder) == {"accompaniment": ["bass.wav", "drums.wav", "other.wav"], "vocals": ["vocals.wav"]}
    assert list(shape(folder, sources="stems")) == ["bass", "drums", "other", "vocals"]
    assert list(shape(folder, sources="common")) == ["bass", "drums", "other"]
    with pytest.raises(ConfigError, match="sources is 'four'. Choose one of 'paper', 'stems', 'common'"):
        MUSDB18(folder, sources="four")


def test_groups_can_name_the_four_stems(folder):
    groups = {"rhythm": ["bass", "drums"], "rest": ["vocals", "other"]}
    assert shape(folder, groups=groups) == {"rest": ["other.wav", "vocals.wav"], "rhythm": ["bass.wav", "drums.wav"]}


def test_accompaniment_is_the_sum_of_three_stems(folder):
    item = MUSDB18(folder)[0]
    parts = [soundfile.read(folder / "train" / FIRST / f"{stem}.wav")[0].T for stem in ("bass", "drums", "other")]
    assert np.allclose(item["sources"]["accompaniment"].audio_data, sum(parts), atol=1e-6)
    assert item["mix"].num_channels == 2


def test_files_added_by_musdbconvert_are_not_stems(tmp_path):
    folder = layouts.musdb18(tmp_path, decoded=True)
    track = MUSDB18.find_tracks(folder, sources="stems")[0]
    assert len(track.stems) == 4 and track.mixture.name == "mixture.wav"
    assert [path.name for path in track.left_out] == ["accompaniment.wav", "linear_mixture.wav"]
    notes = [str(finding) for finding in check([track], deep=True).findings]
    assert any("mixture.wav is 1.0" in note for note in notes)


def test_decoded_songs_are_preferred_to_their_containers_and_counted_once(tmp_path, caplog):
    root = layouts.musdb18(tmp_path, decoded=True, top="set")
    layouts.musdb18_containers(tmp_path, top="set")
    (root / "train" / FIRST / "bass.wav").unlink()
    tracks = {track.name: track for track in MUSDB18.find_tracks(root)}
    assert len(tracks) == 4
    assert tracks[TEST].stems["vocals"] == (root / "test" / TEST / "vocals.wav",)
    # A song that was only partly decoded is read from its container.
    assert tracks[FIRST].stems["vocals"] == (root / "train" / f"{FIRST}.stem.mp4" / "vocals",)
    assert tracks[FIRST].mixture.name == "mixture" and "is only partly decoded" in caplog.text
    assert root / "train" / FIRST / "vocals.wav" in tracks[FIRST].left_out


def test_containers_are_found_without_being_opened(tmp_path):
    folder = layouts.musdb18_containers(tmp_path)
    assert [track.name for track in MUSDB18.find_tracks(folder)] == sorted([FIRST, VALID, COMMA, TEST])
    assert shape(folder, ignore="bass")["accompaniment"] == ["drums", "other"]


@pytest.mark.parametrize("at", ["", "..", "train", f"train/{COMMA}"])
def test_the_folder_may_lie_above_the_data_set_or_inside_it(folder, at):
    found = {track.name: track.split for track in MUSDB18.find_tracks(folder / at)}
    assert found[COMMA] == "train" and len(found) == {"": 4, "..": 4, "train": 3}.get(at, 1)


def test_songs_outside_train_and_test_have_no_split_and_are_logged(tmp_path, caplog):
    folder = layouts.musdb18(tmp_path, songs=(FIRST, TEST))
    assert [track.split for track in MUSDB18.find_tracks(folder)] == [None, None]
    assert "2 songs lie neither in train nor in test" in caplog.text


def test_a_song_without_one_of_three_stems_has_no_accompaniment(folder, caplog):
    (folder / "test" / TEST / "other.wav").unlink()
    tracks = {track.name: track for track in MUSDB18.find_tracks(folder)}
    assert missing_labels(list(tracks.values())) == {TEST: ("accompaniment",)}
    assert "lacks other, so it has no source 'accompaniment'" in caplog.text
    assert [path.name for path in tracks[TEST].left_out] == ["bass.wav", "drums.wav"]
    assert len(MUSDB18(folder, missing="skip")) == 3


def test_an_ignored_stem_does_not_count_as_missing(folder):
    assert shape(folder, ignore="drums") == {"accompaniment": ["bass.wav", "other.wav"], "vocals": ["vocals.wav"]}


def test_a_song_in_two_places_is_an_error_that_names_both(tmp_path):
    layouts.musdb18(tmp_path)
    layouts.musdb18_containers(tmp_path)
    with pytest.raises(DataError, match="of MUSDB18 twice, in .*musdb18/test and in .*musdb18hq/test. Give the folder"):
        open_tracks(tmp_path)


def test_a_wrong_folder_is_an_error_that_says_what_it_looks_for(tmp_path):
    with pytest.raises(DataError, match="holds no song of MUSDB18: .*nor 'train/Artist - Title.stem.mp4'. Give the folder"):
        open_tracks(layouts.bach10(tmp_path), StemOptions(dataset="musdb18"))


def test_the_same_layout_with_other_songs_is_a_stem_folder(tmp_path):
    songs = ("train/Me - My First", "train/Me - My Second", f"test/{TEST}")
    folder = layouts.musdb18(tmp_path, songs=songs)
    assert open_tracks(folder)[0] == "StemFolder"
    assert len(open_tracks(folder, StemOptions(dataset="MUSDB18"))[1]) == 3


def test_the_common_sources_of_musdb_and_slakh_have_the_same_labels(tmp_path):
    musdb = MUSDB18.find_tracks(layouts.musdb18(tmp_path / "m"), sources="common")
    slakh = Slakh.find_tracks(layouts.slakh(tmp_path / "s", tracks=(1, 4)), sources="common")
    stores = [prepare(tracks, tmp_path / f"store{n}") for n, tracks in enumerate((musdb, slakh))]
    assert stores[0].labels == stores[1].labels == ("bass", "drums", "other")
    other = stores[1].tracks[0].stems["other"].sources
    assert [of["path"].split("/")[-1] for of in other] == ["S00.flac", "S02.flac"]  # guitar and piano
