"""Failures while training are reported with the item, the file or the iteration."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest
import torch
from ignite.engine import Events
from tiny_runs import assert_same_runs, at_item, same

from nussl_transfer.errors import DataError, TransferError
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.training.config import FitConfig
from nussl_transfer.training.skipped import SkippedSteps


def spoilt(key: str, *numbers: int) -> type[Mixtures]:
    """Return mixtures in which these items are NaN."""

    class Spoilt(Mixtures):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            return {**item, key: item[key] * float("nan")} if index in numbers else item

    return Spoilt


# Steps ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["source_audio", "mix_audio"])
def test_a_step_that_is_not_finite_is_skipped_counted_and_logged(train, small_chimera, caplog, key):
    states = []

    def look(trainer, _):
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: states.append(weights(model)))

    model, run = train(model := small_chimera(), mixtures=spoilt(key, 13), callbacks=[look])
    assert [same(states[i], states[i + 1]) for i in range(11)] == [i == 5 for i in range(11)], (
        "the seventh step changes nothing"
    )
    assert "iteration 7: loss or gradient is not finite, the step is skipped (1 of at most 10); items 12 " in caplog.text
    assert all(torch.isfinite(tensor).all() for tensor in weights(model).values())
    points = run.read_curve()["points"]
    assert all(point["valid_loss"] > 0 for point in points) and all(point["train_loss"] > 0 for point in points[1:])
    assert torch.load(run.folder / "state.pt", weights_only=True)["skipped"] == {"iterations": [7]}


def weights(model) -> dict:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_more_skipped_steps_than_the_limit_end_the_run_and_name_the_items(train, tmp_path):
    broken = spoilt("mix_audio", 4, 13, 14)
    with pytest.raises(TransferError) as told:
        train(mixtures=broken, skip_limit=2)
    assert str(told.value) == (
        "Too many steps were skipped because their loss or gradient was not finite: got 3 (iteration 3, items 4 to 5; "
        "iteration 7, items 12 to 13; iteration 8, items 14 to 15), expected at most 2. The last good state is saved. Look "
        "at these items, lower the learning rate, or raise skip_limit."
    )
    # A resumed run counts the steps skipped before the saved state, and does not count those after it twice.
    with pytest.raises(TransferError, match="got 3 "):
        train(mixtures=broken, skip_limit=2)
    train(mixtures=broken, skip_limit=3)


def test_a_limit_of_zero_ends_the_run_at_the_first_skipped_step(train):
    with pytest.raises(TransferError, match=r"got 1 \(iteration 1, items 0 to 1\), expected at most 0"):
        train(mixtures=spoilt("mix_audio", 0), skip_limit=0)


def test_flags_on_a_device_are_read_when_they_are_settled(monkeypatch):
    class OnDevice(torch.Tensor):
        device = torch.device("meta")

    skipped = SkippedSteps(FitConfig(batch_size=4, skip_limit=1))
    for iteration in range(1, 5):
        skipped.note(iteration, torch.tensor(iteration == 2).as_subclass(OnDevice))
    assert skipped.iterations == []
    skipped.settle()
    assert skipped.iterations == [2]
    skipped.note(5, torch.tensor(True).as_subclass(OnDevice))
    with pytest.raises(TransferError, match="iteration 2, items 4 to 7; iteration 5, items 16 to 19"):
        skipped.settle()


def test_a_validation_loss_that_is_not_finite_ends_the_run_before_saving(train, tmp_path):
    asked = []

    class LaterSpoilt(Mixtures):
        def __getitem__(self, index):
            asked.append(index)
            item = super().__getitem__(index)
            return {**item, "mix_audio": item["mix_audio"] * (float("nan") if len(asked) > 6 else 1)}

    with pytest.raises(TransferError, match="validation loss is nan at iteration 8. The last good state is saved"):
        train(valid=LaterSpoilt)
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["iteration"] == 4


def test_if_every_step_is_skipped_there_is_no_loss_and_no_best_network(train):
    _, run = train(mixtures=spoilt("mix_audio", *range(24)), valid=None, skip_limit=12)
    assert [point["valid_loss"] for point in run.read_curve()["points"]] == [None] * 4
    assert run.latest.exists() and not run.best.exists()


def test_an_si_sdr_that_is_not_finite_is_left_out_of_the_curve(train):
    _, run = train(probe=lambda model: float("nan"))
    assert [point["test_si_sdr"] for point in run.read_curve()["points"]] == [None] * 4


# Items ----------------------------------------------------------------------------------------------------------------


def fail():
    raise ValueError("no such thing")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_item_that_cannot_be_made_is_reported_with_its_tracks(train, unbroken, tiny_store, workers):
    with pytest.raises(DataError) as told:
        train(mixtures=at_item(13, fail), workers=workers)
    # Loader processes ignore SIGTERM, so Python would wait for them forever when it exits.
    assert told.tb is not None and not multiprocessing.active_children()
    item = Mixtures(tiny_store, MixtureConfig(0.1, coherent=0.5), 24, 1).draw(13)
    made_of = "; ".join(
        f"track {name!r}: {', '.join(found.label for found in item if found.track.name == name)}"
        for name in dict.fromkeys(found.track.name for found in item)
    )
    assert str(told.value) == (f"Item 13 of the training data ({made_of}) cannot be made: ValueError: no such thing")
    assert "no such thing" in str(told.value.__cause__), "the original traceback is attached"
    assert_same_runs(train()[1].folder, unbroken)


def test_a_missing_file_of_the_store_is_named(train, tiny_store, tmp_path, monkeypatch):
    def gone(store, track, label, start, frames):
        raise DataError(f"{store.folder}/{track.name}/{label}.wav is not there. Prepare the store again.")

    monkeypatch.setattr(type(tiny_store), "read", gone)
    with pytest.raises(DataError, match=r"Item 0 of the validation .*\(track .*cannot be made: .*wav is not there"):
        train()


@pytest.mark.parametrize("which", ["mixtures", "valid"])
def test_the_death_of_a_loader_process_is_reported_with_the_items_tracks(train, unbroken, which):
    name = {"mixtures": "training", "valid": "validation"}[which]
    with pytest.raises(DataError, match=rf"died at item 2 of the {name} data \(track 'song .*DataLoader worker"):
        train(**{which: at_item(2, lambda: os.kill(os.getpid(), signal.SIGKILL))}, workers=1)
    assert_same_runs(train(workers=1)[1].folder, unbroken)
