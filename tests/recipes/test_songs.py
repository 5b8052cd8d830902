"""Test generated songs and their singers: repeated sections, breaths, and correct pitch."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from recipes.corpora.bands import BEATS, triad
from recipes.corpora.bands import notes_array as notes
from recipes.corpora.expression import swells, voice_bends, waves
from recipes.corpora.programs import PROGRAMS
from recipes.corpora.songs import PRESENCE, Song, below, compose, draw_chords, phrases, play_part
from recipes.corpora.studio import PROGRAMS_OF, draw_band, draw_room, in_room, other_patch, panned
from recipes.corpora.synth import RATE, default_soundfont
from recipes.corpora.voices import FORMANTS, shape, sing

FONT = default_soundfont()


def test_every_role_plays_in_a_song_of_any_length_within_its_bars():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        wanted = float(rng.choice([3, 12, 60, 240]))
        song = compose(rng, wanted, [*PRESENCE, "guitar 2"])
        assert set(song.parts) == {*PRESENCE, "guitar 2"}
        last = max(part[:, 0].max() for part in song.parts.values())
        bars = max(2, round(wanted * song.bpm / 60 / BEATS))
        assert (bars - 1) * BEATS <= last < bars * BEATS
        for part in song.parts.values():
            assert len(part) and part[:, 1].min() > 0 and part[:, 0].min() >= 0
            assert part[:, 2].min() >= 24 and part[:, 2].max() <= 100


def test_a_repeated_section_is_the_same_music():
    song = compose(np.random.default_rng(0), 240.0, ["drums", "bass", "piano"])
    lengths = {"I": 4, "V": 8, "C": 8, "B": 4, "S": 8}
    starts = np.cumsum([0, *(lengths[letter] for letter in song.form)]) * BEATS
    verses = [at for at, letter in zip(starts, song.form, strict=False) if letter == "V"]
    bass = song.parts["bass"]
    first, second = (bass[(bass[:, 0] >= at) & (bass[:, 0] < at + 32)] - [at, 0, 0, 0] for at in verses[:2])
    assert np.array_equal(first, second)


def test_only_the_seed_changes_keys_tempi_and_forms():
    songs = [compose(np.random.default_rng(seed), 200.0, ["bass"]) for seed in (*range(20), 0)]
    assert np.array_equal(songs[0].parts["bass"], songs[-1].parts["bass"]) and songs[0].bpm == songs[-1].bpm
    assert len({song.form for song in songs}) > 3 and len({round(song.bpm) for song in songs}) > 10
    assert len({int(song.parts["bass"][0, 2]) % 12 for song in songs}) > 5


def test_the_solo_plays_the_tune():
    tune = notes([(i, 1.0, pitch) for i, pitch in enumerate([60, 64, 67, 72] * 4)])
    for seed in range(20):
        song = compose(np.random.default_rng(seed), 240.0, ["drums", "bass", "lead"], tune)
        if "S" in song.form:
            steps = np.diff(song.parts["lead"][:, 2]).tolist()
            assert any(steps[i : i + 15] == np.diff(tune[:, 2]).tolist() for i in range(len(steps)))


def test_chords_begin_on_the_tonic_and_move_with_each_bar():
    chords = draw_chords(np.random.default_rng(0), "minor", 9, 8)
    assert chords[0] == (9, 1) and len(chords) == 8
    assert all(one != other for one, other in zip(chords, chords[1:], strict=False))


def test_a_singer_breathes_every_second_bar():
    melody = notes([(i * 0.5, 2.0, 60) for i in range(64)])
    sung = phrases(melody)
    ends = (sung[:, 0] + sung[:, 1]) % (2 * BEATS)
    assert sung[:, 1].min() > 0 and (sung[:, 0] % (2 * BEATS)).max() < 7 and ends.max() <= 7.25


def test_a_second_voice_is_in_the_chord_and_below():
    melody = notes([(i, 1.0, 60 + i) for i in range(8)])
    chords = [(0, 0), (9, 1)]
    for one, other in zip(melody, below(melody, chords), strict=True):
        assert 3 <= one[2] - other[2] <= 9
        assert other[2] % 12 in triad(chords[int(one[0] // BEATS)])


def test_swing_makes_the_second_eighth_late_and_no_other():
    straight, swung = (Song({}, 60.0, swing, "C").seconds(np.array([0.0, 0.5, 1.0, 1.5])) for swing in (0.0, 0.1))
    assert straight == pytest.approx([0, 0.5, 1, 1.5]) and swung == pytest.approx([0, 0.6, 1, 1.6])


def test_the_first_beat_of_a_bar_is_louder_than_offbeat_notes():
    part = notes([(i / 4, 0.25, 60) for i in range(1600)])
    played = play_part(part, Song({"bass": part}, 100.0, 0.0, "C"), np.random.default_rng(0), swing=0.0)
    loud = [played[at::16, 3].mean() for at in range(16)]
    assert loud[0] > loud[4] + 2 > loud[2] + 5 > loud[1]


# --- singers ----------------------------------------------------------------------------------------------------------


def spectrum(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.fft.rfftfreq(2**18, 1 / RATE), np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 2**18))


def test_a_singer_is_in_tune_and_in_time():
    line = np.array([[0.2, 3.2, 60, 90]])
    audio = sing(line, "T", [(0.0, "a"), (1.5, "u")], 4.0, [FONT], np.random.default_rng(5), RATE)
    assert len(audio) == 4 * RATE and audio.dtype == np.float32
    hertz, strength = spectrum(audio[RATE : 3 * RATE])
    near = (hertz > 261.6 * 2 ** (-1 / 12)) & (hertz < 261.6 * 2 ** (1 / 12))
    assert strength[near].max() > 0.02 * strength.max()
    assert abs(1200 * np.log2(hertz[near][strength[near].argmax()] / 261.6)) < 50  # detuning, drift, vibrato
    assert np.abs(audio[: RATE // 6]).max() < 0.02 * np.abs(audio).max()


def test_a_vowel_is_louder_at_its_formants_but_not_overall():
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE).astype(np.float32)
    shaped = shape(noise, FORMANTS["B"], [(0.0, "a"), (2.0, "u")], 1.0, 2.0, RATE)
    for start, vowel in ((0.2, "a"), (2.2, "u")):
        inside = slice(round(start * RATE), round((start + 1.6) * RATE))
        hertz, power = scipy.signal.welch(shaped[inside], RATE, nperseg=4096)
        _, before = scipy.signal.welch(noise[inside], RATE, nperseg=4096)
        gain = 10 * np.log10(power / before)
        for formant in FORMANTS["B"][vowel]:
            assert gain[np.abs(hertz - formant) < 40].mean() > gain[hertz > 8000].mean() + 7
        assert np.square(shaped[inside]).mean() == pytest.approx(np.square(noise[inside]).mean(), rel=0.1)


def test_a_voice_scoops_up_and_its_vibrato_comes_late():
    line = np.array([[0.0, 4.0, 60, 90]])
    bends = voice_bends(line, 4.0, np.random.default_rng(0), depth=40.0, rate=5.0, scoop=60.0, drift=0.0)
    time, cents = bends.T
    assert cents[0] < -5 and np.abs(cents[(time > 0.05) & (time < 0.1)]).max() < 60
    late = cents[time > 1.0]
    assert 25 < np.abs(late).max() < 60
    crossings = np.flatnonzero(np.diff(np.sign(late)) > 0)
    assert 3.8 * len(late) * 0.015 < len(crossings) < 6.2 * len(late) * 0.015  # about five a second


def test_swells_stay_within_their_depth():
    gain = 20 * np.log10(swells(20 * 1000, 1000, np.random.default_rng(0), 4.0))
    assert np.abs(gain).max() <= 4.0 and np.ptp(gain) > 1.5
    assert np.abs(waves(np.arange(0, 50, 0.1), np.random.default_rng(1), (1, 5))).max() <= 1.0


# --- the studio -------------------------------------------------------------------------------------------------------


def test_a_band_has_no_program_twice_and_another_patch_is_of_the_same_family():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        band = draw_band(["drums", "bass", "guitar", "guitar 2", "piano", "piano 2", "pad", "pad 2", "vocals"], rng)
        assert "vocals" not in band
        programs = [program for role, program in band.items() if role != "drums"]
        assert len(set(programs)) == len(programs) == 7 and set(programs) <= set(PROGRAMS)
        for role in ("bass", "guitar", "pad"):
            assert other_patch(role, band[role], rng) // 8 == band[role] // 8
        assert other_patch("guitar", 27, rng) != 27
    assert {program // 8 for program in PROGRAMS_OF["guitar"]} == {3} and {p // 8 for p in PROGRAMS_OF["piano"]} == {0}


def test_panning_keeps_the_power_and_a_room_adds_a_tail():
    audio = np.zeros(RATE, dtype=np.float32)
    audio[:100] = 1.0
    for pan in (-1.0, 0.0, 0.4):
        assert np.square(panned(audio, pan)).sum() == pytest.approx(100, rel=1e-4)
    assert np.abs(panned(audio, -1.0)[:, 1]).max() < 1e-6
    wet = in_room(panned(audio, 0.0), draw_room(np.random.default_rng(0)))
    assert wet.shape == (RATE, 2) and np.abs(wet[2000:5000]).max() > 0.001
    assert np.abs(wet[-5000:]).max() < np.abs(wet[2000:5000]).max()
