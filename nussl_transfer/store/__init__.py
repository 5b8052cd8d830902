"""Keep stems at one rate, with a manifest that says what is in them."""

from .store import Store, StoreWriter

__all__ = ["Store", "StoreWriter"]
