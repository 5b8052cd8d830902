"""The multichannel Wiener filter: norbert's estimates, from sums over blocks, in as many passes as iterations."""

from __future__ import annotations

import norbert
import numpy as np
import pytest
import soundfile
import torch

from nussl_transfer.audio.stft import istft, stft
from nussl_transfer.checkpoints.checkpoint import read_checkpoint
from nussl_transfer.errors import ConfigError
from nussl_transfer.separation import streaming
from nussl_transfer.separation.separate import separate
from nussl_transfer.separation.wiener import SpatialFilter

RATE = 16000


def fitted(spectrum, masks, iterations, sizes=(7, 1, 52)):
    """Return a filter that has seen all frames, in blocks."""
    spatial = SpatialFilter()
    for _ in range(iterations):
        for part in zip(spectrum.split(sizes), masks.split(sizes), strict=True):
            spatial.observe(*part)
        spatial.update()
    return spatial


def random(channels=2, sources=3, frames=60, bins=5):
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.randn(frames, bins, channels, generator=generator, dtype=torch.complex128)
    return spectrum, torch.randn(frames, bins, channels, sources, generator=generator).softmax(dim=-1)


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_estimates_are_norberts_whatever_the_blocks(channels, iterations):
    spectrum, masks = random(channels)
    mixture, magnitudes = spectrum.numpy(), (masks * spectrum.abs()[..., None]).numpy()
    expected = norbert.wiener(magnitudes, mixture.copy(), iterations, use_softmask=False)
    spatial = fitted(spectrum, masks, iterations)
    np.testing.assert_allclose(spatial.estimate(spectrum, masks).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(spatial.estimate(spectrum[9:11], masks[9:11]).numpy(), expected[9:11], atol=1e-5)


@pytest.mark.parametrize("kind", ["noise", "equal channels", "a silent channel", "silence"])
def test_estimates_sum_to_the_mixture_where_its_covariance_has_an_inverse_and_where_not(kind):
    spectrum, masks = random()
    if kind == "equal channels":
        spectrum[..., 1] = spectrum[..., 0]
    spectrum[:, :, {"a silent channel": [1], "silence": [0, 1]}.get(kind, [])] = 0
    spectrum[4:9] = 0
    estimates = fitted(spectrum, masks, 2).estimate(spectrum, masks)
    torch.testing.assert_close(estimates.sum(dim=-1), spectrum, atol=1e-5, rtol=0)
    assert not estimates[4:9].any()


def test_two_sources_from_two_directions_are_separated_where_masks_fail():
    """In the second half both play at all points, where masks give each a half; two channels tell two directions apart."""
    generator = torch.Generator().manual_seed(0)
    played = torch.randn(2, 200, 9, generator=generator, dtype=torch.complex128)
    played[0, 50:100] = played[1, :50] = 0
    directions = torch.tensor([[1.0, 0.3], [0.4, 1.0 + 0.5j]], dtype=torch.complex128)
    sources = torch.einsum("snf,sc->nfcs", played, directions)
    masks = torch.full(sources.shape, 0.5)
    masks[:50], masks[50:100] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    errors = []
    for iterations in (0, 3):
        estimates = fitted(sources.sum(dim=-1), masks, iterations, (150, 50)).estimate(sources.sum(dim=-1), masks)
        errors.append(float((estimates - sources)[100:].abs().square().mean()))
    assert errors[1] < errors[0] / 10


def test_separate_filters_with_the_covariances_of_the_whole_mixture(short_checkpoint, noise, monkeypatch):
    audio = noise(2, 7000)  # shorter than a chunk
    audio[1] += 0.5 * audio[0]
    model, info = read_checkpoint(short_checkpoint)
    spectrum = stft(torch.from_numpy(audio), info.stft_params)
    with torch.no_grad():
        masks = model({"mix_magnitude": spectrum.abs().transpose(1, 2)[..., None]})["mask"]
    spectrum, masks = spectrum.permute(2, 1, 0), masks[..., 0, :].permute(1, 2, 0, 3)
    estimates = fitted(spectrum, masks, 2, len(spectrum)).estimate(spectrum, masks).permute(3, 2, 1, 0)
    expected = istft(estimates.to(torch.complex64), info.stft_params, 7000).numpy()
    monkeypatch.setattr(streaming, "BLOCK", 1777)
    found = separate((audio, RATE), short_checkpoint, wiener=2)
    for label, audio_of_label in zip(("bass", "voice"), expected, strict=True):
        np.testing.assert_allclose(found[label].audio_data, audio_of_label, atol=1e-5)
    plain = separate((audio, RATE), short_checkpoint)
    assert np.abs(found["bass"].audio_data - plain["bass"].audio_data).max() > 1e-3


def test_it_works_with_labels_shifts_the_high_band_and_files(tmp_path, short_checkpoint, noise):
    audio = noise(2, 100_001)
    soundfile.write(tmp_path / "song.wav", audio.T, 44100, subtype="FLOAT")
    options = {"labels": ["voice"], "residual": True, "keep_rate": True, "shifts": 2, "wiener": 1}
    told = []
    files = separate(
        tmp_path / "song.wav", short_checkpoint, out=tmp_path / "out", progress=lambda *now: told.append(now), **options
    )
    found = {name: soundfile.read(path)[0].T for name, path in files.items()}
    np.testing.assert_allclose(found["voice"] + found["residual"], audio, atol=1e-5)
    both = separate((audio, 44100), short_checkpoint, keep_rate=True, shifts=2, wiener=1)
    np.testing.assert_allclose(found["voice"], both["voice"].audio_data, atol=1e-6)
    np.testing.assert_allclose(sum(estimate.audio_data for estimate in both.values()), audio, atol=1e-5)
    assert told == sorted(told) and told[-1] == pytest.approx((100_001 / 44100,) * 2, rel=0.05)
    assert told[0][0] < told[-1][0] / 2  # in the first of two passes


def test_one_channel_has_no_use_for_it_and_its_passes_have_bounds(short_checkpoint, noise):
    audio = noise(1, 12000)
    plain, filtered = (separate((audio, RATE), short_checkpoint, wiener=count)["bass"].audio_data for count in (0, 2))
    np.testing.assert_array_equal(filtered, plain)
    for count in (-1, 11):
        with pytest.raises(ConfigError, match=f"got {count}, expected 0 to 10"):
            separate((audio, RATE), short_checkpoint, wiener=count)
