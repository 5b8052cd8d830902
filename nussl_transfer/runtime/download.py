"""Download files with pooch: resume partial downloads, and check the hash before anything opens the file."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import FetchError
from .log import logger

if TYPE_CHECKING:
    import requests

CHUNK = 2**14  # bytes


def is_url(text: object) -> bool:
    """Return whether a text is an http or https address.

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
    """Download a file unless ``path`` already has the hash, and return ``path``.

    The download is kept in ``.NAME.part`` until it is complete and its hash is right. So an interrupted download resumes,
    and ``path`` never holds a partial or wrong file.

    Args:
        url: Address, http or https.
        path: File to write.
        known_hash: 'md5:...' or 'sha256:...'; None accepts any content.
        most_bytes: The largest accepted size.
        progress: Whether to draw a progress bar on a terminal.
        timeout: Seconds to wait for an answer, and for each next byte.

    Raises:
        FetchError: The server does not answer, the connection breaks, or the content is not the expected file.
    """
    import pooch
    from requests import RequestException

    path = Path(path)
    part = path.parent / f".{path.name}.part"
    if not is_url(url):
        raise FetchError(f"{url} is not a web address. Give one that begins with https://.")
    if known_hash is not None and path.is_file() and not pooch.hashes.hash_matches(path, known_hash):
        logger.info("%s has changed since it was downloaded; downloading it again.", path)
    downloader = _Downloader(part, most_bytes, progress, timeout)
    pooch.get_logger().setLevel(logging.WARNING)  # our own messages say the same
    try:
        pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=downloader)
    except ValueError as error:  # pooch's, with the expected and the actual hash
        raise FetchError(
            f"{url} gave a wrong file: {' '.join(str(error).split())} Try again; if the error persists, tell the publisher."
        ) from error
    except (RequestException, EOFError) as error:
        raise FetchError(f"{url} could not be downloaded: {_reason(error)}.{_advice(part)}") from error
    return path


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    import pooch

    return pooch.file_hash(str(path), alg="sha256")


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError):
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    if isinstance(error, requests.TooManyRedirects):
        return "the server redirects without end"
    if isinstance(error, requests.ConnectionError):
        # requests does not call it a timeout when the server stops answering midway.
        return "the server stopped answering" if "timed out" in str(error) else "there is no connection, or it broke"
    return f"the connection broke ({type(error).__name__})"


def _advice(part: Path) -> str:
    if part.is_file() and part.stat().st_size:
        return f" {part.stat().st_size} bytes were downloaded and kept: run the same command again to resume."
    return " Check the connection and the address, and run the same command again."


class _Downloader:
    """Pooch downloader that resumes partial downloads."""

    def __init__(self, part: Path, most_bytes: int | None, progress: bool, timeout: float):
        self.part, self.most_bytes, self.progress, self.timeout = part, most_bytes, progress, timeout

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests

        # Uncompressed: the parts of a resumed download must be parts of the same bytes.
        headers = {"Accept-Encoding": "identity"}
        have = self.part.stat().st_size if self.part.is_file() else 0
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as answer:
            if answer.status_code == 416:  # nothing is left to download; the hash decides whether the file is right
                have = self._check_size(have)
            else:
                answer.raise_for_status()
                resumes = answer.status_code == 206 and f"bytes {have}-" in answer.headers.get("Content-Range", "")
                self._write(answer, have if resumes else 0)
        shutil.move(self.part, output_file)

    def _write(self, answer: requests.Response, have: int) -> None:
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
            raise FetchError(f"The server sends more than the expected {self.most_bytes} bytes. The download was deleted.")
        return count


def free_bytes(folder: Path) -> int:
    """Return the free bytes on the disk of a folder, which may not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def home() -> Path:
    """Return the folder for downloads: ``NUSSL_TRANSFER_HOME``, or one in the user's cache."""
    import pooch

    return Path(os.environ.get("NUSSL_TRANSFER_HOME") or pooch.os_cache("nussl-transfer"))
