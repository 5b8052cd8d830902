"""How near an estimate is: SI-SDR as nussl's, BSS Eval as museval's own."""

from __future__ import annotations

import math
import warnings

import museval
import numpy as np
import nussl
import pytest
import torch
from nussl.evaluation import BSSEvalScale, BSSEvalV4

from nussl_transfer.evaluation import bss_eval, si_sdr

RATE = 16000


def tone(seed, samples=RATE):
    generator = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    return np.sin(2 * np.pi * generator.uniform(100, 2000) * time) / 2 + generator.normal(0, 0.02, samples)


def as_signals(audio):
    return [nussl.AudioSignal(audio_data_array=row[None], sample_rate=RATE) for row in audio]


def by_nussl(references, estimates):
    labels = [str(number) for number in range(len(references))]
    found = BSSEvalScale(as_signals(references), as_signals(estimates), source_labels=labels).evaluate()
    return [found[label]["SI-SDR"][0] for label in labels]


@pytest.mark.parametrize("noise", [1e-4, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("level", [1e-4, 1.0, 3e4])
@pytest.mark.parametrize("offset", [0.0, 0.3, -50.0])
def test_si_sdr_is_nussls_for_loud_soft_and_offset_signals(noise, level, offset):
    generator = np.random.default_rng(0)
    references = level * (np.stack([tone(1), tone(2), tone(3)]) + offset)
    estimates = references * [[0.1], [2.0], [-1.0]] + level * generator.normal(-0.2, 0.2 * noise, references.shape)
    expected = by_nussl(references, estimates)  # in float64, as nussl computes what it is given so
    np.testing.assert_allclose(si_sdr(references, estimates), expected, atol=1e-6)
    # Of float32, as stems are, with an offset of no more than themselves.
    if abs(offset) <= 1:
        given = torch.tensor(references, dtype=torch.float32), torch.tensor(estimates, dtype=torch.float32)
        np.testing.assert_allclose(si_sdr(*given), expected, atol=1e-3)


def test_si_sdr_is_the_ratio_of_what_lies_along_the_reference_to_what_lies_across():
    time = np.arange(1000) / 1000
    # Orthogonal, equally strong.
    reference, across = np.sin(2 * np.pi * 5 * time), np.sin(2 * np.pi * 7 * time)
    for along, share in ((1.0, 1.0), (1.0, 0.1), (-3.0, 0.5), (0.01, 1.0)):
        expected = 20 * math.log10(abs(along) / share)
        assert float(si_sdr(reference, along * reference + share * across)) == pytest.approx(expected, abs=1e-6)
        # Neither scale nor offset of either counts.
        moved = si_sdr(7 * reference + 2, 5 * (along * reference + share * across) - 1)
        assert float(moved) == pytest.approx(expected)


def test_si_sdr_has_a_number_for_a_perfect_and_for_a_silent_estimate_and_none_for_a_silent_reference():
    sound, silence = torch.from_numpy(tone(0, 500)), torch.zeros(500)
    assert float(si_sdr(sound, 0.5 * sound)) == 100
    for constant in (silence, silence + 0.1):  # without its mean nothing is left of it
        assert float(si_sdr(sound, constant)) == -100
        assert si_sdr(constant, sound).isnan() and si_sdr(constant, constant).isnan()


def test_si_sdr_of_one_estimate_is_taken_against_every_reference():
    references, estimate = torch.from_numpy(np.stack([tone(1), tone(2)])), torch.from_numpy(tone(3))
    expected = [float(si_sdr(reference, estimate)) for reference in references]
    np.testing.assert_allclose(si_sdr(references, estimate[None]), expected, rtol=1e-12)


def mixed(seed, samples):
    """Two references, and estimates that hear the other one and have noise of their own."""
    generator = np.random.default_rng(seed)
    references = np.stack([np.convolve(generator.normal(0, 0.1, samples), [1, -a], "same") for a in (0.2, 0.9)])
    heard = np.eye(2) + generator.uniform(0, 0.3, (2, 2))
    return references, heard @ references + generator.normal(0, 0.02, references.shape)


def medians(references, estimates, rate):
    """museval's own ratios over windows of a second, called directly."""
    shape = {"window": rate, "hop": rate, "compute_permutation": False}
    sdr, _, sir, sar, _ = museval.metrics.bss_eval(references[..., None], estimates[..., None], **shape)
    return {"sdr": np.median(sdr, axis=1), "sir": np.median(sir, axis=1), "sar": np.median(sar, axis=1)}


@pytest.mark.parametrize("seconds", [0.75, 3.25])
def test_bss_eval_is_musevals_own(seconds):
    rate = 1000
    references, estimates = mixed(0, int(seconds * rate))
    found, expected = bss_eval(references, estimates, rate), medians(references, estimates, rate)
    for name in ("sdr", "sir", "sar"):
        np.testing.assert_array_equal(found[name], expected[name])
    given = as_signals(references), as_signals(estimates)
    scores = BSSEvalV4(*given, source_labels=["a", "b"], window=rate, hop=rate).evaluate()
    for name in ("sdr", "sir", "sar"):
        values = [np.median(scores[label][name.upper()]) for label in "ab"]
        np.testing.assert_allclose(found[name], values, atol=1e-9)


def test_bss_eval_passes_over_what_is_silent_throughout():
    references, estimates = mixed(1, 1500)
    silent = references.copy()
    silent[1] = 0
    found = bss_eval(silent, estimates, 1000)
    expected = medians(references[:1], estimates[:1], 1000)
    for name, values in found.items():
        np.testing.assert_array_equal(values[:1], expected[name].clip(max=100))
        assert np.isnan(values[1])
    # An estimate has no part in the ratios of the others.
    deaf = estimates.copy()
    deaf[0] = 0
    expected = medians(references, estimates, 1000)
    for name, values in bss_eval(references, deaf, 1000).items():
        assert np.isnan(values[0])
        np.testing.assert_allclose(values[1], expected[name][1], atol=1e-9)
    assert all(np.isnan(values).all() for values in bss_eval(0 * references, estimates, 1000).values())


def test_bss_eval_counts_only_seconds_in_which_all_sound_and_cuts_what_is_infinite():
    references, estimates = mixed(2, 3000)
    references[0, 1000:2000] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is said of windows that do not count
        found = bss_eval(references, estimates, 1000)
        one = bss_eval(references[:1], references[:1], 1000)
    shape = {"window": 1000, "hop": 1000}
    sdr = museval.metrics.bss_eval(references[..., None], estimates[..., None], **shape)[0]
    assert np.isnan(sdr[:, 1]).all() and np.isfinite(sdr[:, [0, 2]]).all()
    np.testing.assert_array_equal(found["sdr"], np.median(sdr[:, [0, 2]], axis=1))
    # Alone and right, nothing interferes.
    assert all(50 < values[0] <= 100 for values in one.values()) and one["sir"] == [100]
