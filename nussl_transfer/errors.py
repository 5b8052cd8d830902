"""The errors that a user may see: each message says what is wrong, what was found, and what to do."""

from __future__ import annotations

from pathlib import Path


class TransferError(Exception):
    """Base class: an error that wrong input causes, not a bug of the program."""


class DataError(TransferError):
    """A data set, a store or an audio file is missing or wrong."""


class AudioFileError(DataError):
    """An audio file cannot be used: ``what`` is the reason, ``what_to_do`` the advice."""

    def __init__(self, path: str | Path, what: str, what_to_do: str):
        super().__init__(f"{path} {what}. {what_to_do}")
        self.path, self.what, self.what_to_do = Path(path), what, what_to_do

    def __reduce__(self) -> tuple[type, tuple[Path, str, str]]:
        return type(self), (self.path, self.what, self.what_to_do)


class CheckpointError(TransferError):
    """A checkpoint cannot be read, is not safe to load, or does not fit the task."""


class ConfigError(TransferError):
    """An option has a wrong value, by itself or together with the others."""


class FetchError(TransferError):
    """A file cannot be downloaded, or is not the expected file."""
