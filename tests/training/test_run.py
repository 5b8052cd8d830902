"""The folder of a run: checking the configuration, saving the state atomically, writing the log."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys

import pytest
import torch
import yaml

from nussl_transfer.errors import CheckpointError, ConfigError
from nussl_transfer.runtime.log import logger
from nussl_transfer.training.run import Run, lock_run_folder

CONFIG = {"mode": "whole", "iterations": 20, "frozen": ["mask"], "device": "cpu", "workers": 0, "progress": True}
POINTS = [{"iteration": 0, "valid_loss": 0.5}, {"iteration": 10, "valid_loss": 0.25}]
STATE = {
    "iteration": 10,
    "model": {"weight": torch.arange(3.0)},
    "random": torch.get_rng_state(),
    "curve": {"points": POINTS},
}


def test_a_new_run_is_at_iteration_0_and_writes_its_configuration(tmp_path):
    run = Run(tmp_path / "runs" / "one", CONFIG)
    assert (run.iteration, run.state) == (0, None)
    assert yaml.safe_load((run.folder / "config.yml").read_text()) == CONFIG


def test_a_saved_state_is_read_when_the_folder_is_opened_again(tmp_path):
    Run(tmp_path, CONFIG).save(STATE, 1.5)
    run = Run(tmp_path, CONFIG)
    assert run.iteration == 10
    assert torch.equal(run.state["model"]["weight"], torch.arange(3.0))
    assert torch.equal(run.state["random"], STATE["random"])
    assert run.state["curve"]["points"] == POINTS
    assert run.read_curve() == json.loads((tmp_path / "curve.json").read_text())
    assert run.read_curve() == {"points": POINTS, "mixture_si_sdr": 1.5}


def test_another_configuration_is_an_error_that_shows_the_difference(tmp_path):
    Run(tmp_path, CONFIG).save(STATE)
    difference = r"another configuration \(iterations: 20 there, 30 now; mode: 'whole' there, 'mask' now\)"
    with pytest.raises(ConfigError, match=difference):
        Run(tmp_path, {**CONFIG, "mode": "mask", "iterations": 30})
    with pytest.raises(ConfigError, match=r"\(seed: None there, 1 now\)"):
        Run(tmp_path, {**CONFIG, "seed": 1})
    assert yaml.safe_load((tmp_path / "config.yml").read_text()) == CONFIG, "the refused configuration was written"


def test_device_workers_and_progress_may_change_when_a_run_continues(tmp_path):
    Run(tmp_path, CONFIG).save(STATE)
    assert Run(tmp_path, {**CONFIG, "device": "cuda", "workers": 4, "progress": False}).iteration == 10


def test_a_state_is_replaced_atomically(tmp_path, monkeypatch):
    run = Run(tmp_path, CONFIG)
    run.save(STATE)

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/state.pt'"):
        run.save({**STATE, "iteration": 20})
    assert Run(tmp_path, CONFIG).iteration == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yml", "curve.json", "state.pt"]


def test_the_state_is_written_last(tmp_path, monkeypatch):
    # Else a run that is killed between the two at its last iteration would count as done, and its curve would lack a point.
    run, order = Run(tmp_path, CONFIG), []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda *given: (order.append(run.curve.exists()), sync(*given)))
    run.save(STATE)
    assert order == [True]


def test_files_that_a_killed_run_left_half_written_are_removed(tmp_path):
    Run(tmp_path, CONFIG).save(STATE)
    (tmp_path / "checkpoints").mkdir()
    left = [tmp_path / ".state.pt.123.part", tmp_path / "checkpoints" / ".best.model.pth.123.part"]
    for path in left:
        path.write_bytes(b"half")
    Run(tmp_path, CONFIG)
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize("spoil", ["cut", "text", "empty", "foreign", "older"])
def test_a_state_that_cannot_be_read_is_an_error_that_says_what_to_do(tmp_path, spoil):
    path = tmp_path / "state.pt"
    Run(tmp_path, CONFIG).save(STATE)
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif spoil == "text":
        path.write_text("no state")
    elif spoil == "empty":
        path.write_bytes(b"")
    elif spoil == "foreign":
        torch.save({"format": 2, "path": tmp_path}, path)
    else:
        torch.save({"format": 1}, path)
    with pytest.raises(CheckpointError, match=f"{tmp_path}.*elete the folder to start again"):
        Run(tmp_path, CONFIG)


def test_messages_of_the_package_during_a_run_go_to_its_log(tmp_path):
    Run(tmp_path, CONFIG)
    level = logger.level
    for line in ("first", "second"):
        with lock_run_folder(tmp_path):
            logging.getLogger("nussl_transfer").info("the %s", line)
        logger.warning("outside")
    text = (tmp_path / "run.log").read_text()
    assert "the first" in text and "the second" in text and "outside" not in text
    assert logger.level == level and not any(isinstance(h, logging.FileHandler) for h in logger.handlers)


def test_a_full_disk_while_logging_warns_once_and_prints_no_traceback(tmp_path, capsys, caplog, monkeypatch):
    with lock_run_folder(tmp_path):
        handler = next(found for found in logger.handlers if isinstance(found, logging.FileHandler))

        class Full:
            def write(self, text):
                raise OSError(errno.ENOSPC, "No space left on device")

            def close(self):
                raise OSError(errno.ENOSPC, "No space left on device")

        handler.stream.close()
        handler.stream = Full()
        logger.info("one")
        logger.info("two")
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{tmp_path}/run.log cannot be written any more: [Errno {errno.ENOSPC}] No space left on device"
    ]
    assert capsys.readouterr().err == ""


def test_the_provenance_is_written_beside_the_configuration_and_may_change(tmp_path):
    Run(tmp_path, CONFIG, {"torch": "2.6"}).save(STATE)
    run = Run(tmp_path, CONFIG, {"torch": "2.7"})
    assert run.iteration == 10
    assert yaml.safe_load((tmp_path / "config.yml").read_text()) == {**CONFIG, "provenance": {"torch": "2.7"}}


# Spawned loader processes ---------------------------------------------------------------------------------------------

SCRIPT = """
import multiprocessing
import sys
import nussl_transfer, nussl, torch
from nussl_transfer import FitConfig, MixtureConfig, Mixtures, Store, fit
from nussl_transfer.checkpoints.checkpoint import CheckpointInfo
from nussl_transfer.networks.chimera import build_transfer_chimera

def main():
    multiprocessing.set_start_method("spawn", force=True)
    store = Store(sys.argv[1])
    size = {"num_features": 33, "hidden_size": 4, "num_layers": 1, "embedding_size": 5}
    model = nussl.ml.SeparationModel(build_transfer_chimera(3, **size))
    config = FitConfig(iterations=2, batch_size=2, workers=1, progress=False, device="cpu")
    info = CheckpointInfo(store.labels, "whole", 8000, nussl.STFTParams(64, 16, "sqrt_hann"), 0.1)
    fit(model, Mixtures(store, MixtureConfig(0.1, coherent=1.0), 4), config=config, out=sys.argv[2], info=info)

GUARD
    main()
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_a_script_that_spawns_loaders_without_a_main_guard_gets_a_clear_error(tiny_store, tmp_path, guarded):
    guard = "if __name__ == '__main__':" if guarded else "if True:"
    (tmp_path / "script.py").write_text(SCRIPT.replace("GUARD", guard))
    command = [sys.executable, str(tmp_path / "script.py"), str(tiny_store.folder), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if guarded:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "run" / "checkpoints" / "best.model.pth").exists()
    else:
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert "A loader process died at its start" in last and "if __name__ == '__main__':" in last
        assert "ran the script that started it, and would train a second time" in done.stderr
