"""Fine-tune the separators that ship with the package: ``python -m recipes.bundled --model quartet`` (``make bundled``).

A quartet of chorales (violin, clarinet, saxophone, bassoon), a choir (female and male voices) and a drum kit (kick, snare,
cymbals). Each is fine-tuned from `body` on a corpus that `recipes.corpora` renders, with a random timbre for most stems;
it is scored on rendered works that it was not trained on, and on recordings if a folder of them is given. The result is
published in half precision with its card and its entry in ``nussl_transfer/checkpoints``. Finished steps are not repeated.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import nussl_transfer  # isort: skip  (it repairs nussl, so it comes before it)
import torch
from jsonargparse import auto_cli

from nussl_transfer.checkpoints.checkpoint import read_info
from nussl_transfer.datasets.choirset import DagstuhlChoirSet
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
from recipes.corpora.chorales import render_chorales
from recipes.corpora.remixpacks import render_remixpacks
from recipes.corpora.singers import sung_tracks

PACKAGE = Path(nussl_transfer.__file__).parent
# Spellings of the voices in folders that belong to no known data set.
VOICES = {
    "female": ["soprano", "soprano_i", "soprano_ii", "cantus", "alto", "altus"],
    "male": ["tenor", "tenor_i", "tenor_ii", "bass", "bassus"],
}
LICENSE = "MIT"
SOUNDFONTS = "free soundfonts (TimGM6mb, FluidR3, MuseScore General Lite)"
NOTES = (
    "recorded notes: tonejs-instruments (N. Brosowsky, CC-BY 3.0), Weresax and Bear Sax (Karoryfer Samples, CC0), "
    "MTG Solo Saxophones (Music Technology Group, CC-BY 4.0)"
)
EMA_DECAY = 0.999
CHANGES = {"timbre": 0.8, "eq_db": 4.0, "room": 0.4, "gain_db": 3.0, "transpose": 2}


@dataclass(frozen=True)
class Bundled:
    """One separator: what it is for, and how its stores are made.

    Attributes:
        what: One line for the card.
        stores: Function that makes the stores 'train' and 'test' in a folder; its second argument is the folder of recorded
            notes.
        recordings: Function that makes a store of recordings; None if there is no such data set.
        caution: The limits of the model, for the card.
        data: The training data and its licence.
    """

    what: str
    stores: Callable[[Path, Path | None], dict[str, Store]]
    recordings: Callable[[Path, Path], Store] | None
    caution: str
    data: str


def quartet_stores(folder: Path, samples: Path | None) -> dict[str, Store]:
    """Render chorales in four parts, with soundfonts, synthetic players and, if given, recorded notes.

    The test is the demo's held-out set.
    """
    test = render_bach10(folder / "bach10", minutes=5.0)["test"]
    return {
        "train": render_chorales(folder / "chorales", samples),
        "test": prepare(open_tracks(test)[1], folder / "stores" / "quartets-test", dataset="rendered chorales"),
    }


def choir_stores(folder: Path, samples: Path | None) -> dict[str, Store]:
    """Render a choir, with the voices of soundfonts and with synthetic singers.

    The test has soundfonts only; none of its works is in the training.
    """
    tree = render_choirset(folder / "choir", minutes=60.0)
    played = open_tracks(tree)[1]
    sung = sung_tracks(folder / "singers", groups=VOICES)
    train = [*(replace(track, split=None) for track in played if track.split == "train"), *sung]
    test = [track for track in played if track.split == "test"]
    return {
        "train": prepare(train, folder / "stores" / "choir", dataset="rendered choirs"),
        "test": prepare(test, folder / "stores" / "choir-test", dataset="rendered choir"),
    }


def drums_stores(folder: Path, samples: Path | None) -> dict[str, Store]:
    """Render a drum kit piece by piece; every eighth pack is for the test."""
    tree = render_remixpacks(folder / "drums", minutes=60.0)
    # Read the packs themselves: they keep the pieces of one kit together, so that mixtures can be coherent.
    packs = tree / "original_files"
    tracks = open_tracks(packs, StemOptions(dataset="StemFolder", ignore=("toms",)))[1]
    store = prepare(tracks, folder / "stores" / "drums", dataset="rendered drum kits")
    names = sorted(track.name for track in store.tracks if len(track.stems) == len(store.labels))
    return {"train": store.select(names=set(names) - set(names[::8])), "test": store.select(names=names[::8])}


def quartet_recordings(recordings: Path, folder: Path) -> Store:
    """Prepare the recorded Bach10."""
    tracks = open_tracks(recordings, StemOptions(dataset="Bach10"))[1]
    return prepare(tracks, folder / "stores" / "bach10-recorded", dataset="Bach10")


def choir_recordings(recordings: Path, folder: Path) -> Store:
    """Prepare Dagstuhl ChoirSet, or a folder of songs with a file for each voice."""
    groups = None if DagstuhlChoirSet.recognises(recordings) else VOICES
    name, tracks = open_tracks(recordings, StemOptions(groups=groups))
    return prepare(tracks, folder / "stores" / "choir-recorded", dataset=name)


BUNDLED = {
    "quartet": Bundled(
        "A quartet of violin, clarinet, saxophone and bassoon, playing chorales",
        quartet_stores,
        quartet_recordings,
        "It was trained on synthetic players and on single notes that a program put together, not on players in a room. It "
        "knows only these four instruments, with the violin as the highest part and the bassoon as the lowest.",
        f"chorales of music21's corpus, rendered with {SOUNDFONTS}, synthetic players, and {NOTES}",
    ),
    "choir": Bundled(
        "Female and male voices of a choir",
        choir_stores,
        choir_recordings,
        "It was trained on synthetic singers of random syllables and on the vowels of soundfonts, not on people. It takes "
        "sopranos and altos for female voices, and tenors and basses for male ones; it knows no solo and no accompaniment.",
        f"scores of music21's corpus, rendered with synthetic singers and with {SOUNDFONTS}",
    ),
    "drums": Bundled(
        "A drum kit: cymbals, kick drum and snare",
        drums_stores,
        None,
        "It was trained on General MIDI kits played by a program, without toms or bleed.",
        f"random drum patterns, rendered with {SOUNDFONTS}",
    ),
}


def bundle(
    model: Literal["quartet", "choir", "drums"],
    recordings: str | None = None,
    samples: str | None = None,
    recordings_are: str = "recordings",
    out: str = "corpora/bundled",
    checkpoint: str = "body",
    iterations: int = 4800,
    batch_size: int = 8,
    excerpt_seconds: float = 2.0,
    learning_rate: float = 2e-3,
    bf16: bool = False,
    seed: int = 0,
    threads: int = 1,
    package: str = str(PACKAGE),
) -> Path:
    """Fine-tune and bundle one separator; return its checkpoint in the package.

    Args:
        model: Name of the separator.
        recordings: Folder of recorded stems to score it on; the result goes into the card.
        samples: Folder of the recorded notes that `recipes/corpora/sampled.json` lists; None trains without them.
        recordings_are: Name of the recordings, for the card.
        out: Folder for corpora, stores and runs.
        checkpoint: Pretrained model to fine-tune from.
        iterations: Iterations of fine-tuning.
        batch_size: Mixtures per batch.
        excerpt_seconds: Length of a mixture in seconds.
        learning_rate: Learning rate of Adam.
        bf16: Whether to compute in bfloat16, on processors that have it.
        seed: Seed of the training.
        threads: Number of threads that compute.
        package: Folder of the package; the result is written into its ``checkpoints``.
    """
    torch.set_num_threads(threads)
    folder, about = Path(out), BUNDLED[model]
    stores = about.stores(folder, None if samples is None else Path(samples))
    trained = finetune(
        stores["train"],
        folder / "runs" / model,
        checkpoint=checkpoint,
        training=default_training(
            iterations=iterations,
            batch_size=batch_size,
            learning_rate=learning_rate,
            ema_decay=EMA_DECAY,
            bf16=bf16,
            workers=0,
        ),  # fmt: skip
        mixtures=MixtureConfig(excerpt_seconds=excerpt_seconds, **CHANGES),
        seed=seed,
    )
    notes = [f"**Limits**: {about.caution}"]
    if recordings is not None and about.recordings is not None:
        notes.append(
            recorded(trained, about.recordings(Path(recordings), folder), recordings_are, folder / "recorded" / model)
        )
    notes.append(
        f"Fine-tuned from `{checkpoint}` for {iterations:,} iterations of {batch_size} mixtures of {excerpt_seconds:g} s; "
        "the weights are averaged. Most stems had a random equalizer, half were transposed, and some had a random room. "
        f"`python -m recipes.bundled --model {model}` renders the data and makes this model."
    )
    shutil.rmtree(folder / "releases" / model, ignore_errors=True)
    release = publish(
        trained.folder, model, LICENSE, folder / "releases", about.what, about.data, half=True, test=stores["test"],
        replace=True,
        notes="\n\n".join(["## Notes", *notes]),
    )  # fmt: skip
    return put(release, model, Path(package))


def recorded(run: Run, store: Store, what: str, out: Path) -> str:
    """Score a run on recordings; return a sentence for the card."""
    seconds = read_info(run.best).excerpt_seconds
    excerpts = make_excerpts(store, seconds)
    scores = evaluate({"model": run.best}, store, excerpts=excerpts, out=out, oracle=True)
    means = {name: mean_of(scores, name) for name in ("mixture", "model", "oracle")}
    return (
        f"**On {what}** ({len(store.tracks)} pieces, {len(excerpts)} excerpts of {seconds:g} s, none of them heard in "
        f"training): mean SI-SDR {means['model']:.2f} dB. The mixture has {means['mixture']:.2f} dB, oracle magnitude "
        f"masks have {means['oracle']:.2f} dB."
    )


def put(release: Path, name: str, package: Path) -> Path:
    """Copy a release's file and card into the package, and add its entry."""
    path = package / "checkpoints" / "weights" / f"{name}.pth"
    shutil.copyfile(release / f"{name}.pth", path)
    card = (release / "README.md").read_text(encoding="utf-8")
    card = card.replace(f"--model {name}.pth", f"--model {name}")
    card = card.replace(f'"{name}.pth"', f'"{name}"')
    # The full network does not ship; `body` does.
    card = card.replace(f"nussl-transfer finetune my-stems --checkpoint {name}.full.pth --out run\n", "")
    with written_aside(path.with_suffix(".md")) as aside:
        aside.write_text(card, encoding="utf-8")
    registry = package / "checkpoints" / "zoo.json"
    known = json.loads(registry.read_text(encoding="utf-8"))
    write_json(registry, {**known, **json.loads((release / "zoo.json").read_text(encoding="utf-8"))})
    return path


def main() -> int:
    """Run the recipe; return the exit status."""
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
