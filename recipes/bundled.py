"""Makes the separators that ship in the package, from the body: ``python -m recipes.bundled`` (``make bundled``).

A quartet of chorales (violin, clarinet, saxophone, bassoon) and a choir (female and male voices). Each is fine-tuned on a
corpus that ``recipes.corpora`` renders, scored on rendered works that it never heard, and on recordings where folders of
them are given; published in half precision, and put into ``nussl_transfer/checkpoints/weights`` with its card and its entry. What is
finished is not done twice.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nussl_transfer  # isort: skip  (it repairs nussl, so it comes before it)
import torch
from jsonargparse import auto_cli

from nussl_transfer.checkpoints.checkpoint import read_info
from nussl_transfer.datasets.choirset import ChoirSet
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.errors import TransferError
from nussl_transfer.evaluation.evaluate import evaluate
from nussl_transfer.evaluation.excerpts import make_excerpts
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.pipelines.finetune import default_training, finetune
from nussl_transfer.pipelines.publish import mean_of, publish
from nussl_transfer.runtime.files import write_json, written_aside
from nussl_transfer.store.prepare import prepare
from nussl_transfer.store.store import Store
from nussl_transfer.training.run import Run
from recipes.corpora.bach10 import render_bach10
from recipes.corpora.choirset import render_choirset
from recipes.corpora.quartets import render_quartets

PACKAGE = Path(nussl_transfer.__file__).parent
# What voices are called where there is no data set to say it.
VOICES = {
    "female": ["soprano", "soprano_i", "soprano_ii", "cantus", "alto", "altus"],
    "male": ["tenor", "tenor_i", "tenor_ii", "bass", "bassus"],
}
LICENSE = "MIT"
DATA_LICENSE = "scores of music21's corpus, rendered with free soundfonts (TimGM6mb, FluidR3, MuseScore General Lite)"


@dataclass(frozen=True)
class Bundled:
    """One separator: what it is for, and how its stores are made."""

    what: str
    stores: Callable[[Path], dict[str, Store]]
    recordings: Callable[[Path, Path], Store]
    caution: str


def quartet_stores(folder: Path) -> dict[str, Store]:
    """Renders chorales in four parts, and the demo's held-out ones for the test."""
    quartets = render_quartets(folder / "quartets")
    test = render_bach10(folder / "bach10", minutes=5.0)["test"]
    return {
        "train": prepare(open_tracks(quartets)[1], folder / "stores" / "quartets", dataset="rendered chorales"),
        "test": prepare(open_tracks(test)[1], folder / "stores" / "quartets-test", dataset="rendered chorales"),
    }


def choir_stores(folder: Path) -> dict[str, Store]:
    """Renders a choir, whose test sings works of its own."""
    tree = render_choirset(folder / "choir", minutes=60.0)
    tracks = open_tracks(tree)[1]
    store = prepare(tracks, folder / "stores" / "choir", dataset="rendered choir")
    return {"train": store, "test": store.select(split="test")}  # those of the test are not trained on


def quartet_recordings(recordings: Path, folder: Path) -> Store:
    """Prepares the real Bach10."""
    return prepare(open_tracks(recordings, StemOptions(dataset="Bach10"))[1], folder / "stores" / "bach10-recorded", dataset="Bach10")


def choir_recordings(recordings: Path, folder: Path) -> Store:
    """Prepares Dagstuhl ChoirSet, or a folder of songs with a file for each voice."""
    groups = None if ChoirSet.recognises(recordings) else VOICES
    name, tracks = open_tracks(recordings, StemOptions(groups=groups))
    return prepare(tracks, folder / "stores" / "choir-recorded", dataset=name)


BUNDLED = {
    "quartet": Bundled(
        "A quartet of violin, clarinet, saxophone and bassoon, playing chorales",
        quartet_stores,
        quartet_recordings,
        "It has heard soundfonts play chorales of Bach, not players or rooms, and nothing but these four instruments, the "
        "violin highest and the bassoon lowest.",
    ),
    "choir": Bundled(
        "Female and male voices of a choir",
        choir_stores,
        choir_recordings,
        "It has heard a soundfont's vowels, no words, no breath, no room of a church. A real choir is another thing.",
    ),
}


def bundle(
    model: Literal["quartet", "choir"],
    recordings: str | None = None,
    recordings_are: str = "recordings",
    out: str = "corpora/bundled",
    iterations: int = 2000,
    batch_size: int = 8,
    excerpt_seconds: float = 2.0,
    learning_rate: float = 1e-3,
    seed: int = 0,
    threads: int = 1,
    package: str = str(PACKAGE),
) -> Path:
    """Fine-tunes and bundles one separator; returns its checkpoint in the package.

    Args:
        model: Which.
        recordings: Folder of real stems, to score it on as well; what it says goes into the card.
        recordings_are: What these are, for the card.
        out: Folder for corpora, stores and runs.
        iterations: Of fine-tuning.
        batch_size: Mixtures a batch.
        excerpt_seconds: Length of a mixture.
        learning_rate: Of Adam.
        seed: Every random choice of the training follows from it.
        threads: Threads that compute.
        package: Folder of the package, whose ``checkpoints`` get it.
    """
    torch.set_num_threads(threads)
    folder, about = Path(out), BUNDLED[model]
    stores = about.stores(folder)
    run = finetune(
        stores["train"],
        folder / "runs" / model,
        training=default_training(iterations=iterations, batch_size=batch_size, learning_rate=learning_rate, workers=1),
        mixtures=MixtureConfig(excerpt_seconds=excerpt_seconds),
        seed=seed,
    )
    notes = [f"**Mind**: {about.caution}"]
    if recordings is not None:
        notes.append(recorded(run, about.recordings(Path(recordings), folder), recordings_are, folder / "recorded" / model))
    notes.append(f"Made by `python -m recipes.bundled --model {model}`, which renders all that it was trained on.")
    shutil.rmtree(folder / "releases" / model, ignore_errors=True)
    release = publish(
        run.folder, model, LICENSE, folder / "releases", about.what, DATA_LICENSE, half=True, test=stores["test"],
        notes="\n\n".join(["## Notes", *notes]),
    )  # fmt: skip
    return put(release, model, Path(package))


def recorded(run: Run, store: Store, what: str, out: Path) -> str:
    """Scores a run on recordings; returns a sentence for the card."""
    seconds = read_info(run.best).excerpt_seconds
    excerpts = make_excerpts(store, seconds)
    scores = evaluate({"model": run.best}, store, excerpts=excerpts, out=out, oracle=True)
    means = {name: mean_of(scores, name) for name in ("mixture", "model", "oracle")}
    return (
        f"**On {what}** ({len(store.tracks)} pieces, {len(excerpts)} excerpts of {seconds:g} s, none of them heard in "
        f"training): mean SI-SDR {means['model']:.2f} dB, where the mixture has {means['mixture']:.2f} dB and ideal ratio "
        f"masks {means['oracle']:.2f} dB."
    )


def put(release: Path, name: str, package: Path) -> Path:
    """Copies a release's file and card into the package and adds its entry."""
    path = package / "checkpoints" / "weights" / f"{name}.pth"
    shutil.copyfile(release / f"{name}.pth", path)
    card = (release / "README.md").read_text(encoding="utf-8")
    card = card.replace(f"--model {name}.pth", f"--model {name}")
    card = card.replace(f'"{name}.pth"', f'"nussl_transfer/checkpoints/weights/{name}.pth"')
    # The full network, to fine-tune further, does not ship: `body` does.
    card = card.replace(f"nussl-transfer finetune my-stems --from {name}.full.pth --out run\n", "")
    with written_aside(path.with_suffix(".md")) as aside:
        aside.write_text(card, encoding="utf-8")
    registry = package / "checkpoints" / "zoo.json"
    known = json.loads(registry.read_text(encoding="utf-8"))
    write_json(registry, {**known, **json.loads((release / "zoo.json").read_text(encoding="utf-8"))})
    return path


def main() -> int:
    """Runs the recipe; returns the exit status."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("nussl_transfer").setLevel(logging.INFO)
    try:
        print(auto_cli(bundle, as_positional=False))
    except TransferError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
