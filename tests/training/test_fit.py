"""`fit`: the paper's optimizer and schedule on nussl's engines, validation, saving and resuming."""

from __future__ import annotations

import json
import os

import numpy as np
import nussl
import pytest
import torch
import yaml
from ignite.engine import Events
from nussl.ml.train import BackwardsEvents
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import PLAN, SECONDS, assert_same_runs, at_item, same, stop

from nussl_transfer.checkpoints.checkpoint import read_checkpoint
from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.networks.targets import Targets
from nussl_transfer.store.store import Store
from nussl_transfer.training import engine
from nussl_transfer.training.config import FitConfig
from nussl_transfer.training.fit import fit

# What a run leaves ----------------------------------------------------------------------------------------------------


def test_a_run_leaves_the_documented_files(train):
    _, run = train(keep_at=(8,))
    assert sorted(str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()) == [
        "checkpoints/best.model.pth",
        "checkpoints/iteration8.model.pth",
        "checkpoints/latest.model.pth",
        "config.yml",
        "curve.json",
        "run.log",
        "state.pt",
    ]
    config = yaml.safe_load((run.folder / "config.yml").read_text())
    assert (config["iterations"], config["batch_size"], config["mode"], config["learning_rate"]) == (12, 2, "whole", 1e-3)
    assert config["training"]["seed"] == 1 and config["training"]["length"] == 24
    assert config["validation"]["length"] == 3
    assert "iteration 12 " in (run.folder / "run.log").read_text()


def test_the_curve_has_a_point_before_training_and_at_each_validation(train):
    measured = []

    def probe(model):
        assert not model.training
        measured.append(float(len(measured)))
        return measured[-1]

    _, run = train(probe=probe)
    points = json.loads(run.curve.read_text())["points"]
    assert [point["iteration"] for point in points] == [0, 4, 8, 12]
    assert all(
        " ".join(point) == "iteration train_loss valid_loss valid_mask_loss valid_si_sdr learning_rate test_si_sdr seconds"
        for point in points
    )
    assert all(point["valid_mask_loss"] > 0 and point["valid_si_sdr"] is None for point in points)
    assert points[0]["train_loss"] is None and all(point["train_loss"] > 0 for point in points[1:])
    assert all(point["valid_loss"] > 0 for point in points)
    assert [point["test_si_sdr"] for point in points] == [0.0, 1.0, 2.0, 3.0]
    assert [point["learning_rate"] for point in points] == [1e-3] * 4
    seconds = [point["seconds"] for point in points]
    assert seconds == sorted(seconds)


def test_training_lowers_the_loss(train, small_chimera):
    _, run = train(small_chimera(), iterations=60, validate_every=20, learning_rate=1e-2)
    points = run.read_curve()["points"]
    assert points[-1]["valid_loss"] < 0.8 * points[0]["valid_loss"]
    assert points[-1]["train_loss"] < points[1]["train_loss"]


def test_losses_in_the_curve_are_means_over_the_batches(train, monkeypatch):
    script(monkeypatch, [5.0, 4.0, 3.0, 2.0], train_losses=np.arange(12.0))
    points = train()[1].read_curve()["points"]
    assert [point["train_loss"] for point in points] == [None, 1.5, 5.5, 9.5]
    assert [point["valid_loss"] for point in points] == [5.0, 4.0, 3.0, 2.0]


def test_the_latest_network_is_the_final_one_and_opens_in_nussl(train, small_chimera):
    model, run = train()
    latest, metadata = nussl.ml.SeparationModel.load(str(run.latest))
    assert same(latest.state_dict(), model.state_dict())
    assert not same(latest.state_dict(), small_chimera(num_layers=2, dropout=0.5).state_dict())
    assert metadata["trainer.state_dict"]["epoch"] == 3
    history = metadata["trainer.state.epoch_history"]
    assert history["validation/loss"] == [point["valid_loss"] for point in run.read_curve()["points"][1:]]
    assert metadata["optimizer"]["name"] == "Adam" and metadata["optimizer"]["params"]["lr"] == 1e-3
    assert metadata["loss_dictionary"].keys() == {"GramDeepClusteringLoss", "L1Loss"}


def test_keep_at_keeps_the_network_of_that_iteration(train, tmp_path):
    _, run = train(keep_at=(4, 8))
    states = []

    def record(model):
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

    train(out=tmp_path / "probed", keep_at=(4, 8), probe=record)
    for iteration, state in ((4, states[1]), (8, states[2])):
        assert same(read_checkpoint(run.kept(iteration))[0].state_dict(), state)


def test_fit_leaves_the_network_in_evaluation_mode_and_torchs_random_state_unchanged(train):
    before = torch.get_rng_state()
    model, _ = train()
    assert not model.training
    assert torch.equal(torch.get_rng_state(), before)


# Best -----------------------------------------------------------------------------------------------------------------


class Scripted:
    """Replaces a closure: it returns given losses, and its training step adds one to a weight."""

    def __init__(self, losses, model=None):
        self.losses, self.model = iter(losses), model

    def __call__(self, engine, data):
        if self.model is not None:
            with torch.no_grad():
                self.model.layers["mask"].linear.bias.add_(1)
        return {"loss": float(next(self.losses))}


def script(monkeypatch, valid_losses, train_losses=None):
    """Make validations (of one batch each) and iterations return these losses."""
    monkeypatch.setattr(engine, "TransferValidationClosure", lambda *_, **__: Scripted(valid_losses))

    def closure(optimizer, model, **_):
        model.metadata.update(optimizer={}, loss_dictionary={})
        return Scripted(np.ones(10_000) if train_losses is None else train_losses, model)

    monkeypatch.setattr(engine, "TransferClosure", closure)
    # All validation data in one batch, so that each validation has one loss.
    monkeypatch.setitem(PLAN, "batch_size", 3)


@pytest.mark.parametrize(
    ("losses", "best_at"),
    [([5, 4, 3, 2, 3, 1.5, 2], 5), ([0, 4, 3, 5, 5, 5, 3.5], 2), ([0, 1, 2, 3, 4, 5, 6], 1), ([0, 9, 8, 8, 8, 9, 9], 4)],
)
def test_best_is_the_network_of_the_lowest_validation_loss(train, small_chimera, monkeypatch, losses, best_at):
    # The network before training does not count, and of equal ones the last is kept.
    script(monkeypatch, losses)
    model = small_chimera()
    start = model.state_dict()["layers.mask.linear.bias"].clone()
    _, run = train(model, iterations=6, validate_every=1)
    best, latest = (read_checkpoint(path)[0].state_dict()["layers.mask.linear.bias"] for path in (run.best, run.latest))
    torch.testing.assert_close(best, start + best_at)
    torch.testing.assert_close(latest, start + 6)


def test_without_validation_data_the_training_loss_replaces_the_validation_loss(train):
    points = train(valid=False)[1].read_curve()["points"]
    assert points[0]["valid_loss"] is None
    assert [point["valid_loss"] for point in points[1:]] == [point["train_loss"] for point in points[1:]]


# The schedule ---------------------------------------------------------------------------------------------------------


def rates(run) -> list[float]:
    return [point["learning_rate"] for point in run.read_curve()["points"]]


def test_the_rate_is_halved_after_exactly_five_validations_without_improvement(train, monkeypatch):
    # 500 to 100, as in the paper. The second validation is the best; after five that are not better, the rate falls.
    script(monkeypatch, [9, 5, 4] + [4.5, 4, 4.2, 5, 4.1] + [4.1] * 4 + [3] + [4] * 3)
    _, run = train(iterations=15, validate_every=1, plateau_iterations=5)
    assert rates(run) == [1e-3] * 8 + [5e-4] * 8


def test_the_rate_stays_while_the_loss_improves_however_little(train, monkeypatch):
    script(monkeypatch, [5 - 1e-4 * i for i in range(16)])
    assert rates(train(iterations=15, validate_every=1, plateau_iterations=5)[1]) == [1e-3] * 16


def test_the_rate_is_halved_again_every_five_validations(train, monkeypatch):
    script(monkeypatch, [1.0] * 16)
    _, run = train(iterations=15, validate_every=1, plateau_iterations=5)
    # The first validation is the best; the rate falls after five more.
    assert rates(run) == [1e-3] * 7 + [5e-4] * 5 + [2.5e-4] * 4


def test_a_plateau_between_two_validations_ends_at_the_second(train, monkeypatch):
    script(monkeypatch, [1.0] * 8)
    _, run = train(iterations=14, validate_every=2, plateau_iterations=5, plateau_factor=0.1)
    assert rates(run) == pytest.approx([1e-3] * 5 + [1e-4] * 3)


# Resuming -------------------------------------------------------------------------------------------------------------


def test_a_finished_run_is_not_repeated(train, monkeypatch):
    model, run = train()
    before = {path: path.read_bytes() for path in run.folder.rglob("*.p*t*") if path.is_file()}
    monkeypatch.setattr(Mixtures, "__getitem__", lambda *_: pytest.fail("an item was asked for"))
    again, _ = train()
    assert same(again.state_dict(), model.state_dict()), "the caller gets the finished network"
    assert {path: path.read_bytes() for path in before} == before
    assert "all 12 iterations are done" in (run.folder / "run.log").read_text()


def test_resuming_with_another_configuration_or_other_items_is_an_error_with_the_difference(train, tmp_path):
    train()
    with pytest.raises(ConfigError, match=r"learning_rate: 0\.001 there, 0\.002 now"):
        train(learning_rate=2e-3)
    with pytest.raises(ConfigError, match=r"training: seed: 1 there, 7 now"):
        train(seed=7)


def test_resuming_with_another_initial_network_is_an_error(train, small_chimera):
    train()
    with pytest.raises(ConfigError, match=r"\(network: '[0-9a-f]{64}' there, '[0-9a-f]{64}' now\)"):
        train(small_chimera(num_layers=2, dropout=0.5, seed=5))


def test_a_data_set_of_the_wrong_length_is_an_error(tiny_store, small_chimera, info, tmp_path):
    items = Mixtures(tiny_store, MixtureConfig(SECONDS, coherent=1.0), 23)
    with pytest.raises(ConfigError, match=r"wrong length: got 23 mixtures, expected 24 \(12 batches of 2\)"):
        fit(small_chimera(), items, config=FitConfig(**PLAN), out=tmp_path / "run", info=info)
    assert not (tmp_path / "run").exists()


def test_a_run_continues_with_a_store_that_was_moved(train, tiny_store, unbroken, small_chimera, info, tmp_path):
    moved = tmp_path / "moved"
    os.symlink(tiny_store.folder, moved)
    with pytest.raises(DataError):
        train(mixtures=at_item(13, stop))
    model = small_chimera(num_layers=2, dropout=0.5)
    items = Mixtures(Store(moved), MixtureConfig(SECONDS, coherent=0.5), 24, 1)
    valid = Mixtures(Store(moved), MixtureConfig(SECONDS, coherent=1.0), 3, 2)
    run = fit(model, items, valid, config=FitConfig(**PLAN), out=tmp_path / "run", info=info)
    assert_same_runs(run.folder, unbroken)


# Modes ----------------------------------------------------------------------------------------------------------------


def test_frozen_is_bit_identical_after_a_run_in_mode_mask(train, small_chimera):
    before = small_chimera(num_layers=2, dropout=0.5).state_dict()
    model, _ = train(mode="mask")
    changed = {name.split(".")[1] for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed == {"mask"}


def test_pretraining_does_not_change_the_mask_head(train, small_chimera):
    before = small_chimera(num_layers=2, dropout=0.5).state_dict()
    model, _ = train(mode="pretrain")
    changed = {name.split(".")[1] for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed == {"normalization", "recurrent_stack", "embedding"}


def test_layers_frozen_by_name_stay_and_unknown_ones_are_refused(train, small_chimera, tmp_path):
    before = small_chimera(num_layers=2, dropout=0.5).state_dict()
    model, _ = train(frozen=("recurrent_stack",))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items() if "recurrent" in name)
    with pytest.raises(ConfigError, match="Layers body cannot be frozen: the network has .*recurrent_stack"):
        train(frozen=("body",), out=tmp_path / "other")


def test_bfloat16_trains(train):
    points = train(bf16=True)[1].read_curve()["points"]
    assert all(point["valid_loss"] > 0 for point in points)


def test_nussls_own_handlers_can_be_attached(train, tmp_path, caplog):
    caplog.set_level("INFO")

    def attach(trainer, validator):
        nussl.ml.train.add_stdout_handler(trainer, validator)
        nussl.ml.train.add_tensorboard_handler(str(tmp_path / "logs"), trainer)

    _, run = train(callbacks=[attach])
    assert caplog.text.count("EPOCH SUMMARY") == len(run.read_curve()["points"]) - 1
    assert str(run.latest) in caplog.text
    assert list((tmp_path / "logs").glob("events.out.tfevents.*"))


def test_phase_sensitive_training_leaves_a_checkpoint_like_any_other(train):
    model, run = train(phase_sensitive=True)
    assert not same(model.state_dict(), train(out=run.folder.parent / "plain")[0].state_dict())
    metadata = nussl.ml.SeparationModel.load(run.latest)[1]
    made = [type(transform).__name__ for transform in metadata["train_dataset"]["transforms"].transforms]
    assert made == ["MagnitudeSpectrumApproximation", "MagnitudeWeights", "ToSeparationModel"]
    mixture = nussl.AudioSignal(audio_data_array=np.random.default_rng(0).standard_normal((1, 4000)), sample_rate=8000)
    estimates = nussl.separation.deep.DeepMaskEstimation(mixture, str(run.latest))()
    np.testing.assert_allclose(sum(e.audio_data for e in estimates), mixture.audio_data, atol=1e-5)


def test_a_body_with_a_lower_learning_rate_changes_less_and_the_run_resumes_exactly(train, small_chimera, tmp_path):
    start = small_chimera(num_layers=2).state_dict()
    slow = {"body_learning_rate": 1e-6, "model": small_chimera(num_layers=2)}
    trained, run = train(**slow)
    moved = {name: (trained.state_dict()[name] - start[name]).abs().max() for name, _ in trained.named_parameters()}
    for name, distance in moved.items():
        assert (distance > 1e-3) == (name.split(".")[1] in ("embedding", "mask")), name
    assert run.read_curve()["points"][0]["learning_rate"] == 1e-3, "the curve has the rate of the heads"
    broken = {**slow, "model": small_chimera(num_layers=2), "out": tmp_path / "broken"}
    with pytest.raises(DataError):
        train(**broken, mixtures=at_item(17, stop))
    again, _ = train(**{**broken, "model": small_chimera(num_layers=2)})
    assert same(again.state_dict(), trained.state_dict())


# Early stopping -------------------------------------------------------------------------------------------------------


def test_a_run_stops_early_when_the_validation_loss_stops_improving(train, monkeypatch, caplog):
    caplog.set_level("INFO")
    script(monkeypatch, [9, 5, 4, 6, 4, 4.5, 3])
    _, run = train(iterations=15, validate_every=1, stop_after=3)
    assert [point["iteration"] for point in run.read_curve()["points"]] == [0, 1, 2, 3, 4, 5]
    assert "stopped early at iteration 5 of 15: no better network in 3 iterations" in caplog.text
    # Calling it again trains no further.
    script(monkeypatch, [])
    assert train(iterations=15, validate_every=1, stop_after=3)[1].iteration == 5


def test_a_loss_that_keeps_falling_never_ends_a_run_early(train, monkeypatch):
    script(monkeypatch, [9, 5, 6, 4.9, 6, 4.8, 6])
    assert train(iterations=6, validate_every=1, stop_after=2)[1].iteration == 6


def test_by_default_no_run_ends_early(train, monkeypatch):
    script(monkeypatch, [1, *range(1, 13)])
    assert train(iterations=12, validate_every=1)[1].iteration == 12


# TensorBoard ----------------------------------------------------------------------------------------------------------


def test_tensorboard_has_the_whole_curve_of_a_resumed_run(train, tmp_path):
    values = iter(range(10))
    with pytest.raises(DataError):
        train(mixtures=at_item(13, stop), tensorboard=True, probe=lambda _: float(next(values)))
    _, run = train(tensorboard=True, probe=lambda _: float(next(values)))
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    assert sorted(events.Tags()["scalars"]) == [
        "test/si_sdr", "train/learning_rate", "train/loss", "validation/loss", "validation/mask_loss",
    ]  # fmt: skip
    points = run.read_curve()["points"][1:]
    for tag, key in (("validation/loss", "valid_loss"), ("train/loss", "train_loss"), ("test/si_sdr", "test_si_sdr")):
        found = events.Scalars(tag)
        assert [event.step for event in found] == [1, 2, 3]
        assert [event.value for event in found] == pytest.approx([point[key] for point in points])


def test_by_default_nothing_is_written_for_tensorboard(train):
    assert not (train()[1].folder / "tensorboard").exists()


# Any data set ---------------------------------------------------------------------------------------------------------


class Plain(torch.utils.data.Dataset):
    """A plain PyTorch data set of seven items, without a seed or a description."""

    def __init__(self, items: int = 7):
        self.items, self.asked = items, []

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> dict:
        self.asked.append(index)
        sources = torch.from_numpy(np.random.default_rng(index).standard_normal((1, 800, 3)).astype(np.float32))
        return {"mix_audio": sources.sum(dim=-1), "source_audio": sources, "metadata": {"name": f"item {index}"}}


def fit_plain(train, out, info, model, valid=None, **plan):
    return fit(model, train, valid, config=FitConfig(**{**PLAN, **plan}), out=out, info=info)


def test_any_torch_data_set_trains_and_is_repeated_in_a_new_order_each_time(small_chimera, info, tmp_path):
    data = Plain()
    run = fit_plain(data, tmp_path / "run", info, small_chimera(), valid=Plain(3))
    assert run.iteration == 12 and nussl.ml.SeparationModel.load(str(run.best))
    passes = [data.asked[start : start + 7] for start in range(0, 24, 7)]
    assert all(sorted(items) == list(range(7)) for items in passes[:3])
    assert len({tuple(items) for items in passes[:3]}) > 1, "every pass has the same order"
    config = yaml.safe_load((run.folder / "config.yml").read_text())
    assert config["training"] == {"class": "Plain", "length": 7, "seed": None}


def test_a_run_on_any_torch_data_set_resumes_exactly(small_chimera, info, tmp_path):
    class Failing(Plain):
        def __getitem__(self, index):
            if len(self.asked) == 13:
                raise OSError("the disk is gone")
            return super().__getitem__(index)

    Failing.__name__ = "Plain"
    whole = fit_plain(Plain(), tmp_path / "whole", info, small_chimera(num_layers=2, dropout=0.5))
    with pytest.raises(
        DataError, match=r"Item 13 of the training data \(item \d of Plain\) cannot be made: OSError: the disk"
    ):
        fit_plain(Failing(), tmp_path / "run", info, small_chimera(num_layers=2, dropout=0.5))
    resumed = fit_plain(Plain(), tmp_path / "run", info, small_chimera(num_layers=2, dropout=0.5))
    assert_same_runs(resumed.folder, whole.folder)


def test_resuming_notices_another_length_or_seed_of_any_data_set(small_chimera, info, tmp_path):
    fit_plain(Plain(), tmp_path / "run", info, small_chimera())
    with pytest.raises(ConfigError, match="training: length: 7 there, 8 now"):
        fit_plain(Plain(8), tmp_path / "run", info, small_chimera())
    seeded = Plain()
    seeded.seed = 3
    with pytest.raises(ConfigError, match="training: seed: None there, 3 now"):
        fit_plain(seeded, tmp_path / "run", info, small_chimera())


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((torch.zeros(3), 1), "got tuple, expected a dictionary with 'mix_audio' and 'source_audio'"),
        ({"mix": 1, "sources": 2}, "got mix, sources, expected a dictionary"),
    ],
)
def test_an_item_of_the_wrong_form_is_an_error_that_shows_the_form(small_chimera, info, tmp_path, item, message):
    with pytest.raises(DataError, match=message):
        fit_plain([item] * 4, tmp_path / "run", info, small_chimera())


def test_items_of_different_lengths_are_an_error_that_shows_the_shapes(small_chimera, info, tmp_path):
    items = [{"mix_audio": torch.zeros(1, n), "source_audio": torch.zeros(1, n, 3)} for n in (800, 801)]
    with pytest.raises(DataError, match=r"do not fit into one batch.*mix_audio': \[\(1, 800\), \(1, 801\)\]"):
        fit_plain(items, tmp_path / "run", info, small_chimera())


def test_an_empty_data_set_is_an_error(small_chimera, info, tmp_path):
    for train, valid in (([], None), (Plain(), [])):
        with pytest.raises(ConfigError, match="data set is empty. Give at least 1 item"):
            fit_plain(train, tmp_path / "run", info, small_chimera(), valid)


def test_spectra_that_nussls_transforms_made_train_as_they_are(small_chimera, info, tmp_path):
    targets = Targets(info.stft_params)

    class Spectra(Plain):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            batch = targets({name: item[name][None] for name in ("mix_audio", "source_audio")})
            return {name: value[0] for name, value in batch.items() if not name.endswith("audio")}

    audio = fit_plain(Plain(), tmp_path / "audio", info, small_chimera())
    spectra = fit_plain(Spectra(), tmp_path / "spectra", info, small_chimera())
    states = [read_checkpoint(run.latest)[0].state_dict() for run in (audio, spectra)]
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=1e-4, atol=1e-5)


def test_given_targets_replace_the_default_ones(train, tiny_store, small_chimera, info, tmp_path):
    made = []

    def targets(batch):
        made.append(sorted(batch))
        return Targets(info.stft_params)(batch)

    config, items = FitConfig(**PLAN), Mixtures(tiny_store, MixtureConfig(SECONDS, coherent=0.5), 24, 1)
    run = fit(small_chimera(), items, config=config, out=tmp_path / "own", info=info, targets=targets)
    usual, _ = train(small_chimera(), valid=None)
    assert made[0] == ["index", "mix_audio", "source_audio"] and len(made) == 12
    assert same(read_checkpoint(run.latest)[0].state_dict(), usual.state_dict())


# A last epoch that is shorter -----------------------------------------------------------------------------------------


def test_every_run_validates_at_its_end(train):
    model, run = train(iterations=10)
    points = run.read_curve()["points"]
    assert [point["iteration"] for point in points] == [0, 4, 8, 10]
    assert points[-1]["train_loss"] > 0 and points[-1]["valid_loss"] > 0
    assert run.iteration == 10 and same(read_checkpoint(run.latest)[0].state_dict(), model.state_dict())
    again, _ = train(iterations=10)
    assert same(again.state_dict(), model.state_dict())


def test_a_run_shorter_than_validate_every_validates_at_its_end(train):
    assert [point["iteration"] for point in train(iterations=3)[1].read_curve()["points"]] == [0, 3]


def test_nussls_handlers_see_the_shorter_last_epoch(train, caplog):
    caplog.set_level("INFO")
    _, run = train(iterations=10, callbacks=[lambda trainer, _: nussl.ml.train.add_stdout_handler(trainer)])
    assert caplog.text.count("EPOCH SUMMARY") == 3 and "Epoch number: 0003 / 0003" in caplog.text
    assert len(nussl.ml.SeparationModel.load(str(run.latest))[1]["trainer.state.epoch_history"]["train/loss"]) == 3


# Options of training --------------------------------------------------------------------------------------------------


def break_off_and_resume(train, out, model, **plan):
    """Return a network that was trained in two parts."""
    with pytest.raises(DataError):
        train(model(), mixtures=at_item(13, stop), out=out, **plan)
    return train(model(), out=out, **plan)


def test_weight_decay_is_that_of_adamw_and_resumes_exactly(train, small_chimera, tmp_path):
    plan = {"weight_decay": 0.1}
    trained, run = train(small_chimera(), **plan)
    metadata = nussl.ml.SeparationModel.load(str(run.latest))[1]
    assert metadata["optimizer"]["name"] == "AdamW" and metadata["optimizer"]["params"]["weight_decay"] == 0.1
    assert not same(trained.state_dict(), train(small_chimera(), out=tmp_path / "without")[0].state_dict())
    again, _ = break_off_and_resume(train, tmp_path / "broken", small_chimera, **plan)
    assert same(again.state_dict(), trained.state_dict())


def test_the_learning_rate_warms_up_linearly_and_resumes_exactly(train, small_chimera, tmp_path):
    rates = []

    def watch(trainer, _):
        group = trainer._process_function.optimizer.param_groups[0]
        trainer.add_event_handler(BackwardsEvents.BACKWARDS_COMPLETED, lambda _: rates.append(group["lr"]))

    plan = {"warmup_iterations": 8, "plateau_iterations": 4}
    trained, _ = train(small_chimera(), callbacks=[watch], **plan)
    assert rates == pytest.approx([1e-3 * min(1, (i + 1) / 8) for i in range(12)])
    again, _ = break_off_and_resume(train, tmp_path / "broken", small_chimera, **plan)
    assert same(again.state_dict(), trained.state_dict())


def test_the_plateau_schedule_begins_after_the_warm_up(train, monkeypatch):
    script(monkeypatch, [1.0] * 13)
    # Without a warm-up the rate would fall at iteration 6. Here the validation at the end of the warm-up is the best.
    _, run = train(iterations=12, validate_every=1, plateau_iterations=5, warmup_iterations=4)
    found = [point["learning_rate"] for point in run.read_curve()["points"]]
    assert found == pytest.approx([1e-3, 2.5e-4, 5e-4, 7.5e-4] + [1e-3] * 6 + [5e-4] * 3)


def test_the_body_is_frozen_until_it_thaws_and_resumes_exactly(train, small_chimera, tmp_path):
    def make():
        return small_chimera(num_layers=2, dropout=0.5)

    before, states = make().state_dict(), []

    def watch(trainer, _):
        model = trainer._process_function.model
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda _: states.append({k: v.clone() for k, v in model.state_dict().items()})
        )

    plan = {"thaw_after": 8, "weight_decay": 0.1}
    trained, _ = train(make(), callbacks=[watch], **plan)
    for iteration, state in enumerate(states, start=1):
        moved = {name.split(".")[1] for name in state if not torch.equal(state[name], before[name])}
        heads, body = {"mask", "embedding"}, {"recurrent_stack", "normalization"}
        assert moved == (heads if iteration <= 8 else heads | body), iteration
    for item in (13, 19):
        out = tmp_path / f"broken at {item}"
        with pytest.raises(DataError):
            train(make(), mixtures=at_item(item, stop), out=out, **plan)
        assert same(train(make(), out=out, **plan)[0].state_dict(), trained.state_dict())


@pytest.mark.parametrize(
    ("choose_by", "key", "sign"), [("mask_loss", "valid_mask_loss", 1), ("si_sdr", "valid_si_sdr", -1)]
)
def test_the_best_network_is_that_of_the_best_mask_loss_or_si_sdr(train, choose_by, key, sign):
    _, run = train(choose_by=choose_by, validate_every=1, keep_at=tuple(range(1, 13)), learning_rate=0.05)
    points = run.read_curve()["points"][1:]
    best = min(points, key=lambda point: sign * point[key])["iteration"]
    states = [read_checkpoint(path)[0].state_dict() for path in (run.best, run.kept(best))]
    assert same(*states)


def test_the_si_sdr_of_the_curve_is_that_of_nussls_separator_on_the_validation_mixtures(train, tiny_store):
    _, run = train(choose_by="si_sdr")
    valid, found = Mixtures(tiny_store, MixtureConfig(SECONDS, coherent=1.0), 3, 2), []
    for item in (valid[index] for index in range(3)):
        mix = nussl.AudioSignal(audio_data_array=item["mix_audio"].numpy(), sample_rate=8000)
        estimates = nussl.separation.deep.DeepMaskEstimation(mix, str(run.latest))()
        sources = [item["source_audio"][..., number].numpy() for number in range(3)]
        references = [nussl.AudioSignal(audio_data_array=source, sample_rate=8000) for source in sources]
        scores = nussl.evaluation.BSSEvalScale(references, estimates, compute_permutation=False).evaluate()
        found += [np.mean(scores[name]["SI-SDR"]) for name in scores if name.startswith("source_")]
    assert run.read_curve()["points"][-1]["valid_si_sdr"] == pytest.approx(np.mean(found), abs=2e-3)


def test_choosing_by_masks_needs_validation_audio_and_masks(train, small_chimera, info, tmp_path):
    with pytest.raises(ConfigError, match="choose_by='si_sdr' needs validation data"):
        train(valid=None, choose_by="si_sdr")
    with pytest.raises(ConfigError, match="choose_by must be 'loss' in mode 'pretrain'"):
        train(mode="pretrain", choose_by="mask_loss")
    with pytest.raises(ConfigError, match="thaw_after must be 0 in mode 'mask'"):
        train(mode="mask", thaw_after=3)
    with pytest.raises(ConfigError, match="choose_by must be one of loss, mask_loss, si_sdr: got 'luck'"):
        train(choose_by="luck")
