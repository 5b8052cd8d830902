"""Write the model card: Markdown for people, below the fields that the Hugging Face hub reads.

References:
    Mitchell et al., "Model cards for model reporting", FAT* 2019.
    https://huggingface.co/docs/hub/model-cards, with ``model-index`` for the results
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ..evaluation.statistics import describe_left_out
from ..runtime.files import write_text

if TYPE_CHECKING:
    from .publish import Release

CURVE = "curve.json"
SHOWN_POINTS = 8
# Licences that the hub knows by these names; of another it wants the field license_name.
HUB_LICENSES = {
    "mit", "apache-2.0", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "cc0-1.0", "cc-by-4.0",
    "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "openrail", "unlicense",
}  # fmt: skip


def write_card(path: str | Path, release: Release) -> None:
    """Write the card of a release."""
    text = "\n\n".join([_fields(release), *filter(None, _sections(release))]) + "\n"
    write_text(path, text)


def _fields(release: Release) -> str:
    name = release.license.lower()
    fields: dict[str, object] = {"license": name}
    if name not in HUB_LICENSES:
        fields = {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", name)}
    fields |= {
        "library_name": "nussl",
        "pipeline_tag": "audio-to-audio",
        "tags": ["audio-source-separation", "music", "transfer-learning", *release.info.labels],
        "metrics": ["si-sdr"],
    }
    if release.info.data.get("name"):
        fields["datasets"] = str(release.info.data["name"]).split("+")
    parent = str(release.info.parent or "").removeprefix("hf://")
    if parent.count("/") == 1:  # only a name owner/name is a model of the hub
        fields["base_model"] = parent
    if release.scores is not None:
        fields["model-index"] = [{"name": release.name, "results": [_result(release.name, release.scores)]}]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---"


def _result(estimate: str, scores: dict) -> dict:
    """Return the scores of an estimate in the form of the hub's ``model-index``."""
    entries = {entry["label"]: entry for entry in scores["summary"] if entry["estimate"] == estimate}
    metrics = []
    for label in (None, *scores["labels"]):
        for key, name in (("mean", "SI-SDR"), ("improvement", "SI-SDR improvement")):
            value = entries[label][key]
            if value is not None:
                kind = "si-sdr" if key == "mean" else "si-sdri"
                metrics.append({"type": kind, "name": f"mean {name} in dB, {label or 'all'}", "value": round(value, 2)})
    return {
        "task": {"type": "audio-to-audio", "name": "music source separation"},
        "dataset": {"type": "stems", "name": "stems that were held out for the test"},
        "metrics": metrics,
    }


def _sections(release: Release) -> list[str]:
    info, labels = release.info, ", ".join(release.info.labels)
    what = release.what or (f"Separates {labels}." if labels else "A pretrained model to fine-tune.")
    stft = info.stft_params
    return [
        f"# {release.name}",
        what,
        _use(release),
        "## Facts\n\n"
        + _table(
            ("", ""),
            [
                ("sources", labels or "none: it has no trained mask head"),
                ("trained", {"mask": "only the mask head", "whole": "the whole network"}.get(info.mode, info.mode)),
                ("fine-tuned from", info.parent or "nothing: trained from scratch"),
                ("sample rate", f"{info.sample_rate} Hz, mono"),
                ("STFT", f"{stft.window_length} samples, hop {stft.hop_length}, {stft.window_type}"),
                ("training mixtures", f"{info.excerpt_seconds:g} s"),
                ("precision", "half (computed in single)" if release.half else "single"),
                ("licence", release.license),
            ],
        ),
        _data(release),
        _scores(release),
        _curve(release),
        release.notes,
    ]


def _use(release: Release) -> str:
    name = release.name
    if not release.info.labels:
        return f"```sh\nnussl-transfer finetune my-stems --checkpoint {name}.pth --out run\n```"
    return (
        f"```sh\nnussl-transfer separate song.wav --model {name}.pth --out separated\n"
        f"nussl-transfer finetune my-stems --checkpoint {name}.full.pth --out run\n```\n\n"
        "With `import nussl_transfer` before nussl, nussl's own separator loads it as well:\n\n"
        f'```python\nestimates = nussl.separation.deep.DeepMaskEstimation(signal, "{name}.pth", mask_type="soft")()\n```'
    )


def _data(release: Release) -> str:
    data = release.info.data
    rows = [(key, data[key]) for key in sorted(data, key=lambda key: (key != "name", key))]
    rows.append(("licence of the data", release.data_license or "not stated"))
    return "## Training data\n\n" + _table(("", ""), rows)


def _scores(release: Release) -> str:
    if release.scores is None:
        return "## Scores\n\nThis model was not tested."
    names = {"mixture": "the mixture", "before": "the network as trained", "oracle": "oracle magnitude mask"}
    rows, labels = [], release.scores["labels"]
    for estimate in ("mixture", "before", release.name, "oracle"):
        means = {row["label"]: row for row in release.scores["summary"] if row["estimate"] == estimate}
        shown = [_decibels(means[label]["mean"]) for label in (*labels, None)]
        rows.append((names.get(estimate, "this file"), *shown))
        if estimate == release.name:
            gains = [_decibels(means[label]["improvement"], signed=True) for label in (*labels, None)]
            rows.append(("this file, above the mixture", *gains))
    count = sum(row["si_sdr"] is not None for row in release.scores["scores"]["mixture"])
    left_out = describe_left_out(release.scores)
    return (
        f"## Scores\n\nMean SI-SDR in dB of {count} references in {len(release.scores['excerpts'])} excerpts of stems that "
        "were held out for the test. SI-SDR compares a separated source with the original; higher is better. The oracle "
        "magnitude mask, min(\\|S\\| / \\|X\\|, 1), is made from the originals.\n\n"
        + _table(("", *labels, "all"), rows)
        + (f"\n\n{left_out}" if left_out else "")
    )


def _curve(release: Release) -> str:
    points = release.points
    if not points:
        return ""
    step = max(1, -(-len(points) // SHOWN_POINTS))
    chosen = sorted({*range(0, len(points), step), len(points) - 1})
    rows = [(points[i]["iteration"], _loss(points[i]["train_loss"]), _loss(points[i]["valid_loss"])) for i in chosen]
    return f"## Training\n\n{_table(('iteration', 'training loss', 'validation loss'), rows)}\n\n`{CURVE}` has every point."


def _decibels(value: float | None, signed: bool = False) -> str:
    return "–" if value is None else f"{value:+.2f}" if signed else f"{value:.2f}"


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
