"""Which seconds of which tracks are scored: a list, made once and kept in a file (`nussl_transfer.evaluation.jams`)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError, DataError
from ..mixing.config import MixtureConfig
from ..mixing.excerpt import Excerpt, sounds
from ..mixing.mixtures import Mixtures
from ..store.manifest import StoredTrack
from ..store.store import Store

LOGGER = logging.getLogger(__name__)

@dataclass(frozen=True)
class MixtureExcerpt:
    """One mixture to be scored: of ``frames`` samples, the sum of these sources, one a label at most, in their order.

    A label of the store that no source has is silent.
    """

    frames: int
    sources: tuple[Excerpt, ...]

    @property
    def track(self) -> str:
        """The track that it is of; all of them, where the sources are of several."""
        return " + ".join(dict.fromkeys(source.track.name for source in self.sources))

    @property
    def start(self) -> int:
        """First sample of the first source in its track."""
        return self.sources[0].start

    def plain(self) -> dict:
        """Returns it as plain values, for JSON; the samples of a source are those that are read from its stem."""
        names = ("label", "start", "frames", "gain", "pitch", "stretch")
        sources = [
            {"track": source.track.name, **{name: getattr(source, name) for name in names}} for source in self.sources
        ]
        return {"frames": self.frames, "sources": sources}


def make_excerpts(
    store: Store,
    excerpt_seconds: float,
    count: int | None = None,
    seed: int = 0,
    hop: float | None = None,
    coherent: bool = True,
    sounding: bool = False,
) -> list[MixtureExcerpt]:
    """Returns the excerpts of a store that are to be scored; how many have a silent source is logged.

    Without ``count``, each track is cut into excerpts side by side; what is left at its end is not scored. With it, so
    many excerpts are drawn anywhere, a track as often as it is long: the paper's way. A track shorter than
    ``excerpt_seconds`` is one excerpt, whole.

    Args:
        store: The tracks.
        excerpt_seconds: Seconds of an excerpt.
        count: Number of excerpts to draw.
        seed: Of the drawing; the same seed gives the same list on any machine.
        hop: Seconds from one excerpt to the next, ``excerpt_seconds`` by default. Overlapping excerpts are not independent:
            a test of significance on them promises too much.
        coherent: Stems of one track at one time. False, for data that has no such, such as Remixpacks: each source has
            its own track and time, and ``count`` is needed.
        sounding: Only excerpts in which every source sounds.

    Returns:
        In order of track and start; where drawn incoherent or sounding, as drawn.

    Raises:
        ConfigError: ``excerpt_seconds``, ``hop`` or ``count`` is not above zero, or missing where it is needed.
        DataError: There is no such excerpt.
    """
    for name, value in (("excerpt_seconds", excerpt_seconds), ("hop", hop), ("count", count)):
        if value is not None and value <= 0:
            raise ConfigError(f"Excerpts were asked for with {name} {value}: give a number above zero.")
    if not coherent and count is None:
        raise ConfigError("Incoherent excerpts are drawn, not cut side by side: say how many, with count.")
    if count is not None and (sounding or not coherent):
        mixtures = Mixtures(store, MixtureConfig(excerpt_seconds, float(coherent), sounding=sounding), count, seed)
        found = drawn_excerpts(mixtures)
    else:
        if len(store.labels) > 1 and all(len(track.stems) == 1 for track in store.tracks):
            raise DataError(
                f"Excerpts of {store.folder} were to be scored: each of its {len(store.tracks)} tracks has one stem, and "
                "is no mixture. Ask for incoherent ones, and how many: --incoherent --count 100."
            )
        found = _of_tracks(store, round(excerpt_seconds * store.sample_rate), count, seed, hop)
        every = len(found)
        found = [excerpt for excerpt in found if not sounding or not _has_silence(excerpt, store)]
        if not found:
            raise DataError(
                f"Excerpts of {excerpt_seconds:g} s in which every source sounds were asked for: none of the {every} excerpts "
                f"of {store.folder} is such. Take longer ones, or set sounding to False."
            )
    LOGGER.info("%d of %d excerpts of %s have a silent source", silent_excerpts(found, store), len(found), store.folder)
    return found


def drawn_excerpts(mixtures: Mixtures) -> list[MixtureExcerpt]:
    """Returns what a set of mixtures draws, as a list that can be scored and written to a file."""
    found = []
    for index in range(len(mixtures)):
        sources = sorted(mixtures.draw(index), key=lambda source: source.label)
        longest = max(round(source.frames / source.stretch) for source in sources)
        found.append(MixtureExcerpt(min(mixtures.samples, longest), tuple(sources)))
    return found


def songs_of(excerpts: Sequence[MixtureExcerpt], labels: Sequence[str]) -> dict[str, list[str]]:
    """Returns for each label of which song its source in each excerpt is: what a track was made from, or the track.

    A source that is not there is of the excerpt's first song.
    """
    songs: dict[str, list[str]] = {label: [] for label in labels}
    for excerpt in excerpts:
        tracks = {source.label: source.track for source in excerpt.sources}
        for label, of_label in songs.items():
            track = tracks.get(label, excerpt.sources[0].track)
            of_label.append(track.name if track.origin is None else track.origin)
    return songs


def silent_excerpts(excerpts: Sequence[MixtureExcerpt], store: Store) -> int:
    """Returns how many excerpts have a source that the manifest says is silent, or that their track does not have."""
    return sum(_has_silence(excerpt, store) for excerpt in excerpts)


def of_track(track: StoredTrack, start: int, frames: int) -> MixtureExcerpt:
    """Returns the excerpt that is these samples of a track, all its stems as they are."""
    return MixtureExcerpt(frames, tuple(Excerpt(track, label, start, frames) for label in sorted(track.stems)))


def _has_silence(excerpt: MixtureExcerpt, store: Store) -> bool:
    return {source.label for source in excerpt.sources if sounds(source)} != set(store.labels)


def _of_tracks(
    store: Store, frames: int, count: int | None, seed: int, hop: float | None
) -> list[MixtureExcerpt]:
    """Returns coherent excerpts, side by side or drawn."""
    tracks = {track.name: track for track in store.tracks}
    lengths = {track.name: min(frames, track.frames) for track in store.tracks}
    if count is None:
        step = frames if hop is None else max(1, round(hop * store.sample_rate))
        found = [
            (track.name, start)
            for track in store.tracks
            for start in range(0, track.frames - lengths[track.name] + 1, max(1, step))
        ]
    else:
        generator = np.random.default_rng(seed)
        weights = np.array([track.frames for track in store.tracks], dtype=np.float64)
        drawn = generator.choice(len(store.tracks), size=count, p=weights / weights.sum())
        chosen = [store.tracks[index] for index in drawn]
        found = [
            (track.name, int(generator.integers(track.frames - lengths[track.name] + 1))) for track in chosen
        ]
    return [of_track(tracks[name], start, lengths[name]) for name, start in sorted(found)]
