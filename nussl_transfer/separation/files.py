"""Many files at once: what cannot be separated is told at the end, and stops nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from ..audio.io import header
from ..errors import DataError
from .naming import output_folders
from .streaming import FileSeparator, Request

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Separated:
    """What became of a number of files.

    Attributes:
        written: For each file that was separated, the path of each label's.
        failed: For each that was not, what is wrong with it.
    """

    written: dict[Path, dict[str, Path]] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)


def separate_files(
    audio_paths: Sequence[str | Path],
    model: str | Path,
    out: str | Path,
    labels: Sequence[str] = (),
    residual: bool = False,
    keep_rate: bool = False,
    format: str = "wav",
    device: str = "cpu",
    bf16: bool = False,
    chunk_seconds: float | None = None,
    progress: bool = True,
) -> Separated:
    """Separates audio files into ``<out>/<name of the file>/<label>.wav``; memory does not grow with their length.

    A file that cannot be separated does not stop the others. Files of one name get folders of their own, the second
    ``<name>_2``. An existing file is replaced when the new one is whole.

    Args:
        audio_paths: Files that libsndfile reads, of any sample rate and number of channels; or folders of them, whose
            structure is kept.
        model: Checkpoint.
        out: Folder to write into; made when absent.
        labels: Which labels are written; all when empty.
        residual: Write the mixture minus those labels, too.
        keep_rate: Write at each file's own rate instead of the model's. Above half the model's rate there is nothing,
            but in the residual.
        format: 'wav' (float32), 'flac' (24 bits), 'ogg' or 'mp3'.
        device: 'cpu' or 'cuda'.
        bf16: Have the network multiply in bfloat16: faster where the processor has it.
        chunk_seconds: Length of the chunks that the network hears; that of its training mixtures when None.
        progress: Show a progress bar, on a terminal.

    Returns:
        What was written, and which files could not be separated.

    Raises:
        CheckpointError: The checkpoint cannot be read or has no trained mask head.
        ConfigError: There is no such label, format or device, or the chunks are too short.
        DataError: A folder holds no audio.
        OSError: The disk does not take what is written.
    """
    folders = output_folders(audio_paths, Path(out))
    request = Request(tuple(labels), residual, keep_rate, format)
    separator = FileSeparator(model, request, device, bf16, chunk_seconds)
    result, started, seconds = Separated(), time.perf_counter(), 0.0
    with _bar(folders, progress) as bar:

        def advance(more: float) -> None:
            nonlocal seconds
            seconds += more
            bar.set_postfix_str(f"{seconds / (time.perf_counter() - started):.1f} times real time", refresh=False)
            bar.update(more)

        for path, folder in folders.items():
            try:
                result.written[path] = separator.separate(path, folder, advance)
            except DataError as error:
                result.failed[path] = str(error)
    elapsed = time.perf_counter() - started
    LOG.info(
        "Separated %d of %d files: %.1f s of audio in %.1f s, %.1f times real time.",
        len(result.written), len(folders), seconds, elapsed, seconds / elapsed,
    )  # fmt: skip
    return result


def _bar(paths: Iterable[Path], progress: bool) -> tqdm:
    """Returns a bar in seconds of audio; it is silent where there is no terminal."""
    seconds = 0.0
    for path in paths:
        try:
            seconds += header(path).seconds
        except DataError:
            continue  # it has its turn, and its message
    return tqdm(
        total=seconds,
        desc="separating",
        bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}{postfix}]",
        disable=None if progress else True,
    )
