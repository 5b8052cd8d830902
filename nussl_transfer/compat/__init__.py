"""Stage 0: what nussl 1.1.9 needs to run on today's packages, each repair confined to nussl's own modules.

* ``imports``: what has to hold while nussl is imported, and is taken away again.
* ``patches``: what is mended in nussl's modules afterwards, each by its own ``views.View`` of a library.
* ``loading``: ``safe_load``, the one way in which checkpoints are read; it has ``outline`` and ``networks`` hold a file
  to what it declares before anything of it is made.
* ``cache``: the same care for nussl's cached data sets.
"""

from __future__ import annotations

from ..safe_loading.safe_load import safe_load
from .imports import import_nussl

__all__ = ["repair", "safe_load"]


def repair() -> None:
    """Import nussl and mend in it what the packages of today broke. A second call changes nothing."""
    import_nussl()
    from .patches import REPAIRS  # after nussl: it imports what nussl imports, in nussl's order

    for mend in REPAIRS:
        mend()
