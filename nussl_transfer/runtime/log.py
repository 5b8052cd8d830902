"""Stage 0: what the package says goes to its logger, and from there to a file where work is done in a folder."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger("nussl_transfer")


@contextmanager
def logged_to(folder: str | Path) -> Iterator[None]:
    """Within the block, what the package logs also goes to ``run.log`` in a folder; blocks of one folder may nest."""
    path = Path(folder).absolute() / "run.log"
    if any(getattr(handler, "baseFilename", None) == str(path) for handler in logger.handlers):
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _RunLog(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        with suppress(OSError):  # what could not be written before cannot be now
            handler.close()


class _RunLog(logging.FileHandler):
    """A log that a full disk ends, once and in one line, where the logging of Python prints a traceback for each line."""

    failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.failed:
            self.failed = True
            logger.warning("%s cannot be written any more: %s", self.baseFilename, sys.exc_info()[1])
