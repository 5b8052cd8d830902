"""Changes of pitch and tempo of known signals: a tone, clicks, noise."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from nussl_transfer.audio.augment import augment, change_ranges, context_samples, source_samples
from nussl_transfer.errors import ConfigError

RATE = 16000
CHANGES = [(3.0, 1.2), (-3.0, 0.8), (3.0, 0.8), (-3.0, 1.2), (1.37, 0.93), (2.0, 1.0), (-0.5, 1.0), (0.0, 0.8), (0.0, 1.13)]
CONTEXT = context_samples(RATE)


def change(make, seconds: float, pitch: float, stretch: float) -> np.ndarray:
    """Return a signal, given as a function of time, with the context that it would have in the middle of a track."""
    samples = round(seconds * RATE)
    audio = make((np.arange(source_samples(samples, stretch) + 2 * CONTEXT) - CONTEXT) / RATE)
    return augment(audio.astype(np.float32), samples, RATE, pitch, stretch, before=CONTEXT)


def tone(time: np.ndarray) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * time)


def frequency(audio: np.ndarray) -> float:
    """Return the strongest frequency in Hz, by a parabola through the peak of a long, padded spectrum."""
    spectrum = np.log(np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 8 * len(audio))))
    peak = spectrum.argmax()
    below, at, above = spectrum[peak - 1 : peak + 2]
    return (peak + 0.5 * (below - above) / (below - 2 * at + above)) * RATE / (8 * len(audio))


@pytest.mark.parametrize(("pitch", "stretch"), CHANGES)
def test_a_tone_of_a_second_comes_out_at_its_pitch_to_a_cent(pitch, stretch):
    audio = change(tone, 1.0, pitch, stretch)
    cents = 1200 * np.log2(frequency(audio) / (440 * 2 ** (pitch / 12)))
    assert abs(cents) < 1


@pytest.mark.parametrize(("pitch", "stretch"), CHANGES)
def test_a_tone_stays_pure_and_as_loud(pitch, stretch):
    audio = change(tone, 2.0, pitch, stretch)
    power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(audio), 1 / RATE) / (440 * 2 ** (pitch / 12)) - 1) < 0.03
    assert 10 * np.log10(power[near].sum() / power[~near].sum()) > 30
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize(("pitch", "stretch"), CHANGES)
@pytest.mark.parametrize("samples", [1, 777, 8000, 16001])
def test_the_number_of_samples_is_the_requested_one(pitch, stretch, samples):
    noise = np.random.default_rng(0).standard_normal(source_samples(samples, stretch)).astype(np.float32)
    audio = augment(noise, samples, RATE, pitch, stretch)
    assert audio.shape == (samples,) and audio.dtype == np.float32 and np.isfinite(audio).all()


@pytest.mark.parametrize(("pitch", "stretch"), CHANGES)
def test_there_is_no_click_and_no_gap_at_the_ends(pitch, stretch):
    audio = change(tone, 1.0, pitch, stretch)
    steepest = 0.5 * 2 * np.pi * 440 * 2 ** (pitch / 12) / RATE
    assert np.abs(np.diff(audio)).max() < 1.2 * steepest
    for end in (audio[:400], audio[-400:]):
        assert np.sqrt(np.mean(end**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize(("pitch", "stretch"), CHANGES)
def test_transients_stay_short_and_in_place(pitch, stretch):
    at = np.arange(0.25, 3 * stretch, 0.5)

    def drum(time):
        noise = np.random.default_rng(1).standard_normal(len(time))
        return sum(np.where(time >= start, noise * np.exp(-np.clip(time - start, 0, None) / 0.008), 0) for start in at)

    audio = change(drum, 3.0, pitch, stretch)
    for start in at / stretch:
        first = round((start - 0.1) * RATE)
        energy = np.cumsum(audio[first : first + 3200].astype(float) ** 2)
        begin, end = np.searchsorted(energy, [0.05 * energy[-1], 0.95 * energy[-1]]) / RATE
        assert begin - 0.1 == pytest.approx(0, abs=0.003)
        assert end - begin < 0.025  # 0.012 in the input


@pytest.mark.parametrize(("pitch", "stretch"), CHANGES)
def test_stems_stay_aligned_whatever_they_contain(pitch, stretch):
    """Clicks in one stem stay on the clicks of another, whatever else the stems contain."""
    at = np.arange(0.3, 2 * stretch - 0.2, 0.4)

    def clicks(time, decay):
        shapes = [np.exp(-np.clip(time - start, 0, None) / decay) * (time >= start) for start in at]
        return np.sin(2 * np.pi * 900 * time) * sum(shapes)

    high, low = (change(lambda t, d=d: clicks(t, d), 2.0, pitch, stretch) for d in (0.005, 0.02))
    for start in at / stretch:
        first = round((start - 0.05) * RATE)
        onsets = [np.argmax(np.abs(audio[first : first + 1600]) > 0.3) for audio in (high, low)]
        assert abs(onsets[0] - onsets[1]) <= 0.002 * RATE
        assert np.mean(onsets) / RATE == pytest.approx(0.05, abs=0.004)


def test_equal_input_gives_equal_bits():
    noise = np.random.default_rng(0).standard_normal(20000).astype(np.float32)
    first = augment(noise, 15000, RATE, 2.2, 1.1)
    augment(noise[::-1].copy(), 15000, RATE, -1.0, 0.9)
    np.testing.assert_array_equal(augment(noise, 15000, RATE, 2.2, 1.1), first)


def test_pitch_0_and_stretch_1_change_nothing():
    noise = np.random.default_rng(0).standard_normal(500).astype(np.float32)
    np.testing.assert_array_equal(augment(noise, 400, RATE, before=50), noise[50:450])


def test_silence_stays_silence():
    assert not augment(np.zeros(20000, np.float32), 15000, RATE, 2.2, 1.1).any()


def test_context_beyond_the_excerpt_is_not_returned():
    quiet = np.zeros(16000 + 2 * CONTEXT, np.float32)
    loud = quiet.copy()
    loud[: CONTEXT // 2] = loud[-CONTEXT // 2 :] = 1.0
    assert np.abs(augment(loud, 16000, RATE, 3.0, 1.0, before=CONTEXT)).max() < 0.1


@pytest.mark.parametrize(
    ("pitch", "stretch", "message"),
    [
        ((1.0, -1.0), None, r"pitch must be a range of two numbers.*got \(1.0, -1.0\)"),
        (None, (float("nan"), 1.0), "stretch must be a range of two numbers"),
        ((-12.0, 0.0), (0.8, 1.2), r"-12 semitones with a stretch of 1.2 .* scale time by 2\.40"),
        ((0.0, 12.0), (0.8, 1.2), r"\+12 semitones with a stretch of 0.8 .* scale time by 0\.40"),
        (None, (0.4, 1.0), "stretch of 0.4"),
        ((-1e9, 0.0), None, r"-1e\+09 semitones"),
    ],
)
def test_ranges_with_changes_that_are_too_large_are_refused(pitch, stretch, message):
    with pytest.raises(ConfigError, match=message):
        change_ranges(pitch, stretch)


def test_ranges_are_the_given_ones_and_none_means_no_change():
    assert change_ranges((-3, 3), (0.8, 1.2)) == ((-3.0, 3.0), (0.8, 1.2))
    assert change_ranges(None, None) == ((0.0, 0.0), (1.0, 1.0))


def test_a_change_that_is_too_large_is_refused():
    with pytest.raises(ConfigError, match=r"-12 semitones with a stretch of 1.9 .* scale time by 3\.80"):
        augment(np.zeros(100, np.float32), 50, RATE, -12.0, 1.9)


def test_without_python_stretch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "python_stretch", None)
    with pytest.raises(ConfigError, match="pip install python-stretch"):
        augment(np.zeros(100, np.float32), 50, RATE, 1.0)
