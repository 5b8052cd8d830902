"""Separate files and folders of files into files: choose the names of the outputs, and report files that fail."""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..audio.io import EXTENSIONS, UNREADABLE_EXTENSIONS, header
from ..datasets.folders import SEPARATED, find_files, separated_files
from ..errors import ConfigError, DataError
from ..runtime.files import write_json
from ..runtime.log import logger
from .ensemble import Checkpoints
from .streaming import Mixture, Request, StreamSeparator

# ASCII characters besides letters and digits that stay in a file name. Letters, marks, digits and symbols of other scripts
# stay, too.
_KEPT = frozenset(" _.,+&()'-")
# File names that Windows reserves for devices.
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))]
)
# Most file systems allow 255 bytes; the limit is lower, because the name of a temporary file is longer than the final name.
_MOST_CHARACTERS, _MOST_BYTES = 100, 180

# Called with the seconds of audio done, and the seconds of all files.
Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Separated:
    """Results of separating several files.

    Attributes:
        written: For each separated file, the path of each output.
        failed: For each file that could not be separated, the reason.
    """

    written: dict[Path, dict[str, Path]] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)


def separate_files(
    audio_paths: Sequence[str | Path],
    checkpoints: Checkpoints,
    out: str | Path,
    labels: Sequence[str] = (),
    residual: bool = False,
    keep_rate: bool = False,
    format: str = "wav",
    device: str = "auto",
    bf16: bool = False,
    chunk_seconds: float | None = None,
    progress: bool | Progress = True,
    high_band: bool = True,
    shifts: int = 1,
    wiener: int = 0,
) -> Separated:
    """Separate audio files into ``<out>/<name of the file>/<label>.wav``; memory does not grow with their length.

    A file that cannot be separated does not stop the others. If files have the same name, the folder of the second is
    ``<name>_2``. A complete new output replaces that of an earlier separation; no other file is ever replaced.

    Args:
        audio_paths: Files of any sample rate and number of channels, or folders of them, whose structure is kept. Links
            are followed. ``out`` may lie in such a folder: files in ``out`` are not separated.
        checkpoints: A checkpoint; or several, or a folder of runs, whose masks are averaged.
        out: Folder to write into; created if absent.
        labels: Labels to write; all when empty.
        residual: Also write the mixture minus those labels.
        keep_rate: Write at each file's own rate instead of the model's.
        format: 'wav' (float32), 'flac' (24 bits), 'ogg' or 'mp3'.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        bf16: Multiply in bfloat16: faster where the processor supports it.
        chunk_seconds: Length in seconds of the chunks that the network processes; None takes that of its training mixtures.
        progress: Show a progress bar on a terminal; or a function that is called with the seconds done and the seconds
            of all files. An exception in it ends the separation and leaves no half-written file.
        high_band: With ``keep_rate``, share out the part of the mixture above the model's band among the sources; see
            `nussl_transfer.separation.high_band`. Otherwise only the residual has sound there.
        shifts: Average the estimates of this many delayed copies of the mixture; N copies take N times as long.
        wiener: Filter the channels of a stereo mixture jointly, with this many passes to fit the filter. Each pass takes as
            long as the separation.

    Raises:
        CheckpointError: A checkpoint cannot be read or has no trained mask head.
        ConfigError: A label, format or device does not exist, the chunks are too short, or an output would replace a file
            that no earlier separation wrote, or would become an input.
        DataError: A folder holds no audio.
        OSError: The disk rejects a write.
    """
    folders = output_folders(audio_paths, Path(out))
    request = Request(tuple(labels), residual, keep_rate, high_band, format, shifts, wiener)
    separator = StreamSeparator(checkpoints, request, device, bf16, chunk_seconds)
    targets = {path: output_files(separator.outputs, folder, format) for path, folder in folders.items()}
    check_targets([*folders, *audio_paths], targets.values(), out)
    result, started, seconds = Separated(), time.perf_counter(), 0.0
    total = total_seconds(folders) if progress else 0.0
    with ExitStack() as stack:
        bar = stack.enter_context(_bar(total, progress is True))
        if not bar.disable:
            stack.enter_context(logging_redirect_tqdm([logger]))

        def advance(more: float) -> None:
            nonlocal seconds
            seconds += more
            if callable(progress):
                progress(seconds, max(seconds, total))
            bar.set_postfix_str(f"{seconds / (time.perf_counter() - started):.1f} times real time", refresh=False)
            bar.update(more)

        for path in folders:
            try:
                write_stems(separator, Mixture.of_file(path), targets[path], advance)
                result.written[path] = targets[path]
            except DataError as error:
                result.failed[path] = str(error)
    elapsed = time.perf_counter() - started
    logger.info(
        "Separated %d of %d files: %.1f s of audio in %.1f s, %.1f times real time.",
        len(result.written), len(folders), seconds, elapsed, seconds / elapsed,
    )  # fmt: skip
    return result


def find_inputs(inputs: Sequence[str | Path], out: Path | None = None) -> dict[Path, tuple[str, ...]]:
    """Return the audio files to separate, each once, with the names of the folders between the given folder and the file.

    Args:
        inputs: Audio files, and folders of them at any depth.
        out: Folder of the outputs. It may lie in an input folder: files in ``out`` are not inputs.

    Raises:
        DataError: A folder holds no audio.
    """
    found: dict[Path, tuple[str, ...]] = {}
    for given in map(Path, inputs):
        if given.is_dir():
            for path in _audio_under(given, out):
                found.setdefault(path, path.parent.relative_to(given).parts)
        else:
            found.setdefault(given, ())
    return found


def output_folders(inputs: Sequence[str | Path], out: Path) -> dict[Path, Path]:
    """Return each audio file to separate, with a folder of its own for its outputs.

    Folders in a given folder keep their structure below ``out``.

    Raises:
        DataError: A folder holds no audio.
    """
    names: dict[Path, UniqueNames] = {}
    folders = {}
    for path, above in find_inputs(inputs, out).items():
        parent = out.joinpath(*map(safe_name, above))
        folders[path] = parent / names.setdefault(parent, UniqueNames()).add(safe_name(path.stem))
    return folders


def output_files(outputs: Iterable[str], folder: Path, format: str) -> dict[str, Path]:
    """Return a file in a folder for each output, such as ``<folder>/<label>.wav``."""
    return {name: folder / f"{file}.{format}" for name, file in safe_names(list(outputs)).items()}


def write_stems(
    separator: StreamSeparator, mixture: Mixture, targets: Mapping[str, Path], advance: Callable[[float], None]
) -> None:
    """Separate a mixture into files of one folder, and list these files in a record there.

    By this record, a scan for stems skips the files, and the next separation may replace them.

    Args:
        separator: Separates it.
        mixture: The mixture.
        targets: A file for each output of the separator.
        advance: See `StreamSeparator.write`, also for the errors.
    """
    separator.write(mixture, targets, advance)
    folder = next(iter(targets.values())).parent
    names = separated_files(folder) | {path.name for path in targets.values()}
    write_json(folder / SEPARATED, {"files": sorted(names)})


def check_targets(inputs: Iterable[str | Path], targets: Iterable[Mapping[str, Path] | None], out: str | Path) -> None:
    """Raise ConfigError if an output would replace a file that no separation wrote, or would become an input.

    Paths are compared with all links resolved.

    Args:
        inputs: Files and folders.
        targets: Files to write, for each mixture.
        out: Folder of all outputs. If it lies in an input folder, it is not part of that input.
    """
    files: dict[str, str | Path] = {}
    folders: dict[str, str | Path] = {}
    for given in inputs:
        (folders if os.path.isdir(given) else files)[os.path.realpath(given)] = given
    real_out = os.path.realpath(out)
    for path in (path for paths in targets for path in (paths or {}).values()):
        real = os.path.realpath(path)
        if real in files:
            raise ConfigError(f"{path} would replace an input file, {files[real]}. Choose another output folder.")
        if os.path.lexists(path) and path.name not in separated_files(path.parent):
            raise ConfigError(
                f"{path} exists, and separating did not write it. Choose another output folder, or move that file."
            )
        for folder, given in folders.items():
            if _is_below(real, folder) and (real_out == folder or not _is_below(real_out, folder)):
                raise ConfigError(
                    f"Outputs would lie among the files of {given}, and the next run would separate them too. Choose "
                    f"another output folder, such as {os.path.join(given, 'separated')}."
                )


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _audio_under(folder: Path, out: Path | None) -> list[Path]:
    """Return the audio files in a folder at any depth, links followed, without those in the output folder."""
    paths = [folder / file for file in find_files(folder)]
    if out is not None and not _is_below(os.path.realpath(folder), real_out := os.path.realpath(out)):
        real = {parent: os.path.realpath(parent) for parent in {path.parent for path in paths}}
        paths = [path for path in paths if not _is_below(real[path.parent], real_out)]
    unread = [path for path in paths if path.suffix.lower() in UNREADABLE_EXTENSIONS]
    if unread:
        some = ", ".join(map(str, unread[:3])) + (f" and {len(unread) - 3} more" if len(unread) > 3 else "")
        logger.warning("Skipped audio in a format that cannot be read: %s. Convert it to WAV or FLAC.", some)
    found = [path for path in paths if path.suffix.lower() in EXTENSIONS]
    if not found:
        raise DataError(f"{folder} holds no audio file ({', '.join(EXTENSIONS)}). Give another folder, or files.")
    return found


def safe_names(labels: Sequence[str]) -> dict[str, str]:
    """Return a safe file name for each label: it has no path separators, and is unique even on a disk that ignores case.

    Labels come from checkpoints, which are not trusted.

    >>> safe_names(["violin", "../../x", "a/b", "a_b"])
    {'violin': 'violin', '../../x': '_.._x', 'a/b': 'a_b', 'a_b': 'a_b_2'}
    """
    names = UniqueNames()
    return {label: names.add(safe_name(str(label))) for label in labels}


def safe_name(text: str) -> str:
    """Return text as the name of a file: without separators, not hidden, composed (NFC), and of limited length.

    >>> safe_name("../a:b")
    '_a_b'
    >>> safe_name("Flo\\u0308te") == "Fl\\u00f6te"
    True
    """
    kept = [char if _is_kept(char) else "_" for char in unicodedata.normalize("NFC", text)]
    name = _shortened("".join(kept).strip(" .")).strip(" .")
    return f"_{name}" if name.split(".")[0].casefold() in _DEVICES else name or "source"


def _is_kept(char: str) -> bool:
    if char.isascii():
        return char.isalnum() or char in _KEPT
    return unicodedata.category(char)[0] in "LMNS"


def _shortened(name: str) -> str:
    name = name[:_MOST_CHARACTERS]
    while len(name.encode()) > _MOST_BYTES:
        name = name[:-1]
    return name


class UniqueNames:
    """Make names unique by numbers. Case is ignored, as on many disks.

    >>> names = UniqueNames()
    >>> [names.add(name) for name in ("Mix", "mix_2", "mix", "MIX")]
    ['Mix', 'mix_2', 'mix_3', 'MIX_4']
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}

    def add(self, name: str) -> str:
        """Return the name, or the name with the lowest number that is free."""
        key = name.casefold()
        number, unique = self._numbers.get(key, 1), name
        while unique.casefold() in self._taken:
            number += 1
            unique = f"{name}_{number}"
        self._taken.add(unique.casefold())
        self._numbers[key] = number
        return unique


def total_seconds(paths: Iterable[Path]) -> float:
    """Return the length in seconds of all files that can be read."""
    seconds = 0.0
    for path in paths:
        try:
            seconds += header(path).seconds
        except DataError:
            continue  # the error is reported when the file is separated
    return seconds


def _bar(seconds: float, shown: bool) -> tqdm:
    """Return a progress bar in seconds of audio; it shows nothing where there is no terminal."""
    return tqdm(
        total=seconds,
        desc="separating",
        bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}{postfix}]",
        disable=None if shown else True,
    )
