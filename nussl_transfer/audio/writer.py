"""Audio files that are written block by block, aside, in any of four formats."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from ..errors import ConfigError, DataError
from ..runtime.files import written_aside
from .io import native_path

LOG = logging.getLogger(__name__)

# Name -> libsndfile's format and coding. WAV keeps what is above full scale, the others cut it off.
FORMATS = {
    "wav": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_24"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
# The size of a WAV is a number of 32 bits; from here on it is written as RF64, which has one of 64 bits.
LARGEST_WAV = (1 << 32) - (1 << 16)
# libsndfile's Vorbis encoder takes all that it is given at once onto the stack.
AT_ONCE = 1 << 14


def check_format(name: str) -> None:
    """Raises ConfigError unless there is such a format."""
    if name not in FORMATS:
        raise ConfigError(f"Format {name!r} was asked for: there are {', '.join(FORMATS)}.")


class AudioWriter:
    """One audio file that is being written.

    Attributes:
        frames: How many have been written.
        clipped: How many samples were above full scale, in a format that cuts them off.
    """

    def __init__(self, file: soundfile.SoundFile, path: Path):
        self.file, self.path = file, path
        self.frames = self.clipped = 0
        self._clips = file.subtype != "FLOAT"

    def write(self, audio: np.ndarray) -> None:
        """Writes a block.

        Shape:
            [frames, nc]

        Raises:
            OSError: The disk does not take it.
        """
        if self._clips:
            self.clipped += int(np.count_nonzero(np.abs(audio) > 1))
        for start in range(0, len(audio), AT_ONCE):
            part = np.ascontiguousarray(audio[start : start + AT_ONCE])
            try:
                self.file.write(part)
            except (soundfile.LibsndfileError, AssertionError) as error:  # it asserts that all was written
                raise _unwritten(self.path, error) from error
        self.frames += len(audio)


@contextmanager
def written_audio(
    path: str | Path, sample_rate: int, channels: int, frames: int, format_name: str
) -> Iterator[AudioWriter]:
    """Gives a writer for a file that is there, whole, when the block ends well, and not at all when it does not.

    Args:
        path: The file.
        sample_rate: Its rate in Hz.
        channels: How many it has.
        frames: About how many it will have.
        format_name: One of `FORMATS`.

    Raises:
        DataError: The format has no such rate, or not so many channels.
        OSError: The disk does not take it.
    """
    path = Path(path)
    kind, subtype = FORMATS[format_name]
    if kind == "WAV" and frames * channels * 4 > LARGEST_WAV:
        kind = "RF64"
    with written_aside(path) as aside:
        try:
            # libsndfile says only that it cannot: whether it is the disk, an empty file tells.
            aside.touch()
            file = soundfile.SoundFile(native_path(aside), "w", sample_rate, channels, subtype, format=kind)
        except soundfile.LibsndfileError as error:
            raise DataError(
                f"{path} was to have {channels} {'channel' if channels == 1 else 'channels'} at {sample_rate} Hz: "
                f"{format_name} cannot hold that ({error.error_string.rstrip('. ')}). Take wav, or flac for up to 8 "
                "channels; or leave the rate to the model."
            ) from error
        with file:
            writer = AudioWriter(file, path)
            yield writer
        if frames and not aside.stat().st_size:
            raise _unwritten(path, "nothing arrived")
    if writer.clipped:
        LOG.warning(
            "%s: %d samples were above full scale and are cut off; wav would keep them.", path, writer.clipped
        )


def _unwritten(path: Path, why: object) -> OSError:
    return OSError(f"{path} could not be written ({str(why) or 'not all of it arrived'}). Look for room on its disk.")
