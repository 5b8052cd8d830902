"""The model card: Markdown for people, and above it the fields that the Hugging Face hub reads.

References:
    Mitchell et al., "Model cards for model reporting", FAT* 2019.
    https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ..runtime.files import written_aside

if TYPE_CHECKING:
    from .publish import Release

CURVE = "curve.json"
SHOWN_POINTS = 8


def write_card(path: str | Path, release: Release) -> None:
    """Writes the card of a release."""
    text = "\n\n".join([_fields(release), *filter(None, _sections(release))]) + "\n"
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _fields(release: Release) -> str:
    fields = {
        "license": release.license.lower(),
        "library_name": "nussl",
        "tags": ["audio-source-separation", "music", "transfer-learning", *release.info.labels],
        "metrics": ["si-sdr"],
    }
    if release.info.parent:
        fields["base_model"] = release.info.parent
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---"


def _sections(release: Release) -> list[str]:
    info, labels = release.info, ", ".join(release.info.labels)
    what = release.what or (f"Separates {labels}." if labels else "A pretrained body, to be fine-tuned.")
    stft = info.stft_params
    return [
        f"# {release.name}",
        what,
        _use(release),
        "## What it is\n\n"
        + _table(
            ("", ""),
            [
                ("sources", labels or "none: its mask head was never trained"),
                ("trained", {"mask": "the mask head alone", "whole": "the whole network"}.get(info.mode, info.mode)),
                ("started from", info.parent or "scratch"),
                ("rate", f"{info.sample_rate} Hz, mono"),
                ("STFT", f"{stft.window_length} samples, hop {stft.hop_length}, {stft.window_type}"),
                ("mixtures", f"{info.excerpt_seconds:g} s"),
                ("precision", "half, computed in single" if release.half else "single"),
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
        return f"```sh\nnussl-transfer finetune my-stems --from {name}.pth --out run\n```"
    return (
        f"```sh\nnussl-transfer separate song.wav --model {name}.pth --out separated\n"
        f"nussl-transfer finetune my-stems --from {name}.full.pth --out run\n```\n\n"
        "Where `nussl_transfer` was imported, nussl alone opens it as well:\n\n"
        f'```python\nestimates = nussl.separation.deep.DeepMaskEstimation(signal, "{name}.pth", mask_type="soft")()\n```'
    )


def _data(release: Release) -> str:
    data = release.info.data
    rows = [(key, data[key]) for key in sorted(data, key=lambda key: (key != "name", key))]
    rows.append(("licence of the data", release.data_license or "not stated by the publisher"))
    return "## What it was trained on\n\n" + _table(("", ""), rows)


def _scores(release: Release) -> str:
    if release.scores is None:
        return "## Scores\n\nIt was published without a test."
    names = {"mixture": "the mixture", "before": "the network as trained", "oracle": "ideal ratio masks: the ceiling"}
    rows, labels = [], release.scores["labels"]
    for estimate in ("mixture", "before", release.name, "oracle"):
        means = {row["label"]: row for row in release.scores["summary"] if row["estimate"] == estimate}
        shown = ["–" if means[label]["mean"] is None else f"{means[label]['mean']:.2f}" for label in (*labels, None)]
        rows.append((names.get(estimate, "the file here"), *shown))
    count = sum(row["si_sdr"] is not None for row in release.scores["scores"]["mixture"])
    return (
        f"## Scores\n\nMean SI-SDR in dB of {count} references in {len(release.scores['excerpts'])} excerpts "
        "of stems that were given for the test.\n\n" + _table(("", *labels, "all"), rows)
    )


def _curve(release: Release) -> str:
    points = release.points
    if not points:
        return ""
    step = max(1, -(-len(points) // SHOWN_POINTS))
    chosen = sorted({*range(0, len(points), step), len(points) - 1})
    rows = [(points[i]["iteration"], _loss(points[i]["train_loss"]), _loss(points[i]["valid_loss"])) for i in chosen]
    return f"## Training\n\n{_table(('iteration', 'training loss', 'validation loss'), rows)}\n\nAll of it is in `{CURVE}`."


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _table(head: tuple, rows: list[tuple]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
