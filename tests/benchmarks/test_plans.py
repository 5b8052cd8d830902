"""Every plan that the benchmarks have for a GPU runs at a tiny size on the CPU or on torch's meta device.

Torch's functions for CUDA are replaced by ones with the same signatures, so that a wrong name or argument is an error.
"""

from __future__ import annotations

import json
import subprocess
import warnings
from dataclasses import replace
from unittest.mock import create_autospec

import numpy as np
import pytest
import torch


@pytest.fixture
def cuda_calls(monkeypatch):
    """Replace functions of torch.cuda, and return them by name."""
    names = ("reset_peak_memory_stats", "max_memory_allocated", "synchronize", "set_sync_debug_mode")
    made = {name: create_autospec(getattr(torch.cuda, name)) for name in names}
    made["max_memory_allocated"].return_value = 2**20
    for name, function in made.items():
        monkeypatch.setattr(torch.cuda, name, function)
    return made


@pytest.fixture
def training_step(script):
    return script("training_step")


@pytest.fixture
def tiny_plan(training_step):
    """The plan for a GPU at a tiny size, on the CPU; all sides."""
    plan, sides = training_step.plan_for("cuda", paper=False, fast_bf16=False)
    assert plan.device == "cuda" and sides == list(training_step.SIDES)
    return replace(plan, **training_step.TINY, device="cpu")


def test_the_plan_for_a_cpu_is_smaller(training_step):
    plan, sides = training_step.plan_for("cpu", paper=False, fast_bf16=False)
    assert plan == training_step.Plan() and sides == ["nussl", "nussl, cut beforehand", "ours", "ours, every 4th frame"]


def test_all_sides_of_a_training_step_run_and_are_compared(training_step, tiny_plan, monkeypatch, script):
    train, can = training_step.train_ours, torch.ops.mkldnn._is_mkldnn_bf16_supported()
    monkeypatch.setattr(
        training_step, "train_ours", lambda *given, bf16=False, **more: train(*given, bf16=bf16 and can, **more)
    )
    monkeypatch.setattr(script("peak"), "gemm_peak", lambda threads, device: 1e7)
    monkeypatch.setattr(training_step, "run_side", training_step.measure)  # in this process
    monkeypatch.setattr(
        subprocess, "run", lambda words, check: training_step.make_stems(training_step.Path(words[5]), tiny_plan)
    )
    found = training_step.compare(tiny_plan, list(training_step.SIDES))
    assert found["speed_ratio"] > 0 and found["cut_beforehand"]["speed_ratio"] > 0
    assert found["share_of_peak"].keys() == training_step.SIDES.keys()
    assert all(share > 0 for share in found["share_of_peak"].values())
    for key in ("pretraining", "pretraining_bf16"):
        assert found[key]["minutes"] > 0 and 0 < found[key]["shares"]["embedding head and its loss"] <= 1
    json.dumps(found)


def test_a_gpus_figures_are_read_from_it(training_step, tiny_plan, tmp_path, monkeypatch, cuda_calls, capsys):
    """The network trains on the CPU; the meter and the profiler act as for a GPU."""
    meter, profile = training_step.Meter, training_step.Profile
    monkeypatch.setattr(training_step, "Meter", lambda plan, steps: meter(replace(plan, device="cuda"), steps))
    monkeypatch.setattr(training_step, "Profile", lambda plan: profile(replace(plan, device="cuda")))
    training_step.make_stems(tmp_path, tiny_plan)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="CUDA is not available")
        found = training_step.train_ours(tmp_path, tiny_plan, mode="pretrain", profiled=True)
    assert found["megabytes"] == 1 and set(found["profile"]) > set(profile.GROUPS)
    assert cuda_calls["synchronize"].call_count == 2
    assert [call.args for call in cuda_calls["set_sync_debug_mode"].call_args_list] == [("warn",), ("default",)]
    assert "0 synchronisations with the device in 3 steps" in capsys.readouterr().out


def test_a_steps_operations_grow_with_the_embedding_and_with_what_is_trained(training_step):
    plan = replace(training_step.Plan(), **training_step.TINY)
    whole, every_4th, pretraining = (
        training_step.operations_an_item(plan, **options) for options in ({}, {"frame_step": 4}, {"mode": "pretrain"})
    )
    assert whole > pretraining > 0 and whole > every_4th > 0


def test_a_peak_waits_for_a_gpu(script, monkeypatch, cuda_calls):
    rand = torch.rand
    monkeypatch.setattr(torch, "rand", lambda *shape, device: rand(*shape))
    assert script("peak").gemm_peak(1, "cuda", seconds=0.0, size=8) > 0
    assert cuda_calls["synchronize"].call_count == 2


def test_both_clustering_losses_are_counted(script):
    dc_loss = script("dc_loss")
    theirs, ours = (dc_loss.operations_of(name, (2, 20, 9, 5)) for name in ("DeepClusteringLoss", "GramDeepClusteringLoss"))
    # V'V, V'Y and Y'Y for 5 dimensions and 4 sources; back through V'V on both sides, through V'Y on one.
    forward, backward = 5 * 5 + 5 * 4 + 4 * 4, 2 * 5 * 5 + 5 * 4
    assert theirs == 2 * (forward + backward) * 2 * 20 * 9
    assert 0 < ours < theirs


def test_the_phase_vocoder_for_a_gpu_keeps_the_length(script, monkeypatch):
    augmenting = script("augmenting")
    audio = np.sin(np.arange(8000, dtype=np.float32) / 5)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "torch phase vocoder, GPU" in augmenting.candidates()
    changed = augmenting.torch_vocoder("cpu")(audio, 2.0, 0.8)
    assert abs(len(changed) - 10000) <= 2
