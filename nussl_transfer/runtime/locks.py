"""Stage 0: one process a folder."""

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
    fcntl = None

# The locks that a process holds, and how many blocks hold each; a forked process has this too, and holds none.
_held: dict[tuple[int, Path], int] = {}


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Within the block no other process can enter a block for the same folder; blocks of one process may nest.

    The lock is the system's, and goes with the process however that ends: a lock file that was left behind
    does not block. It is a record lock (`lockf`), not `flock`'s: processes forked within the block, which load,
    do not hold on to it when this one is killed. A file system that has no locks does not keep anyone out.

    Args:
        folder: Made when absent.

    Raises:
        ConfigError: Another process holds the folder.
    """
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(os.path.realpath(folder)) / ".lock"
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


def _acquire(path: Path, folder: Path) -> IO[str]:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise ConfigError(
                f"{folder} was to be written to: {holder} is at work there. Wait for it, stop it, or take another folder."
            ) from None
        except OSError:  # a file system without locks
            return file
        if os.name == "nt" or (path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())):
            break
        file.close()  # who held it removed it just now
    with suppress(OSError):  # on a full disk it is held without a name
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
    return file


def _lock(file: IO[str]) -> None:
    if fcntl is not None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt

    # A byte far behind what is written, so that others may still read who holds it.
    file.seek(1 << 20)
    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)


def _release(path: Path, file: IO[str]) -> None:
    if fcntl is None:
        file.close()
        path.unlink(missing_ok=True)
    else:
        path.unlink(missing_ok=True)  # before another can have it
        file.close()
