"""What is mended in nussl 1.1.9 once it is imported: one function each, confined to nussl's own modules.

Each looks first whether there is anything to mend: a second call, or a package old enough, changes nothing.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

import numcodecs
import scipy.signal

from ..errors import CheckpointError
from ..runtime.deferred import OnFirstUse
from ..safe_loading.safe_load import safe_load
from . import cache


class View(types.ModuleType):
    """A module that answers for another, except for the names given.

    Put in place of the name that one of nussl's modules imported (`nussl.core.audio_signal.librosa`), it
    changes what that one module finds there. The library, and everyone else who uses it, is left as it is.

    Args:
        module: the library, or one of its modules, to answer for.
        **names: what is to be found under a name instead of what the library has there.

    Examples:
        >>> import math
        >>> round_math = View(math, pi=3)
        >>> round_math.pi, round_math.tau > 6, math.pi > 3
        (3, True, True)
    """

    def __init__(self, module: types.ModuleType, **names):
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(names, _viewed=module)

    def __getattr__(self, name: str):  # asked only for what is not in __dict__
        return getattr(self.__dict__["_viewed"], name)


def repair_resample() -> None:
    """`AudioSignal.resample`, and with it every file at another rate than the model's.

    librosa 0.10.0 (February 2023) made all but the first argument of `librosa.resample` keyword-only; nussl
    passes both rates by position. (The method is librosa's default of today, soxr_hq; it was kaiser_best.)
    """
    from nussl.core import audio_signal

    librosa = audio_signal.librosa
    if isinstance(librosa, View) or not _takes_no_positions(librosa):
        return

    def resample(y, orig_sr, target_sr, **kwargs):
        return librosa.resample(y, orig_sr=orig_sr, target_sr=target_sr, **kwargs)

    audio_signal.librosa = View(librosa, resample=resample)


def repair_mel_projection() -> None:
    """`MelProjection`, which calls `librosa.filters.mel` by position: keyword-only since librosa 0.10.0."""
    from nussl.ml.networks.modules import blocks

    librosa = blocks.librosa
    if isinstance(librosa, View) or not _takes_no_positions(librosa):
        return
    filters = OnFirstUse("librosa.filters")

    def mel(sr, n_fft, n_mels=128, **kwargs):
        return filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels, **kwargs)

    blocks.librosa = View(librosa, filters=View(filters, mel=mel))


def repair_hanning() -> None:
    """`OverlapAdd()`, whose default window is 'hanning', and that name wherever nussl takes a window's.

    SciPy 1.9.0 (July 2022) dropped it; the same window is 'hann'.
    """
    from nussl.core import audio_signal

    if isinstance(audio_signal.scipy, View) or _knows_window("hanning"):
        return

    def get_window(window, *args, **kwargs):
        return scipy.signal.get_window("hann" if window == "hanning" else window, *args, **kwargs)

    def check_COLA(window, *args, **kwargs):  # asked whenever stft_params are set
        return scipy.signal.check_COLA("hann" if window == "hanning" else window, *args, **kwargs)

    audio_signal.check_COLA = check_COLA
    audio_signal.scipy = View(audio_signal.scipy, signal=View(scipy.signal, get_window=get_window))


def repair_model_loading() -> None:
    """`SeparationModel.load`, and with it every deep separator.

    torch 2.6 (January 2025) made `weights_only=True` the default of `torch.load`, which then refuses the
    STFTParams and transforms in every nussl checkpoint. Before 2.6 it ran whatever the file said, so this
    is put in place for every torch.
    """
    from nussl.core import migration

    if not isinstance(migration.torch, View):
        migration.torch = View(migration.torch, load=_load_model)


def repair_cache() -> None:
    """`transforms.Cache` and `cache_dataset`.

    numcodecs 0.15.2 refuses to decode its `Pickle`, the codec that nussl asks for; older ones run whatever
    the cache says, so this is put in place for each. zarr 3.0 (January 2025) dropped the arguments that
    nussl opens a cache with: there, the error says so. (zarr finds codecs by name in numcodecs' list, to
    which ours is added by the function that numcodecs has for it.)
    """
    from nussl.datasets import transforms

    if isinstance(transforms.zarr, View):
        return
    numcodecs.register_codec(cache.ItemCodec)
    transforms.numcodecs = View(transforms.numcodecs, Pickle=cache.ItemCodec)
    transforms.zarr = View(transforms.zarr, open=cache.open_cache, ThreadSynchronizer=cache.synchronizer)


def cache_layer_source() -> None:
    """`SeparationModel`, which keeps the text of each layer's class in its configuration.

    To find a class, `inspect` parses the whole file that it is in (until Python 3.13): seven times for a ChimeraNet, and
    for each model anew; a fifth of a second. Here each file is parsed once.
    """
    from nussl.ml.networks import separation_model

    if not isinstance(separation_model.inspect, View):
        separation_model.inspect = View(inspect, getsource=_source_of)


REPAIRS: tuple[Callable[[], None], ...] = (
    repair_resample,
    repair_mel_projection,
    repair_hanning,
    repair_model_loading,
    repair_cache,
    cache_layer_source,
)


def _source_of(kind: type) -> str:
    """Returns the text of a class, as `inspect.getsource` does; of one that is no module's own, by that."""
    try:
        return _sources_in(kind.__module__)[kind.__qualname__]
    except (KeyError, OSError, TypeError):
        return inspect.getsource(kind)


@functools.cache
def _sources_in(module: str) -> dict[str, str]:
    """Returns the texts of the classes at a module's top level."""
    text = inspect.getsource(sys.modules[module])
    lines = text.splitlines(keepends=True)
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and not node.decorator_list]
    return {node.name: "".join(lines[node.lineno - 1 : node.end_lineno]) for node in classes}


def _takes_no_positions(librosa: types.ModuleType) -> bool:
    """Returns whether librosa is 0.10 or later; its functions are not looked at, for that would import them."""
    major, minor = librosa.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (0, 10)


def _knows_window(name: str) -> bool:
    try:
        scipy.signal.get_window(name, 4)
    except ValueError:
        return False
    return True


def _load_model(path: Any, map_location: Any = "cpu") -> dict[str, Any]:
    """Returns what nussl's `SafeModelLoader` reads; what is no nussl model is told so in a sentence."""
    loaded = safe_load(path, map_location=map_location)
    missing = [key for key in ("state_dict", "metadata") if not isinstance(loaded.get(key), dict)]
    if missing:
        found = ", ".join(map(str, list(loaded)[:5])) or "nothing"
        raise CheckpointError(
            f"Checkpoint {path}: this is no nussl model, it has no {' and no '.join(missing)} (found: "
            f"{found}). Save the model with nussl's SeparationModel.save."
        )
    return loaded
