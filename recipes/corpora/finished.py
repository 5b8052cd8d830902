"""When a corpus is whole: its note is written last, and says what was asked for. Until then a mark says it is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from nussl_transfer.errors import ConfigError
from nussl_transfer.files import write_json

ABOUT = "corpus.json"
UNFINISHED = "unfinished"


def is_finished(out: Path, request: dict) -> bool:
    """Returns whether a folder holds the finished corpus of a request; its note is written last.

    Raises:
        ConfigError: It holds a finished corpus of another request.
    """
    if not (out / ABOUT).exists():
        return False
    found = json.loads((out / ABOUT).read_text())["request"]
    if found != request:
        changed = sorted(key for key in {*found, *request} if found.get(key) != request.get(key))
        raise ConfigError(f"Asked to render into {out}: it holds a corpus of another request ({', '.join(changed)} "
                          "differ). Choose another folder or remove this one.")
    return True


def begin(out: Path, keep: Iterable[str] = ()) -> None:
    """Makes a folder ready for a corpus: takes away what an unfinished one left, but for some names, and marks it.

    Raises:
        ConfigError: The folder holds anything else; nothing of it is touched.
    """
    found = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if found and UNFINISHED not in found:
        raise ConfigError(f"Asked to render into {out}: it holds other things ({', '.join(found[:3])}). Choose a "
                          "folder that is empty or does not exist.")
    out.mkdir(parents=True, exist_ok=True)
    (out / UNFINISHED).touch()
    for path in out.iterdir():
        if path.name not in (UNFINISHED, *keep):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def finish(out: Path, request: dict, about: dict) -> None:
    """Notes that a corpus is whole: what was asked for and what was made."""
    write_json(out / ABOUT, {"request": request, **about})
    (out / UNFINISHED).unlink()
