"""The base class of the data sets: tracks found without reading audio, and a hook that gives nussl its items."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import nussl

from ..audio.io import LENGTH_TOLERANCE, align, read, summed
from ..errors import ConfigError, DataError
from ..runtime.log import logger
from .folders import describe_skipped, few, own_kind, scan
from .labels import Groups, IgnorePatterns, closest
from .mixture_files import with_mixtures, with_rest
from .options import Missing, StemOptions
from .tracks import Track, complete_tracks, cut, group_tracks, in_split, labels_of, sum_stems, without_ignored


class StemDataset(nussl.datasets.BaseDataset):
    """Base class of the data sets: a hook for nussl, and ``find_tracks`` for everything else.

    An item is nussl's: ``{'mix': AudioSignal, 'sources': {label: AudioSignal}, 'metadata': {'labels': [...]}}``. The mix
    is the sum of the sources. Where some stems are stereo, mono stems are copied to both channels; with ``num_channels=1``
    every stem is the mean of its channels, as in a store. Stems of slightly different length get zeros at their tail
    (``audio.io.align``). Levels and DC offsets stay as on disk.

    Args:
        folder: Folder of the data set.
        split: 'train', 'valid' or 'test'; None for all. Where the data set has no splits on disk, ``split_tracks`` draws
            them.
        groups: Stems to merge, ``{'male': ['tenor', 'bass']}``; stems in no group are left out.
        ignore: Names or patterns of labels, files, folders and tracks to skip.
        missing: A track that lacks a label of other tracks: 'error' stops, 'skip' leaves it out, 'silence' gives it
            a silent source.
        length_tolerance: How much shorter than the longest stem of its track a stem may be, as a share.
        rest: Add the source ``rest``, the mixture file of each track minus its stems.
        use_mixtures: Take the mixture file of each track as the mix, instead of the sum of its sources.
        find: Options of this data set's own ``find_tracks``.
        kwargs: Arguments of nussl's ``BaseDataset``: ``transform``, ``sample_rate``, ``stft_params``,
            ``num_channels``, ``strict_sample_rate``, ``cache_populated``.

    Raises:
        DataError: The folder does not hold this data set, or a track lacks a stem.
    """

    NAME: ClassVar[str] = ""
    LABELS: ClassVar[tuple[str, ...]] = ()
    LICENSE: ClassVar[str] = ""
    URL: ClassVar[str] = ""
    CITATION: ClassVar[str] = ""

    def __init__(
        self,
        folder: str | Path,
        split: str | None = None,
        groups: Groups | None = None,
        ignore: Sequence[str] = (),
        missing: Missing = "error",
        length_tolerance: float = LENGTH_TOLERANCE,
        rest: bool = False,
        use_mixtures: bool = False,
        find: Mapping[str, object] | None = None,
        **kwargs: Any,
    ) -> None:
        # nussl processes item 0 in its own constructor, so all attributes are set before.
        self.split = split
        self.stem_options = StemOptions(
            dataset=self.NAME,
            options=find or {},
            groups=groups,
            ignore=ignore,
            missing=missing,
            rest=rest,
            use_mixtures=use_mixtures,
            length_tolerance=length_tolerance,
        )
        super().__init__(str(folder), **kwargs)  # nussl requires a str
        self.metadata.update(labels=list(self.labels), split=split)

    @classmethod
    def find_tracks(
        cls, folder: str | Path, groups: Groups | None = None, ignore: Sequence[str] = (), **options: object
    ) -> list[Track]:
        """Return the tracks of a folder, sorted by name; no audio is read.

        It logs the audio that it skips, and the patterns of ``ignore`` that fit nothing.

        Raises:
            DataError: The folder does not hold this data set.
            ConfigError: The data set has no such option, or the option has no such value.
        """
        known = list(inspect.signature(cls._find).parameters)[3:]
        for option in options:
            if option not in known:
                has = f"Options: {', '.join(known)}" if known else "It has no options"
                raise ConfigError(f"{cls.NAME} has no option {option!r} (got {option}={options[option]!r}). {has}.")
        folder, patterns = Path(folder), IgnorePatterns.of(ignore)
        found = cls._find(folder, groups, patterns, **options)
        tracks = without_ignored(found, patterns)
        cls._warn(folder, patterns, found)
        if not tracks:
            raise DataError(f"`ignore` ({', '.join(patterns.patterns)}) leaves no track of {cls.NAME} in {folder}.")
        if groups:
            tracks = group_tracks(tracks, groups)
        return sorted(tracks, key=lambda track: track.name)

    @classmethod
    def recognises(cls, folder: str | Path) -> bool:
        """Tell whether a folder holds this data set."""
        try:
            return bool(cls._find(Path(folder), None, IgnorePatterns()))
        except DataError:
            return False

    @classmethod
    def _find(cls, folder: Path, groups: Groups | None, ignore: IgnorePatterns, *args: Any, **options: Any) -> list[Track]:
        """Return the tracks of a folder; each data set names its own options after these three arguments."""
        raise NotImplementedError

    @classmethod
    def _warn(cls, folder: Path, ignore: IgnorePatterns, found: Sequence[Track]) -> None:
        """Log the audio that was skipped, and the patterns that fitted nothing."""
        if folder.is_dir():
            for sentence in describe_skipped(scan(folder, ignore)):
                logger.warning("%s: %s", folder, sentence)
        for pattern in ignore.unused():
            labels = labels_of(found)
            close = closest([pattern], labels)
            hint = f"Did you mean {close[0]}?" if close else f"The labels are {few(labels, 12)}."
            logger.warning("ignore: %r fits no label, file, folder or track. %s", pattern, hint)

    def get_items(self, folder: str) -> list[Track]:
        """Return the tracks of the chosen split (nussl's hook)."""
        options = self.stem_options
        tracks = self.find_tracks(folder, options.groups, options.ignore, **options.options)
        tracks = with_rest(tracks) if options.rest else tracks
        tracks = with_mixtures(tracks) if options.use_mixtures else tracks
        tracks = complete_tracks(tracks, options.missing)
        self.labels = labels_of(tracks)
        return tracks if self.split is None else in_split(tracks, self.split)

    def process_item(self, item: Track) -> dict:
        """Return nussl's item of one track (nussl's hook)."""
        options = self.stem_options
        audio: dict[Path, tuple[np.ndarray, int]] = {}
        for path in item.files:
            array, sample_rate = read(path)
            array = cut(array, sample_rate, item.spans.get(path))
            # nussl itself would keep only the first channel; a store takes the mean, too.
            audio[path] = (array.mean(axis=0, keepdims=True) if self.num_channels == 1 else array), sample_rate
        width = max([len(array) for array, _ in audio.values()] + [self.num_channels or 1])
        signals: dict[Path, np.ndarray] = {}
        for path, (array, sample_rate) in audio.items():
            if len(array) not in (1, width):
                raise DataError(
                    f"Track {item.name!r}: {path} has {len(array)} channels, and another stem has {width}. Pass "
                    "num_channels=1, which takes the mean of the channels, as a store does."
                )
            array = np.repeat(array, width // len(array), axis=0)
            signal = self._load_audio_from_array(array, sample_rate)  # resamples or raises, by nussl's own options
            signals[path] = signal.audio_data
        try:
            signals = align(signals, options.length_tolerance)
        except DataError as error:
            raise DataError(f"Track {item.name!r}: {error}") from None
        stems = sum_stems(item, signals)
        if options.missing == "silence":
            silence = np.zeros_like(next(iter(stems.values())))
            stems = {label: stems.get(label, silence) for label in self.labels}
        sources = {}
        for label in sorted(stems):
            sources[label] = self._signal(stems[label])
            sources[label].path_to_input_file = str(item.stems[label][0]) if label in item.stems else ""
        given = item.given_mixture
        mix = self._signal(summed(stems.values()) if given is None else signals[given])
        mix.path_to_input_file = item.name
        return {"mix": mix, "sources": sources, "metadata": {"labels": list(self.labels), "track": item.name}}

    def _signal(self, audio: np.ndarray) -> nussl.AudioSignal:
        return self._load_audio_from_array(np.asarray(audio, dtype=np.float32), self.sample_rate)


def check_not_own_output(folder: str | Path) -> None:
    """Raise an error for a folder that this program wrote: it holds no stems to read.

    Raises:
        DataError: It is a store, a training run, or separated stems.
    """
    kind = own_kind(folder)
    if kind == "a store":
        raise DataError(f"{folder} is a store already. Use it as it is, or give the folder that it was made from.")
    if kind:
        raise DataError(f"{folder} holds {kind} written by this program, not stems to read. Give the folder of the stems.")
