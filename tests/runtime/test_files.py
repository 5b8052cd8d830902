"""Tests of atomic writes, of names that are not UTF-8, and of the messages about system errors."""

from __future__ import annotations

import errno
import json
import os
import re

import pytest
import yaml

from nussl_transfer.cli.status import exit_status
from nussl_transfer.errors import DataError
from nussl_transfer.runtime.files import (
    explain_os_error,
    is_newer,
    printable,
    read_json,
    write_durably,
    write_json,
    write_same,
    write_text,
    written_aside,
)


def test_the_file_gets_its_name_when_the_block_succeeds(tmp_path):
    path = tmp_path / "made" / "on the way" / "file.txt"
    with written_aside(path) as aside:
        aside.write_text("new")
        assert not path.exists()
        assert aside.parent == path.parent, "a rename is atomic only within one file system"
        written = aside.stat().st_ino
    assert path.read_text() == "new"
    assert path.stat().st_ino == written, "a copy: a reader could find half of it"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_an_error_in_the_block_leaves_only_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="disk is full"), written_aside(path) as aside:
        aside.write_text("half of the n")
        raise OSError("disk is full")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("name", ["bass.wav", "latest.model.pth"])
def test_a_half_written_file_does_not_look_like_audio_or_a_checkpoint(tmp_path, name):
    with written_aside(tmp_path / name) as aside:
        aside.write_text("half")
        assert not list(tmp_path.glob("*.wav")) and not list(tmp_path.glob("*.pth"))
        assert aside.name.startswith(".") and aside.suffix == ".part"


def test_json_is_read_back_unchanged(tmp_path):
    value = {"label": "Äöü", "numbers": [1, 2.5, None, True], "nested": {"a": []}}
    write_json(tmp_path / "value.json", value)
    assert json.loads((tmp_path / "value.json").read_text(encoding="utf-8")) == value


def test_nan_is_an_error_and_the_old_file_stays(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["value.json"]


def test_a_file_is_newer_than_those_written_before_it(tmp_path):
    old, made, late = tmp_path / "old", tmp_path / "made", tmp_path / "late"
    for time, path in enumerate((old, made, late), start=1):
        path.write_text("x")
        os.utime(path, ns=(time, time))
    assert is_newer(made, old)
    assert not is_newer(made, old, late) and not is_newer(made, made) and not is_newer(tmp_path / "absent", old)


# Durability ----------------------------------------------------------------------------------------------------------


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    order, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append(os.fstat(file).st_size), sync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("named"), replace(*paths)))
    write_durably(tmp_path / "file", b"12345")
    assert order == [5, "named"] and (tmp_path / "file").read_bytes() == b"12345"


@pytest.mark.parametrize("call", ["write_text", "replace"])
def test_the_error_of_a_full_disk_names_the_file(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"), written_aside(path) as aside:
        full() if call == "write_text" else monkeypatch.setattr(os, "replace", full)
        aside.touch()


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"), written_aside(tmp_path / "file"):
        (tmp_path / "absent").read_bytes()


@pytest.mark.parametrize("has_links", [True, False])
def test_a_copy_keeps_its_content_when_the_original_is_replaced(tmp_path, monkeypatch, has_links):
    def without(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", without)
    first, second = tmp_path / "latest", tmp_path / "best"
    second.write_text("older")
    write_durably(first, b"1")
    write_same(second, first)
    write_same(second, first)
    write_durably(first, b"2")
    assert (first.read_bytes(), second.read_bytes()) == (b"2", b"1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "latest"]


# Odd names and system errors ------------------------------------------------------------------------------------------

LATIN = os.fsdecode(b"fl\xf6te.wav")  # Latin-1, not UTF-8


def test_a_name_that_is_not_utf8_is_written_and_read_back_in_json_and_yaml(tmp_path):
    write_json(tmp_path / LATIN, {"stems": [LATIN, "Flöte 😀"]})
    (tmp_path / LATIN).read_bytes().decode("utf-8")  # the file's content is UTF-8
    assert read_json(tmp_path / LATIN)["stems"] == [LATIN, "Flöte 😀"]
    text = yaml.safe_dump({"stem": LATIN}, allow_unicode=True)
    write_text(tmp_path / "a.yml", text)
    assert yaml.safe_load((tmp_path / "a.yml").read_text(encoding="utf-8")) == {"stem": LATIN}


def test_a_text_that_quotes_such_a_name_is_written_with_escapes(tmp_path):
    write_text(tmp_path / "page.html", f"<p>{LATIN} Flöte \ud800</p>")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == r"<p>fl\xf6te.wav Flöte \ud800</p>"


def test_an_error_about_such_a_name_can_be_encoded(tmp_path):
    (tmp_path / LATIN).write_text("{")
    with pytest.raises(DataError) as caught:
        read_json(tmp_path / LATIN)
    assert r"fl\xf6te.wav cannot be read" in str(caught.value).encode("utf-8").decode("utf-8")
    assert explain_os_error(OSError(errno.ENOSPC, "", LATIN)).encode("utf-8").startswith(rb"fl\xf6te.wav: the disk")


def test_printable_leaves_all_other_text_alone():
    for text in ("", "Flöte", "😀 e\u0301", "a\\b"):
        assert printable(text) == text


@pytest.mark.parametrize("name", ["a" * 255, "ö" * 127, "a" * 251 + ".wav"])
def test_a_name_as_long_as_the_system_allows_can_be_written(tmp_path, name):
    with written_aside(tmp_path / name) as first, written_aside(tmp_path / f"{name[:-1]}b") as second:
        assert first != second and first.name.startswith(".") and first.suffix == ".part"
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / name).read_text() == "1"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "the disk is full. Free some space"),
        (errno.EROFS, "read-only disk. Choose another folder"),
        (errno.EACCES, "permission is denied. Change its permissions or choose another folder"),
        (errno.ENAMETOOLONG, "the name is too long. Choose a shorter one"),
    ],
)
def test_a_system_error_is_explained_with_the_file_and_what_to_do(number, sentence):
    message = explain_os_error(OSError(number, os.strerror(number), "run/curve.json"))
    assert message.startswith("run/curve.json: ") and sentence in message


def test_other_system_errors_keep_the_systems_words():
    with pytest.raises(IsADirectoryError) as caught:
        open("/")
    assert explain_os_error(caught.value) == "[Errno 21] Is a directory: '/'"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError) as caught:
        write_text(tmp_path / "page.html", "")
    assert explain_os_error(caught.value).startswith(f"{tmp_path}/page.html: permission is denied")


def test_an_error_about_the_temporary_file_names_the_file_itself(tmp_path):
    with pytest.raises(PermissionError, match=r"/file\.txt'$"), written_aside(tmp_path / "file.txt") as aside:
        raise PermissionError(errno.EACCES, "Permission denied", str(aside))


@pytest.mark.parametrize(("number", "sentence"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "a read-only disk")])
def test_the_command_line_explains_a_system_error(capsys, number, sentence):
    def work():
        raise OSError(number, os.strerror(number), "run/curve.json")

    assert exit_status(work, "nussl-transfer") == 2
    assert re.match(f"nussl-transfer: run/curve.json: .*{sentence}.*same command again", capsys.readouterr().err)
