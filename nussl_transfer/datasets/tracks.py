"""Define `Track` (a piece of music and the files of its stems), and merge, complete and split lists of tracks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..audio.io import summed
from ..errors import DataError
from ..runtime.log import logger
from .labels import Groups, IgnorePatterns, closest, counted, group_of, members_of, normalise, without_number
from .options import check_choice


@dataclass(frozen=True)
class Track:
    """One piece of music: the files of each stem.

    Attributes:
        name: Unique in its data set, and a safe relative path.
        stems: Label -> files, which are summed.
        split: 'train', 'valid', 'test' or None.
        mixture: A mixture file on disk. It is used to check the stems, and as the input with ``use_mixtures``.
        left_out: Audio files of the track that are in no stem.
        origin: What the track was made from, such as a MIDI file or a song. Tracks of one origin are the same music and
            are kept on one side of a split.
        minus: Label -> files that are subtracted from that stem: the label ``rest`` is a mixture minus the other stems.
        spans: File -> start and end in seconds of the part that is used, if it is not the whole file; None is the end.
        uses_mixture: Whether the mixture file is the input of the training, instead of the sum of the stems.
    """

    name: str
    stems: dict[str, tuple[Path, ...]]
    split: str | None = None
    mixture: Path | None = None
    left_out: tuple[Path, ...] = ()
    origin: str | None = None
    minus: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    spans: dict[Path, tuple[float, float | None]] = field(default_factory=dict)
    uses_mixture: bool = False

    @property
    def files(self) -> list[Path]:
        """Return every file to decode for the stems and the mixture, each once."""
        listed = [path for files in (*self.stems.values(), *self.minus.values()) for path in files]
        given = [] if self.given_mixture is None else [self.given_mixture]
        return list(dict.fromkeys([*listed, *given]))

    @property
    def given_mixture(self) -> Path | None:
        """Return the mixture file if it is the input of the training; else None."""
        return self.mixture if self.uses_mixture else None


def cut(signal: np.ndarray, sample_rate: int, span: tuple[float, float | None] | None) -> np.ndarray:
    """Return the part of a signal between two times in seconds; all of it if the span is None.

    Shape:
        [..., frames]

    Raises:
        DataError: The span lies outside the signal.
    """
    if span is None:
        return signal
    start, end = span
    frames = signal.shape[-1]
    last = frames if end is None else round(end * sample_rate)
    # Half a millisecond of rounding is no error.
    if round(start * sample_rate) >= frames or last > frames + sample_rate // 2000:
        until = "its end" if end is None else f"{end:g} s"
        raise DataError(
            f"the part from {start:g} s to {until} lies outside the file, which has {frames / sample_rate:.2f} s"
        )
    return signal[..., round(start * sample_rate) : last]


def sum_stems(track: Track, signals: Mapping[Path, np.ndarray]) -> dict[str, np.ndarray]:
    """Return each stem of a track: the sum of its files, minus the files that are subtracted.

    Args:
        track: The track.
        signals: File -> samples, all of one length.
    """
    stems = {label: summed(signals[path] for path in files) for label, files in track.stems.items()}
    for label, files in track.minus.items():
        stems[label] -= summed(signals[path] for path in files)
    return stems


def group_tracks(tracks: Iterable[Track], groups: Groups) -> list[Track]:
    """Return the tracks with stems merged: ``{'male': ['tenor', 'bass']}`` makes one stem of two.

    Stems in no group move to the track's ``left_out``. Afterwards a track may lack a group: see ``missing_labels``. In a
    pool, only the tracks in a group remain.

    Raises:
        DataError: A group takes no stem of any track.
    """
    members = members_of(groups)
    tracks = list(tracks)
    labels = Counter(label for track in tracks for label in track.stems)
    taken = {group_of(label, members) for label in labels}
    for group in groups:
        if normalise(group) not in taken:
            asked = [member for member, owner in members.items() if owner == normalise(group)]
            close = closest(asked, labels)
            hint = f"Did you mean {', '.join(close)}?" if close else "Name the stems of the group as they are."
            raise DataError(
                f"Group {group!r} is empty: no track has a stem {', '.join(asked)}. The stems are "
                f"{counted(labels, len(tracks))}. {hint}"
            )
    used = set(labels) | {without_number(label) for label in labels}
    for member in members:
        if member not in used:
            logger.warning("no track has the stem %r of group %r", member, members[member])
    grouped = [_grouped(track, members) for track in tracks]
    ungrouped = Counter(label for track in tracks for label in track.stems if group_of(label, members) is None)
    if ungrouped:
        logger.warning("left out, in no group: %s", counted(ungrouped, len(tracks)))
    # In a pool every track has one stem, so none can lack another.
    pool = all(len(track.stems) == 1 for track in tracks)
    return [track for track in grouped if track.stems] if pool else grouped


def _grouped(track: Track, members: Mapping[str, str]) -> Track:
    stems: dict[str, tuple[Path, ...]] = {}
    left_out = list(track.left_out)
    for label, files in track.stems.items():
        group = group_of(label, members)
        if group is None:
            left_out.extend(files)
        else:
            stems[group] = stems.get(group, ()) + files
    return replace(track, stems=dict(sorted(stems.items())), left_out=tuple(left_out))


def without_ignored(tracks: Iterable[Track], ignore: Sequence[str] | IgnorePatterns) -> list[Track]:
    """Return the tracks that no pattern fits, without the labels that a pattern fits."""
    ignore = IgnorePatterns.of(ignore)
    kept = []
    for track in tracks:
        if not ignore.fits(track.name):
            stems = {label: files for label, files in track.stems.items() if not ignore.fits(label)}
            if stems:
                kept.append(replace(track, stems=stems))
    return kept


def missing_labels(tracks: Sequence[Track]) -> dict[str, tuple[str, ...]]:
    """Return, for each track that lacks labels of other tracks, the labels that it lacks.

    A pool (unrelated files, each a track with one stem) lacks nothing.
    """
    labels = labels_of(tracks)
    if all(len(track.stems) == 1 for track in tracks):
        return {}
    lacking = {track.name: tuple(label for label in labels if label not in track.stems) for track in tracks}
    return {name: missing for name, missing in lacking.items() if missing}


def labels_of(tracks: Iterable[Track]) -> tuple[str, ...]:
    """Return the labels of all tracks, in alphabetical order."""
    return tuple(sorted({label for track in tracks for label in track.stems}))


def complete_tracks(tracks: Sequence[Track], missing: str = "error") -> list[Track]:
    """Return the tracks that have every label.

    Args:
        tracks: All tracks.
        missing: 'error' stops where a track is incomplete, 'skip' leaves it out, 'silence' keeps it.

    Raises:
        DataError: A track lacks a label and ``missing`` is 'error', or no track is complete and it is 'skip'.
    """
    check_choice("missing", missing, ("error", "skip", "silence"))
    lacking = missing_labels(tracks)
    if missing == "silence" or not lacking:
        return list(tracks)
    if missing == "error" or len(lacking) == len(tracks):
        counts = counted(Counter(label for track in tracks for label in track.stems), len(tracks))
        listed = "".join(f"\n  {name} lacks {', '.join(labels)}" for name, labels in lacking.items())
        raise DataError(f"Tracks must have the same stems. Found {counts}:{listed}\n{MISSING_ADVICE}")
    return [track for track in tracks if track.name not in lacking]


# The same advice here and in `check`.
MISSING_ADVICE = (
    "Add the stems, skip a label (--ignore) or merge labels (--groups). Or take the missing stems as silent "
    "(--missing silence), or leave these tracks out (--missing skip). In Python: ignore, groups, missing='silence' and "
    "missing='skip'."
)


def in_split(tracks: Sequence[Track], split: str) -> list[Track]:
    """Return the tracks of one split; where no track has a split, ``split_tracks`` draws them.

    Raises:
        DataError: No track is in it.
    """
    if all(track.split is None for track in tracks):
        tracks = split_tracks(tracks)
    chosen = [track for track in tracks if track.split == split]
    if not chosen:
        found = ", ".join(f"{name} {count}" for name, count in Counter(track.split for track in tracks).items())
        raise DataError(f"Split {split!r} has no track. The {len(tracks)} tracks are: {found}. Choose one of these splits.")
    return chosen


def split_tracks(tracks: Sequence[Track], valid: float = 0.1, test: float = 0.1, seed: int = 0) -> list[Track]:
    """Return the tracks with splits drawn by seed, whole tracks at a time.

    Args:
        tracks: Tracks to split, in any order: the draw depends on their names and the seed alone.
        valid: Share of tracks for validation; above 0, at least one track of three or more.
        test: Share of tracks for the test; above 0, at least one track of two or more.
        seed: Seed of the draw.
    """
    names = sorted(track.name for track in tracks)
    random.Random(seed).shuffle(names)
    tests = max(round(test * len(names)), int(test > 0 and len(names) > 1))
    valids = max(round(valid * len(names)), int(valid > 0 and len(names) > 2))
    drawn = dict.fromkeys(names, "train")
    drawn |= dict.fromkeys(names[:tests], "test") | dict.fromkeys(names[tests : tests + valids], "valid")
    return [replace(track, split=drawn[track.name]) for track in tracks]
