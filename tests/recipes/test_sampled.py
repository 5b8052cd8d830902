"""Test the corpus of recorded notes, with sine tones as recordings: the audio has the written pitches and lengths."""

from __future__ import annotations

import numpy as np
import pytest
from sine_samples import PITCHES, tone, write

from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.store import Store
from recipes.corpora import ensembles, sampled
from recipes.corpora.bands import notes_array
from recipes.corpora.programs import PROGRAMS
from recipes.corpora.sample_bank import BANK_RATE, Recording, Voice, open_bank, read_hits
from recipes.corpora.sampled import (
    SAMPLE_RATE,
    SHIFT,
    choose,
    draw_labels,
    into_voice,
    play_note,
    play_notes,
    render_sampled,
)

SCALE = (0, 2, 4, 5, 7, 9, 11, 12)


def heard(audio: np.ndarray) -> float:
    """Return the MIDI pitch of the strongest sine in audio at 16 kHz."""
    size = 8 * len(audio)
    strongest = np.argmax(np.abs(np.fft.rfft(audio * np.hanning(len(audio)), size)))
    return 69 + 12 * np.log2(strongest * SAMPLE_RATE / size / 440)


@pytest.mark.parametrize("shift", [-4.0, -1.0, 0.0, 0.5, 3.0])
def test_a_note_is_the_recording_shifted_by_semitones_and_cut_to_its_length(shift):
    audio = play_note(tone(60, rate=BANK_RATE), shift, seconds=0.5, release=0.1)
    assert len(audio) == round(0.6 * SAMPLE_RATE)
    expected = 0.5 * np.sin(2 * np.pi * 440 * 2 ** ((60 + shift - 69) / 12) * np.arange(len(audio)) / SAMPLE_RATE)
    middle = slice(800, round(0.5 * SAMPLE_RATE))
    np.testing.assert_allclose(audio[middle], expected[middle], atol=2e-3)
    assert abs(audio[-1]) < 1e-3 and np.abs(audio[round(0.55 * SAMPLE_RATE) :]).max() < 0.3


def test_a_long_note_ends_with_its_recording():
    audio = play_note(tone(60, 0.4, BANK_RATE), 0.0, seconds=1.0, release=0.1)
    assert len(audio) == round(0.4 * SAMPLE_RATE)


@pytest.mark.parametrize("label", sorted(PITCHES))
def test_every_note_sounds_as_written(samples, label):
    (voice,) = open_bank(str(samples)).voices[label]
    for pitch in range(min(PITCHES[label]), max(PITCHES[label]) + 1):
        audio = play_notes(np.array([[0.1, 0.9, pitch, 90]]), voice, 1.2, np.random.default_rng(pitch))
        assert len(audio) == round(1.2 * SAMPLE_RATE)
        assert abs(heard(audio[3200:12800]) - pitch) < 0.35  # players are some cents off
        assert np.abs(audio[:1500]).max() == 0


def test_a_drum_hit_matches_its_velocity_and_silent_recordings_are_left_out(tmp_path):
    for name, peak in (("empty", 0.001), ("loud", 0.8), ("soft", 0.2)):
        write(tmp_path / f"{name}.wav", peak * 2 * tone(72, 0.3))
    drums = {38: (tuple(str(tmp_path / f"{name}.wav") for name in ("empty", "loud", "soft")), 0.5)}
    softest_first = [np.abs(hit).max() for hit in read_hits(drums[38][0])]
    np.testing.assert_allclose(softest_first, [0.25, 1.0], atol=0.01)
    hits = np.array([[0.0, 0.1, 38, 127], [1.0, 1.1, 38, 1], [2.0, 2.1, 99, 127]])
    audio = sampled.play_hits(hits, drums, 3.0, np.random.default_rng(0))
    peaks = [np.abs(audio[second * SAMPLE_RATE : (second + 1) * SAMPLE_RATE]).max() for second in range(3)]
    np.testing.assert_allclose(peaks, [0.5, 0.125, 0.0], atol=0.01)


def test_a_lean_selects_other_recordings_but_none_too_far():
    recordings = tuple(Recording(pitch, str(pitch)) for pitch in range(50, 60))
    rng = np.random.default_rng(0)
    assert choose(recordings, 55, 0.0, rng).pitch == 55
    assert choose(recordings, 55, 2.0, rng).pitch == 57
    assert choose(recordings, 63, -2.0, rng).pitch == 59
    assert choose(recordings, 70, 0.0, rng).pitch == 59
    for pitch in range(46, 64):
        assert abs(choose(recordings, pitch, rng.uniform(-2, 2), rng).pitch - pitch) <= SHIFT


def test_a_part_moves_by_octaves_into_the_recorded_range(samples):
    voice = Voice("bassoon", "made", (Recording(48, "a"), Recording(60, "b")), 0.1)
    part = notes_array([(i, 1.0, pitch) for i, pitch in enumerate(range(30, 90))])
    moved = into_voice(part, voice, 0, np.random.default_rng(0))
    assert moved[:, 2].min() >= 48 - SHIFT and moved[:, 2].max() <= 60 + SHIFT
    assert set((moved[:, 2] - part[:, 2]) % 12) == {0}


@pytest.fixture
def material(monkeypatch):
    """Replace music21's corpus by a score and a tune for each split."""
    part = notes_array([(i * 0.5, 0.5, 60 + SCALE[i % 8]) for i in range(32)])
    four = [part - np.array([0, 0, down, 0], dtype=np.float32) for down in (0, 5, 12, 17)]
    names = {
        split: next(f"made/{i}" for i in range(999) if ensembles.is_for(f"made/{i}", split)) for split in ("train", "valid")
    }
    given = {name: four for name in names.values()}, {name: [part] for name in names.values()}
    monkeypatch.setattr(ensembles, "read_material", lambda cache, workers: given)


def test_the_store_has_equally_long_stems_and_known_labels(samples, material, tmp_path):
    store = Store(render_sampled(tmp_path / "store", samples, hours=0.1, seed=3))
    known = {entry[0] for entry in PROGRAMS.values()} | {"drums-standard"}
    assert set(store.labels) <= known and {"violin", "clarinet", "tenor-sax", "bassoon"} <= set(store.labels)
    assert {track.split for track in store.tracks} == {"train", "valid"}
    for track in store.tracks:
        stems = [store.read(track, label) for label in track.stems]
        assert len(stems) >= 2 and {len(stem) for stem in stems} == {track.frames}
        assert all(np.abs(stem).max() > 0.01 for stem in stems) and np.sqrt(np.mean(sum(stems) ** 2)) > 0.01


def test_corpora_in_one_folder_share_the_parsed_scores(samples, material, monkeypatch, tmp_path):
    given, caches = ensembles.read_material(None, 1), []
    monkeypatch.setattr(ensembles, "read_material", lambda cache, workers: (caches.append(cache), given)[1])
    for name, seed in (("one", 1), ("two", 2)):
        render_sampled(tmp_path / name, samples, hours=0.02, seed=seed)
    assert caches == [tmp_path / "scores.json"] * 2


def test_the_same_seed_gives_the_same_store_and_a_finished_one_is_not_rendered_again(samples, material, tmp_path):
    one = Store(render_sampled(tmp_path / "one", samples, hours=0.02, seed=1))
    two = Store(render_sampled(tmp_path / "two", samples, hours=0.02, seed=1))
    assert [track.name for track in one.tracks] == [track.name for track in two.tracks]
    first = one.tracks[0]
    for label in first.stems:
        np.testing.assert_array_equal(one.read(first, label), two.read(two.tracks[0], label))
    before = (tmp_path / "one" / "corpus.json").stat().st_mtime_ns
    render_sampled(tmp_path / "one", samples, hours=0.02, seed=1)
    assert (tmp_path / "one" / "corpus.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="other options"):
        render_sampled(tmp_path / "one", samples, hours=0.02, seed=2)


def test_no_two_parts_of_a_piece_share_an_instrument(samples):
    bank = open_bank(str(samples))
    part = notes_array([(0, 1, 60)])
    rng = np.random.default_rng(0)
    for parts in (2, 3, 4, 6):
        piece = sampled.Piece("piece", "train", (0, 0), "score", {f"part{i}": part for i in range(parts)}, ())
        for _ in range(20):
            chosen = list(draw_labels(piece, bank, rng).values())
            assert len(set(chosen)) == len(chosen) == min(parts, len(bank.voices))


def test_a_missing_folder_or_one_without_recordings_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"does not exist\. Get the libraries"):
        render_sampled(tmp_path / "store", tmp_path / "nowhere", hours=0.1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="got 0 instruments of sampled.json, expected 2 or more"):
        render_sampled(tmp_path / "store", tmp_path / "empty", hours=0.1)
    assert not (tmp_path / "store").exists()


def test_a_warning_names_the_instruments_without_recordings(samples, material, tmp_path, caplog):
    render_sampled(tmp_path / "store", samples, hours=0.02)
    (message,) = [record.getMessage() for record in caplog.records if "no recordings of" in record.getMessage()]
    assert "flute" in message and "cello" in message
    assert "violin" not in message and "tenor-sax" not in message


@pytest.mark.parametrize("wrong", [{"hours": 0}, {"workers": 0}])
def test_sizes_that_are_not_positive_are_errors(tmp_path, wrong):
    with pytest.raises(ConfigError, match="both must be positive"):
        render_sampled(tmp_path / "store", tmp_path, **wrong)
