"""Targets equal nussl's and SciPy's, although torch computes them for a whole batch at once."""

from __future__ import annotations

import numpy as np
import nussl
import pytest
import scipy.signal
import torch
from nussl import STFTParams
from nussl.datasets import transforms as tfm

from nussl_transfer.audio.stft import istft, stft, window
from nussl_transfer.errors import ConfigError
from nussl_transfer.networks.freezing import MODES, trainable_parameters
from nussl_transfer.networks.targets import Targets, ideal_binary_mask, magnitude_weights, phase_sensitive_magnitudes
from nussl_transfer.training.closures import TransferClosure

PAPER = STFTParams(512, 128, "sqrt_hann")
PARAMS = [
    PAPER,
    STFTParams(256, 64, "hann"),
    STFTParams(400, 100, "hamming"),
    STFTParams(512, 256, "sqrt_hann"),
    STFTParams(1024, 128, "blackman"),
]
# A multiple of every hop; one sample more and one less; a prime; barely one window of the longest.
LENGTHS = [12800, 12801, 12799, 7919, 1024]
KEYS = ("mix_magnitude", "source_magnitudes", "ideal_binary_mask", "weights")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def by_nussl(source_audio: np.ndarray, params: STFTParams, first=tfm.MagnitudeSpectrumApproximation) -> dict:
    """Return what nussl's transforms make of one item's sources [nc, samples, ns]."""

    def signal(audio):
        return nussl.AudioSignal(audio_data_array=audio, sample_rate=16000, stft_params=params)

    sources = {f"source {i}": signal(source_audio[..., i]) for i in range(source_audio.shape[-1])}
    data = {"mix": signal(source_audio.sum(axis=-1)), "sources": sources}
    return tfm.Compose([first(), tfm.MagnitudeWeights(), tfm.ToSeparationModel()])(data)


def by_targets(source_audio: np.ndarray, params: STFTParams, phase_sensitive: bool = False) -> dict:
    """Return what `Targets` makes of a batch of sources [nb, nc, samples, ns]."""
    batch = {"mix_audio": torch.from_numpy(source_audio.sum(axis=-1)), "source_audio": torch.from_numpy(source_audio)}
    return Targets(params, phase_sensitive)(batch)


def scipy_window(params: STFTParams) -> np.ndarray:
    if params.window_type == "sqrt_hann":
        return np.sqrt(scipy.signal.get_window("hann", params.window_length))
    return scipy.signal.get_window(params.window_type, params.window_length)


# Targets against nussl ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("params", PARAMS, ids=str)
def test_targets_are_those_of_nussls_transforms(params, length, channels):
    audio = noise(2, channels, length, 3)
    ours, theirs = by_targets(audio, params), [by_nussl(item, params) for item in audio]
    for key in KEYS:
        expected = torch.stack([item[key] for item in theirs]).float()
        assert ours[key].shape == expected.shape and ours[key].dtype == torch.float32, key
        if key != "ideal_binary_mask":
            np.testing.assert_allclose(ours[key], expected, atol=1e-5, err_msg=key)
            continue
        # The transforms round differently: if two sources are equally loud within rounding, either may count as loudest.
        top = ours["source_magnitudes"].topk(2, dim=-1).values
        clear = top[..., 0] - top[..., 1] > 1e-6
        assert clear.float().mean() > 0.97  # a last frame may hold one sample, under the edge of the window
        assert torch.equal(ours[key][clear], expected[clear])


def test_ten_seconds_at_16_khz_are_1251_frames_of_257_bins():
    targets = by_targets(noise(1, 1, 160000, 2), PAPER)
    assert targets["mix_magnitude"].shape == targets["weights"].shape == (1, 1251, 257, 1)
    assert targets["source_magnitudes"].shape == targets["ideal_binary_mask"].shape == (1, 1251, 257, 1, 2)


def test_an_item_is_the_same_whatever_else_is_in_its_batch():
    audio = noise(4, 1, 4000, 2)
    together, alone = by_targets(audio, PAPER), by_targets(audio[2:3], PAPER)
    for key in KEYS:
        np.testing.assert_allclose(together[key][2], alone[key][0], atol=1e-6, err_msg=key)


def test_the_batch_is_not_changed_and_its_entries_are_kept():
    batch = {"mix_audio": torch.from_numpy(noise(2, 1, 4000)), "index": torch.arange(2)}
    targets = Targets(PAPER)(batch)
    assert batch.keys() == {"mix_audio", "index"}
    assert torch.equal(targets["index"], torch.arange(2)) and targets["mix_audio"] is batch["mix_audio"]
    assert targets.keys() == {"mix_audio", "index", "mix_magnitude", "weights"}, "without sources there are no targets"


def test_a_silent_source_is_dominant_nowhere_and_no_weight_is_nan():
    audio = noise(1, 1, 8000, 3)
    audio[..., 1] = 0
    ours, theirs = by_targets(audio, PAPER), by_nussl(audio[0], PAPER)
    assert ours["source_magnitudes"][..., 1].abs().max() == 0 and ours["ideal_binary_mask"][..., 1].max() == 0
    np.testing.assert_allclose(ours["weights"][0], theirs["weights"], atol=1e-5)


@pytest.mark.parametrize("phase_sensitive", [False, True])
@pytest.mark.parametrize("silent", [[0], [1], [0, 2], [0, 1, 2]])
def test_a_silent_source_owns_no_bin_whoever_else_is_silent(silent, phase_sensitive):
    sources = torch.from_numpy(noise(2, 1, 4000, 3))
    sources[..., silent] = 0
    batch = Targets(PAPER, phase_sensitive)({"mix_audio": sources.sum(dim=-1), "source_audio": sources})
    assert not batch["ideal_binary_mask"][..., silent].any() and not batch["source_magnitudes"][..., silent].any()
    alone = Targets(PAPER, phase_sensitive)({"mix_audio": sources.sum(dim=-1), "source_audio": sources[..., silent[:1]]})
    assert not alone["ideal_binary_mask"].any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("silent", [[1], [0, 1, 2]])
def test_the_losses_and_their_gradients_are_finite_with_silent_targets(small_chimera, tiny_stft, mode, silent):
    model, sources = small_chimera(), torch.from_numpy(noise(2, 1, 1000, 3))
    sources[..., silent] = 0
    optimizer = torch.optim.Adam(trainable_parameters(model, mode), 0.01)
    closure = TransferClosure(optimizer, model, mode, targets=Targets(tiny_stft))
    losses = closure(None, {"mix_audio": sources.sum(dim=-1), "source_audio": sources})
    assert np.isfinite([*losses.values()]).all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    if silent == [1]:
        batch = {"mix_audio": sources.sum(dim=-1), "source_audio": sources}
        assert [closure(None, batch)["loss"] for _ in range(10)][-1] < losses["loss"]


def test_a_silent_batch_has_no_dominant_source_and_no_weight():
    ours, theirs = by_targets(np.zeros((1, 1, 8000, 2), np.float32), PAPER), by_nussl(np.zeros((1, 8000, 2)), PAPER)
    for key in KEYS:
        assert ours[key].abs().max() == 0 and theirs[key].abs().max() == 0, key


def test_points_where_two_sources_are_equally_loud_belong_to_none_as_in_nussl():
    audio = noise(1, 1, 8000, 3)
    audio[..., 2] = audio[..., 0]  # the first and the last source are the same
    ours, theirs = by_targets(audio, PAPER), by_nussl(audio[0], PAPER)
    assert ours["ideal_binary_mask"][..., (0, 2)].max() == 0
    assert torch.equal(ours["ideal_binary_mask"][0], theirs["ideal_binary_mask"].float())
    assert 0.2 < ours["ideal_binary_mask"][..., 1].mean() < 0.5


def test_the_ideal_binary_mask_of_a_table():
    magnitudes = torch.tensor([[3.0, 1.0, 2.0], [1.0, 3.0, 3.0], [0.0, 0.0, 0.0], [2.0, 2.0, 2.0], [0.0, 0.0, 1e-30]])
    expected = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]])
    assert torch.equal(ideal_binary_mask(magnitudes), expected)
    assert torch.equal(ideal_binary_mask(torch.tensor([[1.0], [0.0]])), torch.tensor([[1.0], [0.0]]))


def test_squared_weights_of_an_item_sum_to_its_number_of_points():
    weights = magnitude_weights(torch.from_numpy(np.abs(noise(3, 50, 33, 1))))
    np.testing.assert_allclose(weights.square().sum(dim=(1, 2, 3)), 50 * 33, rtol=1e-5)


# Phase-sensitive targets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("params", PARAMS, ids=str)
def test_phase_sensitive_targets_are_those_of_nussls_transform(params, channels):
    audio = noise(2, channels, 7919, 3)
    ours = by_targets(audio, params, phase_sensitive=True)
    theirs = [by_nussl(item, params, tfm.PhaseSensitiveSpectrumApproximation) for item in audio]
    for key in KEYS:
        expected = torch.stack([item[key] for item in theirs]).float()
        assert ours[key].shape == expected.shape and ours[key].dtype == torch.float32, key
        if key != "ideal_binary_mask":
            np.testing.assert_allclose(ours[key], expected, atol=1e-5, err_msg=key)
            continue
        top = ours["source_magnitudes"].topk(2, dim=-1).values
        # Rounding decides whether a value close to the bound is cut, and so whether two sources share the maximum.
        clear = (top[..., 0] - top[..., 1] > 1e-6) & (ours["mix_magnitude"] - top[..., 0] > 1e-6)
        assert clear.float().mean() > 0.3
        assert torch.equal(ours[key][clear], expected[clear])


def test_phase_sensitive_magnitudes_are_the_cosine_rule_between_zero_and_the_mixture():
    rng = np.random.default_rng(0)
    sources = (rng.standard_normal((50, 3)) + 1j * rng.standard_normal((50, 3))).astype(np.complex64)
    mix = sources.sum(axis=-1)
    angle = np.angle(sources) - np.angle(mix)[:, None]
    expected = np.clip(np.abs(sources) * np.cos(angle), 0, np.abs(mix)[:, None])
    found = phase_sensitive_magnitudes(torch.from_numpy(sources), torch.from_numpy(mix))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (expected == 0).any() and np.isclose(expected, np.abs(mix)[:, None]).any(), "the test must reach both bounds"


def test_where_the_mixture_is_silent_phase_sensitive_magnitudes_are_zero():
    sources = torch.tensor([[1 + 1j, -1 - 1j], [0j, 0j]])
    assert torch.equal(phase_sensitive_magnitudes(sources, sources.sum(dim=-1)), torch.zeros(2, 2))


def test_masks_made_of_phase_sensitive_magnitudes_separate_better_than_masks_made_of_plain_ones():
    audio = noise(1, 1, 16000, 3)
    estimates = {}
    for phase_sensitive in (False, True):
        made = by_targets(audio, PAPER, phase_sensitive)
        masks = (made["source_magnitudes"] / made["mix_magnitude"][..., None]).clamp(max=1)[0, :, :, 0]
        spectrum = stft(torch.from_numpy(audio.sum(axis=-1))[0, 0], PAPER)
        estimates[phase_sensitive] = istft(masks.permute(2, 1, 0) * spectrum, PAPER, 16000).numpy()
    errors = {key: np.square(value - audio[0, 0].T).sum() for key, value in estimates.items()}
    assert errors[True] < 0.9 * errors[False]


# The transform against SciPy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("params", PARAMS, ids=str)
def test_the_window_is_scipys(params):
    np.testing.assert_allclose(window(params), scipy_window(params), atol=1e-7)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("params", PARAMS, ids=str)
def test_the_stft_is_scipys(params, length):
    audio = noise(2, length)
    ours = stft(torch.from_numpy(audio), params)
    overlap = params.window_length - params.hop_length
    theirs = scipy.signal.stft(audio, window=scipy_window(params), nperseg=params.window_length, noverlap=overlap)[2]
    assert ours.shape == theirs.shape and ours.dtype == torch.complex64
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("params", PARAMS, ids=str)
def test_the_inverse_gives_the_signal_back(params, length):
    audio = torch.from_numpy(noise(2, 3, length))
    back = istft(stft(audio, params), params, length)
    assert back.shape == audio.shape and back.dtype == torch.float32
    np.testing.assert_allclose(back, audio, atol=1e-5)


@pytest.mark.parametrize("params", PARAMS, ids=str)
def test_the_inverse_of_an_inconsistent_spectrum_is_scipys(params):
    # A masked spectrum is not the STFT of any signal: here implementations could differ, and nussl's is SciPy's.
    length = 7919
    spectrum = stft(torch.from_numpy(noise(length)), params)
    masked = spectrum * torch.from_numpy(np.random.default_rng(1).random(spectrum.shape, dtype=np.float32))
    ours = istft(masked, params, length)
    overlap = params.window_length - params.hop_length
    theirs = scipy.signal.istft(
        masked.numpy(), window=scipy_window(params), nperseg=params.window_length, noverlap=overlap
    )[1]
    np.testing.assert_allclose(ours, theirs[:length], atol=1e-5)


def test_an_stft_without_inverse_is_an_error():
    params = STFTParams(64, 64, "hann")  # a periodic Hann window begins with 0, and nothing else covers that sample
    with pytest.raises(ConfigError, match="window 64 and hop 64.*at most half the window"):
        istft(stft(torch.from_numpy(noise(1000)), params), params, 1000)


def test_gradients_flow_through_transform_and_inverse():
    audio = torch.from_numpy(noise(500)).requires_grad_()
    istft(stft(audio, PAPER), PAPER, 500).sum().backward()
    np.testing.assert_allclose(audio.grad, np.ones(500), atol=1e-4)
