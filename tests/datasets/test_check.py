"""The check of a data set: every defect is found, named and given advice; an intact data set has no finding."""

from __future__ import annotations

import json

import layouts
import numpy as np
import pytest
import soundfile

from nussl_transfer.cli import main
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.stem_folder import StemFolder
from nussl_transfer.datasets.tracks import Track
from nussl_transfer.datasets.validation.check import check
from nussl_transfer.datasets.validation.findings import format_errors
from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.store.prepare import prepare


@pytest.fixture
def folder(tmp_path):
    return layouts.track_major(tmp_path, ("A", "B"), ("bass", "vocals"), mixture=None)


def look(folder, deep=True, **options):
    return check(StemFolder.find_tracks(folder), deep=deep, **options)


def said(inspection, level):
    return [str(finding) for finding in inspection.findings if finding.level == level]


def only(inspection, level):
    (sentence,) = said(inspection, level)
    return sentence


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_data_set_has_a_row_for_each_file_and_no_finding(folder, deep):
    inspection = look(folder, deep)
    assert [(row.track, row.label) for row in inspection.rows] == [
        ("A", "bass"), ("A", "vocals"), ("B", "bass"), ("B", "vocals")]  # fmt: skip
    assert {(row.sample_rate, row.channels, row.seconds, row.subtype) for row in inspection.rows} == {
        (44100, 1, 1.0, "PCM_16")
    }
    assert inspection.findings == [] and not inspection.fatal


def test_levels_are_those_of_the_audio(folder):
    row = look(folder).rows[0]
    audio, _ = soundfile.read(row.file)
    assert np.allclose((row.rms, row.peak, row.mean), (audio.std(), abs(audio).max(), audio.mean()), atol=1e-6)


def test_unreadable_files_are_errors(folder):
    (folder / "A" / "bass.wav").write_bytes(b"")
    (folder / "B" / "bass.wav").write_bytes(b"RIFF....")
    (folder / "A" / "vocals.wav").unlink()
    (folder / "A" / "vocals.wav").symlink_to("nowhere.wav")
    errors = said(look(folder, deep=False), "error")
    assert len(errors) == 3
    for sentence, part in zip(errors, ("is empty", "is a broken link to nowhere.wav", "cannot be decoded"), strict=True):
        assert part in sentence
    assert "error: A, bass: " in errors[0]


def test_a_cut_wav_is_found_by_its_header_and_a_cut_flac_by_decoding(folder):
    path = folder / "A" / "bass.wav"
    path.write_bytes(path.read_bytes()[:30000])
    assert "was cut" in only(look(folder, deep=False), "error")
    path.unlink()
    flac = layouts.write(folder / "A" / "bass.flac", layouts.tone(440))
    flac.write_bytes(flac.read_bytes()[:10000])
    assert not look(folder, deep=False).fatal
    assert "A, bass" in only(look(folder, deep=True), "error")


def test_nan_is_an_error_of_the_deep_check(folder):
    soundfile.write(folder / "A" / "bass.wav", np.full(44100, np.nan), 44100, subtype="FLOAT")
    assert not look(folder, deep=False).fatal
    assert "holds NaN" in only(look(folder), "error")


def test_a_silent_stem_is_an_error_even_if_it_has_an_offset(folder):
    layouts.write(folder / "A" / "bass.wav", np.full(44100, 0.05))
    sentence = only(look(folder), "error")
    assert sentence.startswith("error: A, bass: is silent")
    assert "--silent skip" in look(folder).table()


def test_a_silent_file_of_an_audible_stem_is_a_note(folder):
    layouts.write(folder / "A" / "bass.wav", np.zeros(44100))
    tracks = StemFolder.find_tracks(folder, groups={"all": ["bass", "vocals"]})
    inspection = check(tracks, deep=True)
    assert not inspection.fatal and "some of its files are silent: bass.wav" in only(inspection, "note")


@pytest.mark.parametrize(("seconds", "level", "sentence"), [(0.98, "error", "its stems differ in length: bass.wav 0.98 s"),
                                                            (0.995, "note", "differ a little in length")])  # fmt: skip
def test_the_tolerance_decides_whether_unequal_lengths_are_an_error_or_a_note(folder, seconds, level, sentence):
    layouts.write(folder / "A" / "bass.wav", layouts.tone(110, seconds))
    assert sentence in only(look(folder, deep=False), level)
    assert not look(folder, options=StemOptions(length_tolerance=0.03)).fatal


def test_different_rates_in_a_track_are_a_note(folder):
    layouts.write(folder / "A" / "bass.wav", layouts.tone(110, rate=22050), 22050)
    assert "its files have different rates, 22050, 44100 Hz" in only(look(folder, deep=False), "note")


def test_a_rate_below_that_of_training_is_a_warning(folder):
    layouts.write(folder / "A" / "bass.wav", layouts.tone(110, rate=8000), 8000)
    assert "1 of 4 files have 8000 Hz, less than the 16000 Hz" in only(look(folder, sample_rate=16000), "warning")


def test_a_missing_stem_is_an_error_that_names_it(folder):
    (folder / "B" / "vocals.wav").unlink()
    assert "error: B: lacks vocals." == only(look(folder, deep=False), "error")


def test_a_pool_lacks_nothing(tmp_path):
    assert not look(layouts.pool(tmp_path)).fatal


def test_one_label_alone_is_a_warning(folder):
    tracks = StemFolder.find_tracks(folder, ignore=["vocals"])
    assert "there is one label only, bass" in only(check(tracks), "warning")


def test_an_offset_is_a_note_and_clipping_a_warning(folder):
    layouts.write(folder / "A" / "bass.wav", layouts.tone(110) + 0.01)
    layouts.write(folder / "B" / "bass.wav", np.clip(20 * layouts.tone(110), -1, 1))
    inspection = look(folder)
    assert "has a DC offset of 0.99%" in only(inspection, "note")
    assert "bass.wav is clipped at" in only(inspection, "warning")
    layouts.write(folder / "B" / "bass.wav", layouts.tone(110) / abs(layouts.tone(110)).max())  # full scale only
    assert said(look(folder), "warning") == []


def test_a_mixture_is_compared_with_the_sum_of_its_stems(tmp_path):
    _, tracks = open_tracks(layouts.bach10(tmp_path))
    notes = [finding.what for finding in check(tracks, deep=True).findings if "sum of the stems" in finding.what]
    assert len(notes) == 2
    assert "01-AchGottundHerr.wav is 1.000 x the sum" in notes[0] and "is 0.500 x the sum" in notes[1]
    residuals = [float(note.split("residual ")[1].split(" dB")[0]) for note in notes]
    assert all(-100 < residual < -55 for residual in residuals)  # 16-bit rounding of five files


def test_a_mixture_of_other_things_is_a_warning(folder):
    layouts.write(folder / "A" / "mixture.wav", layouts.tone(1234))
    assert "A: mixture.wav is" in only(look(folder), "warning")
    layouts.write(folder / "A" / "mixture.wav", layouts.tone(440, 0.5))
    assert "another rate or length" in only(look(folder), "note")
    (folder / "A" / "mixture.wav").write_bytes(b"?")
    assert "cannot be compared" in only(look(folder), "warning")


def test_files_left_out_of_a_track_are_a_note(folder):
    layouts.write(folder / "A" / "residuals.wav", layouts.tone(1))
    assert only(look(folder, deep=False), "note") == "note: A: left out: residuals.wav."


def test_minutes_count_each_stem_once_however_many_files_it_sums(tmp_path):
    files = tuple(layouts.write(tmp_path / f"{n}.wav", layouts.tone(100 * n, seconds=6)) for n in (1, 2, 3))
    table = check([Track("A", {"low": files[:2], "high": files[2:]})]).table()
    assert [line.split()[4] for line in table.splitlines() if line.startswith("-")] == ["0.1", "0.1"]
    assert table.endswith("1 track, 3 files, 0.2 minutes of stems: 0 errors, 0 warnings, 0 notes.")


@pytest.mark.parametrize(
    ("tracks", "why"),
    [
        ({"train": ("bass", "drums"), "test": ("bass", "drums")}, ""),
        ({"valid": ("bass", "drums"), "test": ("bass", "drums")}, "all its tracks are for validation or testing"),
        ({"train": ("bass",)}, "it has one label only, and separation needs two"),
    ],
)
def test_the_command_exits_with_1_if_training_would_fail(tmp_path, capsys, tracks, why):
    for number, (split, labels) in enumerate(tracks.items()):
        for place, label in enumerate(labels):
            tone = layouts.tone(100 + 50 * number + 20 * place)
            layouts.write(tmp_path / "stems" / split / f"song {number}" / f"{label}.wav", tone)
    assert main(["check", str(tmp_path / "stems"), "--json", str(tmp_path / "found.json")]) == int(bool(why))
    assert (f"Training on it is impossible: {why}." in capsys.readouterr().out) == bool(why)
    assert json.loads((tmp_path / "found.json").read_text())["untrainable"] == why


def test_the_table_has_every_row_every_error_and_a_summary(folder):
    (folder / "A" / "bass.wav").write_bytes(b"")
    layouts.write(folder / "B" / "bass.wav", layouts.tone(110) + 0.01)
    text = look(folder).table()
    head, *lines = text.splitlines()
    assert head.split() == ["track", "label", "rate", "ch", "seconds", "coding", "peak", "mean", "file"]
    assert lines[1].split() == ["B", "bass", "44100", "1", "1.00", "PCM_16", "0.110", "0.0099", "bass.wav"]
    assert any(line.startswith("error: A, bass") for line in lines)
    assert lines[-1] == "2 tracks, 3 files, 0.1 minutes of stems: 1 error, 0 warnings, 1 note."


def test_many_notes_with_one_advice_are_shortened_and_errors_never_are(tmp_path):
    tracks = tuple(f"Song {number}" for number in range(6))
    folder = layouts.track_major(tmp_path, tracks, ("bass", "vocals"), mixture=None, seconds=0.1)
    for track in tracks:
        layouts.write(folder / track / "bass.wav", layouts.tone(110, 0.1) + 0.01)
        layouts.write(folder / track / "vocals.wav", np.zeros(4410))
    lines = look(folder).table().splitlines()
    assert sum(line.startswith("error") for line in lines) == 6
    assert sum("has a DC offset" in line for line in lines) == 4
    at = lines.index("note: and 2 more like this.")
    assert lines[at + 1] == "    Preparing a store removes it."
    assert sum("--silent skip" in line for line in lines) == 1


def test_the_result_converts_to_json(folder):
    (folder / "A" / "bass.wav").write_bytes(b"")
    value = json.loads(json.dumps(look(folder).to_json()))
    assert value["fatal"] and len(value["rows"]) == 3 and value["findings"][0]["level"] == "error"


def test_the_error_message_lists_every_error_and_no_note(folder):
    (folder / "A" / "bass.wav").write_bytes(b"")
    (folder / "B" / "vocals.wav").unlink()
    text = format_errors(look(folder, deep=False).findings)
    assert text.startswith("The data set has 2 errors:\n  A, bass: ") and "\n  B: lacks vocals" in text
    assert format_errors([]) == ""


def test_checking_no_tracks_is_an_error():
    with pytest.raises(DataError, match="There are no tracks to check"):
        check([])


def test_absolute_and_relative_paths_give_the_same_result(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert look("").rows[0].file == "A/bass.wav"
    assert not check([Track("x", {"bass": (folder / "A" / "bass.wav",)})]).fatal


# Diagnoses


def test_a_stem_that_is_too_quiet_to_be_active_is_a_warning_with_the_threshold(folder):
    soundfile.write(
        folder / "A" / "bass.wav", layouts.tone(110) / layouts.tone(110).max() * 10 ** (-65 / 20), 44100, subtype="PCM_24"
    )
    assert "A, bass: is never above -60 dBFS (over 0.1 s; its RMS is -70 dBFS)" in only(look(folder), "warning")


def test_loud_float_stems_are_not_clipped(folder):
    tone = layouts.tone(110)
    soundfile.write(folder / "A" / "bass.wav", tone * 1.8 / np.abs(tone).max(), 44100, subtype="FLOAT")
    inspection = look(folder)
    assert not said(inspection, "warning") and any(
        "bass.wav peaks at +5.1 dBFS" in line for line in said(inspection, "note")
    )


def test_float_stems_that_stay_at_one_value_above_full_scale_are_clipped(folder):
    soundfile.write(folder / "A" / "bass.wav", np.clip(20 * layouts.tone(110), -1.5, 1.5), 44100, subtype="FLOAT")
    assert "bass.wav is clipped at" in only(look(folder), "warning")


def test_integer_samples_in_a_float_file_are_reported(folder):
    soundfile.write(folder / "A" / "bass.wav", np.round(32767 * layouts.tone(110)), 44100, subtype="FLOAT")
    assert "as integer samples in a float file do" in only(look(folder), "warning")


def test_cancelling_channels_are_reported_apart_from_silence(folder, tmp_path):
    tone = layouts.tone(110)
    layouts.write(folder / "A" / "bass.wav", np.stack([tone, -tone], axis=1))
    inspection = look(folder)
    assert "A, bass: has channels that cancel" in only(inspection, "error")
    with pytest.raises(DataError, match="A, bass: has channels that cancel.*\n.*Invert one channel"):
        prepare(StemFolder.find_tracks(folder), tmp_path / "store", progress=False)
    layouts.write(folder / "A" / "bass.wav", np.stack([tone, -0.95 * tone], axis=1))
    assert "their mean is 32 dB below them" in only(look(folder), "warning")


def test_names_too_long_for_a_store_are_an_error_before_anything_is_written(folder, tmp_path):
    (folder / "A").rename(folder / ("x" * 248))
    with pytest.raises(DataError, match="a name in it has 248 bytes, more than the 230 that a store can keep"):
        prepare(StemFolder.find_tracks(folder), tmp_path / "store", progress=False)
    assert not list((tmp_path / "store").rglob("*.wav"))


def test_unread_audio_beside_the_stems_is_a_warning(folder):
    (folder / "A" / "vocals2.m4a").write_bytes(b"")
    (folder / "A" / ".keys.wav").write_bytes(b"")
    (folder / "A" / "._bass.wav").write_bytes(b"")
    sentence = only(look(folder, deep=False), "warning")
    assert sentence.startswith("warning: A: audio beside its stems is not read: .keys.wav, vocals2.m4a")


def test_a_missing_stem_can_be_declared_silent(folder):
    (folder / "A" / "bass.wav").unlink()
    assert "--missing silence" in look(folder, deep=False).table() and look(folder, deep=False).fatal
    assert not look(folder, deep=False, options=StemOptions(missing="silence")).fatal


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": float("nan")}, {"workers": 0}])
def test_numbers_out_of_range_are_errors(folder, wrong):
    with pytest.raises(ConfigError):
        look(folder, deep=False, **wrong)
