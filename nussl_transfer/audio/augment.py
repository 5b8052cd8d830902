"""Stage 3, augmenting: the pitch and the tempo of a stem are changed, each on its own or both at once.

Time is scaled by Signalsmith Stretch (``python-stretch``), a phase vocoder with its faster preset, and pitch comes of
reading the result at another rate (``soxr``): together, both change by any amount. What the candidates do to ten
seconds at 16 kHz is measured by ``benchmarks/augmenting.py``, and its table stands in ``benchmarks/README.md``. This pair
was chosen because

* stems stay together: bursts that were at one time in two stems come less than a millisecond apart, whatever else
  sounds. SoX (nussl's own way, and somewhat faster) cuts and joins segments where a stem's own waveform fits, and takes
  them up to 14 ms apart;
* pitch is exact. Signalsmith's own transposition is off by 4 cents at 440 Hz; a change of rate is off by none;
* both at once take some 25 ms of a core for ten seconds of one stem, so that four fit in an eighth of a second. Rubber Band
  takes more than twice as long, or nine times with its finer engine;
* transients stay as short as they were; a plain phase vocoder, in torch or librosa's, smears them over 40 ms and more;
* it is a wheel, not a system program, and needs no process for each stem;
* variants rendered once into the store would read faster, but multiply the disk by their number and are steps of a grid,
  and what a GPU computes is not the same bits on another.

The paper draws "the amount to pitch shift ... randomly between -3 and 3 semitones", and stretch "randomly between .8 and
1.2"; whether in steps, it does not say. Here both are drawn uniformly and any value in between may come. ``stretch`` is
nussl's ``time_stretch`` factor: 1.2 plays faster, and takes 12 s of the source for 10 s.
"""

from __future__ import annotations

import math

import numpy as np
import soxr

from ..errors import ConfigError

# What is read and computed beyond both ends of an excerpt, so that these are no ends to the vocoder: one of its blocks.
CONTEXT_SECONDS = 0.1
# Signalsmith's phases are those of the source at half speed and above; below, it draws some of them at random.
FASTEST, SLOWEST = 2.0, 0.5


def source_samples(samples: int, stretch: float) -> int:
    """Returns how many samples of the source make so many at another tempo.

    >>> source_samples(1000, 1.2), source_samples(1000, 0.8), source_samples(1000, 1.0)
    (1200, 800, 1000)
    """
    return round(samples * stretch)


def context_samples(sample_rate: int) -> int:
    """Returns how many samples beyond each end of an excerpt `augment` can make use of."""
    return round(CONTEXT_SECONDS * sample_rate)


def augment(
    audio: np.ndarray, samples: int, sample_rate: int, pitch: float = 0.0, stretch: float = 1.0, before: int = 0
) -> np.ndarray:
    """Returns so many samples of audio at another pitch and tempo.

    What comes out depends on ``pitch``, ``stretch``, ``samples`` and ``before`` in time: stems that are given the same
    stay sample for sample together. Content that a higher pitch puts above half the sample rate is gone; a lower pitch
    leaves the top of the spectrum empty.

    Args:
        audio: The excerpt, `source_samples` of it, with what comes before it and what follows, `context_samples` of each
            at most. Where there is less, silence is taken.
        samples: Number of samples to return.
        sample_rate: Of the audio, in Hz.
        pitch: Semitones up.
        stretch: Tempo: 1.2 is faster by a fifth.
        before: How many samples of ``audio`` come before the excerpt.

    Shape:
        float32 [before + source_samples(samples, stretch) + after] -> float32 [samples]

    Raises:
        ConfigError: The change is greater than can be made well, or python-stretch is not installed.
    """
    _check_size(pitch, stretch)
    ratio = 2 ** (pitch / 12)
    context = context_samples(sample_rate)
    excerpt = source_samples(samples, stretch)
    if pitch == 0 and stretch == 1:
        return _placed(audio[before:], samples, 0)
    framed = _placed(audio[max(0, before - context) :], excerpt + 2 * context, max(0, context - before))
    # The order that computes less: of a higher pitch there is less to scale afterwards, of a lower one before.
    if ratio > 1:
        changed = _scale_time(_change_rate(framed, ratio, sample_rate), stretch / ratio, sample_rate)
    else:
        changed = _change_rate(_scale_time(framed, stretch / ratio, sample_rate), ratio, sample_rate)
    return _placed(changed[round(context / stretch) :], samples, 0)


def change_ranges(
    pitch: tuple[float, float] | None, stretch: tuple[float, float] | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns the limits that pitch (semitones) and stretch (tempo) are drawn between; None is no change.

    Raises:
        ConfigError: They are not two numbers in order, or some pair of values between them is more than can be made well.
    """
    found = []
    for name, limits in (("pitch", (0.0, 0.0) if pitch is None else pitch), ("stretch", stretch or (1.0, 1.0))):
        low, high = limits
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ConfigError(f"A range of {name} is two numbers, the lower first: got {tuple(limits)}.")
        found.append((float(low), float(high)))
    for semitones, tempo in zip(found[0][::-1], found[1], strict=True):
        _check_size(semitones, tempo)
    return found[0], found[1]


def _check_size(pitch: float, stretch: float) -> None:
    speed = stretch / 2 ** (pitch / 12) if abs(pitch) <= 24 else math.inf
    if not (SLOWEST <= speed <= FASTEST and SLOWEST <= stretch <= FASTEST):
        raise ConfigError(
            f"A pitch of {pitch:+g} semitones with a stretch of {stretch:g} was asked for: together they scale time by "
            f"{speed:.2f}, and {SLOWEST:g} to {FASTEST:g} sounds well. Ask for less."
        )


def _placed(audio: np.ndarray, samples: int, start: int) -> np.ndarray:
    """Returns so many samples of silence with audio in it from ``start`` on, as far as there is room."""
    placed = np.zeros(samples, dtype=np.float32)
    inside = audio[: samples - start]
    placed[start : start + len(inside)] = inside
    return placed


def _change_rate(audio: np.ndarray, ratio: float, sample_rate: int) -> np.ndarray:
    """Returns audio played so many times as fast: higher and shorter."""
    return audio if ratio == 1 else soxr.resample(audio, sample_rate * ratio, sample_rate, quality="HQ")


def _scale_time(audio: np.ndarray, speed: float, sample_rate: int) -> np.ndarray:
    """Returns audio at another tempo and its own pitch: [samples] -> [samples / speed]."""
    if speed == 1:
        return audio
    try:
        from python_stretch import Signalsmith
    except ImportError as error:
        raise ConfigError(
            "Another pitch or tempo was asked for: it needs python-stretch, which is not installed. "
            "Install it with `pip install python-stretch`, or leave pitch and stretch out."
        ) from error
    stretcher = Signalsmith.Stretch()
    stretcher.preset(1, sample_rate, cheaper=True)
    stretcher.setTimeFactor(speed)
    return stretcher.process(np.ascontiguousarray(audio[np.newaxis]))[0]
