"""Fine-tune nussl's ChimeraNets on a few minutes of stems."""

from . import compat

__version__ = "0.1.0"

compat.repair()
