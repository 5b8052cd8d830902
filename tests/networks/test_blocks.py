"""Layers in blocks of time: the numbers are those of the layers on the whole sequence."""

from __future__ import annotations

import pytest
import torch
from nussl.ml.networks.modules import Embedding
from torch import nn

from nussl_transfer.networks.blocks import BLOCK, HEAD_BLOCK, layers_in_blocks

LENGTHS = [1, HEAD_BLOCK, HEAD_BLOCK + 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("frames", LENGTHS)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_layers_give_the_same(frames, kind, bidirectional):
    layer = kind(9, 5, num_layers=3, bidirectional=bidirectional, batch_first=True, dropout=0.3).eval()
    data = torch.randn(4, frames, 9)
    expected = layer(data)[0]
    with layers_in_blocks(layer):
        found = layer(data)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("frames", LENGTHS)
@pytest.mark.parametrize("activation", [["softmax"], ["tanh", "unit_norm"], ["gated_tanh", "sigmoid"]])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_heads_give_the_same(frames, activation, exact, bias):
    head = Embedding(7, 10, 3, activation, num_audio_channels=2, bias=bias).eval()
    if bias:
        head.linear.bias.normal_()
    data = torch.randn(4, frames, 10)
    expected = head(data)
    with layers_in_blocks(head, exact):
        found = head(data)
    assert found.shape == (4, frames, 7, 2, 3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_no_layer_is_given_more_than_a_block_and_afterwards_all_is_as_it_was(monkeypatch):
    layer, lengths = nn.LSTM(9, 5, batch_first=True).eval(), []
    lstm = torch.lstm
    monkeypatch.setattr(torch, "lstm", lambda data, *args: lengths.append(len(data)) or lstm(data, *args))
    with layers_in_blocks(layer):
        layer(torch.randn(2, 2 * BLOCK + 1, 9))
    assert lengths == [BLOCK, BLOCK, 1]
    with pytest.raises(ValueError, match="broken off"), layers_in_blocks(layer):
        raise ValueError("broken off")
    assert "forward" not in vars(layer)
    layer(torch.randn(2, 2 * BLOCK + 1, 9))
    assert lengths == [BLOCK, BLOCK, 1]


def test_layers_of_another_make_run_as_they_are():
    batch_second, projected = nn.LSTM(9, 5), nn.LSTM(9, 5, proj_size=2, batch_first=True)
    model = nn.ModuleList([batch_second, projected, nn.GRU(9, 5, bias=False, batch_first=True), nn.Linear(2, 2)])
    with layers_in_blocks(model):
        assert not any("forward" in vars(layer) for layer in model)
