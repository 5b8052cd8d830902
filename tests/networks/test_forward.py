"""A network computes the outputs that are wanted, and gives the numbers that nussl's own forward gives."""

from __future__ import annotations

import pytest
import torch
from nussl.ml import SeparationModel
from nussl.ml.networks.modules import Embedding
from torch import nn

from nussl_transfer.errors import ConfigError
from nussl_transfer.networks.forward import (
    BLOCK,
    HEAD_BLOCK,
    ForwardPass,
    autocast,
    forward,
    in_blocks,
    needed_connections,
    over_processes,
    run_head,
    run_network,
    run_recurrent,
    softmax_head,
)
from nussl_transfer.networks.freezing import MODES, outputs_of_mode

BODY = ["log_spectrogram", "normalization", "recurrent_stack"]
LENGTHS = [1, HEAD_BLOCK, HEAD_BLOCK + 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


# Which layers run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_only_the_wanted_outputs_are_computed_and_they_are_nussls(small_chimera, mode):
    model = small_chimera().eval()
    data = {"mix_magnitude": torch.rand(2, 9, 33, 1)}
    everything, ran = model(data), []
    for name, layer in model.layers.items():
        layer.register_forward_hook(lambda *_, name=name: ran.append(name))
    found = forward(model, data, outputs_of_mode(mode))
    heads = {"pretrain": ["embedding"], "whole": ["embedding", "mask", "estimates"], "mask": ["mask", "estimates"]}[mode]
    assert ran == BODY + heads
    assert set(found) == set(heads)
    assert all(torch.equal(found[name], everything[name]) for name in found)


def test_a_layer_can_be_replaced_by_a_function_or_by_its_output(small_chimera):
    model, ran = small_chimera().eval(), []
    data = {"mix_magnitude": torch.rand(2, 9, 33, 1)}
    plain = forward(model, data, ["normalization", "mask", "estimates"])
    for name, layer in model.layers.items():
        layer.register_forward_hook(lambda *_, name=name: ran.append(name))
    found = forward(model, data, ["mask"], {"normalization": plain["normalization"]})
    assert ran == ["recurrent_stack", "mask"] and torch.equal(found["mask"], plain["mask"])
    halved = forward(model, data, ["estimates"], {"mask": lambda hidden: model.layers["mask"](hidden) / 2})
    torch.testing.assert_close(halved["estimates"], plain["estimates"] / 2)


def test_a_batch_without_an_input_is_refused_with_what_it_has(small_chimera):
    with pytest.raises(ConfigError, match="lacks 'mix_magnitude', an input of layer 'log_spectrogram': it has weights"):
        forward(small_chimera(), {"weights": torch.zeros(1)}, ["mask"])


def test_inputs_given_by_keyword_and_parts_of_a_layers_output_are_followed():
    class Split(torch.nn.Module):
        def forward(self, data):
            return data, -data

    class Named(torch.nn.Module):
        def forward(self, data):
            return {"half": data / 2}

    config = {
        "name": "made up",
        "modules": {
            "mix_magnitude": {},
            "split": {"class": "Identity"},
            "unused": {"class": "ReLU"},
            "first": {"class": "ReLU"},
            "named": {"class": "Identity"},
            "second": {"class": "ReLU"},
        },
        "connections": [
            ["split", ["mix_magnitude"]],
            ["unused", ["split:0"]],
            ["first", ["split:1"]],
            ["named", ["first"]],
            ["second", [{"input": "named:half"}]],
        ],
        "output": ["unused", "second"],
    }
    model = SeparationModel(config)
    model.layers["split"], model.layers["named"] = Split(), Named()
    data = {"mix_magnitude": torch.tensor([-1.0, 2.0])}
    assert [connection[0] for connection in needed_connections(model, ["second"])] == ["split", "first", "named", "second"]
    assert torch.equal(forward(model, data, ["second"])["second"], torch.tensor([0.5, 0.0]))
    assert torch.equal(forward(model, data, ["second"])["second"], model(data)["second"])


def test_autocast_is_entered_only_for_bf16(monkeypatch):
    monkeypatch.setattr("nussl_transfer.networks.forward.cpu_has_bf16", lambda: True)
    layer, data = nn.Linear(3, 2), torch.randn(4, 3)
    with autocast("cpu", True):
        assert layer(data).dtype == torch.bfloat16
    with autocast("meta", False):  # torch has none for this device
        assert layer(data).dtype == torch.float32


def test_a_processor_without_bfloat16_computes_in_float32(monkeypatch, small_chimera):
    monkeypatch.setattr("nussl_transfer.networks.forward.cpu_has_bf16", lambda: False)
    model, magnitude = small_chimera().eval(), torch.rand(2, 9, 33, 1)
    assert torch.equal(run_network(model, magnitude, "mask", bf16=True), run_network(model, magnitude, "mask"))


def test_frame_step_needs_no_change_of_the_network(small_chimera):
    model = small_chimera(embedding_activation=("softmax",))  # not an embedding that the loss can compute
    batch = {
        "mix_magnitude": torch.rand(4, 9, 33, 1),
        "ideal_binary_mask": torch.rand(4, 9, 33, 1, 3),
        "weights": torch.rand(4, 9, 33, 1),
    }
    output, target = ForwardPass(model.eval(), "whole", frame_step=4)(batch, first_frame=1)
    assert output["embedding"].shape[1] == target["weights"].shape[1] == 2
    torch.testing.assert_close(output["embedding"], model(batch)["embedding"][:, 1::4])
    assert all("forward" not in vars(module) and not module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_masks_and_estimates_can_be_computed_at_some_frames_only(small_chimera, activation):
    model = small_chimera(mask_activation=(activation,)).eval()
    batch = {
        "mix_magnitude": torch.rand(4, 9, 33, 1),
        "source_magnitudes": torch.rand(4, 9, 33, 1, 3),
        "ideal_binary_mask": torch.rand(4, 9, 33, 1, 3),
        "weights": torch.rand(4, 9, 33, 1),
    }
    output, target = ForwardPass(model, "whole", mask_frame_step=4)(batch, first_frame=6)
    expected = model(batch)
    for name in ("mask", "estimates"):
        torch.testing.assert_close(output[name], expected[name][:, 2::4])
    assert torch.equal(target["source_magnitudes"], batch["source_magnitudes"][:, 2::4])
    assert target["weights"].shape[1] == 9  # the embedding's frames are its own affair


# In blocks of time ----------------------------------------------------------------------------------------------------


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


def test_layers_of_another_make_and_models_elsewhere_run_as_they_are(small_chimera):
    model = small_chimera()
    assert set(in_blocks(model)) == {"recurrent_stack", "embedding", "mask"}
    assert in_blocks(model.to("meta")) == {}
    for rnn in (nn.LSTM(9, 5), nn.LSTM(9, 5, proj_size=2, batch_first=True), nn.GRU(9, 5, bias=False, batch_first=True)):
        model = small_chimera()
        model.layers["recurrent_stack"].rnn = rnn
        assert "recurrent_stack" not in in_blocks(model)


# Several processes ----------------------------------------------------------------------------------------------------


def test_batch_normalisation_outside_of_nussls_layer_is_refused_in_several_processes(small_chimera, monkeypatch):
    model = small_chimera()
    assert over_processes(model) == {}
    monkeypatch.setattr("nussl_transfer.networks.forward.is_single_process", lambda: False)
    assert set(over_processes(model)) == {"normalization"}
    model.layers["embedding"].extra = nn.BatchNorm1d(3)
    with pytest.raises(ConfigError, match="Layer 'embedding' holds a batch normalisation.*one process"):
        over_processes(model)
