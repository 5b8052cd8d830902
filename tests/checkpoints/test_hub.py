"""``hf://owner/name``: a model of the Hugging Face hub, from a server of this machine that answers the hub's requests."""

from __future__ import annotations

import hashlib
import json
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import nussl
import pytest
import torch

from nussl_transfer.checkpoints import zoo
from nussl_transfer.checkpoints.checkpoint import (
    CheckpointInfo,
    load,
    read_checkpoint,
    read_info,
    save_safetensors,
    write_checkpoint,
)
from nussl_transfer.checkpoints.hub import HubAddress, parse_address
from nussl_transfer.errors import CheckpointError

FIRST, SECOND = "1" * 40, "2" * 40


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """Answers the two requests of the hub's client: what is in a revision, and a file of a commit."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.asked.append(f"{self.command} {self.path}")
        if self.server.down:
            self.send_error(503)
            return
        parts = self.path.partition("?")[0].strip("/").split("/")
        commits, files = self.server.commits, self.server.files
        if parts[:2] == ["api", "models"] and "/".join(parts[2:4]) == "somebody/band" and parts[5] in commits:
            commit = commits[parts[5]]
            listed = [self.about(name, content) for name, content in files[commit].items()]
            self.answer(json.dumps({"id": "somebody/band", "sha": commit, "siblings": listed}).encode(), {})
        elif parts[0] == "somebody" and parts[2] == "resolve" and parts[4] in files.get(parts[3], {}):
            content = files[parts[3]][parts[4]]
            given = self.server.spoil.get(parts[4], content)
            about = self.about(parts[4], content)
            etag = about["lfs"]["sha256"] if "lfs" in about else about["blobId"]
            self.answer(given, {"ETag": f'"{etag}"', "X-Repo-Commit": parts[3]})
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound" if "band" not in self.path else "RevisionNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def about(self, name: str, content: bytes) -> dict:
        found = {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
        if not name.endswith((".json", ".md")):
            found["lfs"] = {"sha256": sha256(content), "size": len(content), "pointerSize": 100}
        return found

    def answer(self, content: bytes, headers: dict) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def info(tiny_stft) -> CheckpointInfo:
    return CheckpointInfo(
        ("bass", "drums", "voice"), "whole", 8000, tiny_stft, 2.5, "body", {"name": "tiny", "minutes": 5.5}
    )


@pytest.fixture
def model(small_chimera):
    return small_chimera().eval()


@pytest.fixture
def published(tmp_path, model, info) -> dict[str, bytes]:
    """The files of a repository in the hub's form."""
    save_safetensors(tmp_path / "published", model, info)
    files = {path.name: path.read_bytes() for path in (tmp_path / "published").iterdir()}
    return {**files, "README.md": b"# band", ".gitattributes": b""}


@pytest.fixture
def hub(tmp_path, monkeypatch, published):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.spoil, server.down = [], {}, False
    server.commits = {"main": FIRST, "v1": FIRST, FIRST: FIRST}
    server.files = {FIRST: published}
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NUSSL_TRANSFER_HOME", str(tmp_path / "home"))
    yield server
    server.shutdown()
    server.server_close()


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_an_address_has_a_repository_a_revision_and_a_file():
    assert parse_address("hf://somebody/band") == HubAddress("somebody/band", "main", None)
    assert parse_address("hf://somebody/band@refs%2Fpr%2F1/x.pth") == HubAddress("somebody/band", "refs/pr/1", "x.pth")
    for wrong in ("hf://band", "hf://somebody/band@", "hf://a/b/../c.pth", "hf://a/b@v1/x/y.pth", "hf://a/b?x"):
        with pytest.raises(CheckpointError, match="Write hf://owner/name"):
            parse_address(wrong)


@pytest.mark.parametrize("revision", ["", "@main", "@v1", f"@{FIRST}"])
def test_a_repository_with_safetensors_loads_as_what_was_published(hub, model, info, revision):
    checkpoint = load(f"hf://somebody/band{revision}", device="cpu")
    assert same(checkpoint.model.state_dict(), model.state_dict()) and checkpoint.info == info
    assert not [asked for asked in hub.asked if "README" in asked or "gitattributes" in asked]


def test_a_repository_with_a_checkpoint_of_nussls_loads(hub, tmp_path, model, info):
    write_checkpoint(tmp_path / "band.pth", model, info, half=True)
    content = (tmp_path / "band.pth").read_bytes()
    hub.files[FIRST] = {"band.pth": content, "band.full.pth": content + b" ", "README.md": b"# band"}
    path = zoo.resolve("hf://somebody/band")
    assert path.read_bytes() == content and read_info(path) == info
    assert zoo.resolve("hf://somebody/band/band.full.pth").read_bytes() == content + b" "


def test_a_file_is_downloaded_once(hub):
    first, before = zoo.resolve("hf://somebody/band"), len(hub.asked)
    assert zoo.resolve("hf://somebody/band") == first
    again = hub.asked[before:]
    assert all("/api/models/" in asked or asked.startswith("HEAD") for asked in again), again


def test_a_branch_that_moved_on_gives_the_new_model_and_a_commit_stays(
    hub, caplog, published, tmp_path, small_chimera, info
):
    caplog.set_level("INFO")
    old = read_checkpoint(zoo.resolve("hf://somebody/band"))[0].state_dict()
    assert f"To use exactly this one again, write hf://somebody/band@{FIRST}." in caplog.text
    save_safetensors(tmp_path / "new", small_chimera(seed=5), info)
    hub.files[SECOND] = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    hub.commits["main"] = SECOND
    assert not same(read_checkpoint(zoo.resolve("hf://somebody/band"))[0].state_dict(), old)
    assert same(read_checkpoint(zoo.resolve(f"hf://somebody/band@{FIRST}"))[0].state_dict(), old)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_with_another_hash_is_refused_and_deleted(hub, published, name, tmp_path):
    hub.spoil[name] = bytes(len(published[name]))
    with pytest.raises(CheckpointError, match=f"{name} has the wrong hash: got .*, expected .*It was deleted"):
        zoo.resolve("hf://somebody/band")
    assert not [path for path in (tmp_path / "home").rglob(name) if path.exists()]
    hub.spoil.clear()
    assert zoo.resolve("hf://somebody/band").exists()


@pytest.mark.parametrize("gone", ["down", "closed"])
def test_without_the_hub_an_earlier_download_is_used_and_checked(hub, model, gone, caplog):
    caplog.set_level("INFO")
    path = zoo.resolve("hf://somebody/band")
    if gone == "down":
        hub.down = True
    else:
        hub.shutdown()
        hub.server_close()
    for address in ("hf://somebody/band", f"hf://somebody/band@{FIRST}"):
        assert zoo.resolve(address) == path
    assert "using the earlier download of commit 111" in caplog.text
    with pytest.raises(CheckpointError, match="the hub cannot be reached .* and it was not downloaded before"):
        zoo.resolve("hf://somebody/other")
    path.resolve().write_bytes(b"changed on the disk")
    with pytest.raises(CheckpointError, match="wrong hash"):
        zoo.resolve("hf://somebody/band")


@pytest.mark.parametrize("address", ["hf://nobody/nothing", "hf://somebody/band@v9"])
def test_a_missing_repository_or_revision_is_a_one_sentence_error(hub, address):
    with pytest.raises(CheckpointError, match=f"Model {address} cannot be read from the hub: .*Check the address"):
        zoo.resolve(address)


@pytest.mark.parametrize(
    ("names", "found"), [([], "none"), (["a.pth", "b.pth"], "a.pth, b.pth"), (["model.safetensors"], "model.safetensors")]
)
def test_a_repository_without_one_model_is_refused_and_shows_what_it_has(hub, names, found):
    hub.files[FIRST] = dict.fromkeys(names, b"x")
    with pytest.raises(CheckpointError, match=f"does not lead to one model: .* it has {found}"):
        zoo.resolve("hf://somebody/band")


# The files, which are not trusted -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, model, info) -> Path:
    save_safetensors(tmp_path / "folder", model, info, half=True)
    return tmp_path / "folder"


def test_safetensors_in_half_precision_load_as_a_checkpoint_in_half_precision_does(folder, tmp_path, model, info):
    write_checkpoint(tmp_path / "model.pth", model, info, half=True)
    (one, first), (other, second) = (read_checkpoint(p) for p in (folder / "model.safetensors", tmp_path / "model.pth"))
    assert same(one.state_dict(), other.state_dict()) and first == second == info


def test_nussl_separates_with_a_model_that_came_as_safetensors(folder, signals):
    signal = nussl.AudioSignal(audio_data_array=signals(1, 0.5, 8000)[0].audio_data, sample_rate=8000)
    estimates = nussl.separation.deep.DeepMaskEstimation(signal, str(folder / "model.safetensors"))()
    np.testing.assert_allclose(sum(estimate.audio_data for estimate in estimates), signal.audio_data, atol=1e-5)


def change(folder: Path, **changes) -> Path:
    about = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        about[key] = value(about[key]) if callable(value) else value
    (folder / "config.json").write_text(json.dumps(about))
    return folder / "model.safetensors"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "transformers"}, "is not the configuration of a nussl_transfer model: it should be of format"),
        ({"sample_rate": "8000"}, "lacks its sample rate"),
        ({"sample_rate": 10**12}, "is impossible"),
        ({"stft_params": {}}, "lacks a value"),
        ({"stft_params": 3}, "lacks a value"),
        ({"labels": ["one"]}, "names 1 sources and has 3 masks"),
        ({"labels": 3}, "is damaged"),
        ({"network": {}}, "is damaged|do not fit"),
        ({"network": lambda n: {**n, "modules": {"x": {"class": "os.system", "args": {}}}}}, "do not fit"),
        ({"network": None}, "is damaged|do not fit"),
    ],
)
def test_a_configuration_that_lies_is_refused(folder, changes, message):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(change(folder, **changes))


@pytest.mark.parametrize("spoil", ["cut", "empty", "text", "no config", "huge config", "pickle"])
def test_damaged_files_are_refused(folder, tmp_path, model, info, spoil):
    path, config = folder / "model.safetensors", folder / "config.json"
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    elif spoil == "empty":
        path.write_bytes(b"")
    elif spoil == "text":
        path.write_text("weights")
    elif spoil == "no config":
        config.unlink()
    elif spoil == "huge config":
        config.write_bytes(b" " * 2**21)
    else:
        shutil.copy(write_checkpoint(tmp_path / "model.pth", model, info), path)
    with pytest.raises(CheckpointError, match="is damaged|is not the configuration"):
        read_checkpoint(path)


def test_weights_that_are_nan_or_infinite_are_refused_in_both_forms(tmp_path, model, info):
    for value in (float("nan"), float("inf")):
        with torch.no_grad():
            model.layers["mask"].linear.bias[0] = value
        for path in (write_checkpoint(tmp_path / "m.pth", model, info), save_safetensors(tmp_path / "m", model, info)[0]):
            with pytest.raises(CheckpointError, match=r"weights that are NaN or infinite, in layers\.mask\.linear\.bias"):
                load(path, device="cpu")
