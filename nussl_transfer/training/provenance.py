"""Record where a result came from: versions, commit, seed and stores."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from ..runtime.download import sha256
from ..store.manifest import MANIFEST
from ..store.store import Store

PACKAGES = ("nussl", "torch", "pytorch-ignite", "numpy", "scipy", "librosa", "soundfile", "soxr")


def provenance(stores: Iterable[Store] = (), seed: int | None = None, experiment: dict | None = None) -> dict:
    """Return where a run came from, as plain values.

    Args:
        stores: The training data.
        seed: Seed of the run.
        experiment: The experiment as resolved, if there is one.

    Returns:
        ``versions`` of Python and packages; ``commit`` of this package's source (None outside git), and ``changed``:
        whether the source differs from it; ``seed``; ``stores``: the SHA-256 of each manifest, by folder; ``experiment``.
    """
    from .. import __version__

    known = {"nussl-transfer": __version__, "python": platform.python_version()}
    found = {
        "versions": {**known, **{name: _version(name) for name in PACKAGES}},
        **commit_of(Path(__file__).parent),
        "seed": seed,
        "stores": {str(store.folder): _hash_if_there(store.folder / MANIFEST) for store in stores},
    }
    return found if experiment is None else {**found, "experiment": experiment}


def commit_of(folder: Path) -> dict:
    """Return the commit of the source in a folder, and whether the source was changed since; None without one.

    A folder that git does not track, such as an installed package inside somebody's repository, has no commit.
    """
    tracked = _git(folder, "ls-files", "--error-unmatch", "__init__.py")
    if tracked is None:
        return {"commit": None, "changed": None}
    status = _git(folder, "status", "--porcelain", "--untracked-files=no", ".")
    return {"commit": _git(folder, "rev-parse", "HEAD"), "changed": None if status is None else bool(status)}


def _git(folder: Path, *words: str) -> str | None:
    """Return git's output; None if git is missing or fails."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _hash_if_there(path: Path) -> str | None:
    return sha256(path) if path.is_file() else None
