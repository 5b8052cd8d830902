"""What nussl 1.1.9 needs to run on today's packages, each repair confined to nussl's own modules."""

from __future__ import annotations

from .imports import import_nussl
from .safe_load import safe_load

__all__ = ["repair", "safe_load"]


def repair() -> None:
    """Import nussl, and mend what today's packages broke in it. Idempotent."""
    import_nussl()
