"""Publish a model: make a folder to share, which can be uploaded to the Hugging Face hub as a repository.

::

    <out>/<name>/<name>.pth          to separate with: the network without its embedding head; nussl loads it as well
    <out>/<name>/<name>.full.pth     to fine-tune further: with the embedding head, in single precision (not for a
                                     pretrained model, whose <name>.pth keeps that head)
    <out>/<name>/model.safetensors   the weights of <name>.pth in the hub's format, with config.json
    <out>/<name>/README.md           the model card, with the fields that the hub reads
    <out>/<name>/curve.json          the curve of the training, if the model is a run
    <out>/<name>/scores.json         the scores, if stems for a test are given
    <out>/<name>/zoo.json            the entry, with its hash, that gives it a name in `zoo`
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..checkpoints.checkpoint import CheckpointInfo, read_checkpoint, save_safetensors, write_checkpoint
from ..checkpoints.zoo import check_name_is_free, resolve
from ..datasets.recognise import DATASETS
from ..errors import ConfigError
from ..evaluation.evaluate import evaluate
from ..evaluation.excerpts import make_excerpts
from ..networks.chimera import without_embedding
from ..runtime.download import sha256
from ..runtime.files import read_json, write_json
from ..runtime.log import logger
from ..store.store import Store
from .model_card import CURVE, write_card

__all__ = ["Release", "publish", "push", "write_card"]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# Files that every release has.
RELEASED = ("README.md", "model.safetensors", "config.json", "zoo.json")


@dataclass(frozen=True)
class Release:
    """Facts about a published model.

    Attributes:
        name: Its name.
        what: One line on what it is for.
        license: Licence of the weights.
        data_license: Licence of the training data.
        half: Whether the weights to separate with are in half precision.
        info: What the checkpoint records.
        scores: Scores of the published and of the original network, as from `evaluate`; None without a test.
        points: Points of the curve.
        notes: The publisher's own Markdown for the card.
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
    device: str = "auto",
    replace: bool = False,
) -> Path:
    """Make the release of a model, and return its folder. `push` uploads it to the Hugging Face hub.

    Args:
        model: A run, a checkpoint or a name.
        name: Name of the release: small letters, digits, ``.``, ``_`` and ``-``.
        license: Licence of the weights, such as 'MIT' or 'CC-BY-4.0'. Required: without a licence nobody may use them.
        out: Folder in which to make the release's folder.
        what: One line on what it is for.
        data_license: Licence of the training data; by default that of the data set, if it is a known one.
        half: Store the weights to separate with in half precision.
        test: Stems that it was not trained on: the published and the original network are scored on them.
        seconds: Length of a test excerpt; None takes that of the training mixtures.
        url: Future address of the file to separate with.
        notes: Markdown of your own for the card.
        device: 'auto', 'cpu', 'cuda' or 'mps', to score on.
        replace: Allow the name of a model that is published already, to make a new version of it.

    Raises:
        ConfigError: The name is unsuitable or taken, there is no licence, or the folder exists.
        CheckpointError: The model cannot be read.
        DataError: The test's stems do not fit.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a model: expected at most 64 small letters, digits, '.', '_' and '-'. Choose "
            "another."
        )
    if not replace:
        check_name_is_free(name)
    if not license.strip():
        raise ConfigError(
            f"{name} has no licence, so nobody may use it. Give one that the licence of the data allows, such as MIT or "
            "CC-BY-4.0."
        )
    folder = Path(out) / name
    if folder.exists():
        raise ConfigError(f"{folder} exists already. Choose another name or folder, or remove it.")
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


def push(folder: str | Path, repository: str, private: bool = False, token: str | None = None) -> str:
    """Upload the folder of a release to the Hugging Face hub, and return the address of the model there.

    The repository is made if it does not exist. Afterwards ``hf://owner/name`` is a model's address.

    Args:
        folder: As from `publish`.
        repository: ``owner/name``.
        private: Make a new repository private.
        token: The hub's access token; by default the one of ``huggingface-cli login`` or ``HF_TOKEN``.

    Raises:
        ConfigError: The folder is not a release, the repository's name is wrong, or the hub refuses the upload.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    folder = Path(folder)
    if not all((folder / name).is_file() for name in RELEASED):
        raise ConfigError(f"{folder} is not a release: it lacks one of {', '.join(RELEASED)}. Make it with publish.")
    if repository.count("/") != 1:
        raise ConfigError(f"The repository is wrong: got {repository!r}, expected owner/name.")
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token, library_name="nussl_transfer")
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"Publish {folder.name}")
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{folder} cannot be uploaded to {repository}: {first} Check the name, and log in with `huggingface-cli login`."
        ) from error
    return f"hf://{repository}"


def entry(release: Release, path: Path, url: str = "") -> dict:
    """Return the entry of a release in ``zoo.json``: the address of its file, its hash, and what it is."""
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
    """Return the mean SI-SDR in dB of one estimate over all sources and excerpts."""
    return next(row["mean"] for row in scores["summary"] if row["estimate"] == name and row["label"] is None)


def _write_weights(checkpoint: Path, folder: Path, name: str, half: bool) -> CheckpointInfo:
    network, info = read_checkpoint(checkpoint)
    if info.mode == "pretrain":
        write_checkpoint(folder / f"{name}.pth", network, info, half=half)  # its only trained head is the embedding
        save_safetensors(folder, network, info, half)
        return info
    smaller = without_embedding(network)
    write_checkpoint(folder / f"{name}.pth", smaller, info, half=half)
    save_safetensors(folder, smaller, info, half)
    write_checkpoint(folder / f"{name}.full.pth", network, info)
    return info


def _score(
    before: Path, after: Path, test: Store, info: CheckpointInfo, folder: Path, seconds: float | None, device: str
) -> dict:
    if info.mode == "pretrain":
        raise ConfigError(f"{before} cannot be scored: it has no trained mask head. Leave the test out.")
    if any(track.split == "test" for track in test.tracks):
        test = test.select(split="test")
    excerpts = make_excerpts(test, seconds or info.excerpt_seconds)
    logger.info("Scoring on %d excerpts of %d tracks.", len(excerpts), len(test.tracks))
    models = {after.stem: after, "before": before}
    scores = evaluate(models, test, excerpts=excerpts, out=folder, oracle=True, device=device)
    scores["models"] = {after.stem: after.name, "before": str(before)}  # no folder: it will be renamed
    write_json(folder / "scores.json", scores)
    return scores


def _copy_curve(checkpoint: Path, folder: Path) -> list[dict]:
    curve = checkpoint.parent.parent / CURVE
    if checkpoint.parent.name != "checkpoints" or not curve.is_file():
        return []  # the checkpoint is not in a run
    shutil.copyfile(curve, folder / CURVE)
    return read_json(folder / CURVE, ("points",))["points"]
