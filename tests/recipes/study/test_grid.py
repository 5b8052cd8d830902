"""The grid of a study: the paper's numbers of networks, the experiment of each, and the list of jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from layouts import TREES

from nussl_transfer.errors import ConfigError
from recipes.study.grid import Body, Grid, Model
from recipes.study.jobs import jobs_table, left_to_do, list_jobs
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
    # Besides the paper's 75 models: each of the ten pieces of Bach10 left out, from scratch and from three bodies.
    assert len(of_paper.bodies) == 12 * seeds and len(of_paper.models) == (75 + 10 * 4) * seeds


def test_medium_has_six_bodies_and_baselines_of_equal_and_of_six_times_the_iterations(study):
    medium = Grid(study, "medium", "there", CONF)
    assert len(medium.bodies) == 6 and {medium.iterations(body) for body in medium.bodies.values()} == {10_000}
    modes = [model.mode for model in medium.models.values()]
    # Two seeds; three sets, six bodies.
    assert {mode: modes.count(mode) for mode in modes} == {"scratch": 6, "scratch_equal": 6, "whole": 36, "mask": 36}
    assert {model.body.seed for model in medium.models.values() if model.body} == {0}
    fine_tuned = medium.experiment(medium.models["choir-slakh-stretch-whole-1"])
    assert fine_tuned.start.checkpoint == "there/bodies/slakh-stretch-0.pth" and fine_tuned.training.seed == 1
    for name, iterations in (("whole", 500), ("mask", 500), ("scratch_equal", 500), ("scratch", 3000)):
        of_mode = [model for model in medium.models.values() if model.mode == name]
        assert {medium.iterations(model) for model in of_mode} == {iterations}
    equal = medium.experiment(medium.models["choir-scratch_equal-0"])
    long = medium.experiment(medium.models["choir-scratch-0"])
    assert equal == replace(long, training=replace(long.training, iterations=500))
    # Everything else is as in small.
    small = Grid(study, "small", "there", CONF).experiment(Model("choir", None, None, "scratch", 0))
    assert (long.network, long.data, long.test) == (small.network, small.data, small.test)


def test_sets_choose_pretraining_and_downstream_sets(study):
    grid = Grid(study, "paper", "there", CONF, sets=["bach10", "choir"])
    assert list(grid.downstreams) == ["bach10", "choir", "bach10_folds"]
    assert list(grid.pretrainings) == ["musdb", "slakh", "musdb_slakh"] and grid.left_out == {"remixpacks": "Remixpacks"}
    grid = Grid(study, "paper", "there", CONF, sets=["musdb", "bach10_folds"])
    assert list(grid.downstreams) == ["bach10_folds"] and list(grid.pretrainings) == ["musdb"]
    assert {body.pretraining for body in grid.bodies.values()} == {"musdb"}
    with pytest.raises(ConfigError, match="no set 'bach': this size has musdb, slakh, musdb_slakh, bach10"):
        Grid(study, "paper", "there", CONF, sets=["bach"])


def test_each_piece_of_bach10_is_left_out_in_size_paper_before_the_data_are_there(study):
    grid = Grid(study, "paper", "there", CONF, {"Bach10": "/nowhere"})
    of_set = {model.fold: model for model in grid.models.values() if model.downstream == "bach10_folds"}
    assert list(of_set) == [f"{number:02}" for number in range(1, 11)]
    store = grid.experiment(of_set["07"]).data.stores["bach10"]
    assert (store.folder, store.options) == ("/nowhere", {"held_out": 7})


def test_the_jobs_of_a_study_have_their_data_sets_and_say_which_are_missing(study, tmp_path):
    (tmp_path / "bach10" / "01-x").mkdir(parents=True)
    grid = Grid(study, "paper", tmp_path, CONF, {"Bach10": str(tmp_path / "bach10")}, ["bach10", "choir", "musdb"])
    jobs = list_jobs(grid)
    count = {rule: sum(job.rule == rule for job in jobs) for rule in dict.fromkeys(job.rule for job in jobs)}
    models = 3 * (2 * (1 + 4 * 2) + 10 * 2)
    assert count == {
        "data": 1 + 12, "pretrain": 12, "finetune": models, "score": models + 2 * 12, "example": 2, "report": 1,
    }  # fmt: skip
    table = jobs_table(grid)
    lines = {tuple(line.split()[:2]): line for line in table.splitlines()}
    assert lines["MUSDB18", "data/musdb18hq"].endswith("missing") and lines["Bach10", str(tmp_path / "bach10")].endswith(
        "there"
    )
    assert "MUSDB18 (missing)" in lines["pretrain", "musdb-pitch-1"] and "10,000" in lines["pretrain", "musdb-pitch-1"]
    assert "Remixpacks" not in table
    said = left_to_do(grid)
    assert "Left out: Slakh, MUSDB+Slakh, Remixpacks." in said
    assert "Missing data sets: MUSDB18 (data/musdb18hq), DagstuhlChoirSet" in said and "Bach10 (" not in said
    # Data sets that the study renders are not called missing.
    small = Grid(study, "small", tmp_path, CONF)
    assert [job.name for job in list_jobs(small) if job.rule == "corpus"] == [
        "musdb18", "slakh", "bach10", "choirset", "remixpacks",
    ]  # fmt: skip
    assert "missing" not in jobs_table(small).lower()


def test_names_are_unique_and_say_how_a_network_is_made(small):
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


def test_stand_ins_are_read_from_the_study_and_real_sets_from_their_folders(small, study):
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


def test_an_unknown_size_or_folder_is_an_error(study):
    with pytest.raises(ConfigError, match=r"The size is wrong: got 'big', expected one of paper, small, medium, smoke"):
        Grid(study, "big", "there", CONF)
    with pytest.raises(ConfigError, match=r"no data set 'slakh' to give a folder for: expected .*Slakh"):
        Grid(study, "small", "there", CONF, {"slakh": "/data"})


def test_jobs_left_to_do_are_counted_and_their_time_estimated_from_the_finished_ones(study, tmp_path):
    plan = replace(study, sizes={"tiny": replace(study.sizes["smoke"], conditions=("none",))})
    grid = Grid(plan, "tiny", tmp_path, CONF)  # a body, a baseline, a whole and a mask model
    assert "1 of 1 bodies, 3 of 3 models, 3 of 3 scores. The time can be estimated" in left_to_do(grid)
    # 8 iterations from scratch and 4 of pretraining, timed as from scratch; 4 each of whole and mask, timed as whole.
    timed = replace(plan, sizes={"tiny": replace(plan.sizes["tiny"], seconds_per_iteration={"scratch": 300, "whole": 150})})
    assert "about 1.3 hours of jobs, estimated from an earlier study" in left_to_do(Grid(timed, "tiny", tmp_path, CONF))

    def write(path, value):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")

    # 900 s per iteration; 4 iterations of pretraining and twice 4 of fine-tuning are left.
    write(tmp_path / "runs" / "bach10-scratch-0" / "curve.json", {"points": [{"iteration": 8, "seconds": 7200.0}]})
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bach10-scratch-0.pth").touch()
    assert (
        "1 of 1 bodies, 2 of 3 models, 3 of 3 scores: about 3.0 hours of jobs, estimated from the finished ones"
        in left_to_do(grid)
    )
    write(tmp_path / "scores" / "bach10-scratch-0.json", {"seconds": 1800.0})
    assert "2 of 3 scores: about 4.0 hours" in left_to_do(grid)
    for name in ("bodies/musdb-none-0.pth", "models/bach10-musdb-none-whole-0.pth", "models/bach10-musdb-none-mask-0.pth"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for mode in ("whole", "mask"):
        write(tmp_path / "scores" / f"bach10-musdb-none-{mode}-0.json", {})
    assert left_to_do(grid).endswith("is done: 1 bodies, 3 models, all scored.")
