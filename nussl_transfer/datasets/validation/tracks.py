"""Check the tracks: whether their files fit together, have all labels, and sum to the mixture."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ...audio.io import blocks, header, too_unequal
from ...errors import AudioFileError
from ..folders import UNREAD, few, is_audio, is_stem_mp4
from ..labels import counted
from ..tracks import MISSING_ADVICE, Track, labels_of, missing_labels
from .findings import Finding, StemRow

# A residual above this (dB, relative to the mixture) is another mix, not rounding or a codec.
MIXTURE_RESIDUAL = -20.0
# The longest name in bytes. File systems take 255; a store also writes temporary files, with names up to 25 bytes longer.
LONGEST_NAME = 230
_UNEQUAL = (
    "Export them from the same start to the same end; if the files do not belong together, use --options layout=pool."
)
_TAKEN_AS = {"skip": "It is left out.", "silence": "Its missing stems count as silent."}


def missing_stems(tracks: Sequence[Track], missing: str = "error") -> list[Finding]:
    """Return an error for each track that lacks a label of other tracks, and a warning where there is one label only.

    With ``missing`` 'skip' or 'silence' the errors are notes: such tracks are left out, or their stems are silent.
    """
    labels = labels_of(tracks)
    counts = Counter(label for track in tracks for label in track.stems)
    advice = f"The labels are {counted(counts, len(tracks))}. {MISSING_ADVICE}"
    found = [
        Finding("error", name, None, f"lacks {', '.join(absent)}", advice)
        if missing == "error"
        else Finding("note", name, None, f"lacks {', '.join(absent)}", _TAKEN_AS[missing])
        for name, absent in missing_labels(tracks).items()
    ]
    if len(labels) == 1:
        advice = "Separation needs two stems. Look for stems that were left out."
        if any(track.mixture for track in tracks):
            advice = "Separation needs two stems. With --rest, the mixture file minus this stem is the second."
        found.append(Finding("warning", None, labels[0], f"there is one label only, {labels[0]}", advice))
    return found


def findings_of_tracks(tracks: Sequence[Track], rows: Sequence[StemRow], tolerance: float) -> list[Finding]:
    """Return the differences in rate and length between a track's files, names that are too long, and files left out."""
    found = []
    rows_of: dict[str, list[StemRow]] = {}
    for row in rows:
        rows_of.setdefault(row.track, []).append(row)
    for track in tracks:
        own_rows = rows_of.get(track.name, [])
        rates = sorted({row.sample_rate for row in own_rows})
        lengths = [row.seconds for row in own_rows]
        if len(rates) > 1:
            what = f"its files have different rates, {', '.join(map(str, rates))} Hz"
            found.append(Finding("note", track.name, None, what, "Preparing a store resamples them to one."))
        channels = sorted({row.channels for row in own_rows})
        if len(channels) > 1:
            what = f"its files have different numbers of channels, {', '.join(map(str, channels))}"
            advice = "A store takes the mean of the channels; nussl plays mono on all channels."
            found.append(Finding("note", track.name, None, what, advice))
        if own_rows and max(lengths) > min(lengths):
            listed = ", ".join(f"{Path(row.file).name} {row.seconds:.2f} s" for row in own_rows)
            if too_unequal(lengths, tolerance):
                found.append(Finding("error", track.name, None, f"its stems differ in length: {listed}", _UNEQUAL))
            else:
                what = f"its stems differ a little in length: {listed}"
                found.append(Finding("note", track.name, None, what, "The shorter ones get silence at their end."))
        if track.left_out:
            names = few(path.name for path in track.left_out)
            found.append(Finding("note", track.name, None, f"left out: {names}"))
        found += _long_names(track)
    return found + _unread_beside(tracks)


def _long_names(track: Track) -> list[Finding]:
    found = []
    for name in (*PurePosixPath(track.name).parts, *track.stems):
        if (size := len(os.fsencode(name))) > LONGEST_NAME:
            what = f"a name in it has {size} bytes, more than the {LONGEST_NAME} that a store can keep: {name[:40]}..."
            found.append(Finding("error", f"{track.name[:40]}...", None, what, "Rename the folder or the file."))
    return found


def _unread_beside(tracks: Sequence[Track]) -> list[Finding]:
    """Return a warning for each track, or folder of a pool, with audio beside its stems that is not read."""
    used = {path for track in tracks for path in (*track.files, *track.left_out, track.mixture)}
    owners: dict[Path, set[str]] = {}
    for track in tracks:
        for path in track.files:
            owners.setdefault(path.parent, set()).add(track.name)
    found = []
    for folder, names in owners.items():
        try:
            entries = sorted(os.listdir(folder))
        except OSError:  # inside a stem.mp4, or no longer there
            continue
        unread = [
            name
            for name in entries
            if _is_unread(name) and folder / name not in used and not (name.startswith("._") and name[2:] in entries)
        ]
        if unread:
            owner = next(iter(names)) if len(names) == 1 else None
            what = f"audio beside its stems is not read: {few(unread)}" if owner else f"audio in {folder}: {few(unread)}"
            advice = "Convert files of other kinds to WAV or FLAC; rename those with a leading dot."
            found.append(Finding("warning", owner, None, what, advice))
    return found


def _is_unread(name: str) -> bool:
    """Tell whether a name is that of audio which a scan skips."""
    path = PurePosixPath(name.lstrip("."))
    if name.startswith("."):
        return is_audio(path) or path.suffix.lower() in UNREAD
    return path.suffix.lower() in UNREAD and not is_stem_mp4(path)


def check_mixture(track: Track) -> list[Finding]:
    """Compare a mixture file with the sum of its track's stems: the gain, and the residual in dB of the mixture."""
    if track.mixture is None or track.minus or track.spans:
        return []
    files = [path for paths in track.stems.values() for path in paths]
    name, used = track.mixture.name, track.given_mixture is not None
    unused = "Training does not use it: mixtures are summed from the stems."
    try:
        heads = [header(path) for path in (track.mixture, *files)]
        if len({(head.sample_rate, head.frames) for head in heads}) > 1:
            what = f"{name} has another rate or length than the stems"
            advice = "A store aligns them. To compare them, export them at one rate and length." if used else unused
            return [Finding("note", track.name, None, what, advice)]
        products = np.zeros(3)
        for mix, *stems in zip(*map(blocks, (track.mixture, *files)), strict=True):
            mono = mix.mean(axis=1, dtype=np.float64)
            summed = sum(stem.mean(axis=1, dtype=np.float64) for stem in stems)
            products += mono @ mono, mono @ summed, summed @ summed
    except (AudioFileError, ValueError) as error:
        what = f"the mixture cannot be compared with its stems: {error}"
        level, advice = ("error", "Copy it again.") if used else ("warning", "Training does not use it; it may be removed.")
        return [Finding(level, track.name, None, what.rstrip("."), advice)]
    power, cross, summed = products
    if power == 0 or summed == 0:
        return []
    gain = cross / summed
    # The floor is the size of a rounding error, so that an exact sum has a finite level too.
    residual = 10 * np.log10(max(1 - gain * cross / power, 1e-12))
    what = f"{name} is {gain:.3f} x the sum of the stems, residual {residual:.0f} dB"
    if residual > MIXTURE_RESIDUAL and used:
        advice = "The network gets this mixture and learns these stems: effects and mastering in it are part of the task."
        return [Finding("note", track.name, None, what, advice)]
    if residual > MIXTURE_RESIDUAL and not track.left_out:
        return [Finding("warning", track.name, None, what, f"It holds more than these stems (bleed, mastering). {unused}")]
    return [Finding("note", track.name, None, what)]
