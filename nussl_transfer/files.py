"""Stage 0: files that are whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Gives a name beside ``path`` to write to; renames it to ``path`` when the block ends well, removes it if not.

    A reader, and a run that is killed or meets a full disk, finds the old file or the new one, never half of
    one. The name starts with a dot and ends in ``.part``, so that no search for audio or checkpoints takes it
    for one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: str | Path, value: object) -> None:
    """Writes a value as JSON, aside and renamed."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def is_newer(made: Path, *sources: Path) -> bool:
    """Returns whether a file is there and was made after all those that it is made from."""
    return made.exists() and all(made.stat().st_mtime_ns > source.stat().st_mtime_ns for source in sources)
