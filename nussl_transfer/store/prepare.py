"""Prepare a data set as a store, once; an interrupted preparation resumes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from ..audio.io import align, mono, summed
from ..audio.levels import ACTIVITY_DBFS
from ..datasets.mixture_files import fit_mixture
from ..datasets.options import StemOptions
from ..datasets.tracks import Track, complete_tracks, cut, missing_labels, sum_stems
from ..datasets.validation.check import check
from ..datasets.validation.findings import Finding, Inspection, format_errors
from ..datasets.validation.stems import SILENCE, silent_stem, silent_stems
from ..errors import AudioFileError, ConfigError, DataError
from ..runtime.locks import LOCK, locked
from ..runtime.log import logger
from .manifest import MANIFEST, StoredTrack
from .resume import PARTS, describe_sources, discard_entry, drop_other_parts, load_entry, write_part
from .store import Store, StoreWriter

# Bytes of a float32 sample in the store.
_SAMPLE = 4
# A rate outside of this range is a typing error, such as one in kHz.
SAMPLE_RATES = (1000, 384_000)


def prepare(
    tracks: Sequence[Track],
    out: str | Path,
    sample_rate: int = 16000,
    dataset: str = "",
    workers: int | None = None,
    options: StemOptions | None = None,
    progress: bool = True,
) -> Store:
    """Prepare a store of mono stems at one rate; a second run only prepares what is missing or stale.

    A stem is the sum of its files, each averaged over its channels and resampled. Stems that are shorter than others of
    their track get zeros at the end. The mean of each stem is removed. The folder is locked while it is written.

    Args:
        tracks: Tracks of a data set.
        out: Folder of the store.
        sample_rate: Rate of the store in Hz.
        dataset: Name of the data set, kept in the manifest.
        workers: Threads; None: one for each core, at most four. Decoding and resampling release Python's lock.
        options: What to do about silent, missing and short stems; the tracks were read with these options.
        progress: Whether to show a progress bar, on a terminal, after two seconds.

    Returns:
        The store.

    Raises:
        DataError: The data set has errors (all are listed); or ``out`` holds other files or another store, or cannot be
            written. Then there is no new manifest, and finished tracks are kept for the next run.
        ConfigError: ``sample_rate`` or ``workers`` is out of range, or another process writes to ``out``.
    """
    options = options or StemOptions()
    _check_numbers(sample_rate, workers)
    if options.missing == "skip":
        for name, labels in missing_labels(tracks).items():
            logger.warning("track %s is left out: it lacks %s", name, ", ".join(labels))
        tracks = complete_tracks(tracks, options.missing)
    out = Path(out)
    _check_folder(out, tracks, sample_rate, dataset)
    check_tracks = partial(check, options=options, workers=workers, progress=progress)
    inspection = check_tracks(tracks)
    if inspection.fatal:
        raise _no_store_error(out, _all_errors(tracks, options.silent, check_tracks))
    _check_free_space(out, inspection.rows, sample_rate)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(out))
        except OSError as error:
            raise DataError(f"{out} cannot be made: {error.strerror}. Name a folder that you may write to.") from error
        _check_folder(out, tracks, sample_rate, dataset)  # again: another process may have written it meanwhile
        return _write(tracks, out, sample_rate, dataset, workers, options, progress)


def _write(
    tracks: Sequence[Track],
    out: Path,
    sample_rate: int,
    dataset: str,
    workers: int | None,
    options: StemOptions,
    progress: bool,
) -> Store:
    """Write the store into its locked folder; see `prepare`."""
    silent, length_tolerance = options.silent, options.length_tolerance
    check_tracks = partial(check, options=options, workers=workers, progress=progress)
    (out / PARTS).mkdir(exist_ok=True)  # from the start, so that the next run recognises the folder as a store's
    for half_written in out.rglob(".*.part"):
        half_written.unlink()
    missing = "silence" if options.missing == "silence" else "error"
    writer = StoreWriter(out, sample_rate, dataset, missing)
    errors: list[Finding] = []
    failed: dict[str, Finding] = {}
    for track, entry in _entries(tracks, writer, length_tolerance, workers, progress):
        if isinstance(entry, Finding):
            failed[track.name] = entry
            continue
        quiet = [label for label, stem in entry.stems.items() if stem.peak < SILENCE]
        faint = [label for label, stem in entry.stems.items() if not stem.active and label not in quiet]
        if faint:
            logger.warning("track %s: never above %g dBFS: %s", track.name, ACTIVITY_DBFS, ", ".join(faint))
        if quiet and silent == "error":
            # Decoded again, to tell silence from channels that cancel.
            found = silent_stems(check_tracks([track], deep=True).rows)
            errors += [finding for finding in found if finding.level == "error"] or [
                silent_stem(track.name, label) for label in quiet
            ]
        elif quiet and silent == "skip":
            logger.warning("track %s is left out, with silent stems: %s", track.name, ", ".join(quiet))
        else:
            writer.tracks.append(entry)
    if failed:
        # Preparing a track stops at its first error. The user gets all errors of these tracks at once.
        found = _all_errors([track for track in tracks if track.name in failed], silent, check_tracks)
        explained = {finding.track for finding in found}
        errors += found + [finding for name, finding in failed.items() if name not in explained]
    if errors or not writer.tracks:
        with suppress(OSError):
            (out / PARTS).rmdir()  # only when empty
    if errors:
        raise _no_store_error(out, errors)
    if not writer.tracks:
        raise DataError(
            f"No track is left for a store in {out}: all were left out. See the warnings above, or run `nussl-transfer "
            "check`."
        )
    store = writer.close()
    drop_other_parts(out, {track.name for track in tracks})
    return store


def _all_errors(tracks: Sequence[Track], silent: str, check_tracks: Callable[..., Inspection]) -> list[Finding]:
    """Read every file of these tracks and return all errors; ``check_tracks`` is `check` with its options."""
    logger.warning("the data set has errors; reading all of it to list them at once")
    errors = [finding for finding in check_tracks(tracks, deep=True).findings if finding.level == "error"]
    if silent == "error":
        return errors
    stems = {(finding.track, finding.label) for finding in errors}
    allowed = [silent_stem(track, label, cancels) for track, label in stems if track and label for cancels in (False, True)]
    return [finding for finding in errors if finding not in allowed]


def _no_store_error(out: Path, errors: Sequence[Finding]) -> DataError:
    kept = " Finished tracks there are kept." if (out / PARTS).is_dir() else ""
    return DataError(f"{format_errors(errors)}\nNo store was made in {out}.{kept}")


def _entries(
    tracks: Sequence[Track], writer: StoreWriter, tolerance: float, workers: int | None, progress: bool
) -> Iterator[tuple[Track, StoredTrack | Finding]]:
    """Yield each track with its entry, from an earlier run or new, or with its error."""
    todo = []
    for track in tracks:
        entry = load_entry(writer.folder, track, writer.sample_rate)
        if entry is None:
            todo.append(track)
        else:
            yield track, entry
    pool = ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1))
    try:
        jobs = {pool.submit(_make, track, writer, tolerance): track for track in todo}
        hidden = None if progress else True  # None: hidden where there is no terminal
        for job in tqdm(as_completed(jobs), "preparing", len(jobs), delay=2, disable=hidden, unit="track"):
            yield jobs[job], job.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _make(track: Track, writer: StoreWriter, tolerance: float) -> StoredTrack | Finding:
    """Write the stems of one track, then its entry."""
    try:
        # Described before they are read: a file that changes meanwhile is then stale in the next run.
        sources = describe_sources(track)
        stems, mixture = _stems(track, writer.sample_rate, tolerance)
    except AudioFileError as error:
        return Finding("error", track.name, None, f"{error.path} {error.what}", error.what_to_do)
    except (DataError, OSError) as error:
        return Finding("error", track.name, None, str(error).rstrip("."))
    try:
        discard_entry(writer.folder, track.name)
        writing = StoreWriter(writer.folder, writer.sample_rate)
        entry = writing.add(track.name, track.split, stems, sources, track.origin, mixture)
        write_part(writer.folder, entry, writer.sample_rate)
    except (OSError, soundfile.LibsndfileError) as error:
        full = "the disk is full" if getattr(error, "errno", None) == errno.ENOSPC else str(error)
        raise DataError(
            f"Track {track.name!r} cannot be written to {writer.folder}: {full}. Make room, or make the "
            "folder writable, and run this again: finished tracks are kept."
        ) from error
    return entry


def _stems(track: Track, sample_rate: int, tolerance: float) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Read the stems of a track, and its mixture if that is used, at one length and without their means.

    Shape:
        float32 [frames] each

    Raises:
        DataError: The files differ in length, or a stem does not fit into the mixture that it is subtracted from.
    """
    audio: dict[Path, np.ndarray] = {}
    for path in track.files:
        span = track.spans.get(path)
        signal = cut(mono(path, sample_rate), sample_rate, span)
        offset = signal.mean(dtype=np.float64)
        if abs(offset) > SILENCE:
            signal = cut(mono(path, sample_rate, offset), sample_rate, span)
            offset = signal.mean(dtype=np.float64)
        # Before zeros are appended: removing the mean afterwards would shift them.
        audio[path] = signal - np.float32(offset)
    audio = align(audio, tolerance)
    for label, files in track.minus.items():
        mixture = summed(audio[path] for path in track.stems[label])
        if fault := fit_mixture(mixture, summed(audio[path] for path in files), sample_rate).fault:
            raise DataError(fault)
    given = None if track.given_mixture is None else audio[track.given_mixture]
    return sum_stems(track, audio), given


def _check_numbers(sample_rate: int, workers: int | None) -> None:
    lowest, highest = SAMPLE_RATES
    if not lowest <= sample_rate <= highest or sample_rate != int(sample_rate):
        raise ConfigError(
            f"sample_rate is {sample_rate}. Give a whole number of Hz from {lowest} to {highest}, such as 16000."
        )
    if workers is not None and workers < 1:
        raise ConfigError(
            f"workers is {workers}. Give a number of threads of at least 1, or None to choose by the machine."
        )


def _check_folder(out: Path, tracks: Sequence[Track], sample_rate: int, dataset: str) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file, and a store is a folder. Name a folder.")
    if (out / MANIFEST).exists():
        store = Store(out)
        if (store.sample_rate, store.dataset) != (sample_rate, dataset):
            raise DataError(
                f"{out} holds a store of {store.dataset or 'stems'} at {store.sample_rate} Hz, and cannot hold one of "
                f"{dataset or 'stems'} at {sample_rate} Hz as well. Name another folder, or remove that store."
            )
    elif out.is_dir() and not (out / PARTS).exists() and any(path.name != LOCK for path in out.iterdir()):
        raise DataError(f"{out} holds files that belong to no store. Name a new or an empty folder.")
    here = os.path.abspath(out)
    for track in tracks:
        for path in track.files:
            if os.path.commonpath([here, os.path.abspath(path)]) == here:
                raise DataError(f"{out} contains the stem {path}: a store cannot contain its sources. Name another folder.")


def _check_free_space(out: Path, rows: Sequence, sample_rate: int) -> None:
    written = sum(path.stat().st_size for path in out.rglob("*.wav"))
    # Files that are summed into one stem are counted one by one: this is an upper bound.
    needed = sum(row.seconds for row in rows) * sample_rate * _SAMPLE - written
    existing = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise DataError(
            f"The disk of {out} is too small: the store needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free. "
            "Make room, or name a folder on another disk."
        )
