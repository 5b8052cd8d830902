"""Stage 3, mixing: stores become an endless supply of mixtures, each a function of (seed, index).

All that is random about a mixture is drawn first, as one :class:`Excerpt` a source, and applied second. No state is kept
between items and no global random state is touched, so the same index gives the same audio in any order, in any number of
worker processes and after any interruption.
"""

from .excerpt import Excerpt, read_excerpt, sounds
from .joined import JoinedMixtures
from .mixtures import Mixtures

__all__ = ["Excerpt", "JoinedMixtures", "Mixtures", "read_excerpt", "sounds"]
