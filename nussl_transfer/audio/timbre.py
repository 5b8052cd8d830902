"""Change the timbre of a stem: a random smooth equalizer and a random room.

A small set has one recording of each instrument: one microphone, one room, one player. A network trained on it learns that
recording. Filters that a mixing engineer could have used make the recordings differ, and leave the notes as they are.

Both filters multiply the spectrum of the whole excerpt, so one FFT of the zero-padded excerpt and one inverse FFT apply
them. The equalizer has zero phase: it moves no onset.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

# The equalizer's gains are drawn at this many frequencies, evenly spaced on a logarithmic axis.
KNOTS = 7
LOWEST_HZ = 80.0
# A room: reverberation time (60 dB of decay), delay before the reverberation, and level of the reverberation (root of its
# energy, relative to the direct sound).
T60_SECONDS = (0.15, 0.9)
DELAY_SECONDS = (0.001, 0.02)
LEVEL = (0.1, 0.8)
# The impulse response of a room is cut after this time.
ROOM_SECONDS = 0.5


@dataclass(frozen=True)
class Timbre:
    """The filters of one stem.

    Attributes:
        gains_db: Gains of the equalizer in dB at `knot_frequencies`. Between two knots the gain is interpolated over the
            logarithm of the frequency; below the first knot it is that of the first.
        room: The room's (T60 in seconds, delay in seconds, level relative to the direct sound, seed of its noise); None:
            no room.
    """

    gains_db: tuple[float, ...]
    room: tuple[float, float, float, int] | None = None


def draw_timbre(rng: np.random.Generator, eq_db: float, room: float) -> Timbre:
    """Draw the filters of one stem.

    Args:
        rng: Generator that decides them.
        eq_db: Standard deviation of the equalizer's gains in dB.
        room: Probability of a room, 0 to 1.
    """
    gains = tuple(float(gain) for gain in rng.normal(0, eq_db, KNOTS))
    if not rng.random() < room:
        return Timbre(gains)
    t60, delay, level = (float(rng.uniform(*limits)) for limits in (T60_SECONDS, DELAY_SECONDS, LEVEL))
    return Timbre(gains, (t60, delay, level, int(rng.integers(2**32))))


def knot_frequencies(sample_rate: int) -> np.ndarray:
    """Return the frequencies in Hz at which the equalizer's gains are drawn.

    >>> knot_frequencies(16000).round().tolist()
    [80.0, 172.0, 371.0, 800.0, 1724.0, 3713.0, 8000.0]
    """
    return np.geomspace(LOWEST_HZ, sample_rate / 2, KNOTS)


def change_timbre(audio: np.ndarray, sample_rate: int, timbre: Timbre) -> np.ndarray:
    """Filter a stem; its RMS level stays as it is.

    Args:
        audio: The stem.
        sample_rate: Rate of the audio in Hz.
        timbre: The filters.

    Shape:
        float32 [samples] -> float32 [samples]
    """
    # Zeros as long as a room's response keep the end of the convolution from wrapping around to the start.
    size = scipy.fft.next_fast_len(len(audio) + round(ROOM_SECONDS * sample_rate), real=True)
    spectrum = scipy.fft.rfft(audio, size)
    spectrum *= _equalizer(sample_rate, size, timbre.gains_db)
    if timbre.room is not None:
        spectrum *= scipy.fft.rfft(room_response(sample_rate, timbre.room), size)
    filtered = scipy.fft.irfft(spectrum, size)[: len(audio)]
    before, after = (np.square(signal, dtype=np.float64).sum() for signal in (audio, filtered))
    if after == 0:
        return np.zeros_like(audio)
    return filtered * np.float32(np.sqrt(before / after))


def room_response(sample_rate: int, room: tuple[float, float, float, int]) -> np.ndarray:
    """Return the impulse response of a room: the direct sound, a pause, and noise that decays exponentially.

    Shape:
        float32 [samples], at most `ROOM_SECONDS` long
    """
    t60, delay, level, seed = room
    start = max(1, round(delay * sample_rate))
    length = min(round(t60 * sample_rate), round(ROOM_SECONDS * sample_rate) - start)
    decay = 10 ** (-3 * np.arange(length) / (t60 * sample_rate))  # -60 dB after t60
    tail = np.random.default_rng(seed).standard_normal(length) * decay
    response = np.zeros(start + length, dtype=np.float32)
    response[0] = 1
    response[start:] = tail * level / np.sqrt(np.square(tail).sum())
    return response


def _equalizer(sample_rate: int, size: int, gains_db: tuple[float, ...]) -> np.ndarray:
    """Return the factor of each bin of a spectrum of ``size`` samples.

    Shape:
        float32 [size // 2 + 1]
    """
    left, share = _interpolation(sample_rate, size)
    gains = np.array(gains_db, dtype=np.float32) * np.float32(np.log(10) / 20)
    steps = np.diff(gains)
    return np.exp(gains[left] + steps[left] * share)


@lru_cache(maxsize=8)
def _interpolation(sample_rate: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each bin, the knot to its left and how far the bin lies between that knot and the next, 0 to 1."""
    frequencies = np.maximum(scipy.fft.rfftfreq(size, 1 / sample_rate), LOWEST_HZ)
    position = np.log(frequencies / LOWEST_HZ) / np.log(sample_rate / 2 / LOWEST_HZ) * (KNOTS - 1)
    left = np.minimum(position.astype(np.intp), KNOTS - 2)
    return left, (position - left).astype(np.float32)
