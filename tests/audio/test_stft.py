"""The STFT and its inverse block by block, compared with SciPy's of the whole signal."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch
from nussl import AudioSignal, STFTParams

from nussl_transfer.audio.stft import IstftStream, StftStream, istft, stft, window
from nussl_transfer.errors import ConfigError

PARAMS = [STFTParams(512, 128, "sqrt_hann"), STFTParams(64, 32, "hann"), STFTParams(33, 11, "hamming")]
PARAMS += [STFTParams(50, 20, "hamming")]  # a window that is not a whole number of hops


def cut(array, at, axis):
    return [torch.from_numpy(np.ascontiguousarray(piece)) for piece in np.split(array, at, axis)]


@pytest.mark.parametrize("params", PARAMS)
@pytest.mark.parametrize("samples", [512, 513, 1000, 1024, 5003])
def test_pieces_put_together_are_scipys_transforms(params, samples):
    rng = np.random.default_rng(samples)
    audio = rng.normal(size=(2, samples)).astype(np.float32)
    taps = AudioSignal.get_window(params.window_type, params.window_length)
    options = {"window": taps, "nperseg": params.window_length, "noverlap": params.window_length - params.hop_length}
    expected = scipy.signal.stft(audio, **options)[2]
    forward = StftStream(params, 2)
    pieces = cut(audio, sorted(rng.integers(0, samples + 1, 5)), axis=1)
    found = torch.cat([*map(forward.push, pieces), forward.finish()], dim=-1).numpy()
    assert forward.samples == samples
    np.testing.assert_allclose(found, expected, atol=1e-6)

    # A changed spectrum is not the STFT of any signal: the inverse is a least-squares fit.
    changed = (expected * rng.uniform(size=expected.shape)).astype(np.complex64)
    back = scipy.signal.istft(changed, **options)[1][:, :samples]
    inverse = IstftStream(params)
    given = [inverse.push(piece) for piece in cut(changed, sorted(rng.integers(0, changed.shape[-1], 4)), axis=2)]
    audio = torch.cat([*given, inverse.finish()], dim=1)[:, :samples].numpy()
    np.testing.assert_allclose(audio, back, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 2, 100])
def test_a_signal_shorter_than_a_window_comes_back(samples):
    params, audio = PARAMS[0], torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    forward, inverse = StftStream(params, 1), IstftStream(params)
    given = inverse.push(torch.cat([forward.push(audio), forward.finish()], dim=-1))
    found = torch.cat([given, inverse.finish()], dim=1)[:, :samples]
    torch.testing.assert_close(found, audio, atol=1e-6, rtol=0)


def test_windows_that_leave_samples_out_are_refused():
    with pytest.raises(ConfigError, match="window 64 and hop 64 has no inverse"):
        IstftStream(STFTParams(64, 64, "sqrt_hann"))


def test_an_inverse_without_frames_cannot_be_finished():
    with pytest.raises(ValueError, match="needs at least one frame"):
        IstftStream(PARAMS[0]).finish()


def test_a_stream_does_not_change_the_shared_window():
    """Windows are cached by parameters and device: both streams use the tensor that `window` returns here."""
    params, device = PARAMS[0], "cpu"
    before = window(params, device).clone()
    for _ in range(2):
        StftStream(params, 1, device)
        IstftStream(params, device)
    assert torch.equal(window(params, device), before)


@pytest.mark.parametrize("params", PARAMS)
def test_stream_and_batch_agree_when_they_share_a_window(params):
    audio = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    device = audio.device  # the key under which `stft` keeps its window
    forward, inverse = StftStream(params, 2, device), IstftStream(params, device)
    spectrum = torch.cat([forward.push(audio[:, :777]), forward.push(audio[:, 777:]), forward.finish()], dim=-1)
    torch.testing.assert_close(spectrum, stft(audio, params), atol=1e-6, rtol=0)
    back = torch.cat([inverse.push(spectrum), inverse.finish()], dim=-1)[:, :4000]
    torch.testing.assert_close(back, istft(spectrum, params, 4000), atol=1e-6, rtol=0)
    torch.testing.assert_close(back, audio, atol=1e-5, rtol=0)
