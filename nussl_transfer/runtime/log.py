"""The package's logger, and a log file in a run's folder.

Every module logs with ``from ..runtime.log import logger``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .files import printable

logger = logging.getLogger("nussl_transfer")

# The log in the folder of a run.
RUN_LOG = "run.log"


@contextmanager
def logged_to(folder: str | Path) -> Iterator[None]:
    """Within the block, also write the package's log messages to ``run.log`` in a folder. Blocks of one folder may nest."""
    path = Path(folder).absolute() / RUN_LOG
    if any(getattr(handler, "baseFilename", None) == str(path) for handler in logger.handlers):
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _RunLog(path, encoding="utf-8")
    handler.setFormatter(PrintableFormatter("%(asctime)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        with suppress(OSError):  # closing flushes what could not be written before
            handler.close()


class PrintableFormatter(logging.Formatter):
    """Formatter whose messages any UTF-8 stream takes, also those that quote a path that is not UTF-8."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message of a record."""
        return printable(super().format(record))


class _RunLog(logging.FileHandler):
    """File handler that warns once when the disk is full, instead of printing a traceback for each message."""

    failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.failed:
            self.failed = True
            logger.warning("%s cannot be written any more: %s", self.baseFilename, sys.exc_info()[1])
