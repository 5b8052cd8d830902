"""Tests of two processes in one run: the result is that of one process, and only the main process writes."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import multiprocessing
import os
import re
import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, read_checkpoint
from nussl_transfer.cli.recipe import run_recipe
from nussl_transfer.errors import ConfigError, DataError, TransferError
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.runtime import process_group as distributed
from nussl_transfer.runtime import process_group as processes
from nussl_transfer.runtime import reduce
from nussl_transfer.training.config import FitConfig
from nussl_transfer.training.fit import fit
from recipes.pretrain import pretrain

SECONDS = 0.1
PLAN = {"iterations": 20, "batch_size": 4, "validate_every": 5, "frame_step": 2, "progress": False}
# Of a batch of four, the second process has the last two.
OF_THE_SECOND = 7 * 4 + 3


# Two processes --------------------------------------------------------------------------------------------------------


def in_two_processes(folder: Path, work: Callable[[int], dict], joined: bool = True, machines: int = 1) -> list[dict]:
    """Run a function in two forked processes, joined as torchrun does, and return the results by rank."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]

    def begin(rank: int) -> None:
        signal.alarm(600)  # ends a process that hangs
        torch.set_num_threads(1)
        os.fsync = lambda number: None
        processes.TIMEOUT = timedelta(seconds=300)
        local = {"LOCAL_RANK": str(rank if machines == 1 else 0), "RANK": str(rank)}
        os.environ.update(local, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        with distributed.join_process_group() if joined else contextlib.nullcontext():
            found = work(rank)
        torch.save(found, folder / f"{rank}.pt")

    folder.mkdir(exist_ok=True)
    begun = [multiprocessing.get_context("fork").Process(target=begin, args=(rank,)) for rank in range(2)]
    for process in begun:
        process.start()
    for process in begun:
        process.join()
    assert [process.exitcode for process in begun] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def attempt(work: Callable[[], object]) -> str:
    """Return the exception that a function raises, as class and text."""
    try:
        work()
    except (TransferError, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


# Training --------------------------------------------------------------------------------------------------------------


def at_item(number: int, act: Callable[[dict], object]) -> type[Mixtures]:
    """Return mixtures that call a function with one item."""

    class Acting(Mixtures):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            if index == number:
                act(item)
            return item

    return Acting


def terminate(item: dict) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def spoil(item: dict) -> None:
    item["mix_audio"].fill_(torch.nan)


def refuse(item: dict) -> None:
    raise DataError("no such sound.")


@pytest.fixture(scope="module")
def train(tiny_store, small_chimera, tiny_stft):
    """A function that trains a small network; its five validation items fill neither a batch nor two equal shares."""

    def run(out: Path, mode="whole", mixtures=Mixtures, seed=1, dropout=0.0, probe=None, valid_items=5, **plan):
        config = FitConfig(mode=mode, **{**PLAN, **plan})
        # All processes get the main process's network.
        model = small_chimera(num_layers=2, dropout=dropout, seed=0 if distributed.is_main_process() else 3)
        info = CheckpointInfo(("bass", "drums", "voice"), mode, 8000, tiny_stft, SECONDS)
        items = mixtures(tiny_store, MixtureConfig(SECONDS, coherent=0.5), config.iterations * config.batch_size, seed)
        held_out = Mixtures(tiny_store, MixtureConfig(SECONDS, coherent=1.0), valid_items, 2)
        return model, fit(model, items, held_out, config=config, out=out, info=info, probe=probe)

    return run


def probe(model) -> float:
    """A measurement that only the main process can make."""
    assert distributed.is_main_process()
    return 1.5


WAYS = {
    "pretrain": {"mode": "pretrain"},
    "whole": {"mode": "whole", "probe": probe},
    "in parts": {"mode": "whole", "accumulate": 2, "ema_decay": 0.9, "head_mixtures": 16, "iterations": 10},
    "mask": {"mode": "mask", "iterations": 5},
    "spoilt": {"mode": "pretrain", "mixtures": at_item(OF_THE_SECOND, spoil), "iterations": 10},
}


def normalise(rank: int, part: torch.Tensor, norm: nn.BatchNorm1d) -> dict:
    """Return the output, gradients and statistics of batch normalisation for a part of a batch."""
    part = part.requires_grad_()
    made = reduce.normalize_over_processes(norm.train(), part)
    (made.sin().sum() / 8).backward()
    losses = reduce.average_gradients(norm.parameters(), {"loss": made.detach().sin().sum() / 8 * 2})
    gradients = {f"{name} gradient": parameter.grad for name, parameter in norm.named_parameters()}
    return {"made": made.detach(), "part": part.grad, "loss": losses["loss"], **gradients, **norm.state_dict()}


NORMS = {
    "usual": lambda: nn.BatchNorm1d(3),
    "mean of all": lambda: nn.BatchNorm1d(3, momentum=None),
    "plain": lambda: nn.BatchNorm1d(3, affine=False, track_running_stats=False),
}


def batch_to_normalise() -> torch.Tensor:
    return 4 * torch.randn(8, 3, 50, generator=torch.Generator().manual_seed(0)) - 50


@pytest.fixture(scope="module")
def scenes(train, tmp_path_factory):
    """Run every scene of these tests in two processes, and return the results; each scene has its own folder for runs."""
    top = tmp_path_factory.mktemp("two")

    def work(rank: int) -> dict:
        folder = top / f"process {rank}"
        found: dict = {"state": {}, "outcome": {}, "asked": []}
        for name, way in WAYS.items():
            model, _ = train(folder / name, **way)
            found["state"][name] = model.state_dict()
        random = {"dropout": 0.5, "iterations": 10}
        for name, items in (("unbroken", Mixtures), ("broken", at_item(OF_THE_SECOND, terminate))):
            found["outcome"][name] = attempt(lambda name=name, items=items: train(folder / name, mixtures=items, **random))
        train(folder / "broken", **random)
        found["outcome"]["resumed"] = attempt(lambda: train(folder / "resumed", mixtures=at_item(OF_THE_SECOND, terminate)))
        for name, way in {
            "item": {"mixtures": at_item(OF_THE_SECOND, refuse)},
            "unlike": {"seed": 1 + rank},
            "undivided": {"batch_size": 3},
            "too often": {"mixtures": at_item(OF_THE_SECOND, spoil), "skip_limit": 0},
        }.items():
            found["outcome"][name] = attempt(lambda name=name, way=way: train(folder / name, **way))
        found["outcome"]["full"] = attempt(lambda: on_a_full_disk(lambda: train(folder / "full")))
        train(folder / "one item", valid_items=1, iterations=5)
        found["norms"] = {
            name: normalise(rank, batch_to_normalise()[4 * rank : 4 * rank + 4], make()) for name, make in NORMS.items()
        }
        made = distributed.once_per_machine(lambda: f"made by {rank}", lambda: f"used by {rank}")
        return {**found, "made": made, "gathered": distributed.all_gather(rank), "seed": distributed.rank_seed(5)}

    found = in_two_processes(top / "found", work)
    return SimpleNamespace(folder=top / "process 0", elsewhere=top / "process 1", found=found)


def on_a_full_disk(work: Callable[[], object]) -> None:
    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    usual, os.fsync = os.fsync, full
    try:
        work()
    finally:
        os.fsync = usual


@pytest.fixture(scope="module")
def alone(train, tmp_path_factory):
    """A function that trains in one process as the two did, and returns network and run."""
    folder, done = tmp_path_factory.mktemp("alone"), {}

    def run(name: str):
        if name not in done:
            done[name] = train(folder / name, **WAYS.get(name, {}))
        return done[name]

    return run


def curve(folder: Path) -> list[dict]:
    return json.loads((folder / "curve.json").read_text())["points"]


def assert_same_curve(one: Path, other: Path) -> None:
    for first, second in zip(curve(one), curve(other), strict=True):
        assert first["iteration"] == second["iteration"]
        for name in ("train_loss", "valid_loss", "learning_rate", "test_si_sdr"):
            known = second[name] is not None
            assert first[name] == (pytest.approx(second[name], rel=1e-4) if known else None), (first["iteration"], name)


def history(folder: Path) -> torch.Tensor:
    return torch.load(folder / "state.pt", weights_only=True)["stepping"]["autoclip"]["history"]


# The same run ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_give_the_curve_of_one(scenes, alone, way):
    model, run = alone(way)
    assert_same_curve(scenes.folder / way, run.folder)
    # Norms before clipping are those of the averaged gradient, not the mean of two norms.
    torch.testing.assert_close(history(scenes.folder / way), history(run.folder), rtol=1e-3, atol=1e-6, equal_nan=True)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(scenes.found[0]["state"][way][name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_both_processes_have_bit_identical_networks(scenes, way):
    first, second = (found["state"][way] for found in scenes.found)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_nan_step_in_one_process_is_skipped_in_both(scenes):
    norms = history(scenes.folder / "spoilt")
    assert norms.isnan().nonzero().flatten().tolist() == [OF_THE_SECOND // 4]
    assert all(tensor.isfinite().all() for tensor in scenes.found[1]["state"]["spoilt"].values())


def test_frozen_layers_stay_bit_identical(scenes, small_chimera):
    before = small_chimera(num_layers=2, dropout=0.0).state_dict()
    after = scenes.found[0]["state"]["mask"]
    assert {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])} == {"mask"}


def test_a_validation_set_smaller_than_the_group_counts_in_full(scenes, train, tmp_path):
    assert_same_curve(scenes.folder / "one item", train(tmp_path / "run", valid_items=1, iterations=5)[1].folder)


@pytest.mark.parametrize("name", NORMS)
def test_batch_normalisation_and_its_gradient_are_those_of_the_whole_batch(scenes, name):
    norm, batch = NORMS[name](), batch_to_normalise().requires_grad_()
    made = norm.train()(batch)
    # Each process takes the loss of its part; the mean of the two losses is half of their sum.
    loss = made.sin().sum() / 8
    loss.backward()
    parts = [found["norms"][name] for found in scenes.found]
    torch.testing.assert_close(torch.cat([part["made"] for part in parts]), made.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.cat([part["part"] for part in parts]), batch.grad, rtol=1e-4, atol=1e-6)
    for part in parts:
        torch.testing.assert_close(part["loss"], loss.detach(), rtol=1e-4, atol=0)
        for key, parameter in norm.named_parameters():
            torch.testing.assert_close(2 * part[f"{key} gradient"], parameter.grad, rtol=1e-4, atol=1e-5)
        for key, tensor in norm.named_buffers():
            torch.testing.assert_close(part[key], tensor, rtol=1e-5, atol=1e-6)


# Resuming -------------------------------------------------------------------------------------------------------------


def test_a_signal_to_one_process_ends_both_after_the_same_iteration(scenes):
    assert [found["outcome"]["resumed"] for found in scenes.found] == ["SystemExit: 0"] * 2
    state = torch.load(scenes.folder / "resumed" / "state.pt", weights_only=True)
    assert state["iteration"] == OF_THE_SECOND // 4 + 1
    assert "Stopped by SIGTERM after iteration 8 of 20" in (scenes.folder / "resumed" / "run.log").read_text()


def test_a_run_resumes_with_another_number_of_processes(scenes, train, alone, tmp_path):
    # Two processes begin the run, one resumes it, and two finish it.
    folder = scenes.folder / "resumed"
    with pytest.raises(SystemExit):
        train(folder, mixtures=at_item(13 * 4, terminate))
    assert len(history(folder)) == 14
    in_two_processes(tmp_path, lambda rank: train(folder if rank == 0 else tmp_path / "none") and {})
    assert_same_curve(folder, alone("resumed")[1].folder)


def test_two_processes_resume_exactly_each_with_its_own_dropout(scenes):
    assert [found["outcome"]["broken"] for found in scenes.found] == ["SystemExit: 0"] * 2
    unbroken, broken = (read_checkpoint(scenes.folder / name / "checkpoints" / "latest.model.pth")[0].state_dict()
                        for name in ("unbroken", "broken"))  # fmt: skip
    assert all(torch.equal(unbroken[name], broken[name]) for name in unbroken)
    state = torch.load(scenes.folder / "broken" / "state.pt", weights_only=True)
    assert len(state["random_of_others"]) == 1
    assert not torch.equal(state["random"], state["random_of_others"][0]["random"])
    assert scenes.found[0]["seed"] == 5 != scenes.found[1]["seed"]


# Only one writes and reports ------------------------------------------------------------------------------------------


def test_only_the_main_process_writes(scenes):
    assert not scenes.elsewhere.exists()
    assert (scenes.folder / "whole" / "run.log").read_text().count("iteration 20 of 20") == 1
    assert curve(scenes.folder / "whole")[-1]["test_si_sdr"] == 1.5


@pytest.mark.parametrize(
    ("name", "rank", "said"),
    [
        ("item", 1, "DataError: Item 31 of the training data .* cannot be made: no such sound"),
        ("unlike", 1, "ConfigError: A process on .* another configuration .*training: seed: 1 there, 2 now"),
        ("full", 0, "CheckpointError: Iteration 5 cannot be saved .* No space left on device"),
        ("too often", 0, "TransferError: .* got 1 .iteration 8, items 28 to 31"),
    ],
)
def test_an_error_in_one_process_is_reported_by_it_and_ends_both(scenes, name, rank, said):
    answers = [found["outcome"][name] for found in scenes.found]
    assert re.search(said, answers[rank])
    assert answers[1 - rank] == f"RemoteRankError: Process {rank} of 2 failed; see its error message."


def test_a_batch_that_the_processes_cannot_share_equally_is_an_error(scenes):
    for found in scenes.found:
        assert found["outcome"]["undivided"] == (
            "ConfigError: Batch size 3 is wrong: 2 processes cannot share it equally. Use a multiple of 2, or another "
            "number of processes."
        )


def test_a_store_is_made_once_per_machine(scenes, tmp_path):
    assert [found["made"] for found in scenes.found] == ["made by 0", "used by 1"]

    def work(rank: int) -> dict:
        return {"made": distributed.once_per_machine(lambda: f"made by {rank}", lambda: f"used by {rank}")}

    found = in_two_processes(tmp_path, work, machines=2)
    assert [answer["made"] for answer in found] == ["made by 0", "made by 1"]


def test_a_dead_process_is_noticed(train, tmp_path):
    def work(rank: int) -> dict:
        def gone(item):
            torch.save({}, tmp_path / "1.pt")
            os._exit(0)

        def train_in_the_group() -> None:
            with distributed.join_process_group():
                train(tmp_path / "run", mixtures=at_item(OF_THE_SECOND, gone))

        return {"outcome": attempt(train_in_the_group)}

    found = in_two_processes(tmp_path, work, joined=False)
    assert found[0]["outcome"].startswith("TransferError: Process 0 of 2 lost the connection to another process.")


def test_a_recipe_prints_everything_once(tiny_store, tmp_path):
    experiment = tmp_path / "tiny.yml"
    experiment.write_text(
        f"data: {{stores: {{tiny: {{folder: {tiny_store.folder}}}}}, excerpt_seconds: 0.2, valid_items: 2}}\n"
        "network: {sample_rate: 8000, hidden_size: 4, num_layers: 1}\n"
        "training: {mode: pretrain, iterations: 2, batch_size: 2, validate_every: 1}\n"
    )

    def work(rank: int) -> dict:
        def say(*words: str) -> dict:
            out, err = io.StringIO(), io.StringIO()
            words = [str(experiment), "--out", str(tmp_path / "run"), *words]
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = run_recipe("Pretrains::\n\n    pretrain\n", pretrain, ("pretrain",), words)
            return {"status": status, "out": out.getvalue(), "err": err.getvalue()}

        return say(*overrides)

    overrides = []
    first, second = in_two_processes(tmp_path, work, joined=False)
    assert [first["status"], second["status"]] == [0, 0]
    assert first["out"].startswith("Wrote ") and "all 2 iterations are done" in first["err"]
    assert [second["out"], second["err"]] == ["", ""]

    overrides = ["--override", "training.batch_size=3"]
    first, second = in_two_processes(tmp_path, work, joined=False)
    assert [first["status"], second["status"]] == [2, 2]
    assert "Batch size 3 is wrong" in first["err"]
    assert [second["out"], second["err"]] == ["", ""]


# One process ----------------------------------------------------------------------------------------------------------


def test_a_single_process_does_not_wait(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    losses = {"loss": torch.tensor(1.0)}
    with distributed.join_process_group(), distributed.synchronized():
        assert not torch.distributed.is_initialized() and distributed.is_single_process() and distributed.is_main_process()
        assert reduce.average_gradients([parameter], losses) is losses
        assert (distributed.all_reduce_max(3), distributed.all_reduce_sum([1.0])) == (3, [1.0])
        assert distributed.all_gather("x") == ["x"]
        assert distributed.rank_share(range(4, 9)) == range(4, 9) and distributed.rank_seed(7, 3) == 7
    with pytest.raises(DataError, match="no such sound"), distributed.synchronized():
        refuse({})


def test_processes_that_cannot_connect_raise_an_error(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    message = r"The 2 processes of WORLD_SIZE cannot connect: .*LOCAL_RANK.* Start them with torchrun"
    with pytest.raises(ConfigError, match=message):
        with distributed.join_process_group():
            pass


@pytest.mark.parametrize(("size", "items"), [(2, 8), (2, 5), (3, 4), (4, 2), (1, 3)])
def test_the_shares_of_a_batch_are_the_batch(monkeypatch, size, items):
    parts = []
    for rank in range(size):
        monkeypatch.setattr(processes.idist, "get_world_size", lambda: size)
        monkeypatch.setattr(processes.idist, "get_rank", lambda rank=rank: rank)
        parts.append(distributed.rank_share(range(100, 100 + items)))
    assert [item for part in parts for item in part] == list(range(100, 100 + items))
    if items % size == 0:
        assert len({len(part) for part in parts}) == 1
