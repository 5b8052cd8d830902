"""Test the synthetic players: pitches, harmonics, loudness and the quartets that they play."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import soundfile

from recipes.corpora import players
from recipes.corpora.players import KINDS, Kind, add_played_quartets, draw_player, play_line
from recipes.corpora.quartets import Quartet
from recipes.corpora.source_filter import HIGHEST, RATE, filtered_sum, frame_times, pulses, spectrum_of

PLAIN = Kind(odd=(0, 0), tilt=(0.0, 0.0), low_cut=(1, 1), ripple=(0, 0), vibrato=(0, 0), noise=(-90, -90),
             attack=(0.01, 0.01), glide=(0.01, 0.01))  # fmt: skip


def line(*pitches: float, seconds: float = 1.0) -> np.ndarray:
    """Return notes of one length, one after the other, that begin after 0.1 s."""
    start = 0.1 + seconds * np.arange(len(pitches))
    return np.column_stack([start, start + seconds - 0.02, pitches, np.full(len(pitches), 90.0)])


def hertz_of(pitch: float) -> float:
    """Return the frequency of a MIDI pitch."""
    return 440 * 2 ** ((pitch - 69) / 12)


def levels(audio: np.ndarray, hertz: np.ndarray) -> np.ndarray:
    """Return the strongest level of a spectrum within 3 % of each frequency."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    bins = np.fft.rfftfreq(len(audio), 1 / RATE)
    return np.array([spectrum[np.abs(bins - value) <= 0.03 * value].max() for value in hertz])


def test_pulses_are_the_sum_of_all_harmonics():
    hertz = np.linspace(180, 185, RATE // 4)
    phase = 2 * np.pi * np.cumsum(hertz / RATE)
    count = np.floor(HIGHEST / hertz)
    expected = sum(np.where(k <= count, np.cos(k * phase), 0.0) for k in range(1, 60)) / np.sqrt(count / 2)
    np.testing.assert_allclose(pulses(hertz), expected, atol=1e-6)


def test_a_filter_of_gain_one_returns_the_source_and_a_silent_source_leaves_the_noise():
    frames, rng = 8000, np.random.default_rng(0)
    audio = rng.normal(0, 1, frames)
    ones = np.ones((len(frame_times(frames)), 257))
    same = filtered_sum(spectrum_of(audio), ones, 0 * ones, rng, frames)
    assert np.corrcoef(same, audio)[0, 1] > 0.9999 and np.sqrt(np.square(same).mean()) == pytest.approx(1)
    noise = filtered_sum(spectrum_of(0 * audio), ones, ones, rng, frames)
    power = scipy.signal.welch(noise, RATE, nperseg=256)[1][2:-2]
    assert power.max() / power.min() < 6  # white


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_player_plays_the_written_pitches(kind):
    pitches = {"violin": (62, 74), "clarinet": (55, 67), "saxophone": (53, 65), "bassoon": (40, 55)}[kind]
    for seed in range(4):
        rng = np.random.default_rng(seed)
        audio = play_line(line(*pitches), draw_player(KINDS[kind], rng), 2.5, rng)
        assert audio.shape == (round(2.5 * RATE),) and audio.dtype == np.float32 and np.isfinite(audio).all()
        assert np.abs(audio[: RATE // 20]).max() < 0.2 * np.abs(audio).max()  # silent before the first note
        for number, pitch in enumerate(pitches):
            middle = audio[round((0.4 + number) * RATE) : round((0.9 + number) * RATE)]
            f = hertz_of(pitch)
            harmonics = levels(middle, f * np.array([1, 3, 5]))
            between = levels(middle, f * np.array([1.5, 3.5, 5.5]))
            assert harmonics.max() > 8 * between.max()
            # The audio repeats after the period of the pitch.
            wave = middle - middle.mean()
            assert np.corrcoef(wave[: -round(RATE / f)], wave[round(RATE / f) :])[0, 1] > 0.5


def test_a_clarinet_lacks_even_harmonics_and_a_saxophone_does_not():
    odd, even = np.array([1, 3, 5]), np.array([2, 4, 6])
    ratios = {}
    for kind in ("clarinet", "saxophone"):
        found = []
        for seed in range(6):
            rng = np.random.default_rng(seed)
            audio = play_line(line(55, seconds=1.5), draw_player(KINDS[kind], rng), 2.0, rng)[RATE // 2 : RATE * 3 // 2]
            found.append(np.log10(levels(audio, hertz_of(55) * odd) / levels(audio, hertz_of(55) * even)).mean())
        ratios[kind] = 20 * np.median(found)
    assert ratios["clarinet"] > 8 and ratios["saxophone"] < 6


def test_a_louder_note_is_brighter():
    player = draw_player(PLAIN, np.random.default_rng(0))
    player = players.Player(**{**vars(player), "tilt": 6.0, "corner": 300.0, "brightness": 2.0, "swell": 0.0})
    notes = line(57, 57)
    notes[1, 3] = 30
    audio = play_line(notes, player, 2.5, np.random.default_rng(1))
    low_high = [levels(audio[a : a + RATE // 2], hertz_of(57) * np.array([1, 10])) for a in (RATE // 2, RATE * 3 // 2)]
    assert low_high[0][1] / low_high[0][0] > 1.5 * low_high[1][1] / low_high[1][0]


def test_two_players_of_one_kind_differ_and_the_same_seed_gives_the_same_sound():
    def made(seed):
        rng = np.random.default_rng(seed)
        return play_line(line(60, 64, 67), draw_player(KINDS["violin"], rng), 3.5, rng)

    np.testing.assert_array_equal(made(3), made(3))
    assert np.corrcoef(made(3), made(4))[0, 1] < 0.9


def test_added_quartets_have_four_equally_long_stems_and_are_not_made_twice(tmp_path, monkeypatch):
    parts = tuple(np.array([[i, 1, pitch, 0] for i in range(4)], dtype=np.float32) for pitch in (74, 67, 60, 48))
    monkeypatch.setattr(players, "plan", lambda works, tracks, seed, fonts, tree: [Quartet("bwv1", parts, (0, 0), "", "")])
    assert add_played_quartets(tmp_path, tmp_path, tracks=1, takes=2) == 2
    folder = tmp_path / "bwv1-played1"
    stems = {path.stem: soundfile.read(path) for path in folder.iterdir()}
    assert set(stems) == {"violin", "clarinet", "saxophone", "bassoon"}
    assert len({len(audio) for audio, _ in stems.values()}) == 1 and {rate for _, rate in stems.values()} == {RATE}
    assert all(0.01 < np.abs(audio).max() < 1 for audio, _ in stems.values())
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    other = soundfile.read(tmp_path / "bwv1-played2" / "violin.wav")[0]
    least = min(len(other), len(stems["violin"][0]))
    assert np.corrcoef(other[:least], stems["violin"][0][:least])[0, 1] < 0.9
    add_played_quartets(tmp_path, tmp_path, tracks=1)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
