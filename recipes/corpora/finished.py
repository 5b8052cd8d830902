"""Track the progress of a corpus, so that an interrupted rendering resumes.

The file `unfinished` marks an incomplete corpus. Its first line holds the options; each complete track adds a line. An
interrupted rendering resumes with the first track that has no line. At the end, `corpus.json` replaces the file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nussl_transfer.errors import ConfigError
from nussl_transfer.runtime.files import write_json

ABOUT = "corpus.json"
UNFINISHED = "unfinished"


def is_finished(out: Path, request: dict) -> bool:
    """Return whether a folder holds the finished corpus of these options; `corpus.json` is written last.

    Raises:
        ConfigError: It holds a finished corpus made with other options.
    """
    if not (out / ABOUT).exists():
        return False
    found = json.loads((out / ABOUT).read_text(encoding="utf-8"))["request"]
    if found != request:
        changed = sorted(key for key in {*found, *request} if found.get(key) != request.get(key))
        raise ConfigError(f"{out} holds a corpus made with other options ({', '.join(changed)} differ). "
                          "Choose another folder or remove this one.")
    return True


def begin(out: Path, request: dict | None = None, keep: Iterable[str] = ()) -> dict[str, dict]:
    """Prepare a folder for a corpus and mark it as unfinished; return its complete tracks, name -> entry.

    Args:
        out: The folder.
        request: Options of the corpus. An unfinished corpus of the same options resumes. With other options, or None, its
            files are removed.
        keep: Names of files that are never removed.

    Raises:
        ConfigError: The folder holds other files. It is left unchanged.
    """
    found = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if found and UNFINISHED not in found:
        raise ConfigError(f"{out} holds other files ({', '.join(found[:3])}). Choose a folder that is empty or does not "
                          "exist.")
    if found and request is not None:
        first, *rest = read_lines(out / UNFINISHED) or [None]
        if first == request:
            for left in out.rglob(".*.part"):  # temporary files of a killed rendering
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
    """Return the lines of a progress file; remove a truncated last line, so that the next entry starts a new one."""
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        path.write_bytes(b"".join(lines := lines[:-1]))
    return [json.loads(line) for line in lines]


def note(out: Path, name: str, about: dict) -> None:
    """Record that a track is complete."""
    with (out / UNFINISHED).open("a", encoding="utf-8") as mark:
        mark.write(json.dumps({"name": name, "about": about}) + "\n")


def finish(out: Path, request: dict, about: dict) -> None:
    """Record that a corpus is complete, with its options and its tracks."""
    write_json(out / ABOUT, {"request": request, **about})
    (out / UNFINISHED).unlink()


@contextmanager
def made_aside(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside another, and rename it to the other when the block succeeds."""
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
