"""The least-squares fit of a mask head, compared with a linear teacher, with NumPy, and with training."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny_runs import assert_same_runs, at_item, stop
from torch.utils.data import Dataset

from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.networks.targets import Targets
from nussl_transfer.training import head_fit
from nussl_transfer.training.config import FitConfig
from nussl_transfer.training.head_fit import fit_mask_head, solve


class Taught(Dataset):
    """Spectra whose sources are the masks of a teacher, times the mixture."""

    def __init__(self, teacher, items: int):
        self.items = []
        generator = torch.Generator().manual_seed(3)
        for _ in range(items):
            mixture = torch.rand(1, 40, 33, 1, generator=generator) + 0.1
            with torch.no_grad():
                sources = teacher({"mix_magnitude": mixture})["mask"] * mixture.unsqueeze(-1)
            self.items.append({"mix_magnitude": mixture[0], "source_magnitudes": sources[0]})

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def with_random_head(model, seed: int):
    """Return a copy of a network with another mask head."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.layers["mask"].parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return other


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_head_learns_the_masks_of_a_linear_teacher(small_chimera, monkeypatch, activation):
    for name, value in (("FLOOR", 1e-6), ("LARGEST", 100.0), ("RIDGE", 0.0), ("SHARPEN", 1.0)):
        monkeypatch.setattr(head_fit, name, value)
    student = small_chimera(mask_activation=(activation,)).eval()
    teacher = with_random_head(student, 1)
    data = Taught(teacher, 64)
    assert fit_mask_head(student, data, None, len(data))
    mixture = {"mix_magnitude": torch.rand(2, 30, 33, 1, generator=torch.Generator().manual_seed(5)) + 0.1}
    torch.testing.assert_close(student(mixture)["mask"], teacher(mixture)["mask"], rtol=0, atol=0.03)


def test_the_regression_is_a_ridge_regression_without_a_penalty_on_the_constant():
    rng = np.random.default_rng(0)
    inputs, outputs = np.column_stack([rng.normal(size=(50, 4)), np.ones(50)]), rng.normal(size=(50, 6))
    gram, product = inputs.T @ inputs, inputs.T @ outputs
    found = solve(torch.as_tensor(gram), torch.as_tensor(product).unflatten(1, (2, 3))).flatten(1).numpy()
    # It equals least squares with four more rows, each with a target of 0 for one weight.
    penalty = np.sqrt(head_fit.RIDGE * np.diag(gram)[:-1].mean())
    rows = np.vstack([inputs, np.column_stack([penalty * np.eye(4), np.zeros(4)])])
    expected = np.linalg.lstsq(rows, np.vstack([outputs, np.zeros((4, 6))]), rcond=None)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_only_the_mask_head_changes(small_chimera):
    model = small_chimera().train()
    before = copy.deepcopy(model.state_dict())
    fit_mask_head(model, Taught(with_random_head(model, 1).eval(), 8), None, 8)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"layers.mask.linear.weight", "layers.mask.linear.bias"}
    assert model.training


def test_a_head_with_another_activation_keeps_its_weights(small_chimera):
    model = small_chimera(mask_activation=("relu",)).eval()
    before = copy.deepcopy(model.state_dict())
    assert not fit_mask_head(model, Taught(model, 2), None, 2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_silent_data_gives_finite_weights(small_chimera, tiny_stft):
    model = small_chimera().eval()
    silent = [{"mix_audio": torch.zeros(1, 800), "source_audio": torch.zeros(1, 800, 3)}] * 4
    assert fit_mask_head(model, silent, Targets(tiny_stft), 4)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_a_run_starts_from_better_masks_than_random_ones(train, tmp_path):
    starts = [
        train(out=tmp_path / str(mixtures), mode="whole", head_mixtures=mixtures)[1].read_curve()["points"][0]
        for mixtures in (0, 24)
    ]
    assert starts[1]["valid_mask_loss"] < 0.9 * starts[0]["valid_mask_loss"]


def test_pretraining_has_no_mask_head_to_fit():
    with pytest.raises(ConfigError, match="head_mixtures must be 0 in mode 'pretrain'.*got 8"):
        FitConfig(mode="pretrain", head_mixtures=8)


def test_an_interrupted_run_ends_as_the_uninterrupted_one(train, tmp_path):
    plan = {"head_mixtures": 8, "ema_decay": 0.9}
    _, unbroken = train(out=tmp_path / "unbroken", **plan)
    with pytest.raises(DataError):
        train(out=tmp_path / "broken", mixtures=at_item(15, stop), **plan)
    train(out=tmp_path / "broken", **plan)
    assert_same_runs(tmp_path / "broken", unbroken.folder)
