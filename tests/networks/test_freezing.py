"""Freezing: which layers a mode trains, which it runs, and that the others do not change."""

from __future__ import annotations

import pytest
import torch
from nussl.ml import SeparationModel
from nussl.ml.networks.builders import build_recurrent_mask_inference

from nussl_transfer.errors import ConfigError
from nussl_transfer.networks.freezing import (
    freeze,
    freeze_buffers_and_dropout,
    frozen_layers,
    outputs_of_mode,
    parameter_groups,
    trainable_parameters,
)

BODY = ["log_spectrogram", "normalization", "recurrent_stack"]


@pytest.fixture
def mask_inference() -> SeparationModel:
    return SeparationModel(build_recurrent_mask_inference(33, 8, 1, True, 0.0, 3, ["softmax"]))


@pytest.mark.parametrize(
    ("mode", "frozen", "expected_frozen"),
    [
        ("pretrain", [], ["mask"]),
        ("whole", [], []),
        ("mask", [], [*BODY, "embedding", "estimates"]),
        ("whole", ["recurrent_stack", "normalization"], ["normalization", "recurrent_stack"]),
        ("pretrain", ["embedding"], ["embedding", "mask"]),
    ],
)
def test_each_mode_freezes_its_layers_and_any_that_are_named(small_chimera, mode, frozen, expected_frozen):
    model = small_chimera()
    assert sorted(frozen_layers(model, mode, frozen)) == sorted(expected_frozen)
    expected = [id(p) for name, layer in model.layers.items() if name not in expected_frozen for p in layer.parameters()]
    assert [id(parameter) for parameter in trainable_parameters(model, mode, frozen)] == expected


def test_a_layer_name_that_matches_nothing_is_an_error_that_lists_the_names(small_chimera):
    for name in ("recurent_stack", "layers.mask", "rnn"):
        with pytest.raises(ConfigError, match=rf"{name}.*the network has .*recurrent_stack, embedding, mask, estimates"):
            frozen_layers(small_chimera(), "whole", ["normalization", name])


def test_freezing_all_that_can_be_trained_is_an_error(small_chimera):
    for mode, frozen in (("mask", ["mask"]), ("whole", ["normalization", "recurrent_stack", "embedding", "mask"])):
        with pytest.raises(ConfigError, match=f"'{mode}' with .*mask frozen leaves nothing to train"):
            trainable_parameters(small_chimera(), mode, frozen)


def test_an_unknown_mode_is_an_error_that_lists_the_modes(small_chimera):
    for function in (outputs_of_mode, lambda mode: frozen_layers(small_chimera(), mode)):
        with pytest.raises(ConfigError, match="'finetune'.*Choose one of pretrain, whole, mask"):
            function("finetune")


@pytest.mark.parametrize("mode", ["pretrain", "whole"])
def test_a_mode_that_needs_a_head_the_network_lacks_is_an_error(mask_inference, mode):
    with pytest.raises(ConfigError, match=f"'{mode}'.*needs the layers embedding, and the network has .*mode 'mask'"):
        trainable_parameters(mask_inference, mode)


def test_a_mask_inference_network_can_be_trained_in_mode_mask(mask_inference):
    assert trainable_parameters(mask_inference, "mask") == list(mask_inference.layers["mask"].parameters())


def test_without_a_body_learning_rate_there_is_one_parameter_group(small_chimera):
    model = small_chimera()
    (group,) = parameter_groups(model, "whole", ["normalization"], learning_rate=0.5)
    assert group["lr"] == 0.5
    expected = trainable_parameters(model, "whole", ["normalization"])
    assert [id(p) for p in group["params"]] == [id(p) for p in expected]


@pytest.mark.parametrize(
    ("mode", "frozen", "heads", "body"),
    [
        ("whole", [], {"embedding", "mask"}, {"normalization", "recurrent_stack"}),
        ("whole", ["embedding"], {"mask"}, {"normalization", "recurrent_stack"}),
        ("pretrain", ["normalization"], {"embedding"}, {"recurrent_stack"}),
    ],
)
def test_a_body_learning_rate_makes_a_parameter_group_of_the_body(small_chimera, mode, frozen, heads, body):
    model = small_chimera()
    groups = parameter_groups(model, mode, frozen, learning_rate=1e-2, body_learning_rate=1e-4)
    layer_of = {id(p): name.split(".")[1] for name, p in model.named_parameters()}
    assert [{layer_of[id(p)] for p in group["params"]} for group in groups] == [heads, body]
    assert [group["lr"] for group in groups] == [1e-2, 1e-4]
    together = {id(p) for group in groups for p in group["params"]}
    assert together == {id(p) for p in trainable_parameters(model, mode, frozen)}


def test_the_first_step_of_adam_moves_each_part_by_its_own_rate_and_a_plateau_scales_both(small_chimera):
    model = small_chimera()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    groups = parameter_groups(model, "whole", learning_rate=1e-2, body_learning_rate=1e-4)
    optimizer = torch.optim.Adam(groups, eps=0.0)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()  # Adam's first step is the rate, whatever the gradient
    for name, p in model.named_parameters():
        rate = 1e-2 if name.split(".")[1] in ("embedding", "mask") else 1e-4
        torch.testing.assert_close(before[name] - p, torch.full_like(p, rate), rtol=1e-2, atol=1e-6)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    for loss in (1.0, 2.0):
        schedule.step(loss)
    assert [group["lr"] for group in optimizer.param_groups] == [5e-3, 5e-5]


def test_a_rate_for_a_body_that_is_frozen_is_an_error(small_chimera):
    for mode, frozen, part in (("mask", [], "body"), ("whole", ["embedding", "mask"], "heads")):
        with pytest.raises(ConfigError, match=f"'{mode}'.* trains nothing of the {part}. Leave it out"):
            parameter_groups(small_chimera(), mode, frozen, body_learning_rate=1e-4)


def test_freezing_and_unfreezing_set_requires_grad(small_chimera):
    model = small_chimera()
    freeze(model, ["recurrent_stack", "embedding"])
    still = {name.split(".")[1] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert still == {"normalization", "mask"}
    freeze(model, [])
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_frozen_layers_apply_no_dropout(small_chimera):
    model = small_chimera(num_layers=2, dropout=0.5)
    data = {"mix_magnitude": torch.rand(2, 9, 33, 1)}
    model.train()
    assert not torch.equal(model(data)["mask"], model(data)["mask"]), "dropout must be on before"
    model.train()
    freeze_buffers_and_dropout(model, BODY)
    assert torch.equal(model(data)["mask"], model(data)["mask"])


def test_frozen_layers_compute_the_same_as_in_evaluation(small_chimera):
    model = small_chimera(num_layers=2, dropout=0.5)
    data = {"mix_magnitude": torch.rand(2, 9, 33, 1)}
    model(data)  # gives the normalization statistics of its own
    expected = model.eval()(data)["mask"]
    freeze_buffers_and_dropout(model.train(), BODY)
    torch.testing.assert_close(model(data)["mask"], expected)


def test_a_frozen_recurrent_layer_stays_in_training_mode_as_cudnn_demands(small_chimera):
    model = small_chimera(num_layers=2, dropout=0.5).train()
    freeze_buffers_and_dropout(model, BODY)
    assert model.layers["recurrent_stack"].rnn.training
    assert not model.layers["normalization"].batch_norm.training


def test_dropout_is_restored_when_a_layer_is_unfrozen(small_chimera):
    model = small_chimera(num_layers=2, dropout=0.5)
    for _ in range(2):
        freeze_buffers_and_dropout(model.train(), BODY)
        assert model.layers["recurrent_stack"].rnn.dropout == 0
    freeze_buffers_and_dropout(model.train(), [])
    assert model.layers["recurrent_stack"].rnn.dropout == 0.5
    assert model.layers["normalization"].batch_norm.training
