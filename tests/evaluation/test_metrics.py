"""Measures of an estimate: SI-SDR equals nussl's, BSS Eval equals museval's."""

from __future__ import annotations

import math
import warnings

import mir_eval
import museval
import numpy as np
import nussl
import pytest
import torch
from nussl.evaluation import BSSEvalScale, BSSEvalV4

from nussl_transfer.audio.si_sdr import si_sdr
from nussl_transfer.evaluation.metrics import bss_eval

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
    expected = by_nussl(references, estimates)  # nussl computes in float64 if its input is float64
    np.testing.assert_allclose(si_sdr(references, estimates), expected, atol=1e-6)
    # float32 like stems, with an offset no larger than the signal.
    if abs(offset) <= 1:
        given = torch.tensor(references, dtype=torch.float32), torch.tensor(estimates, dtype=torch.float32)
        np.testing.assert_allclose(si_sdr(*given), expected, atol=1e-3)


def test_si_sdr_is_the_ratio_of_the_parts_parallel_and_orthogonal_to_the_reference():
    time = np.arange(1000) / 1000
    # Orthogonal, equally strong.
    reference, across = np.sin(2 * np.pi * 5 * time), np.sin(2 * np.pi * 7 * time)
    for along, share in ((1.0, 1.0), (1.0, 0.1), (-3.0, 0.5), (0.01, 1.0)):
        expected = 20 * math.log10(abs(along) / share)
        assert float(si_sdr(reference, along * reference + share * across)) == pytest.approx(expected, abs=1e-6)
        # The scale and the offset of either signal do not matter.
        moved = si_sdr(7 * reference + 2, 5 * (along * reference + share * across) - 1)
        assert float(moved) == pytest.approx(expected)


def test_si_sdr_is_infinite_for_a_perfect_and_for_a_silent_estimate_and_nan_for_a_silent_reference():
    sound, silence = torch.from_numpy(tone(0, 500)), torch.zeros(500)
    assert float(si_sdr(sound, 0.5 * sound)) == math.inf
    for constant in (silence, silence + 0.1):  # without its mean nothing is left of it
        assert float(si_sdr(sound, constant)) == -math.inf
        assert si_sdr(constant, sound).isnan() and si_sdr(constant, constant).isnan()


def test_si_sdr_of_one_estimate_is_taken_against_every_reference():
    references, estimate = torch.from_numpy(np.stack([tone(1), tone(2)])), torch.from_numpy(tone(3))
    expected = [float(si_sdr(reference, estimate)) for reference in references]
    np.testing.assert_allclose(si_sdr(references, estimate[None]), expected, rtol=1e-12)


def mixed(seed, samples):
    """Two references, and estimates that contain some of the other reference and noise."""
    generator = np.random.default_rng(seed)
    references = np.stack([np.convolve(generator.normal(0, 0.1, samples), [1, -a], "same") for a in (0.2, 0.9)])
    heard = np.eye(2) + generator.uniform(0, 0.3, (2, 2))
    return references, heard @ references + generator.normal(0, 0.02, references.shape)


def by_museval(references, estimates):
    """museval's own ratios of the whole signal, called directly."""
    shape = {"window": np.inf, "hop": np.inf, "compute_permutation": False}
    sdr, _, sir, sar, _ = museval.metrics.bss_eval(references[..., None], estimates[..., None], **shape)
    return {"sdr": sdr[:, 0], "sir": sir[:, 0], "sar": sar[:, 0]}


def test_bss_eval_equals_museval_and_nussl_and_mir_eval_on_one_excerpt():
    references, estimates = mixed(0, 3250)
    found, expected = bss_eval(references, estimates), by_museval(references, estimates)
    given = as_signals(references), as_signals(estimates)
    of_nussl = BSSEvalV4(*given, source_labels=["a", "b"]).evaluate()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # mir_eval has deprecated its separation module
        images = mir_eval.separation.bss_eval_images(references[..., None], estimates[..., None], False)
    for name, of_mir_eval in zip(("sdr", "sir", "sar"), (images[0], images[2], images[3]), strict=True):
        np.testing.assert_array_equal(found[name], expected[name])
        np.testing.assert_allclose(found[name], [of_nussl[label][name.upper()][0] for label in "ab"], atol=1e-9)
        np.testing.assert_allclose(found[name], of_mir_eval, atol=1e-6)


def test_bss_eval_leaves_out_silent_signals():
    references, estimates = mixed(1, 1500)
    silent = references.copy()
    silent[1] = 0
    expected = by_museval(references[:1], estimates[:1])
    for name, values in bss_eval(silent, estimates).items():
        np.testing.assert_array_equal(values[:1], np.where(expected[name] > 100, np.inf, expected[name]))
        assert np.isnan(values[1])
    # A silent estimate does not change the ratios of the others.
    with_silence = estimates.copy()
    with_silence[0] = 0
    expected = by_museval(references, estimates)
    for name, values in bss_eval(references, with_silence).items():
        assert np.isnan(values[0])
        np.testing.assert_allclose(values[1], expected[name][1], atol=1e-9)
    assert all(np.isnan(values).all() for values in bss_eval(0 * references, estimates).values())


def test_bss_eval_is_infinite_where_nothing_interferes():
    alone = mixed(2, 1000)[0][:1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = bss_eval(alone, alone)
    assert all(values[0] > 50 for values in found.values()) and found["sir"] == [np.inf]
