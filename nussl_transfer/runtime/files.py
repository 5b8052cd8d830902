"""Stage 0: files that are whole or not there."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError

# No space on the device, no more for this user, a file larger than may be.
NO_ROOM = tuple(getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name))


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Gives a name beside ``path`` to write to; renames it to ``path`` when the block ends well, removes it if not.

    A reader, and a run that is killed or meets a full disk, finds the old file or the new one, never half of
    one. The name starts with a dot and ends in ``.part``, so that no search for audio or checkpoints takes it
    for one. An error of the system, such as a full disk, names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        yield aside
        os.replace(aside, path)
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        aside.unlink(missing_ok=True)


def write_durably(path: str | Path, content: bytes | memoryview) -> None:
    """Writes bytes, aside and renamed once they are on the disk: a power cut, too, leaves the old file or the new one."""
    with written_aside(path) as aside, aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_same(path: str | Path, source: str | Path) -> None:
    """Has a file hold what another holds now, aside and renamed: a second name for it, where the disk has that."""
    with written_aside(path) as aside:
        try:
            os.link(source, aside)
        except OSError:
            shutil.copyfile(source, aside)


def write_json(path: str | Path, value: object) -> None:
    """Writes a value as JSON, aside and renamed."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path, keys: Sequence[str] = (), advice: str = "", version: int | None = None) -> dict:
    """Read a JSON object and check that it has the keys that the caller needs.

    Args:
        path: The file.
        keys: Keys that the object must have.
        advice: What the user should do if the file is missing or wrong; the last sentence of every error.
        version: What the object's "format" must be; None does not check it.

    Raises:
        DataError: The file is missing, is not a JSON object (NaN and Infinity are not JSON), has another format or lacks
            a key. The message names the file.
    """
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_reject_constant)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. {advice}".rstrip()) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}. {advice}".rstrip()) from error
    if not isinstance(value, dict):
        raise DataError(f"{path} is wrong: got a JSON {type(value).__name__}, expected an object. {advice}".rstrip())
    if version is not None and value.get("format") != version:
        raise DataError(f"{path} is wrong: got format {value.get('format')!r}, expected {version}. {advice}".rstrip())
    lacking = [key for key in keys if key not in value]
    if lacking:
        raise DataError(f"{path} lacks {', '.join(lacking)}. {advice}".rstrip())
    return value


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def is_newer(made: Path, *sources: Path) -> bool:
    """Returns whether a file is there and was made after all those that it is made from."""
    return made.exists() and all(made.stat().st_mtime_ns > source.stat().st_mtime_ns for source in sources)
