"""`fit`: the paper's optimizer and schedule on nussl's engines, saved at each validation, gone on with exactly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import nussl
import pytest
import torch
import yaml

import nussl_transfer
from nussl_transfer.checkpoints import CheckpointInfo, read_checkpoint
from nussl_transfer.errors import ConfigError, TransferError
from nussl_transfer.mixing import Mixtures
from nussl_transfer.runs import FitConfig
from nussl_transfer.store import Store
from nussl_transfer.training import engine, fit

SECONDS = 0.1
PLAN = {"iterations": 12, "batch_size": 2, "validate_every": 4, "progress": False, "frame_step": 2}


@pytest.fixture
def info(tiny_stft) -> CheckpointInfo:
    return CheckpointInfo(("bass", "drums", "voice"), "whole", 8000, tiny_stft, SECONDS, data={"name": "tiny"})


@pytest.fixture
def train(tiny_store, small_chimera, info, tmp_path):
    """Returns a function that trains a small network on the tiny store, in tmp_path/run unless told otherwise."""

    def run(model=None, mixtures=Mixtures, valid=True, out=tmp_path / "run", probe=None, seed=1, attach=None, **plan):
        config = FitConfig(**{**PLAN, **plan})
        model = small_chimera(num_layers=2, dropout=0.5) if model is None else model
        items = mixtures(tiny_store, SECONDS, config.iterations * config.batch_size, seed, coherent=0.5)
        held_out = Mixtures(tiny_store, SECONDS, 3, seed + 1) if valid else None
        return model, fit(model, items, held_out, config, out, info, probe, attach)

    return run


@pytest.fixture
def unbroken(train, tmp_path) -> dict:
    """The final weights of a run that nothing broke off."""
    return train(out=tmp_path / "unbroken")[0].state_dict()


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def points_without_time(path: Path) -> list[dict]:
    return [{**point, "seconds": None} for point in json.loads(path.read_text())["points"]]


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
        point.keys() == {"iteration", "train_loss", "valid_loss", "learning_rate", "test_si_sdr", "seconds"}
        for point in points
    )
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


def test_a_network_asked_for_is_kept_as_it_was_then(train, tmp_path):
    _, run = train(keep_at=(4, 8))
    stopped = []

    def stop(model):
        stopped.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

    train(out=tmp_path / "looked at", keep_at=(4, 8), probe=stop)
    for iteration, state in ((4, stopped[1]), (8, stopped[2])):
        assert same(read_checkpoint(run.kept(iteration))[0].state_dict(), state)


def test_the_network_is_left_in_evaluation_and_torchs_random_state_as_it_was(train):
    before = torch.get_rng_state()
    model, _ = train()
    assert not model.training
    assert torch.equal(torch.get_rng_state(), before)


# Best -----------------------------------------------------------------------------------------------------------------


class Scripted:
    """Stands in for a closure: its losses are given, its training adds one to a weight."""

    def __init__(self, losses, model=None):
        self.losses, self.model = iter(losses), model

    def __call__(self, engine, data):
        if self.model is not None:
            with torch.no_grad():
                self.model.layers["mask"].linear.bias.add_(1)
        return {"loss": float(next(self.losses))}


def script(monkeypatch, valid_losses, train_losses=None):
    """Has validations (of one batch each) and iterations give these losses."""
    monkeypatch.setattr(engine, "TransferValidationClosure", lambda *_, **__: Scripted(valid_losses))

    def closure(optimizer, model, **_):
        model.metadata.update(optimizer={}, loss_dictionary={})
        return Scripted(np.ones(10_000) if train_losses is None else train_losses, model)

    monkeypatch.setattr(engine, "TransferClosure", closure)
    # All of the validation data in one batch, so that there is one loss a validation.
    monkeypatch.setitem(PLAN, "batch_size", 3)


@pytest.mark.parametrize(
    ("losses", "best_at"),
    [([5, 4, 3, 2, 3, 1.5, 2], 5), ([0, 4, 3, 5, 5, 5, 3.5], 2), ([0, 1, 2, 3, 4, 5, 6], 1), ([0, 9, 8, 8, 8, 9, 9], 4)],
)
def test_best_is_the_network_of_the_lowest_validation_loss(train, small_chimera, monkeypatch, losses, best_at):
    # What the network was before training does not count, and of equals the last is kept.
    script(monkeypatch, losses)
    model = small_chimera()
    start = model.state_dict()["layers.mask.linear.bias"].clone()
    _, run = train(model, iterations=6, validate_every=1)
    best, latest = (read_checkpoint(path)[0].state_dict()["layers.mask.linear.bias"] for path in (run.best, run.latest))
    torch.testing.assert_close(best, start + best_at)
    torch.testing.assert_close(latest, start + 6)


def test_without_validation_data_the_training_loss_stands_in_for_it(train):
    points = train(valid=False)[1].read_curve()["points"]
    assert points[0]["valid_loss"] is None
    assert [point["valid_loss"] for point in points[1:]] == [point["train_loss"] for point in points[1:]]


# The schedule ---------------------------------------------------------------------------------------------------------


def rates(run) -> list[float]:
    return [point["learning_rate"] for point in run.read_curve()["points"]]


def test_the_rate_is_halved_after_exactly_five_validations_without_improvement(train, monkeypatch):
    # As with the paper's 500 and 100. The best is the second; five follow that are not better; the rate falls for the next.
    script(monkeypatch, [9, 5, 4] + [4.5, 4, 4.2, 5, 4.1] + [4.1] * 4 + [3] + [4] * 3)
    _, run = train(iterations=15, validate_every=1, plateau_iterations=5)
    assert rates(run) == [1e-3] * 8 + [5e-4] * 8


def test_the_rate_stays_while_the_loss_improves_however_little(train, monkeypatch):
    script(monkeypatch, [5 - 1e-4 * i for i in range(16)])
    assert rates(train(iterations=15, validate_every=1, plateau_iterations=5)[1]) == [1e-3] * 16


def test_the_rate_is_halved_again_every_five_validations(train, monkeypatch):
    script(monkeypatch, [1.0] * 16)
    _, run = train(iterations=15, validate_every=1, plateau_iterations=5)
    # The first validation is the best there is; it takes five more for the rate to fall.
    assert rates(run) == [1e-3] * 7 + [5e-4] * 5 + [2.5e-4] * 4


def test_a_plateau_that_is_no_multiple_of_the_validations_ends_at_the_next_one(train, monkeypatch):
    script(monkeypatch, [1.0] * 8)
    _, run = train(iterations=14, validate_every=2, plateau_iterations=5, plateau_factor=0.1)
    assert rates(run) == pytest.approx([1e-3] * 5 + [1e-4] * 3)


# Going on -------------------------------------------------------------------------------------------------------------


class Stop(Exception):
    """Stands for whatever ends a process."""


def stop_at_item(number: int):
    """Returns mixtures that break off when this item is asked for."""

    class Stopping(Mixtures):
        def __getitem__(self, index):
            if index == number:
                raise Stop
            return super().__getitem__(index)

    return Stopping


# Items 0 to 7 are the first epoch's: in the first batch, at the end of the epoch, within the second, at the very last.
@pytest.mark.parametrize("number", [1, 7, 13, 23])
def test_a_run_broken_off_at_any_item_ends_as_the_unbroken_one(train, unbroken, tmp_path, number):
    with pytest.raises(Stop):
        train(mixtures=stop_at_item(number))
    model, run = train()
    assert same(model.state_dict(), unbroken)
    assert same(read_checkpoint(run.latest)[0].state_dict(), unbroken)
    assert points_without_time(run.curve) == points_without_time(tmp_path / "unbroken" / "curve.json")
    best = [read_checkpoint(folder / "checkpoints" / "best.model.pth")[0] for folder in (run.folder, tmp_path / "unbroken")]
    assert same(best[0].state_dict(), best[1].state_dict())


@pytest.mark.parametrize("call", [1, 2, 3, 4, 5])
def test_a_run_broken_off_while_it_saves_ends_as_the_unbroken_one(train, unbroken, monkeypatch, call):
    save, calls = torch.save, []

    def full_disk(value, path):
        calls.append(path)
        if len(calls) == call:
            path.write_bytes(b"PK\x03\x04 half of it")
            raise OSError("No space left on device")
        save(value, path)

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        train()
    monkeypatch.undo()
    model, run = train()
    assert same(model.state_dict(), unbroken)
    assert same(read_checkpoint(run.latest)[0].state_dict(), unbroken)
    assert not list(run.folder.rglob("*.part"))


def test_a_run_goes_on_with_another_number_of_workers_to_the_same_weights(train, unbroken):
    with pytest.raises(Stop):
        train(mixtures=stop_at_item(13))
    assert same(train(workers=2)[0].state_dict(), unbroken)


KILLED = """
import sys
import nussl_transfer, nussl, torch
from nussl_transfer.builders import build_transfer_chimera
from nussl_transfer.checkpoints import CheckpointInfo
from nussl_transfer.mixing import Mixtures
from nussl_transfer.runs import FitConfig
from nussl_transfer.store import Store
from nussl_transfer.training import fit

torch.set_num_threads(1)

class Waiting(Mixtures):
    def __getitem__(self, index):
        if index == 13:
            print("in the middle", flush=True)
            sys.stdin.read()  # until killed
        return super().__getitem__(index)

store = Store({store!r})
torch.manual_seed(0)
size = dict(num_features=33, hidden_size=8, num_layers=2, embedding_size=5, dropout=0.5)
model = nussl.ml.SeparationModel(build_transfer_chimera(3, **size))
info = CheckpointInfo(store.labels, "whole", 8000, nussl.STFTParams(64, 16, "sqrt_hann"), {seconds})
items = Waiting(store, {seconds}, 24, 1, coherent=0.5)
fit(model, items, Mixtures(store, {seconds}, 3, 2), FitConfig(**{plan!r}), {out!r}, info)
"""


def test_a_run_killed_by_sigkill_ends_as_the_unbroken_one(train, unbroken, tiny_store, tmp_path):
    program = KILLED.format(store=str(tiny_store.folder), seconds=SECONDS, plan=PLAN, out=str(tmp_path / "run"))
    above = str(Path(nussl_transfer.__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": above},
    )
    with process:
        assert process.stdout.readline() == "in the middle\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["iteration"] == 4
    assert same(train()[0].state_dict(), unbroken)


def test_a_finished_run_is_not_done_again(train, monkeypatch):
    model, run = train()
    before = {path: path.read_bytes() for path in run.folder.rglob("*.p*t*") if path.is_file()}
    monkeypatch.setattr(Mixtures, "__getitem__", lambda *_: pytest.fail("an item was asked for"))
    again, _ = train()
    assert same(again.state_dict(), model.state_dict()), "the finished network is what the caller gets"
    assert {path: path.read_bytes() for path in before} == before
    assert "all 12 iterations are done" in (run.folder / "run.log").read_text()


def test_another_configuration_or_other_items_are_refused_showing_the_difference(train, tmp_path):
    train()
    with pytest.raises(ConfigError, match=r"learning_rate: 0\.001 there, 0\.002 now"):
        train(learning_rate=2e-3)
    with pytest.raises(ConfigError, match=r"training: seed: 1 there, 7 now"):
        train(seed=7)


def test_another_network_to_start_from_is_refused(train, small_chimera):
    train()
    with pytest.raises(ConfigError, match=r"\(network: '[0-9a-f]{64}' there, '[0-9a-f]{64}' now\)"):
        train(small_chimera(num_layers=2, dropout=0.5, seed=5))


def test_a_run_of_another_length_than_its_items_is_refused(tiny_store, small_chimera, info, tmp_path):
    with pytest.raises(ConfigError, match="12 batches of 2 take 24 mixtures: got 23"):
        fit(small_chimera(), Mixtures(tiny_store, SECONDS, 23), None, FitConfig(**PLAN), tmp_path / "run", info)
    assert not (tmp_path / "run").exists()


def test_the_same_store_elsewhere_is_the_same_run(train, tiny_store, unbroken, small_chimera, info, tmp_path):
    moved = tmp_path / "moved"
    os.symlink(tiny_store.folder, moved)
    with pytest.raises(Stop):
        train(mixtures=stop_at_item(13))
    model = small_chimera(num_layers=2, dropout=0.5)
    items = Mixtures(Store(moved), SECONDS, 24, 1, coherent=0.5)
    fit(model, items, Mixtures(Store(moved), SECONDS, 3, 2), FitConfig(**PLAN), tmp_path / "run", info)
    assert same(model.state_dict(), unbroken)


# Not a number ---------------------------------------------------------------------------------------------------------


def spoilt(key: str):
    """Returns mixtures of which item 13, in the batch of iteration 7, is not a number."""

    class Spoilt(Mixtures):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            return {**item, key: item[key] * float("nan")} if index == 13 else item

    return Spoilt


@pytest.mark.parametrize(("key", "what"), [("source_audio", "loss"), ("mix_audio", "gradient's norm")])
def test_what_is_not_a_number_stops_the_run_before_it_spoils_the_weights(train, small_chimera, tmp_path, key, what):
    model = small_chimera()
    with pytest.raises(TransferError, match=f"The {what} became nan at iteration 7, items 12 to 13.*good state is saved"):
        train(model, mixtures=spoilt(key))
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["iteration"] == 4
    assert [point["iteration"] for point in json.loads((tmp_path / "run" / "curve.json").read_text())["points"]] == [0, 4]


def test_a_validation_loss_that_is_not_a_number_stops_the_run_before_it_is_saved(train, monkeypatch, tmp_path):
    script(monkeypatch, [1.0, 0.9, float("nan")])
    with pytest.raises(TransferError, match="validation loss became nan at iteration 8"):
        train()
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["iteration"] == 4


# Modes ----------------------------------------------------------------------------------------------------------------


def test_frozen_is_bit_identical_after_a_run_in_mode_mask(train, small_chimera):
    before = small_chimera(num_layers=2, dropout=0.5).state_dict()
    model, _ = train(mode="mask")
    changed = {name.split(".")[1] for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed == {"mask"}


def test_pretraining_leaves_the_mask_head_as_it_was(train, small_chimera):
    before = small_chimera(num_layers=2, dropout=0.5).state_dict()
    model, _ = train(mode="pretrain")
    changed = {name.split(".")[1] for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed == {"normalization", "recurrent_stack", "embedding"}


def test_layers_frozen_by_name_stay_and_unknown_ones_are_refused(train, small_chimera, tmp_path):
    before = small_chimera(num_layers=2, dropout=0.5).state_dict()
    model, _ = train(frozen=("recurrent_stack",))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items() if "recurrent" in name)
    with pytest.raises(ConfigError, match="Layers body were to be frozen: the network has .*recurrent_stack"):
        train(frozen=("body",), out=tmp_path / "other")


def test_bfloat16_trains(train):
    points = train(bf16=True)[1].read_curve()["points"]
    assert all(point["valid_loss"] > 0 for point in points)


def test_nussls_own_handlers_can_be_attached(train, tmp_path, caplog):
    caplog.set_level("INFO")

    def attach(trainer, validator):
        nussl.ml.train.add_stdout_handler(trainer, validator)
        nussl.ml.train.add_tensorboard_handler(str(tmp_path / "logs"), trainer)

    _, run = train(attach=attach)
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


def test_a_body_with_a_rate_of_its_own_moves_less_and_the_run_goes_on_exactly(train, small_chimera, tmp_path):
    start = small_chimera(num_layers=2).state_dict()
    slow = {"body_learning_rate": 1e-6, "model": small_chimera(num_layers=2)}
    trained, run = train(**slow)
    moved = {name: (trained.state_dict()[name] - start[name]).abs().max() for name, _ in trained.named_parameters()}
    for name, distance in moved.items():
        assert (distance > 1e-3) == (name.split(".")[1] in ("embedding", "mask")), name
    assert run.read_curve()["points"][0]["learning_rate"] == 1e-3, "the curve has the rate of the heads"
    broken = {**slow, "model": small_chimera(num_layers=2), "out": tmp_path / "broken"}
    with pytest.raises(Stop):
        train(**broken, mixtures=stop_at_item(17))
    again, _ = train(**{**broken, "model": small_chimera(num_layers=2)})
    assert same(again.state_dict(), trained.state_dict())
