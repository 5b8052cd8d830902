"""The paper's network has the paper's values, and a transplant copies all but the mask head, bit for bit."""

from __future__ import annotations

import copy
import inspect
import json

import nussl
import pytest
import torch
from nussl.ml import SeparationModel
from nussl.ml.networks.builders import build_recurrent_chimera, build_recurrent_dpcl, build_recurrent_mask_inference

from nussl_transfer.errors import CheckpointError, ConfigError
from nussl_transfer.networks.chimera import (
    PAPER,
    build_transfer_chimera,
    channels_of,
    transplant,
    with_embedding,
    with_num_sources,
    without_masks,
)


def snapshot(model: SeparationModel) -> dict:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# The paper's network --------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_papers_text():
    """The expected values are copied from sections 2.2, 3.1 and 3.2 of the paper."""
    assert (PAPER.sample_rate, PAPER.window_length, PAPER.hop_length, PAPER.window_type) == (16000, 512, 128, "sqrt_hann")
    assert (PAPER.num_features, PAPER.hidden_size, PAPER.num_layers, PAPER.embedding_size) == (257, 500, 4, 20)
    assert PAPER.bidirectional
    assert (PAPER.excerpt_seconds, PAPER.batch_size) == (10.0, 24)
    assert (PAPER.learning_rate, PAPER.autoclip_percentile) == (0.001, 10)
    assert (PAPER.validate_every, PAPER.plateau_iterations, PAPER.plateau_factor) == (100, 500, 0.5)
    assert (PAPER.pretrain_iterations, PAPER.finetune_iterations, PAPER.baseline_iterations) == (10_000, 2_000, 12_000)
    assert PAPER.dc_weight == 0.01
    assert (PAPER.pitch_semitones, PAPER.stretch) == ((-3, 3), (0.8, 1.2))
    assert (PAPER.test_excerpts, PAPER.significance) == (1000, 0.001)


def test_the_papers_values_cannot_be_changed():
    with pytest.raises(AttributeError):
        PAPER.hidden_size = 600


@pytest.mark.parametrize("num_sources", [2, 4])
def test_the_papers_network_has_as_many_parameters_as_its_layers_must_have(num_sources):
    with torch.device("meta"):  # shapes only
        model = SeparationModel(build_transfer_chimera(num_sources))
    hidden, bins, layers, dimensions = 500, 257, 4, 20

    def lstm(inputs):  # of each direction: four gates, from input and state, each with its own bias
        return 2 * (4 * hidden * (inputs + hidden) + 2 * 4 * hidden)

    body = lstm(bins) + (layers - 1) * lstm(2 * hidden)
    normalization = 2  # one scale and one shift for the whole spectrogram
    heads = (2 * hidden + 1) * bins * (dimensions + num_sources)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == body + normalization + heads


def test_the_network_gives_embedding_masks_and_estimates_of_the_documented_shapes(small_chimera):
    model = small_chimera(num_sources=3).eval()
    mix_magnitude = torch.rand(2, 7, 33, 1)
    output = model({"mix_magnitude": mix_magnitude})
    assert output.keys() == {"embedding", "mask", "estimates"}
    assert output["embedding"].shape == (2, 7, 33, 1, 5)
    assert output["mask"].shape == output["estimates"].shape == (2, 7, 33, 1, 3)
    torch.testing.assert_close(output["estimates"].sum(dim=-1), mix_magnitude)
    torch.testing.assert_close(output["embedding"].norm(dim=-1), torch.ones(2, 7, 33, 1))


def test_argument_names_are_those_of_nussls_builder():
    ours = set(inspect.signature(build_transfer_chimera).parameters)
    theirs = set(inspect.signature(build_recurrent_chimera).parameters)
    assert ours == theirs - {"mix_key"}, "nussl's builder takes mix_key and ignores it"


def test_the_configuration_is_that_of_nussls_builder():
    arguments = {
        "num_features": 129,
        "hidden_size": 30,
        "num_layers": 3,
        "bidirectional": False,
        "dropout": 0.3,
        "embedding_size": 7,
        "embedding_activation": ["tanh"],
        "num_sources": 5,
        "mask_activation": ["sigmoid"],
        "num_audio_channels": 2,
        "rnn_type": "gru",
        "normalization_class": "InstanceNorm",
        "normalization_args": {"num_features": 1},
    }
    assert build_transfer_chimera(**arguments) == build_recurrent_chimera(**arguments)


def test_only_stock_modules_of_nussl_are_in_the_network():
    modules = build_transfer_chimera(4)["modules"]
    stock = {name for name, _ in inspect.getmembers(nussl.ml.networks.modules, inspect.isclass)}
    used = {module["class"] for module in modules.values() if module}
    assert used == {"AmplitudeToDB", "BatchNorm", "RecurrentStack", "Embedding", "Mask"} <= stock
    assert all(getattr(nussl.ml.networks.modules, name).__module__.startswith("nussl.ml.") for name in used)


def test_the_configuration_is_plain_json():
    config = build_transfer_chimera(4, embedding_activation=("sigmoid", "unit_norm"), mask_activation=("softmax",))
    assert json.loads(json.dumps(config)) == config


def test_a_network_without_masks_is_refused():
    with pytest.raises(ConfigError, match="num_sources is 0. Give at least 1"):
        build_transfer_chimera(0)


# Transplants ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d", "e"]])
def test_a_transplant_copies_all_but_the_mask_head_bit_for_bit(small_chimera, labels):
    source = small_chimera(num_sources=3)
    source({"mix_magnitude": torch.rand(2, 9, 33, 1)})  # statistics that a new network does not have
    model, report = transplant(source, labels)
    given, made = source.state_dict(), model.state_dict()
    mask = {"layers.mask.linear.weight", "layers.mask.linear.bias"}
    assert set(report.made_new) == mask
    assert set(report.copied) == set(given) - mask
    assert set(report.dropped) == mask
    assert set(report.copied) | set(report.made_new) == set(made) and not set(report.copied) & set(report.made_new)
    assert all(torch.equal(given[name], made[name]) for name in report.copied)
    assert "layers.normalization.batch_norm.running_mean" in report.copied, "statistics are part of the body"
    assert made["layers.mask.linear.weight"].shape == (33 * len(labels), 16)
    assert model({"mix_magnitude": torch.rand(1, 5, 33, 1)})["mask"].shape == (1, 5, 33, 1, len(labels))


def test_the_mask_head_is_initialised_anew_even_with_the_same_number_of_masks(small_chimera):
    source, weight = small_chimera(num_sources=3), "layers.mask.linear.weight"
    for source_labels in ((), ("x", "y", "z")):
        model, report = transplant(source, ["a", "b", "c"], source_labels)
        assert weight in report.made_new
        assert not torch.equal(model.state_dict()[weight], source.state_dict()[weight])


def test_the_mask_head_stays_where_the_labels_are_the_same_in_any_order(small_chimera):
    source = small_chimera(num_sources=3)
    model, report = transplant(source, ["voice", "bass", "drums"], ("bass", "drums", "voice"))
    assert same(model.state_dict(), source.state_dict())
    assert report.made_new == report.dropped == ()


def test_from_scratch_everything_is_new(small_chimera):
    source = small_chimera(num_sources=3)
    model, report = transplant(source, ["bass", "drums", "voice"], ("bass", "drums", "voice"), fresh=True)
    assert report.copied == () and set(report.made_new) == set(model.state_dict())
    weights = [name for name in report.made_new if "weight_ih" in name or "linear.weight" in name]
    assert len(weights) == 4
    assert not any(torch.equal(model.state_dict()[name], source.state_dict()[name]) for name in weights)
    assert {key: model.config[key] for key in ("connections", "output")} == {
        key: source.config[key] for key in ("connections", "output")
    }


def test_the_source_is_not_changed_and_shares_no_memory(small_chimera):
    source = small_chimera(num_sources=3)
    before, config = snapshot(source), copy.deepcopy(source.config)
    model, _ = transplant(source, ["a", "b"])
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    assert same(before, source.state_dict()) and source.config == config


def test_the_report_can_be_read(small_chimera):
    _, report = transplant(small_chimera(), ["a", "b"])
    assert str(report) == "copied normalization, recurrent_stack, embedding; made new mask; dropped mask"
    _, report = transplant(small_chimera(), ["a", "b"], fresh=True)
    assert str(report).startswith("copied nothing; made new normalization, recurrent_stack, embedding, mask")


def test_another_shape_than_the_configuration_says_is_an_error_that_names_the_layer(small_chimera):
    source = small_chimera()
    source.layers["recurrent_stack"] = nussl.ml.networks.modules.RecurrentStack(33, 9, 1, True, 0.0)
    with pytest.raises(CheckpointError, match=r"'recurrent_stack'.*weight_ih_l0 has \(36, 33\), expected shape \(32, 33\)"):
        transplant(source, ["a", "b"])


def test_a_layer_that_is_not_there_is_an_error_that_names_it(small_chimera):
    source = small_chimera()
    del source.layers["embedding"]
    with pytest.raises(CheckpointError, match="'embedding'.*no such tensor"):
        transplant(source, ["a", "b"])


def test_a_deep_clustering_network_of_nussl_becomes_nussls_chimera():
    options = {"num_features": 33, "hidden_size": 8, "num_layers": 1, "bidirectional": True, "dropout": 0.0}
    embedding = {"embedding_size": 5, "embedding_activation": ["tanh", "unit_norm"], "num_audio_channels": 1}
    clustering = build_recurrent_dpcl(**options, **embedding)
    found = with_num_sources(clustering, 3)
    expected = build_recurrent_chimera(**options, **embedding, num_sources=3, mask_activation=["softmax"])
    assert {**found, "name": None} == {**expected, "name": None}
    assert "mask" not in clustering["modules"], "the argument was changed"


def test_a_deep_clustering_network_is_transplanted_with_all_its_layers():
    source = SeparationModel(build_recurrent_dpcl(33, 8, 1, True, 0.0, 5, ["tanh", "unit_norm"]))
    model, report = transplant(source, ["a", "b"])
    assert set(report.copied) == set(source.state_dict()) and not report.dropped
    batch = {"mix_magnitude": torch.rand(1, 6, 33, 1)}
    torch.testing.assert_close(model.eval()(batch)["embedding"], source.eval()(batch)["embedding"])
    assert model(batch)["mask"].shape == (1, 6, 33, 1, 2)


def test_without_an_embedding_head_no_mask_head_can_be_put_beside_it():
    config = build_recurrent_dpcl(33, 8, 1, True, 0.0, 5, ["sigmoid"])
    config["modules"]["embedding"]["class"] = "Concatenate"
    with pytest.raises(CheckpointError, match="embedding.*Take a ChimeraNet"):
        with_num_sources(config, 2)


def test_a_mask_inference_network_of_nussl_becomes_nussls_chimera():
    options = {"num_features": 33, "hidden_size": 8, "num_layers": 1, "bidirectional": True, "dropout": 0.0}
    masks = {"num_sources": 3, "mask_activation": ["softmax"], "num_audio_channels": 1}
    inference = build_recurrent_mask_inference(**options, **masks)
    found = with_embedding(inference)
    expected = build_recurrent_chimera(**options, **masks, embedding_size=20, embedding_activation=["tanh", "unit_norm"])
    assert found["modules"] == expected["modules"] and sorted(found["output"]) == sorted(expected["output"])
    by_name = {name: inputs for name, *inputs in found["connections"]}
    assert by_name == {name: inputs for name, *inputs in expected["connections"]}
    assert "embedding" not in inference["modules"], "the argument was changed"
    assert with_embedding(expected) == expected


def test_a_separator_without_embedding_gets_a_new_one_and_keeps_its_masks():
    source = SeparationModel(build_recurrent_mask_inference(33, 8, 1, True, 0.0, 2, ["softmax"]))
    model, report = transplant(source, ["b", "a"], ["a", "b"], clusters=True)
    assert set(report.copied) == set(source.state_dict()) and str(report).endswith("made new embedding; dropped nothing")
    batch = {"mix_magnitude": torch.rand(1, 6, 33, 1)}
    torch.testing.assert_close(model.eval()(batch)["mask"], source.eval()(batch)["mask"])
    assert model(batch)["embedding"].shape == (1, 6, 33, 1, 20)
    assert "embedding" not in transplant(source, ["a", "b"])[0].layers


def test_an_embedding_of_another_size_is_kept(small_chimera):
    model, report = transplant(small_chimera(), ["a", "b"], clusters=True)  # of five dimensions
    assert "embedding" in str(report).split(";")[0] and model.layers["embedding"].embedding_size == 5


def test_without_a_mask_head_no_embedding_can_be_put_beside_it():
    config = build_recurrent_mask_inference(33, 8, 1, True, 0.0, 2, ["softmax"])
    config["modules"]["mask"]["class"] = "Concatenate"
    with pytest.raises(CheckpointError, match="cannot get an embedding head.*mask.*Take a ChimeraNet"):
        with_embedding(config)


def test_a_network_without_its_masks_gives_the_same_embedding(small_chimera):
    source = small_chimera(num_sources=3).eval()
    smaller = without_masks(source)
    batch = {"mix_magnitude": torch.rand(1, 6, 33, 1)}
    output = smaller(batch)
    assert output.keys() == {"embedding"}
    assert torch.equal(output["embedding"], source(batch)["embedding"])
    assert smaller.config["modules"].keys() == build_recurrent_dpcl(33, 8, 1, True, 0.0, 5, ["tanh"])["modules"].keys()
    assert channels_of(smaller) == channels_of(source) == 1


def test_masks_stay_in_a_network_that_has_no_embedding(small_chimera):
    source = small_chimera()
    del source.config["modules"]["embedding"]
    with pytest.raises(CheckpointError, match="masks cannot be removed"):
        without_masks(source)


def test_the_rest_of_a_configuration_stays_when_the_number_of_sources_changes():
    config = build_transfer_chimera(4, mask_activation=["sigmoid"])
    changed = with_num_sources(config, 2)
    assert changed == build_transfer_chimera(2, mask_activation=["sigmoid"])
    assert config == build_transfer_chimera(4, mask_activation=["sigmoid"]), "the argument was changed"
