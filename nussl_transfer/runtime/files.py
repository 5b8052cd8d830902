"""Write files atomically, read JSON with clear errors, and show any file name and system error.

A path may hold bytes that are not UTF-8; Python then keeps them as lone surrogates. JSON and YAML escape these and read
them back unchanged. Use `printable` to show such a path, and `write_text` to write a text that may quote one.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError, TransferError

LONGEST_NAME = 255  # bytes; the limit of ext4, APFS and NTFS (there UTF-16 units)
_ADVICE = {
    "ENOSPC": "the disk is full. Free some space or use another disk",
    "EDQUOT": "your disk quota is used up. Free some space or use another disk",
    "EFBIG": "this file system does not take such a large file. Use another disk",
    "EROFS": "it is on a read-only disk. Choose another folder",
    "EACCES": "permission is denied. Change its permissions or choose another folder",
    "EPERM": "the system does not permit it. Change its permissions or choose another folder",
    "ENAMETOOLONG": "the name is too long. Choose a shorter one",
    "ELOOP": "it is a link to itself. Remove the link",
}
ADVICE = {getattr(errno, name): text for name, text in _ADVICE.items() if hasattr(errno, name)}
# The disk is full, the quota is used up, the file is too large for the file system.
NO_ROOM = tuple(getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name))


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block succeeds, remove it otherwise.

    A reader finds the old file or the new one, never half of one, also after a kill or on a full disk. The temporary name
    starts with a dot and ends in ``.part``, so that searches for audio or checkpoints ignore it. A system error, such as
    that of a full disk, names ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / _name_aside(path.name)
    try:
        yield aside
        os.replace(aside, path)
    except OSError as error:
        if error.filename in (os.fspath(aside), aside) or (error.errno in NO_ROOM and error.filename is None):
            error.filename = os.fspath(path)
        raise
    finally:
        aside.unlink(missing_ok=True)


def _name_aside(name: str) -> str:
    end = f".{os.getpid()}.part"
    encoded = os.fsencode(name)
    if len(encoded) + len(end) + 1 > LONGEST_NAME:
        # A checksum, because two long names may begin alike.
        name = f"{os.fsdecode(encoded[: LONGEST_NAME // 2])}.{zlib.crc32(encoded):08x}"
    return f".{name}{end}"


def write_durably(path: str | Path, content: bytes | memoryview) -> None:
    """Write bytes atomically, and to the disk before the rename: a power cut leaves the old file or the new one."""
    with written_aside(path) as aside, aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_same(path: str | Path, source: str | Path) -> None:
    """Copy a file atomically, by a hard link where the file system has them."""
    with written_aside(path) as aside:
        try:
            os.link(source, aside)
        except OSError:
            shutil.copyfile(source, aside)


def write_text(path: str | Path, text: str) -> None:
    """Write a text atomically in UTF-8; bytes of file names that are not UTF-8 become escapes (see `printable`)."""
    with written_aside(path) as aside:
        aside.write_text(printable(text), encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write a value as JSON, atomically. Raises ValueError for NaN and infinity, which are not JSON."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(
    path: str | Path,
    keys: Sequence[str] = (),
    advice: str = "",
    version: int | None = None,
    error: type[TransferError] = DataError,
) -> dict:
    """Read a JSON object and check that it has the keys that the caller needs.

    Args:
        path: The file.
        keys: Keys that the object must have.
        advice: What the user should do if the file is missing or wrong; the last sentence of every error.
        version: What the object's "format" must be; None does not check it.
        error: The class of the errors.

    Raises:
        DataError: Or the class ``error``. The file is missing, is not a JSON object (NaN and Infinity are not JSON), has
            another format or lacks a key. The message names the file.
    """
    path = Path(path)
    name = printable(path)
    try:
        # Editors on Windows may begin a file with a byte order mark.
        value = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_reject_constant)
    except FileNotFoundError:
        raise error(f"{name} does not exist. {advice}".rstrip()) from None
    except (OSError, ValueError, RecursionError) as reason:
        raise error(f"{name} cannot be read as JSON: {reason}. {advice}".rstrip()) from reason
    if not isinstance(value, dict):
        raise error(f"{name} is wrong: got a JSON {type(value).__name__}, expected an object. {advice}".rstrip())
    if version is not None and value.get("format") != version:
        raise error(f"{name} is wrong: got format {value.get('format')!r}, expected {version}. {advice}".rstrip())
    lacking = [key for key in keys if key not in value]
    if lacking:
        raise error(f"{name} lacks {', '.join(lacking)}. {advice}".rstrip())
    return value


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def printable(text: str | os.PathLike) -> str:
    r"""Return a text or path that any UTF-8 stream takes: bytes that are not UTF-8 become escapes.

    Examples:
        >>> print(printable(os.fsdecode(b"fl\xf6te.wav")))
        fl\xf6te.wav
        >>> printable("Fl\u00f6te") == "Fl\u00f6te"
        True
    """
    return re.sub("[\ud800-\udfff]", _escape, os.fspath(text))


def _escape(surrogate: re.Match) -> str:
    code = ord(surrogate[0])
    # Python keeps byte 0xNN as U+DCNN (PEP 383).
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def explain_os_error(error: OSError) -> str:
    """Return one or two sentences that name the file, say what went wrong, and say what to do.

    Examples:
        >>> print(explain_os_error(OSError(errno.ENOSPC, "No space left on device", "run/curve.json")))
        run/curve.json: the disk is full. Free some space or use another disk, and run the same command again.
    """
    reason = ADVICE.get(error.errno or 0)
    if reason is None:
        return printable(str(error))
    where = f"{printable(os.fsdecode(error.filename))}: " if isinstance(error.filename, (str, bytes, os.PathLike)) else ""
    return f"{where}{reason}, and run the same command again."


def is_newer(made: Path, *sources: Path) -> bool:
    """Return whether a file exists and was modified after all the files that it is made from."""
    return made.exists() and all(made.stat().st_mtime_ns > source.stat().st_mtime_ns for source in sources)
