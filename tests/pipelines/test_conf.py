"""The files in recipes/conf: the paper's values, all keys, the paper's pretrainings and downstream runs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from nussl_transfer.networks.chimera import PAPER
from nussl_transfer.pipelines.experiment import Experiment
from nussl_transfer.pipelines.experiment_reading import all_keys, read_experiment

CONF = Path(__file__).parents[2] / "recipes" / "conf"
FILES = sorted(path for path in CONF.glob("*.yml") if path.stem != "study")  # which is a plan of experiments

# Sections, words and values as printed in the paper: typed from the paper, not taken from the code.
PRINTED = {
    "sample_rate": 16000,  # 3.2: "All of our experiments are done at a sampling rate of 16kHz."
    "window_length": 512,  # "a hop length of 128, window length of 512, and the square root of the Hann window"
    "hop_length": 128,
    "window_type": "sqrt_hann",
    "num_features": 257,  # "which results in 257 frequency bins in the STFT"
    "hidden_size": 500,  # "a BLSTM stack with 500 hidden units, 4 layers, and D=20"
    "num_layers": 4,
    "bidirectional": True,
    "embedding_size": 20,
    "excerpt_seconds": 10.0,  # "for 10000 iterations, with a batch size of 24, on 10-second mixtures"
    "batch_size": 24,
    "learning_rate": 0.001,  # "AutoClip [20], with p=10, a learning rate of .001 with the Adam optimizer"
    "autoclip_percentile": 10.0,
    "validate_every": 100,  # "halved if the validation loss averaged across every 100 iterations plateaus after 500"
    "plateau_iterations": 500,
    "plateau_factor": 0.5,
    "pretrain_iterations": 10000,
    "finetune_iterations": 2000,  # "an additional 2000 iterations"
    "baseline_iterations": 12000,  # "The baseline model is trained for 12000 iterations"
    "dc_weight": 0.01,  # 2.2: "where alpha = .01"
    "pitch_semitones": (-3.0, 3.0),  # 3.1: "chosen randomly between -3 and 3 semitones"
    "stretch": (0.8, 1.2),  # "chosen randomly between .8 and 1.2"
    "test_excerpts": 1000,  # "evaluated on 1000 samples of test set"
    "significance": 0.001,  # "p < .001"
}
# The key of each value in a YAML file.
KEYS = {
    "pretrain_iterations": "training.iterations.pretrain",
    "finetune_iterations": "training.iterations.finetune",
    "baseline_iterations": "training.iterations.scratch",
    "excerpt_seconds": "data.excerpt_seconds",
    "pitch_semitones": "data.pitch",
    "stretch": "data.stretch",
    "test_excerpts": "test.excerpts",
    "significance": "test.significance",
}
NETWORK = ("sample_rate", "window_length", "hop_length", "window_type", "num_features", "hidden_size", "num_layers",
           "bidirectional", "embedding_size")  # fmt: skip


def key_of(value: str) -> str:
    return KEYS.get(value, f"network.{value}" if value in NETWORK else f"training.{value}")


def in_yaml(name: str, key: str):
    value = yaml.safe_load((CONF / name).read_text())
    for part in key.split("."):
        value = value[part]
    return tuple(value) if isinstance(value, list) else value


def test_the_dataclass_holds_the_values_printed_in_the_paper():
    assert dataclasses.asdict(PAPER) == PRINTED


@pytest.mark.parametrize("value", PRINTED)
def test_the_base_holds_the_values_of_the_dataclass(value):
    assert in_yaml("base.yml", key_of(value)) == getattr(PAPER, value)


def test_the_base_is_the_default_and_names_every_key():
    assert read_experiment(CONF / "base.yml") == Experiment()
    text = yaml.safe_load((CONF / "base.yml").read_text())
    named = {f"{section}.{key}" for section, keys in text.items() for key in keys}
    assert named == {key for key in all_keys(Experiment) if key.count(".") == 1}
    comment = re.search(r"NAME: \{(.*?)\}", (CONF / "base.yml").read_text())[1]
    assert [f"data.stores.NAME.{key}" for key in comment.split(", ")] == [
        key for key in all_keys(Experiment) if key.startswith("data.stores.NAME.")
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_experiment_is_a_difference_from_the_base_and_can_be_read(path):
    experiment = read_experiment(path)
    files = [path]
    while base := yaml.safe_load(files[-1].read_text()).get("base"):
        files.append(path.parent / base)
    assert files[-1].name == "base.yml"
    if path.stem not in ("base", "smoke", "network_nussl"):
        fit = experiment.training.fit_config(experiment.kind)
        by_kind = {"pretrain": 10000, "finetune": 2000, "scratch": 12000}
        assert (fit.iterations, fit.batch_size) == (by_kind[experiment.kind], 24)
        assert experiment.network == Experiment().network, "one network for all of the paper's runs"
        assert path.stem.startswith(experiment.kind)


def test_the_papers_twelve_pretrainings_are_three_data_sets_in_four_conditions():
    conditions = {}
    for data in ("musdb", "slakh", "musdb_slakh"):
        for condition in ("", "_pitch", "_stretch", "_incoherent"):
            found = read_experiment(CONF / f"pretrain_{data}{condition}.yml").data
            conditions.setdefault(condition, set()).add((found.coherent, found.augment, found.pitch, found.stretch))
    ranges = ((-3.0, 3.0), (0.8, 1.2))
    assert conditions == {
        "": {(1.0, (), *ranges)},
        "_pitch": {(1.0, ("pitch",), *ranges)},
        "_stretch": {(1.0, ("stretch",), *ranges)},
        "_incoherent": {(0.0, (), *ranges)},
    }


def test_each_downstream_set_is_fine_tuned_in_both_modes_and_trained_from_scratch():
    for data, coherent in (("bach10", 0.0), ("choir", 1.0), ("remixpacks", 0.0)):
        names = (f"finetune_{data}", f"finetune_{data}_mask", f"scratch_{data}")
        whole, mask, scratch = (read_experiment(CONF / f"{name}.yml") for name in names)
        assert [found.training.mode for found in (whole, mask, scratch)] == ["whole", "mask", "whole"]
        assert [found.kind for found in (whole, mask, scratch)] == ["finetune", "finetune", "scratch"]
        assert whole.data == mask.data == scratch.data and whole.data.coherent == coherent
