"""Dagstuhl ChoirSet: which of its 1657 files make a source, and which takes must not be on both sides of a split."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from pathlib import Path

import layouts
import numpy as np
import pytest

from nussl_transfer.datasets.choirset import DagstuhlChoirSet
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.tracks import labels_of, missing_labels
from nussl_transfer.datasets.validation.check import check
from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.store.prepare import prepare

AUDIO = "audio_wav_22050_mono"
# The hash of the sorted names of all audio in version 1.2.3, as mirdata 0.3.8 indexes them.
REAL_NAMES = "4d2befb0a48bc451c2e45544bdd96eb99dffb35b3be0603e98f74fdb8b7963ca"


@pytest.fixture
def folder(tmp_path):
    return layouts.choirset(tmp_path)


@pytest.fixture(scope="module")
def all_names(tmp_path_factory):
    """Every audio file of the real data set, by name only: finding tracks reads no audio."""
    root = tmp_path_factory.mktemp("all") / "DagstuhlChoirSet_V1.2.3" / AUDIO
    root.mkdir(parents=True)
    for take in layouts.ALL_CHOIRSET_TAKES:
        for singer, microphone in layouts.microphones(take):
            (root / f"DCS_{take}_{singer}_{microphone}.wav").touch()
    return root.parent


def singers(tracks, split):
    paths = [path for track in tracks if track.split == split for files in track.stems.values() for path in files]
    return {path.stem.split("_")[4] for path in paths}


def test_every_file_name_of_the_real_data_set_is_parsed(all_names):
    names = sorted(path.name for path in all_names.rglob("*.wav"))
    assert hashlib.sha256("\n".join(names).encode()).hexdigest() == REAL_NAMES
    known = [path for track in DagstuhlChoirSet.find_tracks(all_names, exercises=True) for path in track.left_out]
    used = [path for track in DagstuhlChoirSet.find_tracks(all_names, exercises=True)
            for files in track.stems.values() for path in files]  # fmt: skip
    others = [name for name in names if "_Basses_" in name or "_Solo" in name]
    assert len(names) == 1657 == len(known) + len(used) + len(others)
    assert DagstuhlChoirSet.recognises(all_names)


def test_there_are_23_takes_of_songs_and_83_with_the_exercises(all_names):
    tracks = DagstuhlChoirSet.find_tracks(all_names)
    assert Counter(track.name.rsplit("_", 1)[0] for track in tracks) == {
        "LI_FullChoir": 3, "LI_QuartetA": 7, "LI_QuartetB": 6, "TP_FullChoir": 5, "TP_QuartetA": 2
    }  # fmt: skip
    for microphone in ("DYN", "LRX"):
        assert len(DagstuhlChoirSet.find_tracks(all_names, microphone=microphone)) == 23
        assert len(DagstuhlChoirSet.find_tracks(all_names, microphone=microphone, exercises=True)) == 83


def test_each_voice_has_one_dynamic_microphone_and_in_the_full_choir_two_larynx_microphones(all_names):
    for track in DagstuhlChoirSet.find_tracks(all_names, exercises=True):
        assert {label: "".join(path.stem.split("_")[4][0] for path in files) for label, files in track.stems.items()} == {
            "female": "AS", "male": "BT"
        }  # fmt: skip
    voices = DagstuhlChoirSet.find_tracks(all_names, exercises=True, sources="voices")
    assert {tuple(map(len, track.stems.values())) for track in voices} == {(1, 1, 1, 1)}
    assert labels_of(voices) == ("alto", "bass", "soprano", "tenor")
    larynx = DagstuhlChoirSet.find_tracks(all_names, sources="voices", microphone="LRX")
    assert Counter(tuple(map(len, track.stems.values())) for track in larynx) == {(2, 2, 2, 2): 8, (1, 1, 1, 1): 15}


def test_takes_of_one_song_are_the_same_music(folder):
    tracks = DagstuhlChoirSet.find_tracks(folder, exercises=True)
    assert {track.name[:2] for track in tracks} > {"SE"}
    assert all(track.origin == track.name[:2] for track in tracks if not track.name.startswith("SE"))
    exercises = {track.name.split("_")[2].rstrip("0123456789"): track.origin for track in tracks if track.name[:2] == "SE"}
    assert exercises == {kind: f"SE_{kind}" for kind in exercises}


def test_no_song_is_in_two_splits(all_names):
    tracks = DagstuhlChoirSet.find_tracks(all_names, exercises=True)
    assert {(track.name[:2], track.split) for track in tracks} == {("LI", "train"), ("SE", "train"), ("TP", "test")}
    assert Counter(track.split for track in DagstuhlChoirSet.find_tracks(all_names)) == {"train": 16, "test": 7}


@pytest.mark.parametrize(("microphone", "counts"), [("DYN", (14, 9)), ("LRX", (6, 9))])
def test_the_quartet_split_has_no_singer_in_two_splits(all_names, microphone, counts):
    tracks = DagstuhlChoirSet.find_tracks(all_names, split_scheme="quartet", microphone=microphone)
    assert tuple(sum(track.split == split for track in tracks) for split in ("train", "test")) == counts
    assert singers(tracks, "train") == {"S1", "A2", "T2", "B2"}
    assert singers(tracks, "test") == {"S2", "A1", "T1", "B1"}


def test_piano_and_room_microphones_are_not_stems(folder):
    take = next(track for track in DagstuhlChoirSet.find_tracks(folder, exercises=True) if "Piano" in track.name)
    used = [path.name for files in take.stems.values() for path in files]
    assert all(name.endswith("_DYN.wav") for name in used) and take.mixture is None
    left = Counter(path.stem.split("_", 4)[4] for path in take.left_out)
    assert {"Piano_SPL", "Piano_SPR", "Stereo_STM", "Stereo_STL", "Stereo_STR", "StereoReverb_STM", "A1_LRX"} <= set(left)


@pytest.mark.parametrize("place", [".", "..", AUDIO])
def test_it_is_found_from_above_and_from_inside(folder, place):
    assert open_tracks(folder / place)[0] == "DagstuhlChoirSet"
    assert [track.name for track in DagstuhlChoirSet.find_tracks(folder / place)] == list(layouts.CHOIRSET_TAKES)


def test_it_is_found_without_its_top_folder(tmp_path):
    layouts.choirset(tmp_path, top="")
    assert [track.name for track in open_tracks(tmp_path)[1]] == list(layouts.CHOIRSET_TAKES)


def test_sources_sum_two_singers_and_short_stems_are_padded_with_silence(folder):
    hook = DagstuhlChoirSet(folder, split="train")
    item = hook[[track.name for track in hook.items].index("LI_QuartetA_Take01")]
    male = item["sources"]["male"].audio_data[0]
    parts = DagstuhlChoirSet(folder, sources="voices")
    voices = parts[[track.name for track in parts.items].index("LI_QuartetA_Take01")]["sources"]
    assert np.allclose(male, voices["tenor"].audio_data[0] + voices["bass"].audio_data[0], atol=1e-6)
    assert not voices["tenor"].audio_data[0, -40:].any() and voices["bass"].audio_data[0, -40:].any()
    assert hook[0]["mix"].sample_rate == 22050


def test_voices_can_be_grouped_or_ignored(folder):
    _, tracks = open_tracks(folder, StemOptions(groups={"outer": ["soprano", "bass"], "inner": ["alto", "tenor"]}))
    assert [path.stem.split("_")[4] for path in tracks[1].stems["outer"]] == ["B1", "S2"]
    (track, *_) = DagstuhlChoirSet.find_tracks(folder, ignore=["bass"])
    assert [path.stem.split("_")[4] for path in track.stems["male"]] == ["T2"]
    assert labels_of(DagstuhlChoirSet.find_tracks(folder, sources="voices", ignore=["bass"])) == (
        "alto",
        "soprano",
        "tenor",
    )


def test_a_section_that_lacks_a_voice_is_left_out(folder, caplog):
    (folder / AUDIO / "DCS_LI_QuartetA_Take01_T1_DYN.wav").unlink()
    tracks = DagstuhlChoirSet.find_tracks(folder)
    assert missing_labels(tracks) == {"LI_QuartetA_Take01": ("male",)}
    assert "take LI_QuartetA_Take01 lacks tenor, so it has no source 'male'" in caplog.text
    assert "DCS_LI_QuartetA_Take01_B1_DYN.wav" in [path.name for path in tracks[1].left_out]
    errors = [str(finding) for finding in check(tracks, progress=False).findings if finding.level == "error"]
    assert errors == ["error: LI_QuartetA_Take01: lacks male."]


def test_a_voice_that_no_take_has_is_an_error(folder):
    for path in (folder / AUDIO).glob("*_T?_DYN.wav"):
        path.unlink()
    with pytest.raises(DataError, match="None of the 4 takes in .* has a microphone DYN of tenor. Copy the data set"):
        open_tracks(folder)
    assert len(open_tracks(folder, StemOptions(options={"microphone": "LRX"}))[1]) == 4


def test_a_second_dynamic_microphone_of_a_voice_is_an_error(folder):
    first = folder / AUDIO / "DCS_LI_FullChoir_Take01_S1_DYN.wav"
    shutil.copy(first, first.with_name(first.name.replace("S1", "S2")))
    with pytest.raises(
        DataError, match="Take LI_FullChoir_Take01 in .* has two .*_S1_DYN.wav and .*_S2_DYN.wav; .* Remove the file"
    ):
        DagstuhlChoirSet.find_tracks(folder)


def test_two_copies_are_an_error_that_names_both_places(folder):
    shutil.copytree(folder / AUDIO, folder / "copy")
    with pytest.raises(DataError, match="holds DCS_.* twice, .*audio_wav.* and .*copy.*Give one copy"):
        DagstuhlChoirSet.find_tracks(folder)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"microphone": "HSM"}, "no soprano of Dagstuhl ChoirSet wore a headset.*Choose 'DYN' .dynamic. or 'LRX'"),
        ({"microphone": "STM"}, "microphone is 'STM'. Choose one of DYN, LRX: the others record the room"),
        ({"sources": "choir"}, "sources is 'choir'. Choose one of 'paper', 'voices'"),
        ({"split_scheme": "random"}, "split_scheme is 'random'. Choose one of 'song', 'quartet', 'paper'"),
    ],
)
def test_an_impossible_option_is_an_error(folder, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        DagstuhlChoirSet.find_tracks(folder, **options)


def test_a_copy_without_songs_is_an_error_that_lists_what_it_has(tmp_path):
    root = layouts.choirset(tmp_path, takes=layouts.CHOIRSET_OTHERS)
    said = r"None of the 3 takes in .* \(Locus Iste 2, Tebe Poem 0, exercises 1\).*2 have one voice.*use exercises=True"
    with pytest.raises(DataError, match=said):
        open_tracks(root)
    assert [track.name for track in DagstuhlChoirSet.find_tracks(root, exercises=True)] == [
        "SE_QuartetA_CadenceMajorPiano01"
    ]


def test_choirset_beside_other_audio_is_not_recognised(folder):
    layouts.track_major(folder / "mine")
    with pytest.raises(DataError, match="resembles DagstuhlChoirSet: .*To read it alone, .*use --dataset DagstuhlChoirSet"):
        open_tracks(folder)
    assert len(open_tracks(folder, StemOptions(dataset="choirset"))[1]) == 4


def test_other_audio_is_an_error_that_says_what_it_looks_for(tmp_path):
    layouts.track_major(tmp_path)
    with pytest.raises(DataError, match="holds no file of .*DCS_LI_QuartetA_Take01_S2_DYN.wav. Give the folder"):
        DagstuhlChoirSet.find_tracks(tmp_path)


def test_a_store_keeps_its_splits(folder, tmp_path):
    store = prepare(
        DagstuhlChoirSet.find_tracks(folder), Path(tmp_path, "store"), dataset="DagstuhlChoirSet", progress=False
    )
    assert store.labels == ("female", "male")
    assert [track.split for track in store.tracks] == ["train", "train", "train", "test"]
    assert {track.frames for track in store.tracks} == {16000}


def test_the_papers_split_is_about_ten_to_one_and_warns_of_its_leak(tmp_path, caplog):
    folder = layouts.choirset(tmp_path, takes=[take for take in layouts.ALL_CHOIRSET_TAKES if take[:2] in ("LI", "TP")])
    tracks = DagstuhlChoirSet.find_tracks(folder, split_scheme="paper")
    assert [track.split for track in tracks].count("test") == 2 and len(tracks) == 23
    assert tracks == DagstuhlChoirSet.find_tracks(folder, split_scheme="paper"), "the draw has a seed of its own"
    assert "2 of 23 takes are for the test" in caplog.text and "scores on them are too good" in caplog.text
