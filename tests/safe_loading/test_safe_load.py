"""Tests of `safe_load`: a nussl checkpoint loads; anything else is an error that names it, and nothing in it runs."""

from __future__ import annotations

import os
import pathlib
import pickle
import shutil

import numpy as np
import nussl
import pytest
import torch
from nussl.datasets import transforms as tfm

from nussl_transfer.errors import CheckpointError
from nussl_transfer.safe_loading.safe_load import safe_load


class Trap:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def traps(folder):
    """Return objects that create `folder / "sprung"` when unpickled, by the name that the error must contain."""
    sprung = folder / "sprung"
    return {
        "posix.system": Trap(os.system, f"touch {sprung}"),
        "posix.mkdir": Trap(os.mkdir, str(sprung)),
        "builtins.exec": Trap(exec, f"open({str(sprung)!r}, 'w')"),
        "builtins.getattr": Trap(pathlib.Path.touch, sprung),  # a method is pickled as getattr(class, name)
        "shutil.copy": Trap(shutil.copy, __file__, str(sprung)),
        "torch.serialization.save": Trap(torch.save, {}, str(sprung)),
    }


def checkpoint(**metadata):
    """Return a dictionary as SeparationModel.save writes it, with more metadata."""
    return {"state_dict": {"weight": torch.arange(3.0)}, "config": "{}", "metadata": metadata}


def save(content, path, **options):
    torch.save(content, path, **options)
    return path


# Valid checkpoints ----------------------------------------------------------------------------------------------------


def test_a_checkpoint_of_nussl_on_python_3_8_loads(old_checkpoint):
    loaded = safe_load(old_checkpoint)
    assert sorted(loaded) == ["config", "metadata", "state_dict"]
    metadata = loaded["metadata"]
    assert metadata["stft_params"] == nussl.STFTParams(512, 128, "sqrt_hann")
    assert type(metadata["stft_params"]) is nussl.STFTParams
    assert [type(step) for step in metadata["train_dataset"]["transforms"].transforms] == [
        tfm.MagnitudeSpectrumApproximation,
        tfm.MagnitudeWeights,
        tfm.ToSeparationModel,
    ]
    history = metadata["trainer.state.epoch_history"]["validation/loss"]
    assert history == [pytest.approx(0.005421, abs=1e-6), pytest.approx(0.005393, abs=1e-6)]


def test_nussl_loads_it_too(old_checkpoint):
    model, metadata = nussl.ml.SeparationModel.load(str(old_checkpoint))
    assert metadata["sample_rate"] == 16000
    state = safe_load(old_checkpoint)["state_dict"]
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("zip_file", [True, False], ids=["zip", "before torch 1.6"])
def test_a_checkpoint_with_everything_that_nussl_saves_comes_back_unchanged(tmp_path, zip_file):
    steps = [
        tfm.SumSources([["a", "b"]]),
        tfm.PhaseSensitiveSpectrumApproximation(range_max=np.inf),
        tfm.MagnitudeSpectrumApproximation(),
        tfm.MagnitudeWeights(),
        tfm.IndexSources("source_magnitudes", 1),
        tfm.LabelsToOneHot(),
        tfm.GetAudio(),
        tfm.ToSeparationModel(),
        tfm.GetExcerpt(400),
    ]
    numbers = [kind(1) for kind in (np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)]
    content = checkpoint(transforms=tfm.Compose(steps), history={"loss": numbers}, stft_params=nussl.STFTParams(8, 2))
    path = save(content, tmp_path / "model.pth", _use_new_zipfile_serialization=zip_file)
    loaded = safe_load(path)
    assert torch.equal(loaded["state_dict"]["weight"], torch.arange(3.0))
    assert repr(loaded["metadata"]["transforms"]) == repr(tfm.Compose(steps))
    assert loaded["metadata"]["stft_params"] == nussl.STFTParams(8, 2)
    back = loaded["metadata"]["history"]["loss"]
    assert back == numbers and [type(number) for number in back] == [type(number) for number in numbers]


def test_tensors_go_to_the_requested_device(old_checkpoint):
    weights = safe_load(old_checkpoint, map_location="meta")["state_dict"].values()
    assert {tensor.device.type for tensor in weights} == {"meta"}


# Foreign names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", traps(pathlib.Path()))
@pytest.mark.parametrize("zip_file", [True, False], ids=["zip", "before torch 1.6"])
def test_a_foreign_function_is_named_in_the_error_and_not_run(tmp_path, name, zip_file):
    content = checkpoint(train_dataset={"transforms": [traps(tmp_path)[name]]})
    path = save(content, tmp_path / "model.pth", _use_new_zipfile_serialization=zip_file)
    refusal = rf"model\.pth names ([\w.]+, )*{name}[,.].*Nothing in the file was run.*SeparationModel\.save"
    with pytest.raises(CheckpointError, match=refusal):
        safe_load(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", traps(pathlib.Path()))
def test_the_traps_spring_without_safe_load(tmp_path, name):
    pickle.loads(pickle.dumps(traps(tmp_path)[name]))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("separator", ["DeepMaskEstimation", "DeepClustering", "SeparationModel"])
def test_nussls_own_loader_refuses_it_too(tmp_path, old_checkpoint, signals, separator):
    content = safe_load(old_checkpoint)
    content["metadata"]["evaluation"] = traps(tmp_path)["posix.mkdir"]
    path = str(save(content, tmp_path / "model.pth"))
    load = {
        "DeepMaskEstimation": lambda: nussl.separation.deep.DeepMaskEstimation(signals(1)[0], path),
        "DeepClustering": lambda: nussl.separation.deep.DeepClustering(signals(1)[0], 2, path),
        "SeparationModel": lambda: nussl.ml.SeparationModel.load(path),
    }[separator]
    with pytest.raises(CheckpointError, match=r"names posix\.mkdir"):
        load()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
def test_a_later_pickle_protocol_is_refused_and_not_run(tmp_path):
    path = save(checkpoint(trap=traps(tmp_path)["posix.mkdir"]), tmp_path / "model.pth", pickle_protocol=4)
    with pytest.raises(CheckpointError, match="Nothing in the file was run"):
        safe_load(path)
    assert not (tmp_path / "sprung").exists()


def test_all_foreign_names_are_in_one_error(tmp_path):
    path = save(checkpoint(one=pathlib.PurePosixPath("a"), two=range(3)), tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"names builtins\.range, pathlib\.(_local\.)?PurePosixPath\."):
        safe_load(path)


def test_cache_is_refused_because_it_deletes_its_folder(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    content = checkpoint(transforms=tfm.Compose([Trap(tfm.Cache, str(kept), 1, True)]))
    with pytest.raises(CheckpointError, match=r"names nussl\.datasets\.transforms\.Cache\."):
        safe_load(save(content, tmp_path / "model.pth"))
    assert kept.exists() and not list(kept.iterdir())


def test_safe_globals_of_the_process_apply_before_and_after_but_not_inside(tmp_path):
    path = save(checkpoint(grid=np.arange(3)), tmp_path / "model.pth")
    mine = [np.ndarray, np.dtype, (np.empty(0).__reduce__()[0], "numpy._core.multiarray._reconstruct")]
    mine.append(type(np.dtype(int)))
    with torch.serialization.safe_globals(mine):
        assert torch.load(path, weights_only=True)["metadata"]["grid"].tolist() == [0, 1, 2]
        with pytest.raises(CheckpointError, match="_reconstruct"):
            safe_load(path)
        assert set(torch.serialization.get_safe_globals()) >= set(mine)
    known = torch.serialization.get_safe_globals()
    assert np.dtype not in known and np.ndarray not in known
    assert tfm.Compose in known, "nussl's own classes are registered once, for plain torch.load"


# Other files ----------------------------------------------------------------------------------------------------------


def test_a_missing_file_a_folder_and_an_empty_file_have_their_own_errors(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.pth does not exist"):
        safe_load(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="is a folder. Give the .pth file in it"):
        safe_load(tmp_path)
    (tmp_path / "empty.pth").touch()
    with pytest.raises(CheckpointError, match="is empty"):
        safe_load(str(tmp_path / "empty.pth"))


def test_a_text_file_is_not_a_checkpoint(tmp_path):
    (tmp_path / "notes.pth").write_text("weights: see the other folder\n")
    with pytest.raises(CheckpointError, match=r"was not saved by PyTorch: it begins with b'weig'"):
        safe_load(tmp_path / "notes.pth")


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("zip_file", [True, False], ids=["zip", "before torch 1.6"])
def test_a_truncated_file_is_refused(tmp_path, old_checkpoint, kept, zip_file):
    whole = save(safe_load(old_checkpoint), tmp_path / "w.pth", _use_new_zipfile_serialization=zip_file).read_bytes()
    (tmp_path / "model.pth").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(CheckpointError, match="is damaged, truncated, or another kind of file.*Copy or download"):
        safe_load(tmp_path / "model.pth")


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02\x8a\n"], ids=["zip", "pickle"])
def test_noise_that_begins_like_a_checkpoint_is_refused(tmp_path, start):
    for seed in range(20):
        noise = np.random.default_rng(seed).bytes(500)
        (tmp_path / "model.pth").write_bytes(start + noise)
        with pytest.raises(CheckpointError, match="Nothing in the file was run"):
            safe_load(tmp_path / "model.pth")


def test_a_file_without_a_dictionary_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is wrong: got a list, expected a dictionary"):
        safe_load(save([torch.zeros(3)], tmp_path / "model.pth"))


def test_weights_alone_are_not_a_nussl_model(tmp_path):
    path = save({"layer.weight": torch.zeros(3)}, tmp_path / "weights.pth")
    assert list(safe_load(path)) == ["layer.weight"]
    with pytest.raises(CheckpointError, match=r"is not a nussl model: it has no state_dict and no metadata \(found: layer"):
        nussl.ml.SeparationModel.load(str(path))
