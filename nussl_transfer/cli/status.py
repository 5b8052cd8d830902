"""Run a command or a recipe, and turn its errors and signals into messages and an exit status.

======  ================================================================================================
status  meaning
======  ================================================================================================
0       done; or SIGTERM stopped a training run, which saved everything
1       `check` found an error, or `separate` could not separate every file
2       the input or an option is wrong, or the system reports an error, such as a full disk
130     Ctrl-C
141     the program that reads the output closed it (``| head``)
143     SIGTERM
======  ================================================================================================
"""

from __future__ import annotations

import codecs
import io
import logging
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import TransferError
from ..runtime.files import explain_os_error
from ..runtime.log import logger
from ..runtime.signals import Terminated, terminated_as_interrupted

STOPPED = (
    "Stopped. No file is half written. Give the same command again: fetch, prepare and finetune resume, the other commands "
    "start again."
)
# Replacements for characters of our tables, in an encoding that lacks them.
PLAIN = {"−": "-", "–": "-", "…": "...", "×": "x", "±": "+-", "≥": ">=", "≤": "<=", "µ": "u", "→": "->"}


def exit_status(work: Callable[[], int | None], program: str = "") -> int:
    """Call a function, print its error as one message, and return the exit status.

    Args:
        work: The function. It returns the exit status; None is 0.
        program: The name that begins each message.
    """
    prefix = f"{program}: " if program else ""
    make_output_encodable()
    try:
        with terminated_as_interrupted():
            status = work()
            sys.stdout.flush()
            return status if isinstance(status, int) else 0
    except BrokenPipeError as error:
        if not _stdout_is_broken():  # another pipe or a socket broke
            print(f"{prefix}{error}", file=sys.stderr)
            return 2
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more when it ends
        return 141
    except TransferError as error:
        print(f"{prefix}{error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{prefix}{explain_os_error(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        if not stopped.args:  # training prints its own message
            print(f"\n{prefix}{STOPPED}", file=sys.stderr)
        return 143 if isinstance(stopped, Terminated) else 130


def recipe_status(work: Callable[[], object]) -> int:
    """Call the function of a recipe in a process group, show the package's messages, and return the exit status.

    Args:
        work: The function. A number that it returns is the status; any other result is status 0.
    """
    from ..runtime.process_group import RemoteRankError, is_main_process, join_process_group

    def in_group() -> int:
        try:
            with join_process_group(), messages_shown(is_main_process()):
                result = work()
                return result if isinstance(result, int) else 0
        except RemoteRankError:  # the rank that failed prints the message
            return 2

    return exit_status(in_group)


@contextmanager
def messages_shown(shown: bool = True) -> Iterator[None]:
    """Show the package's log messages on stderr within the block, or hide them."""
    handler = logging.StreamHandler(sys.stderr) if shown else logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    # Silence ignite, which would log the exception that ends its engine: `exit_status` prints it once.
    ignite, silence = logging.getLogger("ignite"), logging.NullHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    ignite.addHandler(silence)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        ignite.removeHandler(silence)


def make_output_encodable() -> None:
    """Let stdout and stderr replace characters that their encoding lacks, and escape bytes of names that are not UTF-8."""
    codecs.register_error("nussl_transfer", replace_unencodable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="nussl_transfer")


def replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    r"""Return a replacement for characters that cannot be encoded, and where to continue; an error handler for `codecs`.

    >>> codecs.register_error("nussl_transfer", replace_unencodable)
    >>> "−1.5 dB ♪ fl\udcf6te".encode("cp1252", "nussl_transfer")
    b'-1.5 dB ? fl\\xf6te'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    plain = (f"\\x{ord(one) - 0xDC00:02x}" if "\udc80" <= one <= "\udcff" else PLAIN.get(one, "?") for one in characters)
    return "".join(plain), error.end


def _stdout_is_broken() -> bool:
    """Return whether the program that reads stdout has closed it."""
    if not hasattr(select, "poll"):  # Windows
        return True
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # poll always reports errors
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
