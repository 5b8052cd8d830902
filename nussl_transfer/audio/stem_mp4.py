"""Read stem files (.stem.mp4): five audio streams in one MP4, with the programs ffmpeg and ffprobe.

A stream is named as if its container were a folder: ``Artist - Title.stem.mp4/vocals``. Only reading headers and samples
needs the programs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, cast

import numpy as np

from ..errors import AudioFileError, DataError

SUFFIX = ".stem.mp4"
# The order of the streams in MUSDB18's files; the files themselves do not give it.
STREAMS = ("mixture", "drums", "bass", "other", "vocals")
_PROGRAMS = ("ffmpeg", "ffprobe")
_SAMPLE = np.dtype("<f4")


class Stream(NamedTuple):
    """One stream as ffprobe describes it: its number in the file, rate in Hz, channels, frames, codec."""

    number: int
    sample_rate: int
    channels: int
    frames: int
    codec: str


def is_stream(path: Path) -> bool:
    """Tell whether a path names a stream inside a stem file."""
    return path.parent.name.lower().endswith(SUFFIX) and not path.parent.is_dir()


def on_disk(path: Path) -> Path:
    """Return the file that holds the audio of a path: the path itself, or the container of a stream."""
    return path.parent if is_stream(path) else path


def stream(path: Path) -> Stream:
    """Return the description of one stream of a stem file.

    Raises:
        DataError: ffmpeg or ffprobe is not installed.
        AudioFileError: ffprobe cannot read the file, or its streams are not those of MUSDB18.
    """
    _require_programs(path)
    if path.name not in STREAMS:
        raise AudioFileError(path, "is no stream of a stem file", f"Its streams are {', '.join(STREAMS)}.")
    status = path.parent.stat()
    found = _streams(path.parent, status.st_size, status.st_mtime_ns)
    if len(found) != len(STREAMS):
        what = f"has {len(found)} audio streams, where MUSDB18's files have {len(STREAMS)}"
        raise AudioFileError(path.parent, what, f"Its streams must be {', '.join(STREAMS)}: copy it again from its source.")
    return found[STREAMS.index(path.name)]


def decoded(path: Path, frames: int) -> Iterator[np.ndarray]:
    """Yield a stream block by block: ffmpeg writes to a pipe, so memory does not grow with the file.

    stempeg, which reads the headers, would load a whole stem and ignore ffmpeg's exit status.

    Shape:
        float32 [frames, channels], the last one shorter

    Raises:
        AudioFileError: ffmpeg stops with an error.
    """
    about = stream(path)
    # An absolute path is never mistaken for an option or a protocol.
    words = ["ffmpeg", "-v", "error", "-nostdin", "-i", f"file:{path.parent.absolute()}", "-map", f"0:{about.number}"]
    # Stop at the first frame that cannot be decoded instead of concealing it.
    words += ["-f", "f32le", "-c:a", "pcm_f32le", "-xerror", "-"]
    width = about.channels * _SAMPLE.itemsize
    with tempfile.TemporaryFile() as log, subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log) as process:
        output = cast(IO[bytes], process.stdout)  # not None: it is a pipe
        try:
            while block := output.read(frames * width):
                if len(block) < frames * width:
                    _check_failure(path, process.wait(), log)  # before a stem that may be incomplete is used
                yield np.frombuffer(block, _SAMPLE, len(block) // width * about.channels).reshape(-1, about.channels)
            _check_failure(path, process.wait(), log)
        finally:
            process.kill()  # for a reader that stops early; without effect on a process that has ended


def missing_bytes(file: BinaryIO, size: int) -> int:
    """Return how many of the bytes that its boxes declare a stem file lacks; ffprobe does not report missing bytes.

    Args:
        file: The file, open at its start.
        size: Its size in bytes.
    """
    start = 0
    while len(head := file.read(16)) >= 8:
        if start == 0 and head[4:8] != b"ftyp":
            return 0  # no MP4: ffprobe reports it
        length = int.from_bytes(head[:4], "big")
        if length == 1:  # the length is in the eight bytes after the name
            length = int.from_bytes(head[8:], "big")
        if length < 8:
            return 0  # length 0: the box reaches to the end of the file
        start += length
        file.seek(start)
    return max(0, start - size)


def _check_failure(path: Path, status: int, log: BinaryIO) -> None:
    if status != 0:
        log.seek(0)
        # Drop memory addresses, as in '[aac @ 0x5638fed9f840] Number of bands exceeds limit'.
        lines = re.sub(r"\[[^\]]* @ 0x[0-9a-f]+\] *", "", log.read().decode(errors="replace")).strip().splitlines()
        why = lines[-1].rstrip(". ") if lines else f"status {status}"
        raise AudioFileError(path, f"cannot be decoded (ffmpeg: {why})", "Copy it again from its source.")


@lru_cache(maxsize=256)
def _streams(container: Path, size: int, modified: int) -> tuple[Stream, ...]:
    """Return the audio streams of a container; cached until its size or time changes."""
    import ffmpeg
    import stempeg

    try:
        # A cover is a stream of video, which stempeg leaves out.
        streams = stempeg.Info(str(container.absolute())).audio_streams
    except ffmpeg.Error as error:
        why = error.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        what = f"cannot be read (ffprobe: {why[0].rstrip('. ')})"
        raise AudioFileError(container, what, "Copy it again from its source.") from None
    try:
        return tuple(
            Stream(
                int(one["index"]), int(one["sample_rate"]), int(one["channels"]), _frames(one), one["codec_name"].upper()
            )
            for one in streams
        )
    except (KeyError, ValueError, ZeroDivisionError) as error:
        what = f"does not describe its streams ({error})"
        raise AudioFileError(container, what, "Copy it again from its source.") from None


def _frames(about: dict) -> int:
    """Return a stream's length in frames; its time base need not be 1 / rate, as it is in MUSDB18's files."""
    up, down = map(int, about["time_base"].split("/"))
    return round(int(about["duration_ts"]) * up * int(about["sample_rate"]) / down)


def _require_programs(path: Path) -> None:
    absent = [program for program in _PROGRAMS if shutil.which(program) is None]
    if absent:
        raise DataError(
            f"{path.parent} is a stem file, which ffmpeg reads: {' and '.join(absent)} "
            f"{'are' if len(absent) > 1 else 'is'} not installed. Install ffmpeg (`apt install ffmpeg`, `brew install "
            "ffmpeg`, `conda install ffmpeg`), or use MUSDB18-HQ, the same tracks as WAV."
        )
