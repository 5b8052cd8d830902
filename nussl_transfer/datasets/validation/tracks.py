"""One track: whether its files fit together, whether it has all labels, whether its mixture is their sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...audio.io import blocks, header, too_unequal
from ...errors import AudioFileError
from ..base import Track
from ..folders import few
from ..labels import counted, labels_of, missing_labels
from .findings import Finding, StemRow

# A residual above this (dB, relative to the mixture) is another mix, not rounding or a codec.
MIXTURE_RESIDUAL = -20.0
_TAKEN_AS = {"skip": "It is left out.", "silence": "What it lacks is taken as silent."}
UNEQUAL = "Export them from the same start to the same end; if they do not belong together, say layout='pool'."


def missing_stems(tracks: Sequence[Track], missing: str = "error") -> list[Finding]:
    """Return an error for each track that lacks a label of other tracks, and a warning where there is one label only.

    With ``missing`` 'skip' or 'silence' the errors are notes: such tracks are left out, or their stems are silent.
    """
    labels = labels_of(tracks)
    counts = Counter(label for track in tracks for label in track.stems)
    advice = (
        f"The labels are {counted(counts, len(tracks))}. Add the stem, pass over a label with `ignore`, merge labels "
        "with `groups`, or leave such tracks out with missing='skip'."
    )
    found = [
        Finding("error", name, None, f"lacks {', '.join(absent)}", advice)
        if missing == "error"
        else Finding("note", name, None, f"lacks {', '.join(absent)}", _TAKEN_AS[missing])
        for name, absent in missing_labels(tracks).items()
    ]
    if len(labels) == 1:
        what = f"there is one label only, {labels[0]}"
        found.append(Finding("warning", None, labels[0], what, "To separate takes two: look for stems left out."))
    return found


def findings_of_tracks(tracks: Sequence[Track], rows: Sequence[StemRow], tolerance: float) -> list[Finding]:
    """Returns what there is to say of rates and lengths within a track, and of what is left out of it."""
    found = []
    rows_of: dict[str, list[StemRow]] = {}
    for row in rows:
        rows_of.setdefault(row.track, []).append(row)
    for track in tracks:
        mine = rows_of.get(track.name, [])
        rates = sorted({row.sample_rate for row in mine})
        lengths = [row.seconds for row in mine]
        if len(rates) > 1:
            what = f"its files have different rates, {', '.join(map(str, rates))} Hz"
            found.append(Finding("note", track.name, None, what, "A store has them resampled to one."))
        channels = sorted({row.channels for row in mine})
        if len(channels) > 1:
            what = f"its files have different numbers of channels, {', '.join(map(str, channels))}"
            found.append(Finding("note", track.name, None, what, "A store has the mean of them; nussl hears mono on both."))
        if mine and max(lengths) > min(lengths):
            listed = ", ".join(f"{Path(row.file).name} {row.seconds:.2f} s" for row in mine)
            if too_unequal(lengths, tolerance):
                what, what_to_do = f"its stems differ in length: {listed}", UNEQUAL
                found.append(Finding("error", track.name, None, what, what_to_do))
            else:
                what, what_to_do = (
                    f"its stems differ a little in length: {listed}",
                    "The shorter get silence.",
                )
                found.append(Finding("note", track.name, None, what, what_to_do))
        if track.left_out:
            names = few(path.name for path in track.left_out)
            found.append(Finding("note", track.name, None, f"left out: {names}"))
    return found


def check_mixture(track: Track) -> list[Finding]:
    """Compares a mixture file with the sum of its track's stems: gain, and residual in dB of the mixture."""
    if track.mixture is None:
        return []
    files = [path for paths in track.stems.values() for path in paths]
    name = track.mixture.name
    try:
        heads = [header(path) for path in (track.mixture, *files)]
        if len({(head.sample_rate, head.frames) for head in heads}) > 1:
            what = f"{name} has another rate or length than the stems"
            return [Finding("note", track.name, None, what, "It is not used: mixtures are summed from stems.")]
        products = np.zeros(3)
        for mix, *stems in zip(*map(blocks, (track.mixture, *files)), strict=True):
            mono = mix.mean(axis=1, dtype=np.float64)
            summed = sum(stem.mean(axis=1, dtype=np.float64) for stem in stems)
            products += mono @ mono, mono @ summed, summed @ summed
    except (AudioFileError, ValueError) as error:
        what = f"the mixture cannot be compared with its stems: {error}"
        return [Finding("warning", track.name, None, what.rstrip("."), "It is not used, so it may be removed.")]
    power, cross, summed = products
    if power == 0 or summed == 0:
        return []
    gain = cross / summed
    # At least one rounding's worth, so that an exact sum has a level too.
    residual = 10 * np.log10(max(1 - gain * cross / power, 1e-12))
    what = f"{name} is {gain:.3f} x the sum of the stems, residual {residual:.0f} dB"
    if residual > MIXTURE_RESIDUAL and not track.left_out:
        what_to_do = "It holds more than these stems (other stems, bleed, mastering). It is not used."
        return [Finding("warning", track.name, None, what, what_to_do)]
    return [Finding("note", track.name, None, what)]
