"""The closures in nussl's own engines: what each mode trains and computes, and its loss."""

from __future__ import annotations

import copy
import types

import numpy as np
import nussl
import pytest
import torch
from nussl.datasets import transforms as tfm
from nussl.ml.networks.builders import build_recurrent_mask_inference
from nussl.ml.train import closures as nussl_closures
from nussl.ml.train.loss import DeepClusteringLoss, L1Loss
from torch.utils.data import DataLoader, default_collate

from nussl_transfer.errors import ConfigError
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.networks import forward as passes
from nussl_transfer.networks.blocks import softmax_head
from nussl_transfer.networks.forward import cpu_has_bf16
from nussl_transfer.networks.freezing import MODES, trainable_parameters
from nussl_transfer.networks.losses.heads import DeferredEmbedding
from nussl_transfer.networks.targets import Targets
from nussl_transfer.training.closures import TransferClosure, TransferValidationClosure, losses_of_mode


@pytest.fixture
def batches(tiny_store, tiny_stft) -> list[dict]:
    """Three batches with spectra."""
    items = Mixtures(tiny_store, MixtureConfig(0.25, coherent=0.5), 6)
    return [Targets(tiny_stft)(default_collate([items[i], items[i + 1]])) for i in (0, 2, 4)]


def closure_for(model, mode, frozen=(), learning_rate=1e-2, **others) -> TransferClosure:
    optimizer = torch.optim.Adam(trainable_parameters(model, mode, frozen), learning_rate, weight_decay=0.1)
    return TransferClosure(optimizer, model, mode=mode, frozen=frozen, **others)


def snapshot(model) -> dict:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed_layers(before: dict, model) -> set[str]:
    return {name.split(".")[1] for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}


def expected_losses(model, batch, mode, dc_weight=0.01, frames=slice(None)) -> dict:
    """Return nussl's own losses of all the network's outputs."""
    output = model({"mix_magnitude": batch["mix_magnitude"]})
    clustering = DeepClusteringLoss()(
        output["embedding"][:, frames].contiguous(),
        batch["ideal_binary_mask"][:, frames].contiguous(),
        batch["weights"][:, frames].contiguous(),
    )
    masking = L1Loss()(output["estimates"], batch["source_magnitudes"])
    if mode == "pretrain":
        return {"GramDeepClusteringLoss": clustering, "loss": clustering}
    if mode == "mask":
        return {"L1Loss": masking, "loss": masking}
    total = dc_weight * clustering + (1 - dc_weight) * masking
    return {"GramDeepClusteringLoss": clustering, "L1Loss": masking, "loss": total}


def assert_losses(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert isinstance(found[name], float)
        assert found[name] == pytest.approx(value.item(), rel=1e-5, abs=1e-6), name


# Frozen means frozen --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalization", ["BatchNorm", "InstanceNorm"])
def test_in_mode_mask_all_but_the_mask_head_is_bit_identical_after_training(small_chimera, batches, normalization):
    model = small_chimera(num_layers=2, dropout=0.5, normalization_class=normalization)
    if normalization == "InstanceNorm":
        model.layers["normalization"].instance_norm = torch.nn.InstanceNorm1d(1, affine=True, track_running_stats=True)
    closure, before = closure_for(model, "mask"), snapshot(model)
    assert any("running_mean" in name for name in before), "the network must have statistics, which training would change"
    for batch in batches * 3:
        closure(None, batch)
    assert changed_layers(before, model) == {"mask"}


@pytest.mark.parametrize(
    ("mode", "frozen", "trained"),
    [
        ("pretrain", [], {"normalization", "recurrent_stack", "embedding"}),
        ("whole", [], {"normalization", "recurrent_stack", "embedding", "mask"}),
        ("whole", ["normalization", "recurrent_stack"], {"embedding", "mask"}),
        ("pretrain", ["normalization"], {"recurrent_stack", "embedding"}),
    ],
)
def test_each_mode_changes_the_layers_it_trains_and_no_other(small_chimera, batches, mode, frozen, trained):
    model = small_chimera()
    closure, before = closure_for(model, mode, frozen), snapshot(model)
    for batch in batches:
        closure(None, batch)
    assert changed_layers(before, model) == trained


def test_dropout_is_off_in_frozen_layers_and_on_elsewhere(small_chimera, batches):
    # The rate is 0, so only dropout can make the losses of one batch differ.
    for mode, same in (("mask", True), ("whole", False)):
        model = small_chimera(num_layers=2, dropout=0.5)
        closure = closure_for(model, mode, learning_rate=0.0)
        assert (closure(None, batches[0])["loss"] == closure(None, batches[0])["loss"]) == same, mode


def test_training_in_mode_whole_after_mode_mask_restores_dropout(small_chimera, batches):
    model = small_chimera(num_layers=2, dropout=0.5)
    closure_for(model, "mask")(None, batches[0])
    closure = closure_for(model, "whole", learning_rate=0.0)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert closure(None, batches[0])["loss"] != closure(None, batches[0])["loss"]


def test_in_mode_mask_no_gradient_graph_is_built_for_the_body(small_chimera, batches):
    model, takes_gradient = small_chimera(), []
    closure = closure_for(model, "mask")
    model.layers["recurrent_stack"].register_forward_hook(lambda *given: takes_gradient.append(given[2].requires_grad))
    closure(None, batches[0])
    assert takes_gradient == [False]
    assert all(parameter.grad is None for parameter in model.layers["recurrent_stack"].parameters())


@pytest.mark.parametrize("validates", [False, True])
@pytest.mark.parametrize(
    ("mode", "absent"), [("pretrain", {"mask", "estimates"}), ("mask", {"embedding"}), ("whole", set())]
)
def test_heads_that_a_mode_does_not_need_are_not_computed(small_chimera, batches, monkeypatch, mode, absent, validates):
    model, ran = small_chimera(), set()
    grams = DeferredEmbedding.grams  # the embedding head itself does not run: its loss computes the embedding
    monkeypatch.setattr(DeferredEmbedding, "grams", lambda *given: ran.add("embedding") or grams(*given))
    monkeypatch.setattr(passes, "softmax_head", lambda *given: ran.add("mask") or softmax_head(*given))
    closure = TransferValidationClosure(model, mode) if validates else closure_for(model, mode)
    for name, layer in model.layers.items():
        layer.register_forward_hook(lambda *_, name=name: ran.add(name))
    closure(None, batches[0])
    assert set(model.layers) - ran == absent


# Losses ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_training_losses_equal_nussls_loss_functions(small_chimera, batches, mode):
    model = small_chimera()
    twin = copy.deepcopy(model).train()
    if mode == "mask":  # a frozen body keeps its statistics
        twin.layers["normalization"].eval()
    assert_losses(closure_for(model, mode)(None, batches[0]), expected_losses(twin, batches[0], mode))


@pytest.mark.parametrize("mode", MODES)
def test_validation_losses_equal_nussls_loss_functions(small_chimera, batches, mode):
    model = small_chimera()
    model({"mix_magnitude": batches[1]["mix_magnitude"]})  # statistics with which evaluation differs from training
    before = snapshot(model)
    found = TransferValidationClosure(model, mode)(None, batches[0])
    assert_losses(found, expected_losses(model.eval(), batches[0], mode))
    assert not changed_layers(before, model)


def test_the_weight_of_deep_clustering_can_be_chosen(small_chimera, batches):
    model = small_chimera().eval()
    found = TransferValidationClosure(model, "whole", dc_weight=0.3)(None, batches[0])
    assert_losses(found, expected_losses(model, batches[0], "whole", dc_weight=0.3))


def test_a_weight_outside_0_to_1_is_an_error(small_chimera):
    for weight in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match=f"number from 0 to 1: got {weight}"):
            losses_of_mode("whole", weight)


def test_the_papers_weights_are_the_default():
    assert losses_of_mode("whole") == {"GramDeepClusteringLoss": {"weight": 0.01}, "L1Loss": {"weight": 0.99}}


def test_a_step_is_the_optimizers_step_on_the_gradient_of_the_loss(small_chimera, batches):
    model = small_chimera()
    twin = copy.deepcopy(model).train()
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    expected_losses(twin, batches[0], "whole")["loss"].backward()
    optimizer.step()
    TransferClosure(torch.optim.SGD(trainable_parameters(model, "whole"), 0.1), model, "whole")(None, batches[0])
    for name, tensor in twin.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_a_batch_of_audio_gets_spectra(small_chimera, tiny_store, tiny_stft, batches):
    items = Mixtures(tiny_store, MixtureConfig(0.25, coherent=0.5), 6)
    model = small_chimera().eval()
    audio = default_collate([items[0], items[1]])
    found = TransferValidationClosure(model, "whole", targets=Targets(tiny_stft))(None, audio)
    assert found == TransferValidationClosure(model, "whole")(None, batches[0])


def test_a_batch_of_audio_without_targets_is_an_error(small_chimera, tiny_store):
    audio = default_collate([Mixtures(tiny_store, MixtureConfig(0.25, coherent=1.0), 1)[0]])
    with pytest.raises(ConfigError, match=r"index, mix_audio, source_audio.*targets=Targets\(stft_params\)"):
        closure_for(small_chimera(), "whole")(None, audio)


# Frame steps ----------------------------------------------------------------------------------------------------------


def engine_at(iteration: int):
    return types.SimpleNamespace(state=types.SimpleNamespace(iteration=iteration), fire_event=lambda event: None)


@pytest.mark.parametrize("mode", ["pretrain", "whole"])
@pytest.mark.parametrize(
    ("step", "iteration", "first"), [(4, 1, 0), (4, 3, 2), (4, 4, 3), (4, 5, 0), (3, 100, 0), (1, 7, 0)]
)
def test_frame_step_thins_the_clustering_loss_and_not_the_mask_loss(small_chimera, batches, mode, step, iteration, first):
    model = small_chimera()
    expected = expected_losses(copy.deepcopy(model).train(), batches[0], mode, frames=slice(first, None, step))
    assert_losses(closure_for(model, mode, frame_step=step)(engine_at(iteration), batches[0]), expected)


def test_validation_takes_the_same_frames_every_time(small_chimera, batches):
    model = small_chimera().eval()
    closure = TransferValidationClosure(model, "whole", frame_step=4)
    expected = expected_losses(model, batches[0], "whole", frames=slice(0, None, 4))
    for iteration in (1, 2, 3):
        assert_losses(closure(engine_at(iteration), batches[0]), expected)


def test_after_a_step_the_network_still_computes_all_frames_and_outputs(small_chimera, batches):
    model = small_chimera()
    closure_for(model, "pretrain", frame_step=4)(None, batches[0])
    output = model({"mix_magnitude": batches[0]["mix_magnitude"]})
    assert output.keys() == {"embedding", "mask", "estimates"}
    assert output["embedding"].shape[:2] == output["mask"].shape[:2] == batches[0]["mix_magnitude"].shape[:2]


@pytest.mark.parametrize("mode", MODES)
def test_a_step_leaves_the_heads_with_their_own_activations(small_chimera, batches, mode):
    # In a step the loss scales the embedding to unit length, and the softmax is computed over another axis.
    model = small_chimera()
    closure_for(model, mode, learning_rate=0.0)(None, batches[0])
    TransferValidationClosure(model, mode)(None, batches[0])
    output, untouched = (one.eval()({"mix_magnitude": batches[0]["mix_magnitude"]}) for one in (model, small_chimera()))
    assert model.layers["embedding"].activation == ["tanh", "unit_norm"] and model.layers["mask"].activation == ["softmax"]
    torch.testing.assert_close(output["embedding"].norm(dim=-1), torch.ones_like(output["embedding"][..., 0]))
    torch.testing.assert_close(output["mask"].sum(dim=-1), torch.ones_like(output["mask"][..., 0]))
    assert untouched.keys() == output.keys()


@pytest.mark.parametrize("activations", [(["sigmoid", "unit_norm"], ["sigmoid"]), (["tanh"], ["relu", "l1_norm"])])
def test_losses_of_heads_with_other_activations_equal_nussls(small_chimera, batches, activations):
    model = small_chimera(embedding_activation=tuple(activations[0]), mask_activation=tuple(activations[1]))
    expected = expected_losses(copy.deepcopy(model).train(), batches[0], "whole")
    assert_losses(closure_for(model, "whole")(None, batches[0]), expected)


def test_a_frame_step_below_1_is_an_error(small_chimera):
    with pytest.raises(ConfigError, match="frame_step is 0.*at least 1"):
        TransferValidationClosure(small_chimera(), frame_step=0)
    with pytest.raises(ConfigError, match="mask_frame_step is 0.*at least 1"):
        TransferValidationClosure(small_chimera(), mask_frame_step=0)


def test_a_mask_inference_network_is_trained_in_mode_mask_whatever_the_frame_step(batches):
    model = nussl.ml.SeparationModel(build_recurrent_mask_inference(33, 8, 1, True, 0.0, 3, ["softmax"]))
    before = snapshot(model)
    closure_for(model, "mask", frame_step=4)(None, batches[0])
    assert changed_layers(before, model) == {"mask"}


# bfloat16 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_bfloat16_gives_nearly_the_same_losses_and_keeps_parameters_in_float32(small_chimera, batches, mode):
    plain, cast = (closure_for(small_chimera(), mode, bf16=autocast) for autocast in (False, True))
    one, other = plain(None, batches[0]), cast(None, batches[0])
    assert (one != other) == cpu_has_bf16(), "a processor with bfloat16 must compute in it"
    assert other["loss"] == pytest.approx(one["loss"], rel=0.03)
    assert all(parameter.dtype == torch.float32 for parameter in cast.model.parameters())


# A batch in parts -----------------------------------------------------------------------------------------------------


@pytest.fixture
def five(tiny_store, tiny_stft) -> dict:
    """A batch of five items, of which one is much louder than the others."""
    items = Mixtures(tiny_store, MixtureConfig(0.25, coherent=0.5), 5)
    audio = default_collate([items[i] for i in range(5)])
    audio["mix_audio"][3] *= 30
    audio["source_audio"][3] *= 30
    return Targets(tiny_stft)(audio)


@pytest.mark.parametrize("normalization", ["BatchNorm", "InstanceNorm"])
@pytest.mark.parametrize(("mode", "frame_step"), [("pretrain", 1), ("whole", 1), ("whole", 3), ("mask", 1)])
@pytest.mark.parametrize("parts", [2, 5, 8])
def test_an_accumulated_step_equals_the_step_of_the_whole_batch(
    small_chimera, five, normalization, mode, frame_step, parts
):
    found, expected = [], []
    for accumulate, losses in ((parts, found), (1, expected)):
        model = small_chimera(normalization_class=normalization)
        start = snapshot(model)
        optimizer = torch.optim.SGD(trainable_parameters(model, mode), 1.0)
        closure = TransferClosure(optimizer, model, mode, frame_step=frame_step, accumulate=accumulate)
        losses.append(closure(engine_at(2), five))
        losses.append({name: tensor - start[name] for name, tensor in snapshot(model).items()})
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    for name, moved in expected[1].items():  # weights, which follow the gradient, and running statistics
        torch.testing.assert_close(found[1][name], moved, rtol=1e-3, atol=1e-5 * moved.abs().max().item() + 1e-7, msg=name)


def test_with_accumulation_the_largest_layers_get_one_part_at_a_time(small_chimera, five):
    model, seen = small_chimera(), {}
    for name, layer in model.layers.items():
        layer.register_forward_hook(lambda *given, name=name: seen.setdefault(name, []).append(len(given[2])))
    closure_for(model, "whole", accumulate=2)(None, five)
    assert seen["recurrent_stack"] == seen["estimates"] == [3, 2]
    assert seen["normalization"] == [5]


def test_accumulation_below_1_is_an_error(small_chimera):
    with pytest.raises(ConfigError, match="at least 1: got 0"):
        closure_for(small_chimera(), "whole", accumulate=0)


# No value is read from the device -------------------------------------------------------------------------------------


@pytest.mark.parametrize("validates", [False, True])
def test_without_as_floats_losses_stay_on_the_device(small_chimera, batches, validates):
    one, other = (
        TransferValidationClosure(small_chimera(), "whole", as_floats=as_floats)
        if validates
        else closure_for(small_chimera(), "whole", as_floats=as_floats)
        for as_floats in (True, False)
    )
    floats, tensors = one(None, batches[0]), other(None, batches[0])
    assert all(isinstance(value, torch.Tensor) and not value.requires_grad for value in tensors.values())
    assert {name: value.item() for name, value in tensors.items()} == floats


# Errors ---------------------------------------------------------------------------------------------------------------


def test_an_optimizer_with_a_frozen_parameter_is_an_error(small_chimera):
    model = small_chimera()
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(ConfigError, match=r"holds 12 frozen .*normalization\.batch_norm\.weight.*trainable_parameters"):
        TransferClosure(optimizer, model, mode="mask")
    with pytest.raises(ConfigError, match="holds 2 frozen parameters, first embedding"):
        TransferClosure(optimizer, model, mode="whole", frozen=["embedding"])
    TransferClosure(optimizer, model, mode="whole")


def test_unknown_modes_and_layers_are_errors(small_chimera):
    model = small_chimera()
    optimizer = torch.optim.Adam(model.layers["mask"].parameters())
    with pytest.raises(ConfigError, match="'masks'.*pretrain, whole, mask"):
        TransferClosure(optimizer, model, mode="masks")
    with pytest.raises(ConfigError, match="'masks'.*pretrain, whole, mask"):
        TransferValidationClosure(model, mode="masks")
    with pytest.raises(ConfigError, match="Layers body cannot be frozen: the network has .*mask"):
        TransferClosure(optimizer, model, mode="whole", frozen=["body"])


# Inside nussl ---------------------------------------------------------------------------------------------------------


class Songs(nussl.datasets.BaseDataset):
    """The tiny store as a data set of nussl's own kind."""

    def __init__(self, store, **others):
        self.store = store
        super().__init__(str(store.folder), **others)

    def get_items(self, folder):
        return self.store.tracks

    def process_item(self, item):
        sources = {
            label: self._load_audio_from_array(self.store.read(item, label, 0, 4000)[None], self.store.sample_rate)
            for label in item.stems
        }
        return {"mix": sum(sources.values()), "sources": sources, "metadata": {"labels": list(item.stems)}}


@pytest.fixture
def songs(tiny_store, tiny_stft):
    transform = tfm.Compose([tfm.MagnitudeSpectrumApproximation(), tfm.MagnitudeWeights(), tfm.ToSeparationModel()])
    return Songs(tiny_store, transform=transform, stft_params=tiny_stft, sample_rate=8000, num_channels=1)


@pytest.mark.parametrize("mode", MODES)
def test_nussls_trainer_trains_and_saves_with_the_closure_on_a_nussl_data_set(small_chimera, songs, tmp_path, mode):
    model = small_chimera()
    closure, before = closure_for(model, mode), snapshot(model)
    trainer, validator = nussl.ml.train.create_train_and_validation_engines(closure, TransferValidationClosure(model, mode))
    loader = DataLoader(songs, batch_size=2)
    nussl.ml.train.add_validate_and_checkpoint(
        str(tmp_path), model, closure.optimizer, songs, trainer, val_data=loader, validator=validator
    )
    nussl.ml.train.add_stdout_handler(trainer, validator)
    trainer.run(loader, max_epochs=2)
    assert changed_layers(before, model) >= ({"mask"} if mode != "pretrain" else {"embedding"})
    history = trainer.state.epoch_history
    assert len(history["train/loss"]) == len(history["validation/loss"]) == 2
    assert np.isfinite(history["train/loss"]).all()
    saved, metadata = nussl.ml.SeparationModel.load(str(tmp_path / "checkpoints" / "latest.model.pth"))
    assert metadata["loss_dictionary"] == losses_of_mode(mode)
    assert not changed_layers(snapshot(model), saved)


def test_clipping_handlers_of_nussls_users_see_the_gradients_before_the_step(small_chimera, batches):
    model = small_chimera()
    before = snapshot(model)
    trainer, _ = nussl.ml.train.create_train_and_validation_engines(closure_for(model, "mask"))
    seen = []

    @trainer.on(nussl.ml.train.BackwardsEvents.BACKWARDS_COMPLETED)
    def look(engine):
        seen.append(model.layers["mask"].linear.weight.grad.abs().max().item())
        assert not changed_layers(before, model)
        assert {"mask", "estimates", "loss"} <= engine.state.model_output.keys()

    trainer.run(batches[:1], max_epochs=1)
    assert len(seen) == 1 and seen[0] > 0


def test_handlers_can_compute_the_deferred_embedding(small_chimera, batches):
    model = small_chimera()
    trainer, _ = nussl.ml.train.create_train_and_validation_engines(closure_for(model, "pretrain"))
    seen = []

    @trainer.on(nussl.ml.train.BackwardsEvents.BACKWARDS_COMPLETED)
    def look(engine):
        seen.append(engine.state.model_output["embedding"].make().detach())

    expected = copy.deepcopy(model).train()({"mix_magnitude": batches[0]["mix_magnitude"]})["embedding"].detach()
    trainer.run(batches[:1], max_epochs=1)
    torch.testing.assert_close(seen, [expected])


def test_nussls_own_validation_closure_takes_its_loss_dictionary(small_chimera, batches):
    model = small_chimera().eval()
    theirs = nussl_closures.ValidationClosure(losses_of_mode("whole"), model)(None, dict(batches[0]))
    assert theirs == pytest.approx(TransferValidationClosure(model, "whole")(None, batches[0]), rel=1e-6)


def test_the_closure_is_found_beside_nussls_closures():
    assert nussl_closures.TransferClosure is TransferClosure
    assert nussl_closures.TransferValidationClosure is TransferValidationClosure
