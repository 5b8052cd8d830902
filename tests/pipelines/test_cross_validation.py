"""Cross-validation: each track is scored once per repeat, by a network that was neither trained nor chosen on it."""

from __future__ import annotations

import json
import logging
import shlex

import numpy as np
import pytest
import yaml

from nussl_transfer import cli
from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, read_info, write_checkpoint
from nussl_transfer.errors import ConfigError
from nussl_transfer.evaluation.evaluate import evaluate
from nussl_transfer.evaluation.excerpts import make_excerpts
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.pipelines.cross_validation import cross_validate, folds
from nussl_transfer.pipelines.finetune import default_training
from nussl_transfer.report.text import text_table
from nussl_transfer.store.store import Store, StoreWriter

LABELS = ("bass", "voice")
SHORT = {"training": default_training(iterations=2, batch_size=2), "valid_items": 2}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Five tracks, one of them of split 'test', one of split 'valid'."""
    writer = StoreWriter(tmp_path_factory.mktemp("stores") / "five", 8000, "five")
    for number, split in enumerate((None, "test", "train", "valid", None)):
        rng = np.random.default_rng(number)
        stems = {label: 0.1 * rng.standard_normal(8000 + 1000 * number) for label in LABELS}
        writer.add(f"song {number}", split, stems)
    return writer.close()


@pytest.fixture(scope="module")
def body(tmp_path_factory, small_chimera, tiny_stft):
    info = CheckpointInfo((), "pretrain", 8000, tiny_stft, excerpt_seconds=0.5)
    return write_checkpoint(tmp_path_factory.mktemp("models") / "a body.pth", small_chimera(num_sources=2), info)


@pytest.fixture(scope="module")
def twice(store, body, tmp_path_factory):
    """What two repeats of two folds gave, and their folder."""
    out = tmp_path_factory.mktemp("runs") / "twice"
    return cross_validate(store, out, 2, repeats=2, checkpoint=body, **SHORT), out


@pytest.mark.parametrize(("tracks", "k"), [(10, 10), (10, 5), (10, 3), (7, 2), (2, 2)])
def test_each_track_is_in_one_fold_and_folds_are_as_large_as_each_other(tracks, k):
    names = [f"track {number}" for number in range(tracks)]
    parts = folds(names, k, seed=3)
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert len(parts) == k and max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts == folds(names[::-1], k, seed=3), "the order of the tracks does not matter"
    assert tracks == k or len({str(folds(names, k, seed)) for seed in range(10)}) > 1


def test_tracks_of_one_song_are_in_one_fold():
    for seed in range(10):
        parts = folds([["b1", "b2"], "a", ["c1", "c2", "c3"]], 2, seed)
        assert sorted(sum(parts, [])) == ["a", "b1", "b2", "c1", "c2", "c3"]
        assert all(("b1" in part) == ("b2" in part) and ("c1" in part) == ("c3" in part) for part in parts)
    with pytest.raises(ConfigError, match="3 folds of 5 tracks of 2 pieces of music cannot be made"):
        folds([["b1", "b2"], ["c1", "c2", "c3"]], 3)


@pytest.mark.parametrize("k", [0, 1, 4])
def test_fewer_than_two_folds_or_more_than_tracks_are_refused(k):
    with pytest.raises(ConfigError, match=f"{k} folds of 3 tracks cannot be made. Give 2 folds or more"):
        folds(["a", "b", "c"], k)


def test_no_network_is_trained_or_chosen_on_the_tracks_that_it_is_scored_on(twice, store):
    result, out = twice
    assert len(result["folds"]) == 4
    for about in result["folds"]:
        folder = out / f"repeat{about['repeat']}" / f"fold{about['fold']}"
        config = yaml.safe_load((folder / "config.yml").read_text())
        rest = store.select(names={track.name for track in store.tracks} - set(about["tracks"]))
        # Two or three tracks are left: the last quarter of each validates.
        assert config["training"]["stems"] == config["validation"]["stems"] == rest.fingerprint()
        assert config["training"]["tracks"] == 5 - len(about["tracks"])
        assert config["seed"] == about["seed"] == about["repeat"] - 1
    for repeat in (1, 2):
        tested = [name for about in result["folds"] if about["repeat"] == repeat for name in about["tracks"]]
        assert sorted(tested) == [track.name for track in store.tracks], "every track, whatever split it was of"


def test_a_score_is_that_of_evaluating_each_network_on_its_fold_averaged_over_repeats(twice, store, tmp_path):
    result, out = twice
    expected: dict[tuple, list[float]] = {}
    for about in result["folds"]:
        run = out / f"repeat{about['repeat']}" / f"fold{about['fold']}" / "checkpoints" / "best.model.pth"
        held_out = store.select(names=about["tracks"])
        scores = evaluate({"x": run}, held_out, excerpts=make_excerpts(held_out, 0.5), out=tmp_path)
        for row in scores["scores"]["x"]:
            expected.setdefault((row["track"], row["start"], row["label"]), []).append(row["si_sdr"])
        assert about["mean"] == pytest.approx(scores["summary"][2]["mean"], abs=1e-4)
    rows = result["scores"]["fine-tuned"]
    assert len(rows) == len(expected) == 2 * len(make_excerpts(store, 0.5))
    for row in rows:
        assert row["si_sdr"] == pytest.approx(np.mean(expected[row["track"], row["start"], row["label"]]), abs=1e-4)
    assert [row["excerpt"] for row in rows] == [row["excerpt"] for row in result["scores"]["mixture"]]


def test_scores_are_written_in_the_format_of_evaluate(twice):
    result, out = twice
    assert json.loads((out / "scores.json").read_text()) == result
    table = text_table(result)
    assert "fine-tuned over mixture" in table and "bass" in table


def test_a_second_call_trains_nothing(twice, store, body, caplog):
    result, out = twice
    caplog.set_level(logging.INFO, "nussl_transfer")
    assert cross_validate(store, out, 2, repeats=2, checkpoint=body, **SHORT) == result
    assert caplog.text.count("all 2 iterations are done") == 4 and "iteration 2 of 2 train_loss" not in caplog.text


def test_one_repeat_of_a_network_from_scratch_has_its_folds_side_by_side(store, body, tmp_path):
    result = cross_validate(
        store, tmp_path, 2, checkpoint=None, like=body, mixtures=MixtureConfig(excerpt_seconds=0.25), **SHORT
    )
    assert sorted(path.name for path in tmp_path.glob("fold*")) == ["fold1", "fold2"]
    assert list(result["scores"]) == ["from scratch", "mixture"]
    assert all(excerpt["frames"] == 2000 for excerpt in result["excerpts"])


def test_all_networks_together_are_scored_as_one_ensemble_on_other_stems(store, body, tmp_path):
    rng = np.random.default_rng(9)
    writer = StoreWriter(tmp_path / "other", 8000, "other")
    writer.add("new", None, {label: 0.1 * rng.standard_normal(16000) for label in LABELS})
    test = writer.close()
    result = cross_validate(store, tmp_path / "my run", 2, checkpoint=body, test=test, **SHORT)
    last = result["use"].splitlines()[-1].removeprefix("Next: nussl-transfer ")
    assert cli.COMMANDS["separate"][0]().parse(shlex.split(last)[1:])["model"] == [str(tmp_path / "my run")]
    bests = [tmp_path / "my run" / f"fold{number}" / "checkpoints" / "best.model.pth" for number in (1, 2)]
    # The last quarter of the tracks is shorter than the mixtures of SHORT.
    excerpts = make_excerpts(test, read_info(bests[0]).excerpt_seconds)
    summary = evaluate({"x": bests}, test, excerpts=excerpts, progress=False)["summary"]
    expected = {entry["estimate"]: entry["mean"] for entry in summary if entry["label"] is None}
    means = {entry["estimate"]: entry["mean"] for entry in result["ensemble"]["summary"] if entry["label"] is None}
    assert set(means) == {"ensemble", "fold1", "fold2", "mixture", "oracle"} and np.isfinite(means["ensemble"])
    assert expected == pytest.approx({"x": means["ensemble"], "mixture": means["mixture"]})
    scored = evaluate(tmp_path / "my run", test, excerpts=excerpts, progress=False)["summary"]
    assert scored[2]["mean"] == pytest.approx(means["ensemble"])


def test_tracks_without_all_stems_and_no_repeats_are_refused(tmp_path, body, store):
    writer = StoreWriter(tmp_path / "store", 8000, "made up")
    for name, labels in (("a", LABELS), ("b", LABELS), ("c", ("bass",))):
        writer.add(name, None, {label: 0.1 * np.random.default_rng(0).standard_normal(8000) for label in labels})
    with pytest.raises(ConfigError, match="1 of 3 tracks lack some of bass, voice"):
        cross_validate(writer.close(), tmp_path / "run", 2, checkpoint=body, **SHORT)
    with pytest.raises(ConfigError, match="repeats is wrong: got 0, expected 1"):
        cross_validate(store, tmp_path / "run", 2, repeats=0, checkpoint=body, **SHORT)
