"""A plan unrolled: the paper's numbers of networks, and of each the experiment that makes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from layouts import TREES

from nussl_transfer.errors import ConfigError
from recipes.study.grid import Body, Grid, Model
from recipes.study.hours import left_to_do
from recipes.study.plan import read_study

CONF = Path(__file__).parents[3] / "recipes" / "conf"


@pytest.fixture(scope="module")
def study():
    return read_study(CONF / "study.yml")


@pytest.fixture(scope="module")
def small(study):
    return Grid(study, "small", "there", CONF)


def test_the_paper_has_12_bodies_3_baselines_and_72_models(small, study):
    modes = [model.mode for model in small.models.values()]
    assert len(small.bodies) == 12 and modes.count("scratch") == 3
    assert modes.count("whole") == modes.count("mask") == 36
    assert list(small.tests) == ["bach10", "choir", "remixpacks"]
    seeds = len(study.sizes["paper"].seeds)
    of_paper = Grid(study, "paper", "there", CONF)
    assert len(of_paper.bodies) == 12 * seeds and len(of_paper.models) == 75 * seeds


def test_a_size_may_have_some_of_the_conditions_and_modes_and_is_otherwise_as_small(study, small):
    equal = Grid(study, "small_equal", "there", CONF)
    assert [model.mode for model in equal.models.values()] == 3 * ["scratch"] + 9 * ["whole"]
    assert equal.modes == ("whole",) and set(equal.bodies) <= set(small.bodies) and set(equal.models) <= set(small.models)
    for name, model in equal.models.items():
        mine, theirs = equal.experiment(model), small.experiment(model)
        told = replace(theirs.training.iterations, finetune=720)
        assert mine == replace(theirs, training=replace(theirs.training, iterations=told)), name


def test_names_say_what_a_thing_is_and_no_two_are_the_same(small):
    assert Body("musdb", "pitch", 0).name == "musdb-pitch-0"
    assert Model("choir", "musdb", "pitch", "mask", 0).name == "choir-musdb-pitch-mask-0"
    assert Model("choir", None, None, "scratch", 1, "03").name == "choir.03-scratch-1"
    assert all(name == item.name for name, item in {**small.bodies, **small.models}.items())


def test_every_experiment_is_what_its_name_says(small):
    augmented = {"none": (), "pitch": ("pitch",), "stretch": ("stretch",), "incoherent": ()}
    for body in small.bodies.values():
        experiment = small.experiment(body)
        assert experiment.kind == "pretrain" and experiment.data.augment == augmented[body.condition]
        assert experiment.data.coherent == (0.0 if body.condition == "incoherent" else 1.0)
        assert len(experiment.data.stores) == (2 if body.pretraining == "musdb_slakh" else 1)
    for model in small.models.values():
        experiment = small.experiment(model)
        if model.mode == "scratch":
            assert experiment.kind == "scratch" and experiment.start.checkpoint is None
        else:
            assert experiment.training.mode == model.mode
            assert experiment.start.checkpoint == f"there/bodies/{model.body.name}.pth"
        assert experiment.test.excerpt_list == f"there/excerpts/{model.downstream}.jams"
        assert experiment.test.coherent == (model.downstream != "remixpacks")


def test_all_bodies_of_a_set_share_its_store(small):
    places = {(body.pretraining, small.experiment(body).data.prepared) for body in small.bodies.values()}
    assert places == {(name, "there/stores") for name in small.pretrainings}


def test_stand_ins_are_taken_from_the_study_and_real_sets_from_where_they_lie(small, study):
    choir = small.experiment(small.models["choir-scratch-0"]).data.stores["choir"]
    assert choir.folder == "there/corpora/choirset/DagstuhlChoirSet_V1.2.3"
    # Bach10's stand-in has pieces of its own to be tested on.
    bach10 = small.experiment(small.models["bach10-scratch-0"]).data.stores["bach10"]
    assert (bach10.folder, bach10.options) == ("there/corpora/bach10", {})
    paper = Grid(study, "paper", "there", CONF, {"Slakh": "/data/slakh"})
    stores = paper.experiment(paper.bodies["musdb_slakh-none-0"]).data.stores
    assert stores["slakh_common"].folder == "/data/slakh" and stores["musdb_common"].folder == "data/musdb18hq"
    assert paper.experiment(paper.models["bach10-scratch-0"]).data.stores["bach10"].options == {"held_out": 10}


def test_a_recorded_set_leaves_out_each_piece_once(study, tmp_path):
    tree = TREES["Bach10"](tmp_path / "trees")
    grid = Grid(study, "small", "there", CONF, {"bach10_recorded": str(tree)})
    of_set = [model for model in grid.models.values() if model.downstream == "bach10_recorded"]
    folds = grid.folds["bach10_recorded"]
    assert len(folds) >= 2 and len(of_set) == len(folds) * (1 + 3)
    held = [grid.experiment(model).data.stores["bach10"] for model in of_set if model.mode == "scratch"]
    assert sorted(int(about.options["held_out"]) for about in held) == sorted(map(int, folds))
    assert {about.folder for about in held} == {str(tree)}
    # Each fold has a store of its own: the split is written in it.
    assert len({grid.experiment(model).data.prepared for model in of_set}) == len(folds)


def test_a_size_or_a_folder_that_there_is_not_is_refused(study):
    with pytest.raises(ConfigError, match=r"size 'big' was asked for: there are paper, small, small_equal, smoke"):
        Grid(study, "big", "there", CONF)
    with pytest.raises(ConfigError, match=r"The folder of 'slakh' was given: the study's sets are .*Slakh"):
        Grid(study, "small", "there", CONF, {"slakh": "/data"})


def test_what_is_left_to_do_is_counted_and_judged_by_what_is_done(study, tmp_path):
    plan = replace(study, sizes={"tiny": replace(study.sizes["smoke"], conditions=("none",))})
    grid = Grid(plan, "tiny", tmp_path, CONF)  # a body, a baseline, a whole and a mask model
    assert "1 of 1 bodies, 3 of 3 models, 3 of 3 scores; how long" in left_to_do(grid)

    def write(path, value):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")

    # 900 s an iteration; 4 to pretrain and twice 4 to fine-tune are left, 3 of those runs not timed.
    write(tmp_path / "runs" / "bach10-scratch-0" / "curve.json", {"points": [{"iteration": 8, "seconds": 7200.0}]})
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bach10-scratch-0.pth").touch()
    assert "1 of 1 bodies, 2 of 3 models, 3 of 3 scores: about 3.0 hours" in left_to_do(grid)
    write(tmp_path / "scores" / "bach10-scratch-0.json", {"seconds": 1800.0})
    assert "2 of 3 scores: about 4.0 hours" in left_to_do(grid)
    for name in ("bodies/musdb-none-0.pth", "models/bach10-musdb-none-whole-0.pth", "models/bach10-musdb-none-mask-0.pth"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for mode in ("whole", "mask"):
        write(tmp_path / "scores" / f"bach10-musdb-none-{mode}-0.json", {})
    assert left_to_do(grid).endswith("is done: 1 bodies, 3 models, all scored.")
