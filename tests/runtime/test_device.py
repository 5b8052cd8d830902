"""A device that is not there is an error, never the CPU in silence."""

from __future__ import annotations

import pytest
import torch

from nussl_transfer.cli import main
from nussl_transfer.errors import ConfigError
from nussl_transfer.evaluation.estimates import load_for
from nussl_transfer.runtime.device import check_device
from nussl_transfer.separation.masks import TransferMaskEstimation


@pytest.fixture
def without_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1"])
def test_cuda_where_there_is_none_is_refused(without_cuda, device):
    with pytest.raises(ConfigError, match=f"Device '{device}' was asked for: torch sees no CUDA device. Take 'cpu'."):
        check_device(device)


def test_a_number_beyond_the_last_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_device("cuda")
    check_device("cuda:1")
    with pytest.raises(ConfigError, match="Device 'cuda:2' was asked for: torch sees 2, counted from 0"):
        check_device("cuda:2")


@pytest.mark.parametrize("device", ["gpu", "mps", "CUDA", "", "cuda:x"])
def test_a_word_that_is_no_device_is_refused(device):
    with pytest.raises(ConfigError, match=f"Device '{device}' was asked for: there are 'cpu', 'cuda'"):
        check_device(device)


def test_the_cpu_is_always_there():
    check_device("cpu")


def test_no_way_into_the_package_takes_the_cpu_instead(without_cuda, tmp_path, tiny_store, old_checkpoint, signals, capsys):
    with pytest.raises(ConfigError, match="no CUDA device"):
        load_for(tiny_store, old_checkpoint, "cuda")
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
    assert not list(tmp_path.iterdir()), "something was made before it was said"
