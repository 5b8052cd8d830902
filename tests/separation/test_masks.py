"""TransferMaskEstimation replaces nussl's DeepMaskEstimation, in chunks, with labels."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import nussl
import pytest
import torch
from nussl.separation.deep import DeepMaskEstimation

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.errors import CheckpointError, ConfigError, DataError
from nussl_transfer.networks.forward import cpu_has_bf16
from nussl_transfer.separation import mixin
from nussl_transfer.separation import mixin as chunked_mixin
from nussl_transfer.separation.masks import TransferMaskEstimation

RATE = 16000


def assert_same(estimates, expected):
    for ours, theirs in zip(estimates, expected, strict=True):
        np.testing.assert_array_equal(ours.audio_data, theirs.audio_data)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("mask_type", ["soft", "binary"])
def test_estimates_of_a_signal_no_longer_than_a_chunk_are_nussls_own(checkpoint, noise, signal, channels, mask_type):
    mixture = signal(noise(channels))
    ours = TransferMaskEstimation(mixture, checkpoint, mask_type=mask_type)
    theirs = DeepMaskEstimation(mixture, str(checkpoint), mask_type=mask_type)
    assert_same(ours(), theirs())
    assert ours.labels == ("bass", "voice")
    assert isinstance(ours.result_masks[0], type(theirs.result_masks[0]))


def test_the_separator_takes_the_arguments_of_nussls():
    ours, theirs = (inspect.signature(kind).parameters for kind in (TransferMaskEstimation, DeepMaskEstimation))
    added = ["chunk_seconds", "bf16", "keep_rate", "high_band"]
    shared = [(name, ours[name].kind, ours[name].default) for name in ours if name not in added]
    assert shared == [(name, theirs[name].kind, theirs[name].default) for name in theirs]
    assert {ours[name].kind for name in added} == {inspect.Parameter.KEYWORD_ONLY}


def test_a_checkpoint_that_nussl_saved_gives_what_nussl_gave(old_checkpoint, signal):
    here = old_checkpoint.parent
    separator = TransferMaskEstimation(signal(np.load(here / "chimera_mix.npy")), old_checkpoint)
    estimates = np.stack([estimate.audio_data for estimate in separator()])
    recorded = np.load(here / "chimera_estimates.npy")
    assert np.abs(estimates - recorded).max() <= 1e-4 * np.abs(recorded).max()
    assert separator.labels == ("source0", "source1")


def test_masks_inside_a_chunk_are_the_networks_on_that_chunk(short_checkpoint, noise, signal):
    separator = TransferMaskEstimation(signal(noise(2, 3 * RATE)), short_checkpoint)
    masks = separator.forward()  # [nf, nt, nc, ns]
    magnitude = torch.from_numpy(np.abs(separator.audio_signal.stft_data)).permute(2, 1, 0)[..., None]
    chunking = separator.chunking
    starts = chunking.starts(masks.shape[1])
    assert (chunking.frames, chunking.overlap, len(starts)) == (63, 3, 7)
    for start in starts[:-1]:
        with torch.no_grad():
            alone = separator.model({"mix_magnitude": magnitude[:, start : start + 63]})["mask"][..., 0, :].numpy()
        inside = slice(3 if start else 0, 60)
        expected = alone[:, inside].transpose(2, 1, 0, 3)
        np.testing.assert_allclose(masks[:, start : start + 63][:, inside], expected, atol=1e-6)


@pytest.mark.parametrize("mask_type", ["soft", "binary"])
def test_estimates_of_a_long_signal_add_up_to_it(short_checkpoint, noise, signal, mask_type):
    audio = noise(2, 3 * RATE + 77)
    estimates = TransferMaskEstimation(signal(audio), short_checkpoint, mask_type=mask_type)()
    np.testing.assert_allclose(sum(estimate.audio_data for estimate in estimates), audio, atol=1e-5)


def test_the_length_of_a_chunk_can_be_chosen(checkpoint, short_checkpoint, noise, signal):
    mixture = signal(noise(1, 2 * RATE))
    whole = TransferMaskEstimation(mixture, short_checkpoint, chunk_seconds=2.0)()
    assert_same(whole, DeepMaskEstimation(mixture, str(short_checkpoint))())
    # The two checkpoints have the same weights, and were trained on excerpts of different lengths.
    shorter = TransferMaskEstimation(mixture, checkpoint, chunk_seconds=0.5)()
    assert_same(shorter, TransferMaskEstimation(mixture, short_checkpoint)())
    with pytest.raises(ConfigError, match="four windows"):
        TransferMaskEstimation(mixture, checkpoint, chunk_seconds=0.01)


@pytest.mark.parametrize(("rate", "samples"), [(44100, 44101), (8000, 8000), (48000, 30)])
def test_estimates_come_back_at_the_rate_and_length_of_the_signal_on_request(checkpoint, signal, rate, samples):
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)[None]
    estimates = TransferMaskEstimation(signal(tone, rate), checkpoint, keep_rate=True)()
    assert {(estimate.sample_rate, estimate.audio_data.shape) for estimate in estimates} == {(rate, (1, samples))}
    if rate > RATE:  # the ends are clicks, which reach above the model's band
        np.testing.assert_allclose(sum(e.audio_data for e in estimates), tone, atol=1e-6)
    middle = slice(2000, -2000)
    without = TransferMaskEstimation(signal(tone, rate), checkpoint, keep_rate=True, high_band=False)()
    np.testing.assert_allclose(sum(e.audio_data for e in without)[:, middle], tone[:, middle], atol=1e-3)
    at_its_own = TransferMaskEstimation(signal(tone, rate), checkpoint)()
    assert {estimate.sample_rate for estimate in at_its_own} == {RATE}


@pytest.mark.parametrize("samples", [1, 37, 511])
def test_a_signal_shorter_than_a_window_keeps_its_length(checkpoint, noise, signal, samples):
    audio = noise(1, samples)
    estimates = TransferMaskEstimation(signal(audio), checkpoint)()
    assert {estimate.audio_data.shape for estimate in estimates} == {(1, samples)}
    np.testing.assert_allclose(sum(estimate.audio_data for estimate in estimates), audio, atol=1e-5)


def test_another_signal_can_be_given_to_the_same_separator(checkpoint, noise, signal):
    separator = TransferMaskEstimation(signal(noise()), checkpoint)
    separator()
    other = signal(noise(2, 3000, seed=1))
    assert_same(separator(audio_signal=other), TransferMaskEstimation(other, checkpoint)())


def test_bfloat16_changes_the_estimates_a_little(short_checkpoint, noise, signal):
    mixture = signal(noise(1, 2 * RATE))
    exact = TransferMaskEstimation(mixture, short_checkpoint)()
    rough = TransferMaskEstimation(mixture, short_checkpoint, bf16=True)()
    difference = np.abs(exact[0].audio_data - rough[0].audio_data).max()
    assert (difference > 0) == cpu_has_bf16()
    assert difference < 0.01 * np.abs(exact[0].audio_data).max()


def test_the_embedding_is_computed_only_for_the_confidence(checkpoint, noise, signal, monkeypatch):
    computed, run_network = [], mixin.run_network

    def recorded(model, magnitude, output, **options):
        computed.append(output)
        return run_network(model, magnitude, output=output, **options)

    monkeypatch.setattr(mixin, "run_network", recorded)
    separator = TransferMaskEstimation(signal(noise()), checkpoint)
    separator()
    assert computed == ["mask"] and list(separator.model_output) == ["mask"]
    separator.confidence(approach="dpcl_classic_confidence")
    assert computed == ["mask", "embedding"]


@pytest.mark.parametrize("approach", ["silhouette_confidence", "loudness_confidence", "posterior_confidence"])
def test_the_confidence_of_a_signal_of_one_chunk_is_nussls(checkpoint, noise, signal, approach):
    mixture = signal(noise(2, 4000))
    found = []
    for kind in (TransferMaskEstimation, DeepMaskEstimation):
        separator = kind(mixture, str(checkpoint))
        separator()
        np.random.seed(0)  # nussl's measures draw from NumPy's global state
        found.append(separator.confidence(approach, num_sources=2))
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_the_confidence_of_a_long_signal_is_the_mean_over_chunks_that_sound(short_checkpoint, noise, signal, monkeypatch):
    audio = noise(1, 4 * RATE)
    audio[:, RATE : 2 * RATE] = 0
    separator = TransferMaskEstimation(signal(audio), short_checkpoint)
    separator()
    seen = []

    def measure(audio_signal, features, num_sources, representation):
        assert audio_signal is None and features.shape == (257, 63, 1, 4) and num_sources == 3
        assert representation.shape == (257, 63, 1) and representation.max() > 0
        seen.append(features)
        return float(len(seen))

    monkeypatch.setattr(nussl.ml.confidence, "loudness_confidence", measure)
    monkeypatch.setattr(chunked_mixin, "SAMPLED_CHUNKS", 4)
    assert separator.confidence("loudness_confidence", 3) == 2.5 and len(seen) == 4


def test_a_confidence_that_cannot_be_measured_says_what_is_missing(checkpoint, noise, signal):
    separator = TransferMaskEstimation(signal(noise()), checkpoint)
    with pytest.raises(nussl.separation.SeparationException, match="Did you run forward"):
        separator.confidence()
    separator(audio_signal=signal(np.zeros((1, RATE))))
    with pytest.raises(DataError, match="silent signal"):
        separator.confidence()


def test_a_pretrained_model_is_an_error_that_names_the_next_step(tmp_path, make_checkpoint, noise, signal):
    body = make_checkpoint(tmp_path / "body.pth", mode="pretrain")
    with pytest.raises(CheckpointError, match=r"without a trained mask head.*finetune STEMS --checkpoint .*body\.pth"):
        TransferMaskEstimation(signal(noise()), body)


def test_a_network_without_a_mask_head_is_an_error(tmp_path, noise, signal):
    config = nussl.ml.networks.builders.build_recurrent_dpcl(257, 4, 1, True, 0.0, 4, ["sigmoid", "unit_norm"])
    info = CheckpointInfo((), "unknown", RATE, nussl.STFTParams(512, 128, "sqrt_hann"))
    path = write_checkpoint(tmp_path / "dpcl.pth", nussl.ml.SeparationModel(config), info)
    with pytest.raises(CheckpointError, match="'DeepClustering' gives embedding"):
        TransferMaskEstimation(signal(noise()), path)


def test_a_checkpoint_with_more_masks_than_labels_is_an_error(tmp_path, small_chimera, noise, signal):
    info = CheckpointInfo(("a", "b"), "whole", RATE, nussl.STFTParams(64, 16, "sqrt_hann"))
    path = write_checkpoint(tmp_path / "odd.pth", small_chimera(3), info)
    with pytest.raises(CheckpointError, match="names 2 sources and has 3 masks"):
        TransferMaskEstimation(signal(noise()), path)


def test_a_network_with_other_inputs_than_magnitudes_is_an_error(tmp_path, small_chimera, noise, signal):
    model = small_chimera(2)
    model.config["modules"]["phase"] = {}
    info = CheckpointInfo(("a", "b"), "whole", RATE, nussl.STFTParams(64, 16, "sqrt_hann"))
    path = write_checkpoint(tmp_path / "odd.pth", model, info)
    with pytest.raises(CheckpointError, match="takes .*phase.* only mix_magnitude can be cut"):
        TransferMaskEstimation(signal(noise()), path)


def test_an_unavailable_gpu_is_an_error_and_not_replaced_by_the_cpu(checkpoint, noise, signal, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no CUDA device"):
        TransferMaskEstimation(signal(noise()), checkpoint, device="cuda")


def test_a_separator_may_be_made_before_its_checkpoint_is_known(checkpoint, noise, signal):
    mixture = signal(noise())
    separator = TransferMaskEstimation(mixture)
    separator.load_model(Path(checkpoint))
    assert_same(separator(), DeepMaskEstimation(mixture, str(checkpoint))())
