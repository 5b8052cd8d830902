"""The score file of a model against the rows of `score`; the description of a study and its data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.errors import DataError
from nussl_transfer.evaluation.excerpts import make_excerpts
from nussl_transfer.evaluation.jams import write_excerpts
from nussl_transfer.evaluation.score import score
from nussl_transfer.store.store import StoreWriter
from recipes.study.grid import Body, Grid
from recipes.study.plan import read_study
from recipes.study.scores import read_scores, write_scores
from recipes.study.study_file import describe_data, write_plan

CONF = Path(__file__).parents[3] / "recipes" / "conf"


@pytest.fixture
def listed(tiny_store, tmp_path):
    excerpts = make_excerpts(tiny_store, 0.5, 6, coherent=False)
    write_excerpts(tmp_path / "list.jams", excerpts, tiny_store.sample_rate)
    return tmp_path / "list.jams", excerpts


def test_a_score_file_has_the_rows_of_score_in_columns(tiny_store, small_chimera, tiny_stft, listed, tmp_path):
    path, excerpts = listed
    info = CheckpointInfo(tiny_store.labels, "whole", 8000, tiny_stft)
    checkpoint = write_checkpoint(tmp_path / "model.pth", small_chimera(), info)
    said = write_scores(checkpoint, "a-model", tiny_store, path, tmp_path / "scores" / "a-model.json")
    assert json.loads((tmp_path / "scores" / "a-model.json").read_text()) == said
    for row in score(checkpoint, tiny_store, excerpts, progress=False):
        found = said["si_sdr"][row["label"]][row["excerpt"]]
        assert found == pytest.approx(row["si_sdr"], abs=1e-3)
        assert said["songs"][row["label"]][row["excerpt"]] == row["track"]
    assert said["excerpts_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() and said["left_out"] == {}


def test_the_analysis_reads_the_written_scores(tiny_store, listed, tmp_path):
    write_scores("mixture", "set-mixture", tiny_store, listed[0], tmp_path / "set-mixture.json")
    found = read_scores(tmp_path / "set-mixture.json", "set-mixture")
    assert found.labels == tiny_store.labels and found.si_sdr.shape == (3, 6)


def test_a_silent_reference_is_left_out_and_counted(tmp_path):
    time = np.arange(8000) / 8000
    writer = StoreWriter(tmp_path / "store", 8000, "half silent")
    writer.add("song", "test", {"a": 0.1 * np.sin(880 * time), "b": 0.1 * np.sin(2000 * time) * (time < 0.5)})
    store = writer.close()
    write_excerpts(tmp_path / "list.jams", make_excerpts(store, 0.5), 8000)
    said = write_scores("mixture", "mixture", store, tmp_path / "list.jams", tmp_path / "mixture.json")
    # The other source is alone in its mixture there: its ratio says nothing.
    assert said["left_out"] == {"silent": 1, "alone in its mixture": 1} and said["infinite"] == {"a": [], "b": []}
    assert said["si_sdr"]["b"][1] is None and said["si_sdr"]["a"][1] is None


def test_minutes_are_those_of_the_stores(tmp_path, tiny_store):
    grid = Grid(read_study(CONF / "study.yml"), "smoke", tmp_path, CONF)
    said = describe_data(grid, Body("musdb", "none", 0), [tiny_store])
    assert said["train_minutes"] == round(5.75 / 60, 2) and said["test_minutes"] == 0
    assert said["name"] == "MUSDB" and said["sources"] == ["bass", "drums", "voice"] and said["stand_in"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "musdb.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match="has no data of a downstream set yet"):
        write_plan(grid, tmp_path)
    (tmp_path / "data" / "bach10.json").write_text(json.dumps({**said, "name": "Bach10", "test_minutes": 1.5}))
    plan = write_plan(grid, tmp_path)
    assert plan["data"]["bach10"]["test_minutes"] == 1.5 and plan["threshold"] == 0.001
    assert {(model["mode"], model["iterations"]) for model in plan["models"]} == {("scratch", 8), ("whole", 4), ("mask", 4)}
    assert json.loads((tmp_path / "study.json").read_text()) == plan


def test_a_set_without_data_is_left_out_and_named(tmp_path, caplog):
    grid = Grid(read_study(CONF / "study.yml"), "small", tmp_path, CONF)
    about = {"name": "?", "sources": ["a", "b"], "train_minutes": 1.0, "test_minutes": 1.0, "stand_in": True}
    (tmp_path / "data").mkdir()
    for name in ("musdb", "choir"):
        (tmp_path / "data" / f"{name}.json").write_text(json.dumps(about))
    plan = write_plan(grid, tmp_path)
    assert list(plan["downstreams"]) == ["choir"] and set(plan["data"]) == {"musdb", "choir"}
    assert {model["downstream"] for model in plan["models"]} == {"choir"} and len(plan["models"]) == 25
    assert "slakh, musdb_slakh, bach10, remixpacks" in caplog.text
