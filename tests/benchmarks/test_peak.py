"""The count of operations equals the closed form of each layer, and the peak is a plausible speed."""

from __future__ import annotations

import pytest
import torch

ROWS, FRAMES, INPUTS, UNITS = 3, 5, 7, 11


@pytest.fixture
def peak(script):
    return script("peak")


def lstm_operations(inputs: int, units: int, rows: int = 1) -> int:
    """Return the operations of one step in one direction: four gates, each from the input and the previous state."""
    return rows * 2 * 4 * units * (inputs + units)


def test_a_linear_layer_multiplies_and_adds_once_a_weight(peak):
    layer, data = torch.nn.Linear(INPUTS, UNITS, device="meta"), torch.empty(ROWS, INPUTS, device="meta")
    assert peak.operations(lambda: layer(data)) == ROWS * 2 * INPUTS * UNITS


def test_backward_through_a_linear_layer_costs_two_more_products(peak):
    layer = torch.nn.Linear(INPUTS, UNITS, device="meta")
    data = torch.empty(ROWS, INPUTS, device="meta", requires_grad=True)
    assert peak.operations(lambda: layer(data).sum().backward()) == 3 * ROWS * 2 * INPUTS * UNITS


@pytest.mark.parametrize("directions", [1, 2])
def test_a_recurrent_layer_has_four_gates_a_step_and_direction(peak, directions):
    layer = torch.nn.LSTM(INPUTS, UNITS, bidirectional=directions == 2, device="meta")
    data = torch.empty(FRAMES, ROWS, INPUTS, device="meta")
    assert peak.operations(lambda: layer(data)) == FRAMES * directions * lstm_operations(INPUTS, UNITS, ROWS)


def test_a_frame_of_a_network_is_its_layers_and_the_heads_that_run(peak, small_chimera):
    model = small_chimera(num_sources=3, hidden_size=8, num_layers=2, embedding_size=5)  # 33 bins
    body = 2 * lstm_operations(33, 8) + 2 * lstm_operations(16, 8)
    assert peak.operations_a_frame(model) == body + 2 * 16 * 33 * 3
    assert peak.operations_a_frame(model, ["mask", "embedding"]) == body + 2 * 16 * 33 * (3 + 5)
    assert next(model.parameters()).device.type == "cpu"  # the network itself stays where it was


def test_the_peak_is_a_plausible_speed_and_the_number_of_threads_is_restored(peak):
    threads = torch.get_num_threads()
    assert 1e8 < peak.gemm_peak(1, seconds=0.0, size=256) < 1e13
    assert torch.get_num_threads() == threads
