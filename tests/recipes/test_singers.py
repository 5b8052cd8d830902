"""Test the synthetic singers: pitches, resonances, consonants and the takes that they sing."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from nussl_transfer.errors import ConfigError
from recipes.bundled import VOICES as VOICES_OF
from recipes.corpora import singers
from recipes.corpora.singers import LETTERS, VOWELS, Singer, Syllable, draw_singer, draw_text, sing_line, sung_tracks
from recipes.corpora.source_filter import BINS, RATE


def line(*pitches: float, seconds: float = 1.0) -> np.ndarray:
    """Return notes of one length, one after the other, that begin after 0.2 s."""
    start = 0.2 + seconds * np.arange(len(pitches))
    return np.column_stack([start, start + seconds, pitches, np.full(len(pitches), 90.0)])


def syllable(letter: str, consonant: str = "none", seconds: float = 0.1, hiss: float = 5000.0) -> Syllable:
    """Return a syllable of one pure vowel."""
    return Syllable(np.eye(len(LETTERS))[LETTERS.index(letter)], consonant, seconds, hiss)


def plain(voice: str = "T") -> Singer:
    """Return a singer whose resonances are those of the table, without vibrato and with little breath."""
    table = np.array([np.transpose(VOWELS[voice][letter]) for letter in LETTERS], dtype=float)
    return Singer(table, np.ones(len(BINS)), -60.0, 0.0, 0.0, 0.03, 0.05, -80.0, 0.03)


def level(audio: np.ndarray, low: float, high: float) -> float:
    """Return the level in dB of a band of frequencies."""
    power = np.square(np.abs(np.fft.rfft(audio * np.hanning(len(audio)))))
    hertz = np.fft.rfftfreq(len(audio), 1 / RATE)
    return 10 * np.log10(power[(hertz >= low) & (hertz < high)].sum())


@pytest.mark.parametrize(("voice", "pitch"), [("S", 76), ("A", 67), ("T", 60), ("B", 48)])
def test_a_singer_sings_the_written_pitch(voice, pitch):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        audio = sing_line(line(pitch, seconds=2.0), [syllable("a")], draw_singer(voice, rng), 2.5, rng)
        assert audio.shape == (round(2.5 * RATE),) and audio.dtype == np.float32 and np.isfinite(audio).all()
        middle = audio[RATE : 2 * RATE]
        fundamental = 440 * 2 ** ((pitch - 69) / 12)
        near = sum(level(middle, fundamental * k * 0.93, fundamental * k * 1.07) for k in (1, 2)) / 2
        between = sum(level(middle, fundamental * k * 1.2, fundamental * k * 1.3) for k in (1, 2)) / 2
        assert near > between + 10


def test_vowels_have_the_resonances_of_the_table():
    notes, rng = line(45, 45, seconds=1.5), np.random.default_rng(0)
    audio = sing_line(notes, [syllable("i"), syllable("a")], plain(), 3.5, rng)
    i, a = audio[RATE // 2 : RATE * 3 // 2], audio[RATE * 2 : RATE * 3]
    # A tenor's i has resonances at 290 and 1,870 Hz, the a at 650 and 1,080 Hz.
    assert level(i, 230, 350) > level(i, 590, 710) + 6 and level(a, 590, 710) > level(a, 230, 350) + 6
    assert level(i, 1700, 2000) > level(i, 1000, 1200) and level(a, 1000, 1200) > level(a, 1700, 2000)


def test_consonants_interrupt_the_voice_and_hiss():
    def made(consonant):
        words = [syllable("a"), syllable("a", consonant, seconds=0.14)]
        return sing_line(line(57, 57), words, plain(), 2.5, np.random.default_rng(1))

    before = slice(round(1.09 * RATE), round(1.17 * RATE))  # the second note begins at 1.2 s
    none, stop, noise, hum = (made(consonant)[before] for consonant in ("none", "stop", "noise", "hum"))
    assert level(stop, 100, 4000) < level(none, 100, 4000) - 3
    assert level(noise, 4000, 6000) - level(noise, 100, 1000) > level(none, 4000, 6000) - level(none, 100, 1000) + 8
    assert level(hum, 1500, 4000) - level(hum, 100, 400) < level(none, 1500, 4000) - level(none, 100, 400) - 6


def test_a_syllable_without_a_vowel_continues_the_one_before():
    notes = line(57, 60)
    went_on = sing_line(notes, [syllable("o"), None], plain(), 2.5, np.random.default_rng(2))
    same = sing_line(notes, [syllable("o"), syllable("o")], plain(), 2.5, np.random.default_rng(2))
    np.testing.assert_allclose(went_on, same, atol=1e-6)


def test_voices_that_begin_together_sing_the_same_syllable():
    upper, lower = (np.array([[beat, 1, 60, 0] for beat in beats], dtype=np.float32) for beats in ((0, 1, 2), (0, 2, 3)))
    text = draw_text([upper, lower], np.random.default_rng(0))
    assert list(text) == [0, 1, 2, 3] and text[0] is not None


def test_takes_have_four_equally_long_stems_and_are_not_sung_twice(tmp_path, monkeypatch):
    parts = [np.array([[i, 1, pitch, 0] for i in range(4)], dtype=np.float32) for pitch in (72, 65, 58, 48)]
    monkeypatch.setattr(singers, "TRAIN", ("bach/bwv1",))
    monkeypatch.setattr(singers, "work_file", lambda name: tmp_path / name)
    monkeypatch.setattr(singers, "load_scores", lambda paths, cache, workers: dict.fromkeys(paths, parts))
    tracks = sung_tracks(tmp_path, takes=2, workers=1)
    assert [track.name for track in tracks] == ["bach-bwv1-sung1", "bach-bwv1-sung2"]
    assert {track.origin for track in tracks} == {"bach-bwv1"}
    folder = tmp_path / "sung" / "bach-bwv1-sung1"
    stems = {path.stem: soundfile.read(path) for path in folder.iterdir()}
    assert set(stems) == set(tracks[0].stems) == {"soprano", "alto", "tenor", "bass"}
    assert len({len(audio) for audio, _ in stems.values()}) == 1 and {rate for _, rate in stems.values()} == {RATE}
    assert all(0.01 < np.abs(audio).max() < 1 for audio, _ in stems.values())
    other = soundfile.read(tmp_path / "sung" / "bach-bwv1-sung2" / "alto.wav")[0]
    assert len(other) != len(stems["alto"][0])  # another tempo
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    grouped = sung_tracks(tmp_path, takes=1, groups=VOICES_OF)
    assert set(grouped[0].stems) == {"female", "male"} and len(grouped[0].stems["male"]) == 2
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_no_takes_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="takes is wrong: got 0"):
        sung_tracks(tmp_path, takes=0)
