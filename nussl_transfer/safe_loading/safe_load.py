"""Load a checkpoint: weights only, and only names on a list.

A pickle names functions and classes, and its author chooses their arguments. So the lists here hold only functions and
classes that do nothing but keep their arguments. Some of nussl's own classes are left out on purpose:

* `transforms.Cache` deletes its folder when it is made with ``overwrite=True``. nussl removes it from the transforms
  before it saves a model, so no checkpoint needs it.
* `AudioSignal` opens a file when it is made with a path. No checkpoint contains one.
* Data sets, separators, `SeparationModel`: a checkpoint contains weights and a configuration as text, not objects.
* NumPy arrays: a checkpoint contains tensors, and of NumPy only the numbers in the loss history.

References:
    https://docs.pytorch.org/docs/stable/notes/serialization.html#weights-only-security
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import CheckpointError
from .hub_format import read_hub_format
from .pickle_audit import LEGACY_START, TORCH_NAMES, AuditError, names_declared
from .weights_audit import check_finite, check_weights

# torch has one list for the whole process, so only one thread may change it at a time.
_LIST_LOCK = threading.RLock()


def safe_load(path: str | os.PathLike, map_location: Any = "cpu") -> dict[str, Any]:
    """Return the content of a checkpoint without running foreign code.

    Args:
        path: A file written by `torch.save`, for example by nussl's `SeparationModel.save`.
        map_location: The device for the tensors, as in `torch.load`.

    Raises:
        CheckpointError: The file is missing, damaged or not a checkpoint, or names a function or class that is not on
            the list.
    """
    path = Path(path)
    loaded = read_hub_format(path) if path.suffix == ".safetensors" else _load_pickle(path, map_location)
    if not isinstance(loaded, dict):
        raise CheckpointError(
            f"Checkpoint {path} is wrong: got a {type(loaded).__name__}, expected a dictionary of weights and metadata. "
            "Save the model with nussl's SeparationModel.save."
        )
    if isinstance(loaded.get("state_dict"), dict) and isinstance(loaded.get("metadata"), dict):
        check_weights(path, loaded)
        check_finite(path, loaded["state_dict"])
    return loaded


def _load_pickle(path: Path, map_location: Any) -> Any:
    _check_torch_wrote_it(path)
    _check_declarations(path)
    with only(checkpoint_globals()):
        try:
            return torch.load(path, map_location=map_location, weights_only=True)
        except Exception as error:  # a broken pickle can raise any exception: KeyError, struct.error, ...
            raise CheckpointError(_damaged(path, error)) from error


def checkpoint_globals() -> list[tuple[Any, str]]:
    """Return (object, its name in the file) for everything that a nussl checkpoint needs.

    Tensors, storages and OrderedDict are on torch's own list. The transforms here only keep their arguments.
    """
    from nussl import STFTParams
    from nussl.datasets import transforms as tfm

    classes = [
        STFTParams,
        tfm.Compose,
        tfm.MagnitudeSpectrumApproximation,
        tfm.PhaseSensitiveSpectrumApproximation,
        tfm.MagnitudeWeights,
        tfm.ToSeparationModel,
        tfm.SumSources,
        tfm.LabelsToOneHot,
        tfm.IndexSources,
        tfm.GetExcerpt,
        tfm.GetAudio,
    ]
    # A NumPy number is pickled as scalar(dtype, bytes). NumPy 2 moved `scalar`, so a file may have either path.
    scalar = np.float64(0).__reduce__()[0]
    return [
        *((cls, f"{cls.__module__}.{cls.__qualname__}") for cls in classes),
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        (np.dtype, "numpy.dtype"),
        *dtype_globals("?bhilqBHILQefd"),  # booleans, integers, floats; no objects, no records
    ]


def dtype_globals(codes: str) -> list[tuple[type, str]]:
    """Return the classes of NumPy types (`Float64DType` for "d") with their names.

    A file contains ``numpy.dtype("f8")`` and then its byte order. torch sets the byte order only if the class of the
    resulting object is on the list, too.
    """
    classes = {type(np.dtype(code)) for code in codes}
    return [(cls, f"numpy.dtypes.{cls.__name__}") for cls in classes]


@contextlib.contextmanager
def only(names: list[tuple[Any, str]]) -> Iterator[None]:
    """Within the block, let `torch.load(weights_only=True)` accept exactly these names and torch's own.

    Within the block, classes that the process has added by `torch.serialization.add_safe_globals` are not accepted. After
    it they are again. (torch's own `safe_globals` would afterwards remove a class that is on both lists.)
    """
    with _LIST_LOCK:
        before = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals([*names])
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)


def torch_reason(error: Exception) -> str:
    """Return why torch did not load a file, without torch's advice to load it with ``weights_only=False``.

    torch raises the advice while it handles the actual error.
    """
    reason = error.__context__ if isinstance(error.__context__, pickle.UnpicklingError) else error
    text = str(reason).partition(" Please use")[0].strip()
    return f"{type(reason).__name__}: {text}" if text else type(reason).__name__


def _check_torch_wrote_it(path: Path) -> None:
    if path.is_dir():
        raise CheckpointError(f"Checkpoint {path} is a folder. Give the .pth file in it.")
    if not path.exists():
        raise CheckpointError(f"Checkpoint {path} does not exist.")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise CheckpointError(f"Checkpoint {path} cannot be read: {error}.") from error
    if not start:
        raise CheckpointError(f"Checkpoint {path} is empty. Copy or download it again.")
    # torch >= 1.6 writes a zip archive; before that it wrote pickles, and first its magic number.
    if start != b"PK\x03\x04" and start != LEGACY_START[:4]:
        raise CheckpointError(f"Checkpoint {path} was not saved by PyTorch: it begins with {start!r}. Give a .pth file.")


def _check_declarations(path: Path) -> None:
    """Raise CheckpointError if a file names something foreign, or declares more than it contains."""
    allowed = {name for _, name in checkpoint_globals()} | TORCH_NAMES
    try:
        foreign = sorted(names_declared(path) - allowed)
    except AuditError as error:
        raise CheckpointError(
            f"Checkpoint {path} is not valid: {error}. Nothing in the file was run. Copy or download it again; if the "
            "error persists, do not trust its author."
        ) from error
    except Exception as error:  # a broken pickle or archive can raise any exception
        raise CheckpointError(_damaged(path, error)) from error
    if foreign:
        raise CheckpointError(
            f"Checkpoint {path} names {', '.join(foreign)}. No nussl checkpoint needs that, and it could run any code. "
            "Nothing in the file was run. If you trust the author, ask them to save the model again with nussl's "
            "SeparationModel.save, with only plain values and nussl's own transforms in its metadata."
        )


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"Checkpoint {path} is damaged, truncated, or another kind of file ({torch_reason(error)}). Nothing in the file "
        "was run. Copy or download it again."
    )
