"""Write audio files block by block in one of four formats; a file appears when it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from ..errors import ConfigError, DataError
from ..runtime.files import written_aside
from ..runtime.log import logger
from .io import native_path

# Name -> libsndfile's format and coding. WAV keeps samples above full scale, the others clip them.
FORMATS = {
    "wav": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_24"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
# A WAV gives its size in 32 bits. Larger files are written as RF64, which has 64 bits for it.
LARGEST_WAV = (1 << 32) - (1 << 16)
# libsndfile's Vorbis encoder puts all samples of one call onto the stack.
AT_ONCE = 1 << 14


def check_format(name: str) -> None:
    """Raise ConfigError unless the format is known."""
    if name not in FORMATS:
        raise ConfigError(f"Unknown format {name!r}. Use one of {', '.join(FORMATS)}.")


class AudioWriter:
    """Write the blocks of one audio file.

    Attributes:
        frames: Number of frames written.
        clipped: Number of samples above full scale, in a format that clips them.
    """

    def __init__(self, file: soundfile.SoundFile, path: Path):
        self.file, self.path = file, path
        self.frames = self.clipped = 0
        self._clips = file.subtype != "FLOAT"

    def write(self, audio: np.ndarray) -> None:
        """Write a block.

        Shape:
            [frames, nc]

        Raises:
            OSError: The disk rejects the write.
        """
        if self._clips:
            self.clipped += int(np.count_nonzero(np.abs(audio) > 1))
        for start in range(0, len(audio), AT_ONCE):
            part = np.ascontiguousarray(audio[start : start + AT_ONCE])
            try:
                self.file.write(part)
            except (soundfile.LibsndfileError, AssertionError) as error:  # soundfile asserts that it wrote all
                raise _unwritten(self.path, error) from error
        self.frames += len(audio)


@contextmanager
def written_audio(
    path: str | Path, sample_rate: int, channels: int, frames: int, format_name: str
) -> Iterator[AudioWriter]:
    """Yield a writer; the file appears, complete, when the block succeeds, and never if it fails.

    Args:
        path: The file.
        sample_rate: Sample rate in Hz.
        channels: Number of channels.
        frames: Expected number of frames; may be approximate.
        format_name: One of `FORMATS`.

    Raises:
        DataError: The format does not support the rate or the number of channels.
        OSError: The disk rejects the write.
    """
    path = Path(path)
    kind, subtype = FORMATS[format_name]
    if kind == "WAV" and frames * channels * 4 > LARGEST_WAV:
        kind = "RF64"
    with written_aside(path) as aside:
        try:
            # libsndfile does not say why it fails. Creating the file first raises OSError if the disk is the reason.
            aside.touch()
            file = soundfile.SoundFile(native_path(aside), "w", sample_rate, channels, subtype, format=kind)
        except soundfile.LibsndfileError as error:
            raise DataError(
                f"{path} cannot be written: {format_name} does not support {channels} "
                f"{'channel' if channels == 1 else 'channels'} at {sample_rate} Hz ({error.error_string.rstrip('. ')}). "
                "Use wav, or flac for up to 8 channels, or do not keep the rate."
            ) from error
        with file:
            writer = AudioWriter(file, path)
            yield writer
        if frames and not aside.stat().st_size:
            raise _unwritten(path, "the file is empty")
    if writer.clipped:
        logger.warning("%s: %d samples above full scale were clipped. The format wav keeps them.", path, writer.clipped)


def _unwritten(path: Path, why: object) -> OSError:
    return OSError(
        f"{path} could not be written ({str(why) or 'only a part was written'}). Check the free space on its disk."
    )
