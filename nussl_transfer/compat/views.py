"""A library as one of nussl's modules is to see it: the library itself, but for a few names."""

from __future__ import annotations

import types


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
