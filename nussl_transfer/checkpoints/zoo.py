"""Stage 8, the zoo: a name, a path or an address becomes the file of a checkpoint.

``zoo.json`` says what is known of every checkpoint that has a name::

    {"NAME": {"what": one line, "file": of the package, or "url": where it is, "sha256": of the file, "bytes": its size,
              "sources": [labels], "mode": , "parent": , "data": , "score": , "license": }}

A file of that name and form in the user's own folder (``NUSSL_TRANSFER_HOME``) adds to it: `nussl-transfer publish`
writes the entry.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from ..errors import CheckpointError, FetchError
from ..runtime.download import fetch, home, is_url

MODELS = Path(__file__).parent / "weights"
REGISTRY = Path(__file__).parent / "zoo.json"
# A network of the paper's size in single precision has 80 MB.
MOST_BYTES = 2 * 2**30


def models() -> dict[str, dict]:
    """Returns what is known of every checkpoint that has a name: the package's, and the user's own.

    Raises:
        CheckpointError: The user's own list cannot be read.
    """
    known = json.loads(REGISTRY.read_text(encoding="utf-8"))
    own = home() / "zoo.json"
    if own.is_file():
        try:
            added = json.loads(own.read_text(encoding="utf-8"))
            if not all(isinstance(about, dict) and about.keys() & {"file", "url"} for about in added.values()):
                raise ValueError("an entry has neither a file nor a url")
        except (ValueError, AttributeError) as error:
            raise CheckpointError(f"{own} was read for names of models: {error}. Mend it, or take it away.") from error
        # A bundled file is the package's: only an address, or a path of one's own, can be added.
        known = {**{name: {"own": True, **about} for name, about in added.items()}, **known}
    return known


def card(name: str) -> str:
    """Returns what there is to read about a model that has a name, as Markdown.

    Raises:
        CheckpointError: There is no such name.
    """
    known = models()
    if name not in known:
        raise CheckpointError(f"The card of {name!r} was asked for: {_names(known)}.")
    written = MODELS / f"{name}.md"
    if written.is_file() and not known[name].get("own"):
        return written.read_text(encoding="utf-8")
    return "\n".join([f"# {name}", "", *(f"- {key}: {_plain(value)}" for key, value in known[name].items())]) + "\n"


def resolve(model: str | Path) -> Path:
    """Returns the file of a checkpoint that is given by name, by path, or by its address on the web.

    What has an address is fetched once, into the user's cache, and taken from there without a connection. Of one with
    a name the SHA-256 is known; for another, ``https://.../model.pth#sha256=...`` gives it.

    Raises:
        CheckpointError: There is no file and no name like this, or what was fetched is not the file that it should be.
    """
    known, name = models(), str(model)
    if name in known:
        return _named(name, known[name])
    if is_url(name):
        return _addressed(name)
    path = Path(model)
    if path.is_file():
        return path
    if (best := path / "checkpoints" / "best.model.pth").is_file():
        return best  # the folder of a run
    raise CheckpointError(
        f"Model {name!r} was asked for: there is no such file, and {_names(known)}. Give a name, a checkpoint, its "
        "address, or the folder of a run."
    )


def _named(name: str, about: dict) -> Path:
    if "file" in about:
        return (home() if about.get("own") else MODELS) / about["file"]
    digest = about.get("sha256")
    if not digest:
        raise CheckpointError(f"Model {name!r} was asked for: its entry has no sha256, so it was not fetched. Add it.")
    return _fetched(about["url"], home() / "models" / f"{digest[:16]}.pth", digest, about.get("bytes") or MOST_BYTES)


def _addressed(url: str) -> Path:
    address, fragment = urldefrag(url)
    digest = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None
    file = re.sub(r"[^\w.-]", "_", Path(unquote(urlsplit(address).path)).name).strip(".") or "model.pth"
    folder = home() / "models" / hashlib.sha256(address.encode()).hexdigest()[:16]
    return _fetched(address, folder / file, digest, MOST_BYTES)


def _fetched(url: str, path: Path, digest: str | None, most_bytes: int) -> Path:
    try:
        return fetch(url, path, digest and f"sha256:{digest}", most_bytes, progress=True)
    except FetchError as error:
        raise CheckpointError(str(error)) from error
    except OSError as error:
        raise CheckpointError(
            f"{url} was to be fetched into {path.parent}: {error}. Set NUSSL_TRANSFER_HOME to a folder with room that can "
            "be written."
        ) from error


def _names(known: dict) -> str:
    return f"the names are {', '.join(sorted(known))}"


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
