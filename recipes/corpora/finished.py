"""When a corpus is whole: its note is written last, and says what was asked for."""

from __future__ import annotations

import json
from pathlib import Path

from nussl_transfer.errors import ConfigError
from nussl_transfer.files import write_json

ABOUT = "corpus.json"


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


def finish(out: Path, request: dict, about: dict) -> None:
    """Notes that a corpus is whole: what was asked for and what was made."""
    write_json(out / ABOUT, {"request": request, **about})
