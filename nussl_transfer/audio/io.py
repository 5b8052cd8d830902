"""Read audio files block by block; raise a one-sentence error for a file that is damaged, cut or not audio."""

from __future__ import annotations

import os
import stat
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import soxr

from ..errors import AudioFileError, DataError
from . import containers, mp3, stem_mp4

# Extensions of the files that libsndfile reads.
EXTENSIONS = (
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".caf",
    ".au", ".snd",
)  # fmt: skip
# Extensions of audio that libsndfile does not read. A folder scan reports such files instead of skipping them silently.
UNREADABLE_EXTENSIONS = (
    ".m4a", ".mp4", ".m4b", ".aac", ".alac", ".wma", ".ape", ".wv", ".mpc", ".mka", ".webm", ".mov", ".ac3", ".amr", ".tta",
    ".dsf", ".dff", ".mid", ".midi",
)  # fmt: skip
# Stems of one track may differ in length by this share of the longest: an MP3 frame, or a bounce that stops early.
LENGTH_TOLERANCE = 0.01
# libsndfile may decode this many samples fewer than an MP3 has: its first frames can lack the data they refer to.
MP3_TOLERANCE = 3 * 1152
BLOCK = 1 << 18
RESAMPLING = "HQ"
_UNKNOWN_FRAMES = 1 << 50

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Header:
    """Sample rate in Hz, number of channels, length in frames and coding of a file."""

    sample_rate: int
    channels: int
    frames: int
    subtype: str

    @property
    def seconds(self) -> float:
        """Return the length in seconds."""
        return self.frames / self.sample_rate


def native_path(path: str | Path) -> str | bytes:
    """Return a path in the form that soundfile opens: bytes on POSIX, where names need not be UTF-8."""
    return os.fsencode(path) if os.name == "posix" else os.fspath(path)


def header(path: str | Path) -> Header:
    """Return rate, channels and length of a file.

    The length is exact: the frames of an MP3 and of a FLAC without a length are counted.

    Args:
        path: The file, or a stream in a stem file: ``Artist - Title.stem.mp4/vocals``.

    Raises:
        AudioFileError: The file is absent, unreadable, empty, cut, or not audio.
    """
    path = Path(path)
    on_disk = stem_mp4.on_disk(path)
    try:
        status = on_disk.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise AudioFileError(
                on_disk, "is not a file but a folder, a pipe or a device", "Replace it with an audio file."
            )
        size = status.st_size
        with open(on_disk, "rb") as file:
            missing = (stem_mp4.missing_bytes if on_disk != path else containers.missing_bytes)(file, size)
            file.seek(0)
            overflowing = containers.overflowing_bytes(file, size)
    except OSError as error:
        raise _unreadable(on_disk, error) from None
    if size == 0:
        raise AudioFileError(on_disk, "is empty (0 bytes)", "Copy it again from its source, or remove it.")
    if missing > 0:
        what = f"was cut: its header promises {missing} bytes more"
        if path.suffix.lower() in (".ogg", ".oga", ".opus"):
            what = "was cut: the end of its Ogg stream is missing"
        raise AudioFileError(on_disk, what, "Copy it again from its source.")
    if overflowing:
        what = f"is larger than the 4 GiB that its header can describe: {overflowing} bytes would not be read"
        raise AudioFileError(on_disk, what, "Convert it to RF64, W64 or FLAC, or split it.")
    if on_disk != path:
        stream = stem_mp4.stream(path)
        return Header(stream.sample_rate, stream.channels, stream.frames, stream.codec)
    with _opened(path) as file:
        found = Header(file.samplerate, file.channels, file.frames, file.subtype)
    # A FLAC that was written to a pipe lacks the length in its header. For MPEG layers I and II, libsndfile estimates it.
    if found.frames >= _UNKNOWN_FRAMES or found.subtype in ("MPEG_LAYER_I", "MPEG_LAYER_II"):
        found = Header(found.sample_rate, found.channels, sum(map(len, _decode(path, BLOCK))), found.subtype)
    if found.frames == 0:
        raise AudioFileError(path, "holds no audio (0 samples)", "Export it again, or remove it.")
    return found


def blocks(path: str | Path, frames: int = BLOCK) -> Iterator[np.ndarray]:
    """Yield the audio of a file block by block, so that memory does not grow with the file.

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
    tolerance = MP3_TOLERANCE if head.subtype.startswith("MPEG") else 0
    if start < head.frames - tolerance:
        raise AudioFileError(
            path,
            f"was cut: it promises {head.seconds:.1f} s and decodes to {start / head.sample_rate:.1f} s",
            "Copy it again from its source.",
        )


def read(path: str | Path) -> tuple[np.ndarray, int]:
    """Return the audio of a whole file and its rate in Hz.

    Shape:
        float32 [channels, frames], nussl's order

    Raises:
        AudioFileError: As ``blocks``.
    """
    audio = np.concatenate(list(blocks(path)))  # [frames, channels]
    return np.ascontiguousarray(audio.T), header(path).sample_rate


def mono(path: str | Path, sample_rate: int, offset: float = 0.0) -> np.ndarray:
    """Return the mean of a file's channels at another rate, decoded and resampled block by block.

    Args:
        path: The file.
        sample_rate: Rate of the result in Hz.
        offset: Value to subtract before resampling, which would turn an offset into a click at both ends.

    Shape:
        float32 [frames]

    Raises:
        AudioFileError: As ``blocks``.
    """
    rate = header(path).sample_rate
    # Summed channel by channel: a mean over the last axis takes NumPy ten times as long.
    averaged = (sum(block.T) / np.float32(block.shape[1]) - np.float32(offset) for block in blocks(path))  # [frames]
    return np.concatenate(list(resampled(averaged, rate, sample_rate)))


def resampled(pieces: Iterable[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """Yield a signal at another rate piece by piece, as if it were resampled whole.

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


def align(signals: Mapping[Name, np.ndarray], tolerance: float = LENGTH_TOLERANCE) -> dict[Name, np.ndarray]:
    """Return signals of one length: the shorter ones get zeros at their end.

    The longer ones are not cut: a stem that ends early (a bounce that stops with its last note) was silent from there
    on, and cutting would lose audio.

    Args:
        signals: Name or path -> samples, all at one rate.
        tolerance: Largest accepted difference in length, as a share of the longest.

    Shape:
        [..., frames] each; out [..., longest]

    Raises:
        DataError: The lengths differ by more than that.
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


def summed(signals: Iterable[np.ndarray]) -> np.ndarray:
    """Return the sum of signals of one shape, at least one, as a new array.

    >>> summed([np.array([1.0, 2.0]), np.array([0.5, -2.0])])
    array([1.5, 0. ])
    """
    first, *others = signals
    return sum(others, first.copy())


def too_unequal(lengths: Iterable[float], tolerance: float = LENGTH_TOLERANCE) -> bool:
    """Tell whether lengths (in any unit) differ by more than a share of the longest."""
    lengths = list(lengths)
    longest = max(lengths)
    return longest - min(lengths) > tolerance * longest


class _ForwardFile(soundfile.SoundFile):
    """A file that is read from start to end, without seeking.

    After every read soundfile seeks if the file is seekable, which fails at the end of a FLAC of unknown length.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _opened(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open a file with libsndfile; for an MP3, only the counted frames.

    Raises:
        AudioFileError: libsndfile cannot open or decode it, or frames that an MP3 promises are missing.
    """
    path, about = Path(path), None
    try:
        with open(path, "rb") as file:
            head = file.read(64)
        if mp3.looks_like_mp3(head) or (path.suffix.lower() == ".mp3" and containers.name_content(head) is None):
            about = mp3.scan(path)
        spliced = containers.with_true_size(path) if about is None else None
    except OSError as error:
        raise _unreadable(path, error) from None
    if about is not None:
        if about.missing:
            seconds = about.samples / about.rate  # of a frame
            promised, found = (about.frames + about.missing) * seconds, about.frames * seconds
            what = f"was cut: it promises {promised:.1f} s and has {found:.1f} s"
            raise AudioFileError(path, what, "Copy it again from its source.")
        if about.frames == 0:
            raise AudioFileError(path, "holds no audio (0 samples)", "Export it again, or remove it.")
        spliced = mp3.open_whole(path, about)
    try:
        with _ForwardFile(native_path(path) if spliced is None else spliced) as file:
            yield file
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _undecodable(path, error) from None
    finally:
        if spliced is not None:
            spliced.close()


def _decode(path: str | Path, frames: int) -> Iterator[np.ndarray]:
    if stem_mp4.is_stream(Path(path)):
        yield from stem_mp4.decoded(Path(path), frames)
        return
    with _opened(path) as file:
        while len(block := file.read(frames, dtype="float32", always_2d=True)):
            yield block


def _undecodable(path: str | Path, error: Exception) -> AudioFileError:
    with open(path, "rb") as file:
        content = containers.name_content(file.read(64))
    if content is not None:
        return AudioFileError(path, f"cannot be decoded: it is {content}", "Convert it to WAV or FLAC, or replace it.")
    why = getattr(error, "error_string", str(error)).rstrip(". ")
    return AudioFileError(path, f"cannot be decoded ({why})", "Convert it to WAV or FLAC, or copy it again.")


def _unreadable(path: Path, error: OSError) -> AudioFileError:
    if path.is_symlink() and isinstance(error, FileNotFoundError):
        return AudioFileError(path, f"is a broken link to {os.readlink(path)}", "Mend the link or remove it.")
    if isinstance(error, FileNotFoundError):
        return AudioFileError(path, "is not there", "Put it back, or check the path.")
    if isinstance(error, PermissionError):
        return AudioFileError(path, "may not be read (permission denied)", f"Run `chmod u+r '{path}'` as its owner.")
    return AudioFileError(path, f"cannot be read ({error.strerror})", "Check the disk, or copy the file again.")
