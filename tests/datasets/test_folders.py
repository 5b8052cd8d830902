"""Walking folders and sorting files by folder: links, hidden files, own outputs, other formats, names with a meaning."""

import os

import layouts
import numpy as np
import pytest

from nussl_transfer.datasets.folders import find_audio, own_kind, scan
from nussl_transfer.datasets.labels import IgnorePatterns
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.stem_folder import StemFolder
from nussl_transfer.errors import DataError


@pytest.fixture
def folder(tmp_path):
    return layouts.track_major(tmp_path / "set", ("a", "b"), ("bass", "drums"), mixture=None, seconds=0.05)


def labels(folder, **options):
    return {track.name: list(track.stems) for track in open_tracks(folder, StemOptions(**options))[1]}


def wav(path):
    layouts.write(path, layouts.tone(220, 0.05))


BOTH = {"a": ["bass", "drums"], "b": ["bass", "drums"]}


# What this program wrote


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"run/config.yml": "{}", "run/checkpoints/best.model.pth": "", "run/store/x/bass.wav": None}, "a training run"),
        ({"store/manifest.json": '{"format": 1, "sample_rate": 8000}', "store/x/bass.wav": None}, "a store"),
        ({"run/store/.parts/x.json": "{}", "run/store/x/bass.wav": None}, "a store"),
    ],
)
def test_stores_and_runs_are_skipped_and_named(folder, files, kind, caplog):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        wav(path) if text is None else path.write_text(text)
    assert labels(folder) == BOTH
    assert f"is {kind} of this program, skipped" in caplog.text


def test_separated_stems_are_skipped_and_other_files_beside_them_are_not(folder, caplog):
    (folder / "c").mkdir()
    (folder / "c" / ".separated.json").write_text('{"files": ["bass.wav", "drums.wav", "voice.wav"]}')
    for name in ("bass.wav", "drums.wav"):
        wav(folder / "c" / name)
    assert labels(folder) == BOTH
    assert "c holds separated stems of this program, skipped" in caplog.text
    assert own_kind(folder / "c") == "separated stems"
    wav(folder / "c" / "voice 2.wav")
    assert own_kind(folder / "c") == ""
    assert [str(file) for file in scan(folder).files if file.parts[0] == "c"] == ["c/voice 2.wav"]
    (folder / "c" / ".separated.json").write_text("[")
    assert len([file for file in scan(folder).files if file.parts[0] == "c"]) == 3


def test_the_folder_of_a_run_is_an_error(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.yml").write_text("{}")
    assert own_kind(tmp_path / "run") == "a training run"
    with pytest.raises(DataError, match="holds a training run written by this program, not stems to read"):
        open_tracks(tmp_path / "run")


def test_a_config_file_alone_does_not_make_a_run(folder):
    (folder / "a" / "config.yml").write_text("{}")
    assert labels(folder) == BOTH


# Audio that is skipped


def test_unreadable_kinds_and_hidden_audio_are_counted_and_named(folder, caplog):
    for track in "ab":
        (folder / track / "vocals.m4a").write_bytes(b"")
    wav(folder / "a" / ".keys.wav")
    wav(folder / ".c" / "bass.wav")
    (folder / "a" / "._bass.wav").write_bytes(b"what Finder writes")
    (folder / "a" / "score.mid").write_bytes(b"")
    assert labels(folder) == BOTH
    assert "skipped 2 audio files in formats that cannot be read: a/vocals.m4a, b/vocals.m4a" in caplog.text
    assert "2 hidden, skipped: .c, a/.keys.wav" in caplog.text
    assert "._bass" not in caplog.text and "score" not in caplog.text


def test_a_folder_of_unreadable_kinds_is_an_error_that_says_so(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "vocals.m4a").write_bytes(b"")
    with pytest.raises(DataError, match="holds no audio file.*1 audio file in formats that cannot be read.*a/vocals.m4a"):
        open_tracks(tmp_path)


def test_every_kind_that_libsndfile_reads_is_found(tmp_path):
    audio = layouts.tone(220, 0.05)
    for suffix, kind in ((".caf", "CAF"), (".w64", "W64"), (".au", "AU"), (".oga", "OGG")):
        import soundfile

        soundfile.write(tmp_path / f"x{suffix}", audio, 44100, format=kind)
    assert {file.suffix for file in find_audio(tmp_path)} == {".caf", ".w64", ".au", ".oga"}


# Links


def test_linked_folders_are_followed_and_loops_end(folder, tmp_path):
    (tmp_path / "linked").mkdir()
    for track in "ab":
        os.symlink(folder / track, tmp_path / "linked" / track)
    os.symlink("..", folder / "a" / "loop")
    assert labels(tmp_path / "linked") == BOTH


def test_a_link_to_itself_does_not_break_the_message_on_a_mistyped_folder(tmp_path):
    os.symlink("self", tmp_path / "self")
    with pytest.raises(DataError, match="typo: there is no such folder. Check the spelling"):
        scan(tmp_path / "typo")
    with pytest.raises(DataError, match="self is a link to self, which leads nowhere"):
        scan(tmp_path / "self")


def test_a_name_too_long_for_the_file_system_is_a_clear_error(tmp_path):
    with pytest.raises(DataError, match="cannot be opened: File name too long. Check the name"):
        scan(tmp_path / ("x" * 300))


# Ignoring


def test_an_ignore_pattern_is_compared_literally_first(folder):
    for track in "ab":
        wav(folder / track / "guitar [di].wav")
    assert labels(folder, ignore=["guitar [di]"]) == BOTH
    assert labels(folder, ignore=["guitar*"]) == BOTH


def test_an_ignore_pattern_that_fits_nothing_is_logged_with_the_nearest_label(folder, caplog):
    assert labels(folder, ignore=["drumz", "bass"]) == {"a": ["drums"], "b": ["drums"]}
    assert "ignore: 'drumz' fits no label, file, folder or track. Did you mean drums?" in caplog.text
    assert "'bass' fits no" not in caplog.text


def test_patterns_remember_which_of_them_fitted():
    patterns = IgnorePatterns.of(["a*", "b"])
    assert patterns.fits("Abba") and not patterns.fits("c") and patterns.unused() == ["b"]
    assert not IgnorePatterns.of(["-"]).fits("bass"), "a pattern of punctuation alone must not fit every name"


# Names with a meaning


def test_vocals_and_accompaniment_are_stems_if_there_are_no_others(tmp_path):
    folder = layouts.track_major(tmp_path / "x", ("a", "b"), ("vocals", "accompaniment"), seconds=0.05)
    assert labels(folder) == dict.fromkeys("ab", ["accompaniment", "vocals"])
    for track in "ab":
        wav(folder / track / "drums.wav")
    assert labels(folder) == dict.fromkeys("ab", ["drums", "vocals"]), "beside two stems it is a sum of stems"
    folder = layouts.stem_major(tmp_path / "y", ("one", "two"), ("vocals", "instrumental"))
    assert labels(folder) == dict.fromkeys(("one", "two"), ["instrumental", "vocals"])


def test_a_song_called_test_beside_other_songs_is_not_a_split(folder):
    wav(folder / "Test" / "bass.wav")
    wav(folder / "Test" / "drums.wav")
    assert labels(folder) == {**BOTH, "Test": ["bass", "drums"]}


def test_a_name_without_letters_or_digits_is_an_error(folder):
    wav(folder / "a" / "---.wav")
    with pytest.raises(DataError, match="---.wav has a name without letters or digits.*Rename it, or ignore it"):
        open_tracks(folder)
    assert labels(folder, ignore=["---.wav"]) == BOTH


# Several folders


def test_several_folders_are_joined(folder, tmp_path):
    other = layouts.track_major(tmp_path / "other", ("b", "c"), ("bass", "drums"), seconds=0.05)
    name, tracks = open_tracks([folder, other])
    assert (name, [track.name for track in tracks]) == ("StemFolder", ["a", "c", "other/b", "set/b"])
    with pytest.raises(DataError, match="'set/b' is in two of the folders|'set/a' is in two"):
        open_tracks([folder, folder])
    with pytest.raises(DataError, match="No folder of stems was given"):
        open_tracks([])


def test_num_channels_1_takes_the_mean_of_six_or_two_channels(tmp_path):
    rng = np.random.default_rng(0)
    audio = {"a": rng.uniform(-0.5, 0.5, (2000, 6)), "b": rng.uniform(-0.5, 0.5, (2000, 2))}
    for label, samples in audio.items():
        layouts.write(tmp_path / "t" / f"{label}.wav", samples, 8000)
    item = StemFolder(tmp_path, num_channels=1)[0]
    for label, samples in audio.items():
        np.testing.assert_allclose(item["sources"][label].audio_data[0], samples.mean(axis=1), atol=1e-4)
    with pytest.raises(DataError, match="[62] channels.*num_channels=1, which takes the mean"):
        StemFolder(tmp_path)
