"""Compare `separate` with nussl's `DeepMaskEstimation`, alone and inside `OverlapAdd`, and with HTDemucs for scale.

The network is the paper's (4 x 500 BLSTM, D = 20, four masks) with random weights, for mono at 16 kHz. Each measurement is
its own process: it opens the checkpoint, reads a file, separates it and writes the stems. Ours is the command `separate`.
The time is that of the separation, after importing torch, nussl and the command (the time for that is "imports"). The
memory is the peak of the whole process with all imports, as the system counts it (VmHWM). Repeated measurements give the
median of the times and of the peaks. nussl is not measured on an hour of audio, which would take about 26 GB. nussl runs
with this package's patches, and without the imports that it does not need, as in ours; unpatched, it would take about
140 MB more.

HTDemucs only gives a sense of scale, because it separates stereo at 44.1 kHz. It is measured on a minute of that if pip's
`demucs` is installed (``--demucs-python`` names its Python), by `demucs.apply.apply_model` with its defaults: one shift and
a quarter overlap. The network has the layout of the released `htdemucs` (42 million weights: ``bottom_channels=512``,
``dconv_mode=3``, segments of 7.8 s) and random weights, which change neither time nor memory: nothing is downloaded.

Each line also shows the share of the machine's peak of matrix products (`peak.py`). It counts what the paper's network
computes for the masks, once for each frame. nussl computes the embedding too, which is not counted.

The last line is JSON: ``speed_ratio_300`` (nussl's time over ours), ``memory_ratio_300`` (our peak over nussl's),
``share_of_peak_300`` (for ours), ``peak_gflops``,
``rss_mb_300`` and ``rss_mb_3600`` (our peaks), ``rtf_300`` (seconds of audio that ours separates in a second), and all
measurements. The run takes about eight minutes on two cores, three of them for the hour of audio. ``--quick`` takes a tiny
network and seconds of audio instead of minutes, to test the script.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LABELS, THREADS = ("alto", "bass", "soprano", "tenor"), 2
LENGTHS = (60, 300, 3600)  # seconds
REPEATS = 3  # measurements of the middle length
RATE_OF_DEMUCS = 44100
TINY = {"hidden_size": 8, "num_layers": 1, "embedding_size": 4}


def write_inputs(folder: Path, lengths: tuple[int, ...], **sizes: int) -> float:
    """Write a checkpoint, and noise of each length; return the operations of the masks of a second of audio."""
    import nussl_transfer  # noqa: F401  isort: skip
    import numpy as np
    import nussl
    import soundfile
    import torch
    from peak import operations_a_frame

    from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
    from nussl_transfer.networks.chimera import PAPER, build_transfer_chimera

    torch.manual_seed(0)
    model = nussl.ml.SeparationModel(build_transfer_chimera(len(LABELS), **sizes))
    stft_params = nussl.STFTParams(PAPER.window_length, PAPER.hop_length, PAPER.window_type)
    write_checkpoint(folder / "model.pth", model, CheckpointInfo(LABELS, "whole", PAPER.sample_rate, stft_params))
    noise = np.random.default_rng(0).normal(0, 0.1, PAPER.sample_rate)
    for seconds in lengths:
        with soundfile.SoundFile(folder / f"{seconds}.wav", "w", PAPER.sample_rate, 1, "PCM_16") as file:
            for _ in range(seconds):
                file.write(noise)
    return operations_a_frame(model) * PAPER.sample_rate / PAPER.hop_length


def separate_ours(audio: Path, model: Path, out: Path) -> None:
    """Separate block by block, as the command line does."""
    from nussl_transfer import cli

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = cli.main(["separate", str(audio), "--model", str(model), "--out", str(out)])
    if status:
        raise SystemExit(status)


def separate_nussl(audio: Path, model: Path, out: Path) -> None:
    """Separate the whole signal at once."""
    import nussl

    estimates = nussl.separation.deep.DeepMaskEstimation(nussl.AudioSignal(str(audio)), str(model))()
    write_estimates(estimates, out)


def separate_overlap_add(audio: Path, model: Path, out: Path) -> None:
    """Separate overlapping windows of the training length, one after the other, and add them up."""
    import nussl

    separator = nussl.separation.deep.DeepMaskEstimation(nussl.AudioSignal(str(audio)), str(model))
    write_estimates(nussl.separation.composite.OverlapAdd(separator, window_duration=10.0)(), out)


def write_estimates(estimates: list, out: Path) -> None:
    """Write estimates with nussl's own method."""
    out.mkdir()
    for label, estimate in zip(LABELS, estimates, strict=True):
        estimate.write_audio_to_file(str(out / f"{label}.wav"))


def separate_htdemucs(audio: Path, model: Path, out: Path) -> None:
    """Separate the given seconds of stereo noise at 44.1 kHz with the released layout and random weights."""
    import torch
    from demucs.apply import apply_model
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(0)
    network = HTDemucs(["drums", "bass", "other", "vocals"], bottom_channels=512, dconv_mode=3, segment=7.8).eval()
    estimates = apply_model(network, torch.randn(1, 2, int(audio.stem) * RATE_OF_DEMUCS))[0]  # [ns, 2, samples]
    out.mkdir()
    for number, estimate in enumerate(estimates):
        (out / f"{number}.raw").write_bytes(estimate.numpy().tobytes())


SEPARATORS = {
    "ours": separate_ours,
    "nussl": separate_nussl,
    "nussl, OverlapAdd": separate_overlap_add,
    "HTDemucs": separate_htdemucs,
}


def run_here(name: str, audio: Path, model: Path, threads: int) -> None:
    """Separate in this process, and print its time and memory."""
    started = time.perf_counter()
    import torch

    torch.set_num_threads(threads)
    if name == "HTDemucs":
        import demucs.apply
        import demucs.htdemucs  # noqa: F401
    else:
        import nussl_transfer.cli  # noqa: F401  isort: skip
        import nussl

        if name != "ours":
            _ = nussl.core.audio_signal.librosa.load  # nussl's audio reader, imported before the time starts

    imported = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=audio.parent) as out:
        SEPARATORS[name](audio, model, Path(out) / "estimates")
    done = time.perf_counter()
    figures = {"seconds": done - imported, "imports": imported - started, "megabytes": peak_megabytes()}
    print(json.dumps(figures))


def peak_megabytes() -> float:
    """Return the peak memory of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, on macOS


def measure(
    name: str,
    folder: Path,
    seconds: int,
    threads: int,
    full: float | None = None,
    python: str = sys.executable,
    times: int = 1,
) -> dict | None:
    """Return time and memory of a separation in its own process, the median of several; None if one failed.

    Args:
        name: Which of `SEPARATORS`.
        folder: Where the inputs are.
        seconds: Length of the audio.
        threads: Threads of torch.
        full: Seconds of audio a second that the network would take at the machine's peak; None if that is unknown.
        python: The Python that runs it.
        times: Number of measurements.
    """
    words = [python, __file__, "--one", name, str(folder / f"{seconds}.wav"), str(folder / "model.pth"), str(threads)]
    found = []
    for _ in range(times):
        ended = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        if ended.returncode:
            why = (ended.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"{name:18} {seconds:5} s: ended with status {ended.returncode} ({why})", flush=True)
            return None
        found.append(json.loads(ended.stdout.splitlines()[-1]))
    middle = {key: statistics.median(figures[key] for figures in found) for key in found[0]}
    peaks = [round(figures["megabytes"]) for figures in found]
    among = f" (of {', '.join(map(str, sorted(peaks)))})" if times > 1 else ""
    rate = seconds / middle["seconds"]
    share = "" if full is None else f"{100 * rate / full:3.0f} % of the peak, "
    print(
        f"{name:18} {seconds:5} s: {middle['seconds']:7.2f} s, {rate:6.1f} times real time, {share}"
        f"{middle['megabytes']:6.0f} MB{among}, imports {middle['imports']:.1f} s",
        flush=True,
    )
    rounded = {"seconds": round(middle["seconds"], 2), "imports": round(middle["imports"], 2)}
    rounded |= {"megabytes": round(middle["megabytes"]), "all_megabytes": peaks}
    if full is not None:
        rounded["share_of_peak"] = round(rate / full, 3)
    return {"name": name, "audio_seconds": seconds, **rounded}


def can_import_demucs(python: str) -> bool:
    """Return whether a Python has pip's demucs."""
    try:
        return not subprocess.run([python, "-c", "import demucs.htdemucs"], capture_output=True).returncode
    except OSError:
        return False


def main() -> None:
    """Measure all separators, one after the other, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny network and 15 and 60 seconds, nussl's 15 alone")
    parser.add_argument("--lengths", default="", help="three lengths in seconds instead of 60,300,3600")
    parser.add_argument("--demucs-python", default=sys.executable, help="a Python that can import demucs")
    parser.add_argument("--one", nargs=4, metavar=("NAME", "AUDIO", "MODEL", "THREADS"), help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.one:
        name, audio, model, threads = settings.one
        return run_here(name, Path(audio), Path(model), int(threads))
    from peak import gemm_peak  # imports torch, which HTDemucs' Python may have in another version

    short, middle, long = (15, 15, 60) if settings.quick else LENGTHS
    if settings.lengths:
        short, middle, long = map(int, settings.lengths.split(","))
    lengths, threads = tuple(dict.fromkeys((short, middle, long))), 1 if settings.quick else THREADS
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        operations = write_inputs(folder, lengths, **(TINY if settings.quick else {}))  # a second of audio
        peak = gemm_peak(threads)
        found = {}
        for name in ("ours", "nussl", "nussl, OverlapAdd"):
            for seconds in lengths:
                if name == "ours" or seconds <= middle:
                    often = REPEATS if seconds == middle and name != "nussl, OverlapAdd" and not settings.quick else 1
                    found[name, seconds] = measure(name, folder, seconds, threads, peak / operations, times=often)
        if can_import_demucs(settings.demucs_python):
            found["HTDemucs", short] = measure("HTDemucs", folder, short, threads, python=settings.demucs_python)
        else:
            print(f"HTDemucs: demucs is not installed for {settings.demucs_python}, so it is not measured.")
    ours, theirs = found["ours", middle], found["nussl", middle]
    if ours is None or found["ours", long] is None:
        raise SystemExit("A separation by ours failed: see above.")
    figures = {
        "share_of_peak_300": ours["share_of_peak"],
        "peak_gflops": round(peak / 1e9, 1),
        "speed_ratio_300": round(theirs["seconds"] / ours["seconds"], 2) if theirs else None,
        "memory_ratio_300": round(ours["megabytes"] / theirs["megabytes"], 3) if theirs else None,
        "rss_mb_300": ours["megabytes"],
        "rss_mb_3600": found["ours", long]["megabytes"],
        "rtf_300": round(middle / ours["seconds"], 1),
        "measured": [row for row in found.values() if row],
        "lengths": [short, middle, long],
        "threads": threads,
    }
    print(json.dumps(figures))
    return None


if __name__ == "__main__":
    main()
