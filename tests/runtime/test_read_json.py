"""The error for a missing or wrong JSON file names it, and says what was found, what was expected and what to do."""

from __future__ import annotations

import re

import pytest

from nussl_transfer.errors import DataError
from nussl_transfer.runtime.files import read_json


def test_an_object_with_its_keys_is_returned(tmp_path):
    (tmp_path / "a.json").write_text('{"format": 1, "labels": ["bass"], "more": null}')
    assert read_json(tmp_path / "a.json", ("labels",), version=1) == {"format": 1, "labels": ["bass"], "more": None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("", "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ("\x00", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"format": 1, "labels": NaN}', "cannot be read as JSON: NaN is not a JSON number"),
        ("[1]", "is wrong: got a JSON list, expected an object"),
        ("null", "is wrong: got a JSON NoneType, expected an object"),
        ('{"format": 2, "labels": []}', "is wrong: got format 2, expected 1"),
        ('{"labels": []}', "is wrong: got format None, expected 1"),
        ('{"format": 1}', "lacks labels, models"),
    ],
)
def test_a_wrong_file_is_named_with_the_advice(tmp_path, content, message):
    path = tmp_path / "scores.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))} {re.escape(message)}.*Score again\\.$"):
        read_json(path, ("labels", "models"), "Score again.", version=1)
