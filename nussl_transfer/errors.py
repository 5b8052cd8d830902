"""The errors a user may meet: each says what was asked, what was found, and what to do."""

from __future__ import annotations


class TransferError(Exception):
    """Base of every error that bad input, rather than a defect of the program, can cause."""


class DataError(TransferError):
    """A data set, a store or an audio file is not what it has to be."""


class CheckpointError(TransferError):
    """A checkpoint cannot be read, is not trusted, or does not fit what is asked of it."""


class ConfigError(TransferError):
    """An option has a value that cannot work, alone or beside the others."""
