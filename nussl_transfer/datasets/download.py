"""Where each data set can be had: by `nussl-transfer fetch` where anyone may, and by whom to ask where not.

Addresses, sizes and checksums are those that the publishers, mirdata and torchaudio record.
"""

from __future__ import annotations

import logging
import os
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import ConfigError, DataError, FetchError
from ..runtime.download import fetch, free_bytes
from .labels import normalise

logger = logging.getLogger("nussl_transfer")


@dataclass(frozen=True)
class Archive:
    """An archive that anyone may fetch.

    Attributes:
        url: Its address.
        known_hash: What it must have.
        gigabytes: About how large it is.
        folder: The one that is in it; '' where it holds files at its top.
        license: Of the data.
        page: Where it is described.
    """

    url: str
    known_hash: str
    gigabytes: float
    folder: str
    license: str
    page: str

    @property
    def file(self) -> str:
        """Name of the archive's file."""
        return self.url.partition("?")[0].rpartition("/")[2]


ARCHIVES = {
    "ChoirSet": Archive(
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
# What a person has to ask for, or what nobody may give.
ON_REQUEST = {
    "Bach10": "It is given to who asks, by a form: https://labsites.rochester.edu/air/resource.html. Unpack it, and give "
    "the folder Bach10_v1.1.",
    "MUSDB18": "It is given on request: https://zenodo.org/records/1117372, where no checksum is published. MUSDB18-HQ has "
    "the same songs as WAV files and can be fetched.",
    "Remixpacks": "It cannot be had: its stems are of commercial remix packs, and nobody may pass them on. Sort stems of "
    "your own into a folder for each source.",
}


def fetch_dataset(name: str, out: str | Path, keep_archive: bool = False, progress: bool = True) -> Path:
    """Fetches a data set and unpacks it, and returns its folder; the same call again goes on where it was broken off.

    Args:
        name: Of ``ARCHIVES``, in any spelling.
        out: Folder to put the data set's own folder into.
        keep_archive: Whether the archive stays beside it.
        progress: Whether to draw a bar on a terminal.

    Raises:
        ConfigError: No data set has this name.
        DataError: The data set has to be asked for, or there is no room for it.
        FetchError: It does not come, or is another file.
    """
    name, archive = find_archive(name)
    out = Path(out)
    folder = out / (archive.folder or name)
    if folder.exists():
        logger.info("%s is there already.", folder)
        return folder
    path = out / archive.file
    # The archive, and about as much again unpacked; what has arrived already takes no more room.
    arrived = sum(file.stat().st_size for file in (path, out / f".{archive.file}.part") if file.is_file())
    if (wanted := int(2 * archive.gigabytes * 1e9) - arrived) > (free := free_bytes(out)):
        raise DataError(
            f"{name} was to be fetched into {out}: it takes about {wanted / 1e9:.1f} GB with its archive, and there is "
            f"room for {free / 1e9:.1f} GB. Give --out a folder on a larger disk."
        )
    logger.info("%s, %.1f GB, licence: %s. Described at %s.", name, archive.gigabytes, archive.license, archive.page)
    fetch(archive.url, path, archive.known_hash, progress=progress)
    logger.info("Unpacking %s.", path)
    unpack(path, folder, archive.folder)
    if not keep_archive:
        path.unlink()
    return folder


def find_archive(name: str) -> tuple[str, Archive]:
    """Returns the name of a data set as it is spelled here, and its archive.

    Raises:
        ConfigError: No data set has this name.
        DataError: It has to be asked for.
    """
    plain = normalise(name).replace("_", "")
    for known, archive in ARCHIVES.items():
        if normalise(known).replace("_", "") == plain:
            return known, archive
    for known, sentence in ON_REQUEST.items():
        if normalise(known).replace("_", "") == plain:
            raise DataError(f"{known} was to be fetched. {sentence}")
    raise ConfigError(f"Data set {name!r} was to be fetched. Known are {', '.join([*ARCHIVES, *ON_REQUEST])}.")


def unpack(path: Path, folder: Path, inner: str) -> None:
    """Unpacks an archive aside, and renames it to ``folder`` when all of it is there.

    Args:
        path: A .zip or .tar.gz file.
        folder: What becomes of it; not there yet.
        inner: The folder in it that becomes ``folder``; '' takes all of it.

    Raises:
        FetchError: It is damaged, or would write outside its own folder.
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
            raise FetchError(f"{path} was unpacked: the folder {inner} is not in it. Fetch it again.")
        os.replace(aside / inner, folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise FetchError(f"{path} was to be unpacked: {error}. Delete it, and fetch it again.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _check_inside(names: list[str]) -> None:
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts:
            raise zipfile.BadZipFile(f"{name!r} lies outside the folder that it is unpacked into")
