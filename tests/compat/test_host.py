"""Tests of the facts about nussl 1.1.9 that this package relies on. A failure means that nussl is another version."""

from __future__ import annotations

import numpy as np
import nussl
import pytest
import scipy.signal
import torch
from nussl.datasets import transforms as tfm
from nussl.ml.networks.builders import build_recurrent_chimera
from nussl.ml.train import BackwardsEvents, ValidationEvents, create_train_and_validation_engines
from nussl.ml.train.closures import TrainClosure
from nussl.separation.base import SeparationException

from nussl_transfer.safe_loading.safe_load import safe_load


class Tones(nussl.datasets.BaseDataset):
    """Two mixtures of 'b' and 'a', in that order; counts how often audio is read."""

    asked = 0

    def get_items(self, folder):
        return [1, 2]

    def process_item(self, item):
        self.asked += 1
        time = np.arange(1600, dtype=np.float32) / 16000
        sources = {
            label: self._load_audio_from_array(0.1 * np.sin(2 * np.pi * pitch * item * time)[None], 16000)
            for label, pitch in (("b", 400), ("a", 200))
        }
        return {"mix": sum(sources.values()), "sources": sources, "metadata": {"labels": ["a", "b"]}}


def steps():
    return tfm.Compose([tfm.MagnitudeSpectrumApproximation(), tfm.MagnitudeWeights(), tfm.ToSeparationModel()])


def saved(model, path, folder="tones", transform=None, **metadata):
    """Save a model as nussl does after training on Tones, with more metadata."""
    stft = nussl.STFTParams(512, 128, "sqrt_hann")
    data = Tones("tones", transform=transform or steps(), stft_params=stft)
    data.metadata["folder"] = folder
    return model.save(str(path), train_data=data, metadata=metadata)


def batch():
    return {
        "mix_magnitude": torch.rand(1, 5, 257, 1),
        "source_magnitudes": torch.rand(1, 5, 257, 1, 2),
    }


def test_the_version():
    assert nussl.__version__ == "1.1.9"


def test_the_loader_drops_unknown_metadata_and_the_file_keeps_it(tmp_path, tiny_model):
    path = saved(tiny_model(), tmp_path / "model.pth", nussl_transfer={"labels": ["a", "b"]}, labels=["a", "b"])
    _, metadata = nussl.ml.SeparationModel.load(path)
    assert "nussl_transfer" not in metadata and "labels" not in metadata
    assert safe_load(path)["metadata"]["nussl_transfer"] == {"labels": ["a", "b"]}


def test_the_loader_requires_the_folder_as_text(tmp_path, tiny_model):
    path = saved(tiny_model(), tmp_path / "model.pth", folder=["tones"])
    with pytest.raises(SeparationException, match="for key folder but got"):
        nussl.ml.SeparationModel.load(path)


def test_the_loader_requires_exactly_compose(tmp_path, tiny_model):
    path = saved(tiny_model(), tmp_path / "model.pth", transform=tfm.MagnitudeSpectrumApproximation())
    with pytest.raises(SeparationException, match="for key transforms but got"):
        nussl.ml.SeparationModel.load(path)


@pytest.mark.parametrize(("seed", "loads"), [(None, True), (7, False)])
def test_the_loader_requires_no_seed_in_the_trainers_state(tmp_path, tiny_model, seed, loads):
    content = safe_load(saved(tiny_model(), tmp_path / "model.pth"))
    content["metadata"]["trainer.state_dict"] = {"epoch": 1, "seed": seed}
    torch.save(content, tmp_path / "model.pth")
    if loads:
        nussl.ml.SeparationModel.load(str(tmp_path / "model.pth"))
    else:
        with pytest.raises(SeparationException, match="for key seed but got"):
            nussl.ml.SeparationModel.load(str(tmp_path / "model.pth"))


def test_a_separator_applies_the_transforms_of_the_file_except_a_short_list(tmp_path, tiny_model, signals):
    path = saved(tiny_model(), tmp_path / "model.pth")
    separator = nussl.separation.deep.DeepMaskEstimation(signals(1)[0], path)
    applied = [type(step) for step in separator.transform.transforms]
    assert applied == [tfm.MagnitudeSpectrumApproximation, tfm.ToSeparationModel]
    assert all(source.audio_data.shape == (1, 16000) for source in separator())


def test_a_training_step_puts_the_whole_model_in_train_mode(tiny_model):
    model = tiny_model()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.layers["mask"].requires_grad_(True)
    model.eval()
    optimizer = torch.optim.SGD(model.layers["mask"].parameters(), lr=0.1)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    TrainClosure({"L1Loss": {}}, optimizer, model)(None, batch())
    assert model.training and model.layers["recurrent_stack"].training
    moved = [name for name, buffer in model.named_buffers() if not torch.equal(buffer, before[name])]
    assert any("running_mean" in name for name in moved), "a frozen BatchNorm must be put into evaluation mode after this"


def test_the_chimera_builder_ignores_its_mix_key():
    config = build_recurrent_chimera(
        257, 4, 1, True, 0.0, 4, ["sigmoid"], 2, ["softmax"], mix_key="log_mel", normalization_class="BatchNorm"
    )
    assert "log_mel" in config["modules"]
    assert ["log_spectrogram", ["mix_magnitude"]] in config["connections"]


def test_sources_are_in_alphabetical_order_of_their_labels():
    item = Tones("tones", transform=tfm.MagnitudeSpectrumApproximation())[0]
    assert list(item["sources"]) == ["a", "b"]
    loudest = item["source_magnitudes"].sum(axis=(1, 2)).argmax(axis=0) * 16000 / 512  # frequency of each source in Hz
    assert abs(loudest[0] - 200) < 32 and abs(loudest[1] - 400) < 32


def test_a_data_set_processes_its_first_item_when_it_is_made():
    data = Tones("tones")
    assert data.asked == 1
    assert (data.sample_rate, data.num_channels) == (16000, 1)


def test_validation_data_in_a_loader_is_dropped_from_the_metadata(tmp_path, tiny_model):
    data = Tones("tones", transform=steps())
    loader = torch.utils.data.DataLoader(data)
    path = tiny_model().save(str(tmp_path / "model.pth"), train_data=data, val_data=loader)
    assert "val_dataset" not in safe_load(path)["metadata"]


def test_an_absent_device_silently_becomes_the_cpu(monkeypatch, tmp_path, tiny_model, signals):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    seen = []
    trainer, _ = create_train_and_validation_engines(
        lambda engine, data: seen.append(data["x"].device.type) or {}, device="cuda"
    )
    trainer.run([{"x": torch.zeros(1)}])
    assert seen == ["cpu"]
    path = saved(tiny_model(), tmp_path / "model.pth")
    separator = nussl.separation.deep.DeepMaskEstimation(signals(1)[0], path, device="cuda")
    assert separator.device == "cpu"


def test_the_stft_is_scipys_in_single_precision(signals):
    (signal,) = signals(1, seconds=10)
    signal.stft_params = nussl.STFTParams(512, 128, "sqrt_hann")
    spectrum = signal.stft()[..., 0]
    window = np.sqrt(scipy.signal.windows.hann(512, sym=False))
    expected = scipy.signal.stft(signal.audio_data[0], window=window, nperseg=512, noverlap=384)[2]
    assert spectrum.shape == (257, 1251) and spectrum.dtype == np.complex64
    np.testing.assert_allclose(spectrum, expected, atol=1e-7)
    # The closed form of an inner frame: the window's sum scales it, and 256 zeros precede the signal.
    frame = signal.audio_data[0, 128 * 10 - 256 : 128 * 10 + 256]
    np.testing.assert_allclose(spectrum[:, 10], np.fft.rfft(frame * window) / window.sum(), atol=1e-6)


def test_an_epoch_can_be_a_hundred_iterations_and_handlers_run_at_each_step():
    heard = []

    def step(engine, data):
        engine.fire_event(BackwardsEvents.BACKWARDS_COMPLETED)
        return {"loss": 0.0}

    trainer, _ = create_train_and_validation_engines(step)
    trainer.add_event_handler(BackwardsEvents.BACKWARDS_COMPLETED, lambda: heard.append("backward"))
    trainer.add_event_handler(ValidationEvents.VALIDATION_COMPLETED, lambda: heard.append("validated"))
    batches = ({"x": torch.zeros(1)} for _ in range(250))
    trainer.run(batches, max_epochs=2, epoch_length=100)
    assert (trainer.state.iteration, trainer.state.epoch) == (200, 2)
    assert heard == ["backward"] * 200


def test_the_seed_of_a_run_is_none_unless_it_is_given():
    trainer, _ = create_train_and_validation_engines(lambda engine, data: {})
    trainer.run([{}])
    assert trainer.state.seed is None


def test_nussl_is_the_wheel_of_pypi():
    # GitHub's tree of the same version number is another program, whose models have other weights.
    config = build_recurrent_chimera(257, 4, 1, True, 0.0, 4, ["sigmoid"], 2, ["softmax"])
    assert len(nussl.ml.SeparationModel(config).state_dict()) == 17
