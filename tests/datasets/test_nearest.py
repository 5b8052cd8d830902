"""Unrecognised folders: the error names the nearest data set or layout, and what is missing."""

from __future__ import annotations

import re

import layouts
import pytest

from nussl_transfer.datasets.folders import find_audio
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import SIGNATURES, UNSUPPORTED, open_tracks
from nussl_transfer.errors import DataError

PIECE = "01-AchGottundHerr"
UUID = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def said(folder, **options):
    with pytest.raises(DataError) as error:
        open_tracks(folder, StemOptions(**options))
    return str(error.value)


def test_the_error_for_bach10_without_piece_folders_says_to_make_them(tmp_path):
    touch(tmp_path, *(f"Sources/{PIECE}-{part}.wav" for part in ("violin", "clarinet", "saxophone")))
    message = said(tmp_path)
    assert f"resembles Bach10: 3 files are named like its files, such as Sources/{PIECE}-clarinet.wav." in message
    assert "Not found: a folder for each piece, any bassoon. The layout of Bach10 is 01-AchGottundHerr/01-Ach" in message
    assert "to read the files as they are, use --dataset Bach10, or --dataset StemFolder for your own stems" in message
    touch(tmp_path, f"Sources/{PIECE}-bassoon.wav")
    assert "Not found: a folder for each piece. " in said(tmp_path)
    assert open_tracks(tmp_path, StemOptions(dataset="StemFolder"))[0] == "StemFolder"


def test_the_error_for_slakh_stems_one_level_too_deep_says_where_they_belong(tmp_path):
    touch(tmp_path, "Track00001/metadata.yaml", "Track00001/all_src.mid", "Track00001/audio/stems/S00.flac")
    message = said(tmp_path)
    assert "resembles Slakh: 3 files are named like its files" in message
    assert (
        "Not found: any audio of stems, in a folder stems right below the track's. The layout of Slakh is Track00001/"
        in message
    )


def test_slakh_without_audio_is_an_error_that_says_so(tmp_path):
    message = said(touch(tmp_path, "Track00001/metadata.yaml", "Track00001/all_src.mid"))
    assert "Not found: any audio of stems" in message


def test_the_error_for_stem_mp4_files_without_split_folders_says_to_make_them(tmp_path):
    message = said(touch(tmp_path, "My band - My song.stem.mp4"))
    assert "resembles MUSDB18: 1 files are named like its files, such as My band - My song.stem.mp4." in message
    assert "Not found: a folder train or test. The layout of MUSDB18 is train/Artist - Title.stem.mp4" in message


def test_the_message_names_the_subfolder_that_holds_the_data_set(tmp_path):
    message = said(touch(tmp_path, "sets/DCS/DCS_LI_QuartetA_Take01_S2_DYN.wav", "mine/vocals.wav", "mine/bass.wav"))
    assert "and 2 audio files are not, such as mine/bass.wav, mine/vocals.wav." in message
    assert f"give its own folder, {tmp_path}/sets/DCS, or use --dataset DagstuhlChoirSet" in message


@pytest.mark.parametrize(
    ("name", "what", "what_to_do"),
    [
        ("audio_stems/03_ChristederdubistTagundLicht_violin.RESYN.wav", "derived from Bach10", "folder for each piece"),
        ("Audio/A_B/A_B_STEMS/A_B_STEM_01.wav", "MedleyDB", "<track>/<instrument>.wav"),
        (f"moisesdb_v0.1/{UUID}/vocals/{UUID}.wav", "MoisesDB", "Sum the files in each stem's folder"),
        ("01_Jupiter_vn_vc/AuSep_1_vn_01_Jupiter.wav", "URMP", "01_Jupiter/violin.wav"),
    ],
)
def test_an_unsupported_data_set_is_named_with_what_to_do(tmp_path, name, what, what_to_do):
    message = said(touch(tmp_path, name))
    assert what in message and what_to_do in message and f"1 of 1 audio files are named like {name}" in message


def test_an_unknown_folder_is_described_with_the_best_fitting_layout_first(tmp_path):
    touch(tmp_path, *(f"x/y/z/{song}/{stem}.wav" for song in "AB" for stem in ("bass", "vocals")), "x/w/C/bass.wav")
    message = said(tmp_path)
    assert "should have a folder for each track" in message
    assert "There are 1 files 3 folders deep, 4 files 4 folders deep, such as x/w/C/bass.wav" in message
    assert "the most frequent names are bass (3), vocals (2)" in message
    layouts = [line.split(": ")[0].strip() for line in message.splitlines() if "files fit" in line]
    assert layouts[0] == "<track>/<stem>.wav" and len(layouts) == 4


def test_tracks_side_by_side_in_one_folder_are_recognised_as_unsupported(tmp_path):
    touch(tmp_path, *(f"song {number} {stem}.wav" for number in range(40) for stem in ("vocals", "Bass")), "other.wav")
    lines = said(tmp_path).splitlines()
    assert "has 81 audio files" in lines[0]
    tree = "  <track>_<stem>.wav, which is not supported: make each track a folder"
    assert f"{tree}: 80 of 81 files fit, not other.wav" in lines


def test_the_message_counts_files_that_fit_a_layout_and_names_others(tmp_path):
    touch(tmp_path, *(f"{song}/{stem}.wav" for song in ("one", "two") for stem in ("bass", "drums")), "readme.wav")
    message = said(tmp_path)
    assert "and audio beside them: readme.wav" in message
    assert "  <track>/<stem>.wav: 4 of 5 files fit, not readme.wav" in message
    assert "  <stem>/<track>.wav: 0 of 5 files fit\n" in message


def test_an_error_that_is_not_about_the_layout_lists_no_layouts(tmp_path):
    touch(tmp_path, "A/bass.wav", "A/vocals.wav")
    assert "Known layouts" not in said(tmp_path, groups={"x": "flute"})
    assert "Known layouts" not in said(tmp_path / "absent")


@pytest.mark.parametrize("dataset", ["Bach10", "DagstuhlChoirSet", "Slakh"])
def test_the_signature_of_a_data_set_fits_its_files_and_no_others(tmp_path, dataset):
    files = find_audio(layouts.TREES[dataset](tmp_path))
    found = [known.dataset for file in files for known in SIGNATURES if re.search(known.sign, str(file))]
    assert set(found) == {dataset} and 2 * len(found) > len(files)
    assert not [sign for file in files for sign in UNSUPPORTED if re.search(sign, str(file))]
