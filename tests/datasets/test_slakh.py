"""Slakh: its trees, the defects of its tracks, its sources and its splits."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace

import layouts
import pytest
import yaml

from nussl_transfer.cli import main
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.slakh import SOURCES, Slakh
from nussl_transfer.datasets.slakh_splits import MOVED, OMITTED, WHITE_NOISE, split_of_tracks
from nussl_transfer.datasets.tracks import missing_labels
from nussl_transfer.datasets.validation.check import check
from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.mixing.split import train_valid_split
from nussl_transfer.store.prepare import prepare
from nussl_transfer.store.store import Store

NUMBERS = tuple(layouts.SLAKH_TRACKS)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return layouts.slakh(tmp_path_factory.mktemp("slakh"), seconds=0.2)


@pytest.fixture
def folder(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / tree.name)


def found(folder, number, **options):
    """Return label -> names of stems of one track."""
    track = {track.name: track for track in Slakh.find_tracks(folder, **options)}[f"Track{number:05d}"]
    return {label: [path.stem for path in files] for label, files in track.stems.items()}


def metadata(folder, number):
    (path,) = folder.glob(f"*/Track{number:05d}/metadata.yaml")
    return path


# Trees


@pytest.mark.parametrize("kind", ["redux", "orig", "baby"])
def test_every_release_is_found_from_its_folder_and_from_above(tmp_path, kind):
    root = layouts.slakh(tmp_path / "data", kind, tracks=(1, 4, 1740, 1939), seconds=0.05)
    for folder in (root, tmp_path):
        name, tracks = open_tracks(folder)
        assert name == "Slakh" and [track.name[-4:] for track in tracks] == ["0001", "0004", "1740", "1939"]
        assert tracks[0].mixture.stem == "mix" and not check(tracks, deep=True).fatal


def test_a_folder_of_tracks_or_one_track_is_read(tree):
    assert len(Slakh.find_tracks(tree / "train")) == 6
    assert [track.name for track in Slakh.find_tracks(tree / "train" / "Track00001")] == ["Track00001"]
    assert Slakh.recognises(tree / "train" / "Track00001" / "stems" / "..")


def test_a_track_in_two_places_is_an_error_that_names_both(tmp_path):
    for kind in ("redux", "baby"):
        layouts.slakh(tmp_path, kind, tracks=(1,), seconds=0.05)
    with pytest.raises(DataError, match="holds Track00001 twice, .*babyslakh_16k.* and .*redux/train.*one copy"):
        open_tracks(tmp_path)


def test_a_track_without_audio_is_left_out_and_logged(folder, caplog):
    shutil.rmtree(folder / "train" / "Track00004" / "stems")
    assert "Track00004" not in [track.name for track in Slakh.find_tracks(folder)]
    assert "left out, without audio in their folder stems: Track00004" in caplog.text


def test_slakh_beside_other_audio_is_not_recognised(folder):
    layouts.write(folder.parent / "mine" / "vocals.wav", layouts.tone(440, 0.1))
    with pytest.raises(DataError, match="It resembles Slakh: .*To read it alone, .*use --dataset Slakh"):
        open_tracks(folder.parent)
    assert len(open_tracks(folder.parent, StemOptions(dataset="slakh"))[1]) == len(NUMBERS)


def test_a_folder_without_its_tracks_is_an_error_that_says_what_it_looks_for(tmp_path):
    with pytest.raises(DataError, match="holds no track of Slakh, .*Track00001 with metadata.yaml and stems/S00.flac"):
        open_tracks(layouts.bach10(tmp_path), StemOptions(dataset="slakh"))


# Defects of tracks


def test_stems_are_those_whose_files_exist(tree, caplog):
    caplog.set_level("INFO")
    assert found(tree, 1740, sources="band") == {"bass": ["S04"], "drums": ["S01"], "piano": ["S02"]}
    assert "4 stems have MIDI and no audio: Track00014 S11, Track01740 S00" in caplog.text
    assert "are missing" not in caplog.text  # metadata.yaml lists S06 of track 1, which has neither audio nor MIDI
    assert missing_labels(Slakh.find_tracks(tree, sources="band")) == {"Track00357": ("piano",), "Track01740": ("guitar",)}


def test_missing_files_are_logged_and_unlisted_files_left_out(folder, caplog):
    stems = folder / "train" / "Track00004" / "stems"
    (stems / "S02.flac").rename(stems / "S07.flac")
    assert found(folder, 4) == {"drums": ["S01"], "piano_guitar": ["S00"]}
    assert "1 stems are missing, although metadata.yaml lists them as rendered: Track00004 S02" in caplog.text
    assert "1 stems are left out, since metadata.yaml does not list them: Track00004 S07" in caplog.text


def test_track_numbers_may_have_gaps_and_metadata_paths_are_not_used(tree):
    assert found(tree, 14) == {"drums": ["S01"], "piano_guitar": ["S02", "S05"]}
    assert "/Users/" in metadata(tree, 616).read_text()
    assert found(tree, 616) == {"drums": ["S01"], "piano_guitar": ["S00", "S02"]}


def test_stems_of_white_noise_are_left_out(tree, caplog):
    assert len(WHITE_NOISE) == 9
    assert found(tree, 357) == {"drums": ["S01"], "piano_guitar": ["S00"]}
    assert "1 stems are left out, since they are white noise: Track00357 S03" in caplog.text
    track = next(track for track in Slakh.find_tracks(tree) if track.name == "Track00357")
    assert [path.name for path in track.left_out] == ["S02.flac", "S03.flac"]


def test_identical_stems_in_two_sources_are_left_out(tree, caplog):
    assert found(tree, 22)["piano_guitar"] == ["S00", "S02", "S11", "S12"]  # as it is in the mixture
    assert found(tree, 22, sources="band") == {"bass": ["S03"], "drums": ["S01"], "guitar": ["S00"], "piano": ["S02"]}
    assert "Track00022: S11 and S12 are the same sound in two sources, and left out" in caplog.text


def test_submixes_and_residuals_are_not_stems(tree):
    track = Slakh.find_tracks(tree)[0]
    names = {path.relative_to(tree / "train" / "Track00001").as_posix() for path in track.left_out}
    assert {"stems/residuals.wav", "stems/band/guitar.wav", "band/residuals.wav"} < names
    assert not any("._" in name for name in names)


def test_a_stem_in_both_formats_is_read_once(folder):
    stems = folder / "train" / "Track00004" / "stems"
    layouts.write(stems / "S00.wav", layouts.tone(400, 0.2))
    track = next(track for track in Slakh.find_tracks(folder) if track.name == "Track00004")
    assert track.stems["piano_guitar"][0].name == "S00.flac" and stems / "S00.wav" in track.left_out


def test_used_and_left_out_stems_sum_to_the_mixture(tree):
    tracks = [track for track in Slakh.find_tracks(tree, sources="band") if track.name == "Track00004"]
    findings = [str(finding) for finding in check(tracks, deep=True).findings]
    assert any("mix.flac is 1.000 x the sum of the stems" in finding for finding in findings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "Track00004 has no metadata.yaml, which lists its stems"),
        ("stems: {S00: [", "Track00004 has a metadata.yaml that cannot be read"),
        (b"\xff\xfe\x00", "Track00004 has a metadata.yaml that cannot be read"),
        ("", "Track00004 has a metadata.yaml that lists no stems"),
        ("stems: None", "lists no stems"),
        ("stems: {S00: None}", "without an entry for S00"),
        ("stems: {S00: {program_num: None}}", "the program_num of S00 is 'None', not a number 0 to 128"),
        ("stems: {S00: {program_num: 129}}", "the program_num of S00 is 129"),
        ("!!python/object/apply:os.system ['touch harm']", "Track00004 has a metadata.yaml that cannot be read"),
    ],
)
def test_absent_or_broken_metadata_is_an_error_that_names_the_track(folder, text, message):
    path = metadata(folder, 4)
    path.unlink()
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=rf"1 of 9 tracks .*\n  .*{message}.*\n.*skip the tracks with `ignore`"):
        open_tracks(folder)
    assert len(open_tracks(folder, StemOptions(ignore="Track00004"))[1]) == 8


# Sources


def test_the_option_sources_chooses_the_programs_of_each_label(tree):
    assert found(tree, 1) == {"drums": ["S01"], "piano_guitar": ["S00", "S02"]}
    assert list(found(tree, 1, sources="paper+bass")) == ["bass", "drums", "piano_guitar"]
    assert found(tree, 1, sources="band+other")["other"] == ["S04", "S08"]
    assert found(tree, 1, sources="common") == {"bass": ["S03"], "drums": ["S01"], "other": ["S00", "S02"]}
    assert found(tree, 1, sources={"Choir": [52, 53], "kit": [128]}) == {"choir": ["S04"], "kit": ["S01"]}


def test_classes_that_differ_only_in_case_stay_apart(tree):
    classes = found(tree, 1, sources="classes")
    assert classes["ensemble"] == ["S04"] and classes["sound_effects"] == ["S08"] and "synth_effects" not in classes


def test_the_families_are_those_of_general_midi_and_every_program_is_in_one():
    families = SOURCES["classes"]
    assert sorted(program for programs in families.values() for program in programs) == list(range(129))
    ranges = {name: (min(programs), max(programs)) for name, programs in families.items()}
    # As slakh-utils lists them.
    assert ranges["percussive"] == (112, 118) and ranges["sound_effects"] == (119, 127) and ranges["drums"] == (128, 128)
    assert ranges["piano"] == (0, 7) and ranges["guitar"] == (24, 31) and ranges["bass"] == (32, 39)
    assert ranges["ensemble"] == (48, 55) and ranges["synth_effects"] == (96, 103) and ranges["organ"] == (16, 23)


def test_groups_can_name_the_general_midi_families(tree):
    groups = {"keys": ["piano", "organ"], "drums": "drums"}
    assert found(tree, 1, groups=groups) == {"drums": ["S01"], "keys": ["S02"]}


def test_the_command_line_accepts_its_options(tree, tmp_path, capsys):
    options = "sources=common,split_scheme=split2"
    assert main(["prepare", str(tree / "train"), "--out", str(tmp_path / "store"), "--options", options]) == 0
    store = Store(tmp_path / "store")
    assert store.labels == ("bass", "drums", "other") and {track.split for track in store.tracks} == {"train", "test"}
    for wrong, sentence in (("sources", "'sources' is not NAME=VALUE"), ("layout=pool,seed=1", "has no option 'seed'")):
        assert main(["check", str(tree), "--options", wrong]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ("bands", "sources is 'bands'. Choose one of paper, paper[+]bass, band"),
        ({"a": [1], "b": [1, 2]}, "Program 1 is in two sources, 'a' and 'b'"),
        ({"a": [129]}, "Source 'a' has program 129, which is no number from 0 to 127, nor 128 for drums"),
    ],
)
def test_invalid_sources_are_errors(tree, sources, message):
    with pytest.raises(ConfigError, match=message):
        Slakh.find_tracks(tree, sources=sources)


# Splits


def splits(folder, **options):
    return {int(track.name[-5:]): track.split for track in Slakh.find_tracks(folder, **options)}


def test_the_default_split_keeps_each_midi_file_on_one_side(tree):
    for seed in range(20):
        drawn = splits(tree, split_seed=seed)
        assert drawn[4] == drawn[1939] and Counter(drawn.values())["test"] >= 1
    assert drawn == splits(tree, split_seed=19) and len({str(splits(tree, split_seed=seed)) for seed in range(9)}) > 1


def test_a_drawn_validation_split_shares_no_midi_file_with_training(tree, tmp_path):
    tracks = [replace(track, split="train") for track in Slakh.find_tracks(tree, sources="band")]
    store = prepare([track for track in tracks if len(track.stems) == 4], tmp_path / "store", 8000, progress=False)
    held = set()
    for seed in range(30):
        split = train_valid_split(store, seed)
        sides = [{track.name for track in side.tracks} for side in (split.train, split.valid)]
        assert not any({"Track00004", "Track01939"} & one and {"Track00004", "Track01939"} - one for one in sides)
        held |= sides[1]
    assert len(held) > 2


def test_without_a_uuid_the_md5_of_the_midi_file_is_used(folder):
    for number in (4, 1939):
        path = metadata(folder, number)
        about = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({**about, "UUID": "None"}))
    for seed in range(20):
        drawn = splits(folder, split_seed=seed)
        assert drawn[4] == drawn[1939]


def test_the_papers_split_is_drawn_by_seed_and_warns_of_its_leak(tree, caplog):
    drawn = splits(tree, split_scheme="paper", split_seed=1)
    assert Counter(drawn.values()) == {"train": 8, "test": 1}
    assert drawn == splits(tree, split_scheme="paper", split_seed=1)
    assert "share their MIDI with a track of train (of the whole of Slakh2100, about 31 %)" in caplog.text


def test_the_authors_splits_depend_on_the_track_number_alone(tree, caplog):
    assert splits(tree, split_scheme="orig")[1939] == "test"
    assert "split_scheme='orig': 1 of 1 tracks of test share their MIDI with a track of train" in caplog.text
    redux = splits(tree, split_scheme="redux")
    assert sorted(redux) == sorted(set(NUMBERS) - {1740, 1939}) and redux[1742] == "valid"
    split2 = splits(tree, split_scheme="split2")
    assert split2[1939] == split2[4] == "train" and split2[357] == "test" and split2[1740] == "train"


@pytest.mark.parametrize(
    ("scheme", "counts"),
    [
        ("grouped", {"train": 1890, "test": 210}),
        ("paper", {"train": 1890, "test": 210}),
        ("orig", {"train": 1500, "valid": 375, "test": 225}),
        ("split2", {"train": 1500, "valid": 375, "test": 225}),
        ("redux", {"train": 1289, "valid": 270, "test": 151}),
    ],
)
def test_every_split_scheme_has_its_published_counts_on_2100_tracks(scheme, counts):
    drawn = split_of_tracks({number: str(number) for number in range(1, 2101)}, scheme)
    assert Counter(drawn.values()) == counts


def test_the_tables_have_the_published_sizes():
    assert len(OMITTED) == 390 and sum(map(len, MOVED.values())) == 328
    assert len(frozenset.union(*MOVED.values())) == 328


def test_a_draw_that_ignores_the_midi_shares_a_third_of_it(caplog):
    # As many groups of duplicates as in Slakh2100, of about the same sizes: 308 groups, 698 tracks.
    midi = {number: str(number if number > 698 else min(number // 2, 307)) for number in range(1, 2101)}
    for scheme in ("paper", "grouped"):
        drawn = split_of_tracks(midi, scheme, seed=3)
        trained = {midi[number] for number, split in drawn.items() if split == "train"}
        shared = sum(midi[number] in trained for number, split in drawn.items() if split == "test") / 210
        assert 0.2 < shared < 0.45 if scheme == "paper" else shared == 0


def test_an_unknown_track_number_or_split_scheme_is_an_error(folder):
    with pytest.raises(ConfigError, match="split_scheme is 'mine'. Choose one of 'grouped', 'orig', 'redux'"):
        Slakh.find_tracks(folder, split_scheme="mine")
    (folder / "train" / "Track00004").rename(folder / "train" / "Track02101")
    with pytest.raises(DataError, match="covers Track00001 to Track02100, and not Track02101. Use split_scheme='grouped'"):
        Slakh.find_tracks(folder, split_scheme="redux")
    with pytest.raises(DataError, match="split_scheme='redux' leaves out all 2 tracks"):
        Slakh.find_tracks(folder / "omitted", split_scheme="redux")
