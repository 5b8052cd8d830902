"""Folders of stems in every layout and spelling that users have, and the errors for other folders."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import layouts
import numpy as np
import nussl
import pytest

from nussl_transfer.datasets.labels import normalise, without_number
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.stem_folder import StemFolder
from nussl_transfer.datasets.tracks import group_tracks, missing_labels, split_tracks
from nussl_transfer.errors import ConfigError, DataError

CHOIR = {"female": ["soprano", "alto", "cantus"], "male": ["tenor", "bass"]}


def shape(tracks):
    """Return the tracks that were found, as plain values."""
    return {track.name: (track.split, {label: [path.name for path in files] for label, files in
    track.stems.items()})
            for track in tracks}  # fmt: skip


def labels(folder, **options):
    return {track.name: list(track.stems) for track in open_tracks(folder, StemOptions(**options))[1]}


def touch(folder, *names):
    """Write the same short file under each name: scanning reads no audio."""
    first = layouts.write(folder / "first.wav", layouts.tone(440, 0.01))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(first, folder / name)
    first.unlink()
    return folder


# Layouts


def test_a_folder_for_each_track_is_track_major(tmp_path):
    tracks = StemFolder.find_tracks(layouts.track_major(tmp_path))
    stems = {"bass": ["bass.wav"], "drums": ["drums.wav"], "vocals": ["vocals.wav"]}
    assert shape(tracks) == {"Song A": (None, stems), "Song B": (None, stems)}
    assert [track.mixture.name for track in tracks] == ["mixture.wav"] * 2


def test_nussls_layout_with_a_mixture_folder_is_stem_major(tmp_path):
    tracks = StemFolder.find_tracks(layouts.stem_major(tmp_path))
    stems = {"bass": ["one.wav"], "drums": ["one.wav"], "vocals": ["one.wav"]}
    assert shape(tracks)["one"] == (None, stems)
    assert [track.mixture for track in tracks] == [tmp_path / "mix" / "one.wav", tmp_path / "mix" / "two.wav"]


def test_folders_named_after_instruments_are_stem_major(tmp_path):
    touch(tmp_path, *(f"{stem}/{song}.wav" for stem in ("Violin 1", "cello") for song in ("x", "y", "z")))
    assert labels(tmp_path) == dict.fromkeys("xyz", ["cello", "violin_1"])


def test_unrelated_file_names_are_a_pool_of_one_stem_tracks(tmp_path):
    tracks = StemFolder.find_tracks(layouts.pool(tmp_path))
    assert len(tracks) == 9 and all(len(track.stems) == 1 for track in tracks)
    assert tracks[0].name == "bass/Pack B0 (Bass take)(symlink)"
    assert missing_labels(tracks) == {}


def test_the_stems_of_one_track_may_lie_in_the_folder_itself(tmp_path):
    folder = touch(tmp_path / "My song", "violin.wav", "cello.WAV")
    assert shape(StemFolder.find_tracks(folder)) == {"My song": (None, {"cello": ["cello.WAV"], "violin": ["violin.wav"]})}


def test_repetition_of_unknown_names_decides_the_layout(tmp_path):
    touch(tmp_path / "a", *(f"{song}/{stem}.wav" for song in "klmnop" for stem in ("foo", "bar")))
    assert labels(tmp_path / "a") == dict.fromkeys("klmnop", ["bar", "foo"])
    touch(tmp_path / "b", *(f"{stem}/{song}.wav" for song in "klmnop" for stem in ("foo", "bar")))
    assert labels(tmp_path / "b") == dict.fromkeys("klmnop", ["bar", "foo"])


def test_an_ambiguous_layout_is_an_error_that_the_option_layout_resolves(tmp_path):
    touch(tmp_path, "foo/x.wav", "foo/y.wav", "bar/x.wav", "bar/y.wav")
    with pytest.raises(DataError, match="folders such as bar, foo with files such as x, y: it is not clear.*layout="):
        open_tracks(tmp_path)
    assert labels(tmp_path, options={"layout": "track-major"}) == {"bar": ["x", "y"], "foo": ["x", "y"]}
    assert labels(tmp_path, options={"layout": "stem-major"}) == {"x": ["bar", "foo"], "y": ["bar", "foo"]}
    assert len(labels(tmp_path, options={"layout": "pool"})) == 4
    assert labels(tmp_path, groups={"p": ["foo"], "q": ["bar"]}) == {"x": ["p", "q"], "y": ["p", "q"]}
    with pytest.raises(ConfigError, match="layout is 'sideways'. Choose one of 'track-major', 'stem-major', 'pool'"):
        open_tracks(tmp_path, StemOptions(options={"layout": "sideways"}))


def test_files_named_after_their_folder_are_not_a_pool(tmp_path):
    touch(tmp_path, *(f"{song}/{song}_{take}.wav" for song in ("ab", "cd") for take in "pqrstu"))
    with pytest.raises(DataError, match="it is not clear"):
        open_tracks(tmp_path)


# Splits and levels


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "valid", "test"), ("train", "valid", "test")),
        (("tr", "cv", "tt"), ("train", "valid", "test")),
        (("Train", "validation", "eval"), ("train", "valid", "test")),
        (("train", "val", "dev"), ("train", "valid", "valid")),
    ],
)
def test_every_common_name_of_a_split_is_known(tmp_path, names, splits):
    touch(tmp_path, *(f"{name}/Song {name}/{stem}.wav" for name in names for stem in ("bass", "vocals")))
    found = {track.name: track.split for track in StemFolder.find_tracks(tmp_path)}
    assert found == {f"{name}/Song {name}": split for name, split in zip(names, splits, strict=True)}
    touch(tmp_path / "b", *(f"{name}/{stem}/song.wav" for name in names for stem in ("bass", "vocals")))
    found = {track.name: track.split for track in StemFolder.find_tracks(tmp_path / "b")}
    assert found == {f"{name}/song": split for name, split in zip(names, splits, strict=True)}


def test_audio_beside_the_splits_is_an_error_unless_ignored(tmp_path):
    touch(tmp_path, "train/A/bass.wav", "train/A/vocals.wav", "omitted/B/bass.wav", "omitted/B/vocals.wav")
    with pytest.raises(DataError, match="has the splits train, and audio beside them: omitted. Move that away"):
        StemFolder.find_tracks(tmp_path)
    assert labels(tmp_path, ignore=["omitted"]) == {"train/A": ["bass", "vocals"]}


def test_audio_directly_in_a_split_is_an_error(tmp_path):
    touch(tmp_path, "train/bass.wav", "train/vocals.wav")
    with pytest.raises(
        DataError,
        match="holds audio directly .*expected a folder for each track, train/<track>/<stem>.wav. Make these folders",
    ):
        StemFolder.find_tracks(tmp_path)


def test_tracks_without_splits_are_split_whole_by_seed(tmp_path):
    tracks = StemFolder.find_tracks(layouts.track_major(tmp_path, tuple(f"Song {n}" for n in range(10)), seconds=0.01))
    drawn = {track.name: track.split for track in split_tracks(tracks, seed=3)}
    assert sorted(drawn.values()) == ["test"] + ["train"] * 8 + ["valid"]
    assert drawn == {track.name: track.split for track in split_tracks(tracks[::-1], seed=3)}
    assert drawn != {track.name: track.split for track in split_tracks(tracks, seed=4)}
    parts = [{track.name for track in StemFolder(tmp_path, split=split).items} for split in ("train", "valid", "test")]
    assert set.union(*parts) == set(drawn) and sum(map(len, parts)) == 10


def test_an_absent_split_is_an_error(tmp_path):
    layouts.track_major(tmp_path, ("train/Song A", "test/Song B"))
    with pytest.raises(DataError, match="Split 'valid' has no track. The 2 tracks are: test 1, train 1"):
        StemFolder(tmp_path, split="valid")


def test_an_extra_folder_level_from_unpacking_is_skipped(tmp_path):
    layouts.track_major(tmp_path / "download" / "set", ("train/Song A", "test/Song B"))
    assert [track.name for track in StemFolder.find_tracks(tmp_path)] == ["test/Song B", "train/Song A"]


def test_a_folder_far_above_the_tracks_is_an_error(tmp_path):
    touch(tmp_path, "x/y/z/A/bass.wav", "x/y/z/A/vocals.wav", "x/w/B/bass.wav", "x/w/B/vocals.wav")
    with pytest.raises(DataError, match="lie at different depths. Give the folder whose folders are the tracks"):
        StemFolder.find_tracks(tmp_path)


def test_audio_below_a_track_is_left_out_of_it(tmp_path):
    touch(tmp_path, "A/bass.wav", "A/vocals.wav", "A/band/residuals.wav", "A/band/takes.wav")
    (track,) = StemFolder.find_tracks(tmp_path)
    assert list(track.stems) == ["bass", "vocals"]
    assert [path.name for path in track.left_out] == ["residuals.wav", "takes.wav"]


# Names


def test_mixtures_and_sums_of_stems_are_not_stems(tmp_path):
    touch(tmp_path, *(f"A/{name}.wav" for name in ("vocals", "drums", "Mixture", "linear_mixture", "accompaniment",
                                                    "residuals", "instrumental")))  # fmt: skip
    (track,) = StemFolder.find_tracks(tmp_path)
    assert list(track.stems) == ["drums", "vocals"]
    assert track.mixture.name == "Mixture.wav"
    assert len(track.left_out) == 4


def test_a_group_can_name_a_reserved_label(tmp_path):
    touch(tmp_path, "A/vocals.wav", "A/instrumental.wav")
    assert labels(tmp_path, groups={"voice": "vocals", "band": "instrumental"}) == {"A": ["band", "voice"]}


def test_extensions_are_found_in_any_case(tmp_path):
    names = ["a.WAV", "b.Flac", "c.ogg", "d.MP3", "e.aiff", "f.AIF"]
    touch(tmp_path, *(f"Song/{name}" for name in names))
    for name in ("._a.wav", "Thumbs.db", "notes.json", "a.wav.npy", "meta.yaml", ".hidden.wav"):
        (tmp_path / "Song" / name).write_bytes(b"x")
    assert labels(tmp_path) == {"Song": list("abcdef")}


def test_case_spaces_and_hyphens_do_not_distinguish_labels():
    assert normalise("Soprano ") == normalise("SOPRANO") == "soprano"
    assert normalise("Lead  Vocal") == normalise("lead_vocal") == normalise("Lead-Vocal") == "lead_vocal"
    assert normalise("e\u0301te\u0301") == normalise("\u00e9t\u00e9")


@pytest.mark.parametrize(
    ("label", "plain"),
    [
        ("tenor_ii", "tenor"),
        ("tenor_2", "tenor"),
        ("tenor2", "tenor"),
        ("s1", "s"),
        ("viola", "viola"),
        ("xi", "xi"),
        ("mix", "mix"),
        ("12", "12"),
        ("horn_viii", "horn"),
    ],  # fmt: skip
)
def test_only_a_real_trailing_number_is_removed(label, plain):
    assert without_number(label) == plain


def test_two_files_for_one_stem_are_an_error(tmp_path):
    touch(tmp_path, "A/bass.wav", "A/Bass.flac", "A/drums.wav")
    with pytest.raises(DataError, match="two files for stem 'bass', .*Bass.flac and .*bass.wav"):
        StemFolder.find_tracks(tmp_path)


# Groups, ignoring, what is missing


def choir(folder):
    return touch(
        folder,
        *(f"Psalm/{name}.wav" for name in ("CANTUS", "ALTO", "TENOR I", "TENOR II", "BASS")),
        *(f"Hymn/{name}.wav" for name in ("Soprano ", "Alto", "Tenor", "Bass", "Organ")),
    )


def test_a_choir_with_unusual_names_becomes_two_groups_without_its_organ(tmp_path, caplog):
    found = shape(open_tracks(choir(tmp_path), StemOptions(groups=CHOIR))[1])
    assert found["Psalm"][1] == {"female": ["ALTO.wav", "CANTUS.wav"], "male": ["BASS.wav", "TENOR I.wav", "TENOR II.wav"]}
    assert found["Hymn"][1] == {"female": ["Alto.wav", "Soprano .wav"], "male": ["Bass.wav", "Tenor.wav"]}
    assert "left out, in no group: organ (1 of 2 tracks)" in caplog.text
    (hymn, _) = open_tracks(tmp_path, StemOptions(groups=CHOIR))[1]
    assert [path.name for path in hymn.left_out] == ["Organ.wav"]


def test_a_group_with_the_numbered_name_takes_precedence_over_the_plain_name(tmp_path):
    groups = {"first": ["tenor I"], "rest": ["tenor", "alto", "bass", "soprano", "cantus"]}
    tracks = {track.name: track for track in StemFolder.find_tracks(choir(tmp_path), groups=groups, ignore="Hymn")}
    assert [path.name for path in tracks["Psalm"].stems["first"]] == ["TENOR I.wav"]
    assert "TENOR II.wav" in [path.name for path in tracks["Psalm"].stems["rest"]]


def test_an_empty_group_is_an_error_with_the_nearest_name(tmp_path):
    with pytest.raises(DataError, match="Group 'x' is empty: no track has a stem sopranno. .*Did you mean"):
        open_tracks(choir(tmp_path), StemOptions(groups={"x": ["sopranno"], "male": ["tenor"]}))


def test_an_absent_member_of_a_group_is_logged(tmp_path, caplog):
    open_tracks(choir(tmp_path), StemOptions(groups={**CHOIR, "male": ["tenor", "bass", "bariton"]}))
    assert "no track has the stem 'bariton' of group 'male'" in caplog.text


def test_a_stem_in_two_groups_or_a_group_without_stems_is_an_error(tmp_path):
    with pytest.raises(DataError, match="'alto' is in two groups"):
        group_tracks(StemFolder.find_tracks(choir(tmp_path)), {"a": ["alto"], "b": ["Alto "]})
    with pytest.raises(DataError, match="Group 'a' has no stem"):
        group_tracks(StemFolder.find_tracks(tmp_path), {"a": []})


def test_labels_files_and_tracks_can_be_ignored(tmp_path):
    touch(tmp_path, *(f"{name}.wav" for name in ("A/bass", "A/vocals", "A/bass_old", "B/bass", "B/vocals", "B/organ")))
    assert labels(tmp_path, ignore=["ORGAN", "*_old.wav"]) == dict.fromkeys("AB", ["bass", "vocals"])
    assert list(labels(tmp_path, ignore=["a"])) == ["B"]
    with pytest.raises(DataError, match="no audio file"):
        open_tracks(tmp_path, StemOptions(ignore=["*"]))


def test_an_incomplete_track_is_an_error_unless_skipped(tmp_path):
    layouts.track_major(tmp_path, ("A", "B", "C"), seconds=0.05)
    (tmp_path / "B" / "drums.wav").unlink()
    assert missing_labels(StemFolder.find_tracks(tmp_path)) == {"B": ("drums",)}
    with pytest.raises(DataError, match=r"drums \(2 of 3 tracks\):\n  B lacks drums\nAdd the stems.*missing='skip'"):
        StemFolder(tmp_path)
    assert [track.name for track in StemFolder(tmp_path, missing="skip").items] == ["A", "C"]
    with pytest.raises(ConfigError, match="missing is 'no'"):
        StemFolder(tmp_path, missing="no")


# Unusual files and folders


def test_a_loop_of_links_is_walked_once(tmp_path):
    layouts.track_major(tmp_path / "set")
    (tmp_path / "set" / "Song A" / "loop").symlink_to(tmp_path / "set")
    assert [track.name for track in StemFolder.find_tracks(tmp_path / "set")] == ["Song A", "Song B"]


def test_linked_folders_and_files_are_followed(tmp_path):
    layouts.track_major(tmp_path / "elsewhere", ("Song A",))
    (tmp_path / "set" / "train").mkdir(parents=True)
    (tmp_path / "set" / "train" / "Song A").symlink_to(tmp_path / "elsewhere" / "Song A")
    assert labels(tmp_path / "set") == {"train/Song A": ["bass", "drums", "vocals"]}


def test_a_broken_link_to_audio_stays_in_its_track(tmp_path):
    touch(tmp_path, "A/bass.wav")
    (tmp_path / "A" / "vocals.wav").symlink_to(tmp_path / "gone.wav")
    assert labels(tmp_path) == {"A": ["bass", "vocals"]}


def test_an_unlistable_folder_is_an_error_that_names_it(tmp_path, monkeypatch):
    touch(tmp_path, "A/bass.wav", "B/bass.wav")
    real = os.scandir

    def refuse(path):
        if Path(path).name == "B":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="B cannot be listed: Permission denied"):
        StemFolder.find_tracks(tmp_path)


def test_a_wrong_folder_is_an_error_that_says_what_it_holds_and_what_to_do(tmp_path):
    with pytest.raises(DataError, match="there is no such folder.*exists"):
        open_tracks(tmp_path / "typo")
    with pytest.raises(DataError, match="Found nothing at all"):
        open_tracks(tmp_path)
    (tmp_path / "set.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"Found 1 other files \(1 .zip\) in set.zip"):
        open_tracks(tmp_path)
    with pytest.raises(DataError, match="is a file. Give the folder that holds the stems"):
        open_tracks(tmp_path / "set.zip")
    touch(tmp_path / "m", "A/mixture.wav")
    with pytest.raises(DataError, match="holds only mixtures"):
        open_tracks(tmp_path / "m")
    touch(tmp_path / "flat", *(f"{number}.wav" for number in range(70)))
    with pytest.raises(DataError, match="has 70 audio files"):
        open_tracks(tmp_path / "flat")
    touch(tmp_path / "stray", "A/bass.wav", "A/drums.wav", "song.wav")
    with pytest.raises(DataError, match=r"has folders of audio \(A\), and audio beside them: song.wav"):
        open_tracks(tmp_path / "stray")


def test_a_store_given_as_a_data_set_is_an_error(tmp_path):
    touch(tmp_path, "A/bass.wav")
    (tmp_path / "manifest.json").write_text('{"format": 1, "sample_rate": 16000}')
    with pytest.raises(DataError, match="is a store already"):
        open_tracks(tmp_path)


def test_an_unknown_data_set_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="Data set 'medley' is unknown. Choose one of Bach10, .*StemFolder"):
        open_tracks(tmp_path, StemOptions(dataset="medley"))


# As nussl's hook


def test_items_equal_those_of_nussls_own_hook_on_its_own_layout(tmp_path):
    layouts.stem_major(tmp_path)
    ours, theirs = StemFolder(tmp_path), nussl.datasets.MixSourceFolder(str(tmp_path))
    for mine, reference in zip(ours, theirs, strict=True):
        assert list(mine["sources"]) == reference["metadata"]["labels"]
        for label in mine["sources"]:
            assert np.array_equal(mine["sources"][label].audio_data, reference["sources"][label].audio_data)
        # nussl reads the mixture from a 16-bit file; ours is a sum.
        assert np.allclose(mine["mix"].audio_data, reference["mix"].audio_data, atol=2**-14)


def test_stems_of_slightly_different_length_get_zeros_at_their_tail(tmp_path):
    layouts.track_major(tmp_path, ("A",), ("bass",), mixture=None)
    layouts.write(tmp_path / "A" / "vocals.wav", layouts.tone(440, 0.995))
    item = StemFolder(tmp_path)[0]
    assert {signal.signal_length for signal in (item["mix"], *item["sources"].values())} == {44100}
    assert not item["sources"]["vocals"].audio_data[:, -220:].any()


def test_stems_of_very_different_length_are_an_error(tmp_path):
    layouts.track_major(tmp_path, ("A",), ("bass",), mixture=None)
    layouts.write(tmp_path / "A" / "vocals.wav", layouts.tone(440, 0.5))
    with pytest.raises(DataError, match="Track 'A': Stems of one track must be equally long to within 1%: found .*22050"):
        StemFolder(tmp_path)
    assert StemFolder(tmp_path, length_tolerance=0.6)[0]["mix"].signal_length == 44100


def test_mono_beside_stereo_is_played_on_both_channels(tmp_path):
    left = layouts.tone(440)
    layouts.write(tmp_path / "A" / "vocals.wav", np.stack([left, 0 * left], axis=1))
    layouts.write(tmp_path / "A" / "bass.wav", layouts.tone(110))
    item = StemFolder(tmp_path)[0]
    bass, vocals = (item["sources"][label].audio_data for label in ("bass", "vocals"))
    assert np.array_equal(bass[0], bass[1]) and not vocals[1].any()
    assert np.allclose(item["mix"].audio_data, bass + vocals, atol=1e-7)
    assert StemFolder(tmp_path, num_channels=1)[0]["mix"].num_channels == 1


def test_nussls_options_decide_whether_another_rate_is_an_error_or_resampled(tmp_path):
    layouts.track_major(tmp_path, ("A",), ("bass",), mixture=None, rate=22050)
    layouts.write(tmp_path / "A" / "vocals.wav", layouts.tone(440, rate=44100))
    with pytest.raises(nussl.datasets.base_dataset.DataSetException, match="same sample rate"):
        StemFolder(tmp_path)
    item = StemFolder(tmp_path, sample_rate=16000, strict_sample_rate=False)[0]
    assert {signal.sample_rate for signal in (item["mix"], *item["sources"].values())} == {16000}
    middle = slice(4000, 12000)
    expected = layouts.tone(440, rate=16000)[middle]
    assert np.allclose(item["sources"]["vocals"].audio_data[0, middle], expected, atol=1e-3)


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".mp3", ".aiff"])
def test_every_format_is_read(tmp_path, suffix):
    layouts.track_major(tmp_path, ("A",), ("bass", "vocals"), mixture=None, suffix=suffix)
    vocals = StemFolder(tmp_path)[0]["sources"]["vocals"].audio_data[0]
    expected = layouts.stem_audio("vocals")
    # A codec may delay the audio and change its spectrum; energy and pitch stay.
    assert abs(np.std(vocals) / np.std(expected) - 1) < 0.05
    assert abs(np.argmax(np.abs(np.fft.rfft(vocals, 44100))) - 440) <= 1
