"""All comparisons, with all that was computed of them."""

from __future__ import annotations

from nussl_transfer.report.text import decibels, probability

from .findings import finding
from .inputs import Study
from .writing import DASH, Cell, Table, decibel_cell

# What is compared with what, by question.
_SIDES = {
    "H1": "fine-tuned over from scratch",
    "H2": "pretrained with augmentation over without",
    "R1": "the best pretraining set over the others",
    "R2": "mask head fine-tuned over whole",
}


def statistics_table(study: Study) -> Table:
    """Returns all comparisons with all that was computed of them."""
    rows, records = [], []
    downstreams = list(study.plan["downstreams"])

    def place(entry: dict) -> tuple[str, int]:
        return entry["question"], downstreams.index(entry["downstream"])

    for entry in sorted(study.analysis["comparisons"], key=place):
        other = entry["against"]
        low, high = entry["interval"] or (None, None)
        interval = DASH if low is None else f"{decibels(low, True)} to {decibels(high, True)}"
        found = finding(entry, study.threshold)
        rows.append([
            Cell(f"{entry['question']}, {study.spoken(entry['downstream'])}: {_SIDES[entry['question']]}"),
            Cell(_what(study, entry)),
            decibel_cell(entry["mean_difference"], signed=True),
            decibel_cell(entry["median_difference"], signed=True),
            Cell(interval),
            decibel_cell(entry["effect_size"], signed=True),
            Cell(f"{entry['excerpts']:,}"),
            Cell(f"{entry['songs']:,}"),
            Cell(probability(entry["p_value"])),
            Cell(probability(entry["p_holm"])),
            Cell(found),
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
            "finding": found,
        })
    caption = (
        "All comparisons: difference in SI-SDR in dB, mean and median over the excerpts; interval of the median with "
        "songs, not excerpts, drawn anew; effect size (matched-pairs rank-biserial correlation, \u22121 to 1); p of the "
        "Wilcoxon signed-rank test, and after Holm\u2019s correction over all of them."
    )
    head = ["question", "comparison", "mean", "median", "interval", "effect", "excerpts", "songs", "p", "Holm p", "found"]
    return Table("statistics", caption, head, rows, records, grouped=True)


def _what(study: Study, entry: dict) -> str:
    """Returns which model is compared, and with which other where the question does not say so."""
    name = study.name(entry["pretraining"], entry["condition"])
    return f"{name} over {study.name(entry['against']['pretraining'])}" if entry["question"] == "R1" else name
