"""The probe of a training: it equals the scores of the checkpoint, and leaves the network unchanged."""

from __future__ import annotations

import numpy as np
import nussl
import pytest
import torch
from noisy_tones import STFT

from nussl_transfer.evaluation.excerpts import make_excerpts
from nussl_transfer.evaluation.probe import SourceSeparationProbe
from nussl_transfer.evaluation.score import score


def test_the_probe_measures_the_live_model_as_scoring_its_checkpoint_would(store, checkpoint):
    excerpts = make_excerpts(store, 1.0)
    probe = SourceSeparationProbe(store, excerpts, STFT, batch_size=2)
    model, _ = nussl.ml.SeparationModel.load(str(checkpoint))
    expected = [row["si_sdr"] for row in score(checkpoint, store, excerpts, progress=False)]
    assert probe(model) == pytest.approx(np.mean(expected), abs=1e-6)
    mixture = [row["si_sdr"] for row in score("mixture", store, excerpts, progress=False)]
    assert probe.mixture_si_sdr == pytest.approx(np.mean(mixture))


def test_the_probe_does_not_change_training(store, checkpoint):
    probe = SourceSeparationProbe(store, make_excerpts(store, 1.0)[:2], STFT)
    model, _ = nussl.ml.SeparationModel.load(str(checkpoint))
    model.train()
    # A frozen part stays in evaluation mode while the rest trains.
    model.layers["normalization"].eval()
    flags = {name: module.training for name, module in model.named_modules()}
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    outputs, randomness = list(model.output_keys), torch.get_rng_state()
    assert probe(model) == probe(model)
    assert {name: module.training for name, module in model.named_modules()} == flags
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert model.output_keys == outputs and torch.equal(torch.get_rng_state(), randomness)
    assert all(parameter.grad is None for parameter in model.parameters())
