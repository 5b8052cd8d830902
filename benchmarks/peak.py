"""Measure the machine's peak of matrix products, and count those of a network.

The other scripts print how much of this peak they reach: the float32 operations of their matrix products, divided by their
time and by the speed of large square products, which is measured in the same run with the same number of threads. A
multiplication and an addition are two operations. Fourier transforms, activations and reading are not counted, though they
take time. Overlaps of chunks are not counted either.

As a script, print the peak for one thread and for all. The last line is JSON: GFLOP/s by number of threads.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

SIZE = 2048  # rows and columns of the square matrices
FRAMES = 16  # on the meta device, torch decomposes recurrent layers into single steps


def gemm_peak(threads: int, device: str = "cpu", seconds: float = 1.0, size: int = SIZE) -> float:
    """Return the operations a second of a product of square float32 matrices, the median of several.

    Args:
        threads: Threads of the product on a CPU.
        device: Where to multiply.
        seconds: How long to repeat the product.
        size: Rows and columns of the matrices.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    left, right = torch.rand(2, size, size, device=device)
    out, taken = torch.mm(left, right), []
    ends = time.perf_counter() + seconds
    while not taken or time.perf_counter() < ends:
        wait()
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        wait()
        taken.append(time.perf_counter() - started)
    torch.set_num_threads(before)
    return 2 * size**3 / statistics.median(taken)


def operations(work: Callable[[], object]) -> int:
    """Return the operations of the matrix products in some work, which should run on the meta device.

    On a CPU, torch runs a recurrent layer as one operation, which its counter does not know.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def operations_a_frame(model: torch.nn.Module, outputs: Sequence[str] = ("mask",)) -> float:
    """Return the operations of a ChimeraNet's matrix products for one frame of some outputs, forward only."""
    from nussl_transfer.networks.forward import forward

    model = copy.deepcopy(model).to("meta").eval()
    head = model.layers["mask"]
    magnitude = torch.empty(1, FRAMES, head.num_features, head.num_audio_channels, device="meta")
    with torch.no_grad():
        return operations(lambda: forward(model, {"mix_magnitude": magnitude}, outputs)) / FRAMES


def main() -> None:
    """Print the peak for one thread and for all."""
    peaks = {threads: gemm_peak(threads) for threads in sorted({1, torch.get_num_threads()})}
    for threads, peak in peaks.items():
        print(f"{threads} threads: {peak / 1e9:.0f} GFLOP/s")
    print(json.dumps({str(threads): round(peak / 1e9, 1) for threads, peak in peaks.items()}))


if __name__ == "__main__":
    main()
