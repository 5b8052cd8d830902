"""A checkpoint has nussl's format, records what it is, and is never trusted."""

from __future__ import annotations

import errno
import json
import os
import pickletools
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import nussl
import pytest
import soundfile
import torch
from nussl import STFTParams
from nussl.datasets import transforms as tfm
from nussl.ml import SeparationModel
from nussl.ml.networks.builders import build_recurrent_chimera, build_recurrent_dpcl

from nussl_transfer.audio.stft import istft, magnitude, stft
from nussl_transfer.checkpoints import checkpoint as checkpoints
from nussl_transfer.checkpoints.checkpoint import KEY, CheckpointInfo, load, read_checkpoint, read_info, write_checkpoint
from nussl_transfer.errors import CheckpointError, ConfigError
from nussl_transfer.networks.freezing import trainable_parameters
from nussl_transfer.safe_loading.safe_load import safe_load

REGRESSION = Path(__file__).parents[1] / "regression"
TRAINING = {
    "optimizer": {"name": "Adam", "params": {"lr": 1e-3, "betas": (0.9, 0.999), "amsgrad": False, "maximize": None}},
    "loss_dictionary": {"GramDeepClusteringLoss": {"weight": 0.01}, "L1Loss": {"weight": 0.99}},
    "trainer.state_dict": {
        "epoch": 2,
        "epoch_length": 4,
        "max_epochs": 3,
        "output": {"loss": 0.5},
        "metrics": {},
        "seed": None,
    },
    "trainer.state.epoch_history": {"train/loss": [0.7, 0.6], "validation/loss": [0.8, 0.7]},
}


@pytest.fixture
def info(tiny_stft) -> CheckpointInfo:
    return CheckpointInfo(
        labels=("bass", "drums", "voice"),
        mode="mask",
        sample_rate=8000,
        stft_params=tiny_stft,
        excerpt_seconds=2.5,
        parent="body",
        data={"name": "tiny", "minutes": 5.75, "tracks": 4, "none": None},
    )


@pytest.fixture
def model(small_chimera) -> SeparationModel:
    model = small_chimera()
    with torch.no_grad():
        model({"mix_magnitude": torch.rand(2, 50, 33, 1)})  # statistics that a new network does not have
    return model.eval()


@pytest.fixture
def path(tmp_path, model, info) -> Path:
    return write_checkpoint(tmp_path / "model.pth", model, info, TRAINING)


@pytest.fixture
def mixture(tiny_store) -> nussl.AudioSignal:
    track = tiny_store.tracks[0]
    audio = sum(tiny_store.read(track, label) for label in tiny_store.labels)
    return nussl.AudioSignal(audio_data_array=audio[None], sample_rate=8000)


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def pickled_globals(path: Path) -> set[str]:
    """Return the classes and functions that a checkpoint names, without running it."""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        operations = list(pickletools.genops(archive.read(name)))
    assert "STACK_GLOBAL" not in {operation.name for operation, _, _ in operations}, "these would go unseen"
    return {argument.replace(" ", ".") for operation, argument, _ in operations if operation.name == "GLOBAL"}


def change(path: Path, **changes) -> Path:
    """Write a checkpoint again with other values at its top; a function is given the old one."""
    content = safe_load(path)
    for key, value in changes.items():
        content[key] = value(content[key]) if callable(value) else value
    torch.save(content, path)
    return path


# nussl's --------------------------------------------------------------------------------------------------------------


def test_only_classes_of_nussl_and_torch_are_pickled_in_it(path):
    found = pickled_globals(path)
    assert "nussl.core.audio_signal.STFTParams" in found and any(name.startswith("torch") for name in found)
    allowed = {
        "nussl.core.audio_signal.STFTParams",
        "nussl.datasets.transforms.Compose",
        "nussl.datasets.transforms.MagnitudeSpectrumApproximation",
        "nussl.datasets.transforms.MagnitudeWeights",
        "nussl.datasets.transforms.ToSeparationModel",
        "collections.OrderedDict",
    }
    assert {name for name in found if not name.startswith("torch.")} - {"torch._utils._rebuild_tensor_v2"} <= allowed


def test_the_networks_modules_are_looked_up_in_nussl_or_torch(path):
    classes = {module["class"] for module in json.loads(safe_load(path)["config"])["modules"].values() if module}
    assert all(hasattr(nussl.ml.networks.modules, name) or hasattr(torch.nn, name) for name in classes)


def test_nussl_loads_it(path, model, tiny_stft):
    loaded, metadata = SeparationModel.load(str(path))
    assert same(loaded.state_dict(), model.state_dict())
    assert metadata["stft_params"] == tiny_stft and metadata["sample_rate"] == 8000 and metadata["num_channels"] == 1
    assert metadata["nussl_version"] == nussl.__version__
    # nussl requires a seed of None, and returns it as unavailable.
    metadata["trainer.state_dict"]["seed"] = None
    for key, value in TRAINING.items():
        assert metadata[key] == value, key
    for data in ("train_dataset", "val_dataset"):
        names = [type(transform) for transform in metadata[data]["transforms"].transforms]
        assert names == [tfm.MagnitudeSpectrumApproximation, tfm.MagnitudeWeights, tfm.ToSeparationModel]
        assert (metadata[data]["sample_rate"], metadata[data]["num_channels"]) == (8000, 1)


def test_nothing_that_nussl_expects_is_left_out(path):
    _, metadata = SeparationModel.load(str(path))
    del metadata["evaluation"], metadata["trainer.state_dict"]["seed"]
    assert "UNAVAILABLE" not in json.dumps(metadata, default=str)


def test_nussls_mask_separator_gives_the_estimates_that_our_own_stages_give(path, mixture, tiny_stft):
    theirs = nussl.separation.deep.DeepMaskEstimation(mixture, str(path))()
    model, info = read_checkpoint(path)
    audio = torch.from_numpy(mixture.audio_data).float()
    with torch.no_grad():
        mask = model({"mix_magnitude": magnitude(audio, info.stft_params)[None]})["mask"][0]  # [nt, nf, nc, ns]
    spectra = stft(audio, info.stft_params) * mask.permute(3, 2, 1, 0)
    ours = istft(spectra, info.stft_params, audio.shape[-1])
    assert len(theirs) == len(info.labels) == 3
    for estimate, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(estimate, expected.audio_data, atol=1e-5)


def test_nussls_clustering_separator_uses_it(path, mixture):
    estimates = nussl.separation.deep.DeepClustering(mixture, 3, str(path), mask_type="binary")()
    np.testing.assert_allclose(sum(e.audio_data for e in estimates), mixture.audio_data, atol=1e-5)


# Its own metadata ----------------------------------------------------------------------------------------------------


def test_what_was_written_is_read(path, model, info):
    found, found_info = read_checkpoint(path)
    assert same(found.state_dict(), model.state_dict())
    assert found_info == info == read_info(path)
    assert not found.training


def test_reading_draws_no_random_numbers(path):
    before = torch.get_rng_state()
    read_checkpoint(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_each_weight_has_memory_of_its_own_and_no_weight_of_the_file_is_copied_without_need(path, monkeypatch):
    content = safe_load(path)
    names = [name for name, tensor in content["state_dict"].items() if "bias_hh" in name][:2]
    content["state_dict"][names[1]] = content["state_dict"][names[0]]  # saved once, for both
    torch.save(content, path)
    loaded = []
    monkeypatch.setattr(checkpoints, "safe_load", lambda path: loaded.append(safe_load(path)) or loaded[0])
    weights = read_checkpoint(path)[0].state_dict()
    given = {tensor.data_ptr() for tensor in loaded[0]["state_dict"].values() if tensor.numel()}
    places = [tensor.data_ptr() for tensor in weights.values() if tensor.numel()]
    assert len(set(places)) == len(places)
    assert len(set(places) & given) == len(given) == len(places) - 1
    torch.testing.assert_close(weights[names[0]], weights[names[1]], rtol=0, atol=0)


def test_labels_mode_parent_and_data_are_plain_values(path, info):
    ours = safe_load(path)["metadata"]["nussl_transfer"]
    assert json.loads(json.dumps(ours)) == ours
    assert ours == {
        "labels": ["bass", "drums", "voice"],
        "mode": "mask",
        "parent": "body",
        "data": info.data,
        "excerpt_seconds": 2.5,
    }


def test_a_pretrained_body_names_no_labels(tmp_path, model, tiny_stft):
    path = write_checkpoint(tmp_path / "body.pth", model, CheckpointInfo((), "pretrain", 8000, tiny_stft))
    assert read_info(path) == CheckpointInfo((), "pretrain", 8000, tiny_stft, 10.0, None, {})
    assert same(nussl.ml.SeparationModel.load(str(path))[0].state_dict(), model.state_dict())


def test_half_precision_halves_the_file_and_is_computed_in_float32(tmp_path, small_chimera, info):
    model = small_chimera(hidden_size=64)
    whole, half = (write_checkpoint(tmp_path / f"{half}.pth", model, info, half=half) for half in (False, True))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    for loaded in (read_checkpoint(half)[0], SeparationModel.load(str(half))[0]):
        for name, tensor in loaded.state_dict().items():
            expected = model.state_dict()[name]
            assert tensor.dtype == expected.dtype
            torch.testing.assert_close(tensor, expected, rtol=2**-10, atol=2**-24)
    assert next(model.parameters()).dtype == torch.float32, "the network itself was changed"


def test_a_checkpoint_is_replaced_as_a_whole_or_not_at_all(path, small_chimera, info, monkeypatch):
    before = path.read_bytes()

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        write_checkpoint(path, small_chimera(seed=1), info)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["model.pth"]


# nussl's own files ----------------------------------------------------------------------------------------------------


def test_a_checkpoint_of_old_nussl_is_read_and_gives_its_estimates(old_checkpoint):
    model, info = read_checkpoint(old_checkpoint)
    assert (info.labels, info.mode, info.parent, info.sample_rate) == (("source0", "source1"), "whole", None, 16000)
    audio = torch.from_numpy(np.load(REGRESSION / "chimera_mix.npy")).float()
    recorded = np.load(REGRESSION / "chimera_estimates.npy")
    with torch.no_grad():
        mask = model({"mix_magnitude": magnitude(audio, info.stft_params)[None]})["mask"][0]
    ours = istft(stft(audio, info.stft_params) * mask.permute(3, 2, 1, 0), info.stft_params, audio.shape[-1])
    assert np.abs(ours.numpy() - recorded).max() <= 1e-4 * np.abs(recorded).max()


class NoData(nussl.datasets.BaseDataset):
    def get_items(self, folder):
        return []


def saved_by_nussl(path: Path, config: dict, stft_params: STFTParams, sample_rate: int | None = 16000) -> Path:
    data = NoData("", tfm.Compose([]), sample_rate=sample_rate, stft_params=stft_params, num_channels=1)
    SeparationModel(config).save(str(path), train_data=data)
    return path


def test_a_checkpoint_that_nussl_saves_today_is_read(tmp_path):
    config = build_recurrent_chimera(257, 4, 1, True, 0.0, 3, ["sigmoid"], 2, ["softmax"])
    path = saved_by_nussl(tmp_path / "nussl.pth", config, STFTParams(512, 128, "sqrt_hann"))
    model, info = read_checkpoint(path)
    stft = STFTParams(512, 128, "sqrt_hann")
    assert info == CheckpointInfo(("source0", "source1"), "unknown", 16000, stft, data={"name": "NoData"})
    assert same(model.state_dict(), SeparationModel.load(str(path))[0].state_dict())


def test_a_network_without_masks_names_no_sources(tmp_path):
    config = build_recurrent_dpcl(257, 4, 1, True, 0.0, 3, ["sigmoid"])
    path = saved_by_nussl(tmp_path / "nussl.pth", config, STFTParams(512, 128, "sqrt_hann"))
    assert read_info(path).labels == ()


def test_stft_parameters_left_open_are_nussls_defaults(tmp_path):
    config = build_recurrent_chimera(257, 4, 1, True, 0.0, 3, ["sigmoid"], 2, ["softmax"])
    for given in (STFTParams(), STFTParams(window_length=512, hop_length=128)):
        found = read_info(saved_by_nussl(tmp_path / "nussl.pth", config, given)).stft_params
        signal = nussl.AudioSignal(audio_data_array=np.zeros((1, 10)), sample_rate=16000, stft_params=given)
        assert found == signal.stft_params and None not in found


def test_a_file_that_does_not_say_its_rate_is_refused(tmp_path):
    config = build_recurrent_chimera(257, 4, 1, True, 0.0, 3, ["sigmoid"], 2, ["softmax"])
    path = saved_by_nussl(tmp_path / "nussl.pth", config, STFTParams(512, 128, "sqrt_hann"), sample_rate=None)
    with pytest.raises(CheckpointError, match="lacks its sample rate or its STFT parameters: got None"):
        read_info(path)


def test_of_two_configurations_the_one_that_nussl_reads_counts(path, small_chimera):
    other = small_chimera(num_sources=5).config
    change(path, metadata=lambda metadata: {**metadata, "config": other})
    assert read_checkpoint(path)[0].layers["mask"].embedding_size == 3
    assert SeparationModel.load(str(path))[0].layers["mask"].embedding_size == 3


# What is refused ------------------------------------------------------------------------------------------------------


def test_a_foreign_class_in_a_checkpoint_is_refused_by_name(path):
    change(path, metadata=lambda metadata: {**metadata, "where": PurePosixPath("/tmp")})
    for read in (read_checkpoint, read_info):
        with pytest.raises(CheckpointError, match=r"names pathlib\.(_local\.)?PurePosixPath"):
            read(path)


@pytest.mark.parametrize("content", [{"weights": 1}, {"state_dict": {}, "metadata": None}, {"metadata": {}}])
def test_a_file_that_is_no_checkpoint_of_nussl_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=f"got {', '.join(content)}, expected state_dict and metadata"):
        read_checkpoint(tmp_path / "other.pth")


def broken_config(**changes):
    def change_config(config):
        config = json.loads(config)
        for key, value in changes.items():
            config["modules"]["recurrent_stack"]["args"][key] = value
        return json.dumps(config)

    return change_config


@pytest.mark.parametrize(
    "changes",
    [
        {"config": broken_config(hidden_size=9)},
        {"config": broken_config(hidden_size="many")},
        {"config": broken_config(hidden_size=-1)},
        {"config": broken_config(unheard_of=1)},
        {"config": "{no json"},
        {"config": "[]"},
        {"config": '{"modules": {}}'},
        {"config": lambda config: config.replace('"RecurrentStack"', '"NoSuchLayer"')},
        {"config": lambda config: config.replace('"RecurrentStack"', '"Linear"')},
        {"state_dict": {}},
        {"state_dict": None},
        {"state_dict": lambda state: {**state, "layers.mask.linear.bias": torch.zeros(7)}},
        {"state_dict": lambda state: {**state, "layers.more": torch.zeros(7)}},
    ],
)
def test_weights_that_do_not_fit_the_configuration_are_refused(path, changes):
    change(path, **changes)
    with pytest.raises(CheckpointError, match=f"{path} .*Download or (make|train) it again"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "ours",
    [{}, {"mode": "mask"}, {"labels": None}, {"labels": ["a", "b", "c"], "excerpt_seconds": "long"}, ["labels"], "labels"],
)
def test_what_a_file_says_of_itself_is_not_trusted(path, ours):
    change(path, metadata=lambda metadata: {**metadata, "nussl_transfer": ours})
    if ours == {}:
        assert read_info(path).labels == ("source0", "source1", "source2")
        return
    with pytest.raises(CheckpointError, match="its metadata is damaged"):
        read_info(path)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e12, float("inf"), float("nan")])
def test_an_impossible_excerpt_length_is_refused(path, seconds):
    change(path, metadata=lambda metadata: {**metadata, KEY: {**metadata[KEY], "excerpt_seconds": seconds}})
    with pytest.raises(CheckpointError, match=f"is impossible: .*mixtures of {seconds} s"):
        read_info(path)


@pytest.mark.parametrize(
    "changes", [{"sample_rate": 0}, {"sample_rate": 10**9}, {"stft_params": STFTParams(2**40, 1, "hann")}]
)
def test_an_impossible_rate_window_or_hop_is_refused(path, changes):
    change(path, metadata=lambda metadata: {**metadata, **changes})
    with pytest.raises(CheckpointError, match="is impossible"):
        read_info(path)


def test_labels_must_be_as_many_as_masks(path):
    change(path, metadata=lambda metadata: {**metadata, "nussl_transfer": {"labels": ["a", "b"], "mode": "mask"}})
    with pytest.raises(CheckpointError, match="names 2 sources and has 3 masks"):
        read_checkpoint(path)


def test_a_path_in_place_of_a_configuration_is_not_opened(path, tmp_path, small_chimera):
    # nussl's SeparationModel treats a text as a path if such a file exists.
    (tmp_path / "config.json").write_text(json.dumps(small_chimera().config))
    change(path, config=str(tmp_path / "config.json"))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


# Loading --------------------------------------------------------------------------------------------------------------


def test_load_gives_the_network_and_its_metadata(path, model, info):
    checkpoint = load(path, device="cpu")
    assert same(checkpoint.model.state_dict(), model.state_dict()) and not checkpoint.model.training
    assert (checkpoint.labels, checkpoint.sample_rate) == (info.labels, 8000)
    assert checkpoint.stft_params == info.stft_params and checkpoint.info == info and checkpoint.path == path


def test_load_takes_the_name_of_a_shipped_model_on_the_best_device():
    checkpoint = load("choir")
    assert checkpoint.labels == ("female", "male")
    assert next(checkpoint.model.parameters()).device.type in ("cpu", "cuda", "mps")


def test_load_refuses_a_device_that_is_not_there(path):
    with pytest.raises(ConfigError, match="tpu"):
        load(path, device="tpu")


# Trained in nussl's own way -------------------------------------------------------------------------------------------


@pytest.fixture
def stems(tmp_path) -> Path:
    """A folder of two tracks of three stems, half a second at 8 kHz; the labels in no alphabetical order."""
    rng = np.random.default_rng(0)
    for track in ("one", "two"):
        for label in ("voice", "bass", "drums"):
            (tmp_path / "stems" / track).mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / "stems" / track / f"{label}.wav", 0.1 * rng.standard_normal(4000), 8000)
    return tmp_path / "stems"


def train_as_nussl_does(stems: Path, out: Path, model, mode: str, stft) -> Path:
    """Train with nussl's trainer and handlers on our data set; return the best checkpoint."""
    transform = tfm.Compose([tfm.MagnitudeSpectrumApproximation(), tfm.MagnitudeWeights(), tfm.ToSeparationModel()])
    data = nussl.datasets.StemFolder(str(stems), transform=transform, sample_rate=8000, stft_params=stft)
    loader = torch.utils.data.DataLoader(data, batch_size=2)
    optimizer = torch.optim.Adam(trainable_parameters(model, mode), 1e-3)
    closure = nussl.ml.train.closures.TransferClosure(optimizer, model, mode=mode)
    validation = nussl.ml.train.closures.TransferValidationClosure(model, mode=mode)
    trainer, validator = nussl.ml.train.create_train_and_validation_engines(closure, validation)
    nussl.ml.train.add_validate_and_checkpoint(str(out), model, optimizer, data, trainer, loader, validator)
    trainer.run(loader, max_epochs=2)
    return out / "checkpoints" / "best.model.pth"


@pytest.mark.parametrize("mode", ["pretrain", "whole", "mask"])
def test_a_model_that_nussls_handlers_saved_keeps_labels_and_mode(stems, tmp_path, small_chimera, tiny_stft, mode):
    path = train_as_nussl_does(stems, tmp_path / "run", small_chimera(), mode, tiny_stft)
    info = read_info(path)
    assert info.mode == mode
    assert info.labels == (() if mode == "pretrain" else ("bass", "drums", "voice"))
    assert (info.sample_rate, info.stft_params, info.data["name"]) == (8000, tiny_stft, "StemFolder")
    assert load(tmp_path / "run", device="cpu").labels == info.labels


def test_a_model_that_nussls_handlers_saved_is_scored(stems, tmp_path, small_chimera, tiny_stft, tiny_store):
    from nussl_transfer.evaluation.excerpts import make_excerpts
    from nussl_transfer.evaluation.score import score

    path = train_as_nussl_does(stems, tmp_path / "run", small_chimera(), "whole", tiny_stft)
    excerpts = make_excerpts(tiny_store, 0.5, 2)
    rows = score(path, tiny_store, excerpts, device="cpu", progress=False, stft_params=tiny_stft)
    assert sorted({row["label"] for row in rows}) == ["bass", "drums", "voice"]


@pytest.mark.parametrize(
    ("losses", "mode", "labels"),
    [
        ({"DeepClusteringLoss": {}}, "pretrain", ()),
        ({"DC": {"class": "WhitenedKMeansLoss"}, "L1Loss": {}}, "whole", ("bass", "drums", "voice")),
        ({"MSELoss": {}}, "mask", ("bass", "drums", "voice")),
        ({"PermutationInvariantLoss": {"args": ["L1Loss"]}}, "unknown", ("source0", "source1", "source2")),
        ({}, "unknown", ("source0", "source1", "source2")),
        (None, "unknown", ("source0", "source1", "source2")),
    ],
)
def test_the_mode_of_nussls_own_file_follows_from_its_losses(path, losses, mode, labels):
    def nussls(metadata):
        kept = {key: value for key, value in metadata.items() if key not in (KEY, "loss_dictionary")}
        dataset = {**metadata["train_dataset"], "labels": ["voice", "drums", "bass"]}
        return {**kept, "train_dataset": dataset, **({} if losses is None else {"loss_dictionary": losses})}

    info = read_info(change(path, metadata=nussls))
    assert (info.mode, info.labels) == (mode, labels)
