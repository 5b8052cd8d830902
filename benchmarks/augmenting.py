"""Compare pitch shifters and time stretchers by speed, and by their effect on signals whose result is known.

Each candidate changes ten seconds of 16 kHz mono by up to 3 semitones and to a tempo of 0.8 to 1.2, both at once, in one
thread. The figures are

* ``ms``: the median time, over noise at three settings;
* ``cents``: the largest pitch error of a 440 Hz tone over one second;
* ``purity``: the smallest level of that tone above everything else in that second, in dB;
* ``length``: the largest error of the length, in ms;
* ``end``: the steepest step in the first and last 10 ms of a tone, divided by the steepest of the tone itself. A click is
  far above 1;
* ``onset``: the time error of noise bursts in ms, as mean and standard deviation (``spread``);
* ``apart``: the largest time in ms between bursts that were simultaneous in two stems;
* ``smear``: the time that contains 90 % of a burst's energy, in ms; 12 in the original.

SoX is measured if the program ``sox`` is installed, Rubber Band if ``pedalboard`` is; torch also on a GPU if there is one.
The last line is JSON: these figures for each candidate, and ``stems_per_s`` of ``augment``.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr
import torch
from python_stretch import Signalsmith
from threadpoolctl import threadpool_limits

from nussl_transfer.audio.augment import augment, context_samples, source_samples

RATE, SECONDS, REPEATS = 16000, 10, 5
SETTINGS = ((3.0, 1.2), (-3.0, 0.8), (2.0, 0.9))
CONTEXT = context_samples(RATE)
Change = Callable[[np.ndarray, float, float], np.ndarray]


def ours(audio: np.ndarray, pitch: float, stretch: float) -> np.ndarray:
    """Change a signal with this package; its input has an extra tenth of a second at both ends."""
    samples = round((len(audio) - 2 * CONTEXT) / stretch)
    return augment(audio, samples, RATE, pitch, stretch, before=CONTEXT)


def cut(change: Change) -> Change:
    """Return a candidate whose input has the same extra audio as ours; it removes that audio from its result."""

    def change_and_cut(audio: np.ndarray, pitch: float, stretch: float) -> np.ndarray:
        changed = change(audio, pitch, stretch)
        before = round(CONTEXT / stretch)
        return changed[before : len(changed) - before]

    return change_and_cut


def signalsmith(cheaper: bool) -> Change:
    """Return a change of pitch and tempo by Signalsmith Stretch, with one of its presets."""

    def change(audio: np.ndarray, pitch: float, stretch: float) -> np.ndarray:
        stretcher = Signalsmith.Stretch()
        stretcher.preset(1, RATE, cheaper=cheaper)
        stretcher.setTransposeSemitones(pitch)
        stretcher.setTimeFactor(stretch)
        return stretcher.process(audio[None])[0]

    return change


def librosa_both(audio: np.ndarray, pitch: float, stretch: float) -> np.ndarray:
    """Change tempo with librosa's phase vocoder, and then pitch with the same vocoder."""
    return librosa.effects.pitch_shift(librosa.effects.time_stretch(audio, rate=stretch), sr=RATE, n_steps=pitch)


def torch_vocoder(device: str) -> Change:
    """Return a change by a plain phase vocoder in torch, which can run on the GPU, and soxr for the pitch."""

    def change(audio: np.ndarray, pitch: float, stretch: float) -> np.ndarray:
        ratio, length, hop = 2 ** (pitch / 12), 1024, 256
        window = torch.hann_window(length, device=device)
        spectrum = torch.stft(torch.from_numpy(audio).to(device), length, hop, length, window, return_complex=True)
        steps = torch.arange(0, spectrum.shape[1] - 1, stretch / ratio, device=device)
        left = steps.long()
        share = steps - left
        magnitude = (1 - share) * spectrum[:, left].abs() + share * spectrum[:, left + 1].abs()
        advance = (spectrum[:, left + 1] * spectrum[:, left].conj()).angle()
        phase = torch.cumsum(torch.cat([spectrum[:, :1].angle(), advance[:, :-1]], dim=1), dim=1)
        samples = round(len(audio) * ratio / stretch)
        scaled = torch.istft(torch.polar(magnitude, phase), length, hop, length, window, length=samples)
        return soxr.resample(scaled.cpu().numpy(), RATE * ratio, RATE)

    return change


def sox(audio: np.ndarray, pitch: float, stretch: float) -> np.ndarray:
    """Run a SoX chain, in one process for each stem, as nussl does."""
    raw = ["-t", "f32", "-r", str(RATE), "-c", "1", "-"]
    effects = ["tempo", "-m", str(stretch), "pitch", str(100 * pitch)]
    run = subprocess.run(["sox", *raw, "-t", "f32", "-", *effects], input=audio.tobytes(), capture_output=True, check=True)
    return np.frombuffer(run.stdout, np.float32)


def rubber_band(finer: bool) -> Change:
    """Return a change by Rubber Band's faster or finer engine, with smooth transients: crisp ones err more."""
    import pedalboard

    how = {"high_quality": finer, "preserve_formants": False, "transient_mode": "smooth"}
    return lambda audio, pitch, stretch: pedalboard.time_stretch(audio[None], RATE, stretch, pitch, **how)[0]


def candidates() -> dict[str, Change]:
    """Return all candidates that can run on this machine."""
    found: dict[str, Change] = {
        "Signalsmith cheaper, rate by soxr": ours,
        "Signalsmith cheaper, both": cut(signalsmith(True)),
        "Signalsmith default, both": cut(signalsmith(False)),
        "librosa": cut(librosa_both),
        "torch phase vocoder": cut(torch_vocoder("cpu")),
    }
    if torch.cuda.is_available():
        found["torch phase vocoder, GPU"] = cut(torch_vocoder("cuda"))
    if shutil.which("sox"):
        found["SoX, one chain"] = cut(sox)
    try:
        found |= {"Rubber Band faster": cut(rubber_band(False)), "Rubber Band finer": cut(rubber_band(True))}
    except ImportError:
        pass
    return found


def changed(change: Change, make: Callable[[np.ndarray], np.ndarray], seconds: float, *how: float) -> np.ndarray:
    """Return a changed excerpt of a signal that is given as a function of time."""
    clock = (np.arange(source_samples(round(seconds * RATE), how[1]) + 2 * CONTEXT) - CONTEXT) / RATE
    return change(make(clock).astype(np.float32), *how)


def tone(clock: np.ndarray) -> np.ndarray:
    """Return a tone of 440 Hz."""
    return 0.5 * np.sin(2 * np.pi * 440 * clock)


def bursts(at: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of time that gives bursts of noise; the seed decides the noise."""

    def make(clock: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(seed).standard_normal(len(clock))
        return 0.5 * noise * sum(np.exp(-np.clip(clock - t, 0, None) / 0.008) * (clock >= t) for t in at)

    return make


def frequency_and_purity(audio: np.ndarray, wanted: float) -> tuple[float, float]:
    """Return the pitch error of a tone in cents, and the level within 2 % of its frequency above the rest, in dB."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 8 * len(audio)))
    peak = int(spectrum.argmax())
    below, at, above = np.log(spectrum[peak - 1 : peak + 2])
    hertz = RATE / (8 * len(audio))
    near = np.abs(np.arange(len(spectrum)) * hertz / wanted - 1) < 0.02
    power = spectrum.astype(np.float64) ** 2
    found = (peak + 0.5 * (below - above) / (below - 2 * at + above)) * hertz
    return 1200 * np.log2(found / wanted), 10 * np.log10(power[near].sum() / power[~near].sum())


def onsets(audio: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the delay of each burst, and the time that contains 90 % of its energy, in ms."""
    late, long = [], []
    for time_of_burst in at:
        first = round((time_of_burst - 0.1) * RATE)
        energy = np.cumsum(audio[first : first + round(0.2 * RATE)].astype(np.float64) ** 2)
        begin, end = np.searchsorted(energy, [0.05 * energy[-1], 0.95 * energy[-1]]) / RATE
        late.append(1000 * (begin - 0.1))
        long.append(1000 * (end - begin))
    return np.array(late), np.array(long)


def measure(change: Change) -> dict[str, float]:
    """Return the figures of a candidate."""
    noise = np.random.default_rng(0).standard_normal(2 * SECONDS * RATE).astype(np.float32)
    taken, cents, purity, length, end, late, smear, apart = [], [], [], [], [], [], [], []
    for pitch, stretch in SETTINGS:
        source = np.ascontiguousarray(noise[: source_samples(SECONDS * RATE, stretch) + 2 * CONTEXT])
        for repeat in range(REPEATS + 1):
            started = time.perf_counter()
            change(source, pitch, stretch)
            if repeat:
                taken.append(1000 * (time.perf_counter() - started))
        changed_tone = changed(change, tone, 3.0, pitch, stretch)
        wanted = 440 * 2 ** (pitch / 12)
        error, level = frequency_and_purity(changed_tone[RATE : 2 * RATE], wanted)
        cents.append(abs(error))
        purity.append(level)
        length.append(abs(len(changed_tone) - 3 * RATE) / RATE * 1000)
        steps = np.abs(np.diff(np.concatenate([changed_tone[:160], changed_tone[-160:]])))
        steps[159] = 0  # where the two ends were joined
        end.append(steps.max() / (0.5 * 2 * np.pi * wanted / RATE))
        at = np.arange(0.3, 5.5 * stretch, 0.4)
        pair = [onsets(changed(change, bursts(at, seed), 6.0, pitch, stretch), at / stretch) for seed in (1, 2)]
        late.extend([*pair[0][0], *pair[1][0]])
        smear.extend(pair[0][1])
        apart.append(np.abs(pair[0][0] - pair[1][0]).max())
    figures = {
        "ms": statistics.median(taken), "cents": max(cents), "purity": min(purity), "length": max(length),
        "end": max(end), "onset": np.mean(late), "spread": np.std(late), "apart": max(apart), "smear": np.mean(smear),
    }  # fmt: skip
    return {name: round(float(value), 2) for name, value in figures.items()}


def read_stored_variant() -> float:
    """Return the ms that reading ten seconds takes, where a stem is stored in every pitch and tempo."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stem.wav"
        soundfile.write(path, np.zeros(240 * RATE, np.float32), RATE, subtype="FLOAT")
        taken = []
        for start in range(0, 200 * RATE, 5 * RATE):
            started = time.perf_counter()
            soundfile.read(path, SECONDS * RATE, start, dtype="float32")
            taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


def main() -> None:
    """Measure all candidates; print a Markdown table and the line of JSON."""
    threadpool_limits(1)
    torch.set_num_threads(1)
    found = {}
    for name, change in candidates().items():
        found[name] = measure(change)
        if len(found) == 1:
            print(f"| candidate | {' | '.join(found[name])} |\n|---{'|---' * len(found[name])}|")
        print(f"| {name} | {' | '.join(f'{value:g}' for value in found[name].values())} |", flush=True)
    found["variants in the store, 7 pitches x 5 tempos: 35 times the disk"] = {"ms": round(read_stored_variant(), 2)}
    print(f"| {list(found)[-1]} | {list(found.values())[-1]['ms']} | as the method that made them | | | | | | | |")
    print(json.dumps({"candidates": found, "stems_per_s": round(1000 / next(iter(found.values()))["ms"], 1)}))


if __name__ == "__main__":
    main()
