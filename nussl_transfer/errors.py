"""The errors a user may meet: each says what was asked, what was found, and what to do."""

from __future__ import annotations

from pathlib import Path


class TransferError(Exception):
    """Base of every error that bad input, rather than a defect of the program, can cause."""


class DataError(TransferError):
    """A data set, a store or an audio file is not what it has to be."""


class AudioFileError(DataError):
    """One audio file cannot be used; ``what`` says why, ``what_to_do`` the next step."""

    def __init__(self, path: str | Path, what: str, what_to_do: str):
        super().__init__(f"{path} {what}. {what_to_do}")
        self.path, self.what, self.what_to_do = Path(path), what, what_to_do

    def __reduce__(self):
        return type(self), (self.path, self.what, self.what_to_do)


class CheckpointError(TransferError):
    """A checkpoint cannot be read, is not trusted, or does not fit what is asked of it."""


class ConfigError(TransferError):
    """An option has a value that cannot work, alone or beside the others."""


class FetchError(TransferError):
    """A file on the web does not come, or is not the file that it should be."""
