"""Context managers in which nussl 1.1.9 is imported on today's packages.

nussl reads names at import that other packages have since dropped. Each context manager below puts such names back
until the import has ended, and does nothing where they still exist.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import shutil
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

from ..runtime.deferred import OnFirstUse, on_first_use

# Modules that nussl imports but uses only inside functions, and nussl's own modules that import ignite, TensorBoard
# or scikit-learn. Their import is deferred until they are used: it takes seconds and 200 MB.
LATE = (
    *("gpytorch", "jams", "museval", "norbert", "pandas", "termtables"),
    *("sklearn", "sklearn.decomposition", "sklearn.preprocessing"),
    *("nussl.ml.train", "nussl.ml.cluster", "nussl.ml.confidence"),
)


@contextlib.contextmanager
def while_nussl_imports() -> Iterator[None]:
    """Provide what nussl needs while it is imported, even if an earlier import of it failed."""
    forget_submodules("nussl", force=True)
    for package in ("museval", "musdb", "stempeg"):
        forget_submodules(package)
    with contextlib.ExitStack() as stack:
        stack.enter_context(quietly())
        stack.enter_context(window_functions())
        stack.enter_context(ffmpeg_by_name())
        stack.enter_context(sox_on_first_use())
        stack.enter_context(on_first_use(*LATE))
        yield


@contextlib.contextmanager
def while_training_imports() -> Iterator[None]:
    """Provide what nussl's training modules need while they are imported."""
    with quietly(), ignite_contrib():
        yield


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Suppress warnings.

    The import of nussl warns about scipy.ndimage.filters, pkg_resources and torch.jit.script. Only the authors of the
    packages that nussl imports can act on these warnings.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def forget_submodules(package: str, force: bool = False) -> None:
    """Drop the submodules that a failed import left in ``sys.modules`` without their package.

    Python removes a package whose import failed, but not the submodules that were imported before the failure. A second
    import would find those and not bind them to the new package.

    Args:
        package: Name of the package.
        force: Drop them although the package is in ``sys.modules``, as it is while its own code runs.
    """
    if force or package not in sys.modules:
        for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
            del sys.modules[name]


@contextlib.contextmanager
def window_functions() -> Iterator[None]:
    """Provide `scipy.signal.hamming`, `.hann` and `.blackman`, which nussl.core.constants reads.

    SciPy 1.1.0 moved the windows to `scipy.signal.windows`; 1.13.0 (April 2024) removed the old names.
    """
    import scipy.signal
    import scipy.signal.windows

    missing = [name for name in ("hamming", "hann", "blackman") if not hasattr(scipy.signal, name)]
    for name in missing:
        setattr(scipy.signal, name, getattr(scipy.signal.windows, name))
    try:
        yield
    finally:
        for name in missing:
            delattr(scipy.signal, name)


@contextlib.contextmanager
def ffmpeg_by_name() -> Iterator[None]:
    """Let stempeg be imported where ffmpeg and ffprobe are not on the PATH.

    nussl and museval import musdb, and musdb imports stempeg, which raises RuntimeError without the two programs. nussl
    catches the error, museval does not, so `import nussl` fails. Only `.stem.mp4` files need the programs. Here stempeg
    gets their bare names instead of paths: everything else works, and reading a `.stem.mp4` fails only if ffmpeg is still
    missing.
    """
    which = shutil.which
    if which("ffmpeg") and which("ffprobe"):
        yield
        return

    def which_or_name(cmd: Any, *args: Any, **kwargs: Any) -> Any:
        return which(cmd, *args, **kwargs) or (cmd if cmd in ("ffmpeg", "ffprobe") else None)

    shutil.which = which_or_name  # stempeg imports it inside a function
    try:
        yield
    finally:
        shutil.which = which


@contextlib.contextmanager
def sox_on_first_use() -> Iterator[None]:
    """Defer the import of pysox to the first effect that needs it, where the `sox` program is absent.

    pysox runs `sox -h` at import and, without the program, prints a page on how to install it. nussl uses pysox only
    where soxbindings is not installed. `time_stretch` and `pitch_shift`, the two effects that need SoX, still print it.
    """
    if "sox" in sys.modules or importlib.util.find_spec("soxbindings") or shutil.which("sox"):
        yield
        return
    sys.modules["sox"] = OnFirstUse("sox")
    try:
        yield
    finally:
        del sys.modules["sox"]


@contextlib.contextmanager
def ignite_contrib() -> Iterator[None]:
    """Provide `ignite.contrib.handlers.ProgressBar`, which nussl.ml.train.trainer imports.

    ignite 0.5.0 moved it to `ignite.handlers`; the old path still exists in 0.5.5 and is to be removed in 0.6.0.
    """
    try:
        importlib.import_module("ignite.contrib.handlers")
    except ImportError:
        pass
    else:
        yield
        return
    contrib, handlers = types.ModuleType("ignite.contrib"), types.ModuleType("ignite.contrib.handlers")
    vars(contrib)["handlers"] = handlers
    vars(handlers)["ProgressBar"] = importlib.import_module("ignite.handlers").ProgressBar
    put = {module.__name__: module for module in (contrib, handlers)}
    before = {name: sys.modules[name] for name in put if name in sys.modules}
    sys.modules.update(put)
    try:
        yield
    finally:
        for name in put:
            del sys.modules[name]
        sys.modules.update(before)
