"""Defer imports until first use, and run code when a module is imported.

nussl imports at once everything that any part of it may need: pandas for a table of scores, scikit-learn for clustering,
ignite and TensorBoard for training. Together they take seconds and 200 MB, and separating a file needs none of them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any


class OnFirstUse(types.ModuleType):
    """A placeholder for a module: imports it when an attribute is first read."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import machinery looks for __path__, __spec__ and the like
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:  # `from package import Class` within `on_first_use`
            return ClassOnFirstUse(self.__name__, name)
        module = importlib.import_module(self.__name__)
        try:
            return getattr(module, name)
        except AttributeError:
            if not hasattr(module, "__path__") or importlib.util.find_spec(f"{self.__name__}.{name}") is None:
                raise
            return importlib.import_module(f"{self.__name__}.{name}")  # a submodule not imported before

    def __dir__(self) -> list[str]:
        return dir(importlib.import_module(self.__name__))


class ClassOnFirstUse:
    """A placeholder for a class: imports its module when the class is called or inspected."""

    def __init__(self, module: str, name: str):
        self._module, self._name = module, name

    def _load(self) -> type:
        return getattr(importlib.import_module(self._module), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return an object of the class."""
        return self._load()(*args, **kwargs)

    def __instancecheck__(self, thing: object) -> bool:
        return isinstance(thing, self._load())

    def __mro_entries__(self, bases: tuple) -> tuple[type]:
        return (self._load(),)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)


@contextlib.contextmanager
def on_first_use(*modules: str) -> Iterator[None]:
    """Defer imports: in this block ``import module`` and ``from module import Class`` give placeholders.

    Modules that are already imported, or not installed, are left alone. After the block each module is imported as
    usual, by its name or through its placeholder.
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
    function: Callable[[], object] = lambda: None,
    around: Callable[[], AbstractContextManager] = contextlib.nullcontext,
) -> None:
    """Call a function as soon as a module is imported; at once if it is already.

    Args:
        name: Full name of the module.
        function: Called after the module's code has run. If it raises, the import fails, and the next import tries again.
        around: Returns a context manager, which is active while the module's code runs.
    """
    if name in sys.modules:
        function()
    else:
        sys.meta_path.insert(0, _ImportHook(name, function, around))


class _ImportHook(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module as the other finders would, and runs code around and after it."""

    own: Any  # the module's own loader

    def __init__(self, name: str, function: Callable[[], object], around: Callable[[], AbstractContextManager]):
        self.name, self.function, self.around = name, function, around

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)  # other hooks for the same module then find it, and nest inside this one
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        if spec is None or spec.loader is None:
            return None
        self.own, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self.own  # type: ignore[union-attr]
        with self.around():
            self.own.exec_module(module)
        self.function()
        sys.meta_path.remove(self)
