"""Synthesize a sound from a source of harmonics and a source of noise, each with its own filter."""

from __future__ import annotations

import numpy as np
import scipy.signal

RATE = 16_000
FRAME, HOP = 512, 256  # of the filters, in samples at `RATE`
STFT = {"fs": RATE, "window": "hann", "nperseg": FRAME, "noverlap": FRAME - HOP}
BINS = np.fft.rfftfreq(FRAME, 1 / RATE)  # frequencies of the filters in Hz
HIGHEST = 7600  # highest harmonic in Hz


def frame_times(frames: int) -> np.ndarray:
    """Return the times in seconds of the frames of the filters, for audio of some samples."""
    return np.arange(-(-frames // HOP) + 1) * HOP / RATE


def pitch_curve(notes: np.ndarray, bends: np.ndarray, frames: int, glide: float) -> np.ndarray:
    """Return the frequency in Hz of every frame: the notes, joined by glides, with bends in cents."""
    knots = np.column_stack([notes[:, 0] - glide / 2, notes[:, 0] + glide / 2]).reshape(-1)[1:]
    steps = np.repeat(notes[:, 2], 2)[:-1]
    time = np.arange(frames) / RATE
    pitch = np.interp(time, np.maximum.accumulate(knots), steps) + np.interp(time, bends[:, 0], bends[:, 1]) / 100
    return 440 * 2 ** ((pitch - 69) / 12)


def pulses(hertz: np.ndarray) -> np.ndarray:
    """Return the sum of all harmonics below `HIGHEST` at equal level, of a frequency that changes over time.

    The sum of cosines in closed form (Dirichlet's kernel). The number of harmonics changes in steps
    with the frequency.

    Shape:
        [frames] -> [frames]
    """
    phase = np.cumsum(hertz / RATE) % 1.0
    count = np.floor(HIGHEST / hertz)
    half = np.pi * phase
    below = np.sin(half)
    kernel = np.where(np.abs(below) < 1e-6, 2 * count + 1, np.sin((2 * count + 1) * half) / np.where(below == 0, 1, below))
    return (kernel - 1) / np.sqrt(2 * count)


def spectrum_of(audio: np.ndarray) -> np.ndarray:
    """Return the STFT of audio.

    Shape:
        [frames] -> complex [bins, stft frames]
    """
    return scipy.signal.stft(audio, **STFT)[2]


def filtered_sum(source: np.ndarray, gains: np.ndarray, noise_gains: np.ndarray, rng: np.random.Generator,
                 frames: int) -> np.ndarray:
    """Return a source and white noise, each through its own filter, as audio with an RMS of 1.

    Args:
        source: Spectrum of the source.
        gains: Gain of the source at each time and frequency. After it, the source has an RMS of 1.
        noise_gains: Gain of the noise, which has an RMS of 1 before it.
        rng: Random generator of the noise.
        frames: Samples of the result.

    Shape:
        complex [bins, times], [times, bins], [times, bins] -> [frames]
    """
    voiced = source * gains.T
    voiced /= np.sqrt(np.square(np.abs(voiced)).mean()) + 1e-12
    noise = spectrum_of(rng.normal(0, 1, frames))
    noise /= np.sqrt(np.square(np.abs(noise)).mean())
    audio = scipy.signal.istft(voiced + noise * noise_gains.T, **STFT)[1][:frames]
    return audio / (np.sqrt(np.square(audio).mean()) + 1e-12)
