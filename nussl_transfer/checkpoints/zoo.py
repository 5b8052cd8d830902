"""Find the file of a checkpoint by name, path, run folder, web address or hub address.

``zoo.json`` lists the published models::

    {"NAME": {"what": one line, "file": in the package, or "url": on the web, "sha256": of the file, "bytes": its size,
              "sources": [labels], "mode": , "parent": , "data": , "score": , "license": }}

Users can add names in a ``zoo.json`` of the same form in their own folder (``NUSSL_TRANSFER_HOME``). ``nussl-transfer
publish`` writes the entry of a model.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from ..errors import CheckpointError, ConfigError, FetchError
from ..runtime.download import fetch, home, is_url
from .hub import PREFIX, download_from_hub

MODELS = Path(__file__).parent / "weights"
REGISTRY = Path(__file__).parent / "zoo.json"
# The paper's network has 80 MB in single precision.
MOST_BYTES = 2 * 2**30


def models() -> dict[str, dict]:
    """Return the entry of every published model: the package's, and those of the user's own list.

    Raises:
        CheckpointError: The user's own list cannot be read, or uses a name of the package's.
    """
    known = json.loads(REGISTRY.read_text(encoding="utf-8"))
    own = home() / "zoo.json"
    if not own.is_file():
        return known
    try:
        added = json.loads(own.read_text(encoding="utf-8"))
        if not all(isinstance(about, dict) and about.keys() & {"file", "url"} for about in added.values()):
            raise ValueError("an entry has neither a file nor a url")
        if taken := sorted(added.keys() & known.keys()):
            raise ValueError(f"{', '.join(taken)} is the name of a model of nussl_transfer; rename the entry")
    except (ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"The list of models {own} is wrong: {error}. Correct it, or delete it.") from error
    return {**known, **{name: {"own": True, **about} for name, about in added.items()}}


def check_name_is_free(name: str) -> None:
    """Raise ConfigError if a published model has this name already."""
    if name in models():
        raise ConfigError(f"The name {name!r} is taken by a published model. Choose another name.")


def card(name: str) -> str:
    """Return the model card of a published model, as Markdown.

    Raises:
        CheckpointError: There is no such model.
    """
    known = models()
    if name not in known:
        raise CheckpointError(f"There is no published model {name!r}. {_names(known)}")
    written = MODELS / f"{name}.md"
    if written.is_file() and not known[name].get("own"):
        return written.read_text(encoding="utf-8")
    return "\n".join([f"# {name}", "", *(f"- {key}: {_plain(value)}" for key, value in known[name].items())]) + "\n"


def resolve(model: str | Path) -> Path:
    """Return the file of a checkpoint; a file on the web is downloaded once, into the user's folder.

    Args:
        model: One of

            * the name of a published model, such as ``quartet``;
            * a file, or the folder of a run, whose best network is taken. An existing ``pathlib.Path`` is never taken for
              a name;
            * an address, ``https://.../model.pth``. ``#sha256=...`` after it checks the file;
            * a model on the Hugging Face hub, ``hf://owner/name`` or ``hf://owner/name@revision``.

    Raises:
        CheckpointError: There is no such model; the name fits both a published model and a file or run; or the
            downloaded file has the wrong hash.
    """
    name, path = str(model), Path(model)
    if isinstance(model, str):
        if name.startswith(PREFIX):
            return download_from_hub(name)
        if is_url(name):
            return _addressed(name)
    known = models()
    is_there = path.is_file() or (path / "checkpoints").is_dir()
    if name in known and is_there and isinstance(model, str):
        kind = "file" if path.is_file() else "run"
        raise CheckpointError(
            f"{name!r} is both a published model and a {kind} in this folder. Write ./{name} for the {kind}. For the "
            f"published model, work in another folder or rename the {kind}."
        )
    if not is_there:
        if name in known:
            return _named(name, known[name])
        raise CheckpointError(
            f"There is no model {name!r}: no such file or run, and no published model. {_names(known)} Give a name, a "
            "checkpoint file, the folder of a run, an address, or hf://owner/name."
        )
    best = path / "checkpoints" / "best.model.pth"
    if path.is_dir() and not best.is_file():
        raise CheckpointError(f"The run {path} has no best network yet. Train it further, or give one of its checkpoints.")
    return path if path.is_file() else best


def _named(name: str, about: dict) -> Path:
    if "file" in about:
        return (home() if about.get("own") else MODELS) / about["file"]
    digest = about.get("sha256")
    if not digest:
        raise CheckpointError(f"The entry of model {name!r} lacks its sha256, so it was not downloaded. Add it.")
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
            f"{url} cannot be downloaded into {path.parent}: {error}. Set NUSSL_TRANSFER_HOME to a folder that can be "
            "written and has room."
        ) from error


def _names(known: dict) -> str:
    return f"Published models: {', '.join(sorted(known))}."


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
