"""`FitConfig`: the paper's values are its defaults, and a value out of range is an error that names it."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from nussl_transfer.errors import ConfigError
from nussl_transfer.training.config import FitConfig

NAN, INF = float("nan"), float("inf")


def test_the_papers_values_are_the_defaults():
    config = FitConfig()
    assert (config.mode, config.iterations, config.batch_size) == ("whole", 2000, 24)
    assert (config.learning_rate, config.autoclip_percentile, config.dc_weight, config.frame_step) == (1e-3, 10, 0.01, 1)
    assert (config.validate_every, config.plateau_iterations, config.plateau_factor) == (100, 500, 0.5)
    assert (config.bf16, config.device, config.stop_after) == (False, "auto", 0)


def names(*types: str) -> list[str]:
    return [item.name for item in fields(FitConfig) if item.type in types]


@pytest.mark.parametrize("value", [-1, NAN, INF, -INF, "many", None])
@pytest.mark.parametrize("name", names("int", "float"))
def test_every_numeric_option_rejects_other_values(name, value):
    with pytest.raises(ConfigError, match=f"^{name} must be .*: got "):
        FitConfig(**{name: value})


@pytest.mark.parametrize("name", names("int"))
def test_every_count_has_an_upper_limit(name):
    with pytest.raises(ConfigError, match=f"^{name} must be .*: got 1000000000000000000000000000000"):
        FitConfig(**{name: 10**30})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"iterations": 0}, "iterations must be a whole number from 1 to .*: got 0"),
        ({"iterations": 2.5}, r"iterations must be a whole number .*: got 2\.5"),
        ({"validate_every": 0}, "validate_every must be .* from 1 .*: got 0"),
        ({"batch_size": 0}, "batch_size must be .* from 1 .*: got 0"),
        ({"learning_rate": 0.0}, r"learning_rate must be a number above 0: got 0\.0"),
        ({"body_learning_rate": NAN}, "body_learning_rate must be a number above 0: got nan"),
        ({"autoclip_percentile": 100.5}, r"autoclip_percentile must be a number from 0 to 100: got 100\.5"),
        ({"dc_weight": 1.5}, r"dc_weight must be a number from 0 to 1: got 1\.5"),
        ({"plateau_factor": 1.0}, r"plateau_factor must be a number above 0 and below 1: got 1\.0"),
        ({"plateau_iterations": 0}, "plateau_iterations must be a whole number from 1"),
        ({"ema_decay": 1.0}, r"ema_decay must be a number at least 0 and below 1: got 1\.0"),
        ({"accumulate": 9, "batch_size": 8}, "accumulate must be at most batch_size, 8: got 9"),
        ({"seed": 2**63}, "seed must be a whole number from 0"),
        ({"workers": 10_000}, "workers must be a whole number from 0 to 1024: got 10000"),
        ({"mode": "half"}, "half"),
        ({"device": "gpu"}, "'gpu'"),
        ({"keep_at": (100, 150)}, "multiple of validate_every, 100, or the last iteration, 2000: got 150"),
        ({"keep_at": (2100,)}, "Each of keep_at must be a whole number from 1 to 2000: got 2100"),
        ({"keep_at": "100"}, "keep_at must be a list: got '100'"),
        ({"frozen": "mask"}, "frozen must be a list: got 'mask'"),
    ],
)
def test_values_out_of_range_are_errors_that_name_the_option(arguments, message):
    with pytest.raises(ConfigError, match=message):
        FitConfig(**arguments)


def test_the_last_iteration_can_be_kept_between_validations():
    assert FitConfig(iterations=250, keep_at=(100, 250)).keep_at == (100, 250)


def test_unavailable_cuda_is_an_error_and_does_not_fall_back_to_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:1"):
        with pytest.raises(ConfigError, match=f"{device}.*torch sees no CUDA device"):
            FitConfig(device=device)
