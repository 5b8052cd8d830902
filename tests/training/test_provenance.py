"""Provenance: versions, the commit of the source, seed, manifests, experiment."""

from __future__ import annotations

import hashlib
import subprocess
from importlib import metadata

import pytest

import nussl_transfer
from nussl_transfer.training import provenance as module
from nussl_transfer.training.provenance import commit_of, provenance


@pytest.fixture
def repository(tmp_path):
    """A folder under git with one file of source, and a function that calls git there."""
    source = tmp_path / "repository" / "package"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("one = 1\n")

    def git(*words: str) -> str:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *who, *words], cwd=source.parent, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", "package")
    git("commit", "-q", "-m", "one")
    return source, git


def test_provenance_has_gits_commit_and_whether_the_source_changed(repository):
    source, git = repository
    assert commit_of(source) == {"commit": git("rev-parse", "HEAD"), "changed": False}
    (source / "__init__.py").write_text("two = 2\n")
    assert commit_of(source) == {"commit": git("rev-parse", "HEAD"), "changed": True}


def test_a_package_installed_inside_another_repository_has_no_commit(repository):
    source, _ = repository
    (source / "site-packages" / "nussl_transfer").mkdir(parents=True)
    (source / "site-packages" / "nussl_transfer" / "__init__.py").write_text("")
    assert commit_of(source / "site-packages" / "nussl_transfer") == {"commit": None, "changed": None}


def test_outside_a_repository_and_without_git_there_is_no_commit(tmp_path, repository, monkeypatch):
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(tmp_path) == {"commit": None, "changed": None}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(repository[0]) == {"commit": None, "changed": None}


def test_versions_are_the_installed_ones(monkeypatch):
    monkeypatch.setattr(module, "PACKAGES", ("numpy", "no such package"))
    found = provenance()["versions"]
    assert found["numpy"] == metadata.version("numpy") and found["no such package"] is None
    assert found["nussl-transfer"] == nussl_transfer.__version__


def test_stores_are_identified_by_the_hash_of_their_manifest(tiny_store):
    manifest = (tiny_store.folder / "manifest.json").read_bytes()
    found = provenance([tiny_store.select(names=["song 1"])], seed=4, experiment={"training": {"seed": 4}})
    assert found["stores"] == {str(tiny_store.folder): hashlib.sha256(manifest).hexdigest()}
    assert found["seed"] == 4 and found["experiment"] == {"training": {"seed": 4}}
    assert "experiment" not in provenance([tiny_store])
