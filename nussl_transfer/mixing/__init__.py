"""Draw mixtures from stores: each item is a function of (seed, index)."""

from .config import MixtureConfig
from .excerpt import Excerpt, read_excerpt, sounds
from .joined import JoinedMixtures
from .mixtures import Mixtures

__all__ = ["Excerpt", "JoinedMixtures", "MixtureConfig", "Mixtures", "read_excerpt", "sounds"]
