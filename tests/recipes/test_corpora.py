"""Test the stand-in corpora: the audio matches the score, and the body is pretrained on no test piece."""

from __future__ import annotations

import itertools
import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.store.store import Store
from recipes.corpora import bach10, ensembles
from recipes.corpora.__main__ import main
from recipes.corpora.bach10 import render_bach10
from recipes.corpora.bands import band, harmonise, triad
from recipes.corpora.bands import notes_array as notes
from recipes.corpora.ensembles import draw_pieces, excerpt, is_for, is_heard, render_ensembles
from recipes.corpora.expression import beats_to_seconds, perform
from recipes.corpora.processes import in_order
from recipes.corpora.programs import KITS, PROGRAMS
from recipes.corpora.rendering import fit_range, render_piece
from recipes.corpora.scores import (
    BACH10_WORKS,
    DEMO_TEST,
    DEMO_TRAIN,
    body_scores,
    chorale_titles,
    load_scores,
    melody,
    plain,
    read_score,
    same_melody,
    tune_scores,
    work_path,
)
from recipes.corpora.scores import tested_works as works_under_test
from recipes.corpora.synth import RATE, Sound, default_soundfont, play

PIECE = re.compile(r"^(0[1-9]|10)-[A-Za-z]+$")  # Bach10's own
INSTRUMENTS = ("violin", "clarinet", "saxphone", "bassoon")
SCALE = (0, 2, 4, 5, 7, 9, 11, 12)


@pytest.fixture(scope="module")
def chorales() -> dict[str, list[np.ndarray]]:
    """A few of Bach's chorales, parsed once."""
    names = ("bwv255", "bwv48.3", "bwv274", "bwv62.6", "bwv326", "bwv130.6", "bwv253")
    return {name: read_score(work_path(name)) for name in names}


@pytest.fixture(scope="module")
def small_bach10(tmp_path_factory):
    """One chorale to train on and one for the test."""
    out = tmp_path_factory.mktemp("bach10")
    return out, render_bach10(out, minutes=0.1, held_out=1)


@pytest.fixture
def material(monkeypatch):
    """Replace music21's corpus by two scores and two tunes, one of each for each split."""
    names = {split: next(f"made/{i}" for i in range(999) if is_for(f"made/{i}", split)) for split in ("train", "valid")}
    part = notes([(i * 0.5, 0.5, 60 + SCALE[i % 8]) for i in range(32)])
    lower = part - np.array([0, 0, 12, 0], dtype=np.float32)
    scores = {name: [part, part - np.array([0, 0, 5, 0], dtype=np.float32), lower] for name in names.values()}
    tunes = {name: [part] for name in names.values()}
    monkeypatch.setattr(ensembles, "read_material", lambda cache, workers: (scores, tunes))
    return scores, tunes


def line(pitches, length: float = 0.5) -> np.ndarray:
    """Return pitches one after the other as [onset, end, pitch, velocity], in seconds, legato."""
    onsets = np.arange(len(pitches)) * length
    return np.column_stack([onsets, onsets + length * 0.95, pitches, np.full(len(pitches), 90)])


def cents_off(audio: np.ndarray, pitch: float) -> float:
    """Return the distance in cents between the strongest bin near a MIDI pitch and that pitch."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 2**18))
    hertz = np.fft.rfftfreq(2**18, 1 / RATE)
    expected = 440 * 2 ** ((pitch - 69) / 12)
    near = (hertz > expected * 2 ** (-1 / 12)) & (hertz < expected * 2 ** (1 / 12))
    assert spectrum[near].max() > 0.02 * spectrum.max(), "nothing sounds there"
    return float(1200 * np.log2(hertz[near][spectrum[near].argmax()] / expected))


# --- synthesis --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program, lowest", [(40, 60), (71, 60), (66, 54), (70, 43)])
def test_a_scale_sounds_at_the_pitches_of_its_notes(program, lowest):
    scale = [lowest + step for step in SCALE]
    audio = play(line(scale), Sound(default_soundfont(), program), seconds=4.5)
    for i, pitch in enumerate(scale):
        note = audio[round((i * 0.5 + 0.1) * RATE) : round((i * 0.5 + 0.45) * RATE)]
        assert abs(cents_off(note, pitch)) < 12  # the soundfont's own samples are up to this far out of tune


def test_detuning_shifts_the_pitch_by_the_given_cents():
    note = line([69], length=1.0)
    plain_pitch, higher = (
        cents_off(play(note, Sound(default_soundfont(), 71, detune=cents), 1.0)[RATE // 5 : RATE * 4 // 5], 69)
        for cents in (0.0, 30.0)
    )
    assert higher - plain_pitch == pytest.approx(30.0, abs=2.0)


def test_a_part_sounds_the_same_after_any_other_part():
    note = line([62, 64, 65])
    violin = Sound(default_soundfont(), 40, detune=5.0, vibrato=(30.0, 5.0))
    first = play(note, violin, 2.0)
    play(line([36, 38]), Sound(default_soundfont(), 0, drums=True), 1.0)
    play(note, Sound(default_soundfont(), 71, detune=-20.0, vibrato=(25.0, 6.1)), 0.7)  # cut while it sounds and bends
    assert np.array_equal(play(note, violin, 2.0), first)


def test_two_programs_give_two_sounds():
    spectra = [np.abs(np.fft.rfft(play(line([60]), Sound(default_soundfont(), p), 0.5))) for p in (40, 71, 66, 70, 0)]
    likeness = np.corrcoef(spectra)[np.triu_indices(len(spectra), 1)]
    assert likeness.max() < 0.95


def test_a_missing_soundfont_is_named(tmp_path):
    with pytest.raises(DataError, match="no-such.sf2 does not exist"):
        play(line([60]), Sound(str(tmp_path / "no-such.sf2"), 0), 0.5)


def test_a_file_that_is_no_soundfont_is_an_error(tmp_path):
    (tmp_path / "text.sf2").write_text("not a soundfont")
    with pytest.raises(DataError, match="cannot be read"):
        play(line([60]), Sound(str(tmp_path / "text.sf2"), 0), 0.5)


# --- performance ------------------------------------------------------------------------------------------------------


def test_only_a_fermata_delays_the_time():
    part = np.array([(0, 1, 60, 0), (1, 1, 62, 0), (2, 2, 64, 1), (4, 4, 60, 0)], dtype=np.float32)
    steady, waiting = (beats_to_seconds([part], bpm=60, hold=hold) for hold in (0.0, 0.75))
    beats = np.arange(0, 8.1, 0.25)
    assert np.allclose(steady(beats), beats)
    assert np.allclose(waiting(beats[beats <= 3.5]), beats[beats <= 3.5])
    assert np.allclose(waiting(beats[beats >= 4.0]), beats[beats >= 4.0] + 0.75)


def test_parts_are_played_off_the_grid_but_near_it():
    part = notes([(i, 1.0, 60) for i in range(200)])
    played = perform(part, lambda beats: beats.astype(float), np.random.default_rng(0), lag=0.015, jitter=0.012)
    late = played[:, 0] - part[:, 0]
    assert 0.008 < late[1:].std() < 0.016
    assert np.abs(late).max() < 0.08
    assert (played[:, 1] > played[:, 0]).all()
    assert played[:, 3].min() >= 20 and played[:, 3].max() <= 127 and len(np.unique(played[:, 3])) > 10


def test_players_breathe_after_a_fermata():
    part = np.array([(0, 2, 60, 0), (2, 2, 62, 1)], dtype=np.float32)
    ends = [
        perform(part, lambda beats: beats, np.random.default_rng(0), length=1.0, breath=breath)[:, 1]
        for breath in (0.0, 0.4)
    ]
    assert ends[0] - ends[1] == pytest.approx([0.0, 0.4])


# --- scores -----------------------------------------------------------------------------------------------------------


def test_no_test_piece_is_among_the_scores_for_pretraining():
    names, titles = body_scores(), chorale_titles()
    tested = {work for group in BACH10_WORKS.values() for work in group}
    tested |= {work for _, work in DEMO_TRAIN + DEMO_TEST}
    assert len(names) > 400 and len(tested) == 20 + 21
    assert not {f"bach/{work}" for work in tested} & set(names)
    tested_titles = {plain(title) for title in BACH10_WORKS} | {plain(titles[work]) for work in tested if work in titles}
    heard_titles = {plain(titles[name[5:]]) for name in names if name[5:] in titles}
    # Compare whole titles: many contain 'Christus'.
    assert not tested_titles & heard_titles


def test_the_list_of_bach10_agrees_with_music21():
    titles = chorale_titles()
    for title, works in BACH10_WORKS.items():
        assert plain(titles[works[0]]).startswith(plain(title)[:12]), title


def test_the_stand_in_plays_no_melody_of_bach10_and_none_twice():
    works = [work for _, work in DEMO_TRAIN + DEMO_TEST]
    assert len(set(works)) == 20
    assert not set(works) & {work for group in BACH10_WORKS.values() for work in group}
    assert len({plain(chorale_titles().get(work, work)) for work in works}) == 20
    assert all(PIECE.match(f"01-{title}") for title, _ in DEMO_TRAIN + DEMO_TEST)


def test_the_same_melody_is_recognised_under_another_number(chorales):
    assert same_melody(melody(chorales["bwv255"]), melody(chorales["bwv48.3"]))
    assert same_melody(melody(chorales["bwv274"]), melody(chorales["bwv62.6"]))
    assert not same_melody(melody(chorales["bwv255"]), melody(chorales["bwv253"]))


def test_the_melody_is_found_below_the_trumpets(chorales):
    tune = [melody(chorales["bwv326"])]
    assert is_heard(chorales["bwv130.6"], tune)
    assert not same_melody(melody(chorales["bwv130.6"]), tune[0])
    assert not is_heard(chorales["bwv253"], tune)


def test_a_score_is_read_as_music21_reads_it(chorales):
    parts = chorales["bwv253"]
    assert len(parts) == 4
    assert [part[:, 2].mean() for part in parts] == sorted([part[:, 2].mean() for part in parts], reverse=True)
    assert parts[0][:, 3].sum() == 4  # fermatas
    assert {float((part[:, 0] + part[:, 1]).max()) for part in parts} == {40.0}


def test_scores_are_parsed_once(tmp_path, monkeypatch):
    paths, cache = {"bach/bwv253": work_path("bwv253"), "nonsense": tmp_path / "broken.xml"}, tmp_path / "scores.json"
    (tmp_path / "broken.xml").write_text("<score")
    first = load_scores(paths, cache)
    assert list(first) == ["bach/bwv253"]
    monkeypatch.setattr("recipes.corpora.scores.read_score", lambda path: pytest.fail("parsed again"))
    again = load_scores(paths, cache)
    assert all(np.array_equal(a, b) for a, b in zip(first["bach/bwv253"], again["bach/bwv253"], strict=True))


def test_there_are_tunes_and_no_score_is_too_large():
    assert len(tune_scores()) > 300
    assert "beethoven/opus133" not in body_scores()


def test_tested_works_hold_every_harmonisation_with_the_title():
    works = works_under_test()
    assert {"bwv255", "bwv48.3", "bwv385", "bwv169.7", "bwv197.5", "bwv365", "bwv145-a"} <= works
    assert "bwv269" not in works


# --- the stand-in for Bach10 ------------------------------------------------------------------------------------------


def test_the_tree_has_bach10s_names_and_format(small_bach10):
    for tree in small_bach10[1].values():
        (piece,) = tree.glob("[01]*")
        assert PIECE.match(piece.name)
        names = {f"{piece.name}-{instrument}.wav" for instrument in INSTRUMENTS} | {f"{piece.name}.wav"}
        assert {path.name for path in piece.iterdir()} == names
        infos = [soundfile.info(path) for path in piece.iterdir()]
        assert {(info.samplerate, info.channels, info.subtype) for info in infos} == {(44100, 1, "PCM_16")}
        assert len({info.frames for info in infos}) == 1 and infos[0].duration > 20


def test_stems_are_level_balanced_and_sum_to_the_mix_without_clipping(small_bach10):
    (piece,) = small_bach10[1]["train"].glob("[01]*")
    stems = np.stack([soundfile.read(piece / f"{piece.name}-{i}.wav", dtype="int16")[0] for i in INSTRUMENTS])
    mix = soundfile.read(piece / f"{piece.name}.wav", dtype="int16")[0]
    assert np.array_equal(stems.sum(axis=0), mix)
    assert 0.3 < np.abs(mix).max() / 32767 < 0.99
    rms = np.sqrt(np.square(stems / 32767).mean(axis=1))
    assert rms == pytest.approx(np.full(4, rms[0]), rel=1e-3)
    assert 0.04 < rms[0] <= 0.0901


def test_a_finished_corpus_is_not_rendered_again_and_an_unfinished_one_is_completed(small_bach10, tmp_path, monkeypatch):
    out, trees = small_bach10
    (whole,) = trees["train"].glob("[01]*")
    monkeypatch.setattr(bach10, "render_chorale", lambda *args: pytest.fail("played again"))
    assert render_bach10(out, minutes=0.1, held_out=1) == trees
    with pytest.raises(ConfigError, match=r"other options \(seed differ"):
        render_bach10(out, minutes=0.1, held_out=1, seed=5)
    monkeypatch.undo()
    half = tmp_path / "train" / "Bach10_v1.1" / "09-Left"
    half.mkdir(parents=True)
    shutil.copy(out / "scores.json", tmp_path)
    (tmp_path / "unfinished").touch()
    again = render_bach10(tmp_path, minutes=0.1, held_out=1)
    assert not half.exists()
    (piece,) = again["train"].glob("[01]*")
    assert piece.name == whole.name
    for path in piece.iterdir():  # and identical samples
        assert path.read_bytes() == (whole / path.name).read_bytes()


@pytest.mark.parametrize("render", [render_bach10, render_ensembles])
def test_a_folder_with_other_files_is_left_unchanged(tmp_path, render):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds other files \(train\)"):
        render(tmp_path)
    assert (tmp_path / "train" / "thesis.txt").exists()


def test_another_seed_gives_another_performance(small_bach10, tmp_path):
    shutil.copy(small_bach10[0] / "scores.json", tmp_path)
    (tmp_path / "unfinished").touch()
    path = render_bach10(tmp_path, minutes=0.1, held_out=1, seed=1)["train"]
    (piece,), (other,) = path.glob("[01]*"), small_bach10[1]["train"].glob("[01]*")
    assert (piece / f"{piece.name}.wav").read_bytes() != (other / f"{piece.name}.wav").read_bytes()


@pytest.mark.parametrize(
    "options, message", [({"held_out": 0}, "expected 1 to 10"), ({"minutes": 0.1, "held_out": 11}, "expected 1 to 10")]
)
def test_impossible_options_are_errors(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        render_bach10(tmp_path, **options)


def test_more_minutes_than_the_chorales_last_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(bach10, "render_chorale", lambda *args: 30.0)
    monkeypatch.setattr(bach10, "chorale", lambda work, out: [])
    with pytest.raises(ConfigError, match="are 5.0 minutes long. Give fewer minutes"):
        render_bach10(tmp_path, minutes=5.5)
    assert not (tmp_path / "corpus.json").exists()


# --- the ensembles ----------------------------------------------------------------------------------------------------


def test_there_are_many_programs_with_different_labels_and_no_sound_effects():
    labels = [entry[0] for entry in PROGRAMS.values()] + list(KITS.values())
    assert len(PROGRAMS) >= 60 and max(PROGRAMS) < 120 and len(set(labels)) == len(labels)
    assert all(high - low >= 20 for _, low, high, _ in PROGRAMS.values())


@pytest.mark.parametrize("program", [40, 43, 72, 47])
def test_a_part_is_moved_into_the_range_of_its_program_and_keeps_its_notes(program):
    part = notes([(i, 1.0, pitch) for i, pitch in enumerate(range(45, 85))])
    moved = fit_range(part, program, key=3, rng=np.random.default_rng(0))
    _, low, high, _ = PROGRAMS[program]
    assert moved[:, 2].min() >= low and moved[:, 2].max() <= high
    assert np.array_equal((part[:, 2] + 3) % 12, moved[:, 2] % 12)


def test_a_band_has_drums_and_bass_and_plays_in_its_bars():
    for seed in range(20):
        parts = band(np.random.default_rng(seed), bars=8)
        assert {"drums", "bass"} < set(parts) and 3 <= len(parts) <= 6
        assert parts["drums"][:, 2].min() >= 35 and parts["drums"][:, 2].max() <= 81  # General MIDI's percussion
        for part in parts.values():
            assert part[:, 0].min() >= 0 and part[:, 0].max() < 32 and (part[:, 1] > 0).all()


def test_a_tune_gets_the_chords_that_fit_its_notes():
    tune = notes([(i, 1.0, pitch) for i, pitch in enumerate([60, 64, 67, 72, 57, 60, 64, 69, 67, 71, 74, 67])])
    assert harmonise(tune, 3) == [(0, 0), (9, 1), (7, 0)]  # C, A minor, G
    assert triad((9, 1)) == (9, 0, 4)
    parts = band(np.random.default_rng(1), bars=3, tune=tune)
    assert np.array_equal(parts["lead"], tune)


def test_an_excerpt_starts_at_zero_and_leaves_resting_parts_out():
    busy = notes([(i * 0.5, 0.5, 60) for i in range(400)])
    resting = notes([(0.0, 4.0, 48), (196.0, 4.0, 48)])
    cut = excerpt([busy, resting], np.random.default_rng(0))
    assert len(cut) == 1 and cut[0][0, 0] == 0.0 and len(cut[0]) == 80


def test_a_piece_does_not_depend_on_the_order_and_its_stems_are_valid_audio(material):
    fonts = (default_soundfont(),)
    pieces = [piece for piece, _ in zip(draw_pieces(*material, 0, fonts, valid=2), range(4), strict=False)]
    backwards = {piece.name: render_piece(piece) for piece in reversed(pieces)}
    for piece in pieces:
        stems = render_piece(piece)
        assert 3 <= len(stems) <= 6 and set(stems) <= {e[0] for e in PROGRAMS.values()} | set(KITS.values())
        assert len({len(stem) for stem in stems.values()}) == 1
        for label, stem in stems.items():
            assert np.array_equal(stem, backwards[piece.name][label])
            assert stem.dtype == np.float32 and np.abs(stem).max() <= 0.991
            assert 0.005 < np.sqrt(np.square(stem).mean()) < 0.12


def test_the_corpus_is_a_store_with_a_validation_split_and_is_rendered_once(material, tmp_path, monkeypatch):
    out = render_ensembles(tmp_path / "body", hours=0.06, soundfont=default_soundfont(), workers=1)
    store = Store(out)
    assert store.sample_rate == 16000 and store.dataset == "ensembles"
    assert {track.split for track in store.tracks} == {"train", "valid"}
    hours = sum(track.frames * len(track.stems) for track in store.tracks) / 16000 / 3600
    assert 0.06 <= hours < 0.16
    assert all(stem.active for track in store.tracks for stem in track.stems.values())
    monkeypatch.setattr(ensembles, "read_material", lambda *args: pytest.fail("rendered again"))
    assert render_ensembles(tmp_path / "body", hours=0.06, soundfont=default_soundfont(), workers=1) == out
    with pytest.raises(ConfigError, match=r"\(hours differ"):
        render_ensembles(tmp_path / "body", hours=0.1, soundfont=default_soundfont())


def test_validation_pieces_share_no_score_with_training_pieces(material):
    scores, tunes = material
    only = {split: {name for name in scores if is_for(name, split)} for split in ("train", "valid")}
    assert len(only["train"]) == len(only["valid"]) == 1
    marked = {
        name: [part + np.array([0, 0, 40 * (name in only["valid"]), 0]) for part in parts] for name, parts in scores.items()
    }
    pieces = draw_pieces(marked, tunes, 0, (), valid=10)
    for piece, _ in zip(pieces, range(20), strict=False):
        if piece.kind == "score":
            highest = max(part[:, 2].max() for role, part in piece.parts.items() if role != "drums")
            assert (highest > 100) == (piece.split == "valid")


def test_two_processes_give_the_ordered_results_of_one():
    endless = in_order(math.sqrt, itertools.count(), workers=2)
    assert [next(endless) for _ in range(9)] == [(i, math.sqrt(i)) for i in range(9)]
    endless.close()
    assert list(in_order(math.sqrt, range(3), workers=2)) == list(in_order(math.sqrt, range(3), workers=1))


def test_processes_end_when_their_parent_is_killed(tmp_path):
    script = (
        "import itertools, time\n"
        "from recipes.corpora.processes import in_order\n"
        "if __name__ == '__main__':\n"
        "    import multiprocessing\n"
        "    for _ in in_order(time.sleep, itertools.repeat(0.01), 2):\n"
        "        print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
    )
    (tmp_path / "endless.py").write_text(script)
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, str(tmp_path / "endless.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as process:
        children = [int(pid) for pid in process.stdout.readline().split()]
        process.kill()
    assert len(children) == 2
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in children)


def is_running(pid: int) -> bool:
    """Return whether a process is running (a zombie is not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def test_hours_that_are_not_positive_are_an_error(tmp_path):
    with pytest.raises(ConfigError, match="both must be positive"):
        render_ensembles(tmp_path, hours=0)


def test_the_command_prints_the_error_and_returns_two(tmp_path, capsys):
    assert main(["bach10", "--out", str(tmp_path), "--held_out", "12"]) == 2
    assert "held_out is wrong: got 12" in capsys.readouterr().err
