"""The tables of a study, each as rows to read and as records of plain values; as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from tabulate import tabulate

from nussl_transfer.report.text import decibels, probability

from . import paper
from .findings import finding, finding_by_paper, mark
from .inputs import Study

# A cell without a value.
DASH = "\u2013"
# The two sides of the comparisons of each question.
_SIDES = {
    "H1": "fine-tuned over from scratch",
    "H1_equal": "fine-tuned over from scratch, equal iterations",
    "H2": "pretrained with augmentation over without",
    "R1": "the best pretraining set over the others",
    "R2": "mask head fine-tuned over whole",
}


@dataclass(frozen=True)
class Cell:
    """A cell: its text, a mark after it, and its look; ``words`` is text to read, which may wrap."""

    text: str
    strong: bool = False
    after: str = ""
    muted: bool = False
    words: bool = False


@dataclass(frozen=True)
class Table:
    """A table to read, and the same as records of plain values in full precision.

    Attributes:
        name: Name of its files.
        caption: Plain text.
        head: Names of the columns.
        rows: Cells of each row.
        records: Values of each row by name.
        grouped: Whether neighbouring rows with the same first cell form a group, headed by that cell.
    """

    name: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    records: Sequence[dict]
    grouped: bool = False

    def of_words(self, column: int) -> bool:
        """Return whether a column has text to read."""
        return any(row[column].words for row in self.rows)

    def groups(self) -> Iterator[tuple[str | None, list[Sequence[Cell]]]]:
        """Yield the heading of each group and its rows without the first cell; one group without heading if not grouped."""
        if not self.grouped:
            yield None, list(self.rows)
            return
        for heading, rows in groupby(self.rows, key=lambda row: row[0].text):
            yield heading, [row[1:] for row in rows]


def decibel_cell(value: float | None, signed: bool = False) -> Cell:
    """Return a cell with a level or a difference in dB, without the unit."""
    return Cell(decibels(value, signed))


def as_markdown(table: Table) -> str:
    """Return the caption and the table in Markdown; numbers are aligned to the right."""

    def escaped(texts: Sequence[str]) -> list[str]:
        return [text.replace("|", "\\|") for text in texts]

    names = 2 if table.grouped else 1
    align = ["left" if column < names or table.of_words(column) else "right" for column in range(len(table.head))]
    rows = [
        escaped([(f"**{cell.text}**" if cell.strong else cell.text) + cell.after for cell in row]) for row in table.rows
    ]
    lines = tabulate(rows, escaped(table.head), "pipe", colalign=align if rows else None, disable_numparse=True)
    return f"*{table.caption}*\n\n{lines}\n"


def as_csv(table: Table) -> str:
    """Return the records as CSV: a decimal point, nothing for a missing value."""
    out = io.StringIO()
    if table.records:
        writer = csv.DictWriter(out, list(table.records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _plain(value) for name, value in record.items()} for record in table.records)
    return out.getvalue()


def all_tables(study: Study) -> dict[str, Table]:
    """Return the tables by the name of their files."""
    return {
        "table1": data_table(study),
        "table2": mask_table(study),
        "scores": score_table(study),
        "iterations": iteration_table(study),
        "statistics": statistics_table(study),
    }


def data_table(study: Study) -> Table:
    """Return Table 1: the measured minutes of each data set beside the paper's."""
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
        "Table 1. Minutes of music to train and to test on, measured in the files that were read, and the sources; beside "
        "each the paper\u2019s."
    )
    return Table("table1", caption, head, rows, records)


def mask_table(study: Study) -> Table:
    """Return Table 2: mask minus whole, beside the paper's values."""
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
        "Table 2. SI-SDR of the model with only the mask head fine-tuned, minus that of the model fine-tuned whole, in dB. "
        f"Bold: a significant increase (p < {study.threshold:g}; \u2020 not after Holm\u2019s correction). Beside each the "
        "paper\u2019s."
    )
    return Table("table2", caption, head, rows, records, grouped=True)


def score_table(study: Study) -> Table:
    """Return the mean scores of all models, the mixture and the oracle magnitude mask."""
    rows, records = [], []
    for downstream, name in study.plan["downstreams"].items():
        ceiling = study.analysis["ceilings"].get(downstream)
        for estimate in ("mixture", "oracle"):
            if ceiling and ceiling.get(estimate) is not None:
                counts = [Cell(f"{ceiling['excerpts']:,}"), Cell(f"{ceiling['songs']:,}")]
                called = {"mixture": "mixture", "oracle": "oracle magnitude mask"}[estimate]
                rows.append([Cell(name), Cell(called), decibel_cell(ceiling[estimate]), Cell(DASH), Cell(DASH), *counts])
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
    """Return the iteration at which each network reached the baseline's best."""
    rows, records = [], []
    for downstream, name in study.plan["downstreams"].items():
        row = study.reached(downstream)
        for pretraining, curve in study.main_curves(downstream).items():
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
        "Best test SI-SDR during training, in dB, and the iteration at which each network first reached the best of the "
        f"one from scratch. The paper, on Dagstuhl ChoirSet: 5 dB in {paper.REACHED_IN:,} iterations, from scratch in "
        f"{paper.BASELINE_REACHED_IN:,}. Iterations are those on the downstream set, without pretraining."
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
    """Return minutes: whole from ten on, with one decimal below.

    >>> _minutes(7830.4), _minutes(0.52), _minutes(12.34), _minutes(5)
    ('7,830', '0.5', '12', '5.0')
    """
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def statistics_table(study: Study) -> Table:
    """Return all comparisons with all their statistics."""
    rows, records = [], []
    downstreams = list(study.plan["downstreams"])

    def order(entry: dict) -> tuple[str, int]:
        return entry["question"], downstreams.index(entry["downstream"])

    for entry in sorted(study.analysis["comparisons"], key=order):
        other = entry["against"]
        low, high = entry["interval"] or (None, None)
        interval = DASH if low is None else f"{decibels(low, True)} to {decibels(high, True)}"
        by_paper, by_ours = (judge(entry, study.threshold) for judge in (finding_by_paper, finding))
        rows.append([
            Cell(
                f"{entry['question'].partition('_')[0]}, {study.in_sentence(entry['downstream'])}: "
                f"{_SIDES[entry['question']]}"
            ),
            Cell(_what(study, entry)),
            decibel_cell(entry["mean_difference"], signed=True),
            decibel_cell(entry["median_difference"], signed=True),
            Cell(interval),
            decibel_cell(entry["effect_size"], signed=True),
            Cell(f"{entry['excerpts']:,}"),
            Cell(f"{entry['songs']:,}"),
            Cell(probability(entry["p_value"])),
            Cell(probability(entry["p_holm"])),
            Cell(by_paper),
            Cell(by_ours),
        ])
        records.append({
            "question": entry["question"],
            "downstream": entry["downstream"],
            "pretraining": entry["pretraining"],
            "condition": entry["condition"],
            "mode": entry["mode"],
            "against_pretraining": other["pretraining"],
            "against_condition": other["condition"],
            "against_mode": other["mode"],
            **{name: entry[name] for name in ("excerpts", "songs", "mean_difference", "median_difference")},
            "interval_low": low,
            "interval_high": high,
            **{name: entry[name] for name in ("confidence", "effect_size", "p_value", "p_holm", "significant")},
            "significant_holm": entry["significant_holm"],
            "finding_paper_rule": by_paper,
            "finding_our_rule": by_ours,
        })
    caption = (
        "All comparisons: difference in SI-SDR in dB, mean and median over the excerpts; bootstrap interval of the median "
        "over songs; effect size (matched-pairs rank-biserial correlation, \u22121 to 1); p of the Wilcoxon signed-rank "
        "test over excerpts, and after Holm\u2019s correction over all comparisons; the finding by the paper\u2019s rule "
        "and by ours."
    )
    head = [
        "question", "comparison", "mean", "median", "interval", "effect", "excerpts", "songs", "p", "Holm p",
        "paper\u2019s rule", "our rule",
    ]  # fmt: skip
    return Table("statistics", caption, head, rows, records, grouped=True)


def _what(study: Study, entry: dict) -> str:
    """Return which model is compared, and with which other if the question does not say so."""
    name = study.name(entry["pretraining"], entry["condition"])
    return f"{name} over {study.name(entry['against']['pretraining'])}" if entry["question"] == "R1" else name


def _plain(value: object) -> object:
    """Return a value as in the CSV.

    >>> _plain(0.1 + 0.2), _plain(True), _plain(None), _plain(12)
    ('0.3', 'true', '', 12)
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.9g}" if isinstance(value, float) else value
