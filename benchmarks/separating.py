"""Separating files: ours beside nussl's `DeepMaskEstimation`, alone and inside `OverlapAdd`, each in its own process.

The paper's network (4 x 500 BLSTM, D = 20, four masks) with random weights, mono at 16 kHz. A measurement goes from a
file to files: the checkpoint is opened, the audio read, separated and written; ours is the command `separate`. Memory is
the peak of the process, and, after "above", how far that is above what it took when torch and nussl had been imported:
some 400 MB, which are the same for all. nussl is not asked for the hour: it would take some 26 GB.

The last line is JSON: ``speed_ratio_300`` (nussl's time over ours), ``memory_ratio_300`` (our memory over nussl's, above
the imports) and ``process_ratio_300`` (with the imports), ``rss_mb_300`` and ``rss_mb_3600`` (of our process, with the
imports), ``rtf_300`` (seconds of audio that ours separates in a second), and all that was measured. ``--quick`` takes a
tiny network and seconds instead of minutes, to see that the script runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

import nussl_transfer  # noqa: F401  isort: skip
import nussl

from nussl_transfer import cli, separators  # noqa: F401  the command imports the separators when it is given
from nussl_transfer.builders import PAPER, build_transfer_chimera
from nussl_transfer.checkpoints import CheckpointInfo, write_checkpoint

LABELS, THREADS = ("alto", "bass", "soprano", "tenor"), 2
LENGTHS = (60, 300, 3600)  # seconds
LONGEST_OF_NUSSL = 300


def write_inputs(folder: Path, lengths: tuple[int, ...], **sizes: int) -> None:
    """Writes a checkpoint, and noise of each length."""
    torch.manual_seed(0)
    model = nussl.ml.SeparationModel(build_transfer_chimera(len(LABELS), **sizes))
    stft_params = nussl.STFTParams(PAPER.window_length, PAPER.hop_length, PAPER.window_type)
    write_checkpoint(folder / "model.pth", model, CheckpointInfo(LABELS, "whole", PAPER.sample_rate, stft_params))
    noise = np.random.default_rng(0).normal(0, 0.1, PAPER.sample_rate)
    for seconds in lengths:
        with soundfile.SoundFile(folder / f"{seconds}.wav", "w", PAPER.sample_rate, 1, "PCM_16") as file:
            for _ in range(seconds):
                file.write(noise)


def separate_ours(audio: Path, model: Path, out: Path) -> None:
    """Separates block by block, as the command line does."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = cli.main(["separate", str(audio), "--model", str(model), "--out", str(out)])
    if status:
        raise SystemExit(status)


def separate_nussl(audio: Path, model: Path, out: Path) -> None:
    """Separates the whole signal at once."""
    estimates = nussl.separation.deep.DeepMaskEstimation(nussl.AudioSignal(str(audio)), str(model))()
    write_estimates(estimates, out)


def separate_overlap_add(audio: Path, model: Path, out: Path) -> None:
    """Separates windows of what the network was trained on, one after the other, and adds them up."""
    separator = nussl.separation.deep.DeepMaskEstimation(nussl.AudioSignal(str(audio)), str(model))
    overlapping = nussl.separation.composite.OverlapAdd(separator, window_duration=PAPER.excerpt_seconds)
    write_estimates(overlapping(), out)


def write_estimates(estimates: list[nussl.AudioSignal], out: Path) -> None:
    """Writes estimates as nussl's users do."""
    out.mkdir()
    for label, estimate in zip(LABELS, estimates, strict=True):
        estimate.write_audio_to_file(str(out / f"{label}.wav"))


SEPARATORS = {"ours": separate_ours, "nussl": separate_nussl, "nussl, OverlapAdd": separate_overlap_add}


def measure(name: str, folder: Path, seconds: int, threads: int = THREADS) -> dict | None:
    """Returns the seconds and megabytes that a separation takes in a process of its own; None where it was killed."""
    fork = multiprocessing.get_context("fork")  # with nothing computed yet: what is imported is there
    ours, theirs = fork.Pipe(duplex=False)

    def run() -> None:
        torch.set_num_threads(threads)
        with tempfile.TemporaryDirectory(dir=folder) as out:
            imported = resident_megabytes()
            started = time.perf_counter()
            SEPARATORS[name](folder / f"{seconds}.wav", folder / "model.pth", Path(out) / "estimates")
            elapsed = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        theirs.send((elapsed, peak, peak - imported))

    process = fork.Process(target=run)
    process.start()
    theirs.close()
    try:
        elapsed, megabytes, above = ours.recv()
    except EOFError:
        elapsed = None
    process.join()
    if elapsed is None:
        print(f"{name:18} {seconds:5} s: ended with status {process.exitcode}", flush=True)
        return None
    rate = seconds / elapsed
    taken = f"{elapsed:7.2f} s, {rate:6.1f} times real time, {megabytes:6.0f} MB, above {above:6.0f} MB"
    print(f"{name:18} {seconds:5} s: {taken}", flush=True)
    figures = {"seconds": round(elapsed, 2), "megabytes": round(megabytes), "megabytes_above": round(above)}
    return {"name": name, "audio_seconds": seconds, **figures}


def resident_megabytes() -> float:
    """Returns the memory that this process takes now."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    """Measures one after the other and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny network and 3, 15 and 60 seconds, nussl's 15 alone")
    parser.add_argument("--lengths", default="", help="seconds, three of them in place of 60,300,3600")
    settings = parser.parse_args()
    sizes = {"hidden_size": 8, "num_layers": 1, "embedding_size": 4} if settings.quick else {}
    short, middle, long = (15, 15, 60) if settings.quick else LENGTHS
    threads = 1 if settings.quick else THREADS
    if settings.lengths:
        short, middle, long = map(int, settings.lengths.split(","))
    lengths = tuple(dict.fromkeys((short, middle, long)))
    with tempfile.TemporaryDirectory() as folder:
        fork = multiprocessing.get_context("fork")
        writer = fork.Process(target=write_inputs, args=(Path(folder), lengths), kwargs=sizes)
        writer.start()  # apart, so that nothing of it is in the memory that is measured
        writer.join()
        found = {
            (name, seconds): measure(name, Path(folder), seconds, threads)
            for name in SEPARATORS
            for seconds in lengths
            if name == "ours" or seconds <= middle
        }
    ours, theirs = found["ours", middle], found["nussl", middle]
    figures = {
        "speed_ratio_300": round(theirs["seconds"] / ours["seconds"], 2) if theirs else None,
        "memory_ratio_300": round(ours["megabytes_above"] / theirs["megabytes_above"], 3) if theirs else None,
        "process_ratio_300": round(ours["megabytes"] / theirs["megabytes"], 3) if theirs else None,
        "rss_mb_300": ours["megabytes"],
        "rss_mb_3600": found["ours", long]["megabytes"],
        "rtf_300": round(middle / ours["seconds"], 1),
        "measured": [row for row in found.values() if row],
        "lengths": [short, middle, long],
        "threads": threads,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
