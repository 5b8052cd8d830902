"""The tables: each once, as rows to read and as records of plain values."""

from __future__ import annotations

from nussl_transfer.report.text import decibels

from . import paper
from .curves import reached, shown_curves
from .findings import mark
from .inputs import Study
from .statistics_table import statistics_table
from .writing import DASH, Cell, Table, decibel_cell


def all_tables(study: Study) -> dict[str, Table]:
    """Returns the tables by the name of their file."""
    return {
        "table1": data_table(study),
        "table2": mask_table(study),
        "scores": score_table(study),
        "iterations": iteration_table(study),
        "statistics": statistics_table(study),
    }


def data_table(study: Study) -> Table:
    """Returns Table 1: minutes of each data set, measured, beside the paper's."""
    rows, records = [], []
    for key in [*study.plan["pretrainings"], *study.plan["downstreams"]]:
        data = study.plan["data"].get(key)
        if data is None:
            continue
        theirs = paper.DATA.get(paper.same_set(key) or key)
        name = data["name"] + (" (rendered stand-in)" if data.get("stand_in") else "")
        rows.append([
            Cell(name),
            Cell(_minutes(data["train_minutes"])),
            Cell(f"{theirs[0]:,g}" if theirs else DASH, muted=True),
            Cell(_minutes(data["test_minutes"])),
            Cell(f"{theirs[1]:,g}" if theirs else DASH, muted=True),
            Cell(", ".join(data["sources"]), words=True),
            Cell(theirs[2] if theirs else DASH, muted=True, words=True),
        ])
        records.append({
            "data": key,
            "name": data["name"],
            "stand_in": bool(data.get("stand_in")),
            "train_minutes": data["train_minutes"],
            "train_minutes_paper": theirs[0] if theirs else None,
            "test_minutes": data["test_minutes"],
            "test_minutes_paper": theirs[1] if theirs else None,
            "sources": " ".join(data["sources"]),
        })
    head = ["data set", "training", "paper", "testing", "paper", "sources", "paper"]
    caption = (
        "Table 1. Minutes of music to train and to test on, measured from what was read, and the sources; beside each the "
        "paper\u2019s."
    )
    return Table("table1", caption, head, rows, records)


def mask_table(study: Study) -> Table:
    """Returns Table 2: mask minus whole, beside the paper's values."""
    rows, records = [], []
    compared = {(e["downstream"], e["pretraining"], e["condition"]): e for e in study.comparisons("R2")}
    for condition, condition_name in study.plan["conditions"].items():
        for pretraining, pretraining_name in study.plan["pretrainings"].items():
            cells = [Cell(pretraining_name)]
            for downstream in study.masked():
                entry = compared.get((downstream, pretraining, condition))
                theirs = paper.mask_minus_whole(downstream, pretraining, condition)
                cells += [_ours(entry), _theirs(theirs)]
                records.append({
                    "condition": condition,
                    "pretraining": pretraining,
                    "downstream": downstream,
                    "mask_minus_whole_db": entry and entry["mean_difference"],
                    "p_value": entry and entry["p_value"],
                    "p_holm": entry and entry["p_holm"],
                    "significant": entry and entry["significant"],
                    "significant_holm": entry and entry["significant_holm"],
                    "paper_db": theirs,
                    "paper_significant": None if theirs is None else paper.is_bold(theirs),
                })
            rows.append([Cell(condition_name), *cells])
    head = ["condition", "pretrained on"]
    for downstream in study.masked():
        head += [study.plan["downstreams"][downstream], "paper"]
    caption = (
        "Table 2. SI-SDR of the model of which only the mask head was fine-tuned, minus that of the one fine-tuned whole, "
        f"in dB; bold: a significant increase (p < {study.threshold:g}; \u2020 not after Holm\u2019s correction). Beside "
        "ours the paper\u2019s."
    )
    return Table("table2", caption, head, rows, records, grouped=True)


def score_table(study: Study) -> Table:
    """Returns the mean scores of all models, the mixture and the oracle."""
    rows, records = [], []
    for downstream, name in study.plan["downstreams"].items():
        ceiling = study.analysis["ceilings"].get(downstream)
        for estimate in ("mixture", "oracle"):
            if ceiling and ceiling.get(estimate) is not None:
                counts = [Cell(f"{ceiling['excerpts']:,}"), Cell(f"{ceiling['songs']:,}")]
                rows.append([Cell(name), Cell(estimate), decibel_cell(ceiling[estimate]), Cell(DASH), Cell(DASH), *counts])
                records.append(_score_record(downstream, estimate, ceiling, {"mean": ceiling[estimate]}))
        for cell in study.analysis["cells"]:
            if cell["downstream"] == downstream:
                called = study.name(cell["pretraining"], cell["condition"], cell["mode"])
                counts = [Cell(f"{cell['excerpts']:,}"), Cell(f"{cell['songs']:,}")]
                scored = [decibel_cell(cell["mean"]), decibel_cell(cell["median"])]
                scored.append(decibel_cell(cell["improvement"], signed=True))
                rows.append([Cell(name), Cell(called), *scored, *counts])
                records.append(_score_record(downstream, called, cell, cell))
    head = ["downstream", "model", "mean", "median", "over mixture", "excerpts", "songs"]
    caption = "SI-SDR in dB over all excerpts, and the mean improvement over the mixture."
    return Table("scores", caption, head, rows, records, grouped=True)


def iteration_table(study: Study) -> Table:
    """Returns in how many iterations each network reached the baseline's best."""
    rows, records = [], []
    for downstream, name in study.plan["downstreams"].items():
        row = reached(study, downstream)
        for pretraining, curve in shown_curves(study, downstream).items():
            at = None
            if row is not None:
                at = row.baseline if pretraining is None else row.fine_tuned[pretraining]
            called = study.name(pretraining)
            last = curve["points"][-1][0]
            never = f"not in {last:,}" if row is not None else DASH
            rows.append([Cell(name), Cell(called), decibel_cell(curve["best"]), Cell(never if at is None else f"{at:,}")])
            record = {"downstream": downstream, "pretraining": pretraining, "best_db": curve["best"]}
            records.append({**record, "reaches_baseline_at": at, "iterations": last})
    caption = (
        "Best test SI-SDR in training, in dB, and the iteration at which each network first reached the best of the one "
        f"from scratch. The paper, on Dagstuhl ChoirSet: 5 dB in {paper.REACHED_IN:,} iterations, from scratch in "
        f"{paper.BASELINE_REACHED_IN:,}. Iterations on the downstream set; those of pretraining are not counted."
    )
    head = ["downstream", "model", "best", "reaches the baseline\u2019s best at"]
    return Table("iterations", caption, head, rows, records, grouped=True)


def _score_record(downstream: str, estimate: str, counted: dict, scored: dict) -> dict:
    names = ("pretraining", "condition", "mode", "mean", "median", "improvement")
    record = {"downstream": downstream, "estimate": estimate, **{name: scored.get(name) for name in names}}
    return {**record, "excerpts": counted["excerpts"], "songs": counted["songs"]}


def _ours(entry: dict | None) -> Cell:
    if entry is None:
        return Cell(DASH)
    dagger = mark(entry).replace("*", "")
    return Cell(decibels(entry["mean_difference"], True), strong=bool(entry["significant"]), after=dagger)


def _theirs(value: float | None) -> Cell:
    return Cell(decibels(value, True), strong=value is not None and paper.is_bold(value), muted=True)


def _minutes(value: float) -> str:
    """Returns minutes: whole ones from ten on, else with one decimal.

    >>> _minutes(7830.4), _minutes(0.52), _minutes(12.34), _minutes(5)
    ('7,830', '0.5', '12', '5.0')
    """
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


