"""Score 1,000 excerpts with `score`, and with nussl's `DeepMaskEstimation` and `BSSEvalScale`, each in its own process.

The network and the excerpts are those of the study's small size: 2 x 128 units, random weights, three masks, STFT 512/256,
2 s at 16 kHz. The stems are synthetic, each track at another level. A measurement starts with opening the checkpoint and
goes from stems on disk to scores.

ours     `score`: SI-SDR and its improvement over the mixture, for every excerpt and source
nussl    as in its documentation: one separator gets one `AudioSignal` after the other, the sum of the stems, read with
         nussl's own offset and duration; one `BSSEvalScale` for each also scores the mixture. SI-SIR and SI-SAR are
         switched off, because ours does not compute them

Both use the same device and number of threads and take turns, three times; times are medians. The last line is JSON:
``speed_ratio`` (nussl's time over ours), ``ratios`` (of each round), ``share_of_peak`` (of the machine's matrix products,
`peak.py`; nussl's embedding is not counted), ``peak_gflops``, and ``max_difference_db`` (of all SI-SDR values and
improvements). ``--quick`` runs a tiny network on 16 excerpts once, to test the script.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from peak import gemm_peak, operations_a_frame

import nussl_transfer  # noqa: F401  isort: skip
import nussl

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.evaluation.estimators import MIXTURE
from nussl_transfer.evaluation.excerpts import MixtureExcerpt, make_excerpts
from nussl_transfer.evaluation.score import score
from nussl_transfer.networks.chimera import build_transfer_chimera
from nussl_transfer.store.store import Store, StoreWriter

LABELS, RATE, STFT = ("bass", "drums", "vocals"), 16000, nussl.STFTParams(512, 256, "sqrt_hann")
TRACKS, SECONDS, HOP = 8, 2.0, 0.5  # tracks; length and hop of the excerpts
SMALL = {"hidden_size": 128, "num_layers": 2}
QUICK = {"hidden_size": 8, "num_layers": 1, "embedding_size": 4}


def network(sizes: dict[str, int]) -> nussl.ml.SeparationModel:
    """Return a network with random weights."""
    torch.manual_seed(0)
    return nussl.ml.SeparationModel(build_transfer_chimera(len(LABELS), **sizes))


def write_inputs(folder: Path, excerpts: int, sizes: dict[str, int]) -> None:
    """Write a store with the given number of excerpts, and a checkpoint."""
    generator = np.random.default_rng(0)
    samples = int((SECONDS + HOP * (excerpts // TRACKS - 1)) * RATE)
    writer = StoreWriter(folder / "store", RATE)
    for number in range(TRACKS):
        level = 0.5 * 0.6**number  # the last one 31 dB below the first
        writer.add(f"track {number}", "test", {label: level * stem(generator, samples) for label in LABELS})
    writer.close()
    write_checkpoint(folder / "model.pth", network(sizes), CheckpointInfo(LABELS, "whole", RATE, STFT))


def stem(generator: np.random.Generator, samples: int) -> np.ndarray:
    """Return a tone with a varying pitch and some noise."""
    pitch = generator.uniform(60, 2000) * 2 ** (np.cumsum(generator.normal(0, 1, samples)) / 4000)
    return np.sin(2 * np.pi * np.cumsum(pitch) / RATE) / 2 + generator.normal(0, 0.05, samples)


def score_ours(folder: Path, excerpts: Sequence[MixtureExcerpt], device: str) -> np.ndarray:
    """Return SI-SDR and improvement [excerpts, ns, 2] in dB."""
    rows = score(folder / "model.pth", Store(folder / "store"), excerpts, device=device, progress=False)
    return np.array([[row["si_sdr"], row["improvement"]] for row in rows]).reshape(len(excerpts), -1, 2)


def read_ours(folder: Path, excerpts: Sequence[MixtureExcerpt], device: str) -> np.ndarray:
    """Return the mixture's SI-SDR, to time reading, copying and measuring without a network."""
    return np.array([row["si_sdr"] for row in score(MIXTURE, Store(folder / "store"), excerpts, device=device)])


def score_nussl(folder: Path, excerpts: Sequence[MixtureExcerpt], device: str) -> np.ndarray:
    """Return SI-SDR and improvement [excerpts, ns, 2] in dB."""
    found = []
    separator = nussl.separation.deep.DeepMaskEstimation(nussl.AudioSignal(), str(folder / "model.pth"), device=device)
    for excerpt in excerpts:
        references = []
        for source in excerpt.sources:
            file = folder / "store" / source.track.stems[source.label].file
            part = {"offset": source.start / RATE, "duration": source.frames / RATE}
            references.append(nussl.AudioSignal(str(file), **part))
        separator.audio_signal = sum(references[1:], references[0])
        evaluator = nussl.evaluation.BSSEvalScale(
            references, separator(), source_labels=list(LABELS), compute_sir_sar=False
        )
        scores = evaluator.evaluate()
        found.append([[scores[label][name][0] for name in ("SI-SDR", "SI-SDRi")] for label in LABELS])
    return np.array(found)


WAYS = {"ours": score_ours, "nussl": score_nussl, "ours, no network": read_ours}


def measure(
    name: str, folder: Path, excerpts: Sequence[MixtureExcerpt], device: str, threads: int
) -> tuple[float, np.ndarray]:
    """Return the scores, and the seconds that scoring takes in its own process."""
    fork = multiprocessing.get_context("fork")  # the child has all imports; nothing has been computed yet
    ours, theirs = fork.Pipe(duplex=False)

    def run() -> None:
        warnings.simplefilter("ignore")  # nussl warns of a separator without audio
        torch.set_num_threads(threads)
        torch.zeros(1, device=device)  # a GPU takes a second to initialise
        started = time.perf_counter()
        scores = WAYS[name](folder, excerpts, device)
        theirs.send((time.perf_counter() - started, scores))

    process = fork.Process(target=run)
    process.start()
    theirs.close()
    try:
        seconds, scores = ours.recv()
    except EOFError:
        process.join()
        raise SystemExit(f"{name} ended with status {process.exitcode}.") from None
    process.join()
    print(f"{name:18} {seconds:7.2f} s, {1000 * seconds / len(excerpts):6.2f} ms an excerpt", flush=True)
    return seconds, scores


def main() -> None:
    """Measure ours and nussl's, one after the other, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny network and 16 excerpts")
    parser.add_argument("--excerpts", type=int, default=1000, help="number of excerpts, a multiple of 8")
    parser.add_argument("--rounds", type=int, default=3, help="number of measurements of each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    settings = parser.parse_args()
    count, sizes, rounds = (16, QUICK, 1) if settings.quick else (settings.excerpts, SMALL, settings.rounds)
    if count < TRACKS or count % TRACKS:
        parser.error(f"--excerpts is wrong: got {count}, expected a multiple of {TRACKS}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fork = multiprocessing.get_context("fork")
        writer = fork.Process(target=write_inputs, args=(folder, count, sizes))
        writer.start()  # in its own process: one that has run threads should not be forked
        writer.join()
        excerpts = make_excerpts(Store(folder / "store"), SECONDS, hop=HOP)
        found = [
            {way: measure(way, folder, excerpts, settings.device, settings.threads) for way in WAYS} for _ in range(rounds)
        ]
    seconds = {way: [one[way][0] for one in found] for way in WAYS}
    ours, theirs, reading = (statistics.median(seconds[way]) for way in WAYS)
    peak = gemm_peak(settings.threads, settings.device)
    frames = int(SECONDS * RATE) // STFT.hop_length + 1
    least = len(excerpts) * frames * operations_a_frame(network(sizes)) / peak  # seconds, at the peak
    for name, taken in (("ours", ours), ("nussl", theirs)):
        print(f"{name} reaches {100 * least / taken:.0f} % of {peak / 1e9:.0f} GFLOP/s")
    our_scores, their_scores = found[0]["ours"][1], found[0]["nussl"][1]
    figures = {
        "speed_ratio": round(theirs / ours, 2),
        "ratios": [round(nussls / own, 2) for own, nussls in zip(seconds["ours"], seconds["nussl"], strict=True)],
        "share_of_peak": {"ours": round(least / ours, 3), "nussl": round(least / theirs, 3)},
        "peak_gflops": round(peak / 1e9, 1),
        "max_difference_db": float(f"{np.abs(our_scores - their_scores).max():.2g}"),
        "excerpts": len(excerpts),
        "seconds": {"ours": round(ours, 2), "nussl": round(theirs, 2), "ours_without_network": round(reading, 2)},
        "mean_si_sdr": round(float(our_scores[..., 0].mean()), 4),
        "device": settings.device,
        "threads": settings.threads,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
