"""Choose a fixed list of excerpts to score. `nussl_transfer.evaluation.jams` writes and reads such lists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError, DataError
from ..mixing.config import MixtureConfig
from ..mixing.excerpt import Excerpt, sounds
from ..mixing.mixtures import Mixtures
from ..runtime.log import logger
from ..store.manifest import StoredTrack
from ..store.store import Store


@dataclass(frozen=True)
class MixtureExcerpt:
    """A mixture of ``frames`` samples to score: the sum of its sources, at most one per label, in alphabetical order.

    A label of the store without a source is silent.
    """

    frames: int
    sources: tuple[Excerpt, ...]

    @property
    def track(self) -> str:
        """The name of its track, or the names of all tracks of its sources."""
        return " + ".join(dict.fromkeys(source.track.name for source in self.sources))

    @property
    def start(self) -> int:
        """The first sample of the first source in its track."""
        return self.sources[0].start

    def plain(self) -> dict:
        """Return it as plain values for JSON; positions and lengths of sources are in samples of the stems."""
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
    """Return the excerpts of a store to score, and log how many have a silent source, if any.

    Without ``count``, each track is cut into excerpts side by side, and the rest at its end is not scored. With ``count``,
    that many excerpts are drawn as in the paper, from each track in proportion to its length. A track shorter than
    ``excerpt_seconds`` is one excerpt.

    Args:
        store: The tracks.
        excerpt_seconds: Length of an excerpt in seconds.
        count: Number of excerpts to draw.
        seed: Seed of the draw; the same seed gives the same list on any machine.
        hop: Seconds from one excerpt to the next, ``excerpt_seconds`` by default. Overlapping excerpts depend on each
            other, so p-values of tests on them are too small.
        coherent: Take the stems of one track at one time. False draws a track and a time for each source, for data such
            as Remixpacks; it needs ``count``.
        sounding: Take only excerpts in which every source sounds.

    Returns:
        In order of track and start; drawn incoherent or sounding excerpts in the order of the draw.

    Raises:
        ConfigError: ``excerpt_seconds``, ``hop`` or ``count`` is not above zero, ``seed`` is below zero, or ``count`` is
            missing where it is needed.
        DataError: There is no such excerpt.
    """
    for name, value in (("excerpt_seconds", excerpt_seconds), ("hop", hop), ("count", count)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{name} is wrong: got {value}, expected a number above 0.")
    if seed < 0:
        raise ConfigError(f"seed is wrong: got {seed}, expected 0 or more.")
    frames = round(excerpt_seconds * store.sample_rate)
    if frames < 2 or (hop is not None and hop * store.sample_rate < 1):
        raise ConfigError(
            f"Excerpts of {excerpt_seconds:g} s{'' if hop is None else f' every {hop:g} s'} are shorter than the samples "
            f"at {store.sample_rate} Hz. Give seconds, such as 2."
        )
    if not coherent and count is None:
        raise ConfigError("Incoherent excerpts are drawn, not cut side by side. Give their number, count.")
    if count is not None and (sounding or not coherent):
        mixtures = Mixtures(store, MixtureConfig(excerpt_seconds, float(coherent), sounding=sounding), count, seed)
        found = drawn_excerpts(mixtures)
    else:
        if len(store.labels) > 1 and all(len(track.stems) == 1 for track in store.tracks):
            raise DataError(
                f"{store.folder} has no mixtures to score: each of its {len(store.tracks)} tracks has one stem. Draw "
                "incoherent excerpts, and give their number: --incoherent --count 100."
            )
        found = _of_tracks(store, frames, count, seed, hop)
        every = len(found)
        found = [excerpt for excerpt in found if not sounding or not _has_silence(excerpt, store)]
        if not found:
            raise DataError(
                f"None of the {every} excerpts of {excerpt_seconds:g} s of {store.folder} has sound in every source. Take "
                "longer excerpts, or set sounding to False."
            )
    if silent := silent_excerpts(found, store):
        logger.info("%d of %d excerpts of %s have a silent source.", silent, len(found), store.folder)
    return found


def drawn_excerpts(mixtures: Mixtures) -> list[MixtureExcerpt]:
    """Return the items of a data set of mixtures as excerpts to score."""
    found = []
    for index in range(len(mixtures)):
        sources = sorted(mixtures.draw(index), key=lambda source: source.label)
        longest = max(round(source.frames / source.stretch) for source in sources)
        found.append(MixtureExcerpt(min(mixtures.samples, longest), tuple(sources)))
    return found


def songs_of(excerpts: Sequence[MixtureExcerpt], labels: Sequence[str]) -> dict[str, list[str]]:
    """Return, for each label, the song of its source in each excerpt: the origin of its track, or the track itself.

    An absent source counts as the excerpt's first song.
    """
    songs: dict[str, list[str]] = {label: [] for label in labels}
    for excerpt in excerpts:
        tracks = {source.label: source.track for source in excerpt.sources}
        for label, of_label in songs.items():
            track = tracks.get(label, excerpt.sources[0].track)
            of_label.append(track.name if track.origin is None else track.origin)
    return songs


def silent_excerpts(excerpts: Sequence[MixtureExcerpt], store: Store) -> int:
    """Return how many excerpts have a source that is silent by the manifest, or absent from their track."""
    return sum(_has_silence(excerpt, store) for excerpt in excerpts)


def of_track(track: StoredTrack, start: int, frames: int) -> MixtureExcerpt:
    """Return the excerpt of these samples of a track, with all its stems unchanged."""
    return MixtureExcerpt(frames, tuple(Excerpt(track, label, start, frames) for label in sorted(track.stems)))


def _has_silence(excerpt: MixtureExcerpt, store: Store) -> bool:
    return {source.label for source in excerpt.sources if sounds(source)} != set(store.labels)


def _of_tracks(store: Store, frames: int, count: int | None, seed: int, hop: float | None) -> list[MixtureExcerpt]:
    """Return coherent excerpts, side by side or drawn."""
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
        found = [(track.name, int(generator.integers(track.frames - lengths[track.name] + 1))) for track in chosen]
    return [of_track(tracks[name], start, lengths[name]) for name, start in sorted(found)]
