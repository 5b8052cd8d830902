"""Compare a training step of nussl 1.1.9 with ours, on the same stems, network and device, each in its own process.

nussl's side is its ``MixSourceFolder`` with the transforms of its tutorials, a ``DataLoader``, and its ``TrainClosure``,
losses and trainer. Ours is ``fit``, with gradient clipping and all checks. Both train a whole ChimeraNet on 0.01 deep
clustering + 0.99 L1 loss, with Adam.

On a CPU, the size is 2 x 128 units and 8 x 2 s, on two threads and on one. With ``--device cuda``, the default where there
is a GPU, it is the paper's 4 x 500 units and 24 x 10 s; the result includes the time of its pretraining and the bottleneck.

The last line is JSON. ``speed_ratio`` (our items a second over nussl's) and ``memory_ratio`` (our peak over nussl's, minus
the memory before the network is built) are for the same losses at all frames. ``cut_beforehand`` holds the same figures
when nussl need not read whole tracks: its folder then holds excerpts of the training length. ``share_of_peak`` says how
much of the machine's peak of float32 matrix products each side reaches, with the operations of our step (`peak.py`).
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path

RATE, LABELS = 16000, ("bass", "drums", "other", "vocals")
WINDOW = (512, 128, "sqrt_hann")
PRETRAINING = 10_000  # the paper's iterations


@dataclass(frozen=True)
class Plan:
    """The size of a comparison: seconds of audio, iterations, and a device."""

    device: str = "cpu"
    hidden_size: int = 128
    num_layers: int = 2
    embedding_size: int = 20
    seconds: float = 2.0
    batch_size: int = 8
    tracks: int = 8
    track_seconds: float = 30.0  # as in Bach10, the paper's data set with the shortest tracks
    warmup: int = 2
    steps: int = 10
    their_steps: int = 8
    threads: int = 2
    workers: int = 0


CUDA = Plan("cuda", 500, 4, 20, 10.0, 24, 24, 60.0, 20, 300, 40, 8, 8)
TINY = {"hidden_size": 8, "num_layers": 1, "embedding_size": 4, "seconds": 0.5, "batch_size": 2, "tracks": 2}
TINY |= {"track_seconds": 2.0, "warmup": 1, "steps": 3, "their_steps": 2, "workers": 0, "threads": 1}


# The stems ------------------------------------------------------------------------------------------------------------


def make_stems(folder: Path, plan: Plan) -> None:
    """Write one set of stems twice: as our store, and as nussl's folders of tracks and of excerpts."""
    import numpy as np

    import nussl_transfer  # noqa: F401
    from nussl_transfer.store.store import StoreWriter, write_stem

    rng, writer = np.random.default_rng(0), StoreWriter(folder / "store", RATE, "benchmark")
    frames, cut = round(plan.track_seconds * RATE), round(plan.seconds * RATE)
    for number in range(plan.tracks):
        stems = {label: 0.1 * rng.standard_normal(frames).astype(np.float32) for label in LABELS}
        writer.add(f"{number:03d}", None, stems)
        for label, audio in {**stems, "mix": sum(stems.values())}.items():
            (folder / "whole" / label).mkdir(parents=True, exist_ok=True)
            (folder / "cut" / label).mkdir(parents=True, exist_ok=True)
            write_stem(folder / "whole" / label / f"{number:03d}.wav", audio, RATE)
            for start in range(0, frames - cut + 1, cut):
                write_stem(folder / "cut" / label / f"{number:03d}-{start}.wav", audio[start : start + cut], RATE)
    writer.close()


# Measurements ---------------------------------------------------------------------------------------------------------


class Meter:
    """Measure the time of the iterations after the first few, the wait for batches, and the peak memory."""

    def __init__(self, plan: Plan, steps: int):
        import torch

        self.cuda, self.plan, self.last = plan.device.startswith("cuda"), plan, plan.warmup + steps
        self.waited = self.asked = 0.0
        self.before = 0 if self.cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()

    def attach(self, trainer) -> None:
        """Attach to a trainer of nussl."""
        from ignite.engine import Events

        trainer.add_event_handler(Events.GET_BATCH_STARTED, self._ask)
        trainer.add_event_handler(Events.GET_BATCH_COMPLETED, self._get)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._count)

    def read(self) -> dict:
        """Return the measurements; memory is in MB."""
        import torch

        seconds, steps = self.ended - self.began, self.last - self.plan.warmup
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        megabytes = torch.cuda.max_memory_allocated() / 2**20 if self.cuda else (peak - self.before) / 1024
        return {
            "items_per_s": steps * self.plan.batch_size / seconds,
            "ms_a_step": 1000 * seconds / steps,
            "waiting_for_data": self.waited / seconds,
            "megabytes": megabytes,
        }

    def _ask(self, _) -> None:
        self.asked = time.perf_counter()

    def _get(self, _) -> None:
        self.waited += time.perf_counter() - self.asked

    def _count(self, engine) -> None:
        if engine.state.iteration == self.plan.warmup:
            self._settle()
            self.began, self.waited = time.perf_counter(), 0.0
        elif engine.state.iteration == self.last:
            self._settle()
            self.ended = time.perf_counter()

    def _settle(self) -> None:
        if self.cuda:
            import torch

            torch.cuda.synchronize()


def network(plan: Plan):
    """Return the paper's ChimeraNet at the plan's size; both sides train the same."""
    import nussl
    import torch

    from nussl_transfer.networks.chimera import build_transfer_chimera

    size = {"hidden_size": plan.hidden_size, "num_layers": plan.num_layers, "embedding_size": plan.embedding_size}
    torch.manual_seed(0)
    return nussl.ml.SeparationModel(build_transfer_chimera(len(LABELS), num_features=WINDOW[0] // 2 + 1, **size))


def train_theirs(folder: Path, plan: Plan) -> dict:
    """Train with nussl; the folder holds tracks or excerpts."""
    import nussl
    import torch
    from nussl.datasets import transforms as tfm
    from torch.utils.data import DataLoader, RandomSampler

    frames = round(plan.seconds * RATE) // WINDOW[1] + 1
    data = nussl.datasets.MixSourceFolder(
        str(folder),
        stft_params=nussl.STFTParams(*WINDOW),
        sample_rate=RATE,
        num_channels=1,
        transform=tfm.Compose(
            [
                tfm.MagnitudeSpectrumApproximation(),
                tfm.MagnitudeWeights(),
                tfm.ToSeparationModel(),
                tfm.GetExcerpt(frames),
            ]
        ),
    )
    iterations = plan.warmup + plan.their_steps
    sampler = RandomSampler(data, replacement=True, num_samples=iterations * plan.batch_size)
    loader = DataLoader(data, plan.batch_size, sampler=sampler, num_workers=plan.workers)
    meter = Meter(plan, plan.their_steps)
    model = network(plan).to(plan.device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    losses = {"DeepClusteringLoss": {"weight": 0.01}, "L1Loss": {"weight": 0.99}}
    closure = nussl.ml.train.closures.TrainClosure(losses, optimizer, model)
    trainer, _ = nussl.ml.train.create_train_and_validation_engines(closure, device=plan.device)
    meter.attach(trainer)
    trainer.run(loader, max_epochs=1)
    return meter.read()


def train_ours(folder: Path, plan: Plan, profiled: bool = False, **config) -> dict:
    """Train with ``fit``."""
    import nussl

    from nussl_transfer.checkpoints.checkpoint import CheckpointInfo
    from nussl_transfer.mixing.config import MixtureConfig
    from nussl_transfer.mixing.mixtures import Mixtures
    from nussl_transfer.store.store import Store
    from nussl_transfer.training.config import FitConfig
    from nussl_transfer.training.fit import fit

    iterations = plan.warmup + plan.steps
    common = {"batch_size": plan.batch_size, "device": plan.device, "workers": plan.workers, "progress": False}
    config = FitConfig(iterations=iterations, validate_every=iterations, **common, **config)
    store = Store(folder / "store")
    items = Mixtures(store, MixtureConfig(plan.seconds, coherent=1.0), iterations * plan.batch_size)
    info = CheckpointInfo(store.labels, "whole", RATE, nussl.STFTParams(*WINDOW), plan.seconds)
    meter, found = Meter(plan, plan.steps), {}
    profiler = Profile(plan) if profiled else None

    def attach(trainer, _):
        meter.attach(trainer)
        if profiler:
            profiler.attach(trainer)

    with tempfile.TemporaryDirectory() as out:
        fit(network(plan), items, config=config, out=out, info=info, callbacks=[attach])
    found = meter.read()
    if profiler:
        found["profile"] = profiler.read()
    return found


class Profile:
    """Profile the last iterations with torch's profiler, and group their operations."""

    GROUPS = {"LSTM": ("rnn", "lstm"), "matrix products": ("::mm", "addmm", "bmm", "linear"), "optimizer": ("adam", "Adam")}
    STEPS = 3

    def __init__(self, plan: Plan):
        from torch.profiler import ProfilerActivity, profile

        self.cuda, self.last = plan.device.startswith("cuda"), plan.warmup + plan.steps
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * self.cuda
        self.profile = profile(activities=activities)

    def attach(self, trainer) -> None:
        """Attach to a trainer."""
        from ignite.engine import Events

        first = max(1, self.last - self.STEPS)
        trainer.add_event_handler(Events.ITERATION_STARTED(once=first), lambda _: self._start())
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=self.last), lambda _: self._stop())

    def _start(self) -> None:
        if self.cuda:  # torch warns of every synchronisation with the device
            import torch

            self.recorder = warnings.catch_warnings(record=True)
            self.recorded = self.recorder.__enter__()
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
        self.profile.start()

    def _stop(self) -> None:
        if self.cuda:
            import torch

            torch.cuda.set_sync_debug_mode("default")
            self.recorder.__exit__(None, None, None)
            waits = [wait for wait in self.recorded if "synchroniz" in str(wait.message)]
            print(f"{len(waits)} synchronisations with the device in {self.STEPS} steps")
            print("".join(f"  {wait.filename}:{wait.lineno} {wait.message}\n" for wait in waits[:5]), end="")
        self.profile.stop()

    def read(self) -> dict[str, float]:
        """Print the longest operations; return the share of each group in the device's time."""
        events = self.profile.key_averages()
        order = "self_device_time_total" if self.cuda else "self_cpu_time_total"
        print(events.table(sort_by=order, row_limit=15, max_name_column_width=45))
        own = {event.key: getattr(event, order) for event in events}
        whole = {event.key: getattr(event, order.removeprefix("self_")) for event in events}
        total = sum(own.values()) or 1
        # It includes matrix products, which also count in their own group.
        loss = sum(time for name, time in whole.items() if name in ("_HeadGrams", "_HeadGramsBackward"))
        shares = {
            group: sum(time for name, time in own.items() if any(part in name for part in parts)) / total
            for group, parts in self.GROUPS.items()
        }
        return {name: round(share, 3) for name, share in {**shares, "embedding head and its loss": loss / total}.items()}


# The comparison -------------------------------------------------------------------------------------------------------

SIDES = {
    "nussl": lambda folder, plan: train_theirs(folder / "whole", plan),
    "nussl, cut beforehand": lambda folder, plan: train_theirs(folder / "cut", plan),
    "ours": lambda folder, plan: train_ours(folder, plan),
    "ours, every 4th frame": lambda folder, plan: train_ours(folder, plan, frame_step=4),
    "ours, bfloat16": lambda folder, plan: train_ours(folder, plan, bf16=True),
    "ours, pretraining": lambda folder, plan: train_ours(folder, plan, mode="pretrain", profiled=True),
    "ours, pretraining in bfloat16": lambda folder, plan: train_ours(
        folder, plan, mode="pretrain", bf16=True, profiled=True
    ),
}


def measure(name: str, folder: Path, plan: Plan) -> dict:
    """Run one side in this process."""
    import nussl_transfer  # noqa: F401  isort: skip
    import torch
    from peak import gemm_peak

    torch.set_num_threads(plan.threads)
    found = SIDES[name](folder, plan)
    peak = gemm_peak(plan.threads, plan.device)  # after the memory was measured
    options = {"frame_step": 4} if "4th" in name else {"mode": "pretrain"} if "pretraining" in name else {}
    found["share_of_peak"] = found["items_per_s"] * operations_an_item(plan, **options) / peak
    return {**found, "peak_gflops": peak / 1e9}


def operations_an_item(plan: Plan, mode: str = "whole", frame_step: int = 1) -> float:
    """Return the operations of the matrix products of our step, forward and backward, for one item of a batch."""
    import nussl
    import torch
    from peak import FRAMES, operations

    from nussl_transfer.networks.freezing import trainable_parameters
    from nussl_transfer.networks.targets import Targets
    from nussl_transfer.training.closures import TransferClosure

    model = network(plan).to("meta")
    optimizer = torch.optim.SGD(trainable_parameters(model, mode), 0.0)
    targets = Targets(nussl.STFTParams(*WINDOW))
    closure = TransferClosure(optimizer, model, mode, targets=targets, frame_step=frame_step, as_floats=False)
    sources = torch.empty(1, 1, (FRAMES - 1) * WINDOW[1], len(LABELS), device="meta")
    step = functools.partial(closure, None, {"mix_audio": sources.sum(-1), "source_audio": sources})
    return operations(step) * (plan.seconds * RATE / WINDOW[1] + 1) / FRAMES


def run_side(name: str, folder: Path, plan: Plan) -> dict:
    """Run one side in its own process, print its figures, and return them."""
    command = [sys.executable, __file__, "--side", name, "--folder", str(folder), "--plan", json.dumps(asdict(plan))]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    *lines, last = run.stdout.splitlines()
    found = json.loads(last)
    print("\n".join(line for line in lines if "USDT" not in line), end="\n" if lines else "")
    shown = f"{name}, one thread" if plan.threads == 1 else name
    print(
        f"{shown:34} {found['items_per_s']:8.2f} items/s, {found['ms_a_step']:7.0f} ms a step, "
        f"{100 * found['waiting_for_data']:3.0f} % waiting for data, {found['megabytes']:6.0f} MB, "
        f"{100 * found['share_of_peak']:.0f} % of {found['peak_gflops']:.0f} GFLOP/s",
        flush=True,
    )
    return found


def ratios(ours: dict, theirs: dict) -> dict:
    """Return the ratios of ours to theirs."""
    return {
        "speed_ratio": round(ours["items_per_s"] / theirs["items_per_s"], 2),
        # A process that needed more memory before training shows no growth; this happens only in the tests, where both
        # sides run in one process.
        "memory_ratio": round(ours["megabytes"] / theirs["megabytes"], 3) if theirs["megabytes"] else None,
    }


def compare(plan: Plan, sides: list[str]) -> dict:
    """Run the sides one after the other, and return the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make = [sys.executable, __file__, "--side", "stems", "--folder", name, "--plan", json.dumps(asdict(plan))]
        subprocess.run(make, check=True)
        found = {side: run_side(side, folder, plan) for side in sides}
        one_thread = ("nussl", "ours") if plan.threads > 1 and plan.device == "cpu" else ()
        one = {side: run_side(side, folder, replace(plan, threads=1)) for side in one_thread}
    theirs, ours = found["nussl"], found["ours"]
    result = {
        **ratios(ours, theirs),
        "items_per_s": round(ours["items_per_s"], 2),
        "nussl_items_per_s": round(theirs["items_per_s"], 2),
        "device": plan.device,
        "cut_beforehand": ratios(ours, found["nussl, cut beforehand"]),
        "share_of_peak": {side: round(figures["share_of_peak"], 3) for side, figures in found.items()},
        "peak_gflops": round(ours["peak_gflops"], 1),
    }
    if one:
        result["one_thread"] = ratios(one["ours"], one["nussl"])
    for side, key in (("ours, every 4th frame", "every_4th_frame"), ("ours, bfloat16", "bf16")):
        if side in found:
            result[key] = ratios(found[side], theirs)
    for side, key in (("ours, pretraining", "pretraining"), ("ours, pretraining in bfloat16", "pretraining_bf16")):
        if side in found:
            minutes = found[side]["ms_a_step"] * PRETRAINING / 60_000
            shares = {**found[side]["profile"], "waiting for data": round(found[side]["waiting_for_data"], 3)}
            result[key] = {"minutes": round(minutes, 1), "megabytes": round(found[side]["megabytes"]), "shares": shares}
    return {**result, "plan": asdict(plan)}


def plan_for(device: str, paper: bool, fast_bf16: bool) -> tuple[Plan, list[str]]:
    """Return the size and the sides that suit a device."""
    paper = paper or device == "cuda"
    sides = ["nussl", "nussl, cut beforehand", "ours", "ours, every 4th frame"]
    sides += ["ours, bfloat16"] * (paper or fast_bf16)
    sides += ["ours, pretraining", "ours, pretraining in bfloat16"] * paper
    return replace(CUDA if paper else Plan(), device=device), sides


def main() -> None:
    """Run all sides that suit the device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    parser.add_argument("--paper", action="store_true", help="run the GPU's sizes and sides on any device")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to test the script")
    parser.add_argument("--threads", type=int, help="threads of the training")
    parser.add_argument("--workers", type=int, help="worker processes of the DataLoader")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--plan", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        plan = Plan(**json.loads(given.plan))
        if given.side == "stems":
            make_stems(given.folder, plan)
        else:
            print(json.dumps(measure(given.side, given.folder, plan)))
        return
    asks = "import torch; print(torch.cuda.is_available(), torch.cpu._is_amx_tile_supported())"
    seen = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout.split()
    cuda, amx = (word == "True" for word in seen[-2:])
    plan, sides = plan_for(given.device or ("cuda" if cuda else "cpu"), given.paper, amx)
    chosen = {name: value for name, value in (("threads", given.threads), ("workers", given.workers)) if value is not None}
    print(json.dumps(compare(replace(plan, **(TINY if given.tiny else {}), **chosen), sides)))


if __name__ == "__main__":
    main()
