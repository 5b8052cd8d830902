"""Repair nussl 1.1.9 once it is imported: one function per repair.

The repairs change nussl's own modules only, with two exceptions: nussl's classes join torch's list of safe classes, and our
codec joins numcodecs' registry. A second call of a function changes nothing. Some repairs are skipped if the package that
they are about is old enough not to need them.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

import numcodecs
import scipy.signal
import torch

from ..errors import CheckpointError, TransferError
from ..runtime.deferred import OnFirstUse
from ..safe_loading.safe_load import checkpoint_globals, safe_load
from . import cache


class View(types.ModuleType):
    """A module that replaces a few names of another, for one of nussl's modules alone.

    nussl's module gets a view in place of the library that it imported (`nussl.core.audio_signal.librosa`). The library
    itself, and everyone else who uses it, is unchanged.

    Args:
        module: The library, or one of its modules.
        **names: The replacements, by name.

    Examples:
        >>> import math
        >>> round_math = View(math, pi=3)
        >>> round_math.pi, round_math.tau > 6, math.pi > 3
        (3, True, True)
    """

    def __init__(self, module: types.ModuleType, **names: Any):
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(names, _viewed=module)

    def __getattr__(self, name: str) -> Any:  # called only for names not in __dict__
        return getattr(self.__dict__["_viewed"], name)


def repair_resample() -> None:
    """Repair `AudioSignal.resample`, which nussl calls for every file at another sample rate than the model's.

    librosa 0.10.0 (February 2023) made all but the first argument of `librosa.resample` keyword-only; nussl
    passes both rates by position. (librosa's default method is soxr_hq now; it was kaiser_best.)
    """
    from nussl.core import audio_signal

    librosa = audio_signal.librosa
    if isinstance(librosa, View) or not _requires_keywords(librosa):
        return

    def resample(y: Any, orig_sr: float, target_sr: float, **kwargs: Any) -> Any:
        return librosa.resample(y, orig_sr=orig_sr, target_sr=target_sr, **kwargs)

    audio_signal.librosa = View(librosa, resample=resample)


def repair_mel_projection() -> None:
    """Repair `MelProjection`, which calls `librosa.filters.mel` by position; 0.10.0 made its arguments keyword-only."""
    from nussl.ml.networks.modules import blocks

    librosa = blocks.librosa
    if isinstance(librosa, View) or not _requires_keywords(librosa):
        return
    filters = OnFirstUse("librosa.filters")

    def mel(sr: float, n_fft: int, n_mels: int = 128, **kwargs: Any) -> Any:
        return filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels, **kwargs)

    blocks.librosa = View(librosa, filters=View(filters, mel=mel))


def repair_hanning() -> None:
    """Accept the window name 'hanning' wherever nussl takes a window; it is the default of `OverlapAdd()`.

    SciPy 1.9.0 (July 2022) dropped the name; the same window is 'hann'.
    """
    from nussl.core import audio_signal

    if isinstance(audio_signal.scipy, View) or _knows_window("hanning"):
        return

    def get_window(window: Any, *args: Any, **kwargs: Any) -> Any:
        return scipy.signal.get_window("hann" if window == "hanning" else window, *args, **kwargs)

    def check_COLA(window: Any, *args: Any, **kwargs: Any) -> Any:  # called whenever stft_params are set
        return scipy.signal.check_COLA("hann" if window == "hanning" else window, *args, **kwargs)

    audio_signal.check_COLA = check_COLA
    audio_signal.scipy = View(audio_signal.scipy, signal=View(scipy.signal, get_window=get_window))


def repair_model_loading() -> None:
    """Repair `SeparationModel.load`, which every deep separator calls.

    torch 2.6 (January 2025) made `weights_only=True` the default of `torch.load`, which refuses the STFTParams and
    transforms in every nussl checkpoint. Older versions run any code in the file, so the repair applies to every torch.
    """
    from nussl.core import migration

    if not isinstance(migration.torch, View):
        migration.torch = View(migration.torch, load=_load_model)


def repair_cache() -> None:
    """Repair `transforms.Cache` and `cache_dataset`.

    numcodecs 0.15.2 refuses to decode its `Pickle`, the codec that nussl uses. Older versions run any code in the cache, so
    the repair applies to every version. zarr 3.0 (January 2025) dropped the arguments with which nussl opens a cache; with
    zarr 3, opening a cache raises an error that says so. (zarr looks up codecs by name in numcodecs' registry, which gets
    ours.)
    """
    from nussl.datasets import transforms

    if isinstance(transforms.zarr, View):
        return
    numcodecs.register_codec(cache.ItemCodec)
    transforms.numcodecs = View(transforms.numcodecs, Pickle=cache.ItemCodec)
    transforms.zarr = View(transforms.zarr, open=cache.open_cache, ThreadSynchronizer=cache.synchronizer)


def repair_report_card() -> None:
    """Repair `nussl.evaluation.report_card`, which takes the mean of all columns, even of text.

    pandas 2.0 (April 2023) no longer skips such columns: ``DataFrame.mean`` raises. Here the two columns of text are
    dropped first; nussl does not count them among the metrics either.
    """
    module = importlib.import_module("nussl.evaluation.report_card")  # `nussl.evaluation.report_card` is the function
    for name in ("_get_mean_and_std", "_get_medians"):
        if not hasattr(summary := getattr(module, name), "__wrapped__"):
            setattr(module, name, _of_numbers(summary))


def repair_plain_loading() -> None:
    """Let ``torch.load`` open a file that nussl saved with ``weights_only=True``, torch's default since 2.6.

    torch refuses `STFTParams` and nussl's transforms. They only keep their arguments, so they join torch's list of safe
    classes. NumPy's numbers, which a trained model's loss history may hold, are not nussl's and are not added: load such
    a file with nussl's `SeparationModel.load`.
    """
    classes = [thing for thing, name in checkpoint_globals() if name.startswith("nussl.")]
    known = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([thing for thing in classes if thing not in known])


def repair_interact() -> None:
    """Explain why `interact` of nussl's separators, written for gradio 2 and 3, fails with later versions.

    gradio 4.0 (October 2023) removed ``gradio.inputs``. Without it, `interact` raises an error that names what to call.
    """
    from nussl.separation.base.separation_base import SeparationBase

    interact = SeparationBase.interact
    if hasattr(interact, "__wrapped__"):
        return

    @functools.wraps(interact)
    def interact_or_explain(self: SeparationBase, *args: Any, **kwargs: Any) -> Any:
        if importlib.util.find_spec("gradio") is None or not hasattr(importlib.import_module("gradio"), "inputs"):
            raise TransferError(
                "interact() needs gradio 3 or older. For a page in the browser, run `nussl-transfer app --model "
                "CHECKPOINT`. For files, call the separator, then each estimate's write_audio_to_file(path)."
            )
        return interact(self, *args, **kwargs)

    SeparationBase.interact = interact_or_explain


def cache_layer_source() -> None:
    """Make `SeparationModel` faster: it stores the source code of each layer's class in its configuration.

    To find a class, `inspect` parses its whole file (until Python 3.13): seven times for each ChimeraNet, a fifth of a
    second. Here each file is parsed once.
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
    repair_report_card,
    repair_plain_loading,
    repair_interact,
    cache_layer_source,
)


def _of_numbers(summary: Callable) -> Callable:
    """Wrap a function of a table of scores so that it gets the table without its columns of text."""

    @functools.wraps(summary)
    def of_numbers(df: Any, *args: Any, **kwargs: Any) -> Any:
        return summary(df.drop(columns=["source", "file"], errors="ignore"), *args, **kwargs)

    return of_numbers


def _source_of(kind: type) -> str:
    """Return the source code of a class, as `inspect.getsource` does."""
    try:
        return _sources_in(kind.__module__)[kind.__qualname__]
    except (KeyError, OSError, TypeError):
        return inspect.getsource(kind)


@functools.cache
def _sources_in(module: str) -> dict[str, str]:
    """Return the source code of the classes at a module's top level, by name."""
    text = inspect.getsource(sys.modules[module])
    lines = text.splitlines(keepends=True)
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and not node.decorator_list]
    return {node.name: "".join(lines[node.lineno - 1 : node.end_lineno]) for node in classes}


def _requires_keywords(librosa: types.ModuleType) -> bool:
    """Return whether librosa is 0.10 or later, and so takes keywords. Inspecting its functions would import them."""
    major, minor = librosa.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (0, 10)


def _knows_window(name: str) -> bool:
    try:
        scipy.signal.get_window(name, 4)
    except ValueError:
        return False
    return True


def _load_model(path: Any, map_location: Any = "cpu") -> dict[str, Any]:
    """Return a checkpoint's content for nussl's `SafeModelLoader`; raise CheckpointError if it is no nussl model."""
    loaded = safe_load(path, map_location=map_location)
    missing = [key for key in ("state_dict", "metadata") if not isinstance(loaded.get(key), dict)]
    if missing:
        found = ", ".join(map(str, list(loaded)[:5])) or "nothing"
        raise CheckpointError(
            f"Checkpoint {path} is not a nussl model: it has no {' and no '.join(missing)} (found: {found}). Save the "
            "model with nussl's SeparationModel.save."
        )
    return loaded
