"""Measure what a pretrained model gains: ``python -m recipes.transfer_trial --bach10 DIR --choir DIR --checkpoints body``.

The protocol is the same for all models. There are four folds over the recorded pieces of Bach10, and three over choir songs
(female and male voices), so every track is held out once. Each pretrained model is fine-tuned, and a network of the same
size trains from scratch with the same options, but half the learning rate, as `finetune` does by default. Networks are
kept after 100, 300 and 1,000 iterations and scored on all excerpts of 2 s of the held-out tracks. The table gives the mean
SI-SDR in dB, the minutes of training, the improvement over the network from scratch, its one-sided Wilcoxon p-value over
excerpts, and the number of tracks on which the pretrained model is ahead.

No choice is made on the held-out tracks: every run is reported, and the network that is scored after N iterations is the
one of iteration N, not the best so far. Runs resume; finished folds are not repeated.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import nussl_transfer  # isort: skip  # noqa: F401  (before nussl: it repairs nussl)
import numpy as np
import torch
from jsonargparse import auto_cli

from nussl_transfer.checkpoints.zoo import resolve
from nussl_transfer.cli.status import recipe_status
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.evaluation.estimators import MIXTURE, ORACLE
from nussl_transfer.evaluation.excerpts import make_excerpts
from nussl_transfer.evaluation.score import score
from nussl_transfer.evaluation.statistics import compare
from nussl_transfer.pipelines.cross_validation import folds
from nussl_transfer.pipelines.finetune import default_mixtures, default_training, finetune
from nussl_transfer.runtime.files import write_json
from nussl_transfer.store.open import open_store
from nussl_transfer.store.store import Store

VOICES = {
    "female": ["soprano", "soprano_i", "soprano_ii", "cantus", "alto", "altus"],
    "male": ["tenor", "tenor_i", "tenor_ii", "bass", "bassus"],
}
SETS = {"bach10": (4, None), "choir": (3, VOICES)}  # folds, and how stems are grouped
EXCERPT_SECONDS = 2.0
SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Candidate:
    """What training starts from: a checkpoint, or (None) a new network of the size of the checkpoint `like`."""

    name: str
    checkpoint: str | None
    like: str


def trial(
    checkpoints: list[str],
    bach10: str | None = None,
    choir: str | None = None,
    out: str = "runs/transfer_trial",
    at: list[int] | None = None,
    seeds: int = 2,
    gain_db: float = 2.0,
    transpose: int = 2,
    timbre: float = 0.5,
    eq_db: float = 1.5,
    body_learning_rate: float | None = None,
    phase_sensitive: bool = False,
    bf16: bool = False,
    threads: int = 1,
) -> Path:
    """Run the protocol; return the JSON file of its results, and print its table.

    Args:
        checkpoints: Pretrained models: names, files or runs.
        bach10: Folder of the recorded Bach10.
        choir: Folder of choir songs, one file for each voice.
        out: Folder of runs and results.
        at: Iterations after which networks are scored; 100, 300 and 1,000 by default.
        seeds: Number of seeds of new layers and mixtures.
        gain_db: Random gain of each stem in fine-tuning, in dB.
        transpose: Largest transposition of a stem in fine-tuning, in semitones.
        timbre: Probability of a random timbre for each stem in fine-tuning.
        eq_db: Standard deviation of that timbre's equalizer in dB.
        body_learning_rate: Learning rate of the body; that of the heads by default.
        phase_sensitive: Whether targets are phase-sensitive.
        bf16: Whether to compute in bfloat16, on processors that have it.
        threads: Number of threads that compute.
    """
    torch.set_num_threads(threads)
    counts = sorted(at or [100, 300, 1000])
    step = int(np.gcd.reduce(counts))
    training = partial(
        default_training, iterations=counts[-1], keep_at=tuple(counts), validate_every=min(step, 100),
        phase_sensitive=phase_sensitive, body_learning_rate=body_learning_rate, bf16=bf16, workers=0,
    )  # fmt: skip
    mixtures = default_mixtures(
        excerpt_seconds=EXCERPT_SECONDS, gain_db=gain_db, transpose=transpose, timbre=timbre, eq_db=eq_db
    )
    candidates = candidates_of(checkpoints)
    results = []
    for name, folder in (("bach10", bach10), ("choir", choir)):
        if folder is None:
            continue
        k, groups = SETS[name]
        store = open_store(folder, Path(out) / "stores" / name, SAMPLE_RATE, StemOptions(groups=groups))
        store = complete_tracks_of(store)
        for seed in range(seeds):
            for candidate in candidates:
                scored = run_folds(store, candidate, k, seed, Path(out) / name, training, mixtures, counts)
                results.append({"set": name, "candidate": candidate.name, "seed": seed, **scored})
        excerpts = make_excerpts(store, EXCERPT_SECONDS)
        results += [
            {"set": name, "candidate": what, "rows": {"0": score(what, store, excerpts)}} for what in (MIXTURE, ORACLE)
        ]
    path = Path(out) / "results.json"
    write_json(path, {"at": counts, "results": results})
    print(table(results, counts))
    return path


def candidates_of(checkpoints: Sequence[str]) -> list[Candidate]:
    """Return each pretrained model, and a network from scratch of the same size."""
    found = []
    for checkpoint in checkpoints:
        found.append(Candidate(Path(checkpoint).stem, checkpoint, checkpoint))
        found.append(Candidate(f"scratch like {Path(checkpoint).stem}", None, checkpoint))
    return found


def complete_tracks_of(store: Store) -> Store:
    """Return a view of the tracks that have every label, without splits."""
    view = store.select(names=[track.name for track in store.tracks if len(track.stems) == len(store.labels)])
    view.tracks = [replace(track, split=None) for track in view.tracks]
    return view


def run_folds(store: Store, candidate: Candidate, k: int, seed: int, out: Path, training, mixtures, counts) -> dict:
    """Train one candidate on all folds; return the rows of its scores and the seconds of training, by iterations."""
    tracks = [[track.name for track in group] for group in store.tracks_by_origin()]
    excerpts = make_excerpts(store, EXCERPT_SECONDS)
    rows: dict[str, list] = {str(count): [] for count in counts}
    seconds: dict[str, list] = {str(count): [] for count in counts}
    for number, held_out in enumerate(folds(tracks, k), 1):
        folder = out / f"{candidate.name.replace(' ', '-')}-seed{seed}-fold{number}"
        done = folder / "scores.json"
        if not done.is_file():
            rest = store.select(names={track.name for track in store.tracks} - set(held_out))
            start = resolve(candidate.checkpoint) if candidate.checkpoint else None
            run = finetune(
                rest, folder, checkpoint=start, like=candidate.like, training=training(start is not None),
                mixtures=mixtures, seed=seed,
            )  # fmt: skip
            ours = [excerpt for excerpt in excerpts if excerpt.track in held_out]
            points = {point["iteration"]: point["seconds"] for point in run.read_curve()["points"]}
            found = {str(count): score(run.kept(count), store, ours, candidate.name) for count in counts}
            write_json(done, {"rows": found, "seconds": {str(count): points[count] for count in counts}})
        found = json.loads(done.read_text(encoding="utf-8"))
        for count in map(str, counts):
            # `compare` pairs rows by excerpt, and each fold numbers its excerpts from 0.
            rows[count] += [{**row, "excerpt": f"{number}:{row['excerpt']}"} for row in found["rows"][count]]
            seconds[count].append(found["seconds"][count])
    return {"rows": rows, "seconds": seconds}


def table(results: Sequence[dict], counts: Sequence[int]) -> str:
    """Return the results as a Markdown table, one row for each set, candidate and seed."""
    lines = ["| set | model | seed | " + " | ".join(f"{count} it." for count in counts) + " | minutes | over scratch |"]
    lines.append("|" + "---|" * (len(counts) + 5))
    for result in results:
        rows = result["rows"]
        means = [f"{mean_of(rows[str(count)]):.2f}" if str(count) in rows else "" for count in counts]
        if "0" in rows:
            lines.append(
                f"| {result['set']} | {result['candidate']} | | {mean_of(rows['0']):.2f}" + " |" * (len(counts) + 2)
            )
            continue
        minutes = [sum(result["seconds"][str(count)]) / len(result["seconds"][str(count)]) / 60 for count in counts]
        other = next((row for row in results if row.get("seed") == result["seed"] and row["set"] == result["set"]
                      and row["candidate"] == f"scratch like {result['candidate']}"), None)  # fmt: skip
        over = "" if other is None else "; ".join(
            difference(rows[str(count)], other["rows"][str(count)]) for count in counts)  # fmt: skip
        lines.append(
            f"| {result['set']} | {result['candidate']} | {result['seed']} | {' | '.join(means)} | "
            f"{' / '.join(f'{m:.1f}' for m in minutes)} | {over} |"
        )
    return "\n".join(lines)


def difference(rows: Sequence[dict], others: Sequence[dict]) -> str:
    """Return the mean difference in dB, its p-value, and on how many tracks it is above 0."""
    found = compare(rows, others)
    tracks = sorted({row["track"] for row in rows})
    ahead = sum(
        mean_of([r for r in rows if r["track"] == t]) > mean_of([r for r in others if r["track"] == t]) for t in tracks
    )
    p_value = "-" if found["p_value"] is None else f"{found['p_value']:.1e}"
    return f"{found['mean_a'] - found['mean_b']:+.2f} (p {p_value}, {ahead} of {len(tracks)})"


def mean_of(rows: Sequence[dict]) -> float:
    """Return the mean SI-SDR in dB of all rows that have one."""
    return float(np.mean([row["si_sdr"] for row in rows if row["si_sdr"] is not None]))


if __name__ == "__main__":
    sys.exit(recipe_status(lambda: auto_cli(trial, as_positional=False) and 0))
