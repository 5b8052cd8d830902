"""Stage 11, report: scores become a table, a figure and one page. Reads files; needs neither torch nor nussl.

The folder that a page is made from::

    about.json      {"title": str, "summary": str, "facts": [[name, value], ...], "commands": [str, ...],
                     "notes": [str, ...]}; only what is there is shown
    scores.json     as nussl_transfer.evaluation.evaluate.evaluate writes it
    curves.json     {name: what is in that run's curve.json, ...}: its "points" have "iteration" and "test_si_sdr" (dB,
                    null where it was not measured), beside them "mixture_si_sdr". Names as in scores.json.
    example/        as nussl_transfer.evaluation.evaluate.write_example writes it:
        example.json    {"track", "start", "frames", "sample_rate", "si_sdr": {name: {label: dB}}}
        mixture.wav
        references/<label>.wav
        <name>/<label>.wav, <name>/masks.npz     for each model of scores.json; one array [nf, nt] a label

The page holds its audio, pictures and style within itself and asks the network for nothing.
Of a whole study, `recipes.study.report.write` makes more: the paper's tables and figures, and what they answer.
"""

from __future__ import annotations

from pathlib import Path

from ..runtime.files import written_aside
from .figures import curves_png
from .inputs import read_curves, read_example, read_json, read_scores
from .page import page
from .text import folds_table, text_table

__all__ = ["folds_table", "text_table", "write_curves", "write_page"]


def write_page(folder: str | Path, out: str | Path) -> Path:
    """Makes the page of a folder and returns where it was written.

    Args:
        folder: The files named above.
        out: The HTML file to write.

    Raises:
        DataError: A file is missing or cannot be read; the message names it.
    """
    folder, out = Path(folder), Path(out)
    about = read_json(folder / "about.json")
    scores = read_scores(folder / "scores.json")
    curves = read_curves(folder / "curves.json", scores)
    example = read_example(folder / "example", list(scores["models"]), scores["labels"])
    html = page(about, scores, curves, example)
    with written_aside(out) as aside:
        aside.write_text(html, encoding="utf-8")
    return out


def write_curves(folder: str | Path, out: str | Path) -> Path:
    """Draws ``curves.json`` of a folder as a PNG file and returns where it was written.

    Args:
        folder: ``curves.json``, and ``scores.json``, whose order of the models gives them their colours.
        out: The PNG file to write.

    Raises:
        DataError: A file is missing or cannot be read; the message names it.
    """
    folder, out = Path(folder), Path(out)
    scores = read_scores(folder / "scores.json")
    curves = read_curves(folder / "curves.json", scores)
    with written_aside(out) as aside:
        curves_png(curves, list(scores["models"]), aside)
    return out
