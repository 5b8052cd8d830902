"""Items of a data set as bytes and back, for nussl's `transforms.Cache`, without running what a file says."""

from __future__ import annotations

import io
import types
from typing import Any

import numcodecs.abc
import numpy as np
import torch
import zarr

from ..errors import DataError
from ..safe_loading.safe_load import checkpoint_globals, dtype_globals, only, torch_reason


class ItemCodec(numcodecs.abc.Codec):
    """Keeps objects as `torch.save` writes them, and reads them back by the safe loader's rules.

    nussl gives zarr numcodecs' `Pickle`, which runs whatever the file says; numcodecs 0.15.2 and later
    refuse to read it unless the whole process opts in to that. A cache is a folder on disk like any other,
    and nussl means it to be read by later runs as well, so "this process wrote it" cannot be the test of
    trust. This codec needs none: what an item is made of (tensors, arrays, numbers, text, `AudioSignal`) is
    read back, and a cache that asks for anything else is refused.
    """

    codec_id = "nussl_transfer.items"

    def encode(self, buf) -> bytes:
        """Returns an array of objects as bytes."""
        buffer = io.BytesIO()
        torch.save(list(np.asarray(buf, dtype=object).flat), buffer)
        return buffer.getvalue()

    def decode(self, buf, out=None):
        """Returns the array of objects that `encode` was given, flat."""
        with only(item_globals()):
            try:
                items = torch.load(io.BytesIO(bytes(buf)), map_location="cpu", weights_only=True)
            except Exception as error:  # a broken pickle can end in any of them
                raise DataError(
                    f"Cache: an item cannot be read back, and nothing of it was run "
                    f"({torch_reason(error)}). Fill the cache again with overwrite=True, from "
                    f"items of tensors, arrays, signals and plain values."
                ) from error
        array = np.empty(len(items), dtype=object)
        for index, item in enumerate(items):
            array[index] = item
        if out is None:
            return array
        out[...] = array.reshape(out.shape)
        return out


class _BlankSignal:
    """An AudioSignal as a file may make it: empty, to be filled; its constructor would open a file."""

    def __new__(cls):
        from nussl import AudioSignal

        return object.__new__(AudioSignal)


def item_globals() -> list[tuple[Any, str]]:
    """Returns what an item of a nussl data set needs beside what a checkpoint does: signals and arrays."""
    from nussl import AudioSignal

    reconstruct = np.empty(0).__reduce__()[0]
    return [
        *checkpoint_globals(),
        (_BlankSignal, f"{AudioSignal.__module__}.{AudioSignal.__qualname__}"),
        (AudioSignal, "\n"),  # may be filled, but not called: a file's names end at the end of a line
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (reconstruct, "numpy._core.multiarray._reconstruct"),
        (np.ndarray, "numpy.ndarray"),
        *dtype_globals("FD"),  # the complex numbers of an STFT
    ]


def open_cache(location, mode: str, **kwargs) -> zarr.Array:
    """Returns `zarr.open(location, mode, ...)`, if what it finds there was written with this codec.

    Raises:
        DataError: what is there was written with another codec (by nussl alone, for one), or zarr is not 2.
    """
    if not zarr.__version__.startswith("2."):
        raise DataError(
            f"Cache {location}: nussl's Cache is written for zarr 2, and zarr {zarr.__version__} "
            f"does not take its arguments. Install 'zarr<3', or leave Cache out."
        )
    array = zarr.open(location, mode=mode, **kwargs)
    codecs = getattr(array, "filters", None) or []
    if [type(codec) for codec in codecs] != [ItemCodec]:
        raise DataError(
            f"Cache {location}: it was written with {codecs or 'no codec'}, which could run "
            f"anything when read, so it was not read. Fill it again with overwrite=True."
        )
    return array


def synchronizer():
    """Returns zarr 2's lock for threads; None with zarr 3, where `open_cache` says what is wrong."""
    return getattr(zarr, "ThreadSynchronizer", types.NoneType)()
