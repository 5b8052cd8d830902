"""Compare the size of an audio file with what its header promises, and name files that libsndfile does not read."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Fewer missing bytes do not mean that a file was cut: some programs count their header as samples, others round a size
# up. 1024 bytes are 6 ms of CD audio.
TOLERATED_BYTES = 1024
# Programs that write to a pipe cannot go back to fill in the size. ffmpeg and lame leave 0xFFFFFFFF, or that minus the size
# of the header; sox leaves 0x7FFFF000 or (in AIFF) 0x7F000000; arecord a little less than 2 GB; others 0.
_PIPED_SIZES = (range(0x7EFF0000, 0x80001000), range(0xFFFF0000, 0x100000000))
_UNKNOWN = (0, 0xFFFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF)
_OGG_PAGE = 65_307  # the longest page of an Ogg file, in bytes
_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")

# (position, the bytes there, the kind of file): kinds that people rename to .mp3, or download instead of audio.
_KINDS = (
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM file"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "a Windows Media (WMA) file"),
    (0, b"MThd", "a MIDI file: notes, not sound"),
    (0, b"wvpk", "a WavPack file"),
    (0, b"MAC ", "a Monkey's Audio (APE) file"),
    (0, b"MPCK", "a Musepack file"),
    (0, b"MP+", "a Musepack file"),
    (0, b"TTA1", "a True Audio file"),
    (0, b"DSD ", "a DSD file"),
    (0, b"FRM8", "a DSD file"),
    (0, b"#!AMR", "an AMR file"),
    (0, b"ADIF", "an AAC file"),
    (0, b"\x0bw", "an AC-3 file"),
    (0, b"FLV", "a Flash video"),
    (0, b"PK\x03\x04", "a ZIP archive: unpack it"),
    (0, b"\x1f\x8b", "a gzip archive: unpack it"),
    (0, b"Rar!", "a RAR archive: unpack it"),
    (0, b"7z\xbc\xaf", "a 7z archive: unpack it"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\x00\x05\x16\x07", "a resource file of macOS, which belongs to another file"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (8, b"AVI ", "an AVI video"),
)


def missing_bytes(file: BinaryIO, size: int) -> int:
    """Return how many bytes of samples a file lacks; libsndfile reads a cut file without reporting it.

    Knows WAV, RF64, BW64, AIFF, W64, CAF, AU and Ogg. Where the size means "unknown", nothing counts as missing.

    Args:
        file: The file, open at its start.
        size: Its size in bytes.

    Returns:
        0 if at most `TOLERATED_BYTES` are missing; 1 for an Ogg file whose end is missing.
    """
    head = file.read(40).ljust(40, b"\0")
    name, form = head[:4], head[8:12]
    if name in (b"RIFF", b"RIFX", b"RF64", b"BW64") and form == b"WAVE":
        missing = _missing_in_chunks(file, size, ">" if name == b"RIFX" else "<", b"data")
    elif name == b"FORM" and form in (b"AIFF", b"AIFC"):
        missing = _missing_in_chunks(file, size, ">", b"SSND")
    elif head[:16] == _W64_RIFF:
        missing = _missing_in_w64(file, size)
    elif name == b"caff":
        missing = _missing_in_caf(file, size)
    elif name in (b".snd", b"dns."):
        offset, length = struct.unpack(">II" if name == b".snd" else "<II", head[4:12])
        missing = 0 if _is_unknown(length) else offset + length - size
    elif name == b"OggS":
        return 0 if _ogg_ends(file, size) else 1
    else:
        return 0
    return missing if missing > TOLERATED_BYTES else 0


def overflowing_bytes(file: BinaryIO, size: int) -> int:
    """Return how many bytes a WAV above 4 GiB has beyond its declared size, a 32-bit number that wrapped around; else 0."""
    order = {b"RIFF": "<", b"RIFX": ">"}.get(file.read(12)[:4])
    if size < 1 << 32 or order is None:
        return 0
    file.seek(0)
    behind = -_missing_in_chunks(file, size, order, b"data")
    return behind if behind >= (1 << 32) - TOLERATED_BYTES else 0


def with_true_size(path: str | Path) -> Spliced | None:
    """Return a WAV with its size filled in, if its header says 0 although samples follow; else None.

    A program that is killed while it writes leaves 0 there, and libsndfile then reads no samples.
    """
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] not in (b"RIFF", b"RIFX") or head[8:] != b"WAVE":
            return None
        order = "<" if head[:4] == b"RIFF" else ">"
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack(order + "4sI", chunk)
            start = file.tell()
            if name == b"data":
                break
            file.seek(start + length + length % 2)
        else:
            return None
        if length or start >= size or _only_chunks_follow(file, size, order):
            return None
        file.seek(0)
        prefix = bytearray(file.read(start))
    struct.pack_into(order + "I", prefix, start - 4, min(size - start, 0xFFFFFFFF))
    struct.pack_into(order + "I", prefix, 4, min(size - 8, 0xFFFFFFFF))
    return Spliced(path, bytes(prefix), ((start, size),))


def _only_chunks_follow(file: BinaryIO, size: int, order: str) -> bool:
    """Tell whether nothing but chunks lies from here to the end: the file holds no samples."""
    while file.tell() < size:
        head = file.read(8)
        if len(head) < 8 or not head[:4].isascii() or not head[:4].strip().isalnum():
            return False
        length = struct.unpack(order + "I", head[4:])[0]
        if file.tell() + length > size:
            return False
        file.seek(length + length % 2, os.SEEK_CUR)
    return True


def name_content(head: bytes) -> str | None:
    """Return the kind of a file that starts with these bytes, if libsndfile does not read that kind; else None.

    >>> name_content(b"PK\\x03\\x04")
    'a ZIP archive: unpack it'
    """
    if head[4:8] == b"ftyp":
        return "an MP4 or M4A file (AAC or ALAC inside)"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "an AAC file"
    for start, magic, what in _KINDS:
        if head[start : start + len(magic)] == magic:
            return what
    text = head.lstrip().lower()
    return "a web page" if text.startswith((b"<!doctype html", b"<html")) else None


def _is_unknown(length: int) -> bool:
    return length in _UNKNOWN or any(length in sizes for sizes in _PIPED_SIZES)


def _missing_in_chunks(file: BinaryIO, size: int, order: str, wanted: bytes) -> int:
    """Return the bytes missing in a chunk of a RIFF or AIFF file; negative where bytes follow it."""
    file.seek(12)
    length_in_ds64 = None
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack(order + "4sI", head)
        if name == wanted:
            if length == 0xFFFFFFFF and length_in_ds64 is not None:
                length = length_in_ds64
            return 0 if _is_unknown(length) else file.tell() + length - size
        start = file.tell()
        if name == b"ds64" and length >= 16:
            length_in_ds64 = struct.unpack("<Q", file.read(16)[8:])[0]
        file.seek(start + length + length % 2)
    return 0


def _missing_in_w64(file: BinaryIO, size: int) -> int:
    position = 40  # behind the GUID of RIFF, the size and the GUID of WAVE
    while True:
        file.seek(position)
        head = file.read(24)
        if len(head) < 24:
            return 0
        length = struct.unpack("<Q", head[16:])[0]  # includes these 24 bytes
        if head[:4] == b"data":
            return 0 if length <= 24 or _is_unknown(length) else position + length - size
        if length < 24:
            return 0
        position += -(-length // 8) * 8


def _missing_in_caf(file: BinaryIO, size: int) -> int:
    file.seek(8)
    while len(head := file.read(12)) == 12:
        name, length = struct.unpack(">4sq", head)
        if length < 0:  # the chunk reaches to the end of the file
            return 0
        if name == b"data":
            return 0 if _is_unknown(length) else file.tell() + length - size
        file.seek(length, os.SEEK_CUR)
    return 0


def _ogg_ends(file: BinaryIO, size: int) -> bool:
    """Tell whether the last page of an Ogg file is whole and marked as the end of its stream."""
    start = max(0, size - 2 * _OGG_PAGE)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0:
        return True  # other data, longer than any page, follows: the end of the stream is unknown
    page = tail[at:]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


class Spliced(io.RawIOBase):
    """A read-only file made of a few bytes and of parts of another file."""

    def __init__(self, path: str | Path, prefix: bytes, runs: tuple[tuple[int, int], ...]) -> None:
        self._file = open(path, "rb")
        self._prefix, self._runs = prefix, runs
        self._size = len(prefix) + sum(end - start for start, end in runs)
        self._position = 0

    def close(self) -> None:
        """Close the other file."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer with the next bytes and return how many there were."""
        view, done = memoryview(buffer).cast("B"), 0
        for part in self._parts(len(view)):
            view[done : done + len(part)] = part
            done += len(part)
        self._position += done
        return done

    def _parts(self, wanted: int) -> Iterator[bytes]:
        """Yield the next bytes, part by part."""
        position = self._position
        if position < len(self._prefix):
            part = self._prefix[position : position + wanted]
            yield part
            wanted, position = wanted - len(part), position + len(part)
        start_of_run = len(self._prefix)
        for start, end in self._runs:
            inside = position - start_of_run
            if wanted > 0 and 0 <= inside < end - start:
                self._file.seek(start + inside)
                part = self._file.read(min(wanted, end - start - inside))
                yield part
                wanted, position = wanted - len(part), position + len(part)
            start_of_run += end - start
