"""AutoClip equals its definition, written in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nussl_transfer.errors import ConfigError
from nussl_transfer.training.autoclip import AutoClip, percentile_of


def parameters_with(gradients: list[np.ndarray | None]) -> list[torch.nn.Parameter]:
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,), (2,))]
    set_gradients(parameters, gradients)
    return parameters


def set_gradients(parameters, gradients) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else torch.from_numpy(gradient.copy())


def a_run(steps: int = 40) -> list[list[np.ndarray | None]]:
    """Return gradients whose norms vary by a factor of a hundred; the last parameter never has a gradient."""
    rng = np.random.default_rng(0)
    return [
        [(scale * rng.standard_normal(shape)).astype(np.float32) for shape in ((3, 4), (5,))] + [None]
        for scale in 10 ** rng.uniform(-1, 1, steps)
    ]


@pytest.mark.parametrize("percentile", [0, 10, 50, 100])
def test_gradients_are_clipped_at_numpys_percentile(percentile):
    run = a_run()
    parameters = parameters_with(run[0])
    autoclip = AutoClip(parameters, percentile)
    history, shortened = [], 0
    for gradients in run:
        set_gradients(parameters, gradients)
        found = autoclip().item()

        norm = np.sqrt(sum(np.sum(gradient.astype(np.float64) ** 2) for gradient in gradients[:2]))
        history.append(norm)
        limit = np.percentile(history, percentile)
        assert found == pytest.approx(norm, rel=1e-6)
        for parameter, gradient in zip(parameters, gradients[:2], strict=False):
            np.testing.assert_allclose(parameter.grad, gradient * min(1, limit / norm), rtol=1e-4)
        shortened += norm > limit
        assert parameters[2].grad is None
    assert shortened / len(run) == pytest.approx(1 - percentile / 100, abs=0.15)


def test_a_restored_history_continues_exactly():
    run = a_run(30)
    unbroken, broken = parameters_with(run[0]), parameters_with(run[0])
    first, second = AutoClip(unbroken, 10), AutoClip(broken, 10)
    for step, gradients in enumerate(run):
        if step == 17:
            state = second.state_dict()
            second = AutoClip(broken, 10)
            second.load_state_dict(state)
        set_gradients(unbroken, gradients)
        set_gradients(broken, gradients)
        assert first() == second()
        assert all(torch.equal(one.grad, other.grad) for one, other in zip(unbroken[:2], broken[:2], strict=True))
    assert first.history.tolist() == second.history.tolist() and len(first.history) == 30


def test_a_long_history_is_kept_completely():
    parameter = torch.nn.Parameter(torch.zeros(1))
    autoclip = AutoClip([parameter], 50)
    for step in range(1100):
        parameter.grad = torch.tensor([float(step)])
        autoclip()
    assert autoclip.history.tolist() == list(range(1100))
    assert parameter.grad.item() == pytest.approx(np.percentile(range(1100), 50))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_norm_that_is_not_finite_does_not_count(bad):
    run = [gradients[:2] for gradients in a_run(30)]
    parameters, twins = (parameters_with([*run[0], None]) for _ in range(2))
    clean, spoilt = AutoClip(parameters, 10), AutoClip(twins, 10)
    for step, gradients in enumerate(run):
        if step in (0, 7, 8):
            set_gradients(twins[:2], [np.full_like(gradient, bad) for gradient in gradients])
            assert not spoilt().isfinite()
        set_gradients(parameters[:2], gradients)
        set_gradients(twins[:2], gradients)
        assert clean() == spoilt()
        assert all(torch.equal(one.grad, other.grad) for one, other in zip(parameters[:2], twins[:2], strict=True))


def test_the_percentile_is_numpys():
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 10, 101, 1000):
        values = rng.standard_normal(size).astype(np.float32)
        for percentile in (0, 1, 10, 33.3, 50, 99, 100):
            found = percentile_of(torch.from_numpy(values), percentile)
            assert found.item() == pytest.approx(np.percentile(values, percentile), rel=1e-5, abs=1e-7)


def test_the_percentile_ignores_values_that_are_not_finite_and_is_nan_without_any():
    values = torch.tensor([3.0, float("nan"), 1.0, float("inf"), 2.0, -float("inf")])
    assert percentile_of(values, 50) == 2
    assert percentile_of(values, 100) == 3
    assert percentile_of(values[1:2], 50).isnan()


@pytest.mark.parametrize("percentile", [-1, 101, float("nan")])
def test_a_percentile_out_of_range_is_an_error(percentile):
    with pytest.raises(ConfigError, match=f"number from 0 to 100: got {percentile}"):
        AutoClip([], percentile)
