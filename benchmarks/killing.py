"""Interrupt training runs, resume them, and check that they end bit for bit like an uninterrupted run.

Runs get SIGKILL at 20 random moments, SIGTERM at 5, and a full disk at 3. The same call resumes the run each time, until it
is complete. Then every weight of every checkpoint, and the curve, must equal those of the uninterrupted run bit for bit.
After each interruption, every checkpoint and state in the folder must open.

The full disk is a small tmpfs where one can be mounted (as root), and a file size limit elsewhere.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import nussl_transfer  # isort: skip  # noqa: E402, F401  (it repairs nussl, so it comes before it)
import numpy as np  # noqa: E402
import nussl  # noqa: E402
import torch  # noqa: E402

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, read_checkpoint  # noqa: E402
from nussl_transfer.errors import TransferError  # noqa: E402
from nussl_transfer.mixing.config import MixtureConfig  # noqa: E402
from nussl_transfer.mixing.mixtures import Mixtures  # noqa: E402
from nussl_transfer.networks.chimera import build_transfer_chimera  # noqa: E402
from nussl_transfer.safe_loading.safe_load import safe_load  # noqa: E402
from nussl_transfer.store.store import Store, StoreWriter  # noqa: E402
from nussl_transfer.training.config import FitConfig  # noqa: E402
from nussl_transfer.training.fit import fit  # noqa: E402

KILLED, TERMINATED, FULL = 20, 5, 3
ITERATIONS, VALIDATE_EVERY, BATCH_SIZE, WORKERS = 120, 5, 4, 1
SECONDS, RATE = 0.25, 8000
DISK = 8 << 20
FILLER = "filler"


def make_store(folder: Path) -> Store:
    """Write a store of four tracks of tones and noise."""
    rng = np.random.default_rng(0)
    writer = StoreWriter(folder, RATE, "killing")
    for number in range(4):
        at = np.arange(2 * RATE) / RATE
        tones = {"high": 1200 + 100 * number, "low": 110 + 20 * number}
        stems = {name: 0.3 * np.sin(2 * np.pi * pitch * at) for name, pitch in tones.items()}
        writer.add(f"track {number}", None, {**stems, "noise": 0.1 * rng.standard_normal(len(at))})
    return writer.close()


def train(store: Store, out: Path) -> None:
    """Train the run; each call resumes it."""
    torch.manual_seed(0)
    size = {"num_features": 33, "hidden_size": 16, "num_layers": 2, "embedding_size": 5, "dropout": 0.3}
    model = nussl.ml.SeparationModel(build_transfer_chimera(3, **size))
    info = CheckpointInfo(store.labels, "whole", RATE, nussl.STFTParams(64, 16, "sqrt_hann"), SECONDS)
    config = FitConfig(
        iterations=ITERATIONS, batch_size=BATCH_SIZE, validate_every=VALIDATE_EVERY, workers=WORKERS, progress=False
    )
    items = Mixtures(store, MixtureConfig(SECONDS, coherent=0.5), ITERATIONS * BATCH_SIZE, seed=1)
    fit(model, items, Mixtures(store, MixtureConfig(SECONDS, coherent=1.0), 12, seed=2), config=config, out=out, info=info)


def start(store: Store, out: Path, log: Path) -> multiprocessing.Process:
    """Start the run in a process forked from this one, which has all imports; its exit status is that of a command."""

    def work():
        os.setpgid(0, 0)
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stderr.fileno())
        try:
            train(store, out)
        except (TransferError, OSError) as error:
            os.write(2, str(error).encode())
            os._exit(2)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def kill(process: multiprocessing.Process, out: Path) -> bool:
    """Send SIGKILL to the process, as the kernel does when memory runs out; return whether it interrupted the run."""
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def terminate(process: multiprocessing.Process, out: Path) -> bool:
    """Send SIGTERM to all processes of the run, as a scheduler does; return whether it interrupted the run."""
    os.killpg(process.pid, signal.SIGTERM)
    process.join()
    return process.exitcode == 0 and not is_complete(out)  # otherwise the run was complete, or had not started


def fill(process: multiprocessing.Process, out: Path, log: Path, rng: random.Random, mounted: bool) -> bool:
    """Fill the disk before or during the next save; return whether the run ended with the message that it is full."""
    free = rng.randrange(100_000)
    if mounted:
        filler = out.parent / FILLER
        with filler.open("wb") as file:
            file.write(bytes(max(0, shutil.disk_usage(out.parent).free - free)))
    else:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (free, free))
    process.join()
    if mounted:
        filler.unlink()
    message = log.read_text(encoding="utf-8")
    print(f"  {message.splitlines()[-1] if message else None}")  # ignite's messages are above it
    return process.exitcode == 2 and ("No space left" in message or "File too large" in message)


def is_complete(out: Path) -> bool:
    """Return whether a run is complete."""
    if not (out / "state.pt").exists():
        return False
    state = safe_load(out / "state.pt")
    return state["iteration"] == ITERATIONS == state["curve"]["points"][-1]["iteration"]


def unreadable(out: Path) -> list[str]:
    """Return the checkpoints and states of a run that do not open."""
    found = []
    for path in [*out.rglob("*.pth"), *out.rglob("state.pt")]:
        try:
            safe_load(path) if path.name == "state.pt" else read_checkpoint(path)
        except TransferError as error:
            found.append(str(error))
    return found


def contents(out: Path) -> dict:
    """Return everything that must be equal: every weight, and the curve without its times."""
    weights = {
        f"{path.name} {name}": tensor.numpy().tobytes()
        for path in sorted((out / "checkpoints").glob("*.pth"))
        for name, tensor in read_checkpoint(path)[0].state_dict().items()
    }
    points = json.loads((out / "curve.json").read_text(encoding="utf-8"))["points"]
    return {**weights, "curve": [{**point, "seconds": None} for point in points]}


class Trial:
    """Interrupt runs in one way until there were enough interruptions, and let the last run end.

    Args:
        begin: Starts the run in a folder.
        expected: The required final state of a run.
        longest: Longest time before an interruption in seconds.
        rng: Random generator for the times.
    """

    def __init__(
        self, begin: Callable[[Path], multiprocessing.Process], expected: dict, longest: float, rng: random.Random
    ):
        self.begin, self.expected, self.longest, self.rng = begin, expected, longest, rng
        self.interruptions = self.resumed = self.runs = self.identical = 0
        self.unreadable: list[str] = []

    def interrupt_runs(
        self, name: str, interrupt: Callable[[multiprocessing.Process, Path], bool], count: int, folder: Path
    ) -> None:
        """Interrupt runs below a folder `count` times."""
        of_run, out = 0, folder / "run 0"  # of_run: interruptions of the current run
        while self.interruptions < count or of_run:
            process = self.begin(out)
            process.join(self.rng.uniform(0.02, self.longest) if self.interruptions < count else None)
            if process.is_alive() and interrupt(process, out):
                self.interruptions, of_run = self.interruptions + 1, of_run + 1
                self.unreadable += unreadable(out)
                saved = safe_load(out / "state.pt")["iteration"] if (out / "state.pt").exists() else 0
                print(f"{name} {self.interruptions:2} of {count}: {saved} of {ITERATIONS} iterations are saved", flush=True)
            process.join()
            if is_complete(out):
                self.runs += 1
                self.resumed += of_run
                self.identical += contents(out) == self.expected
                shutil.rmtree(out)
                of_run, out = 0, folder / f"run {self.runs}"
            elif process.exitcode not in (0, 2, -signal.SIGKILL, -signal.SIGTERM):
                raise RuntimeError(f"{out}: status {process.exitcode}")


def main() -> None:
    """Run the trials, and print the results."""
    torch.set_num_threads(1)
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        folder = Path(folder)
        store, log, disk = make_store(folder / "store"), folder / "log", folder / "disk"
        begin = partial(start, store, log=log)
        since = time.monotonic()
        begin(folder / "unbroken").join()
        expected, unbroken = contents(folder / "unbroken"), time.monotonic() - since
        times = ITERATIONS // VALIDATE_EVERY
        print(f"uninterrupted: {ITERATIONS} iterations, saved {times} times, in {unbroken:.1f} s", flush=True)
        disk.mkdir()
        mounted = mount(disk)
        if mounted:
            stack.callback(subprocess.run, ["umount", str(disk)], check=True)
        ways = {
            "SIGKILL": (kill, KILLED, folder),
            "SIGTERM": (terminate, TERMINATED, folder),
            "full disk": (partial(fill, log=log, rng=rng, mounted=mounted), FULL, disk),
        }
        trials = {}
        for name, (interrupt, count, where) in ways.items():
            trials[name] = Trial(begin, expected, unbroken / 5, rng)
            trials[name].interrupt_runs(name, interrupt, count, where)
    runs = sum(trial.runs for trial in trials.values())
    result = {
        "killed": trials["SIGKILL"].interruptions,
        "terminated": trials["SIGTERM"].interruptions,
        "disk_full": trials["full disk"].interruptions,
        "resumed": sum(trial.resumed for trial in trials.values()),
        "runs": runs,
        "identical": sum(trial.identical for trial in trials.values()) == runs,
        "unreadable": sum(len(trial.unreadable) for trial in trials.values()),
        "full_disk_by": "tmpfs" if mounted else "file size limit",
        "seconds_unbroken": round(unbroken, 1),
    }
    print(json.dumps(result))


def mount(folder: Path) -> bool:
    """Mount a small disk at a folder; return whether that succeeded."""
    if os.geteuid() or not shutil.which("mount"):
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


if __name__ == "__main__":
    main()
