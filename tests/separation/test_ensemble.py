"""Several networks: the mean of their masks, in the labels of the first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nussl_transfer.checkpoints.checkpoint import read_checkpoint, write_checkpoint
from nussl_transfer.errors import CheckpointError, ConfigError
from nussl_transfer.networks.forward import run_network
from nussl_transfer.separation.ensemble import Ensemble, find_checkpoints
from nussl_transfer.separation.files import separate_files
from nussl_transfer.separation.separate import separate

LABELS = ("bass", "flute", "voice")


@pytest.fixture
def runs(tmp_path, make_checkpoint):
    """Three runs in a folder, each of other weights, the third with its labels in another order."""
    paths = []
    for number, labels in enumerate([LABELS, LABELS, ("voice", "bass", "flute")]):
        path = make_checkpoint(tmp_path / "model.pth", labels=labels, excerpt_seconds=0.5)
        model, info = read_checkpoint(path)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(number)
            for weights in model.parameters():
                weights.add_(0.3 * torch.randn_like(weights))
        best = tmp_path / "folds" / f"fold{number + 1}" / "checkpoints" / "best.model.pth"
        best.parent.mkdir(parents=True)
        paths.append(write_checkpoint(best, model, info))
    (tmp_path / "model.pth").unlink()
    return paths


def test_masks_are_the_mean_with_the_sources_in_the_order_of_the_first(runs):
    magnitude = torch.rand(1, 20, 257, 1)
    masks = [run_network(read_checkpoint(path)[0], magnitude, "mask") for path in runs]
    expected = (masks[0] + masks[1] + masks[2][..., [1, 2, 0]]) / 3
    ensemble = Ensemble(runs, "cpu")
    assert ensemble.labels == LABELS
    torch.testing.assert_close(ensemble.masks(magnitude), expected, atol=1e-6, rtol=0)


def test_estimates_are_the_mean_of_those_of_each_network(tmp_path, runs, noise):
    audio = (noise(2, 40000), 16000)
    single = [separate(audio, path) for path in runs]
    together = separate(audio, runs)
    assert list(together) == list(LABELS)
    for label in LABELS:
        mean = sum(estimates[label].audio_data for estimates in single) / 3
        np.testing.assert_allclose(together[label].audio_data, mean, atol=1e-6)


def test_one_checkpoint_given_twice_is_that_checkpoint(checkpoint, noise):
    audio = (noise(), 16000)
    once, twice = separate(audio, checkpoint), separate(audio, [checkpoint, checkpoint])
    np.testing.assert_allclose(twice["bass"].audio_data, once["bass"].audio_data, atol=1e-7)


def test_a_folder_of_runs_means_all_of_its_runs(tmp_path, runs, noise):
    folder = tmp_path / "folds"
    assert find_checkpoints(folder) == runs
    assert find_checkpoints([folder / "fold2", runs[0]]) == [runs[1], runs[0]]
    files = separate_files([], folder, tmp_path / "out", progress=False)
    assert not files.written and not files.failed
    np.testing.assert_array_equal(
        separate((noise(), 16000), folder)["voice"].audio_data, separate((noise(), 16000), runs)["voice"].audio_data
    )


def test_runs_are_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        best = tmp_path / f"fold{number}" / "checkpoints" / "best.model.pth"
        best.parent.mkdir(parents=True)
        best.touch()
    assert [path.parts[-3] for path in find_checkpoints(tmp_path)] == ["fold1", "fold2", "fold10"]


def test_networks_with_other_labels_are_an_error(tmp_path, make_checkpoint, checkpoint, short_checkpoint):
    other = make_checkpoint(tmp_path / "other.pth", labels=("bass", "drums"))
    with pytest.raises(
        ConfigError,
        match=r"cannot separate together. They differ in labels: bass, drums in the first, bass, voice in the second",
    ):
        Ensemble([checkpoint, other])
    assert Ensemble([checkpoint, short_checkpoint]).excerpt_seconds == 0.5


def test_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="No checkpoint is given"):
        Ensemble([])
    with pytest.raises(CheckpointError):
        Ensemble(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_an_error(tmp_path, checkpoint, value):
    model, info = read_checkpoint(checkpoint)
    with torch.no_grad():
        next(model.parameters()).view(-1)[-1] = value
    path = write_checkpoint(tmp_path / "nan.pth", model, info)
    with pytest.raises(CheckpointError, match="weights that are NaN or infinite"):
        Ensemble(path)
