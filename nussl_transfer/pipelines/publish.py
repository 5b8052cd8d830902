"""Stage 10, publishing: a run becomes a folder that can be given to others.

::

    <out>/<name>/<name>.pth         to separate with: the masks' network alone, which nussl opens as well
    <out>/<name>/<name>.full.pth    to fine-tune further: with the embedding head, in single precision
    <out>/<name>/README.md          the model card, with the fields that the Hugging Face hub reads
    <out>/<name>/curve.json         the curve of the training
    <out>/<name>/zoo.json           the entry, with its hash, that gives it a name (`zoo`)
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..checkpoints.checkpoint import CheckpointInfo, read_checkpoint, write_checkpoint
from ..checkpoints.zoo import resolve
from ..datasets.recognise import DATASETS
from ..errors import ConfigError
from ..evaluation.evaluate import evaluate
from ..evaluation.excerpts import make_excerpts
from ..networks.chimera import without_embedding
from ..runtime.download import sha256
from ..runtime.files import write_json
from ..store.store import Store
from .model_card import CURVE, write_card

__all__ = ["Release", "publish", "write_card"]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
logger = logging.getLogger("nussl_transfer")


@dataclass(frozen=True)
class Release:
    """What is known of a model that is published.

    Attributes:
        name: It is called by.
        what: One line on what it is for.
        license: Of the weights.
        data_license: Of what it was trained on.
        half: Whether the weights to separate with are stored in half precision.
        info: What the checkpoint says of itself.
        scores: Of the masks before and after, as ``scores.json`` has them; None where they were not scored.
        points: Of the curve.
        notes: Markdown of the publisher's own, for the card.
    """

    name: str
    what: str
    license: str
    data_license: str
    half: bool
    info: CheckpointInfo
    scores: dict | None
    points: list[dict]
    notes: str = ""


def publish(
    model: str | Path,
    name: str,
    license: str,
    out: str | Path = "releases",
    what: str = "",
    data_license: str = "",
    half: bool = False,
    test: Store | None = None,
    seconds: float | None = None,
    url: str = "",
    notes: str = "",
    device: str = "cpu",
) -> Path:
    """Makes the release of a model, and returns its folder.

    Args:
        model: Run, checkpoint or name.
        name: What to call it: small letters, digits, ``.``, ``_`` and ``-``.
        license: Of the weights, such as 'MIT' or 'CC-BY-4.0': required, since without one nobody may use them.
        out: Folder to make the release's own folder in.
        what: One line on what it is for.
        data_license: Of what it was trained on; that of a known data set is known.
        half: Store the weights to separate with in half precision.
        test: Stems that it was not trained on: the masks are scored before and after, and the card shows both.
        seconds: Length of an excerpt of these; None takes what it was trained on.
        url: Where the file to separate with is going to be.
        notes: Markdown of one's own, for the card.
        device: Where to score: 'cpu' or 'cuda'.

    Raises:
        ConfigError: The name cannot be one, there is no licence, or there is a release of that name already.
        CheckpointError: The model cannot be read.
        DataError: The test's stems do not fit.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"A model was to be published as {name!r}: a name has small letters, digits, '.', '_' and '-', at most 64. "
            "Choose another."
        )
    if not license.strip():
        raise ConfigError(
            f"{name} was to be published without a licence: nobody might use it. Give one, such as MIT or CC-BY-4.0; mind "
            "what the data's own allows."
        )
    folder = Path(out) / name
    if folder.exists():
        raise ConfigError(f"{folder} is there already. Choose another name or folder, or take it away.")
    checkpoint = resolve(model)
    aside = folder.parent / f".{name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        info = _write_weights(checkpoint, aside, name, half)
        scores = None if test is None else _score(checkpoint, aside / f"{name}.pth", test, info, aside, seconds, device)
        points = _copy_curve(checkpoint, aside)
        known = DATASETS.get(str(info.data.get("name")))
        release = Release(
            name, what, license.strip(), data_license or (known.LICENSE if known else ""), half, info, scores, points, notes
        )
        write_json(aside / "zoo.json", {name: entry(release, aside / f"{name}.pth", url)})
        write_card(aside / "README.md", release)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def entry(release: Release, path: Path, url: str = "") -> dict:
    """Returns what ``zoo.json`` has of a release: where the file is to be, its hash, and what it is."""
    info = release.info
    minutes = info.data.get("minutes")
    return {
        "what": release.what or ("separates " + ", ".join(info.labels) if info.labels else "to be fine-tuned"),
        **({"url": url} if url else {"file": path.name}),
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
        "sources": list(info.labels),
        "mode": info.mode,
        "parent": info.parent,
        "data": f"{info.data.get('name', 'unknown')}, {minutes} min" if minutes else str(info.data.get("name", "unknown")),
        "score": None if release.scores is None else f"{mean_of(release.scores, release.name):.1f} dB",
        "license": release.license,
    }


def mean_of(scores: dict, name: str) -> float:
    """Returns the mean SI-SDR in dB of one estimate over all sources and excerpts."""
    return next(row["mean"] for row in scores["summary"] if row["estimate"] == name and row["label"] is None)


def _write_weights(checkpoint: Path, folder: Path, name: str, half: bool) -> CheckpointInfo:
    network, info = read_checkpoint(checkpoint)
    if info.mode == "pretrain":
        write_checkpoint(folder / f"{name}.pth", network, info, half=half)  # there are no masks to keep
        return info
    write_checkpoint(folder / f"{name}.pth", without_embedding(network), info, half=half)
    write_checkpoint(folder / f"{name}.full.pth", network, info)
    return info


def _score(
    before: Path, after: Path, test: Store, info: CheckpointInfo, folder: Path, seconds: float | None, device: str
) -> dict:
    if info.mode == "pretrain":
        raise ConfigError(f"{before} was to be scored: its mask head was never trained. Leave the test out.")
    if any(track.split == "test" for track in test.tracks):
        test = test.select(split="test")
    excerpts = make_excerpts(test, seconds or info.excerpt_seconds)
    logger.info("Scoring on %d excerpts of %d tracks.", len(excerpts), len(test.tracks))
    models = {after.stem: after, "before": before}
    scores = evaluate(models, test, excerpts=excerpts, out=folder, oracle=True, device=device)
    scores["models"] = {after.stem: after.name, "before": str(before)}  # the folder it is in is about to be renamed
    write_json(folder / "scores.json", scores)
    return scores


def _copy_curve(checkpoint: Path, folder: Path) -> list[dict]:
    curve = checkpoint.parent.parent / CURVE
    if checkpoint.parent.name != "checkpoints" or not curve.is_file():
        return []  # a checkpoint by itself
    shutil.copyfile(curve, folder / CURVE)
    return json.loads(curve.read_text(encoding="utf-8"))["points"]
