"""The band above the model's: the sources sum to the mixture, the loud one gets most, and memory stays constant."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from nussl_transfer.separation import streaming
from nussl_transfer.separation.clustering import TransferDeepClustering
from nussl_transfer.separation.files import separate_files
from nussl_transfer.separation.high_band import BandShares
from nussl_transfer.separation.masks import TransferMaskEstimation
from nussl_transfer.separation.separate import separate

RATE = 16000


def high(audio, rate, edge=9000):
    """Return what is above an edge in Hz."""
    return scipy.signal.sosfiltfilt(scipy.signal.butter(8, edge, "high", fs=rate, output="sos"), audio)


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize("seconds", [0.3, 2.0])
def test_sources_sum_to_the_mixture_up_to_half_its_rate(short_checkpoint, noise, rate, seconds):
    audio = noise(2, int(rate * seconds))
    estimates = separate((audio, rate), short_checkpoint, keep_rate=True)
    np.testing.assert_allclose(sum(e.audio_data for e in estimates.values()), audio, atol=2e-6)
    without = separate((audio, rate), short_checkpoint, keep_rate=True, high_band=False)
    assert np.abs(high(audio - sum(e.audio_data for e in without.values()), rate)).max() > 0.01
    for label in estimates:  # the model's own band stays as it was
        difference = estimates[label].audio_data - without[label].audio_data
        low = scipy.signal.sosfiltfilt(scipy.signal.butter(8, 6500, "low", fs=rate, output="sos"), difference)
        assert np.abs(low[:, 1000:-1000]).max() < 2e-3


def test_the_high_band_does_not_depend_on_the_blocks_of_the_file(tmp_path, short_checkpoint, noise, monkeypatch):
    path = tmp_path / "song.wav"
    soundfile.write(path, noise(1, 3 * 44100).T, 44100, subtype="FLOAT")
    whole = separate(path, short_checkpoint, keep_rate=True, residual=True, labels=["voice"])
    monkeypatch.setattr(streaming, "BLOCK", 1777)
    pieces = separate(path, short_checkpoint, keep_rate=True, residual=True, labels=["voice"])
    assert list(pieces) == ["voice", "residual"]
    for label in whole:
        np.testing.assert_allclose(pieces[label].audio_data, whole[label].audio_data, atol=1e-5)


def test_a_source_that_is_alone_in_the_octave_below_gets_the_whole_high_band(short_checkpoint, noise, monkeypatch):
    """One mask is open above 4 kHz in the first second, the other in the next."""
    rate, audio = 44100, noise(1, 2 * 44100)
    count = [0]

    def masks(ensemble, magnitude, **options):
        first = torch.zeros(*magnitude.shape, 2)
        for number in range(magnitude.shape[1]):
            first[:, number, :, :, int(count[0] + number >= 126)] = 1
        count[0] += magnitude.shape[1]
        return first

    monkeypatch.setattr(streaming.Ensemble, "masks", masks)
    estimates = separate((audio, rate), short_checkpoint, keep_rate=True, chunk_seconds=3)
    bass, voice = (high(estimates[label].audio_data[0], rate) for label in ("bass", "voice"))
    expected, middle, margin = high(audio[0], rate), rate, rate // 20
    np.testing.assert_allclose(bass[margin : middle - margin], expected[margin : middle - margin], atol=1e-3)
    np.testing.assert_allclose(voice[middle + margin : -margin], expected[middle + margin : -margin], atol=1e-3)
    assert np.abs(voice[margin : middle - margin]).max() < 1e-3 and np.abs(bass[middle + margin : -margin]).max() < 1e-3


@pytest.mark.parametrize("sizes", [[40], [1, 1, 1, 37], [13, 0, 27]])
def test_shares_are_those_of_the_smoothed_power_whatever_the_blocks(sizes):
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.randn(1, 40, 9, 2, generator=generator, dtype=torch.complex64)
    masks = torch.rand(1, 40, 9, 2, 3, generator=generator)
    shares, found = BandShares(hop=4, smoothing=2), []
    for part in torch.arange(40).split(sizes):
        found.append(shares.push(spectrum[:, part], masks[:, part]))
    found = np.concatenate([*found, shares.finish(170 - sum(map(len, found)))])
    assert found.shape == (170, 3, 2)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    power = (masks * spectrum.abs().square()[..., None])[0, :, 4:].sum(1).numpy()  # [frames, channels, sources]
    for frame in (0, 1, 20, 38):
        near = power[max(0, frame - 2) : frame + 3].sum(axis=0)
        np.testing.assert_allclose(found[4 * frame], (near / near.sum(axis=-1, keepdims=True)).T, atol=1e-5)
    np.testing.assert_allclose(found[82], (found[80] + found[84]) / 2, atol=1e-6)


def test_silence_is_shared_equally_and_stays_silent(short_checkpoint):
    estimates = separate((np.zeros((1, 50000), np.float32), 44100), short_checkpoint, keep_rate=True)
    assert not any(e.audio_data.any() for e in estimates.values())


def test_files_have_the_high_band_unless_it_is_turned_off(tmp_path, short_checkpoint, noise):
    path = tmp_path / "song.wav"
    soundfile.write(path, noise(1, 44100).T, 44100, subtype="FLOAT")
    for high_band, loud in ((True, True), (False, False)):
        options = {"keep_rate": True, "high_band": high_band, "progress": False}
        files = separate_files([path], short_checkpoint, tmp_path / str(high_band), **options).written[path]
        audio = sum(soundfile.read(file)[0] for file in files.values())
        assert (np.sqrt(np.mean(high(audio, 44100) ** 2)) > 0.01) == loud


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize("samples", [300, 100_001])
@pytest.mark.parametrize("options", [{"mask_type": "soft"}, {"mask_type": "binary"}, {"num_sources": 3}])
def test_the_estimates_of_nussls_separators_sum_to_the_mixture_too(short_checkpoint, noise, signal, rate, samples, options):
    kind = TransferDeepClustering if "num_sources" in options else TransferMaskEstimation
    audio = noise(2, samples)
    estimates = kind(signal(audio, rate), model_path=short_checkpoint, keep_rate=True, **options)()
    assert {(e.sample_rate, e.audio_data.shape) for e in estimates} == {(rate, audio.shape)}
    np.testing.assert_allclose(sum(e.audio_data for e in estimates), audio, atol=2e-6)


def test_nussls_separator_gives_what_separate_gives(short_checkpoint, noise, signal):
    audio = noise(2, 100_001)
    expected = separate((audio, 44100), short_checkpoint, keep_rate=True)
    estimates = TransferMaskEstimation(signal(audio, 44100), short_checkpoint, keep_rate=True)()
    for estimate, label in zip(estimates, ("bass", "voice"), strict=True):
        np.testing.assert_allclose(estimate.audio_data, expected[label].audio_data, atol=1e-4)
        assert np.abs(high(estimate.audio_data, 44100)).max() > 0.01


def test_a_signal_at_a_rate_below_the_models_has_no_high_band(short_checkpoint, noise, signal):
    given = signal(noise(1, 8000), 8000)
    estimates = [
        TransferMaskEstimation(given, short_checkpoint, keep_rate=True, high_band=high_band)()
        for high_band in (True, False)
    ]
    for one, other in zip(*estimates, strict=True):
        np.testing.assert_array_equal(one.audio_data, other.audio_data)
