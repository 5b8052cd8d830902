"""Encode and decode items of a data set for nussl's `transforms.Cache`, without running code from the cache."""

from __future__ import annotations

import io
from typing import Any

import numcodecs.abc
import numpy as np
import torch
import zarr

from ..errors import DataError
from ..safe_loading.safe_load import checkpoint_globals, dtype_globals, only, torch_reason


class ItemCodec(numcodecs.abc.Codec):
    """Writes objects with `torch.save`, and reads them by the rules of `safe_load`.

    nussl uses numcodecs' `Pickle`, which runs any code in the file; numcodecs 0.15.2 and later refuse to read it unless
    the whole process opts in. A process may read a cache that an earlier run or somebody else wrote. This codec needs no
    trust: it reads tensors, arrays, numbers, text and `AudioSignal`, and refuses anything else.
    """

    codec_id = "nussl_transfer.items"

    def encode(self, buf: Any) -> bytes:
        """Return an array of objects as bytes."""
        buffer = io.BytesIO()
        torch.save(list(np.asarray(buf, dtype=object).flat), buffer)
        return buffer.getvalue()

    def decode(self, buf: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Return the objects as a flat array."""
        with only(item_globals()):
            try:
                items = torch.load(io.BytesIO(bytes(buf)), map_location="cpu", weights_only=True)
            except Exception as error:  # a broken pickle can raise any exception
                raise DataError(
                    f"An item of the cache cannot be read ({torch_reason(error)}). Nothing in it was run. Fill the cache "
                    "again with overwrite=True, from items of tensors, arrays, signals and plain values."
                ) from error
        array = np.empty(len(items), dtype=object)
        for index, item in enumerate(items):
            array[index] = item
        if out is None:
            return array
        out[...] = array.reshape(out.shape)
        return out


class _BlankSignal:
    """Creates an empty AudioSignal for the file to fill; AudioSignal's own constructor could open a file."""

    def __new__(cls) -> Any:
        from nussl import AudioSignal

        return object.__new__(AudioSignal)


def item_globals() -> list[tuple[Any, str]]:
    """Return (object, its name in the file) for a checkpoint and, in addition, for signals and arrays."""
    from nussl import AudioSignal

    reconstruct = np.empty(0).__reduce__()[0]
    return [
        *checkpoint_globals(),
        (_BlankSignal, f"{AudioSignal.__module__}.{AudioSignal.__qualname__}"),
        (AudioSignal, "\n"),  # lets a file fill one, but not call the class: no name in a file has a line break
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (reconstruct, "numpy._core.multiarray._reconstruct"),
        (np.ndarray, "numpy.ndarray"),
        *dtype_globals("FD"),  # the complex numbers of an STFT
    ]


def open_cache(location: Any, mode: str, **kwargs: Any) -> zarr.Array:
    """Return `zarr.open(location, mode, ...)` if an array there was written with this codec.

    Raises:
        DataError: The array was written with another codec, for example by nussl alone; or zarr is not version 2.
    """
    if not zarr.__version__.startswith("2."):
        raise DataError(
            f"Cache {location} cannot be opened: got zarr {zarr.__version__}, expected zarr 2. Install 'zarr<3', or leave "
            "Cache out."
        )
    array = zarr.open(location, mode=mode, **kwargs)
    codecs = getattr(array, "filters", None) or []
    if [type(codec) for codec in codecs] != [ItemCodec]:
        raise DataError(
            f"Cache {location} was written with {codecs or 'no codec'}, for example by nussl without this package. Reading "
            "it could run any code, so it was not read. Fill it again with overwrite=True."
        )
    return array


def synchronizer() -> Any:
    """Return zarr 2's lock for threads, or None with zarr 3, for which `open_cache` raises."""
    return zarr.ThreadSynchronizer() if hasattr(zarr, "ThreadSynchronizer") else None
