"""`forward` computes only the requested outputs, and gives the numbers of nussl's own forward."""

from __future__ import annotations

import pytest
import torch
from nussl.ml import SeparationModel
from torch import nn

from nussl_transfer.errors import ConfigError
from nussl_transfer.networks.forward import (
    ForwardPass,
    autocast,
    forward,
    needed_connections,
    over_processes,
    run_network,
)
from nussl_transfer.networks.freezing import MODES, outputs_of_mode

BODY = ["log_spectrogram", "normalization", "recurrent_stack"]


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
    model = small_chimera(embedding_activation=("softmax",))  # an embedding that the loss cannot compute
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
    assert target["weights"].shape[1] == 9  # the mask's frame step does not change the embedding's frames


# Several processes ----------------------------------------------------------------------------------------------------


def test_batch_normalisation_outside_of_nussls_layer_is_refused_in_several_processes(small_chimera, monkeypatch):
    model = small_chimera()
    assert over_processes(model) == {}
    monkeypatch.setattr("nussl_transfer.networks.forward.is_single_process", lambda: False)
    assert set(over_processes(model)) == {"normalization"}
    model.layers["embedding"].extra = nn.BatchNorm1d(3)
    with pytest.raises(ConfigError, match="Layer 'embedding' holds a batch normalisation.*one process"):
        over_processes(model)
