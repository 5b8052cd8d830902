"""When a corpus is whole, and what is done of one that is not.

The file `unfinished` marks a corpus in the making: its first line is the request, and each track that is whole adds one.
A rendering that was stopped goes on after the last of them. In the end `corpus.json` is written, and the mark goes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from nussl_transfer.errors import ConfigError
from nussl_transfer.runtime.files import write_json

ABOUT = "corpus.json"
UNFINISHED = "unfinished"


def is_finished(out: Path, request: dict) -> bool:
    """Return whether a folder holds the finished corpus of a request; its note is written last.

    Raises:
        ConfigError: It holds a finished corpus of another request.
    """
    if not (out / ABOUT).exists():
        return False
    found = json.loads((out / ABOUT).read_text(encoding="utf-8"))["request"]
    if found != request:
        changed = sorted(key for key in {*found, *request} if found.get(key) != request.get(key))
        raise ConfigError(f"Asked to render into {out}: it holds a corpus of another request ({', '.join(changed)} "
                          "differ). Choose another folder or remove this one.")
    return True


def begin(out: Path, request: dict | None = None, keep: Iterable[str] = ()) -> dict[str, dict]:
    """Make a folder ready for a corpus and marks it; return what is done of it already, name -> what was noted.

    Args:
        out: The folder.
        request: What is asked for. An unfinished corpus of the same request goes on; of any other one, or where this is
            None, all is taken away.
        keep: Names that stay in any case.

    Raises:
        ConfigError: The folder holds anything else; nothing of it is touched.
    """
    found = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if found and UNFINISHED not in found:
        raise ConfigError(f"Asked to render into {out}: it holds other things ({', '.join(found[:3])}). Choose a "
                          "folder that is empty or does not exist.")
    if found and request is not None:
        first, *rest = read_lines(out / UNFINISHED) or [None]
        if first == request:
            for left in out.rglob(".*.part"):  # files that were being written when a rendering was killed
                left.unlink()
            return {line["name"]: line["about"] for line in rest}
    out.mkdir(parents=True, exist_ok=True)
    (out / UNFINISHED).touch()
    for path in out.iterdir():
        if path.name not in (UNFINISHED, *keep):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (out / UNFINISHED).write_text("" if request is None else json.dumps(request) + "\n", encoding="utf-8")
    return {}


def read_lines(path: Path) -> list[dict]:
    """Return the lines of a mark; a last one that was cut off is taken away, so that the next starts a line."""
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        path.write_bytes(b"".join(lines := lines[:-1]))
    return [json.loads(line) for line in lines]


def note(out: Path, name: str, about: dict) -> None:
    """Note that a track is whole."""
    with (out / UNFINISHED).open("a", encoding="utf-8") as mark:
        mark.write(json.dumps({"name": name, "about": about}) + "\n")


def finish(out: Path, request: dict, about: dict) -> None:
    """Note that a corpus is whole: what was asked for and what was made."""
    write_json(out / ABOUT, {"request": request, **about})
    (out / UNFINISHED).unlink()
