"""A name, a path, an address or the folder of a run becomes the file of a checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from nussl_transfer.checkpoints import zoo
from nussl_transfer.checkpoints.checkpoint import read_info
from nussl_transfer.errors import CheckpointError, ConfigError
from nussl_transfer.runtime.download import sha256

CONTENT = b"a checkpoint"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        self.server.asked.append(self.path)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A registry of one bundled model, and a user's folder."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small.pth").write_bytes(CONTENT)
    registry = tmp_path / "zoo.json"
    registry.write_text(json.dumps({"small body": {"file": "small.pth", "what": "made up"}}))
    monkeypatch.setattr(zoo, "MODELS", tmp_path / "models")
    monkeypatch.setattr(zoo, "REGISTRY", registry)
    monkeypatch.setenv("NUSSL_TRANSFER_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def server(shelf):
    """A server of this machine that gives the files of `shelf / "web"`."""
    (shelf / "web").mkdir()
    (shelf / "web" / "far.pth").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=shelf / "web"))
    server.asked, server.url = [], f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def add(shelf, **entries):
    (shelf / "zoo.json").write_text(json.dumps(entries))


def test_a_bundled_name_is_a_file_of_the_package(shelf):
    assert zoo.resolve("small body") == shelf / "models" / "small.pth"


def test_a_path_is_itself(shelf):
    path = shelf / "models" / "small.pth"
    assert zoo.resolve(path) == zoo.resolve(str(path)) == path


def test_the_folder_of_a_run_is_its_best_network(shelf):
    best = shelf / "run" / "checkpoints" / "best.model.pth"
    best.parent.mkdir(parents=True)
    best.write_bytes(b"a checkpoint")
    assert zoo.resolve(shelf / "run") == best


@pytest.mark.parametrize("model", ["smal body", "no/such/file.pth", "."])
def test_a_model_that_does_not_exist_is_an_error_that_lists_the_names(shelf, monkeypatch, model):
    monkeypatch.chdir(shelf / "models")
    with pytest.raises(CheckpointError, match=f"There is no model '{model}': .*Published models: small body"):
        zoo.resolve(model)


def test_a_name_with_an_address_is_fetched_once_into_the_users_folder(shelf, server):
    add(shelf, far={"url": f"{server.url}/far.pth", "sha256": DIGEST, "bytes": len(CONTENT), "what": "far away"})
    path = zoo.resolve("far")
    assert path.read_bytes() == CONTENT and shelf / "home" in path.parents
    server.shutdown()
    server.server_close()
    assert zoo.resolve("far") == path
    assert server.asked == ["/far.pth"]


def test_a_read_only_package_works(shelf, server):
    add(shelf, far={"url": f"{server.url}/far.pth", "sha256": DIGEST, "what": "far away"})
    for folder in (shelf / "models", shelf):
        (shelf / "home").mkdir(exist_ok=True)
        os.chmod(folder, 0o555)
    before = sorted(path for path in shelf.rglob("*") if shelf / "home" not in path.parents)
    try:
        zoo.resolve("far")
    finally:
        os.chmod(shelf, 0o755)
        os.chmod(shelf / "models", 0o755)
    assert sorted(path for path in shelf.rglob("*") if shelf / "home" not in path.parents) == before


def test_another_file_under_a_name_is_deleted_before_anything_opens_it(shelf, server):
    add(shelf, far={"url": f"{server.url}/far.pth", "sha256": "0" * 64, "what": "far away"})
    with pytest.raises(CheckpointError, match=f"expected sha256:0{{64}} but got {DIGEST}"):
        zoo.resolve("far")
    assert not [path for path in (shelf / "home").rglob("*") if path.is_file()]


@pytest.mark.parametrize("fragment", ["", f"#sha256={DIGEST}"])
def test_an_address_is_fetched_once(shelf, server, fragment):
    path = zoo.resolve(f"{server.url}/far.pth{fragment}")
    assert path.name == "far.pth" and path.read_bytes() == CONTENT and shelf / "home" in path.parents
    assert zoo.resolve(f"{server.url}/far.pth{fragment}") == path
    assert server.asked == ["/far.pth"]


def test_an_address_with_another_hash_is_refused(shelf, server):
    with pytest.raises(CheckpointError, match="but got"):
        zoo.resolve(f"{server.url}/far.pth#sha256={'0' * 64}")


def test_two_addresses_with_one_file_name_are_two_models(shelf, server):
    (shelf / "web" / "b").mkdir()
    (shelf / "web" / "b" / "far.pth").write_bytes(b"another")
    assert zoo.resolve(f"{server.url}/far.pth") != zoo.resolve(f"{server.url}/b/far.pth")


@pytest.mark.parametrize("path", ["/..%2f..%2fstolen.pth", "/%2e%2e", "/"])
def test_an_address_never_leads_out_of_the_users_folder(shelf, server, path):
    before = {file for file in shelf.rglob("*") if shelf / "home" not in file.parents}
    try:
        zoo.resolve(server.url + path)
    except CheckpointError:
        pass  # there may be nothing at that address
    assert {file for file in shelf.rglob("*") if shelf / "home" not in file.parents} - {shelf / "home"} == before


def test_the_users_own_list_adds_names(shelf):
    (shelf / "home").mkdir()
    (shelf / "home" / "mine.pth").write_bytes(b"mine")
    (shelf / "home" / "zoo.json").write_text(json.dumps({"mine": {"file": "mine.pth", "what": "my own"}}))
    assert zoo.resolve("mine").read_bytes() == b"mine"
    assert zoo.resolve("small body") == shelf / "models" / "small.pth"
    assert "my own" in zoo.card("mine")
    for name in ("mine", "small body"):
        with pytest.raises(ConfigError, match=f"name '{name}' is taken by a published model"):
            zoo.check_name_is_free(name)
    zoo.check_name_is_free("another")


def test_the_users_own_list_cannot_take_a_name_of_the_packages(shelf):
    (shelf / "home").mkdir()
    (shelf / "home" / "zoo.json").write_text(json.dumps({"small body": {"file": "mine.pth", "what": "a thief"}}))
    with pytest.raises(CheckpointError, match="small body is the name of a model of nussl_transfer; rename the entry"):
        zoo.resolve("small body")


@pytest.mark.parametrize("content", ["{", "[]", '{"mine": {}}', '{"mine": 3}'])
def test_a_broken_list_of_the_users_is_named(shelf, content):
    (shelf / "home").mkdir()
    (shelf / "home" / "zoo.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"The list of models .*home/zoo\.json is wrong"):
        zoo.resolve("small body")


def test_a_card_is_the_written_one_or_else_the_entry(shelf):
    assert "what: made up" in zoo.card("small body")
    (shelf / "models" / "small body.md").write_text("# All about it\n")
    assert zoo.card("small body") == "# All about it\n"
    with pytest.raises(CheckpointError, match="no published model 'large body'. Published models: small body"):
        zoo.card("large body")


def test_every_bundled_model_is_the_file_that_its_entry_says():
    for name, about in json.loads(zoo.REGISTRY.read_text(encoding="utf-8")).items():
        path = zoo.MODELS / about["file"]
        info = read_info(path)
        assert sha256(path) == about["sha256"] and path.stat().st_size == about["bytes"] <= 10_000_000, name
        # A pretrained model is not a separator, so its entry names no sources.
        labels = [] if about["mode"] == "pretrain" else list(info.labels)
        assert labels == about["sources"] and info.mode == about["mode"] and info.parent == about["parent"]
        assert about["what"] and about["data"] and about["license"]
        assert zoo.card(name).startswith("---\nlicense: ") and f"# {name}\n" in zoo.card(name)


# A name and a path ----------------------------------------------------------------------------------------------------


@pytest.fixture
def here(shelf, monkeypatch):
    """The working folder, with a run and a file that are called as published models are."""
    add(shelf, **{name: {"file": "small.pth", "what": "made up"} for name in ("choir", "quartet", "body")})
    folder = shelf / "here"
    best = folder / "choir" / "checkpoints" / "best.model.pth"
    best.parent.mkdir(parents=True)
    best.write_bytes(b"my choir")
    (folder / "quartet").write_bytes(b"my quartet")
    (folder / "body").mkdir()  # a folder of something else
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(("name", "kind"), [("choir", "run"), ("quartet", "file")])
def test_a_name_that_is_a_run_or_a_file_as_well_is_refused_with_the_way_out(here, name, kind):
    with pytest.raises(CheckpointError) as told:
        zoo.resolve(name)
    assert str(told.value) == (
        f"'{name}' is both a published model and a {kind} in this folder. Write ./{name} for the {kind}. For the published "
        f"model, work in another folder or rename the {kind}."
    )


def test_a_path_to_them_is_the_path(here):
    assert zoo.resolve("./choir").read_bytes() == zoo.resolve(here / "choir").read_bytes() == b"my choir"
    assert zoo.resolve("./quartet").read_bytes() == zoo.resolve(Path("quartet")).read_bytes() == b"my quartet"


def test_a_folder_that_is_no_run_does_not_hide_a_published_model(here, shelf):
    assert zoo.resolve("body") == shelf / "models" / "small.pth"


def test_a_run_without_a_best_network_is_an_error_and_not_the_published_model(here):
    (here / "body" / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="'body' is both a published model and a run"):
        zoo.resolve("body")
    with pytest.raises(CheckpointError, match="The run body has no best network yet"):
        zoo.resolve("./body")
