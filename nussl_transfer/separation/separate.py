"""Separate a file, a folder, a signal or an array: `separate`, part of the public API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from nussl import AudioSignal

from ..errors import DataError
from .ensemble import Checkpoints
from .files import Progress, check_targets, find_inputs, output_files, output_folders, total_seconds, write_stems
from .streaming import Mixture, Request, StreamSeparator

Audio: TypeAlias = str | Path | AudioSignal | tuple[np.ndarray, int]


def separate(
    audio: Audio,
    checkpoint: Checkpoints,
    *,
    out: str | Path | None = None,
    labels: Sequence[str] | None = None,
    residual: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    keep_rate: bool = False,
    high_band: bool = True,
    format: str = "wav",
    bf16: bool = False,
    chunk_seconds: float | None = None,
    shifts: int = 1,
    wiener: int = 0,
) -> dict[str, Any]:
    """Separate audio, and return one signal or one file per label.

    A file is read and written block by block: with ``out``, memory does not grow with its length.

    Args:
        audio: A file; a folder of files at any depth; an `AudioSignal`; or ``(array, sample_rate)``, the array float
            [nc, samples] or [samples].
        checkpoint: A published name, a run, a checkpoint file or an address; or several of these, or a folder of runs,
            whose masks are averaged.
        out: Folder to write into: a file becomes ``<out>/<name of the file>/<label>.wav``, a signal or an array
            ``<out>/<label>.wav``. Outputs of an earlier separation are replaced; other files never are. None returns
            signals.
        labels: Labels to return; None for all.
        residual: Also return the mixture minus those labels, as 'residual'.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        progress: Called with the seconds done and the total seconds. An exception in it cancels the separation and
            leaves no half-written file.
        keep_rate: Return the rate of the input instead of the model's.
        high_band: With ``keep_rate``, share out the part of the mixture above the model's band among the sources, so that
            the sources sum to the mixture. The high band itself is not separated
            (`nussl_transfer.separation.high_band` has the figures).
        format: Format of files: 'wav' (float32), 'flac' (24 bits), 'ogg' or 'mp3'.
        bf16: Multiply in bfloat16: faster where the processor supports it.
        chunk_seconds: Length in seconds of the chunks that the network processes; None takes that of its training mixtures.
        shifts: Average the estimates of this many delayed copies of the mixture; N copies take N times as long.
        wiener: Filter the channels of a stereo mixture jointly, with this many passes to fit the filter. Each pass takes as
            long as the separation (`nussl_transfer.separation.wiener` has the figures).

    Returns:
        ``{label: AudioSignal}``, or ``{label: Path}`` with ``out``. For a folder, one such dictionary per file:
        ``{name relative to the folder: {label: ...}}``.

    Raises:
        AudioFileError: A file is damaged, cut or not audio.
        DataError: The audio is empty, holds NaN, or gives estimates that are not finite; or files of a folder failed,
            after all others were separated.
        CheckpointError: A checkpoint cannot be read or has no trained mask head.
        ConfigError: An option is out of range, a label does not exist, checkpoints do not fit together, or an output
            would replace a file that no earlier separation wrote.

    Examples:
        >>> stems = separate("song.wav", "quartet")  # doctest: +SKIP
        >>> stems["violin"].audio_data.shape, stems["violin"].sample_rate  # doctest: +SKIP
        ((2, 160000), 16000)
        >>> separate("song.wav", "run", out="separated", keep_rate=True)["bass"]  # doctest: +SKIP
        PosixPath('separated/song/bass.wav')
    """
    request = Request(tuple(labels or ()), residual, keep_rate, high_band, format, shifts, wiener)
    separator = StreamSeparator(checkpoint, request, device, bf16, chunk_seconds)
    if isinstance(audio, (str, Path)):
        return _separate_paths(Path(audio), separator, None if out is None else Path(out), progress)
    mixture = _as_mixture(audio)
    targets = None if out is None else output_files(separator.outputs, Path(out), format)
    check_targets([], [targets], out or "")
    return _separate_one(mixture, separator, targets, _reporter(progress, mixture.head.seconds))


def _separate_paths(audio: Path, separator: StreamSeparator, out: Path | None, progress: Progress | None) -> dict[str, Any]:
    """Separate a file or a folder of files."""
    targets: dict[Path, dict[str, Path] | None] = dict.fromkeys(find_inputs([audio], out))
    if out is not None:
        for path, folder in output_folders([audio], out).items():
            targets[path] = output_files(separator.outputs, folder, separator.request.format)
        check_targets([audio, *targets], targets.values(), out)
    advance = _reporter(progress, total_seconds(targets))
    if not audio.is_dir():
        return _separate_one(Mixture.of_file(audio), separator, targets[audio], advance)
    found, failed = {}, []
    for path, files in targets.items():
        try:
            found[path.relative_to(audio).as_posix()] = _separate_one(Mixture.of_file(path), separator, files, advance)
        except DataError as error:
            failed.append(str(error))
    if failed:
        listed = " ".join(failed[:5]) + (f" And {len(failed) - 5} more." if len(failed) > 5 else "")
        raise DataError(f"{len(failed)} of {len(targets)} files in {audio} could not be separated: {listed}")
    return found


def _separate_one(
    mixture: Mixture, separator: StreamSeparator, targets: dict[str, Path] | None, advance: Callable[[float], None]
) -> dict[str, Any]:
    """Separate one mixture into files, or into signals where there are no targets."""
    if targets is not None:
        write_stems(separator, mixture, targets, advance)
        return targets
    rate = separator.rate_of(mixture)
    return {
        name: AudioSignal(audio_data_array=audio, sample_rate=rate)
        for name, audio in separator.collect(mixture, advance).items()
    }


def _as_mixture(audio: Audio) -> Mixture:
    if isinstance(audio, AudioSignal):
        if audio.audio_data is None:
            raise DataError("The AudioSignal holds no audio. Load a file into it, or give the path.")
        return Mixture.of_array(audio.audio_data, audio.sample_rate)
    if isinstance(audio, tuple) and len(audio) == 2:
        return Mixture.of_array(*audio)
    raise DataError(
        f"Audio must be a path, an AudioSignal, or a pair (array, sample_rate): got {type(audio).__name__}. Put an array "
        "and its rate into a tuple."
    )


def _reporter(progress: Progress | None, total: float) -> Callable[[float], None]:
    """Return a function that adds up seconds and passes the total to `progress`."""
    done = 0.0

    def advance(seconds: float) -> None:
        nonlocal done
        done += seconds
        if progress is not None:
            progress(done, max(done, total))

    return advance
