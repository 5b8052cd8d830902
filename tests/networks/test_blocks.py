"""Layers that run in blocks of time give the numbers of nussl's and torch's own layers."""

from __future__ import annotations

import pytest
import torch
from nussl.ml.networks.modules import Embedding
from torch import nn

from nussl_transfer.networks.blocks import BLOCK, HEAD_BLOCK, in_blocks, run_head, run_recurrent, softmax_head
from nussl_transfer.networks.forward import forward

LENGTHS = [1, HEAD_BLOCK, HEAD_BLOCK + 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("frames", LENGTHS)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
@torch.inference_mode()
def test_recurrent_layers_give_the_same(frames, kind, bidirectional):
    layer = kind(9, 5, num_layers=3, bidirectional=bidirectional, batch_first=True, dropout=0.3).eval()
    data = torch.randn(4, frames, 9)
    torch.testing.assert_close(run_recurrent(layer, data), layer(data)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("frames", LENGTHS)
@pytest.mark.parametrize("activation", [["softmax"], ["tanh", "unit_norm"], ["gated_tanh", "sigmoid"]])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_heads_give_the_same(frames, activation, bias):
    head = Embedding(7, 10, 3, activation, num_audio_channels=2, bias=bias).eval()
    if bias:
        head.linear.bias.normal_()
    data = torch.randn(4, frames, 10)
    for run in (run_head, softmax_head) if activation == ["softmax"] else (run_head,):
        found = run(head, data)
        assert found.shape == (4, frames, 7, 2, 3)
        torch.testing.assert_close(found, head(data), rtol=0, atol=1e-6)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("frames", LENGTHS)
@torch.inference_mode()
def test_a_network_in_blocks_gives_the_same(small_chimera, frames, exact):
    model = small_chimera(num_layers=2).eval()
    data = {"mix_magnitude": torch.rand(2, frames, 33, 1)}
    found = forward(model, data, ["mask", "embedding"], in_blocks(model, exact))
    for name, value in found.items():
        torch.testing.assert_close(value, model(data)[name], rtol=0, atol=1e-6)


def test_the_gradient_through_a_softmax_head_is_that_of_torchs_softmax():
    head, data = Embedding(7, 10, 3, ["softmax"]), torch.randn(2, 5, 10, requires_grad=True)
    target = torch.rand(2, 5, 7, 1, 3)
    gradients = [
        torch.autograd.grad((run(data) - target).abs().mean(), [data, *head.parameters()])
        for run in (head, lambda hidden: softmax_head(head, hidden))
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@torch.inference_mode()
def test_no_layer_is_given_more_than_a_block(monkeypatch):
    layer, lengths = nn.LSTM(9, 5, batch_first=True).eval(), []
    lstm = torch.lstm
    monkeypatch.setattr(torch, "lstm", lambda data, *args: lengths.append(len(data)) or lstm(data, *args))
    run_recurrent(layer, torch.randn(2, 2 * BLOCK + 1, 9))
    assert lengths == [BLOCK, BLOCK, 1]


def test_other_layer_classes_and_models_on_other_devices_do_not_run_in_blocks(small_chimera):
    model = small_chimera()
    assert set(in_blocks(model)) == {"recurrent_stack", "embedding", "mask"}
    assert in_blocks(model.to("meta")) == {}
    for rnn in (nn.LSTM(9, 5), nn.LSTM(9, 5, proj_size=2, batch_first=True), nn.GRU(9, 5, bias=False, batch_first=True)):
        model = small_chimera()
        model.layers["recurrent_stack"].rnn = rnn
        assert "recurrent_stack" not in in_blocks(model)
