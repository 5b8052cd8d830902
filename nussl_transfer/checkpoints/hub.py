"""Download a model from the Hugging Face hub: ``hf://owner/name[@revision][/file]``.

The hub's own client downloads the files into the user's folder. A branch or tag is resolved to its commit first, and the
hash of every file is compared with the one that the hub states. This module does not load the files: ``safe_load`` does.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from ..errors import CheckpointError
from ..runtime.download import home
from ..runtime.log import logger
from ..safe_loading.hub_format import CONFIG, WEIGHTS

PREFIX = "hf://"
ADDRESS = re.compile(r"hf://(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)(?:@(?P<revision>[^/]+))?(?:/(?P<file>[\w.-]+))?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
CHECKPOINT = re.compile(r"[\w.-]+\.pth", re.ASCII)
MOST_BYTES = 2 * 2**30  # the paper's network has 80 MB
TIMEOUT = 30.0  # seconds


class HubAddress(NamedTuple):
    """A model on the hub.

    Attributes:
        repository: ``owner/name``.
        revision: Branch, tag or commit; slashes of a branch are written ``%2F``.
        file: The file to download; None for the only model of the repository.
    """

    repository: str
    revision: str = "main"
    file: str | None = None


def parse_address(address: str) -> HubAddress:
    """Return the parts of an address.

    Raises:
        CheckpointError: It is not one.

    >>> parse_address("hf://somebody/quartet@v1")
    HubAddress(repository='somebody/quartet', revision='v1', file=None)
    """
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise CheckpointError(
            f"{address!r} is not the address of a model on the hub. Write hf://owner/name, hf://owner/name@revision, or "
            "hf://owner/name@revision/file.pth."
        )
    revision = (found["revision"] or "main").replace("%2F", "/")
    return HubAddress(f"{found['owner']}/{found['name']}", revision, found["file"])


def download_from_hub(address: str) -> Path:
    """Download a model once, and return its file: ``model.safetensors``, or a checkpoint of nussl's.

    A repository needs ``model.safetensors`` with ``config.json``, or exactly one ``.pth`` file. Files ``.full.pth``, which
    are for fine-tuning, do not count: name one to get it. Without a connection, an earlier download is used.

    Args:
        address: ``hf://owner/name[@revision][/file]``. Without a revision, the branch main is taken, and its commit logged.
            The hub is ``https://huggingface.co``, or the environment variable ``HF_ENDPOINT``.

    Raises:
        CheckpointError: There is no such model, it cannot be reached, or a file has another hash.
    """
    wanted = parse_address(address)
    endpoint = os.environ.get("HF_ENDPOINT") or None
    cache = home() / "hub"
    try:
        listed = _list(wanted, endpoint)
    except ConnectionError as error:
        return _from_cache(address, wanted, cache, error)
    except OSError as error:  # the client's errors of repositories, revisions and access
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"Model {address} cannot be read from the hub: {reason} Check the address.") from error
    commit, files = listed
    names = _choose(address, wanted, list(files))
    try:
        paths = [_download(wanted.repository, name, commit, endpoint, cache) for name in names]
    except OSError as error:
        raise CheckpointError(
            f"{address} cannot be downloaded into {cache}: {error}. Check the connection, and the room on the disk. Set "
            "NUSSL_TRANSFER_HOME to use another folder."
        ) from error
    for name, path in zip(names, paths, strict=True):
        _check_hash(address, path, files[name])
    if wanted.revision != commit:
        _remember(wanted, commit, cache)
        pinned = f"{PREFIX}{wanted.repository}@{commit}"
        logger.info("%s is at commit %s. To use exactly this one again, write %s.", address, commit, pinned)
    return paths[0]


def _list(wanted: HubAddress, endpoint: str | None) -> tuple[str, dict[str, str | None]]:
    """Return the commit of a revision, and the hash of each file: SHA-256, or git's SHA-1 for a small file.

    Raises:
        ConnectionError: The hub cannot be reached.
        OSError: It answers with an error.
    """
    import requests
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        info = HfApi(endpoint=endpoint, library_name="nussl_transfer").model_info(
            wanted.repository, revision=wanted.revision, files_metadata=True, timeout=TIMEOUT
        )
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code >= 500:
            raise ConnectionError(f"it answers {error.response.status_code}") from error
        raise
    except (OfflineModeIsEnabled, requests.ConnectionError, requests.Timeout) as error:
        raise ConnectionError("it cannot be reached") from error
    files = {}
    for file in info.siblings or ():
        if (file.size or 0) <= MOST_BYTES:
            files[file.rfilename] = file.lfs.sha256 if file.lfs else file.blob_id
    return str(info.sha), files


def _choose(address: str, wanted: HubAddress, names: list[str]) -> list[str]:
    """Return the files to download, the one to open first.

    Raises:
        CheckpointError: The repository has no such file, or several models.
    """
    checkpoints = [name for name in names if CHECKPOINT.fullmatch(name)]
    if wanted.file in (*checkpoints, WEIGHTS) and wanted.file in names:
        return [wanted.file] if wanted.file != WEIGHTS else [WEIGHTS, CONFIG]
    to_separate = [name for name in checkpoints if not name.endswith(".full.pth")]
    if wanted.file is None:
        if {WEIGHTS, CONFIG} <= set(names):
            return [WEIGHTS, CONFIG]
        if len(to_separate) == 1:
            return to_separate
    found = ", ".join(sorted([*checkpoints, *({WEIGHTS, CONFIG} & set(names))])) or "none"
    raise CheckpointError(
        f"{address} does not lead to one model: its repository needs {WEIGHTS} and {CONFIG}, or one .pth file; it has "
        f"{found}. Name one of them: {PREFIX}{wanted.repository}@{wanted.revision}/FILE."
    )


def _download(repository: str, name: str, commit: str, endpoint: str | None, cache: Path) -> Path:
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(
        repository,
        name,
        revision=commit,
        cache_dir=cache,
        endpoint=endpoint,
        library_name="nussl_transfer",
        etag_timeout=TIMEOUT,
    )
    return Path(path)


def _check_hash(address: str, path: Path, expected: str | None) -> None:
    """Compare a file with a SHA-256, or with git's SHA-1 of a file.

    Raises:
        CheckpointError: It differs. The file is deleted.
    """
    content = path.read_bytes()
    if expected is not None and len(expected) == 64:
        found = hashlib.sha256(content).hexdigest()
    else:
        found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    if found != expected:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise CheckpointError(
            f"{address}: {path.name} has the wrong hash: got {found}, expected {expected}. It was deleted. Try again; if "
            "the error persists, tell the author of the model."
        )


def _refs(repository: str, cache: Path) -> Path:
    return cache / f"models--{repository.replace('/', '--')}" / "refs"


def _remember(wanted: HubAddress, commit: str, cache: Path) -> None:
    """Record which commit a branch or tag points to, in the file where the hub's client records it."""
    ref = _refs(wanted.repository, cache) / wanted.revision
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit, encoding="utf-8")


def _from_cache(address: str, wanted: HubAddress, cache: Path, error: Exception) -> Path:
    commit = wanted.revision
    ref = _refs(wanted.repository, cache) / wanted.revision
    if not COMMIT.fullmatch(commit) and ref.is_file():
        commit = ref.read_text(encoding="utf-8").strip()
    folder = _refs(wanted.repository, cache).parent / "snapshots" / commit
    names = [path.name for path in folder.iterdir()] if COMMIT.fullmatch(commit) and folder.is_dir() else []
    if not names:
        raise CheckpointError(
            f"Model {address} cannot be downloaded: the hub cannot be reached ({error}), and it was not downloaded before. "
            "Check the connection."
        ) from error
    chosen = _choose(address, wanted, names)
    for name in chosen:
        # On systems with symbolic links, the client stores a file under its hash and links to it.
        stored = (folder / name).resolve().name
        if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", stored):
            _check_hash(address, folder / name, stored)
    logger.info("%s: the hub cannot be reached; using the earlier download of commit %s.", address, commit)
    return folder / chosen[0]
