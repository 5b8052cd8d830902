"""Make up a small, complete study with plausible numbers, as input of the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

PRETRAININGS = {"musdb": "MUSDB", "slakh": "Slakh", "musdb_slakh": "MUSDB+Slakh"}
CONDITIONS = {
    "none": "No augmentation", "pitch": "Pitch shift", "stretch": "Time stretch", "incoherent": "Incoherent mixing",
}  # fmt: skip
DOWNSTREAMS = {"bach10": "Bach10", "choir": "Dagstuhl ChoirSet", "remixpacks": "Remixpacks"}
REAL = "bach10_recorded"
SOURCES = {
    "musdb": ["accompaniment", "vocals"], "slakh": ["drums", "piano+guitar"], "musdb_slakh": ["bass", "drums", "other"],
    "bach10": ["bassoon", "clarinet", "saxophone", "violin"], "choir": ["female", "male"],
    "remixpacks": ["cymbals", "kick drum", "snare"], REAL: ["bassoon", "clarinet", "saxophone", "violin"],
}  # fmt: skip
FLOOR = {"bach10": -4.9, "choir": 0.2, "remixpacks": -3.0, REAL: -5.0}
GAIN = {"musdb": 0.4, "slakh": 1.1, "musdb_slakh": 0.8}
RATE = 16000


def make_study(seeds=(0,), real=False, missing=(), stand_in=True) -> tuple[dict, dict]:
    """Return a plan and an analysis; ``missing`` holds (downstream, pretraining, condition, mode), None for any."""
    downstreams = DOWNSTREAMS | ({REAL: "Bach10, recorded"} if real else {})
    kinds = [(d, None, None, "scratch") for d in downstreams]
    kinds += [(d, p, c, m) for d in downstreams for p in PRETRAININGS for c in CONDITIONS for m in ("whole", "mask")]
    # The recorded set has only the models that H1 and R1 compare.
    kinds = [kind for kind in kinds if kind[0] != REAL or kind[2:] in ((None, "scratch"), ("none", "whole"))]
    models = [
        {"name": "-".join(str(part) for part in (*kind, fold, seed) if part is not None), "downstream": kind[0],
         "pretraining": kind[1], "condition": kind[2], "mode": kind[3], "seed": seed, "fold": fold,
         "iterations": 2400 if kind[3] == "scratch" else 400}
        for kind in kinds for seed in seeds for fold in (("a", "b") if kind[0] == REAL else (None,))
    ]  # fmt: skip
    undone = {kind for kind in kinds if any(all(w in (None, k) for w, k in zip(m, kind, strict=True)) for m in missing)}
    plan = {
        "format": 1, "size": "small", "command": "make study SIZE=small", "seeds": list(seeds), "threshold": 0.001,
        "pretrainings": PRETRAININGS, "conditions": CONDITIONS, "downstreams": downstreams, "modes": ["whole", "mask"],
        "data": {
            key: {"name": {**PRETRAININGS, **downstreams}[key], "sources": SOURCES[key], "train_minutes": 12.5 + n,
                  "test_minutes": 1.5 + n, "stand_in": stand_in and key != REAL}
            for n, key in enumerate([*PRETRAININGS, *downstreams])
        },
        "settings": [["Network", "BLSTM 2 \u00d7 100"], ["Excerpts", "64 of 4 s"]], "models": models,
    }  # fmt: skip
    means = {kind: mean_of(*kind) for kind in kinds if kind not in undone}
    analysis = {
        "format": 1, "size": "small", "threshold": 0.001,
        "missing": [m["name"] for m in models if (m["downstream"], m["pretraining"], m["condition"], m["mode"]) in undone],
        "missing_ceilings": [],
        "ceilings": {d: {"mixture": FLOOR[d], "oracle": FLOOR[d] + 12, "left_out": 2, "excerpts": 64, "songs": 8}
                     for d in downstreams},
        "cells": [make_cell(kind, mean, seeds) for kind, mean in means.items()],
        "comparisons": make_comparisons(means, downstreams),
        "curves": [make_curve(kind, mean, means) for kind, mean in means.items() if kind[3] != "mask"],
    }  # fmt: skip
    return plan, analysis


def mean_of(downstream, pretraining, condition, mode) -> float:
    """Return a mean that follows from the names alone."""
    noise = np.random.default_rng([*"-".join(map(str, (downstream, pretraining, condition, mode))).encode()]).normal(0, 0.4)
    if pretraining is None:
        return FLOOR[downstream] + 5
    against = -1.4 if downstream == "choir" else 0
    return FLOOR[downstream] + 5 + GAIN[pretraining] + against + noise - (2 if mode == "mask" else 0)


def make_cell(kind, mean, seeds) -> dict:
    downstream, pretraining, condition, mode = kind
    spread = {str(seed): mean + 0.3 * (index - (len(seeds) - 1) / 2) for index, seed in enumerate(seeds)}
    return {
        "downstream": downstream, "pretraining": pretraining, "condition": condition, "mode": mode, "excerpts": 64,
        "songs": 8, "mean": mean, "median": mean + 0.1, "improvement": mean - FLOOR[downstream],
        "by_label": dict.fromkeys(SOURCES[downstream], mean), "seeds": spread,
    }  # fmt: skip


def make_comparisons(means, downstreams) -> list[dict]:
    pairs = []
    for downstream, pretraining, condition, mode in means:
        kind = (downstream, pretraining, condition, mode)
        if mode == "whole" and condition == "none":
            pairs.append(("H1", kind, (downstream, None, None, "scratch")))
        if mode == "whole" and condition != "none":
            pairs.append(("H2", kind, (downstream, pretraining, "none", "whole")))
        if mode == "mask":
            pairs.append(("R2", kind, (downstream, pretraining, condition, "whole")))
    for downstream in downstreams:
        found = [kind for kind in means if kind[0] == downstream and kind[2:] == ("none", "whole")]
        best = max(found, key=means.get, default=None)
        pairs += [("R1", best, kind) for kind in found if kind != best]
    pairs = [pair for pair in pairs if pair[1] in means and pair[2] in means]
    return [make_comparison(*pair, means[pair[1]] - means[pair[2]], len(pairs)) for pair in pairs]


def make_comparison(question, kind, against, difference, tests) -> dict:
    downstream, pretraining, condition, mode = kind
    p = float(10.0 ** -(6 * difference)) if difference > 0 else 1 - 10.0**-6
    p_holm = min(1.0, p * tests)
    return {
        "question": question, "downstream": downstream, "pretraining": pretraining, "condition": condition, "mode": mode,
        "against": dict(zip(("pretraining", "condition", "mode"), against[1:], strict=True)), "excerpts": 64, "songs": 8,
        "mean_difference": difference, "median_difference": difference - 0.05,
        "interval": [difference - 0.4, difference + 0.3], "confidence": 0.95,
        "alternative": "two-sided" if question == "R1" else "greater",
        "effect_size": float(np.tanh(difference)), "p_value": p, "p_holm": p_holm, "significant": p < 0.001,
        "significant_holm": p_holm < 0.001,
    }  # fmt: skip


def make_curve(kind, mean, means) -> dict:
    downstream, pretraining, condition, mode = kind
    last, slope = (2400, 500) if mode == "scratch" else (400, 60)
    points = [[i, mean - 6 * float(np.exp(-i / slope))] for i in range(0, last + 1, 50)]
    best = max(value for _, value in points)
    baseline = means.get((downstream, None, None, "scratch"))
    aim = None if baseline is None else baseline - 6 * float(np.exp(-2400 / 500))
    reached = next((i for i, value in points if aim is not None and value >= aim), None)
    return {
        "downstream": downstream, "pretraining": pretraining, "condition": condition, "mode": mode, "points": points,
        "best": best, "reaches_baseline_at": reached,
    }  # fmt: skip


def write_study(folder: Path, plan: dict, analysis: dict, seconds: float = 0.5) -> Path:
    """Write a made-up study, and an example for each fully scored downstream set without folds."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps(plan))
    (folder / "analysis.json").write_text(json.dumps(analysis))
    undone = {model["downstream"] for model in plan["models"] if model["name"] in analysis["missing"]}
    for downstream in set(plan["downstreams"]) - undone - {REAL}:
        sources = plan["data"][downstream]["sources"]
        write_example(folder / "examples" / downstream, sources, seconds, f"{downstream}-slakh-pitch-whole-0.pth")
    return folder


def write_example(folder: Path, labels: list[str], seconds: float, checkpoint: str) -> None:
    generator = np.random.default_rng(3)
    clips = ["mixture", *(f"{name}/{label}" for name in ("references", "scratch", "fine-tuned") for label in labels)]
    for clip in clips:
        path = folder / f"{clip}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, generator.normal(0, 0.1, int(seconds * RATE)), RATE, subtype="FLOAT")
    ratios = {name: {label: float(generator.normal()) for label in labels} for name in ("mixture", "scratch", "fine-tuned")}
    about = {"track": "a song", "start": 2 * RATE, "sample_rate": RATE, "labels": labels, "si_sdr": ratios}
    about["checkpoints"] = {"scratch": "x.pth", "fine-tuned": checkpoint}
    (folder / "example.json").write_text(json.dumps(about))
