"""Use the mixture file of a track: make the stem `rest` from it (--rest), or train on it (--use-mixtures)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import DataError
from ..runtime.log import logger
from .folders import few
from .tracks import Track, labels_of

REST = "rest"
# If a stem and the rest correlate more than this, the mixture contains a changed version of the stem. Independent parts of
# one piece correlate by a few per cent over a minute; with two equally loud parts, a gain error of 2 dB gives 0.2.
MOST_CORRELATED = 0.2
# Seconds by which a stem may be early or late in the mixture and still be found.
LARGEST_LAG = 0.5


def with_rest(tracks: Sequence[Track]) -> list[Track]:
    """Add the stem ``rest`` to each track: the mixture file minus the stems.

    Tracks without a mixture file, or without a stem, are left out and logged.

    Raises:
        DataError: No track has a mixture file and a stem, or a stem is called 'rest'.
    """
    if REST in labels_of(tracks):
        raise DataError(
            "A stem is called 'rest', the name that --rest gives to the mixture minus the stems. Rename it, or leave out "
            "--rest."
        )
    usable = [(track, track.mixture) for track in tracks if track.mixture is not None and track.stems]
    if not usable:
        raise DataError(
            "The rest of a mixture needs a mixture file in each track, such as mixture.wav beside vocals.wav: no track has "
            "one. Add it, or leave out --rest."
        )
    if left := [track.name for track in tracks if track.mixture is None or not track.stems]:
        logger.warning("left out, without a mixture file: %s", few(left))
    return [
        replace(
            track,
            stems={**track.stems, REST: (mixture,)},
            minus={REST: tuple(path for files in track.stems.values() for path in files)},
        )
        for track, mixture in usable
    ]


def with_mixtures(tracks: Sequence[Track]) -> list[Track]:
    """Return the tracks that have a mixture file, with that file as input; leave out the others and log them.

    Raises:
        DataError: No track has one.
    """
    usable = [track for track in tracks if track.mixture is not None]
    if not usable:
        raise DataError(
            "Training on given mixtures needs a mixture file in each track, such as mixture.wav beside the stems: no track "
            "has one. Add them, or leave out --use-mixtures."
        )
    if left := [track.name for track in tracks if track.mixture is None]:
        logger.warning("left out, without a mixture file: %s", few(left))
    return [replace(track, uses_mixture=True) for track in usable]


@dataclass(frozen=True)
class MixtureFit:
    """Measure of how well stems fit a mixture.

    Attributes:
        residual_db: Power of the mixture minus the stems, relative to the mixture.
        correlation: Between the stems and that difference; 0 if the mixture contains the stems unchanged.
        gain: Gain of the stems in the mixture, at the lag where they fit best.
        lag: Seconds by which the stems must be delayed to fit best.
    """

    residual_db: float
    correlation: float
    gain: float
    lag: float

    @property
    def fault(self) -> str:
        """Return what is wrong, as a sentence without its full stop; '' where the rest is usable."""
        if self.residual_db <= 0 and abs(self.correlation) <= MOST_CORRELATED:
            return ""
        louder = f"is {self.residual_db:.1f} dB louder than the mixture"
        correlated = f"is correlated with the stem ({self.correlation:+.2f})"
        what = louder if self.residual_db > 0 else correlated
        if abs(self.lag) > 0.0005:
            late = "late" if self.lag > 0 else "early"
            found = f"the stem is found {1000 * abs(self.lag):.1f} ms {late} in the mixture: shift it"
        elif self.gain < 0:
            found = "the stem is found with the opposite sign in the mixture: invert it"
        elif self.gain < 0.05:
            found = "the stem is not found in the mixture: it may be another take, or an effect may have been added"
        else:
            found = f"the stem is found at {20 * np.log10(self.gain):+.1f} dB in the mixture: change its gain by that much"
        return f"the mixture minus the stem {what}; {found}"


def fit_mixture(mixture: np.ndarray, stems: np.ndarray, sample_rate: int) -> MixtureFit:
    """Measure how a sum of stems fits into a mixture.

    The gain at lag t is the cross-correlation at t divided by the power of the stems, and the best lag is where its
    magnitude is largest.

    Shape:
        mixture [frames], stems [frames]
    """
    mixture, stems = np.asarray(mixture, dtype=np.float64), np.asarray(stems, dtype=np.float64)
    rest = mixture - stems
    power = {name: float(x @ x) for name, x in (("mixture", mixture), ("stems", stems), ("rest", rest))}
    if power["mixture"] == 0 or power["stems"] == 0:
        return MixtureFit(0.0 if power["stems"] == 0 else np.inf, 0.0, 0.0, 0.0)
    both = np.sqrt(power["rest"] * power["stems"])
    # A rest 60 dB below the stem is rounding error: its correlation means nothing.
    correlation = float(rest @ stems) / both if power["rest"] > 1e-6 * power["stems"] else 0.0
    size = 2 ** int(np.ceil(np.log2(2 * len(mixture))))
    crossed = np.fft.irfft(np.fft.rfft(mixture, size) * np.conj(np.fft.rfft(stems, size)), size)
    most = min(round(LARGEST_LAG * sample_rate), len(mixture) - 1)
    lags = np.concatenate([np.arange(most + 1), np.arange(-most, 0)])
    best = int(np.argmax(np.abs(crossed[lags])))
    residual = 10 * np.log10(max(power["rest"] / power["mixture"], 1e-12))
    gain, lag = float(crossed[lags[best]] / power["stems"]), float(lags[best] / sample_rate)
    return MixtureFit(float(residual), correlation, gain, lag)
