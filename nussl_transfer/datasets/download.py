"""Download the data sets that are public, and say where to request the others.

Addresses, sizes and checksums are those that the publishers, mirdata and torchaudio record.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import ConfigError, DataError, FetchError
from ..runtime.download import fetch, free_bytes
from ..runtime.log import logger
from .labels import fitting_names


@dataclass(frozen=True)
class Archive:
    """A public archive.

    Attributes:
        url: Its address.
        known_hash: Its hash, as ``md5:...`` or ``sha256:...``.
        gigabytes: Its approximate size.
        folder: The folder in it; '' where it holds files at its top.
        license: Licence of the data.
        page: Address of its description.
    """

    url: str
    known_hash: str
    gigabytes: float
    folder: str
    license: str
    page: str

    @property
    def file(self) -> str:
        """Return the name of the archive's file."""
        return self.url.partition("?")[0].rpartition("/")[2]


ARCHIVES = {
    "DagstuhlChoirSet": Archive(
        "https://zenodo.org/records/4618287/files/DagstuhlChoirSet_V1.2.3.zip?download=1",
        "md5:82b95faa634d0c9fc05c81e0868f0217",
        5.1,
        "DagstuhlChoirSet_V1.2.3",
        "CC BY 4.0",
        "https://zenodo.org/records/4618287",
    ),
    "MUSDB18-HQ": Archive(
        "https://zenodo.org/records/3338373/files/musdb18hq.zip?download=1",
        "sha256:baac80d0483c61d74b2e5f3be75fa557eec52898339e6aa45c1fa48833c5d21d",
        22.7,
        "",
        "by track: mostly for education only, some CC BY-NC-SA 4.0",
        "https://zenodo.org/records/3338373",
    ),
    "Slakh": Archive(
        "https://zenodo.org/records/4599666/files/slakh2100_flac_redux.tar.gz?download=1",
        "md5:f4b71b6c45ac9b506f59788456b3f0c4",
        105,
        "slakh2100_flac_redux",
        "CC BY 4.0",
        "https://zenodo.org/records/4599666",
    ),
    "BabySlakh": Archive(
        "https://zenodo.org/records/4603870/files/babyslakh_16k.tar.gz?download=1",
        "md5:311096dc2bde7d61c97e930edbfc7f78",
        0.9,
        "babyslakh_16k",
        "CC BY 4.0",
        "https://zenodo.org/records/4603870",
    ),
}
# Data sets that must be requested, or that nobody may redistribute.
ON_REQUEST = {
    "Bach10": "Request it by a form: https://labsites.rochester.edu/air/resource.html. Unpack it, and give the folder "
    "Bach10_v1.1.",
    "MUSDB18": "Request it at https://zenodo.org/records/1117372, which publishes no checksum. MUSDB18-HQ has the same "
    "songs as WAV files and can be fetched.",
    "Remixpacks": "It is not available: its stems come from commercial remix packs, which nobody may redistribute. "
    "Sort your own stems into a folder for each source.",
}


def fetch_dataset(name: str, out: str | Path, keep_archive: bool = False, progress: bool = True) -> Path:
    """Download a data set, unpack it, and return its folder; the same call again resumes the download.

    Args:
        name: A name of ``ARCHIVES``, in any spelling, or a part of one.
        out: Folder to put the data set's own folder into.
        keep_archive: Whether to keep the archive beside it.
        progress: Whether to show a bar on a terminal.

    Raises:
        ConfigError: No data set has this name.
        DataError: The data set must be requested, or the disk is too full.
        FetchError: The download fails, or its hash is wrong.
    """
    name, archive = find_archive(name)
    out = Path(out)
    folder = out / (archive.folder or name)
    if folder.exists():
        logger.info("%s exists already.", folder)
        return folder
    path = out / archive.file
    # The archive needs its size, and its content about as much again. Bytes that are already downloaded need no more.
    downloaded = sum(file.stat().st_size for file in (path, out / f".{archive.file}.part") if file.is_file())
    if (wanted := int(2 * archive.gigabytes * 1e9) - downloaded) > (free := free_bytes(out)):
        raise DataError(
            f"{out} has room for {free / 1e9:.1f} GB, and {name} with its archive needs about {wanted / 1e9:.1f} GB. Give "
            "--out a folder on a larger disk."
        )
    logger.info("%s, %.1f GB, licence: %s. Described at %s.", name, archive.gigabytes, archive.license, archive.page)
    fetch(archive.url, path, archive.known_hash, progress=progress)
    logger.info("Unpacking %s.", path)
    unpack(path, folder, archive.folder)
    if not keep_archive:
        path.unlink()
    return folder


def find_archive(name: str) -> tuple[str, Archive]:
    """Return the full name of a data set, and its archive.

    Raises:
        ConfigError: No data set has this name, or several have.
        DataError: The data set must be requested.
    """
    fitting = fitting_names(name, [*ARCHIVES, *ON_REQUEST])
    if len(fitting) != 1:
        why = f"fits {' and '.join(fitting)}" if fitting else "is unknown"
        raise ConfigError(f"Data set {name!r} {why}. Choose one of {', '.join([*ARCHIVES, *ON_REQUEST])}.")
    (found,) = fitting
    if found in ON_REQUEST:
        raise DataError(f"{found} cannot be fetched. {ON_REQUEST[found]}")
    return found, ARCHIVES[found]


def unpack(path: Path, folder: Path, inner: str) -> None:
    """Unpack an archive atomically: into a temporary folder, which is renamed to ``folder`` when it is complete.

    Args:
        path: A .zip or .tar.gz file.
        folder: The folder to make.
        inner: The folder in the archive that becomes ``folder``; '' takes all of it.

    Raises:
        FetchError: The archive is damaged, or would write outside its own folder.
    """
    aside = folder.parent / f".{folder.name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _check_inside(archive.namelist())
                archive.extractall(aside)
        else:
            with tarfile.open(path) as archive:
                archive.extractall(aside, filter="data")
        if inner and not (aside / inner).is_dir():
            raise FetchError(f"{path} does not hold the folder {inner}. Fetch it again.")
        os.replace(aside / inner, folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise FetchError(f"{path} cannot be unpacked: {error}. Delete it, and fetch it again.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _check_inside(names: list[str]) -> None:
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts:
            raise zipfile.BadZipFile(f"{name!r} lies outside the folder that it is unpacked into")
