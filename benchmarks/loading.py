"""Compare how many mixtures a second the store, nussl's MixSourceFolder and its OnTheFly give on the same stems.

The measurements use one process and one thread. Tracks last four minutes (the mean of MUSDB18) and have four stems of noise
and tones at 16 kHz; mixtures last ten seconds; everything is in the page cache. For one item,

* ours draws an excerpt, reads ten seconds of each stem by seek, and sums them. In training, the spectra are computed later,
  for a whole batch, on the device. For a fair comparison, one line also computes ``Targets`` of each item here.
* ``MixSourceFolder``, as in nussl's tutorial, reads whole mixtures and stems, computes all spectra
  (``MagnitudeSpectrumApproximation``, ``MagnitudeWeights``, ``ToSeparationModel``), then takes ``GetExcerpt``.
* ``OnTheFly``, the fastest way in nussl, calls a closure that reads ten seconds of each stem with
  ``AudioSignal(offset, duration)`` and sums them; then it computes the same spectra.
* augmented: ours, with each stem shifted by up to 3 semitones and stretched to a tempo of 0.8 to 1.2.

A second part loads whole batches of eight with worker processes, up to one a core, as training does. The last line is
JSON: ``vs_nussl_folder`` and ``vs_nussl_onthefly`` (their time over ours), the same ``_with_spectra``, ``mixtures_per_s``,
``augmented_per_s``, ``augmented_incoherent_per_s`` and ``workers``: plain and augmented mixtures a second for each number
of processes.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from threadpoolctl import threadpool_limits

import nussl_transfer  # noqa: F401  before nussl

import nussl  # isort: skip

from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.networks.chimera import PAPER
from nussl_transfer.networks.targets import Targets
from nussl_transfer.store.store import Store, StoreWriter

RATE, SECONDS, MINUTES, TRACKS = 16000, 10.0, 4.0, 3
LABELS = ("bass", "drums", "other", "vocals")
CHANGES = {"pitch": (-3.0, 3.0), "stretch": (0.8, 1.2)}
STFT = nussl.STFTParams(PAPER.window_length, PAPER.hop_length, PAPER.window_type)
FRAMES = int(SECONDS * RATE / PAPER.hop_length)
BATCH = 8


def make_stems(folder: Path) -> Store:
    """Write the same stems as a store, and as nussl's folder of mixtures and sources."""
    rng = np.random.default_rng(0)
    writer = StoreWriter(folder / "store", RATE)
    samples = round(MINUTES * 60 * RATE)
    for number in range(TRACKS):
        clock = np.arange(samples) / RATE
        tones = {label: 0.1 * np.sin(2 * np.pi * rng.uniform(80, 2000) * clock) for label in LABELS}
        stems = {label: (tone + 0.02 * rng.standard_normal(samples)).astype("f4") for label, tone in tones.items()}
        writer.add(f"track {number}", None, stems)
        for name, audio in {"mix": sum(stems.values()), **stems}.items():
            (folder / "nussl" / name).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / "nussl" / name / f"track {number}.wav", audio, RATE, subtype="FLOAT")
    return writer.close()


def with_spectra(hook: Callable, *args: object, excerpt: bool, **options: object) -> nussl.datasets.BaseDataset:
    """Return one of nussl's data sets with the transforms for training a ChimeraNet."""
    steps = [
        nussl.datasets.transforms.MagnitudeSpectrumApproximation(),
        nussl.datasets.transforms.MagnitudeWeights(),
        nussl.datasets.transforms.ToSeparationModel(),
    ]
    if excerpt:
        steps.append(nussl.datasets.transforms.GetExcerpt(FRAMES))
    transform = nussl.datasets.transforms.Compose(steps)
    return hook(*args, transform=transform, sample_rate=RATE, stft_params=STFT, **options)


def read_and_sum(folder: Path) -> Callable:
    """Return a closure for OnTheFly: ten seconds of one track, each stem read by nussl."""
    rng = np.random.default_rng(0)

    def mix(dataset: nussl.datasets.BaseDataset, index: int) -> dict:
        track, start = int(rng.integers(TRACKS)), float(rng.uniform(0, MINUTES * 60 - SECONDS))
        sources = {}
        for label in LABELS:
            path = str(folder / "nussl" / label / f"track {track}.wav")
            signal = nussl.AudioSignal(path, offset=start, duration=SECONDS, stft_params=STFT)
            sources[label] = signal
        return {"mix": sum(sources.values()), "sources": sources, "metadata": {"labels": list(LABELS)}}

    return mix


def seconds_an_item(item: Callable[[int], object], repeats: int) -> float:
    """Return the median seconds for an item, after one warm-up item."""
    item(0)
    taken = []
    for index in range(1, repeats + 1):
        started = time.perf_counter()
        item(index)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def with_workers(mixtures: Mixtures, workers: int, batches: int) -> float:
    """Return the mixtures a second that worker processes give, after the first batch of each."""
    loader = torch.utils.data.DataLoader(mixtures, BATCH, sampler=range(BATCH * (batches + workers)), num_workers=workers)
    arriving = iter(loader)
    for _ in range(workers):  # every process has started when each has returned a batch
        next(arriving)
    started = time.perf_counter()
    count = sum(len(batch["index"]) for batch in arriving)
    return count / (time.perf_counter() - started)


def main() -> None:
    """Measure; print a table and the line of JSON."""
    warnings.simplefilter("ignore")
    threadpool_limits(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = make_stems(folder)
        plain = Mixtures(store, MixtureConfig(SECONDS, coherent=1.0), 10_000)
        augmented = Mixtures(store, MixtureConfig(SECONDS, coherent=1.0, **CHANGES), 10_000)
        incoherent = Mixtures(store, MixtureConfig(SECONDS, coherent=0.0, **CHANGES), 10_000)
        targets = Targets(STFT)
        batched = lambda item: {key: value[None] for key, value in item.items() if key != "index"}  # noqa: E731
        whole = with_spectra(nussl.datasets.MixSourceFolder, str(folder / "nussl"), excerpt=True)
        flying = with_spectra(nussl.datasets.OnTheFly, read_and_sum(folder), 10_000, excerpt=False)
        measured = {
            "ours": seconds_an_item(plain.__getitem__, 60),
            "ours, with spectra": seconds_an_item(lambda index: targets(batched(plain[index])), 30),
            "ours, pitch and stretch": seconds_an_item(augmented.__getitem__, 30),
            "the same, incoherent": seconds_an_item(incoherent.__getitem__, 30),
            "nussl OnTheFly, with spectra": seconds_an_item(flying.__getitem__, 30),
            "nussl MixSourceFolder, with spectra": seconds_an_item(lambda index: whole[index % TRACKS], 5),
        }
        for what, seconds in measured.items():
            print(f"{what:36} {1000 * seconds:9.2f} ms  {1 / seconds:8.1f} mixtures a second")
        counts = [count for count in (1, 2, 4, 8, 16) if count <= (os.cpu_count() or 1)]
        workers = {}
        for count in counts:
            rates = with_workers(plain, count, 40 * count), with_workers(augmented, count, 3 * count)
            workers[count] = {"plain": round(rates[0], 1), "augmented": round(rates[1], 1)}
            print(f"{count} worker processes: {rates[0]:8.1f} mixtures a second, augmented {rates[1]:8.1f}")
    ours, spectra, changed, apart, onthefly, folder_time = measured.values()
    found = {
        "vs_nussl_folder": round(folder_time / ours, 1),
        "vs_nussl_onthefly": round(onthefly / ours, 1),
        "vs_nussl_folder_with_spectra": round(folder_time / spectra, 1),
        "vs_nussl_onthefly_with_spectra": round(onthefly / spectra, 1),
        "mixtures_per_s": round(1 / ours, 1),
        "augmented_per_s": round(1 / changed, 2),
        "augmented_incoherent_per_s": round(1 / apart, 2),
        "workers": workers,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
