"""Prepare stems once, at one rate, and read excerpts of them."""

from .store import Store, StoreWriter

__all__ = ["Store", "StoreWriter"]
