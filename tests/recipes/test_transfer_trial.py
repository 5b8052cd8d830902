"""Test the protocol of the transfer trial on a tiny set."""

from __future__ import annotations

import json

import numpy as np
import nussl
import pytest
import soundfile

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from recipes import transfer_trial


@pytest.fixture
def make_small_body(small_chimera):
    """Return a function that writes a pretrained model of a few units."""

    def make(path):
        stft_params = nussl.STFTParams(512, 128, "sqrt_hann")
        return write_checkpoint(
            path, small_chimera(2, num_features=257), CheckpointInfo((), "pretrain", 16000, stft_params)
        )

    return make


def write_bach10_like(folder):
    rng = np.random.default_rng(0)
    for number in range(4):
        (folder / f"piece{number}").mkdir(parents=True)
        for label in ("bassoon", "violin"):
            noise = 0.1 * rng.standard_normal(4 * 16000)
            soundfile.write(folder / f"piece{number}" / f"{label}.wav", noise, 16000)
    return folder


def test_each_track_is_held_out_once_and_the_table_names_all_candidates(tmp_path, make_small_body, capsys):
    folder = write_bach10_like(tmp_path / "stems")
    path = transfer_trial.trial(
        [str(make_small_body(tmp_path / "small.pth"))], bach10=str(folder), out=str(tmp_path / "out"), at=[1, 2], seeds=1
    )
    results = json.loads(path.read_text())["results"]
    assert [result["candidate"] for result in results] == ["small", "scratch like small", "mixture", "oracle"]
    for result in results[:2]:
        rows = result["rows"]["2"]
        assert {row["track"] for row in rows} == {f"piece{number}" for number in range(4)}
        assert len(rows) == 4 * 2 * 2  # tracks, excerpts of 2 s, labels
        assert len({(row["excerpt"], row["label"]) for row in rows}) == len(rows), "folds must not share excerpts' names"
        mean = np.mean([row["si_sdr"] for row in rows])
        assert transfer_trial.mean_of(rows) == mean
    shown = capsys.readouterr().out
    assert "| bach10 | small | 0 |" in shown and "of 4)" in shown


def test_the_difference_is_a_difference_of_paired_means():
    rows = [{"excerpt": e, "track": "abc"[e], "start": 0, "label": "x", "si_sdr": 1.0 + e} for e in range(3)]
    others = [{**row, "si_sdr": row["si_sdr"] - 0.5} for row in rows]
    assert transfer_trial.difference(rows, others).startswith("+0.50 (p ")
    assert transfer_trial.difference(rows, others).endswith("3 of 3)")
