"""Lock a folder, so that only one process at a time writes to it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# The file that is locked.
LOCK = ".lock"
# The locks of a process, by process and path, with the number of blocks that hold each. A forked process inherits this
# table but no lock.
_held: dict[tuple[int, Path], int] = {}


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Within the block, no other process can lock the same folder. Blocks of one process may nest.

    Missing folders are made, down to this one. Those that are still empty after the block are removed again.

    The operating system releases the lock when the process ends, so a leftover lock file does not block. It is a record
    lock (`lockf`): unlike with `flock`, forked DataLoader workers do not keep it when this process is killed. On a file
    system without locks, the block runs without one.

    Args:
        folder: The folder.

    Raises:
        ConfigError: Another process has locked the folder.
    """
    folder = Path(folder).absolute()
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(os.path.realpath(folder)) / LOCK
    key = (os.getpid(), path)
    if key in _held:
        _held[key] += 1
        try:
            yield
        finally:
            _held[key] -= 1
        return
    file = _acquire(path, folder)
    _held[key] = 1
    try:
        yield
    finally:
        del _held[key]
        _release(path, file)
        with suppress(OSError):  # the first folder that is not empty ends the loop
            for one in made:
                one.rmdir()


def _acquire(path: Path, folder: Path) -> IO[str]:
    while True:
        folder.mkdir(parents=True, exist_ok=True)  # the last holder of the lock may have just removed it, as empty
        try:
            file = path.open("a+", encoding="utf-8")
        except FileNotFoundError:
            continue
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise ConfigError(
                f"{folder} is in use: {holder} is writing to it. Wait for it, stop it, or use another folder."
            ) from None
        except OSError:  # a file system without locks
            return file
        if os.name == "nt" or (path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())):
            break
        file.close()  # the last holder of the lock has just removed the file
    with suppress(OSError):  # on a full disk the lock works, but does not name its holder
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
    return file


def _lock(file: IO[str]) -> None:
    if fcntl is not None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt

    # Lock a byte far behind the text, so that others can still read who holds the lock.
    file.seek(1 << 20)
    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)


def _release(path: Path, file: IO[str]) -> None:
    if fcntl is None:
        file.close()
        path.unlink(missing_ok=True)
    else:
        path.unlink(missing_ok=True)  # before another process can lock it
        file.close()
