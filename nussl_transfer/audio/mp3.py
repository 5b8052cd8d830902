"""Count the frames of an MP3 and open all of it with libsndfile.

libsndfile stops at its estimate of the length. Without a Xing or Info frame that estimate comes from the bit rate of the
first frames and the size of the file. A VBR file is then cut without an error, and a cover or a tag after the audio makes
the estimate too long. This module counts the frames and gives libsndfile only the frames, after an Info frame that
states their number.

References:
    ISO/IEC 11172-3 and 13818-3, section 2.4.1 (frame header); ID3v2.4, section 3.1; APEv2.
"""

from __future__ import annotations

import mmap
import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .containers import Spliced

# Bit rates in kbit/s by index, for (MPEG version is 1, layer); MPEG 2.5 has the rates of MPEG 2.
_BIT_RATES = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by the version's two bits
# Offsets of a Xing or Info tag in its frame: behind header (4 bytes), CRC (0 or 2) and side information (9, 17 or 32).
_XING_OFFSETS = (13, 15, 21, 23, 36, 38)
# This many frames of one format in a row prove audio: in other data, three in a row are rarer than 1 in 10^8.
_PROOF = 3
# An Info frame may promise this many more frames than there are: encoders disagree on whether it counts itself.
_SPARE_FRAMES = 2


class FrameHeader(NamedTuple):
    """One frame's length in bytes, its samples per channel, its rate in Hz and its layer."""

    length: int
    samples: int
    rate: int
    layer: int


class Mp3(NamedTuple):
    """The audio of an MP3 file.

    Attributes:
        frames: Number of MPEG frames, without a Xing, Info or VBRI frame.
        samples: Samples per channel in one frame.
        rate: In Hz.
        channels: 1 or 2.
        layer: 1, 2 or 3.
        promised: Frames that the Xing, Info or VBRI frame promises, 0 if it gives no number; None without such a frame.
        runs: Where the frames lie, as (start, end) in bytes; tags and junk lie between them.
        info: Where the Xing, Info or VBRI frame lies; None without one.
    """

    frames: int
    samples: int
    rate: int
    channels: int
    layer: int
    promised: int | None
    runs: tuple[tuple[int, int], ...]
    info: tuple[int, int] | None

    @property
    def missing(self) -> int:
        """Return how many promised frames are not there; 0 where nothing is promised."""
        promised = self.promised or 0
        return promised - self.frames if promised > self.frames + _SPARE_FRAMES else 0


@lru_cache(maxsize=1 << 12)
def parse_header(word: int) -> FrameHeader | None:
    """Return the content of a frame header of four bytes; None if they are not a header.

    Free-format frames, whose length the header does not give, count as no header.

    >>> parse_header(0xFFFB9064)
    FrameHeader(length=417, samples=1152, rate=44100, layer=3)
    """
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    bits, rate_index, padding = word >> 12 & 15, word >> 10 & 3, word >> 9 & 1
    if word >> 21 != 0x7FF or version == 1 or layer == 4 or bits in (0, 15) or rate_index == 3:
        return None
    first = version == 3
    rate, bit_rate = _RATES[version][rate_index], 1000 * _BIT_RATES[first, layer][bits]
    if layer == 1:
        return FrameHeader(4 * (12 * bit_rate // rate + padding), 384, rate, 1)
    samples = 1152 if first or layer == 2 else 576
    return FrameHeader(samples // 8 * bit_rate // rate + padding, samples, rate, layer)


def looks_like_mp3(head: bytes) -> bool:
    """Tell whether a file that starts with these bytes may be an MPEG audio stream."""
    in_wav = head[:4] == b"RIFF" and head[12:16] == b"fmt " and head[20:22] == b"\x55\0"
    if head[:3] == b"ID3" or in_wav:
        return True
    return len(head) >= 4 and parse_header(int.from_bytes(head[:4], "big")) is not None


def scan(path: str | Path) -> Mp3 | None:
    """Return where the frames of an MP3 lie and how many there are; None if the file holds none.

    Raises:
        OSError: The file cannot be read.
    """
    status = os.stat(path)
    return _scan(os.fspath(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _scan(path: str, size: int, modified: int) -> Mp3 | None:
    if size < 4:
        return None
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _find_frames(data)


def _find_frames(data: mmap.mmap | bytes) -> Mp3 | None:
    runs: list[tuple[int, int]] = []
    count, kind, first = 0, None, None
    position = _next_run(data, 0, None)
    while position is not None:
        start = position
        if kind is None:
            kind = _word(data, start) & _KIND
            first = parse_header(_word(data, start))
        frames, position = _walk(data, start, kind)
        count += frames
        runs.append((start, position))
        position = _next_run(data, position, kind)
    if first is None:
        return None
    start = runs[0][0]
    channels = 1 if data[start + 3] >> 6 == 3 else 2
    promised = _promised_frames(data[start : start + first.length])
    info = None
    if promised is not None:
        info = start, start + first.length
        runs[0], count = (info[1], runs[0][1]), count - 1
    return Mp3(count, first.samples, first.rate, channels, first.layer, promised, tuple(runs), info)


# The bits of a header that all frames of a stream share: sync, version, layer, rate.
_KIND = 0xFFFE0C00


def _word(data: mmap.mmap | bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 4], "big")


def _walk(data: mmap.mmap | bytes, position: int, kind: int) -> tuple[int, int]:
    """Return how many whole frames of a kind follow one another from here, and where the last one ends."""
    count, size = 0, len(data)
    while position + 4 <= size:
        word = int.from_bytes(data[position : position + 4], "big")
        header = parse_header(word) if word & _KIND == kind else None
        if header is None or position + header.length > size:
            break
        position += header.length
        count += 1
    return count, position


def _next_run(data: mmap.mmap | bytes, position: int, kind: int | None) -> int | None:
    """Return where the next frames start, behind tags and junk; None where there are no more."""
    size = len(data)
    while position < size:
        tag = _tag_length(data, position)
        if tag:
            position += tag
            continue
        found = data.find(b"\xff", position)
        if found < 0:
            return None
        if found > position:
            tag_start = min((at for name in _TAGS if (at := data.find(name, position, found)) >= 0), default=-1)
            if tag_start > position:
                position = tag_start
                continue
        if _is_run(data, found, kind):
            return found
        position = found + 1
    return None


def _is_run(data: mmap.mmap | bytes, position: int, kind: int | None) -> bool:
    """Tell whether frames start here: several in a row, or as many as fit before the end or a tag."""
    word = _word(data, position)
    header = parse_header(word) if position + 4 <= len(data) else None
    if header is None or (kind is not None and word & _KIND != kind):
        return False
    count = 0
    while count < _PROOF:
        if header is None or position + header.length > len(data):
            break
        position, count = position + header.length, count + 1
        if position + 4 > len(data) or _tag_length(data, position):
            return True
        following = _word(data, position)
        header = parse_header(following) if following & _KIND == word & _KIND else None
    # In a file that was cut, the last frame is incomplete.
    return count == _PROOF or (count > 0 and header is not None)


_TAGS = (b"ID3", b"APETAGEX", b"TAG", b"LYRICSBEGIN")


def _tag_length(data: mmap.mmap | bytes, position: int) -> int:
    """Return the length in bytes of a tag that starts here, 0 where none does."""
    head = data[position : position + 32]
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        length = 10 + size + (10 if head[5] & 0x10 else 0)
        return length if position + length <= len(data) else 0
    if head[:8] == b"APETAGEX" and len(head) == 32:
        size, is_header = struct.unpack("<I", head[12:16])[0], head[23] & 0x20
        return 32 + size if is_header else 32
    if head[:11] == b"LYRICSBEGIN":
        end = data.find(b"LYRICS200", position)
        return end + 9 - position if end >= 0 else 0
    # ID3v1 is the last 128 bytes of a file.
    return 128 if head[:3] == b"TAG" and len(data) - position == 128 else 0


def _promised_frames(frame: bytes) -> int | None:
    """Return the number of frames that a Xing, Info or VBRI frame gives, 0 if it gives none; None for a frame of audio."""
    for at in _XING_OFFSETS:
        if frame[at : at + 4] in (b"Xing", b"Info") and len(frame) >= at + 12:
            flags, count = struct.unpack(">II", frame[at + 4 : at + 12])
            return count if flags & 1 else 0
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return struct.unpack(">I", frame[50:54])[0]
    return None


def open_whole(path: str | Path, about: Mp3) -> Spliced:
    """Return a file for libsndfile that holds only the frames of an MP3 and, for layer III, a correct Info frame first.

    The file's own Info frame is kept if its count is right, because it may hold the trims for gapless playback.
    """
    first = about.runs[0][0]
    with open(path, "rb") as file:
        file.seek(first)
        header = file.read(4)
    if about.info is not None and about.promised and abs(about.promised - about.frames) <= 1:
        return Spliced(path, b"", (about.info, *about.runs))
    return Spliced(path, _info_frame(header, about) if about.layer == 3 else b"", about.runs)


def _info_frame(header: bytes, about: Mp3) -> bytes:
    """Return an Info frame in the format of these frames, which states their number and size."""
    total = sum(end - start for start, end in about.runs)
    first_version = header[1] >> 3 & 3 == 3
    side = (17 if about.channels == 1 else 32) if first_version else (9 if about.channels == 1 else 17)
    body = bytes(side) + b"Info" + struct.pack(">II", 3, about.frames)
    # The lowest bit rate whose frame has room; without a CRC, without padding. 160 kbit/s has room at every rate.
    words = [bytes([0xFF, header[1] | 1, bits << 4 | header[2] & 0x0C, header[3]]) for bits in range(1, 15)]
    headers = ((word, parse_header(int.from_bytes(word, "big"))) for word in words)
    word, length = next((word, found.length) for word, found in headers if found and found.length >= len(body) + 8)
    return word + body + struct.pack(">I", length + total) + bytes(length - 8 - len(body))
