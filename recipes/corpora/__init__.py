"""Stand-in corpora, rendered from scores by a soundfont: a small Bach10, and the ensembles that the body learns from.

    python -m recipes.corpora bach10 OUT
    python -m recipes.corpora ensembles OUT --hours 20
"""

from .bach10 import render_bach10
from .ensembles import render_ensembles

__all__ = ["render_bach10", "render_ensembles"]
