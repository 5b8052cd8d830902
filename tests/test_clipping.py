"""AutoClip does what its few lines of NumPy say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nussl_transfer.clipping import AutoClip
from nussl_transfer.errors import ConfigError


def parameters_with(gradients: list[np.ndarray | None]) -> list[torch.nn.Parameter]:
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,), (2,))]
    set_gradients(parameters, gradients)
    return parameters


def set_gradients(parameters, gradients) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else torch.from_numpy(gradient.copy())


def a_run(steps: int = 40) -> list[list[np.ndarray | None]]:
    """Returns gradients whose norms vary a hundredfold; the last parameter never has one."""
    rng = np.random.default_rng(0)
    return [
        [(scale * rng.standard_normal(shape)).astype(np.float32) for shape in ((3, 4), (5,))] + [None]
        for scale in 10 ** rng.uniform(-1, 1, steps)
    ]


@pytest.mark.parametrize("percentile", [0, 10, 50, 100])
def test_a_run_is_clipped_as_by_numpy(percentile):
    run = a_run()
    parameters = parameters_with(run[0])
    autoclip = AutoClip(parameters, percentile)
    history, shortened = [], 0
    for gradients in run:
        set_gradients(parameters, gradients)
        found = autoclip()

        norm = np.sqrt(sum(np.sum(gradient.astype(np.float64) ** 2) for gradient in gradients[:2]))
        history.append(norm)
        limit = np.percentile(history, percentile)
        assert found == pytest.approx(norm, rel=1e-6)
        for parameter, gradient in zip(parameters, gradients[:2], strict=False):
            np.testing.assert_allclose(parameter.grad, gradient * min(1, limit / norm), rtol=1e-4)
        shortened += norm > limit
        assert parameters[2].grad is None
    assert shortened / len(run) == pytest.approx(1 - percentile / 100, abs=0.15)


def test_a_history_taken_up_again_goes_on_as_if_never_left():
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
    assert first.history == second.history


@pytest.mark.parametrize("percentile", [-1, 101, float("nan")])
def test_a_percentile_that_is_none_is_refused(percentile):
    with pytest.raises(ConfigError, match=f"between 0 and 100: got {percentile}"):
        AutoClip([], percentile)
