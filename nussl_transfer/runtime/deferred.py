"""Modules that are imported when something is first asked of them.

nussl imports all that any part of it may need: pandas for a table of scores, scikit-learn for clusters, ignite and
TensorBoard for training. Together they take seconds and some 200 MB, and separating a file needs none of them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager


class OnFirstUse(types.ModuleType):
    """Stands for a module, and has it imported when something is first asked of it."""

    def __getattr__(self, name: str):
        if name.startswith("__"):  # the import machinery looks for __path__, __spec__ and the like
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:  # `from package import Class`, while packages are put off
            return ClassOnFirstUse(self.__name__, name)
        module = importlib.import_module(self.__name__)
        try:
            return getattr(module, name)
        except AttributeError:
            if not hasattr(module, "__path__") or importlib.util.find_spec(f"{self.__name__}.{name}") is None:
                raise
            return importlib.import_module(f"{self.__name__}.{name}")  # one that nobody has imported yet

    def __dir__(self) -> list[str]:
        return dir(importlib.import_module(self.__name__))


class ClassOnFirstUse:
    """Stands for a class, and has its module imported when an object of it is made, or it is asked anything else."""

    def __init__(self, module: str, name: str):
        self._module, self._name = module, name

    def _found(self) -> type:
        return getattr(importlib.import_module(self._module), self._name)

    def __call__(self, *args, **kwargs):
        """Returns an object of the class."""
        return self._found()(*args, **kwargs)

    def __instancecheck__(self, thing: object) -> bool:
        return isinstance(thing, self._found())

    def __mro_entries__(self, bases: tuple) -> tuple[type]:
        return (self._found(),)

    def __getattr__(self, name: str):
        return getattr(self._found(), name)


@contextlib.contextmanager
def on_first_use(*modules: str) -> Iterator[None]:
    """Puts off imports: in this block ``import module`` and ``from module import Class`` give stand-ins.

    What is imported already, or is not installed, stays as it is. After the block each module is imported like any
    other: by its name, or when something is asked of its stand-in.
    """
    put = [name for name in modules if name not in sys.modules and importlib.util.find_spec(name.partition(".")[0])]
    sys.modules.update({name: OnFirstUse(name) for name in put})
    try:
        yield
    finally:
        for name in put:
            if isinstance(sys.modules.get(name), OnFirstUse):
                del sys.modules[name]


def on_import(
    name: str,
    function: Callable[[], None] = lambda: None,
    around: Callable[[], AbstractContextManager] = contextlib.nullcontext,
) -> None:
    """Calls a function as soon as a module is imported: now, if it is.

    Args:
        name: Full name of the module.
        function: Is called after the module's code has run.
        around: What has to hold while it runs.
    """
    if name in sys.modules:
        function()
    else:
        sys.meta_path.insert(0, _Once(name, function, around))


class _Once(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module, once, as the others would, and runs it with what goes around it and comes after."""

    def __init__(self, name: str, function: Callable[[], None], around: Callable[[], AbstractContextManager]):
        self.name, self.function, self.around = name, function, around

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)  # the others that may wait for the same module find it through this one
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        if spec is None or spec.loader is None:
            return None
        self.own, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.own.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self.own
        with self.around():
            self.own.exec_module(module)
        sys.meta_path.remove(self)
        self.function()
