"""An equalizer and a room do what their closed forms say, and keep level and time."""

from __future__ import annotations

import numpy as np
import pytest

from nussl_transfer.audio.timbre import Timbre, change_timbre, draw_timbre, knot_frequencies, room_response

RATE = 16000
FLAT = (0.0,) * 7
GAINS = (-6.0, 3.0, 0.0, 9.0, -4.0, 2.0, 5.0)


def rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.square(audio, dtype=np.float64).mean()))


@pytest.fixture
def noise() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(2 * RATE)).astype(np.float32)


def tones(frequencies) -> np.ndarray:
    """Return two seconds of sines of whole periods, at equal levels."""
    time = np.arange(2 * RATE) / RATE
    return sum(0.05 * np.sin(2 * np.pi * frequency * time) for frequency in frequencies).astype(np.float32)


def test_the_gain_of_a_sine_is_interpolated_over_the_logarithm_of_its_frequency():
    frequencies = [80, 200, 371, 1000, 2000, 5000]
    changed = change_timbre(tones(frequencies), RATE, Timbre(GAINS))
    # In the middle, away from the ends that the filter smears.
    middle = changed[RATE // 2 : 3 * RATE // 2] * np.hanning(RATE)
    levels = np.array([np.abs(np.sum(middle * np.exp(-2j * np.pi * f * np.arange(RATE) / RATE))) for f in frequencies])
    expected = 10 ** (np.interp(np.log(frequencies), np.log(np.geomspace(80, 8000, 7)), GAINS) / 20)
    # The level of the whole is kept, so gains are known only up to one factor.
    np.testing.assert_allclose(levels / levels[0], expected / expected[0], rtol=0.01)
    np.testing.assert_allclose(knot_frequencies(RATE), np.geomspace(80, 8000, 7))


@pytest.mark.parametrize("room", [None, (0.4, 0.01, 0.6, 7)])
def test_the_level_is_kept_and_the_length(noise, room):
    changed = change_timbre(noise, RATE, Timbre(GAINS, room))
    assert changed.dtype == np.float32 and changed.shape == noise.shape
    assert rms(changed) == pytest.approx(rms(noise), rel=1e-5)


def test_a_flat_equalizer_changes_nothing(noise):
    np.testing.assert_allclose(change_timbre(noise, RATE, Timbre(FLAT)), noise, atol=1e-6)


def test_a_room_is_a_convolution_with_its_response(noise):
    room = (0.3, 0.01, 0.5, 3)
    expected = np.convolve(noise.astype(np.float64), room_response(RATE, room))[: len(noise)]
    changed = change_timbre(noise, RATE, Timbre(FLAT, room))
    np.testing.assert_allclose(changed, expected * rms(noise) / rms(expected), atol=1e-5)


@pytest.mark.parametrize(("t60", "delay", "level"), [(0.2, 0.001, 0.1), (0.9, 0.02, 0.8)])
def test_a_room_has_direct_sound_a_pause_and_noise_that_decays_by_60_db(t60, delay, level):
    response = room_response(RATE, (t60, delay, level, 5)).astype(np.float64)
    start = round(delay * RATE)
    assert response[0] == 1 and not response[1:start].any() and len(response) <= RATE // 2
    tail = response[start:]
    assert np.sqrt(np.square(tail).sum()) == pytest.approx(level, rel=1e-5)
    time = np.arange(len(tail)) / RATE
    slope = np.polyfit(time, 10 * np.log10(np.square(tail) + 1e-30), 1)[0]
    assert slope == pytest.approx(-60 / t60, rel=0.1)


def test_an_equalizer_moves_no_onset():
    click = np.zeros(RATE, dtype=np.float32)
    click[RATE // 2] = 1
    changed = change_timbre(click, RATE, Timbre(GAINS))
    assert np.abs(changed).argmax() == RATE // 2
    np.testing.assert_allclose(changed[RATE // 2 - 100 : RATE // 2], changed[RATE // 2 + 100 : RATE // 2 : -1], atol=1e-6)


def test_silence_stays_silence():
    assert not change_timbre(np.zeros(RATE, dtype=np.float32), RATE, Timbre(GAINS, (0.4, 0.01, 0.6, 7))).any()


def test_a_timbre_is_a_function_of_its_generator(noise):
    one, other, another = (draw_timbre(np.random.default_rng(seed), 5.0, 1.0) for seed in (1, 1, 2))
    assert one == other != another
    assert np.array_equal(change_timbre(noise, RATE, one), change_timbre(noise, RATE, other))
    assert draw_timbre(np.random.default_rng(1), 0.0, 0.0) == Timbre(FLAT)
