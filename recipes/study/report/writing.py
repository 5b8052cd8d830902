"""A table as Markdown, as CSV and as HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from nussl_transfer.report.elements import raised
from nussl_transfer.report.text import decibels

# Where there is no value.
DASH = "\u2013"


@dataclass(frozen=True)
class Cell:
    """What stands in a cell: text, a mark after it; ``words`` are to be read, not compared, and may break."""

    text: str
    strong: bool = False
    after: str = ""
    muted: bool = False
    words: bool = False


@dataclass(frozen=True)
class Table:
    """A table to read, and the same as records of plain values, in full precision.

    Where ``grouped``, rows of which the first cell is the same belong together.
    """

    name: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    records: Sequence[dict]
    grouped: bool = False


def decibel_cell(value: float | None, signed: bool = False) -> Cell:
    """Returns a cell with a level or a difference in dB, without the unit."""
    return Cell(decibels(value, signed))


def as_markdown(table: Table) -> str:
    """Returns the caption and the table in Markdown; numbers are set to the right."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    names = 2 if table.grouped else 1
    rule = [":--" if column < names or _of_words(table, column) else "--:" for column in range(len(table.head))]
    rows = [[(f"**{cell.text}**" if cell.strong else cell.text) + cell.after for cell in row] for row in table.rows]
    return "\n".join([f"*{table.caption}*", "", line(table.head), line(rule), *map(line, rows), ""])


def as_csv(table: Table) -> str:
    """Returns the records as CSV: a decimal point, nothing where there is no value."""
    out = io.StringIO()
    if table.records:
        writer = csv.DictWriter(out, list(table.records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _plain(value) for name, value in record.items()} for record in table.records)
    return out.getvalue()


def as_html(table: Table) -> str:
    """Returns the table in a box of its own, within which it scrolls where the page is too narrow."""
    start = 1 if table.grouped else 0
    head = "".join(
        f'<th scope="col"{_classes(_of_words(table, column), name == "paper")}>{escape(name)}</th>'
        for column, name in enumerate(table.head)
        if column >= start
    )
    width = len(table.head) - start
    bodies = []
    if table.grouped:
        for group, rows in groupby(table.rows, key=lambda row: row[0].text):
            named = f'<tr class="group"><th scope="rowgroup" colspan="{width}"><span>{escape(group)}</span></th></tr>'
            bodies.append(f"<tbody>{named}{''.join(_row(row[1:]) for row in rows)}</tbody>")
    else:
        bodies.append(f"<tbody>{''.join(map(_row, table.rows))}</tbody>")
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(table.caption.split(".")[0], quote=True)}">'
        f'<table class="{table.name}"><caption><span>{escape(table.caption)}</span></caption>'
        f"<thead><tr>{head}</tr></thead>{''.join(bodies)}</table></div>"
    )


def _row(row: Sequence[Cell]) -> str:
    cells = []
    for cell in row[1:]:
        text = raised(escape(cell.text))
        text = f"<strong>{text}</strong>{escape(cell.after)}" if cell.strong else text + escape(cell.after)
        cells.append(f"<td{_classes(cell.words, cell.muted)}>{text}</td>")
    return f'<tr><th scope="row">{escape(row[0].text)}</th>{"".join(cells)}</tr>'


def _classes(words: bool, muted: bool) -> str:
    names = " ".join(name for name, holds in (("words", words), ("n", muted)) if holds)
    return f' class="{names}"' if names else ""


def _of_words(table: Table, column: int) -> bool:
    return any(row[column].words for row in table.rows)


def _plain(value: object) -> object:
    """Returns a value as it stands in the CSV.

    >>> _plain(0.1 + 0.2), _plain(True), _plain(None), _plain(12)
    ('0.3', 'true', '', 12)
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.9g}" if isinstance(value, float) else value
