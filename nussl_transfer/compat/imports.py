"""What has to hold while nussl 1.1.9 is imported on today's packages; all of it is taken away again."""

from __future__ import annotations

import contextlib
import sys
import types
import shutil
import warnings


@contextlib.contextmanager
def old_window_functions():
    import scipy.signal
    import scipy.signal.windows
    added = [n for n in ("hamming", "hann", "blackman") if not hasattr(scipy.signal, n)]
    for n in added:
        setattr(scipy.signal, n, getattr(scipy.signal.windows, n))
    try:
        yield
    finally:
        for n in added:
            delattr(scipy.signal, n)


@contextlib.contextmanager
def named_ffmpeg():
    which = shutil.which

    def named(cmd, *args, **kwargs):
        return which(cmd, *args, **kwargs) or (cmd if cmd in ("ffmpeg", "ffprobe") else None)

    shutil.which = named
    try:
        yield
    finally:
        shutil.which = which


class LazySox(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        import importlib
        return getattr(importlib.import_module("sox"), name)


@contextlib.contextmanager
def lazy_sox():
    if "sox" in sys.modules or shutil.which("sox"):
        yield
        return
    sys.modules["sox"] = LazySox("sox")
    try:
        yield
    finally:
        del sys.modules["sox"]


def import_nussl():
    if "nussl" not in sys.modules:
        for name in [n for n in sys.modules if n.startswith("nussl.")]:
            del sys.modules[name]
    with old_window_functions(), lazy_sox(), named_ffmpeg(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nussl
    return nussl
