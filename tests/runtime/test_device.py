"""Tests of the choice of a device: an absent device is an error, never silently the CPU."""

from __future__ import annotations

import logging

import pytest
import torch

from nussl_transfer.cli import main
from nussl_transfer.errors import ConfigError
from nussl_transfer.evaluation.estimators import open_for
from nussl_transfer.runtime import device as device_module
from nussl_transfer.runtime.device import resolve_device
from nussl_transfer.separation.masks import TransferMaskEstimation


@pytest.fixture
def without_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def apple_gpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1"])
def test_an_absent_cuda_device_is_an_error(without_cuda, device):
    with pytest.raises(ConfigError, match=f"Device '{device}' is not available: torch sees no CUDA device. Use 'cpu'"):
        resolve_device(device)


@pytest.mark.parametrize("device", ["mps", "mps:0"])
def test_an_absent_apple_gpu_is_an_error(monkeypatch, device):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=f"Device '{device}' is not available: torch sees no such Apple GPU. Use 'cpu'"):
        resolve_device(device)


def test_a_device_number_beyond_the_last_is_an_error(two_gpus, apple_gpu):
    assert resolve_device("cuda") == "cuda"
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(ConfigError, match="Device 'cuda:2' is not available: torch sees 2 CUDA devices, numbered from 0"):
        resolve_device("cuda:2")
    with pytest.raises(ConfigError, match="Device 'mps:1' is not available"):
        resolve_device("mps:1")


@pytest.mark.parametrize("device", ["gpu", "CUDA", "", "cuda:x", "meta", "Auto"])
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(device):
    with pytest.raises(ConfigError, match=f"Unknown device '{device}'. Use 'auto', 'cpu', 'cuda'"):
        resolve_device(device)


def test_auto_prefers_cuda_then_mps_then_the_cpu(without_cuda, apple_gpu, monkeypatch):
    assert resolve_device() == resolve_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"


def test_several_processes_do_not_share_an_apple_gpu(without_cuda, apple_gpu, monkeypatch):
    monkeypatch.setattr(device_module, "is_single_process", lambda: False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(ConfigError, match="'mps' does not work with several processes"):
        resolve_device("mps")


def test_the_choice_is_logged_once(caplog):
    device_module._log_choice.cache_clear()
    with caplog.at_level(logging.INFO, logger="nussl_transfer"):
        resolve_device("cpu")
        resolve_device("cpu")
    assert caplog.messages == ["Device: cpu."]


def test_a_separator_takes_auto(without_cuda, signals, old_checkpoint):
    separator = TransferMaskEstimation(signals(1)[0], model_path=str(old_checkpoint), device="auto")
    assert separator.device == "cpu" and len(separator()) == 2


def test_no_entry_point_falls_back_to_the_cpu(without_cuda, tmp_path, tiny_store, old_checkpoint, signals, capsys):
    with pytest.raises(ConfigError, match="no CUDA device"):
        open_for(tiny_store, old_checkpoint, "cuda")
    with pytest.raises(ConfigError, match="no CUDA device"):
        TransferMaskEstimation(signals(1)[0], model_path=str(old_checkpoint), device="cuda")
    stems = str(tiny_store.folder)
    audio = next(tiny_store.folder.rglob("*.wav"))
    for words in (
        ["finetune", stems, "--out", str(tmp_path / "run")],
        ["evaluate", "body", stems, "--out", str(tmp_path / "scores")],
        ["separate", str(audio), "--model", "body", "--out", str(tmp_path / "separated")],
    ):
        assert main([*words, "--device", "cuda"]) == 2, words
        assert "torch sees no CUDA device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "a file was written before the error"
