"""Tests of the log file of a run."""

from __future__ import annotations

import os

from nussl_transfer.runtime.log import logged_to, logger


def test_messages_go_to_the_file_within_the_block_once_also_when_nested(tmp_path):
    with logged_to(tmp_path), logged_to(tmp_path):
        logger.info("inside")
    logger.warning("outside")
    (line,) = (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()
    assert line.endswith(" inside")


def test_a_name_that_is_not_utf8_is_logged_with_an_escape(tmp_path):
    with logged_to(tmp_path):
        logger.info("%s is read", os.fsdecode(b"fl\xf6te.wav"))
        logger.info("next")
    lines = (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()
    assert lines[0].endswith(r" fl\xf6te.wav is read") and lines[1].endswith(" next")
