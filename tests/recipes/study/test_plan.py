"""The study's plan: the file that ships, and what is refused in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from nussl_transfer.errors import ConfigError
from recipes.study.plan import Corpus, read_study

CONF = Path(__file__).parents[3] / "recipes" / "conf"
SMALLEST = """
pretrainings: {musdb: MUSDB}
conditions: {none: {shown: None}}
downstreams: {choir: {shown: Choir, experiment: choir}}
modes: [whole]
sizes: {tiny: {about: tiny}}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_plan_that_ships_is_the_papers_grid():
    study = read_study(CONF / "study.yml")
    assert list(study.pretrainings.values()) == ["MUSDB", "Slakh", "MUSDB+Slakh"]
    assert [condition.shown for condition in study.conditions.values()] == [
        "No augmentation", "Pitch shift", "Time stretch", "Incoherent mixing",
    ]  # fmt: skip
    assert [about.shown for about in study.downstreams.values() if not about.asked_for] == [
        "Bach10", "Dagstuhl ChoirSet", "Remixpacks",
    ]  # fmt: skip
    assert study.modes == ("whole", "mask") and set(study.sizes) == {"paper", "small", "small_equal", "smoke"}


def test_every_job_says_what_it_takes_in_each_size():
    for size in read_study(CONF / "study.yml").sizes.values():
        for kind in ("pretrain", "finetune", "score", "data"):
            needs = getattr(size.resources, kind)
            assert needs.mem_mb >= 1000 and needs.runtime >= 5 and needs.gpu in (0, 1)


def test_a_corpus_is_asked_for_in_the_words_of_its_command():
    assert Corpus("musdb18", "musdb18hq", minutes=0.4, tracks=4).options() == "--tracks 4 --minutes 0.4"
    assert Corpus("bach10", "", held_out=2).options() == "--held_out 2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("sizes:", "size:"), r"line 6: there is no key size\. Did you mean sizes\?"),
        (("about: tiny", "about: tiny, thread: 2"), r"no key sizes\.tiny\.thread\. Did you mean sizes\.tiny\.threads\?"),
        (("about: tiny", "about: tiny, conditions: [pich]"), r"sizes\.tiny\.conditions names 'pich', which the study"),
        (("about: tiny", "about: tiny, pretrainings: [musdb18]"), r"Did you mean 'musdb'\?"),
        (("experiment: choir", "experiment: choir, conditions: [all]"), r"There are none\."),
        (("modes: [whole]", "modes: [half]"), r"modes takes a list \(each one of 'whole', 'mask'\), got \['half'\]"),
        (("modes: [whole]\n", ""), r"modes is not given and has no default"),
    ],
)
def test_what_a_plan_cannot_say_is_told_with_its_place(tmp_path, change, message):
    read_study(written(tmp_path, SMALLEST))
    with pytest.raises(ConfigError, match=message):
        read_study(written(tmp_path, SMALLEST.replace(*change)))


@pytest.mark.parametrize("text", ["[1, 2]", "a: {b", ""])
def test_a_file_that_is_no_plan_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"study\.yml"):
        read_study(written(tmp_path, text))


def test_a_plan_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no.yml was asked for"):
        read_study(tmp_path / "no.yml")
