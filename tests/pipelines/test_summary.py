"""The report at the end of a fine-tuning: scores of the validation tracks, what the curve shows, what to try."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.evaluation.score import score
from nussl_transfer.evaluation.statistics import summarise
from nussl_transfer.mixing.split import train_valid_split
from nussl_transfer.pipelines import finetune as finetuning
from nussl_transfer.pipelines.finetune import default_training, finetune
from nussl_transfer.pipelines.summary import Trend, advise, as_text, draw_curve, read_trend, validation_excerpts


def points(valid, train=None):
    train = valid if train is None else train
    rows = enumerate(zip(valid, train, strict=True))
    return [{"iteration": 100 * i, "valid_loss": v, "train_loss": t} for i, (v, t) in rows]


@pytest.fixture(scope="module")
def body(small_chimera, tiny_stft, tmp_path_factory) -> Path:
    info = CheckpointInfo((), "pretrain", 8000, tiny_stft, excerpt_seconds=0.5)
    return write_checkpoint(tmp_path_factory.mktemp("models") / "body.pth", small_chimera(num_sources=2), info)


def test_a_run_ends_with_its_scores_its_curve_and_the_next_commands(tiny_store, body, tmp_path):
    training = default_training(iterations=4, batch_size=2, validate_every=1)
    run = finetune(tiny_store, tmp_path / "run", checkpoint=body, training=training, valid_items=2)
    report = json.loads((run.folder / "report.json").read_text())
    split = train_valid_split(tiny_store)
    excerpts = validation_excerpts(split, 0.5)
    rows = score(run.best, split.valid, excerpts, "network", progress=False)
    assert [entry for entry in report["summary"] if entry["estimate"] == "network"] == summarise(rows)
    assert set(report["tracks"]) <= {track.name for track in split.valid.tracks}
    text = (run.folder / "report.txt").read_text()
    for words in ("improvement", "oracle mask", *split.valid.labels, "What to try:", f"--model {run.folder}", "curve.png"):
        assert words in text
    assert Image.open(run.folder / "curve.png").size[0] > 500
    before = (run.folder / "report.txt").stat().st_mtime_ns
    finetune(tiny_store, tmp_path / "run", checkpoint=body, training=training, valid_items=2)
    assert (run.folder / "report.txt").stat().st_mtime_ns == before, "it is not made twice"


def test_the_next_commands_can_be_pasted_where_a_path_has_spaces(tiny_store, body, tmp_path):
    folder = tmp_path / "my run's folder"
    training = default_training(iterations=1, batch_size=2)
    run = finetune(tiny_store, folder, checkpoint=body, training=training, valid_items=2)
    report = json.loads((run.folder / "report.json").read_text())
    assert all(str(folder) in shlex.split(command) for command in report["next"])
    lines = (run.folder / "report.txt").read_text().splitlines()
    assert [line.strip() for line in lines if line.startswith("  nussl-transfer")] == report["next"]


def test_the_curve_shows_the_loss_that_chose_the_best_network(tmp_path, monkeypatch):
    drawn, save = [], Figure.savefig

    def saved(figure, *given, **named):
        drawn.append(figure.axes[0])
        save(figure, *given, **named)

    monkeypatch.setattr(Figure, "savefig", saved)
    curve = [
        {**point, "valid_mask_loss": 0.1 - i / 100} for i, point in enumerate(points([0.9, 0.5, 0.6], [0.9, 0.4, 0.3]))
    ]
    for choose_by in ("loss", "mask_loss"):
        draw_curve(curve, read_trend(curve, choose_by), tmp_path / "curve.png", choose_by)
    lines = [{line.get_label(): list(line.get_ydata()) for line in axes.get_lines()} for axes in drawn]
    assert list(lines[0]) == ["training", "validation", "best: 100"]
    assert list(lines[1]) == ["training", "validation", "validation, masks alone", "best: 200"]
    assert lines[1]["validation, masks alone"] == [point["valid_mask_loss"] for point in curve]


def test_a_report_that_fails_leaves_the_run_whole(tiny_store, body, tmp_path, monkeypatch, caplog):
    def fail(*given):
        raise OSError("the disk is full")

    monkeypatch.setattr(finetuning, "report_run", fail)
    training = default_training(iterations=1, batch_size=2)
    run = finetune(tiny_store, tmp_path / "run", checkpoint=body, training=training, valid_items=2)
    assert run.best.is_file() and "could not be made" in caplog.text and "the disk is full" in caplog.text


def test_validation_mixtures_lie_in_the_span_that_was_held_out(tiny_store):
    one = tiny_store.select(names=[tiny_store.tracks[-1].name])
    split = train_valid_split(one)
    assert split.valid_span == (0.75, 1.0)
    length = one.tracks[0].frames
    for excerpt in validation_excerpts(split, 0.1):
        assert excerpt.start >= 0.75 * length and excerpt.start + excerpt.frames <= length


def test_the_trend_tells_overfitting_from_learning_and_from_a_plateau():
    falling = [1 / (1 + i) for i in range(11)]
    assert read_trend(points([1 - 0.08 * i for i in range(11)])) == Trend(1000, 1000, False, True)
    plateau = [1.0, 0.5, 0.3, 0.21, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
    assert read_trend(points(plateau)) == Trend(400, 1000, False, False)
    risen = [1.0, 0.5, 0.3, 0.2, 0.25, 0.3, 0.3, 0.35, 0.4, 0.4, 0.45]
    assert read_trend(points(risen, falling)) == Trend(300, 1000, True, False)
    by_ratio = [{"iteration": i, "valid_si_sdr": ratio, "train_loss": 1 - i / 9} for i, ratio in enumerate([0, 3, 5, 4, 3])]
    assert read_trend(by_ratio, "si_sdr") == Trend(2, 4, True, False) and read_trend(by_ratio) is None
    never_below_the_start = [0.70, 0.74, 0.75, 0.72]  # the fitted mask head was better than all that came after it
    assert read_trend(points(never_below_the_start)) == Trend(300, 300, False, False)
    assert read_trend(points([1.0, 0.5])) is None and read_trend([]) is None


def entries(network, oracle=(9.0, 9.0)):
    def rows(estimate, means, mixture=-3.0):
        every = [*zip("ab", means, strict=True), (None, sum(means) / 2)]
        fixed = {"estimate": estimate, "n": 9, "left_out": 0}
        return [
            {**fixed, "label": label, "mean": mean, "median": mean, "improvement": mean - mixture} for label, mean in every
        ]

    return rows("network", network) + rows("mixture", (-3.0, -3.0)) + rows("oracle", oracle)


def test_the_advice_fits_what_was_found():
    minutes = {"a": 5.0, "b": 1.5}
    learning, over = Trend(400, 400, False, True), Trend(100, 400, True, False)
    assert "--iterations 800" in advise(entries((3.0, 3.0)), learning, minutes, "whole", "run")[0]
    overfits = advise(entries((3.0, 3.0)), over, minutes, "whole", "run")
    assert "overfits after iteration 100" in overfits[0] and "--mode mask" in overfits[0]
    assert "--mode mask" not in advise(entries((3.0, 3.0)), over, minutes, "mask", "run")[0]
    uneven = advise(entries((6.0, 0.0)), None, minutes, "whole", "run")
    assert uneven == ["More stems of b: it improves least (+3.0 dB), from 1.5 minutes."]
    assert "no better than the mixture" in advise(entries((-4.0, -4.0)), None, minutes, "whole", "run")[0]
    assert "--phase-sensitive" in advise(entries((8.5, 8.5)), None, minutes, "whole", "run")[0]


def test_scores_that_do_not_exist_are_dashes():
    summary = [{**entry, "mean": None, "improvement": None, "n": 0, "left_out": 9} for entry in entries((3.0, 3.0))]
    advice = advise(summary, None, {"a": 1, "b": 1}, "whole", "run")
    assert "No validation mixture could be scored" in advice[0]
    report = {"run": "run", "excerpts": 9, "tracks": ["x"], "summary": summary, "trend": None, "advice": advice, "next": []}
    text = as_text(report)
    assert "Left out: 9 references" in text and [line.split() for line in text.splitlines()][3] == ["a", "-", "-", "-", "-"]
