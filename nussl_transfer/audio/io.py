"""Stage 0: audio files from strangers, read block by block; what is wrong is said in one sentence."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ..errors import AudioFileError, DataError
from . import stem_mp4 as containers

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
# Stems of one track may differ in length by this share of the longest: an MP3 frame, a bounce that stops
# early.
LENGTH_TOLERANCE = 0.01
# The number of frames in an MP3 header may be an estimate from the file's size: 0.2 % too high in ordinary
# files.
MP3_TOLERANCE = 0.01
BLOCK = 1 << 18
RESAMPLING = "HQ"
_UNKNOWN_FRAMES = 1 << 50
_STREAMED_SIZES = (0, 0xFFFFFFFF)


@dataclass(frozen=True)
class Header:
    """What a file says of itself: rate in Hz, channels, frames (an estimate in some MP3), coding."""

    sample_rate: int
    channels: int
    frames: int
    subtype: str

    @property
    def seconds(self) -> float:
        """Returns the length in seconds."""
        return self.frames / self.sample_rate


def header(path: str | Path) -> Header:
    """Returns what a file says of itself, without decoding it.

    Args:
        path: The file, or a stream in a stem file: ``Artist - Title.stem.mp4/vocals``.

    Raises:
        AudioFileError: It is not there, may not be read, is empty, was cut, or is no audio.
    """
    path = Path(path)
    file_of = containers.on_disk(path)
    try:
        status = file_of.stat()
        if not stat.S_ISREG(status.st_mode):  # to read a pipe would wait for ever
            raise AudioFileError(file_of, "is no file, but a folder, a pipe or a device", "Put audio in its place.")
        size = status.st_size
        with open(file_of, "rb") as file:
            missing = (containers.missing_bytes if file_of != path else _missing_bytes)(file, size)
    except OSError as error:
        raise _unreadable(file_of, error) from None
    if size == 0:
        raise AudioFileError(file_of, "is empty (0 bytes)", "Copy it again from its source, or remove it.")
    if missing > 0:
        what = f"was cut: its header promises {missing} bytes more"
        raise AudioFileError(file_of, what, "Copy it again from its source.")
    if file_of != path:
        stream = containers.stream(path)
        return Header(stream.sample_rate, stream.channels, stream.frames, stream.codec)
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _undecodable(path, error) from None
    # A FLAC that was written to a pipe does not know its length: count.
    frames = info.frames if info.frames < _UNKNOWN_FRAMES else sum(map(len, _decode(path, BLOCK)))
    if frames == 0:
        raise AudioFileError(path, "holds no audio (0 samples)", "Export it again, or remove it.")
    return Header(info.samplerate, info.channels, frames, info.subtype)


def blocks(path: str | Path, frames: int = BLOCK) -> Iterator[np.ndarray]:
    """Yields the audio of a file, block by block, so that memory does not grow with the file.

    Args:
        path: The file.
        frames: Length of a block.

    Shape:
        float32 [frames, channels], the last one shorter

    Raises:
        AudioFileError: As ``header``; or decoding stops before the end, or a sample is not a finite number.
    """
    head = header(path)
    start = 0
    for block in _decode(path, frames):
        finite = np.isfinite(block)
        if not finite.all():
            at = (start + int(np.argmin(finite.all(axis=1)))) / head.sample_rate
            raise AudioFileError(path, f"holds NaN or infinite samples, the first at {at:.2f} s", "Export it again.")
        start += len(block)
        yield block
    tolerance = MP3_TOLERANCE if head.subtype.startswith("MPEG") else 0.0
    if start < head.frames * (1 - tolerance):
        raise AudioFileError(
            path,
            f"was cut: it promises {head.seconds:.1f} s and decodes to {start / head.sample_rate:.1f} s",
            "Copy it again from its source.",
        )


def read(path: str | Path) -> tuple[np.ndarray, int]:
    """Returns a whole file and its rate in Hz.

    Shape:
        float32 [channels, frames], nussl's order

    Raises:
        AudioFileError: As ``blocks``.
    """
    audio = np.concatenate(list(blocks(path)))  # [frames, channels]
    return np.ascontiguousarray(audio.T), header(path).sample_rate


def mono(path: str | Path, sample_rate: int, offset: float = 0.0) -> np.ndarray:
    """Returns a file as the mean of its channels at another rate, decoded and resampled block by block.

    Args:
        path: The file.
        sample_rate: Rate of the result in Hz.
        offset: Is subtracted before resampling, which would make a click of it at both ends.

    Shape:
        float32 [frames]

    Raises:
        AudioFileError: As ``blocks``.
    """
    rate = header(path).sample_rate
    # Channel by channel: as a mean over the last axis, which takes NumPy ten times as long.
    averaged = (sum(block.T) / np.float32(block.shape[1]) - np.float32(offset) for block in blocks(path))  # [frames]
    return np.concatenate(list(resampled(averaged, rate, sample_rate)))


def resampled(pieces: Iterable[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """Yields a signal at another rate, piece by piece, as if it had been resampled whole.

    Args:
        pieces: The signal, in pieces of any length.
        rate: Its rate in Hz.
        sample_rate: Rate of the result in Hz.

    Shape:
        float32 [frames] or [frames, channels] each; the same out
    """
    if rate == sample_rate:
        yield from pieces
        return
    stream, nothing = None, None
    for piece in pieces:
        if stream is None:
            nothing = np.zeros_like(piece[:0])
            channels = 1 if piece.ndim == 1 else piece.shape[1]
            stream = soxr.ResampleStream(rate, sample_rate, channels, dtype="float32", quality=RESAMPLING)
        yield stream.resample_chunk(np.ascontiguousarray(piece))
    if stream is not None:
        yield stream.resample_chunk(nothing, last=True)


def align(signals: Mapping[str, np.ndarray], tolerance: float = LENGTH_TOLERANCE) -> dict[str, np.ndarray]:
    """Returns signals of one length: the shorter ones get zeros at their tail.

    Zeros rather than a cut, because a stem that ends early was silent from there on (a bounce that stops with
    its last note), and because nothing recorded is lost.

    Args:
        signals: name -> samples, all at one rate.
        tolerance: How far the shortest may stay behind, as a share of the longest.

    Shape:
        [..., frames] each; out [..., longest]

    Raises:
        DataError: They differ by more.
    """
    lengths = {name: signal.shape[-1] for name, signal in signals.items()}
    longest = max(lengths.values())
    if too_unequal(lengths.values(), tolerance):
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(
            f"Stems of one track must be equally long to within {tolerance:.0%}: found {found} samples. "
            "Export them from the same start to the same end."
        )
    return {
        name: np.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, longest - signal.shape[-1])])
        for name, signal in signals.items()
    }


def too_unequal(lengths, tolerance: float = LENGTH_TOLERANCE) -> bool:
    """Tells whether lengths (any unit) differ by more than a share of the longest."""
    lengths = list(lengths)
    return max(lengths) - min(lengths) > tolerance * max(lengths)


def _decode(path: str | Path, frames: int) -> Iterator[np.ndarray]:
    if containers.is_stream(Path(path)):
        yield from containers.decoded(Path(path), frames)
        return
    try:
        with soundfile.SoundFile(str(path)) as file:
            while len(block := file.read(frames, dtype="float32", always_2d=True)):
                yield block
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _undecodable(path, error) from None


def _undecodable(path: str | Path, error: Exception) -> AudioFileError:
    why = getattr(error, "error_string", str(error)).rstrip(". ")
    return AudioFileError(path, f"cannot be decoded ({why})", "Convert it to WAV or FLAC, or copy it again.")


def _unreadable(path: Path, error: OSError) -> AudioFileError:
    if path.is_symlink() and isinstance(error, FileNotFoundError):
        return AudioFileError(path, f"is a broken link to {os.readlink(path)}", "Mend the link or remove it.")
    if isinstance(error, FileNotFoundError):
        return AudioFileError(path, "is not there", "Put it back, or look at the folder again.")
    if isinstance(error, PermissionError):
        return AudioFileError(path, "may not be read (permission denied)", f"Run `chmod u+r '{path}'` as its owner.")
    return AudioFileError(path, f"cannot be read ({error.strerror})", "Look at the disk, or copy the file again.")


def _missing_bytes(file, size: int) -> int:
    """Returns how many bytes of samples a WAV or AIFF lacks: libsndfile says nothing of it."""
    kind, _, form = struct.unpack("4sI4s", file.read(12).ljust(12, b"\0"))
    order = {b"RIFF": "<", b"RIFX": ">", b"FORM": ">"}.get(kind)
    if order is None or form not in (b"WAVE", b"AIFF", b"AIFC"):
        return 0
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack(order + "4sI", head)
        if name in (b"data", b"SSND"):
            return 0 if length in _STREAMED_SIZES else file.tell() + length - size
        file.seek(length + length % 2, os.SEEK_CUR)
    return 0
