"""Run nussl 1.1.9 on today's packages.

* ``imports``: changes of other packages, undone as soon as nussl is imported.
* ``patches``: repairs of nussl's own modules afterwards.
* ``cache``: safe reading of nussl's cached data sets.
"""

from __future__ import annotations

from ..runtime.deferred import on_import
from . import imports


def repair() -> None:
    """Repair nussl now if it is imported, else as soon as it is. A second call changes nothing."""
    on_import("nussl", _apply_patches, around=imports.while_nussl_imports)
    on_import("nussl.ml.train", around=imports.while_training_imports)


def _apply_patches() -> None:
    from .patches import REPAIRS  # only now: it imports torch, SciPy and zarr

    for mend in REPAIRS:
        mend()
