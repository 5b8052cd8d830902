"""Change the pitch and the tempo of a stem, each on its own or both at once.

Signalsmith Stretch (``python-stretch``), a phase vocoder, scales time with its faster preset; resampling the result
(``soxr``) changes the pitch. Together they change both by any amount. ``benchmarks/augmenting.py`` compares eight methods
on ten seconds at 16 kHz; ``benchmarks/README.md`` has its table. This pair was chosen because

* stems stay aligned: simultaneous bursts in two stems end up less than a millisecond apart, whatever else sounds. SoX
  (nussl's own method, which is about as fast) cuts and joins segments where each stem's waveform fits, and moves the bursts
  up to 14 ms apart;
* resampling is exact in pitch. Signalsmith's own transposition is off by 4 cents at 440 Hz;
* ten seconds of one stem take about 25 ms of a core for both changes. Rubber Band takes 1.5 times as long, or five times
  with its finer engine;
* transients stay as short as they were; a plain phase vocoder, in torch or librosa's, smears them over 40 ms and more;
* pip installs it; it is not a system program, and needs no process for each stem;
* it runs on the CPU: two kinds of GPU would compute different bits.

Rendering variants into the store once would make reading faster, but multiply the disk space and restrict the changes to a
grid.

The paper draws "the amount to pitch shift ... randomly between -3 and 3 semitones", and stretch "randomly between .8 and
1.2", and does not say whether in steps. Here both are drawn uniformly from the whole range. ``stretch`` is nussl's
``time_stretch`` factor: 1.2 plays faster, and needs 12 s of the source for 10 s.
"""

from __future__ import annotations

import math

import numpy as np
import soxr

from ..errors import ConfigError

# Seconds of the track to read and process beyond each end of an excerpt: one block of the vocoder. Without it, the vocoder
# would treat the ends of the excerpt as ends of the sound.
CONTEXT_SECONDS = 0.1
# The accepted speeds. Down to half speed, Signalsmith takes its phases from the source; below, it draws some at random.
FASTEST, SLOWEST = 2.0, 0.5


def source_samples(samples: int, stretch: float) -> int:
    """Return the number of source samples that an excerpt of ``samples`` needs at another tempo.

    >>> source_samples(1000, 1.2), source_samples(1000, 0.8), source_samples(1000, 1.0)
    (1200, 800, 1000)
    """
    return round(samples * stretch)


def context_samples(sample_rate: int) -> int:
    """Return the number of samples beyond each end of an excerpt that `augment` can use."""
    return round(CONTEXT_SECONDS * sample_rate)


def augment(
    audio: np.ndarray, samples: int, sample_rate: int, pitch: float = 0.0, stretch: float = 1.0, before: int = 0
) -> np.ndarray:
    """Return an excerpt at another pitch and tempo.

    The timing depends on ``pitch``, ``stretch``, ``samples`` and ``before`` alone, so stems with equal values stay aligned
    to the sample. A higher pitch loses the content that would lie above half the sample rate; a lower pitch leaves the top
    of the spectrum empty.

    Args:
        audio: The excerpt, `source_samples` long, with up to `context_samples` of the track before and after it. Missing
            context is taken as silence.
        samples: Number of samples to return.
        sample_rate: Sample rate in Hz.
        pitch: Semitones up.
        stretch: Tempo: 1.2 is faster by a fifth.
        before: Number of samples of ``audio`` before the excerpt.

    Shape:
        float32 [before + source_samples(samples, stretch) + after] -> float32 [samples]

    Raises:
        ConfigError: The change is too large to sound well, or python-stretch is not installed.
    """
    _check_size(pitch, stretch)
    ratio = 2 ** (pitch / 12)
    context = context_samples(sample_rate)
    excerpt = source_samples(samples, stretch)
    if pitch == 0 and stretch == 1:
        return _placed(audio[before:], samples, 0)
    framed = _placed(audio[max(0, before - context) :], excerpt + 2 * context, max(0, context - before))
    # Scale time while the signal is short: resampling shortens it for a higher pitch, and lengthens it for a lower one.
    if ratio > 1:
        changed = _scale_time(_change_rate(framed, ratio, sample_rate), stretch / ratio, sample_rate)
    else:
        changed = _change_rate(_scale_time(framed, stretch / ratio, sample_rate), ratio, sample_rate)
    return _placed(changed[round(context / stretch) :], samples, 0)


def change_ranges(
    pitch: tuple[float, float] | None, stretch: tuple[float, float] | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ranges of pitch (semitones) and stretch (tempo factor) to draw from; None means no change.

    Raises:
        ConfigError: A range is not two numbers in order, or some pair of values in the ranges is too large a change.
    """
    found = []
    for name, limits in (("pitch", (0.0, 0.0) if pitch is None else pitch), ("stretch", stretch or (1.0, 1.0))):
        low, high = limits
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ConfigError(f"{name} must be a range of two numbers, the lower first: got {tuple(limits)}.")
        found.append((float(low), float(high)))
    for semitones, tempo in zip(found[0][::-1], found[1], strict=True):
        _check_size(semitones, tempo)
    return found[0], found[1]


def _check_size(pitch: float, stretch: float) -> None:
    speed = stretch / 2 ** (pitch / 12) if abs(pitch) <= 24 else math.inf
    if not (SLOWEST <= speed <= FASTEST and SLOWEST <= stretch <= FASTEST):
        raise ConfigError(
            f"A pitch of {pitch:+g} semitones with a stretch of {stretch:g} is too large a change: together they scale "
            f"time by {speed:.2f}, expected {SLOWEST:g} to {FASTEST:g}. Use a smaller change."
        )


def _placed(audio: np.ndarray, samples: int, start: int) -> np.ndarray:
    """Return ``samples`` samples of silence into which the audio is put at ``start``, cut to fit."""
    placed = np.zeros(samples, dtype=np.float32)
    inside = audio[: samples - start]
    placed[start : start + len(inside)] = inside
    return placed


def _change_rate(audio: np.ndarray, ratio: float, sample_rate: int) -> np.ndarray:
    """Return audio played ``ratio`` times as fast: higher and shorter."""
    return audio if ratio == 1 else soxr.resample(audio, sample_rate * ratio, sample_rate, quality="HQ")


def _scale_time(audio: np.ndarray, speed: float, sample_rate: int) -> np.ndarray:
    """Return audio at another tempo and its own pitch: [samples] -> [samples / speed]."""
    if speed == 1:
        return audio
    try:
        from python_stretch import Signalsmith
    except ImportError as error:
        raise ConfigError(
            "Changing pitch or tempo needs python-stretch, which is not installed. Install it with "
            "`pip install python-stretch`, or leave pitch and stretch out."
        ) from error
    stretcher = Signalsmith.Stretch()
    stretcher.preset(1, sample_rate, cheaper=True)
    stretcher.setTimeFactor(speed)
    return np.asarray(stretcher.process(np.ascontiguousarray(audio[np.newaxis])))[0]
