"""Compare nussl's deep clustering loss with ours, forward and backward, each in its own process.

Peak memory is that of the process minus its inputs. The last line is JSON: ``speed_ratio`` (nussl's time over ours),
``memory_ratio`` (our memory over nussl's), ``share_of_peak`` (of the machine's matrix products, see `peak.py`, with the
operations that each side itself computes), ``peak_gflops``, and the conditions of the measurement.
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SHAPE = (24, 1250, 257, 20)  # nb, nt, nf, D: the paper's batch of ten seconds
SOURCES, REPEATS, THREADS = 4, 3, 2
COPIES = 12  # copies of the embedding that must fit into free memory; otherwise the batch is halved


def shape_that_fits() -> tuple[int, ...]:
    """Return the paper's shape, or one with fewer items when there is too little memory."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    nb = SHAPE[0]
    while nb > 1 and 4 * nb * math.prod(SHAPE[1:]) * COPIES > available:
        nb //= 2
    return (nb, *SHAPE[1:])


def make_inputs(shape: tuple[int, ...], device: str = "cpu") -> tuple:
    """Return an embedding, assignments and weights."""
    import torch

    nb, nt, nf, size = shape
    embedding = torch.nn.functional.normalize(torch.randn(nb, nt, nf, 1, size, device=device), dim=-1).requires_grad_()
    sources = torch.randint(SOURCES, (nb, nt, nf, 1), device=device)
    assignments = (sources[..., None] == torch.arange(SOURCES, device=device)).float()
    return embedding, assignments, torch.rand(nb, nt, nf, 1, device=device)


def operations_of(name: str, shape: tuple[int, ...]) -> float:
    """Return the operations of the matrix products in a step of one loss, forward and backward."""
    import nussl_transfer  # noqa: F401  isort: skip
    import nussl
    from peak import operations

    frames = 10
    loss = getattr(nussl.ml.train.loss, name)()
    work = operations(lambda: loss(*make_inputs((1, frames, *shape[2:]), "meta")).backward())
    return work * shape[0] * shape[1] / frames


def measure(name: str, shape: tuple[int, ...]) -> dict:
    """Return the median seconds of a step of one loss, and its memory beyond the inputs in megabytes."""
    import nussl_transfer  # noqa: F401  isort: skip
    import nussl
    import torch
    from peak import gemm_peak

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    embedding, assignments, weights = make_inputs(shape)
    embedding.grad = torch.zeros_like(embedding)  # both losses need memory for the gradient
    loss = getattr(nussl.ml.train.loss, name)()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        value = loss(embedding, assignments, weights)
        value.backward()
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken, machine = statistics.median(seconds), gemm_peak(THREADS)
    return {
        "seconds": taken,
        "megabytes": (peak - before) / 1024,
        "loss": value.item(),
        "share": operations_of(name, shape) / taken / machine,
        "peak_gflops": machine / 1e9,
    }


def main() -> None:
    """Measure both losses, one after the other, and print the ratios."""
    found, shape = {}, shape_that_fits()
    for name in ("DeepClusteringLoss", "GramDeepClusteringLoss"):
        command = [sys.executable, __file__, name, json.dumps(shape)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[name] = json.loads(run.stdout.splitlines()[-1])
        print(
            f"{name:24} {found[name]['seconds']:.3f} s, {found[name]['megabytes']:.0f} MB, {found[name]['loss']:.6f}, "
            f"{100 * found[name]['share']:.0f} % of {found[name]['peak_gflops']:.0f} GFLOP/s"
        )
    theirs, ours = found.values()
    ratios = {
        "speed_ratio": round(theirs["seconds"] / ours["seconds"], 2),
        "memory_ratio": round(ours["megabytes"] / theirs["megabytes"], 3),
        "share_of_peak": {"nussl": round(theirs["share"], 3), "ours": round(ours["share"], 3)},
        "peak_gflops": round(ours["peak_gflops"], 1),
        "shape": shape,
        "threads": THREADS,
    }
    print(json.dumps(ratios))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]))))
    else:
        main()
