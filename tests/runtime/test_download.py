"""Tests of downloads from a local server, which can also fail in all the usual ways."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from nussl_transfer.errors import FetchError
from nussl_transfer.runtime.download import fetch, free_bytes, is_url, sha256

CONTENT = np.random.default_rng(0).bytes(300_000)
HASHES = [f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", f"md5:{hashlib.md5(CONTENT).hexdigest()}"]


class Handler(BaseHTTPRequestHandler):
    """Serves `/file` and its failures; `server.asked` lists the requests."""

    def do_GET(self):
        start = int((self.headers.get("Range") or "bytes=0-").split("=")[1].rstrip("-"))
        self.server.asked.append((self.path, start))
        if self.path == "/redirect":
            return self.answer(302, {"Location": "/file"}, b"")
        if self.path == "/loop":
            return self.answer(302, {"Location": "/loop"}, b"")
        if self.path == "/hang":
            return self.server.released.wait(20)
        if self.path == "/missing":
            return self.answer(404, {}, b"no such file")
        if self.path == "/other":
            return self.answer(200, {}, CONTENT[::-1])
        if self.path == "/whole":  # ignores a range
            return self.answer(200, {}, CONTENT)
        if start >= len(CONTENT):
            return self.answer(416, {}, b"")
        body = CONTENT[start:]
        headers = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
        if self.path == "/stall" and not start:
            self.answer(200, {"Content-Length": str(len(body))}, body[:100_000])
            self.wfile.flush()
            return self.server.released.wait(20)
        if self.path == "/cut" and not start:
            headers["Content-Length"] = str(len(body))
            body = body[:100_000]
        self.answer(206 if start else 200, headers, body)

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.released, server.daemon_threads = [], threading.Event(), True
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("known_hash", [*HASHES, None])
@pytest.mark.parametrize("name", ["file", "redirect"])
def test_the_download_is_the_file(server, tmp_path, name, known_hash):
    path = fetch(f"{server.url}/{name}", tmp_path / "deep" / "a.pth", known_hash)
    assert path == tmp_path / "deep" / "a.pth" and path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    assert sha256(path) == hashlib.sha256(CONTENT).hexdigest()


def test_an_existing_file_is_not_downloaded_again_and_needs_no_connection(server, tmp_path):
    fetch(f"{server.url}/file", tmp_path / "a.pth", HASHES[0])
    server.shutdown()
    server.server_close()
    assert fetch(f"{server.url}/file", tmp_path / "a.pth", HASHES[0]).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_damaged_file_is_downloaded_again(server, tmp_path):
    (tmp_path / "a.pth").write_bytes(CONTENT[:-1])
    assert fetch(f"{server.url}/file", tmp_path / "a.pth", HASHES[0]).read_bytes() == CONTENT


def test_a_wrong_file_is_deleted_and_the_error_has_both_hashes(server, tmp_path):
    got = hashlib.sha256(CONTENT[::-1]).hexdigest()
    with pytest.raises(FetchError, match=f"expected {HASHES[0]} but got {got}"):
        fetch(f"{server.url}/other", tmp_path / "a.pth", HASHES[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["cut", "stall"])
def test_an_interrupted_download_resumes(server, tmp_path, name):
    with pytest.raises(FetchError, match="98304 bytes were downloaded and kept: run the same command again to resume"):
        fetch(f"{server.url}/{name}", tmp_path / "a.pth", HASHES[0], timeout=0.5)
    assert not (tmp_path / "a.pth").exists()
    assert fetch(f"{server.url}/{name}", tmp_path / "a.pth", HASHES[0], timeout=0.5).read_bytes() == CONTENT
    assert server.asked == [(f"/{name}", 0), (f"/{name}", 98304)]  # six whole blocks of the 100,000 bytes
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_a_server_without_ranges_sends_the_whole_file_again(server, tmp_path):
    (tmp_path / ".a.pth.part").write_bytes(CONTENT[:100_000])
    assert fetch(f"{server.url}/whole", tmp_path / "a.pth", HASHES[0]).read_bytes() == CONTENT


def test_a_complete_part_is_used_if_its_hash_is_right(server, tmp_path):
    (tmp_path / ".a.pth.part").write_bytes(CONTENT)
    assert fetch(f"{server.url}/file", tmp_path / "a.pth", HASHES[0]).read_bytes() == CONTENT


def test_a_part_of_another_file_is_found_by_the_hash_and_not_resumed_twice(server, tmp_path):
    (tmp_path / ".a.pth.part").write_bytes(bytes(1000))
    with pytest.raises(FetchError, match="but got"):
        fetch(f"{server.url}/file", tmp_path / "a.pth", HASHES[0])
    assert fetch(f"{server.url}/file", tmp_path / "a.pth", HASHES[0]).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["file", "cut"])
def test_a_file_larger_than_expected_is_not_kept(server, tmp_path, name):
    with pytest.raises(FetchError, match="more than the expected 1000 bytes"):
        fetch(f"{server.url}/{name}", tmp_path / "a.pth", HASHES[0], most_bytes=1000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing", "the server answers 404"),
        ("hang", "the server does not answer.*Check the connection"),
        ("loop", "without end"),
    ],
)
def test_a_failed_download_says_why(server, tmp_path, name, sentence):
    with pytest.raises(FetchError, match=f"{server.url}/{name} could not be downloaded: .*{sentence}"):
        fetch(f"{server.url}/{name}", tmp_path / "a.pth", timeout=0.3)
    assert not list(tmp_path.iterdir())


def test_a_missing_server_is_an_error(tmp_path):
    with pytest.raises(FetchError, match="there is no connection"):
        fetch("http://127.0.0.1:9/a.pth", tmp_path / "a.pth", timeout=2)


@pytest.mark.parametrize("url", ["a.pth", "file:///etc/passwd", "ftp://127.0.0.1/a"])
def test_only_web_addresses_are_opened(tmp_path, url):
    assert not is_url(url)
    with pytest.raises(FetchError, match="is not a web address"):
        fetch(url, tmp_path / "a.pth")


def test_free_space_is_known_for_a_folder_that_does_not_exist_yet(tmp_path):
    assert free_bytes(tmp_path / "a" / "b") > 0
