"""Stage 0: files from elsewhere, by pooch: checked by their hash before anything opens them, gone on with if broken off."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import FetchError

CHUNK = 2**14
logger = logging.getLogger("nussl_transfer")


def is_url(text: object) -> bool:
    """Returns whether a text is the address of a file on the web.

    >>> is_url("https://example.org/a.pth"), is_url("C:/a.pth"), is_url("file:///etc/passwd")
    (True, False, False)
    """
    return urlsplit(str(text)).scheme in ("http", "https")


def fetch(
    url: str,
    path: str | Path,
    known_hash: str | None = None,
    most_bytes: int | None = None,
    progress: bool = False,
    timeout: float = 30.0,
) -> Path:
    """Returns ``path``, having fetched it unless it is there already, with that hash.

    What arrives is kept beside it (``.NAME.part``) until it is whole and its hash is right, so that a fetch that was
    broken off goes on where it was, and ``path`` is the right file or not there.

    Args:
        url: Address, http or https.
        path: File to write.
        known_hash: 'md5:...' or 'sha256:...'; None takes what comes.
        most_bytes: More than these are not taken.
        progress: Whether to draw a bar on a terminal.
        timeout: Seconds without an answer, or without a byte, after which it is given up.

    Raises:
        FetchError: The address does not answer, breaks off, or gives another file.
    """
    import pooch
    from requests import RequestException

    path = Path(path)
    part = path.parent / f".{path.name}.part"
    if not is_url(url):
        raise FetchError(f"{url} was to be fetched: that is no address of a file. Give one that begins with https://.")
    if known_hash is not None and path.is_file() and not pooch.hashes.hash_matches(path, known_hash):
        logger.info("%s is not the file with that hash any more; it is fetched again.", path)
    downloader = _Downloader(part, most_bytes, progress, timeout)
    pooch.get_logger().setLevel(logging.WARNING)  # it says what is said here
    try:
        pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=downloader)
    except ValueError as error:  # pooch's, with the hash that was expected and the one that was got
        raise FetchError(
            f"{url} was fetched: {' '.join(str(error).split())} Try again; if it stays so, tell whoever publishes it."
        ) from error
    except (RequestException, EOFError) as error:
        raise FetchError(f"{url} was to be fetched: {_reason(error)}.{_how_to_go_on(part)}") from error
    return path


def sha256(path: str | Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while block := file.read(CHUNK):
        digest.update(block)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError):
        return f"it answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "it does not answer"
    if isinstance(error, requests.TooManyRedirects):
        return "it sends from one address to the next without end"
    if isinstance(error, requests.ConnectionError):
        # It may also have stopped answering in the middle, which requests does not call a timeout.
        return "it stopped answering" if "timed out" in str(error) else "there is no connection to it, or it broke off"
    return f"it broke off ({type(error).__name__})"


def _how_to_go_on(part: Path) -> str:
    if part.is_file() and part.stat().st_size:
        return f" {part.stat().st_size} bytes have arrived and are kept: the same command goes on from there."
    return " Look at the connection and the address, and give the same command again."


class _Downloader:
    """Writes what an address gives to a file of pooch's, by way of one that is still there the next time."""

    def __init__(self, part: Path, most_bytes: int | None, progress: bool, timeout: float):
        self.part, self.most_bytes, self.progress, self.timeout = part, most_bytes, progress, timeout

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests

        # Encoded as it is: what is fetched in two parts must be two parts of the same bytes.
        headers = {"Accept-Encoding": "identity"}
        have = self.part.stat().st_size if self.part.is_file() else 0
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as answer:
            if answer.status_code == 416:  # nothing is left to fetch; whether it is the right file, its hash says
                have = self._check_size(have)
            else:
                answer.raise_for_status()
                goes_on = answer.status_code == 206 and f"bytes {have}-" in answer.headers.get("Content-Range", "")
                self._write(answer, have if goes_on else 0)
        shutil.move(self.part, output_file)

    def _write(self, answer, have: int) -> None:
        from tqdm import tqdm

        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        self._check_size(total or 0)
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, disable=None if self.progress else True)
        with bar, self.part.open("ab" if have else "wb") as file:
            try:
                for block in answer.iter_content(CHUNK):
                    have = self._check_size(have + len(block))
                    file.write(block)
                    bar.update(len(block))
            finally:
                file.flush()
        if total is not None and have != total:
            raise EOFError(f"{have} of {total} bytes")

    def _check_size(self, count: int) -> int:
        if self.most_bytes is not None and count > self.most_bytes:
            self.part.unlink(missing_ok=True)
            raise FetchError(f"It gives more than the {self.most_bytes} bytes that were expected: what came was deleted.")
        return count


def free_bytes(folder: Path) -> int:
    """Returns how much the disk of a folder, which need not be there yet, has room for."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def home() -> Path:
    """Returns the folder for what was fetched: ``NUSSL_TRANSFER_HOME``, or one in the user's cache."""
    import pooch

    return Path(os.environ.get("NUSSL_TRANSFER_HOME") or pooch.os_cache("nussl-transfer"))
