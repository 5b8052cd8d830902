"""Test the demo on a fake Bach10: it writes all its files, and a second call repeats no step."""

from __future__ import annotations

import json

import layouts
import nussl
import pytest
import soundfile

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from recipes import demo


@pytest.fixture(scope="module")
def done(small_chimera, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    info = CheckpointInfo((), "pretrain", 16000, nussl.STFTParams(64, 32, "sqrt_hann"), excerpt_seconds=0.5)
    body = write_checkpoint(folder / "body.pth", small_chimera(num_sources=2), info)
    settings = {
        "out": str(folder / "out"),
        "bach10": str(layouts.bach10(folder / "Bach10_v1.1", pieces=3, seconds=2.0)),
        "body": str(body),
        "iterations": 2,
        "batch_size": 2,
        "excerpt_seconds": 0.5,
        "threads": 1,
    }
    assert demo.demo(**settings) == 0
    return folder / "out", settings


def test_it_writes_checkpoints_audio_curves_and_a_page(done):
    out, _ = done
    for file in ("page.html", "curves.png", "scores.json", "curves.json", "about.json"):
        assert (out / file).stat().st_size > 0, file
    for run in ("fine-tuned", "from-scratch"):
        assert (out / "runs" / run / "checkpoints" / "best.model.pth").is_file()
    separated = sorted(path.stem for path in (out / "separated").glob("*/*.wav"))
    assert separated == ["bassoon", "clarinet", "saxophone", "violin"]


def test_both_runs_hold_out_the_last_piece(done):
    out, _ = done
    tested = {
        source["track"]
        for excerpt in json.loads((out / "scores.json").read_text())["excerpts"]
        for source in excerpt["sources"]
    }
    assert [track[:2] for track in tested] == ["03"]
    trained = {path.name for path in (out / "stores" / "train").iterdir() if path.is_dir()}
    assert len(trained - {".parts"}) == 2 and not tested & trained


def test_scratch_trains_for_twice_the_iterations_and_is_also_scored_halfway(done):
    out, _ = done
    curves = json.loads((out / "curves.json").read_text())
    assert curves[demo.TUNED]["points"][-1]["iteration"] == 2
    assert curves[demo.SCRATCH]["points"][-1]["iteration"] == 4
    scores = json.loads((out / "scores.json").read_text())
    assert list(scores["models"]) == [demo.TUNED, demo.SCRATCH, demo.SCRATCH_EQUAL]
    assert scores["models"][demo.SCRATCH_EQUAL].endswith("iteration2.model.pth")


def test_its_separated_stems_sum_to_the_mixture(done):
    out, _ = done
    (mixture_path,) = (out / "separated").glob("*.wav")
    mixture, rate = soundfile.read(mixture_path)
    stems = [soundfile.read(path)[0] for path in (out / "separated" / mixture_path.stem).glob("*.wav")]
    assert rate == 16000 and abs(sum(stems) - mixture).max() < 1e-5  # the masks are a softmax


def test_a_second_call_trains_nothing_and_prints_the_same_table(done, capsys):
    out, settings = done
    before = (out / "runs" / "fine-tuned" / "state.pt").stat().st_mtime_ns
    scores = (out / "scores.json").read_bytes()
    demo.demo(**settings)
    assert (out / "runs" / "fine-tuned" / "state.pt").stat().st_mtime_ns == before
    assert (out / "scores.json").read_bytes() == scores
    assert "fine-tuned over from scratch" in capsys.readouterr().out
