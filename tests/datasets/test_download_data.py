"""Fetching a data set from a local server: it is unpacked completely or not at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from nussl_transfer.datasets import download as archives
from nussl_transfer.datasets.download import ARCHIVES, ON_REQUEST, fetch_dataset, unpack
from nussl_transfer.datasets.recognise import DATASETS
from nussl_transfer.errors import ConfigError, DataError, FetchError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def shelf(tmp_path):
    """A folder whose files a local server offers, and the server's address."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return path


PACKERS = {"a.zip": zipped, "a.tar.gz": tarred}


@pytest.fixture
def offered(shelf, monkeypatch):
    """Return a function that offers an archive as that of DagstuhlChoirSet."""

    def offer(name, files, **changes):
        folder, url = shelf
        path = PACKERS[name](folder / name, files)
        known_hash = f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}"
        archive = replace(
            ARCHIVES["DagstuhlChoirSet"], url=f"{url}/{name}?download=1", known_hash=known_hash, gigabytes=0.001
        )
        monkeypatch.setitem(ARCHIVES, "DagstuhlChoirSet", replace(archive, **{"folder": "inner", **changes}))
        return path

    return offer


@pytest.mark.parametrize("name", PACKERS)
def test_a_data_set_is_downloaded_and_unpacked(offered, tmp_path, name):
    offered(name, {"inner/a/b.wav": b"sound", "inner/c.txt": b"text"})
    folder = fetch_dataset("choirset", tmp_path / "out")
    assert folder == tmp_path / "out" / "inner"
    assert (folder / "a" / "b.wav").read_bytes() == b"sound" and (folder / "c.txt").read_bytes() == b"text"
    assert list(folder.parent.iterdir()) == [folder]


def test_an_archive_without_a_top_folder_is_unpacked_into_one(offered, tmp_path):
    offered("a.zip", {"train/a.wav": b"sound"}, folder="")
    folder = fetch_dataset("DagstuhlChoirSet", tmp_path, keep_archive=True)
    assert folder == tmp_path / "DagstuhlChoirSet" and (folder / "train" / "a.wav").is_file()
    assert (tmp_path / "a.zip").is_file()


def test_an_unpacked_data_set_is_not_downloaded_again(offered, tmp_path):
    offered("a.zip", {"inner/a.wav": b"sound"}).unlink()
    (tmp_path / "inner").mkdir()
    assert fetch_dataset("DagstuhlChoirSet", tmp_path) == tmp_path / "inner"


def test_a_downloaded_archive_is_only_unpacked(offered, tmp_path):
    path = offered("a.zip", {"inner/a.wav": b"sound"})
    path.rename(tmp_path / "a.zip")
    assert (fetch_dataset("DagstuhlChoirSet", tmp_path) / "a.wav").is_file()


def test_an_archive_with_another_checksum_is_an_error(offered, tmp_path):
    offered("a.zip", {"inner/a.wav": b"sound"}, known_hash="md5:" + "0" * 32)
    with pytest.raises(FetchError, match="expected md5:0{32} but got"):
        fetch_dataset("DagstuhlChoirSet", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_nothing_is_downloaded_to_a_disk_without_space(offered, tmp_path, monkeypatch):
    offered("a.zip", {"inner/a.wav": b"sound"}, gigabytes=5.1)
    monkeypatch.setattr(archives, "free_bytes", lambda folder: 10**9)
    with pytest.raises(DataError, match="room for 1.0 GB, and .* with its archive needs about 10.2 GB"):
        fetch_dataset("DagstuhlChoirSet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", PACKERS)
def test_unpacking_writes_nothing_outside_the_folder(tmp_path, name):
    path = PACKERS[name](tmp_path / name, {"inner/a.wav": b"sound", "../../stolen": b"!", "inner/../../../x": b"!"})
    (tmp_path / "deep" / "er").mkdir(parents=True)
    with pytest.raises(FetchError, match="outside"):
        unpack(path, tmp_path / "deep" / "er" / "out", "inner")
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted([name, "deep", "er"])


@pytest.mark.parametrize("name", PACKERS)
def test_a_damaged_archive_leaves_no_folder_of_a_data_set(tmp_path, name):
    path = PACKERS[name](tmp_path / name, {"inner/a.wav": bytes(range(256)) * 2000})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FetchError, match="Delete it, and fetch it again"):
        unpack(path, tmp_path / "out" / "inner", "inner")
    assert not (tmp_path / "out" / "inner").exists()


@pytest.mark.parametrize(
    ("name", "sentence"), [("bach10", "by a form"), ("MUSDB18", "Request it at"), ("remix packs", "nobody")]
)
def test_a_data_set_on_request_only_is_an_error_that_says_where_to_ask(tmp_path, name, sentence):
    with pytest.raises(DataError, match=sentence):
        fetch_dataset(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigError, match="Choose one of DagstuhlChoirSet, MUSDB18-HQ, Slakh, BabySlakh, Bach10"):
        fetch_dataset("medley", "out")


def test_every_data_set_of_the_paper_is_listed_and_every_archive_has_a_checksum():
    known = {name.removesuffix("-HQ") for name in [*ARCHIVES, *ON_REQUEST]}
    assert set(DATASETS) - {"StemFolder", "StemList"} <= known
    for archive in ARCHIVES.values():
        kind, _, digest = archive.known_hash.partition(":")
        assert len(digest) == {"md5": 32, "sha256": 64}[kind] and archive.file.endswith((".zip", ".tar.gz"))
