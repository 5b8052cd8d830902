"""Which files are separated, and where what comes of each is written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..audio.io import EXTENSIONS
from ..errors import DataError


def safe_names(labels: Sequence[str]) -> dict[str, str]:
    """Returns a file name for each label, none of which leaves its folder or meets another.

    A checkpoint comes from a stranger, and so do its labels.

    >>> safe_names(["violin", "../../x", "a/b", "a_b"])
    {'violin': 'violin', '../../x': '_.._x', 'a/b': 'a_b', 'a_b': 'a_b_2'}
    """
    names: dict[str, str] = {}
    for label in labels:
        names[label] = free_name(safe_name(str(label)), names.values())
    return names


def safe_name(text: str) -> str:
    """Returns text as the name of a file: without separators, and not hidden.

    >>> safe_name("../a:b")
    '_a_b'
    """
    # Letters of any script, digits and a few harmless marks stay. A leading dot would hide the file.
    return re.sub(r"[^\w .,+&()'-]", "_", text).strip(" .")[:100] or "source"


def free_name(name: str, taken: Iterable[str]) -> str:
    """Returns a name, with a number where it is taken; on many disks, case makes no difference.

    >>> free_name("mix", ["Mix", "mix_2"])
    'mix_3'
    """
    taken = {other.casefold() for other in taken}
    base, number = name, 2
    while name.casefold() in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def output_folders(inputs: Sequence[str | Path], out: Path) -> dict[Path, Path]:
    """Returns each audio file to be separated, and a folder of its own for what comes of it.

    Args:
        inputs: Audio files, and folders of them at any depth, whose structure is kept.
        out: Where all folders lie. It may lie in an input: what is in it is no input.

    Raises:
        DataError: A folder holds no audio.
    """
    folders: dict[Path, Path] = {}
    for given in map(Path, inputs):
        for path in _audio_under(given, out) if given.is_dir() else [given]:
            if path in folders:
                continue
            above = path.parent.relative_to(given).parts if given.is_dir() else ()
            parent = out.joinpath(*map(safe_name, above))
            beside = [folder.name for folder in folders.values() if folder.parent == parent]
            folders[path] = parent / free_name(safe_name(path.stem), beside)
    return folders


def _audio_under(folder: Path, out: Path) -> list[Path]:
    found = []
    for parent, below, names in os.walk(folder):
        below[:] = sorted(
            name for name in below if not name.startswith(".") and (Path(parent) / name).resolve() != out.resolve()
        )
        paths = [Path(parent) / name for name in sorted(names) if not name.startswith(".")]
        found += [path for path in paths if path.suffix.lower() in EXTENSIONS]
    if not found:
        raise DataError(
            f"{folder} was to be separated: it holds no audio file ({', '.join(EXTENSIONS)}). Give another, or files."
        )
    return found
