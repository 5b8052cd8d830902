"""The curve: its points, and which network is the best."""

from __future__ import annotations

import math

import pytest
import torch

from nussl_transfer.training.curve import Curve
from nussl_transfer.training.validation import Measures


def curve_of(*valid_losses: float | None) -> Curve:
    """Return a curve with a point before training and one for each loss, a hundred iterations apart."""
    curve = Curve()
    curve.add(0, Measures(9.0), 1e-3)
    for number, loss in enumerate(valid_losses, start=1):
        curve.gather(1.0)
        curve.add(100 * number, Measures(loss), 1e-3)
    return curve


def test_a_point_has_the_mean_of_the_finite_losses_since_the_last_point():
    curve = Curve()
    for loss in (1.0, torch.tensor(2.0), math.nan, torch.tensor(6.0, requires_grad=True), math.inf):
        curve.gather(loss)
    assert curve.add(5, Measures(0.5), 1e-3)["train_loss"] == 3.0
    curve.gather(4.0)
    point = curve.add(6, Measures(), 1e-3, 2.5)
    assert (point["train_loss"], point["valid_loss"], point["test_si_sdr"]) == (4.0, 4.0, 2.5)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([], 0), ([5], 0), ([5, 4], 0), ([5, 6], 100), ([4, 5, 6, 4], 300), ([4, 5, 6, 3.9999], 0), ([math.inf, 3, 4], 100)],
)
def test_iterations_without_a_better_loss_are_counted_from_the_first_of_the_best(losses, expected):
    assert curve_of(*losses).without_improvement() == expected


def test_the_best_point_is_the_lowest_finite_loss_and_the_last_of_equal_ones():
    assert [curve_of(*losses).is_best() for losses in ([5], [5, 5], [5, 6], [6, 5])] == [True, True, False, True]
    curve = curve_of()
    curve.gather(math.nan)
    assert curve.add(100, Measures(), 1e-3)["valid_loss"] is None and not curve.is_best()


def test_a_saved_curve_resumes_with_its_losses_and_its_time():
    time = [0.0]
    first = Curve(clock=lambda: time[0])
    time[0] = 10.0
    first.gather(1.0)
    first.gather(torch.tensor(3.0))
    state = first.state_dict()
    time[0] = 1000.0
    second = Curve(clock=lambda: time[0])
    second.load_state_dict(state)
    time[0] = 1005.0
    second.gather(5.0)
    point = second.add(3, Measures(1.0), 1e-3)
    assert point["train_loss"] == 3.0 and point["seconds"] == 15.0


def test_the_history_for_nussls_handlers_has_a_value_for_each_point_and_omits_what_was_not_measured():
    curve = curve_of(5.0, 4.0)
    assert curve.history() == {
        "train/loss": [1.0, 1.0], "validation/loss": [5.0, 4.0], "train/learning_rate": [1e-3, 1e-3],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("choose_by", "best"),
    [("loss", [True, True, False]), ("mask_loss", [True, False, True]), ("si_sdr", [True, False, True])],
)
def test_choose_by_decides_which_network_is_best(choose_by, best):
    curve, found = Curve(choose_by), []
    curve.add(0, Measures(0.0, 0.0, 99.0), 1e-3)
    for number, (loss, mask_loss, si_sdr) in enumerate([(5.0, 3.0, 1.0), (4.0, 3.5, -2.0), (4.5, 2.0, 1.5)], start=1):
        curve.add(100 * number, Measures(loss, mask_loss, si_sdr), 1e-3)
        found.append(curve.is_best())
    assert found == best
    assert curve.without_improvement() == (100 if choose_by == "loss" else 0)


def test_an_si_sdr_that_could_not_be_measured_is_never_the_best():
    curve = Curve("si_sdr")
    curve.add(100, Measures(1.0, 1.0, None), 1e-3)
    assert not curve.is_best()
