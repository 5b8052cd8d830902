"""Fine-tune on five minutes of chorales, train the same network from scratch, and compare: ``make demo``.

``python -m recipes.demo`` scores both networks on held-out chorales and writes an HTML page with the scores, the curves and
audio examples. Each step writes its files into ``demo/``; a second call skips finished steps.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jsonargparse import auto_cli

import nussl_transfer
from nussl_transfer.checkpoints.checkpoint import read_info
from nussl_transfer.checkpoints.zoo import resolve
from nussl_transfer.cli.status import recipe_status
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.evaluation.evaluate import evaluate, write_example
from nussl_transfer.evaluation.excerpts import MixtureExcerpt, make_excerpts, of_track
from nussl_transfer.evaluation.probe import SourceSeparationProbe
from nussl_transfer.pipelines.finetune import default_mixtures, default_training, finetune
from nussl_transfer.report.page import write_curves, write_page
from nussl_transfer.report.text import text_table
from nussl_transfer.runtime.files import is_newer, write_json
from nussl_transfer.separation.separate import separate
from nussl_transfer.store.prepare import prepare
from nussl_transfer.store.store import Store, write_stem
from nussl_transfer.training.run import Run
from recipes.corpora.bach10 import render_bach10

TUNED, SCRATCH, SCRATCH_EQUAL = "fine-tuned", "from scratch", "scratch, half-way"
# The files of each step, which `again` removes.
MADE = {
    "corpus": ("corpus", "stores"),
    "fine-tuned": ("runs/fine-tuned",),
    "from-scratch": ("runs/from-scratch",),
    "scores": ("scores.json",),
    "page": ("separated", "example", "curves.json", "about.json", "curves.png", "page.html"),
}
PROBED = 24  # number of excerpts that the curves are measured on


@dataclass(frozen=True)
class Demo:
    """Settings that the steps share."""

    out: Path
    body: str
    iterations: int
    batch_size: int
    excerpt_seconds: float
    coherent: float
    seed: int
    stores: dict[str, Store]

    @property
    def excerpts(self) -> list[MixtureExcerpt]:
        """All held-out excerpts, without overlap."""
        return make_excerpts(self.stores["test"], self.excerpt_seconds)


def demo(
    out: str = "demo",
    bach10: str | None = None,
    minutes: float = 5.0,
    iterations: int = 300,
    batch_size: int = 8,
    excerpt_seconds: float = 2.0,
    coherent: float = 0.5,
    body: str = "body",
    seed: int = 0,
    threads: int = os.cpu_count() or 1,
    again: list[Literal["corpus", "fine-tuned", "from-scratch", "scores", "page"]] | None = None,
) -> int:
    """Fine-tune the bundled body on chorales, train the same network from scratch, and compare both.

    Finished steps are skipped. If ``again`` names a step, it runs again, and so do the steps that depend on it.

    Args:
        out: Folder of all results.
        bach10: Folder of a real Bach10_v1.1; its last piece is held out. Without it, chorales are rendered.
        minutes: Minutes of chorales to render for training.
        iterations: Iterations of fine-tuning; training from scratch takes twice as many.
        batch_size: Mixtures in a batch.
        excerpt_seconds: Length of a mixture, in training and in the test.
        coherent: Share of training mixtures whose parts come from the same time of one piece.
        body: Pretrained model to fine-tune, by name or path.
        seed: Seed of every random choice.
        threads: Number of threads.
        again: Steps to run again; their results are removed first.
    """
    torch.set_num_threads(threads)
    started = time.monotonic()
    folder = Path(out)
    for name in again or ():
        for made in MADE[name]:
            remove(folder / made)
    stores = corpora(folder, bach10, minutes, seed)
    settings = Demo(folder, body, iterations, batch_size, excerpt_seconds, coherent, seed, stores)
    tuned = train(settings, "fine-tuned", body, iterations)
    scratch = train(settings, "from-scratch", None, 2 * iterations, keep=(iterations,))
    models = {TUNED: tuned.best, SCRATCH: scratch.best, SCRATCH_EQUAL: scratch.kept(iterations)}
    scores = compared(settings, models)
    step("Page")
    if not is_newer(folder / "page.html", folder / "scores.json"):
        example = pick_example(settings)
        separate_piece(settings, example.track, tuned.best)
        write_report(settings, {TUNED: tuned, SCRATCH: scratch}, models, example, bach10)
    print(f"\n{text_table(scores)}\n")
    print(f"{time.monotonic() - started:.0f} s. Look at {folder / 'page.html'}; listen to {folder / 'separated'}.")
    return 0


def corpora(folder: Path, bach10: str | None, minutes: float, seed: int) -> dict[str, Store]:
    """Render or read the chorales, and prepare the stores 'train' and 'test'."""
    if bach10 is None:
        step("Chorales played by a soundfont, in the layout of Bach10")
        trees = render_bach10(folder / "corpus", minutes, seed=seed)
        found = {split: open_tracks(tree) for split, tree in trees.items()}
    else:
        name, tracks = open_tracks(bach10, StemOptions(dataset="Bach10"))
        tracks = sorted(tracks, key=lambda track: track.name)
        step(f"Chorales from {bach10}: {len(tracks)} pieces, held out: {tracks[-1].name}")
        found = {"train": (name, tracks[:-1]), "test": (name, tracks[-1:])}
    return {split: prepare(tracks, folder / "stores" / split, dataset=name) for split, (name, tracks) in found.items()}


def train(settings: Demo, name: str, checkpoint: str | None, iterations: int, keep: tuple[int, ...] = ()) -> Run:
    """Train one of the two networks, and score it on held-out excerpts at each validation."""
    step(f"Training: {name}, {iterations} iterations")
    store = settings.stores["test"]
    stft_params = read_info(resolve(settings.body)).stft_params
    excerpts = settings.excerpts
    spread = np.linspace(0, len(excerpts) - 1, min(PROBED, len(excerpts))).astype(int)
    probe = SourceSeparationProbe(store, [excerpts[i] for i in spread], stft_params)
    return finetune(
        settings.stores["train"],
        settings.out / "runs" / name,
        checkpoint=checkpoint,
        like=settings.body,
        training=default_training(
            pretrained=checkpoint is not None,
            iterations=iterations,
            batch_size=settings.batch_size,
            validate_every=min(50, settings.iterations),
            keep_at=keep,
            workers=1,
        ),
        mixtures=default_mixtures(excerpt_seconds=settings.excerpt_seconds, coherent=settings.coherent),
        seed=settings.seed,
        probe=probe,
    )


def compared(settings: Demo, models: dict[str, Path]) -> dict:
    """Score all networks and the mixture on the same held-out excerpts."""
    step(f"Scores on {len(settings.excerpts)} held-out excerpts")
    path = settings.out / "scores.json"
    if is_newer(path, *models.values()):
        return json.loads(path.read_text(encoding="utf-8"))
    return evaluate(models, settings.stores["test"], excerpts=settings.excerpts, out=settings.out, oracle=True)


def pick_example(settings: Demo) -> MixtureExcerpt:
    """Return ten seconds from the middle of the first held-out piece."""
    track = settings.stores["test"].tracks[0]
    frames = min(track.frames, 10 * settings.stores["test"].sample_rate)
    return of_track(track, (track.frames - frames) // 2, frames)


def separate_piece(settings: Demo, track_name: str, model: Path) -> None:
    """Separate a whole held-out piece as a user would: from a WAV file of the mixture."""
    store = settings.stores["test"]
    track = next(track for track in store.tracks if track.name == track_name)
    mixture = sum(store.read(track, label) for label in store.labels)
    path = settings.out / "separated" / f"{track_name.replace('/', '_')}.wav"
    write_stem(path, mixture, store.sample_rate)
    separate(path, model, out=settings.out / "separated")


def write_report(
    settings: Demo, runs: dict[str, Run], models: dict[str, Path], example: MixtureExcerpt, bach10: str | None
) -> None:
    """Write the example, the curves and the page."""
    shutil.rmtree(settings.out / "example", ignore_errors=True)
    write_example(models, settings.stores["test"], example, settings.out / "example")
    write_json(settings.out / "curves.json", {name: run.read_curve() for name, run in runs.items()})
    minutes = {split: store.minutes() for split, store in settings.stores.items()}
    seconds = {name: run.read_curve()["points"][-1]["seconds"] for name, run in runs.items()}
    write_json(
        settings.out / "about.json",
        {
            "title": "A separator from five minutes of chorales",
            "summary": f"A ChimeraNet pretrained on other music, fine-tuned on {minutes['train']:.1f} minutes of stems, "
            "compared with the same network trained on these stems alone.",
            "facts": [
                [
                    "Stems",
                    "the real Bach10" if bach10 else "rendered: chorales by Bach, played by a soundfont",
                ],
                [
                    "Training",
                    f"{len(settings.stores['train'].tracks)} pieces, {minutes['train']:.1f} minutes",
                ],
                ["Held out", f"{len(settings.stores['test'].tracks)} pieces, {minutes['test']:.1f} minutes"],
                ["Body", settings.body],
                ["Batch", f"{settings.batch_size} mixtures of {settings.excerpt_seconds:g} s"],
                *[[name, f"{runs[name].iteration} iterations, {seconds[name]:.0f} s"] for name in runs],
                [
                    "Machine",
                    f"{os.cpu_count()} cores, {platform.machine()}, {torch.get_num_threads()} threads",
                ],
                ["Versions", f"nussl-transfer {nussl_transfer.__version__}, torch {torch.__version__}"],
            ],
            "commands": [f"make demo{f' BACH10={bach10}' if bach10 else ''}"],
        },
    )
    write_curves(settings.out, settings.out / "curves.png")
    write_page(settings.out, settings.out / "page.html")


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def step(title: str) -> None:
    """Print the title of a step."""
    print(f"\n== {title}", flush=True)


def main() -> int:
    """Run the demo; return the exit status."""
    return recipe_status(lambda: auto_cli(demo, as_positional=False))


if __name__ == "__main__":
    sys.exit(main())
