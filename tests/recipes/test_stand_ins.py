"""Test the stand-ins for the paper's data sets: loaders recognise them, audio is valid, seeds reproduce them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.errors import ConfigError, DataError
from recipes.corpora import choirset, musdb18, remixpacks, slakh
from recipes.corpora.__main__ import CORPORA, main
from recipes.corpora.choir_works import TEST, TRAIN, work_file
from recipes.corpora.ensembles import is_for
from recipes.corpora.finished import ABOUT, UNFINISHED, begin, finish, is_finished, note
from recipes.corpora.scores import chorale_titles, plain
from recipes.corpora.scores import tested_works as works_under_test
from recipes.corpora.slakh_files import class_name
from recipes.corpora.synth import default_soundfont

SIZES = {"choirset": (2, 0.3), "musdb18": (3, 0.2), "remixpacks": (3, 0.2), "slakh": (4, 0.25)}
NAMES = {"choirset": "DagstuhlChoirSet", "musdb18": "MUSDB18", "remixpacks": "Remixpacks", "slakh": "Slakh"}
MODULES = {"choirset": choirset, "musdb18": musdb18, "remixpacks": remixpacks, "slakh": slakh}
RENDER_ONE = {"choirset": "render_take", "musdb18": "render_song", "remixpacks": "render_pack", "slakh": "render_track"}
KINDS = sorted(SIZES)


def render(kind: str, out: Path, **options) -> Path:
    tracks, minutes = SIZES[kind]
    asked = {"tracks": tracks, "minutes": minutes, "soundfont": default_soundfont(), "workers": 1, **options}
    return CORPORA[kind](out, **asked)


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> dict[str, Path]:
    """One small corpus of each kind."""
    folder = tmp_path_factory.mktemp("stand-ins")
    return {kind: render(kind, folder / kind) for kind in KINDS}


def contents(tree: Path) -> dict[str, str]:
    """Return the MD5 sum of each file of a tree, and the target of each link."""
    return {str(path.relative_to(tree)): str(path.readlink()) if path.is_symlink() else
            hashlib.md5(path.read_bytes()).hexdigest() for path in tree.rglob("*") if path.is_symlink() or path.is_file()}


def read(path: Path) -> np.ndarray:
    """Return a file's samples as integers, [frames] or [frames, channels]."""
    return soundfile.read(path, dtype="int16")[0].astype(int)


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_stand_in_is_recognised_as_its_data_set(trees, kind):
    for folder in (trees[kind], trees[kind].parent):
        name, tracks = open_tracks(folder)
        assert name == NAMES[kind]
    labels = {"choirset": {"female", "male"}, "musdb18": {"accompaniment", "vocals"},
              "remixpacks": {"cymbals", "kick_drum", "snare"}, "slakh": {"drums", "piano_guitar"}}
    assert {label for track in tracks for label in track.stems} == labels[kind]
    assert {"train", "test"} <= {track.split for track in tracks}


@pytest.mark.parametrize("kind", KINDS)
def test_the_audio_has_the_format_of_the_data_set_and_is_neither_silent_nor_clipped(trees, kind):
    expected = {"choirset": (22050, 1, "WAV"), "musdb18": (44100, 2, "WAV"), "remixpacks": (44100, 2, "WAV"),
                "slakh": (44100, 1, "FLAC")}
    files = [path for path in trees[kind].rglob("*") if path.suffix in (".wav", ".flac")]
    assert len(files) >= 9
    for path in files:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.format) == expected[kind] and info.subtype == "PCM_16"
        audio = read(path) / 32767
        assert np.abs(audio).max() < 0.99
        # toms may be hit once or twice
        assert np.sqrt(np.square(audio).mean()) > (0.001 if path.stem.endswith(("Toms", "Toms(symlink)")) else 0.005), path


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_rendering_resumes_bit_exactly(trees, tmp_path, monkeypatch, kind):
    module, whole = MODULES[kind], getattr(MODULES[kind], RENDER_ONE[kind])
    played = []

    def until_the_power_fails(job):
        if len(played) == 1:
            raise KeyboardInterrupt
        played.append(job.name)
        return whole(job)

    monkeypatch.setattr(module, RENDER_ONE[kind], until_the_power_fails)
    with pytest.raises(KeyboardInterrupt):
        render(kind, tmp_path / "again")
    assert not (tmp_path / "again" / ABOUT).exists()
    monkeypatch.setattr(module, RENDER_ONE[kind], lambda job: played.append(job.name) or whole(job))
    tree = render(kind, tmp_path / "again")
    assert len(played) == len(set(played)) == SIZES[kind][0]
    assert contents(tree) == contents(trees[kind])
    assert json.loads((tree.parent / ABOUT).read_text()) == json.loads((trees[kind].parent / ABOUT).read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_stand_in_is_not_rendered_again_and_other_options_are_an_error(trees, monkeypatch, kind):
    monkeypatch.setattr(MODULES[kind], RENDER_ONE[kind], lambda job: pytest.fail("rendered again"))
    assert render(kind, trees[kind].parent) == trees[kind]
    with pytest.raises(ConfigError, match=r"other options \(seed differ"):
        render(kind, trees[kind].parent, seed=1)


def test_another_seed_gives_another_song(trees, tmp_path):
    tree = render("remixpacks", tmp_path / "other", tracks=1, minutes=0.07, seed=1)
    assert not set(contents(tree).values()) & set(contents(trees["remixpacks"]).values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_readme_says_that_the_tree_is_not_the_data_set(trees, kind):
    text = (trees[kind] / "README.md").read_text()
    assert "stand-in" in text and "**This is not " in text and "TimGM6mb.sf2" in text and "seed: 0" in text
    assert ("music21" in text) == (kind != "remixpacks")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [{"tracks": 0}, {"minutes": -1.0}, {"tracks": None, "minutes": None}])
def test_sizes_that_are_not_positive_are_an_error(tmp_path, kind, size):
    with pytest.raises(ConfigError, match="Give one or both, above 0"):
        render(kind, tmp_path / "none", **size)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind, size, message", [
    ("musdb18", {"tracks": 151}, "names for 150"), ("slakh", {"tracks": 1001}, "expected at most 1000"),
    ("remixpacks", {"tracks": 1000}, "at most 999")])
def test_more_tracks_than_names_are_an_error(tmp_path, kind, size, message):
    with pytest.raises(ConfigError, match=message):
        render(kind, tmp_path, **size)


def test_more_takes_than_works_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(choirset, "SONGS", {split: (song, settings, works[:1])
                                            for split, (song, settings, works) in choirset.SONGS.items()})
    with pytest.raises(ConfigError, match="take 3 needs another work to train"):
        render("choirset", tmp_path, tracks=3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_soundfont_is_an_error_before_anything_is_written(tmp_path, capsys, kind):
    assert main([kind, "--out", str(tmp_path / "out"), "--tracks", "2", "--soundfont", "no-such.sf2"]) == 2
    assert "no-such.sf2 does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- resuming ---------------------------------------------------------------------------------------------------------


def test_a_truncated_progress_line_is_ignored(tmp_path):
    assert begin(tmp_path, {"seed": 0}) == {}
    note(tmp_path, "one", {"seconds": 1.0})
    with (tmp_path / UNFINISHED).open("a") as mark:
        mark.write('{"name": "two", "ab')
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / ".mix.flac.4711.part").write_bytes(b"half")
    (tmp_path / "one.wav").touch()
    assert begin(tmp_path, {"seed": 0}) == {"one": {"seconds": 1.0}}
    assert not list((tmp_path / "two").iterdir()) and (tmp_path / "one.wav").exists()
    note(tmp_path, "two", {"seconds": 2.0})
    assert list(begin(tmp_path, {"seed": 0})) == ["one", "two"]
    finish(tmp_path, {"seed": 0}, {})
    assert is_finished(tmp_path, {"seed": 0})


def test_other_options_restart_an_unfinished_corpus_but_keep_the_named_files(tmp_path):
    begin(tmp_path, {"seed": 0})
    note(tmp_path, "one", {})
    (tmp_path / "scores.json").touch()
    (tmp_path / "one.wav").touch()
    assert begin(tmp_path, {"seed": 1}, keep=["scores.json"]) == {}
    assert {path.name for path in tmp_path.iterdir()} == {UNFINISHED, "scores.json"}
    assert begin(tmp_path, {"seed": 1}) == {} and (tmp_path / "scores.json").exists()


# --- MUSDB18 ----------------------------------------------------------------------------------------------------------


def test_the_mixture_of_a_song_is_exactly_the_sum_of_its_four_stems(trees):
    songs = [path.parent for path in trees["musdb18"].glob("*/*/mixture.wav")]
    assert len(songs) == 3
    for song in songs:
        stems = [read(song / f"{stem}.wav") for stem in ("bass", "drums", "other", "vocals")]
        assert np.array_equal(sum(stems), read(song / "mixture.wav"))
        levels = 20 * np.log10([stem.std() for stem in stems])
        assert np.ptp(levels) < 15
        assert not np.array_equal(*stems[2].T)  # left and right differ


def test_songs_have_the_usual_split(trees):
    splits = {track.split for track in open_tracks(trees["musdb18"])[1]}
    assert splits == {"train", "valid", "test"}
    plans = musdb18.plan_songs(150, 1.0, 0, (), Path())
    assert sum(plan.subset == "test" for plan in plans) == 50 and len({plan.name for plan in plans}) == 150
    tunes = [plan.tune for plan in plans if plan.tune]
    assert 30 < len(tunes) < 60 and len(set(tunes)) == len(tunes)


# --- Slakh ------------------------------------------------------------------------------------------------------------


def test_the_mixture_of_a_track_is_the_sum_of_its_stems_and_its_files_match_slakh(trees):
    tracks = sorted(trees["slakh"].glob("*/Track*"))
    assert [track.parent.name for track in tracks] == ["omitted", "test", "train", "validation"]
    for track in tracks:
        about = yaml.safe_load((track / "metadata.yaml").read_text())
        rendered = {name for name, stem in about["stems"].items() if stem["audio_rendered"]}
        assert {path.stem for path in (track / "stems").iterdir()} == rendered
        assert {path.stem for path in (track / "MIDI").iterdir()} == set(about["stems"])
        assert np.array_equal(sum(read(path) for path in (track / "stems").iterdir()), read(track / "mix.flac"))
        assert about["UUID"] == hashlib.md5((track / "all_src.mid").read_bytes()).hexdigest()
        assert {"Drums", "Bass", "Guitar", "Piano"} <= {stem["inst_class"] for stem in about["stems"].values()}
        assert about["audio_dir"] == f"{track.name}/stems"


def test_metadata_has_the_fields_of_real_slakh_metadata(trees):
    about = yaml.safe_load(next(trees["slakh"].rglob("metadata.yaml")).read_text())
    assert set(about) == {"UUID", "audio_dir", "lmd_midi_dir", "midi_dir", "normalization_factor", "normalized",
                          "overall_gain", "stems", "target_peak"}
    assert set(about["stems"]["S00"]) == {"audio_rendered", "inst_class", "integrated_loudness", "is_drum",
                                          "midi_program_name", "midi_saved", "plugin_name", "program_num"}


def test_some_stem_has_midi_but_no_audio(trees):
    tracks = [yaml.safe_load(path.read_text())["stems"] for path in trees["slakh"].rglob("metadata.yaml")]
    silent = [stem for stems in tracks for stem in stems.values() if not stem["audio_rendered"]]
    assert silent and all(stem["plugin_name"] == "None" and "integrated_loudness" not in stem for stem in silent)


def test_two_tracks_play_one_midi_file_with_other_sounds_and_lie_in_one_split(trees):
    uuids = {path.parent.name: yaml.safe_load(path.read_text())["UUID"] for path in trees["slakh"].rglob("metadata.yaml")}
    (twins,) = [[name for name in uuids if uuids[name] == uuid] for uuid in set(uuids.values())
                if list(uuids.values()).count(uuid) > 1]
    first, second = (next(trees["slakh"].glob(f"*/{name}")) for name in twins)
    assert not np.array_equal(read(first / "mix.flac"), read(second / "mix.flac"))
    for seed in range(5):
        splits = {
            track.name: track.split for track in open_tracks(trees["slakh"], StemOptions(options={"split_seed": seed}))[1]
        }
        assert splits[twins[0]] == splits[twins[1]]


def test_the_midi_file_matches_the_audio(trees):
    import pretty_midi

    for track in trees["slakh"].glob("*/Track*"):
        about = yaml.safe_load((track / "metadata.yaml").read_text())["stems"]
        midi = pretty_midi.PrettyMIDI(str(track / "all_src.mid"))
        assert len(midi.instruments) == len(about)
        for instrument, (name, stem) in zip(midi.instruments, about.items(), strict=True):
            assert (128 if instrument.is_drum else instrument.program) == stem["program_num"]
            if stem["audio_rendered"]:
                audio = read(track / "stems" / f"{name}.flac")
                sounding = np.flatnonzero(np.abs(audio) > 0.02 * np.abs(audio).max())[0] / 44100
                first = min(note.start for note in instrument.notes)
                assert first - 0.005 < sounding < first + 0.35, (track, name)


def test_numbers_have_gaps_and_leave_out_defective_tracks():
    plans = list(slakh.plan_tracks(100, 1.0, 0, (), Path("/tree")))
    numbers = {int(plan.name[5:]) for plan in plans}
    assert len(numbers) == 100 and not numbers & {5, 12, 22, 157}
    assert {Path(plan.folder).parent.name for plan in plans} == {"train", "validation", "test", "omitted"}
    assert sum(plan.twin for plan in plans) == 19


def test_families_of_programs_are_spelt_as_in_slakh():
    assert [class_name(program) for program in (0, 24, 32, 52, 96, 118, 119, 127, 128)] == [
        "Piano", "Guitar", "Bass", "Strings (continued)", "Sound Effects", "Percussive", "Sound effects", "Sound effects",
        "Drums"]


# --- Dagstuhl ChoirSet ------------------------------------------------------------------------------------------------


def test_the_four_voices_and_the_room_of_a_take_are_equally_long(trees):
    audio = trees["choirset"] / "audio_wav_22050_mono"
    names = {"DCS_LI_QuartetA_Take01": ("S2", "A1", "T1", "B1"), "DCS_TP_FullChoir_Take01": ("S1", "A2", "T2", "B2")}
    files = {f"{take}_{voice}_DYN.wav" for take, voices in names.items() for voice in voices}
    assert {path.name for path in audio.iterdir()} == files | {f"{take}_Stereo_STM.wav" for take in names}
    for take in names:
        assert len({soundfile.info(path).frames for path in audio.glob(f"{take}_*")}) == 1
        levels = 20 * np.log10([read(path).std() for path in audio.glob(f"{take}_*_DYN.wav")])
        assert np.ptp(levels) < 8


def test_no_work_is_in_two_splits_or_in_another_test():
    assert len(set(TRAIN)) == len(TRAIN) > 250 and len(set(TEST)) == len(TEST) > 20
    assert not set(TRAIN) & set(TEST)
    assert not {work.split("/")[1] for work in (*TRAIN, *TEST)} & works_under_test()
    titles = chorale_titles()
    train, test = ({plain(titles[work[5:]]) for work in works if work[5:] in titles} for works in (TRAIN, TEST))
    assert not train & test
    assert all(is_for(work, "valid") for work in TEST)  # the body was not trained on them
    assert all(work_file(work).exists() for work in (*TRAIN[::20], *TEST))


# --- Remixpacks -------------------------------------------------------------------------------------------------------


def test_the_links_stay_valid_when_the_tree_is_moved(trees, tmp_path):
    shutil.copytree(trees["remixpacks"], tmp_path / "moved", symlinks=True)
    links = [path for path in (tmp_path / "moved").rglob("*(symlink).wav") if path.is_symlink()]
    assert len(links) >= 9
    for link in links:
        target = link.resolve(strict=True)
        assert target.is_relative_to(tmp_path / "moved" / "original_files")
        assert link.name == f"{target.parent.name} {target.stem}(symlink).wav"


def test_a_kick_drum_is_lower_than_a_snare_and_a_snare_lower_than_cymbals(trees):
    def brightness(label: str) -> float:
        means = []
        for path in (trees["remixpacks"] / "symlinks_to_files/fine/Pure" / label).iterdir():
            power = np.square(np.abs(np.fft.rfft(read(path).mean(axis=1))))
            means.append(np.average(np.fft.rfftfreq(2 * len(power) - 2, 1 / 44100), weights=power))
        return float(np.median(means))

    assert 3 * brightness("Kick_Drum") < brightness("Snare") < brightness("Cymbals")


def test_a_text_file_is_not_a_soundfont(tmp_path):
    (tmp_path / "text.sf2").write_text("not a soundfont")
    with pytest.raises(DataError, match="cannot be read"):
        render("remixpacks", tmp_path / "out", soundfont=str(tmp_path / "text.sf2"))
