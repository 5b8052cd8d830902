"""Tests of the malloc option, which only the command line sets."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nussl_transfer
from nussl_transfer import cli
from nussl_transfer.runtime import memory
from nussl_transfer.separation.streaming import StreamSeparator


@pytest.fixture
def options(monkeypatch):
    """The malloc options that are set during the test."""
    options = []

    class Library:
        def __init__(self, name):
            self.mallopt = lambda *option: options.append(option)

    monkeypatch.setattr(memory.ctypes, "CDLL", Library)
    return options


def test_large_blocks_are_returned(options):
    memory.return_freed_memory()
    assert options == [(-3, 1 << 17)]


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.return_freed_memory()


def test_constructing_a_separator_sets_no_option_and_the_command_does(options, old_checkpoint, tmp_path):
    StreamSeparator(old_checkpoint)
    assert options == []
    cli.main(["separate", str(tmp_path / "absent.wav"), "--model", str(old_checkpoint), "--out", str(tmp_path / "out")])
    assert options == [(-3, 1 << 17)]


def test_only_the_command_line_calls_it():
    package = Path(nussl_transfer.__file__).parent
    users = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "return_freed_memory" for alias in node.names)
    }
    assert users == {"cli"}
