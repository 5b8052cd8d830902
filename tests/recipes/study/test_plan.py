"""The plan of a study: the shipped file, sizes that inherit, and errors."""

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


def test_the_shipped_plan_is_the_papers_grid():
    study = read_study(CONF / "study.yml")
    assert list(study.pretrainings.values()) == ["MUSDB", "Slakh", "MUSDB+Slakh"]
    assert [condition.shown for condition in study.conditions.values()] == [
        "No augmentation", "Pitch shift", "Time stretch", "Incoherent mixing",
    ]  # fmt: skip
    assert [about.shown for about in study.downstreams.values() if not about.optional] == [
        "Bach10", "Dagstuhl ChoirSet", "Remixpacks",
    ]  # fmt: skip
    assert study.modes == ("whole", "mask") and set(study.sizes) == {"paper", "small", "medium", "smoke"}


def test_every_kind_of_job_has_its_resources_in_each_size():
    for size in read_study(CONF / "study.yml").sizes.values():
        for kind in ("pretrain", "finetune", "score", "data"):
            needs = getattr(size.resources, kind)
            assert needs.mem_mb >= 1000 and needs.runtime >= 5 and needs.gpu in (0, 1)


def test_a_corpus_has_the_options_of_its_command():
    assert Corpus("musdb18", "musdb18hq", minutes=0.4, tracks=4).options() == "--tracks 4 --minutes 0.4"
    assert Corpus("bach10", "", held_out=2).options() == "--held_out 2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("sizes:", "size:"), r"line 6: there is no key size\. Did you mean sizes\?"),
        (("about: tiny", "about: tiny, thread: 2"), r"no key sizes\.tiny\.thread\. Did you mean sizes\.tiny\.threads\?"),
        (("about: tiny", "about: tiny, conditions: [pich]"), r"sizes\.tiny\.conditions names 'pich', which the study"),
        (("about: tiny", "about: tiny, pretrainings: [musdb18]"), r"Did you mean 'musdb'\?"),
        (("experiment: choir", "experiment: choir, conditions: [all]"), r"Known names: none\."),
        (("modes: [whole]", "modes: [half]"), r"modes takes a list \(each one of 'whole', 'mask'\), got \['half'\]"),
        (("modes: [whole]\n", ""), r"modes is missing and has no default"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_place(tmp_path, change, message):
    read_study(written(tmp_path, SMALLEST))
    with pytest.raises(ConfigError, match=message):
        read_study(written(tmp_path, SMALLEST.replace(*change)))


@pytest.mark.parametrize("text", ["[1, 2]", "a: {b", ""])
def test_a_file_that_is_not_a_plan_is_an_error(tmp_path, text):
    with pytest.raises(ConfigError, match=r"study\.yml"):
        read_study(written(tmp_path, text))


def test_a_missing_plan_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no.yml cannot be read"):
        read_study(tmp_path / "no.yml")


def test_a_size_has_the_keys_of_the_size_that_it_is_like(tmp_path):
    sizes = """
sizes:
  tiny: {about: tiny, threads: 2, overrides: [a.b=1], folders: {X: x, Y: y}, resources: {score: {runtime: 7, gpu: 1}}}
  more: {like: tiny, about: more, seeds: [0, 1], overrides: [a.b=2], folders: {Y: z}, resources: {score: {runtime: 9}}}
  most: {like: more, about: most, threads: 3}
"""
    study = read_study(written(tmp_path, SMALLEST.replace("sizes: {tiny: {about: tiny}}", sizes)))
    tiny, more, most = (study.sizes[name] for name in ("tiny", "more", "most"))
    assert (tiny.seeds, tiny.overrides, tiny.resources.score.runtime) == ((0,), ("a.b=1",), 7)
    # Overrides are added, mappings are merged key by key, all else is replaced.
    assert more.overrides == ("a.b=1", "a.b=2") and more.folders == {"X": "x", "Y": "z"}
    assert (more.about, more.seeds, more.threads) == ("more", (0, 1), 2)
    assert (more.resources.score.runtime, more.resources.score.gpu) == (9, 1)
    assert (most.seeds, most.threads, most.overrides) == ((0, 1), 3, more.overrides)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ("{tiny: {about: tiny, like: tinny}}", r"sizes\.tiny\.like names 'tinny', which the study does not have"),
        ("{a: {about: a, like: b}, b: {about: b, like: a}}", r"sizes\.b\.like leads back to 'a'"),
        ("{tiny: {about: tiny, like: tiny}}", r"sizes\.tiny\.like leads back to 'tiny'"),
        ("{tiny: {about: tiny, baselines: [scratch_equal]}}", r"sizes\.tiny\.baselines lacks 'scratch'"),
    ],
)
def test_a_size_that_cannot_be_resolved_is_an_error(tmp_path, sizes, message):
    with pytest.raises(ConfigError, match=message):
        read_study(written(tmp_path, SMALLEST.replace("{tiny: {about: tiny}}", sizes)))
