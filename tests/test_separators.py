"""Separators: nussl's estimates with names to them, and files into files, whatever the files are."""

from __future__ import annotations

import numpy as np
import nussl
import pytest
import soundfile
import soxr
import torch
from nussl.separation.deep import DeepClustering, DeepMaskEstimation

from nussl_transfer import separators
from nussl_transfer.builders import build_transfer_chimera
from nussl_transfer.checkpoints import CheckpointInfo, write_checkpoint
from nussl_transfer.errors import CheckpointError, DataError
from nussl_transfer.separators import TransferMaskEstimation, safe_names, separate_files

STFT = nussl.STFTParams(512, 128, "sqrt_hann")
RATE = 16000


def make_checkpoint(path, labels=("bass", "voice"), mode="whole", **config):
    torch.manual_seed(0)
    sizes = {"hidden_size": 6, "num_layers": 1, "embedding_size": 4, **config}
    model = nussl.ml.SeparationModel(build_transfer_chimera(len(labels), **sizes))
    return write_checkpoint(path, model, CheckpointInfo(tuple(labels), mode, RATE, STFT))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("model") / "best.model.pth")


def noise(channels=1, samples=RATE, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (channels, samples)).astype(np.float32)


def signal(audio, rate=RATE):
    return nussl.AudioSignal(audio_data_array=audio, sample_rate=rate)


@pytest.mark.parametrize("channels", [1, 2])
def test_estimates_are_nussls_own(checkpoint, channels):
    mixture = signal(noise(channels))
    ours = TransferMaskEstimation(mixture, model_path=checkpoint)
    theirs = DeepMaskEstimation(mixture, model_path=str(checkpoint))
    for estimate, expected in zip(ours(), theirs(), strict=True):
        assert estimate.audio_data.shape == (channels, RATE)
        np.testing.assert_array_equal(estimate.audio_data, expected.audio_data)
    assert ours.labels == ("bass", "voice")


def test_binary_masks_are_nussls_own(checkpoint):
    mixture = signal(noise())
    ours = TransferMaskEstimation(mixture, model_path=checkpoint, mask_type="binary")()
    theirs = DeepMaskEstimation(mixture, model_path=str(checkpoint), mask_type="binary")()
    for estimate, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(estimate.audio_data, expected.audio_data)


def test_the_embedding_is_computed_only_for_the_confidence(checkpoint):
    mixture = signal(noise())
    ours = TransferMaskEstimation(mixture, model_path=checkpoint)
    calls = []
    ours.model.layers["embedding"].register_forward_hook(lambda *_: calls.append(1))
    ours()
    assert not calls and list(ours.model_output) == ["mask"]
    theirs = DeepMaskEstimation(mixture, model_path=str(checkpoint))
    theirs()
    # The measure itself clusters a random part of the embedding.
    assert 0 <= ours.confidence(approach="dpcl_classic_confidence") <= 1
    assert len(calls) == 1
    torch.testing.assert_close(
        ours.model_output["embedding"], theirs.model_output["embedding"], rtol=0, atol=0
    )


def test_a_pretrained_body_is_refused_with_the_next_step_and_still_serves_deep_clustering(tmp_path):
    body = make_checkpoint(tmp_path / "body.pth", mode="pretrain")
    with pytest.raises(
        CheckpointError, match=r"mask head was never trained.*finetune STEMS --from .*body\.pth"
    ):
        TransferMaskEstimation(signal(noise()), model_path=body)
    with pytest.raises(CheckpointError, match="never trained"):
        separate_files([tmp_path / "any.wav"], body, tmp_path / "out", progress=False)
    estimates = DeepClustering(signal(noise()), num_sources=2, model_path=str(body))()
    assert len(estimates) == 2


def test_a_network_without_a_mask_head_is_refused(tmp_path):
    config = nussl.ml.networks.builders.build_recurrent_dpcl(
        257, 4, 1, True, 0.0, 4, ["sigmoid", "unit_norm"]
    )
    path = write_checkpoint(
        tmp_path / "dpcl.pth", nussl.ml.SeparationModel(config), CheckpointInfo((), "unknown", RATE, STFT)
    )
    with pytest.raises(CheckpointError, match="'DeepClustering' gives embedding"):
        TransferMaskEstimation(signal(noise()), model_path=path)


def test_a_checkpoint_with_more_masks_than_labels_is_refused(tmp_path):
    torch.manual_seed(0)
    model = nussl.ml.SeparationModel(build_transfer_chimera(3, hidden_size=4, num_layers=1))
    path = write_checkpoint(tmp_path / "odd.pth", model, CheckpointInfo(("a", "b"), "whole", RATE, STFT))
    with pytest.raises(CheckpointError, match="names 2 sources and makes 3 masks"):
        TransferMaskEstimation(signal(noise()), model_path=path)


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2), (8000, 3)])
def test_a_file_of_any_rate_and_channels_is_separated_as_nussl_would(tmp_path, checkpoint, rate, channels):
    audio = noise(channels, rate)  # one second
    soundfile.write(tmp_path / "song.wav", audio.T, rate, subtype="FLOAT")
    written = separate_files([tmp_path / "song.wav"], checkpoint, tmp_path / "out", progress=False)
    assert written == {
        tmp_path / "song.wav": {
            label: tmp_path / "out" / "song" / f"{label}.wav" for label in ("bass", "voice")
        }
    }
    resampled = soxr.resample(audio.T, rate, RATE).T
    expected = DeepMaskEstimation(signal(resampled), model_path=str(checkpoint))()
    for label, estimate in zip(("bass", "voice"), expected, strict=True):
        found, found_rate = soundfile.read(tmp_path / "out" / "song" / f"{label}.wav", always_2d=True)
        assert found_rate == RATE
        np.testing.assert_allclose(found.T, estimate.audio_data, atol=1e-6)
    assert not list(tmp_path.rglob("*.part"))


def test_estimates_at_the_files_own_rate_are_as_long_as_the_file(tmp_path, checkpoint):
    # A tone well below half of either rate comes through both resamplings; the masks add up to one.
    audio = 0.3 * np.sin(2 * np.pi * 440 * np.arange(44101) / 44100)
    soundfile.write(tmp_path / "tone.flac", audio, 44100)
    written = separate_files(
        [tmp_path / "tone.flac"], checkpoint, tmp_path / "out", keep_rate=True, progress=False
    )
    estimates = [soundfile.read(path) for path in written[tmp_path / "tone.flac"].values()]
    assert [(len(estimate), rate) for estimate, rate in estimates] == [(44101, 44100)] * 2
    total = sum(estimate for estimate, _ in estimates)
    np.testing.assert_allclose(total[2000:-2000], audio[2000:-2000], atol=1e-3)


def test_a_silent_file_gives_silent_estimates(tmp_path, checkpoint):
    soundfile.write(tmp_path / "rest.wav", np.zeros(8000), RATE)
    written = separate_files([tmp_path / "rest.wav"], checkpoint, tmp_path / "out", progress=False)
    for path in written[tmp_path / "rest.wav"].values():
        np.testing.assert_array_equal(soundfile.read(path)[0], np.zeros(8000))


def test_a_file_shorter_than_a_window_keeps_its_length(tmp_path, checkpoint):
    soundfile.write(tmp_path / "click.wav", noise(1, 37)[0], RATE)
    written = separate_files([tmp_path / "click.wav"], checkpoint, tmp_path / "out", progress=False)
    for path in written[tmp_path / "click.wav"].values():
        assert len(soundfile.read(path)[0]) == 37


def test_bad_files_are_all_named_and_the_good_ones_are_separated(tmp_path, checkpoint):
    soundfile.write(tmp_path / "good.wav", noise()[0], RATE)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    (tmp_path / "text.wav").write_text("not audio")
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan] * 500), RATE, subtype="FLOAT")
    names = ["empty.wav", "text.wav", "nan.wav", "absent.wav", "good.wav"]
    with pytest.raises(DataError, match="5 files were to be separated, 4 could not") as caught:
        separate_files([tmp_path / name for name in names], checkpoint, tmp_path / "out", progress=False)
    for name in names[:4]:
        assert name in str(caught.value)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good"]
    assert len(list((tmp_path / "out" / "good").iterdir())) == 2


def test_labels_and_file_names_never_leave_the_folder(tmp_path):
    labels = ("../../x", "/etc/y", "..", "a/b", "a_b", "A_B")
    checkpoint = make_checkpoint(tmp_path / "model.pth", labels=labels)
    soundfile.write(tmp_path / "...wav", noise(1, 4000)[0], RATE, format="WAV")
    written = separate_files(
        [tmp_path / "...wav"], checkpoint, tmp_path / "deep" / "er" / "out", progress=False
    )
    paths = list(written[tmp_path / "...wav"].values())
    assert len(paths) == 6 and all(path.is_file() for path in paths)
    # On a disk that ignores case, too, each has its own file.
    assert len({str(path).casefold() for path in paths}) == 6
    outside = [
        path for path in tmp_path.rglob("*.wav") if tmp_path / "deep" / "er" / "out" not in path.parents
    ]
    assert outside == [tmp_path / "...wav"]
    assert {path.parent.parent for path in paths} == {tmp_path / "deep" / "er" / "out"}


def test_ordinary_labels_keep_their_names():
    labels = ["violin", "Lead Vox (dry)", "Flöte", "kick-in", "低音"]
    assert list(safe_names(labels).values()) == labels


def test_two_files_for_one_folder_are_refused_before_anything_is_written(tmp_path, checkpoint):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "mix.wav", noise()[0], RATE)
    with pytest.raises(DataError, match="would all be written to"):
        separate_files([tmp_path / "a" / "mix.wav", tmp_path / "b" / "mix.wav"], checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failing_disk_leaves_no_half_file(tmp_path, checkpoint, monkeypatch):
    soundfile.write(tmp_path / "song.wav", noise()[0], RATE)
    write = soundfile.write

    def full(path, *args, **kwargs):
        write(path, *args, **kwargs)
        raise OSError("No space left on device")

    monkeypatch.setattr(separators.soundfile, "write", full)
    with pytest.raises(OSError, match="No space"):
        separate_files([tmp_path / "song.wav"], checkpoint, tmp_path / "out", progress=False)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
