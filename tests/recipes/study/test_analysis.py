"""The analysis of a study: every number computed again from the files; errors for files that do not belong together."""

from __future__ import annotations

import ast
import json
import logging
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import recipes.study as study
from nussl_transfer.errors import DataError
from nussl_transfer.evaluation.statistics import median_interval, rank_biserial
from recipes.study.analysis import analyse, estimate_name
from recipes.study.grid import Model

SOURCES = {"choir": ["female", "male"], "packs": ["drum", "kick", "snare"]}
PRETRAININGS = {"musdb": "MUSDB", "slakh": "Slakh"}
CONDITIONS = {"none": "No augmentation", "pitch": "Pitch shift"}
EXCERPTS = 24


def plan_of(seeds=(0,), folds=(None,), sources=SOURCES, pretrainings=PRETRAININGS, conditions=CONDITIONS):
    def model(downstream, pretraining, condition, mode, seed, fold):
        tests = f"{downstream}.{fold}" if fold else downstream
        name = "-".join([tests, *([pretraining, condition] if pretraining else []), mode, str(seed)])
        values = (name, downstream, pretraining, condition, mode, seed, fold, 100)
        keys = ("name", "downstream", "pretraining", "condition", "mode", "seed", "fold", "iterations")
        return dict(zip(keys, values, strict=True))

    grid = [(None, None, "scratch")]
    grid += [(p, c, mode) for p in pretrainings for c in conditions for mode in ("whole", "mask")]
    return {
        "format": 1, "size": "small", "command": "make study", "seeds": list(seeds), "threshold": 0.001,
        "pretrainings": pretrainings, "conditions": conditions, "downstreams": {name: name.title() for name in sources},
        "modes": ["whole", "mask"], "data": {}, "settings": [],
        "models": [model(d, *kind, s, f) for d in sources for kind in grid for s in seeds for f in folds],
    }  # fmt: skip


def scores_of(name, downstream, fold, shift, sources=SOURCES, excerpts=EXCERPTS):
    """Return made-up scores: each excerpt has its difficulty, and a model is better by about ``shift``."""
    labels = sources[downstream]
    # All models have the same list of excerpts.
    of_list = np.random.default_rng([len(downstream), int(fold or 0)])
    difficulty = of_list.normal(0, 3, (len(labels), excerpts))
    coherent = downstream != "packs"
    songs = of_list.integers(6, size=(len(labels), excerpts))
    silent = of_list.random((len(labels), excerpts)) < 0.1
    silent[:, 0] = True
    own = np.random.default_rng(list(name.encode()))
    values = difficulty + shift + own.normal(0, 1, difficulty.shape)
    return {
        "format": 1, "model": name, "checkpoint": None, "excerpts": f"excerpts/{downstream}.jams",
        "excerpts_sha256": f"{downstream}{fold}" * 8, "labels": labels, "seconds": 1.0, "left_out": int(silent.sum()),
        "songs": {
            label: [f"song {song}-{fold}" for song in songs[0 if coherent else i]] for i, label in enumerate(labels)
        },
        "si_sdr": {
            label: [None if gone else float(v) for v, gone in zip(values[i], silent[i], strict=True)]
            for i, label in enumerate(labels)
        },
    }  # fmt: skip


def shift_of(model):
    gain = {"musdb": 1.0, "slakh": 2.5}.get(model["pretraining"], 0.0)
    return gain - (model["mode"] == "mask") + 0.1 * (model["condition"] == "pitch")


def write_study(folder, plan, **options):
    (folder / "scores").mkdir(parents=True)
    (folder / "curves").mkdir()
    (folder / "study.json").write_text(json.dumps(plan))
    for model in plan["models"]:
        scores = scores_of(model["name"], model["downstream"], model["fold"], shift_of(model), **options)
        (folder / "scores" / f"{model['name']}.json").write_text(json.dumps(scores))
        points = [
            {"iteration": i, "test_si_sdr": None if i == 10 else shift_of(model) + i / 10 + 0.01 * model["seed"]}
            for i in (0, 10, 20, 30)
        ]
        (folder / "curves" / f"{model['name']}.json").write_text(json.dumps({"points": points, "mixture_si_sdr": -5}))
    for downstream, fold in {(model["downstream"], model["fold"]) for model in plan["models"]}:
        for estimate, shift in (("mixture", -5.0), ("oracle", 8.0)):
            name = f"{downstream}.{fold}-{estimate}" if fold else f"{downstream}-{estimate}"
            scores = scores_of(name, downstream, fold, shift, **options)
            (folder / "scores" / f"{name}.json").write_text(json.dumps(scores))
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study of two seeds and two folds, and its analysis."""
    folder = write_study(tmp_path_factory.mktemp("study") / "done", plan_of(seeds=(0, 1), folds=("1", "2")))
    return folder, analyse(folder)


@pytest.fixture
def folder(tmp_path):
    return write_study(tmp_path / "study", plan_of())


def excerpt_scores(folder, seeds=(0, 1), folds=("1", "2"), **wanted):
    """Compute the score of each excerpt of a kind of model again, value by value."""
    plan = json.loads((folder / "study.json").read_text())
    found = []
    for fold in folds:
        names = [
            model["name"]
            for model in plan["models"]
            if model["fold"] == fold and model["seed"] in seeds and all(model[k] == v for k, v in wanted.items())
        ]
        of_names = [json.loads((folder / "scores" / f"{name}.json").read_text())["si_sdr"] for name in names]
        for index in range(EXCERPTS):
            means = []
            for si_sdr in of_names:
                sounding = [column[index] for column in si_sdr.values() if column[index] is not None]
                means.append(sum(sounding) / len(sounding) if sounding else None)
            found.append(None if None in means else sum(means) / len(means))
    return found


def songs_of_scored(folder, downstream):
    """Return for each label the song of each excerpt in which anything sounds, fold by fold."""
    files = [json.loads((folder / "scores" / f"{downstream}.{fold}-oracle.json").read_text()) for fold in ("1", "2")]
    return [
        [
            file["songs"][label][index]
            for file in files
            for index in range(EXCERPTS)
            if any(column[index] is not None for column in file["si_sdr"].values())
        ]
        for label in SOURCES[downstream]
    ]


def cell_of(analysis, *kind):
    keys = ("downstream", "pretraining", "condition", "mode")
    (found,) = [cell for cell in analysis["cells"] if tuple(cell[key] for key in keys) == kind]
    return found


def compared(analysis, question, **wanted):
    return [
        entry for entry in analysis["comparisons"]
        if entry["question"] == question and all(entry[name] == value for name, value in wanted.items())
    ]  # fmt: skip


def test_the_written_analysis_is_the_returned_one_and_the_same_bytes_again(done):
    folder, analysis = done
    written = (folder / "analysis.json").read_bytes()
    assert json.loads(written) == analysis and analysis["format"] == 1
    analyse(folder)
    assert (folder / "analysis.json").read_bytes() == written


def test_a_cell_is_the_mean_over_excerpts_of_all_folds_and_seeds(done):
    folder, analysis = done
    assert len(analysis["cells"]) == 2 * 9
    kind = {"downstream": "packs", "pretraining": "slakh", "condition": "pitch", "mode": "mask"}
    cell = cell_of(analysis, *kind.values())
    values = [value for value in excerpt_scores(folder, **kind) if value is not None]
    assert cell["excerpts"] == len(values) < 2 * EXCERPTS
    assert cell["mean"] == pytest.approx(np.mean(values)) and cell["median"] == pytest.approx(np.median(values))
    for seed in (0, 1):
        of_seed = [value for value in excerpt_scores(folder, seeds=(seed,), **kind) if value is not None]
        assert cell["seeds"][str(seed)] == pytest.approx(np.mean(of_seed))
    assert np.mean(list(cell["seeds"].values())) == pytest.approx(cell["mean"])
    # By label, over the excerpts in which it sounds.
    names = [f"packs.{fold}-slakh-pitch-mask-{seed}" for seed in (0, 1) for fold in (1, 2)]
    kicks = [json.loads((folder / "scores" / f"{name}.json").read_text())["si_sdr"]["kick"] for name in names]
    assert cell["by_label"]["kick"] == pytest.approx(np.mean([v for column in kicks for v in column if v is not None]))
    assert cell["improvement"] == pytest.approx(cell["mean"] - analysis["ceilings"]["packs"]["mixture"])


def test_ceilings_count_excerpts_songs_and_silent_references(done):
    folder, analysis = done
    for downstream, labels in SOURCES.items():
        files = [json.loads((folder / "scores" / f"{downstream}.{fold}-oracle.json").read_text()) for fold in (1, 2)]
        means, songs = [], set()
        for file in files:
            for index in range(EXCERPTS):
                values = [file["si_sdr"][label][index] for label in labels]
                sounding = [value for value in values if value is not None]
                if sounding:
                    means.append(np.mean(sounding))
                    songs |= {file["songs"][label][index] for label in labels}
        ceiling = analysis["ceilings"][downstream]
        assert ceiling["oracle"] == pytest.approx(np.mean(means)) and ceiling["oracle"] > 10 + ceiling["mixture"]
        assert ceiling["left_out"] == sum(file["left_out"] for file in files)
        assert (ceiling["excerpts"], ceiling["songs"]) == (len(means), len(songs))


def test_every_question_compares_all_of_its_pairs(done):
    _, analysis = done
    asked = [entry["question"] for entry in analysis["comparisons"]]
    # Two downstream sets, two pretrainings, two conditions.
    assert {question: asked.count(question) for question in asked} == {"H1": 4, "H2": 4, "R1": 2, "R2": 8}
    for entry in compared(analysis, "H1"):
        assert (entry["condition"], entry["mode"]) == ("none", "whole")
        assert entry["against"] == {"pretraining": None, "condition": None, "mode": "scratch"}
    for entry in compared(analysis, "H2"):
        assert (entry["condition"], entry["mode"]) == ("pitch", "whole")
        assert entry["against"] == {"pretraining": entry["pretraining"], "condition": "none", "mode": "whole"}
    for entry in compared(analysis, "R2"):
        same = {"pretraining": entry["pretraining"], "condition": entry["condition"]}
        assert entry["mode"] == "mask" and entry["against"] == {**same, "mode": "whole"}
    for entry in compared(analysis, "R1"):
        # The best pretraining, here Slakh, against the other.
        assert (entry["pretraining"], entry["alternative"]) == ("slakh", "two-sided")
        assert entry["against"] == {"pretraining": "musdb", "condition": "none", "mode": "whole"}
    assert {entry["alternative"] for entry in analysis["comparisons"] if entry["question"] != "R1"} == {"greater"}


@pytest.mark.parametrize(("question", "mode", "other"), [
    ("H1", "whole", {"pretraining": None}), ("R1", "whole", {"pretraining": "musdb", "condition": "none", "mode": "whole"}),
])  # fmt: skip
def test_a_comparison_is_of_the_same_excerpts_by_scipys_test(done, question, mode, other):
    folder, analysis = done
    (entry,) = compared(analysis, question, downstream="packs", pretraining="slakh")
    kind = {"downstream": "packs", "pretraining": "slakh", "condition": "none", "mode": mode}
    pairs = zip(excerpt_scores(folder, **kind), excerpt_scores(folder, downstream="packs", **other), strict=True)
    differences = np.array([a - b for a, b in pairs if a is not None])
    expected = scipy.stats.wilcoxon(differences, alternative=entry["alternative"])
    assert entry["p_value"] == pytest.approx(expected.pvalue) and entry["excerpts"] == len(differences)
    assert entry["mean_difference"] == pytest.approx(differences.mean())
    assert entry["median_difference"] == pytest.approx(np.median(differences))
    assert entry["interval"] == pytest.approx(median_interval(differences, songs_of_scored(folder, "packs")))
    assert entry["effect_size"] == pytest.approx(rank_biserial(differences)) and entry["confidence"] == 0.95


def test_significance_is_counted_before_and_after_holms_correction(done):
    _, analysis = done
    p_values = [entry["p_value"] for entry in analysis["comparisons"]]
    tests, highest = len(p_values), 0.0
    for rank, entry in enumerate(sorted(analysis["comparisons"], key=lambda entry: entry["p_value"])):
        highest = max(highest, min(1.0, (tests - rank) * entry["p_value"]))
        assert entry["p_holm"] == pytest.approx(highest)
        assert entry["significant"] == (entry["p_value"] < 0.001)
        assert entry["significant_holm"] == (entry["p_holm"] < 0.001)
    assert 0 < sum(entry["significant"] for entry in analysis["comparisons"]) < tests


def test_the_correction_can_take_significance_back(folder):
    unclear = next(entry for entry in analyse(folder)["comparisons"] if entry["p_value"] < entry["p_holm"] < 1)
    threshold = (unclear["p_value"] + unclear["p_holm"]) / 2
    (folder / "study.json").write_text(json.dumps({**plan_of(), "threshold": threshold}))
    analysis = analyse(folder)
    (now,) = [entry for entry in analysis["comparisons"] if entry["p_value"] == unclear["p_value"]]
    assert now["significant"] and not now["significant_holm"] and analysis["threshold"] == threshold


def test_curves_are_means_over_runs_and_say_when_the_baseline_is_reached(done):
    _, analysis = done
    assert len(analysis["curves"]) == 2 * 9
    curves = {(c["downstream"], c["pretraining"], c["condition"], c["mode"]): c for c in analysis["curves"]}
    slakh = curves["choir", "slakh", "none", "whole"]
    # Seeds 0 and 1; nothing was measured at iteration 10.
    expected = {0: 2.505, 20: 4.505, 30: 5.505}
    assert {iteration: pytest.approx(value) for iteration, value in slakh["points"]} == expected
    assert slakh["best"] == pytest.approx(5.505)
    # The baseline's best, 3.005, is at its end; Slakh has 4.505 at 20; the mask of MUSDB, as high as the baseline, at 30.
    assert slakh["reaches_baseline_at"] == 20
    assert curves["choir", "musdb", "none", "mask"]["reaches_baseline_at"] == 30
    assert curves["choir", None, None, "scratch"]["reaches_baseline_at"] == 30


def test_a_network_that_never_reaches_the_baseline_has_no_iteration(folder):
    for path in (folder / "curves").glob("choir-slakh-none-whole*"):
        path.write_text(json.dumps({"points": [{"iteration": i, "test_si_sdr": -1.0} for i in (0, 10)]}))
    for path in (folder / "curves").glob("packs-scratch*"):
        path.unlink()
    curves = {(c["downstream"], c["pretraining"], c["mode"], c["condition"]): c for c in analyse(folder)["curves"]}
    assert curves["choir", "slakh", "whole", "none"]["reaches_baseline_at"] is None
    # Without the baseline's curve nothing is reached, and nothing fails.
    assert curves["packs", "slakh", "whole", "none"]["reaches_baseline_at"] is None


def test_part_of_a_study_is_analysed_and_the_rest_named(folder):
    names = ["choir-scratch-0", "packs-musdb-none-whole-0", "packs-slakh-pitch-mask-0"]
    for name in [*names, "packs-mixture"]:
        (folder / "scores" / f"{name}.json").unlink()
    analysis = analyse(folder)
    assert analysis["missing"] == names and analysis["missing_ceilings"] == ["packs-mixture"]
    assert len(analysis["cells"]) == 18 - 3
    assert not compared(analysis, "H1", downstream="choir") and len(compared(analysis, "H1", downstream="packs")) == 1
    assert not compared(analysis, "R1", downstream="packs") and len(compared(analysis, "H2", downstream="packs")) == 1
    assert analysis["ceilings"]["packs"]["mixture"] is None and analysis["ceilings"]["packs"]["oracle"] is not None
    assert cell_of(analysis, "packs", "slakh", "none", "whole")["improvement"] is None
    # Fewer tests are corrected for fewer.
    smallest = min(analysis["comparisons"], key=lambda entry: entry["p_value"])
    assert smallest["p_holm"] == pytest.approx(len(analysis["comparisons"]) * smallest["p_value"])


def test_an_empty_study_has_an_empty_analysis(folder):
    for path in [*(folder / "scores").iterdir(), *(folder / "curves").iterdir()]:
        path.unlink()
    analysis = analyse(folder)
    assert len(analysis["missing"]) == 18
    assert [analysis[key] for key in ("ceilings", "cells", "comparisons", "curves")] == [{}, [], [], []]
    assert analysis["missing_ceilings"] == []


def test_a_seed_counts_once_it_has_the_folds_of_the_others(tmp_path):
    plan = plan_of(seeds=(0, 1), folds=("1", "2"), sources={"choir": ["female", "male"]})
    folder = write_study(tmp_path / "study", plan)
    (folder / "scores" / "choir.2-slakh-none-whole-1.json").unlink()
    cell = cell_of(analyse(folder), "choir", "slakh", "none", "whole")
    kind = {"downstream": "choir", "pretraining": "slakh", "condition": "none", "mode": "whole"}
    values = [value for value in excerpt_scores(folder, seeds=(0,), **kind) if value is not None]
    assert list(cell["seeds"]) == ["0"] and cell["mean"] == pytest.approx(np.mean(values))
    # If no seed has the fold, both seeds count, and pairs are from the fold that both sides have.
    (folder / "scores" / "choir.2-slakh-none-whole-0.json").unlink()
    analysis = analyse(folder)
    cell = cell_of(analysis, "choir", "slakh", "none", "whole")
    assert list(cell["seeds"]) == ["0", "1"] and cell["excerpts"] == EXCERPTS - 1
    (entry,) = compared(analysis, "H1", pretraining="slakh")
    assert entry["excerpts"] == EXCERPTS - 1


def test_folds_that_one_side_lacks_are_not_compared(tmp_path):
    folder = write_study(tmp_path / "study", plan_of(folds=("1", "2"), sources={"choir": ["female", "male"]}))
    (folder / "scores" / "choir.2-mixture.json").unlink()
    (folder / "curves" / "choir.2-scratch-0.json").unlink()
    analysis = analyse(folder)
    assert analysis["missing_ceilings"] == ["choir.2-mixture"]
    assert {cell["improvement"] for cell in analysis["cells"]} == {None}
    reached = {curve["mode"]: curve["reaches_baseline_at"] for curve in analysis["curves"]}
    assert reached == {"scratch": 30, "whole": None, "mask": None}


def test_one_song_has_no_interval_and_is_counted(folder):
    for path in (folder / "scores").glob("choir*"):
        scores = json.loads(path.read_text())
        scores["songs"] = {label: ["one"] * EXCERPTS for label in scores["labels"]}
        path.write_text(json.dumps(scores))
    for entry in compared(analyse(folder), "R2", downstream="choir"):
        assert (entry["songs"], entry["interval"]) == (1, None) and entry["p_value"] is not None


def change(folder, name, **values):
    path = folder / "scores" / f"{name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


NAME = "choir-slakh-none-whole-0"


@pytest.mark.parametrize(("values", "message"), [
    ({"excerpts_sha256": "0" * 64},
     "is not of the excerpts of choir-mixture.json: it has SHA-256 000000000000 of the list, not choirNonecho"),
    ({"model": "choir-scratch-0"}, f"got scores of 'choir-scratch-0', expected those of '{NAME}'"),
    ({"labels": ["female"]}, "got songs of other labels, expected female"),
    ({"labels": []}, "got labels [], expected one name for each source"),
    ({"labels": ["male", "female"]}, "got the sources male, female, expected those of choir-mixture.json, female, male"),
    ({"si_sdr": {"female": [1.0], "male": [1.0, 2.0]}},
     "got lists of 1, 2, 24, expected as many songs as scores for each source"),
    ({"si_sdr": {"female": [1.0] * 23, "male": [1.0] * 23}, "songs": {"female": ["a"] * 23, "male": ["a"] * 23}},
     "it has 23 excerpts, not 24"),
    ({"songs": {"female": ["a"] * 24, "male": ["a"] * 24}}, "it has other songs"),
    ({"si_sdr": {"female": [1.0] * 24, "male": [1.0] * 24}}, "it has other silent references"),
    ({"si_sdr": {"female": ["1"] * 24, "male": [1.0] * 24}}, "a score is neither a number nor null"),
    ({"si_sdr": {"female": [1e300] * 24, "male": [1.0] * 24}}, "a score is outside the possible range of SI-SDR"),
    ({"si_sdr": {"female": [float("nan")] * 24, "male": [1.0] * 24}}, "cannot be read as JSON: NaN is not a JSON number"),
    ({"si_sdr": {"female": 3, "male": [1.0] * 24}}, "got lists of 24, no length"),
    ({"si_sdr": [1.0]}, "got si_sdr of other labels, expected female, male"),
    ({"format": 2}, "got format 2, expected 1"),
])  # fmt: skip
def test_scores_that_do_not_belong_are_refused_and_named(folder, values, message):
    change(folder, NAME, **values)
    with pytest.raises(DataError) as caught:
        analyse(folder)
    said = str(caught.value)
    assert message in said and str(folder / "scores" / f"{NAME}.json") in said
    assert said.endswith(("again.", "on the same list.", "on the same set."))
    assert not (folder / "analysis.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 1}', "\x00", "[" * 100_000])
@pytest.mark.parametrize("name", ["study.json", f"scores/{NAME}.json", f"curves/{NAME}.json"])
def test_damaged_files_are_named(folder, name, content):
    (folder / name).write_text(content)
    with pytest.raises(DataError) as caught:
        analyse(folder)
    assert str(folder / name) in str(caught.value)


def test_a_study_without_a_plan_and_a_plan_that_repeats_itself_are_refused(folder):
    plan = plan_of()
    for models, message in (
        ([*plan["models"], plan["models"][0]], "'choir-scratch-0', or another model of the same kind, is there twice"),
        (
            [*plan["models"], {**plan["models"][0], "name": "other"}],
            "'other', or another model of the same kind, is there twice",
        ),
        ([{"name": "a"}], "a model lacks downstream, pretraining, condition, mode, seed, fold"),
    ):
        (folder / "study.json").write_text(json.dumps({**plan, "models": models}))
        with pytest.raises(DataError, match=message):
            analyse(folder)
    (folder / "study.json").unlink()
    with pytest.raises(DataError, match="study.json does not exist. Write it again"):
        analyse(folder)


def test_scores_that_are_not_planned_are_passed_over_with_a_warning(folder, caplog):
    before = analyse(folder)
    (folder / "scores" / "of-before.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert analyse(folder) == before
    assert "does not plan; ignored: of-before.json" in caplog.text


def test_a_changed_score_changes_the_analysis(folder):
    before = analyse(folder)
    scores = json.loads((folder / "scores" / f"{NAME}.json").read_text())["si_sdr"]
    change(folder, NAME, si_sdr={label: [v and v + 3 for v in column] for label, column in scores.items()})
    after = analyse(folder)
    was, now = (cell_of(found, "choir", "slakh", "none", "whole")["mean"] for found in (before, after))
    assert now == pytest.approx(was + 3)


def test_the_oracle_has_the_name_that_the_graph_gives_it():
    for fold, name in ((None, "bach10-oracle"), ("03", "bach10.03-oracle")):
        tests = Model("bach10", None, None, "scratch", 0, fold).tests
        assert estimate_name("bach10", fold, "oracle") == f"{tests}-oracle" == name


def test_the_analysis_imports_neither_torch_nor_nussl():
    for name in ("analysis.py", "study_file.py"):
        path = Path(study.__file__).parent / name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"torch", "nussl"}, path


def test_a_fifth_of_the_papers_grid_takes_seconds(tmp_path):
    """The whole grid has 84 models, a thousand excerpts, and 78 tests with 10,000 resamples each."""
    sources = {"choir": ["female", "male"]}
    plan = plan_of(sources=sources, pretrainings=dict.fromkeys("abc", ""), conditions=dict.fromkeys(["none", "x"], ""))
    folder = write_study(tmp_path / "study", plan, excerpts=1000)
    started = time.process_time()
    assert len(analyse(folder)["comparisons"]) == 3 + 3 + 2 + 6
    assert time.process_time() - started < 12
