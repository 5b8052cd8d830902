"""Reading a file of pickled objects, whoever made it: weights only, and a list of what it may name.

A pickle names functions and classes, and the file's author chooses what they are called with. So nothing may
be on the lists here that does more than hold what it is given. Left out of nussl's own, on purpose:

* `transforms.Cache`: made with `overwrite=True`, it deletes the folder it is given. nussl takes it out of
  the transforms before it saves a model, so no checkpoint needs it.
* `AudioSignal`: made with a path, it opens that file. No checkpoint has one.
* data sets, separators, `SeparationModel`: a checkpoint has the network's weights and, as text, its
  configuration, not the objects.
* NumPy's arrays: a checkpoint has tensors; of NumPy only the numbers in the loss history.

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
from . import pickle_audit as outline
from . import weights_audit as networks

# torch keeps one list for the whole process: two threads must not set it at once.
_LIST_LOCK = threading.RLock()


def safe_load(path: str | os.PathLike, map_location: Any = "cpu") -> dict[str, Any]:
    """Returns what a checkpoint holds, having run nothing but what a nussl checkpoint needs.

    Args:
        path: a file written by `torch.save`, nussl's `SeparationModel.save` for one.
        map_location: the device to put tensors on, as for `torch.load`.

    Raises:
        CheckpointError: the file is missing, is not a checkpoint or not a whole one, or names a function
            or class that is not on the list.
    """
    path = Path(path)
    _check_torch_wrote_it(path)
    _check_what_it_declares(path)
    with only(checkpoint_globals()):
        try:
            loaded = torch.load(path, map_location=map_location, weights_only=True)
        except Exception as error:  # a broken pickle can end in any of them: KeyError, struct.error, ...
            raise CheckpointError(_damaged(path, error)) from error
    if not isinstance(loaded, dict):
        raise CheckpointError(
            f"Checkpoint {path}: it holds one {type(loaded).__name__}, not a dictionary of "
            f"weights and metadata. Save the model with nussl's SeparationModel.save."
        )
    if isinstance(loaded.get("state_dict"), dict) and isinstance(loaded.get("metadata"), dict):
        networks.check_trainable(path, loaded)
    return loaded


def checkpoint_globals() -> list[tuple[Any, str]]:
    """Returns (object, the name that a file may call it by) for all that a nussl checkpoint needs.

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
    # A NumPy number is pickled as scalar(dtype, bytes), and NumPy 2 moved `scalar`: a file may have either
    # path, whichever NumPy reads it.
    scalar = np.float64(0).__reduce__()[0]
    return [
        *((cls, f"{cls.__module__}.{cls.__qualname__}") for cls in classes),
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        (np.dtype, "numpy.dtype"),
        *dtype_globals("?bhilqBHILQefd"),  # truth values, integers, floats: no objects, no records
    ]


def dtype_globals(codes: str) -> list[tuple[type, str]]:
    """Returns the classes of these NumPy types (`Float64DType` for "d"), by their names.

    `numpy.dtype("f8")`, as a file has it, comes out as one of them, and torch sets its byte order, which is
    the next thing in the file, only if that class too is on the list.
    """
    classes = {type(np.dtype(code)) for code in codes}
    return [(cls, f"numpy.dtypes.{cls.__name__}") for cls in classes]


@contextlib.contextmanager
def only(names: list[tuple[Any, str]]) -> Iterator[None]:
    """Has `torch.load(weights_only=True)` accept exactly these, beside torch's own, inside the `with`.

    What the process had allowed by `torch.serialization.add_safe_globals` does not hold inside, and is back
    afterwards (torch's own `safe_globals` would then have taken away what both lists have).
    """
    with _LIST_LOCK:
        before = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(names)
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)


def torch_reason(error: Exception) -> str:
    """Returns why torch would not load a file, without its advice to load it with no list at all.

    torch raises the advice while it handles the reason.
    """
    reason = error.__context__ if isinstance(error.__context__, pickle.UnpicklingError) else error
    text = str(reason).partition(" Please use")[0].strip()
    return f"{type(reason).__name__}: {text}" if text else type(reason).__name__


def _check_torch_wrote_it(path: Path) -> None:
    if path.is_dir():
        raise CheckpointError(f"Checkpoint {path}: this is a folder. Give the .pth file in it.")
    if not path.exists():
        raise CheckpointError(f"Checkpoint {path}: there is no such file.")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise CheckpointError(f"Checkpoint {path}: it cannot be read ({error}).") from error
    if not start:
        raise CheckpointError(f"Checkpoint {path}: the file is empty. Copy or download it again.")
    # torch >= 1.6 writes a zip archive; before that it wrote pickles, the first of them of one number.
    if start != b"PK\x03\x04" and start != outline.LEGACY_START[:4]:
        raise CheckpointError(
            f"Checkpoint {path}: this is not a file that PyTorch saved (it begins with {start!r}). Give a .pth file."
        )


def _check_what_it_declares(path: Path) -> None:
    """Refuses a file that names what is not allowed, or declares more than it has, before any of it is made."""
    allowed = {name for _, name in checkpoint_globals()} | outline.TORCH_NAMES
    try:
        foreign = sorted(outline.names_declared(path) - allowed)
    except outline.Refused as error:
        raise CheckpointError(
            f"Checkpoint {path}: {error}. No nussl checkpoint does, so the file was refused and nothing of it was run. "
            "Copy or download it again, and doubt whoever made it."
        ) from error
    except Exception as error:  # a broken pickle or archive can end in any of them
        raise CheckpointError(_damaged(path, error)) from error
    if foreign:
        raise CheckpointError(
            f"Checkpoint {path}: it asks for {', '.join(foreign)}. No nussl checkpoint needs that, and "
            f"it could run anything, so the file was refused and nothing of it was run. If you trust its "
            f"author, ask for it saved again with nussl's SeparationModel.save and nothing in its "
            f"metadata but plain values and nussl's own transforms."
        )


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"Checkpoint {path}: it cannot be read as a checkpoint, and nothing of it was run. It is "
        f"damaged, cut short, or another kind of file ({torch_reason(error)}). Copy or download it again."
    )
