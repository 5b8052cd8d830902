"""Remixpacks: labels from folder names, links as the author made them, his split, and one that keeps songs together."""

from __future__ import annotations

import shutil
from collections import Counter

import layouts
import pytest

from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.remixpacks import Remixpacks, song_words, songs_of, split_by_song
from nussl_transfer.datasets.tracks import labels_of, missing_labels
from nussl_transfer.datasets.validation.check import check
from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.store.prepare import prepare

PURE = "symlinks_to_files/fine/Pure"
# What the author's script train_test_split_incoherent.py put into `test` from the folder that `label_folders` makes, with
# p = 0.9. It was run once, with NumPy's type of strings under its present name.
AUTHORS_TEST = {
    "acoustic_guitar": [4],
    "cymbals": [4, 18, 21],
    "kick": [19, 28, 29, 30],
    "snare": [1, 6],
    "kick_rolls": [0],
}


@pytest.fixture
def folder(tmp_path):
    return layouts.remixpacks(tmp_path)


@pytest.fixture
def label_folders(tmp_path):
    """A folder of labels with empty files; one label has no file, and one a file that is not audio."""
    counts = {"Acoustic_Guitar": 7, "Cymbals": 23, "Kick": 31, "Snare": 10, "kick rolls": 1, "Empty": 0}
    for label, count in counts.items():
        (tmp_path / label).mkdir()
        for number in range(count):
            (tmp_path / label / f"Pack {number:02d}(symlink).wav").touch()
    (tmp_path / "Snare" / "Pack 03(symlink).wav.npy").touch()
    return tmp_path


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def counts(tracks):
    return Counter(label for track in tracks for label in track.stems)


def names_in(tracks, split):
    return [track.name for track in tracks if track.split == split]


# What is found


def test_each_file_of_the_papers_sources_is_a_complete_track(folder, caplog):
    caplog.set_level("INFO")
    name, tracks = open_tracks(folder)
    assert name == "Remixpacks" and counts(tracks) == {"cymbals": 5, "kick_drum": 5, "snare": 5}
    assert missing_labels(tracks) == {}
    assert "left out labels acoustic_guitar (5), synth_pad (1)" in caplog.text
    assert "skipped symlinks_to_files/fine/Mixed, symlinks_to_files/simple, symlinks_to_files/simple/Mix" in caplog.text


def test_a_folder_that_is_mostly_other_audio_is_not_recognised(folder):
    above = folder.parent
    assert Remixpacks.recognises(above)
    layouts.track_major(above / "stems", tracks=tuple(f"song {number}" for number in range(60)))
    assert not Remixpacks.recognises(above) and Remixpacks.recognises(folder)


def test_track_names_are_link_names_without_the_symlink_suffix(folder):
    names = [track.name for track in Remixpacks.find_tracks(folder, sources="snare")]
    assert names == [f"snare/{pack} stems Snare {number}" for number, pack in enumerate(layouts.PACKS, 1)]


@pytest.mark.parametrize("place", [".", "symlinks_to_files", "symlinks_to_files/fine", PURE])
def test_it_is_found_from_any_level(folder, place):
    assert open_tracks(folder / place)[0] == "Remixpacks"
    assert Remixpacks.find_tracks(folder / place) == Remixpacks.find_tracks(folder)
    assert len(Remixpacks.find_tracks(folder / place)) == 15


def test_resampled_copies_are_found_by_the_folders_name(tmp_path):
    touch(tmp_path, *(f"fine_16k/Pure/{label}/x {label}.wav" for label in ("Kick", "Snare_Drum", "Crash_Cymbal")))
    for place in ("", "fine_16k", "fine_16k/Pure"):
        name, tracks = open_tracks(tmp_path / place)
        assert name == "Remixpacks" and labels_of(tracks) == Remixpacks.LABELS


def test_plain_label_folders_are_read_if_the_data_set_is_named(tmp_path):
    names = [f"{label}/song {number} {label}.wav" for label in ("Kick", "Snare", "Cymbals") for number in range(3)]
    touch(tmp_path, *names)
    assert open_tracks(tmp_path)[0] == "StemFolder"
    assert counts(open_tracks(tmp_path, StemOptions(dataset="remixpacks"))[1]) == {"cymbals": 3, "kick_drum": 3, "snare": 3}


@pytest.mark.parametrize("kick", ["Kick", "Kick_Drum", "KICKS", "Bass Drum", "kick_2"])
def test_common_names_of_a_source_become_one_label(tmp_path, kick):
    touch(tmp_path, f"{kick}/a(symlink).wav", "Snares/b(symlink).wav", "Ride/c(symlink).wav", "Crash/d(symlink).wav")
    assert counts(open_tracks(tmp_path)[1]) == {"cymbals": 2, "kick_drum": 1, "snare": 1}


def test_a_missing_source_is_an_error_that_lists_the_labels(tmp_path):
    touch(tmp_path, "Kick/a(symlink).wav", "Snare/b(symlink).wav", "HiHat/c(symlink).wav")
    with pytest.raises(
        DataError, match=r"has no cymbals of Remixpacks, only hihat \(1 files\), .*Choose labels by `sources`"
    ):
        open_tracks(tmp_path)
    assert labels_of(open_tracks(tmp_path, StemOptions(options={"sources": ["kick", "Snare"]}))[1]) == (
        "kick_drum",
        "snare",
    )
    assert labels_of(open_tracks(tmp_path, StemOptions(options={"sources": "kick+Snare"}))[1]) == ("kick_drum", "snare")
    assert labels_of(open_tracks(tmp_path, StemOptions(ignore=["cymbals"]))[1]) == ("kick_drum", "snare")
    assert labels_of(open_tracks(tmp_path, StemOptions(options={"sources": "all"}))[1]) == ("hihat", "kick_drum", "snare")


def test_groups_can_name_folders_or_the_papers_sources(folder):
    groups = {"drums": ["Kick_Drum", "snare"], "guitar": ["acoustic guitar"]}
    _, tracks = open_tracks(folder, StemOptions(groups=groups))
    assert counts(tracks) == {"drums": 10, "guitar": 5} and {track.split for track in tracks} == {"train", "valid", "test"}
    with pytest.raises(DataError, match="Group 'x' is empty: no track has a stem flute"):
        open_tracks(folder, StemOptions(groups={"x": "flute"}))
    touch(folder / PURE, "Kick/one more(symlink).wav")
    assert counts(open_tracks(folder, StemOptions(groups={"k": "kick", "s": "snare"}))[1]) == {"k": 1, "s": 5}
    assert counts(open_tracks(folder, StemOptions(groups={"k": "kick_drum", "s": "snare"}))[1]) == {"k": 6, "s": 5}


def test_files_of_several_instruments_are_read_only_with_mixed(folder):
    tracks = Remixpacks.find_tracks(folder, mixed=True)
    assert counts(tracks) == {"cymbals": 5, "kick_drum": 6, "snare": 6}
    assert "Mixed/snare/Aurora Lights – North (Stems) drum loop" in [track.name for track in tracks]
    with pytest.raises(DataError, match="holds only files of several instruments .Mixed. of Remixpacks. Use mixed=True"):
        Remixpacks.find_tracks(folder / "symlinks_to_files", ignore=["Pure", "simple"])


def test_two_trees_of_labels_are_an_error_that_names_both(folder):
    touch(folder, "organized_files/fine_16k/Pure/Snare/x.wav")
    with pytest.raises(DataError, match="at 2 places, organized_files/fine_16k/Pure, symlinks_to.*Give one"):
        open_tracks(folder)


def test_packs_alone_and_loose_files_are_errors(folder, tmp_path):
    with pytest.raises(DataError, match="holds only original_files of Remixpacks. Sort them into a folder for each label"):
        Remixpacks.find_tracks(folder, ignore=["symlinks_to_files"])
    with pytest.raises(DataError, match="a.wav lies in it directly. Give the folder above, or move the file away"):
        Remixpacks.find_tracks(touch(tmp_path / "loose", "a.wav", "Kick/b.wav"))


# Links and names


def test_link_loops_are_walked_once_and_broken_links_are_errors(tmp_path):
    tracks = Remixpacks.find_tracks(layouts.remixpacks(tmp_path, broken=True))
    assert len(tracks) == 16
    (error,) = [finding for finding in check(tracks, progress=False).findings if finding.level == "error"]
    assert error.track == "snare/Béla Ünal - Ŝafo (Multitrack) gone"
    assert "is a broken link to" in error.what and error.what_to_do == "Mend the link or remove it."
    with pytest.raises(DataError, match="The data set has 1 error:\n.*is a broken link to"):
        prepare(tracks, tmp_path / "store", progress=False)


def test_the_longest_file_name_can_be_prepared(tmp_path):
    root = tmp_path / "root"
    for label in ("Kick", "Snare", "Cymbals"):
        for end in "ab":
            layouts.write(root / label / f"{'é' * 120}{end}(symlink).wav", layouts.tone(200))
    tracks = Remixpacks.find_tracks(root)
    assert len({track.name for track in tracks}) == 6 and all(len(track.name.encode()) < 220 for track in tracks)
    assert len(prepare(tracks, tmp_path / "store", progress=False).tracks) == 6


# Splits


def test_the_author_split_equals_that_of_the_authors_script(label_folders):
    tracks = Remixpacks.find_tracks(label_folders, sources="all", split_scheme="author")
    expected = [f"{label}/Pack {number:02d}" for label, numbers in AUTHORS_TEST.items() for number in numbers]
    assert sorted(names_in(tracks, "test")) == sorted(expected)
    three = Remixpacks.find_tracks(label_folders, split_scheme="author")
    assert len(names_in(three, "test")) == 3 + 4 + 2 and len(names_in(three, "train")) == 20 + 27 + 8


def test_no_song_is_in_two_splits_and_every_label_is_in_each(folder):
    tracks = Remixpacks.find_tracks(folder)
    where = {}
    for track in tracks:
        where.setdefault(track.name.split("/")[1].split(" stems")[0], set()).add(track.split)
    assert len(where) == 5 and all(len(splits) == 1 for splits in where.values())
    for split in ("train", "valid", "test"):
        assert set(counts(track for track in tracks if track.split == split)) == set(Remixpacks.LABELS)


def test_songs_are_found_from_link_targets_else_from_names(folder):
    # Two packs of an artist are two songs if links tell them apart, and one song if only names do.
    for label in ("Kick_Drum", "Snare"):
        link = folder / PURE / label / f"Aurora Lights – South (Stems) {label}(symlink).wav"
        link.symlink_to(folder / "original_files" / "Aurora Lights – South (Stems)" / "gone.wav")
    tracks = Remixpacks.find_tracks(folder)
    assert len(set(songs_of(tracks, "original_files").values())) == 6
    copy = folder.parent / "copy" / "fine_16k" / "Pure"
    for track in tracks:
        label = next(iter(track.stems))
        touch(copy, f"{label}/{track.name.split('/')[1]}.wav")
    songs = songs_of(Remixpacks.find_tracks(copy), "original_files")
    assert sorted(set(songs.values())) == ["aurora lights", "béla ünal", "dj zorro", "kite runner", "umbrella"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Artist Name - Some Song Kick 1", ("artist", "name")),
        ("02 Snare_Umbrella_120bpm", ("umbrella",)),
        ("Béla–Ünal (Multitrack)", ("béla", "ünal")),
        ("Song 2 drums", ("song",)),
        ("kick 01", ()),
    ],
)
def test_a_song_is_known_by_the_first_two_words_that_are_not_file_words(name, words):
    assert song_words(name) == words


def test_a_one_word_name_joins_longer_names_that_begin_with_it(tmp_path):
    touch(tmp_path, "Kick/umbrella kick.wav", "Snare/umbrella wet snare.wav", "Cymbals/umbria ride.wav")
    songs = songs_of(Remixpacks.find_tracks(tmp_path), "original_files")
    assert [songs[name] for name in sorted(songs)] == ["umbria", "umbrella", "umbrella"]


def test_each_label_is_split_nine_to_one_whatever_the_order(tmp_path):
    names = [f"{label}/Artist{n:03d} Song {label} {take}.wav" for n in range(60) for take in "ab"
             for label in ("Kick", "Snare", "Cymbals")[: 1 + n % 3]]  # fmt: skip
    tracks = Remixpacks.find_tracks(touch(tmp_path, *names))
    songs = songs_of(tracks, "original_files")
    assert len(set(songs.values())) == 60
    splits = {(songs[track.name], track.split) for track in tracks}
    assert len(splits) == 60
    total, test = counts(tracks), counts(track for track in tracks if track.split == "test")
    assert all(0.1 <= test[label] / total[label] <= 0.12 for label in total)
    assert split_by_song(tracks[::-1], songs) == tracks[::-1]
    assert split_by_song(tracks, songs, seed=1) != tracks


def test_a_label_of_one_song_stays_in_training_and_its_absence_from_the_test_is_logged(tmp_path, caplog):
    touch(tmp_path, *(f"{label}/Artist{n} Song.wav" for n in range(9) for label in ("Kick", "Snare")))
    touch(tmp_path, "Ride/Artist0 Song.wav")
    tracks = Remixpacks.find_tracks(tmp_path)
    assert {track.split for track in tracks if "cymbals" in track.stems} == {"train"}
    assert names_in(tracks, "valid") == []
    assert "too few songs: none with cymbals is left for the test" in caplog.text


def test_a_regular_expression_can_find_the_song(tmp_path, caplog):
    touch(tmp_path, *(f"{label}/{label} 12 - {song}.wav" for label in ("Kick", "Snare", "Ride") for song in "xyz"))
    tracks = Remixpacks.find_tracks(tmp_path, song=r" - (\w)$")
    assert all(len({track.split for track in tracks if track.name.endswith(song)}) == 1 for song in "xyz")
    caplog.clear()
    Remixpacks.find_tracks(tmp_path, song="12 - [xy]")
    assert "the names of 3 of 9 files do not contain a song" in caplog.text
    with pytest.raises(ConfigError, match=r"song is '\(', which is no regular expression"):
        Remixpacks.find_tracks(tmp_path, song="(")


def test_a_split_on_disk_is_kept_and_shared_songs_are_logged(label_folders, caplog):
    for label in ("Cymbals", "Kick", "Snare"):
        touch(
            label_folders / "fine_16k", *(f"{split}/{label}/Umbrella {n}.wav" for split, n in (("train", 1), ("test", 2)))
        )
        touch(label_folders / "fine_16k", f"train/{label}/Other song.wav")
    for scheme in ("song", "author"):
        tracks = Remixpacks.find_tracks(label_folders / "fine_16k", split_scheme=scheme)
        assert Counter(track.split for track in tracks) == {"train": 6, "test": 3}
        assert "1 songs are in more than one split, such as umbrella" in caplog.text
        assert names_in(tracks, "test")[0] == "test/cymbals/Umbrella 2"


def test_an_unknown_split_scheme_is_an_error(folder):
    with pytest.raises(ConfigError, match="split_scheme is 'random'. Choose one of 'song', 'author'"):
        Remixpacks.find_tracks(folder, split_scheme="random")


# What comes after


def test_its_store_gives_incoherent_mixtures_of_all_three_labels(folder, tmp_path):
    store = prepare(Remixpacks.find_tracks(folder), tmp_path / "store", dataset="Remixpacks", progress=False)
    assert store.labels == Remixpacks.LABELS and len(store.tracks) == 15
    for split in ("train", "valid", "test"):
        item = Mixtures(store.select(split=split), MixtureConfig(0.5, coherent=0.0), 4)[3]
        assert item["source_audio"].shape == (1, 8000, 3)
        assert (item["source_audio"].abs().amax(dim=(0, 1)) > 0).all()
    with pytest.raises(DataError, match="has no track with all of cymbals, kick_drum, snare"):
        Mixtures(store, MixtureConfig(0.5, coherent=1.0), 1)


def test_links_into_moved_packs_are_reported_as_broken(folder, tmp_path):
    shutil.move(folder / "original_files", tmp_path / "elsewhere")
    errors = [finding for finding in check(Remixpacks.find_tracks(folder), progress=False).findings]
    assert sum("is a broken link to" in str(finding) for finding in errors) == 15
