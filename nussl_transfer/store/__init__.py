"""Prepare stems once as a store (mono, one sample rate), and read excerpts from it."""

from .store import Store, StoreWriter

__all__ = ["Store", "StoreWriter"]
