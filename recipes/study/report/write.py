"""The report of a study: scores and statistics become the paper's tables and figures, answers, and one page.

The folder that it is made from::

    study.json                what was to be done (recipes.study)
    analysis.json             what the scores come to (recipes.study.analysis)
    examples/<downstream>/    as nussl_transfer.evaluation.evaluate.write_example writes it, its models 'scratch' and 'fine-tuned'

and what is made::

    index.html                         everything, in one file that asks the network for nothing
    answers.md                         H1, H2, R1 and R2 in sentences, and the rules by which they are made
    tables/table1.md, .csv             minutes of the data sets, beside the paper's
    tables/table2.md, .csv             mask minus whole, beside the paper's
    tables/scores.md, .csv             all means
    tables/iterations.md, .csv         how soon the baseline's best is reached
    tables/statistics.md, .csv         all comparisons
    figures/figure{1,2,3}.png, .pdf, .svg

The same input gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from nussl_transfer.report.figures import as_svg, save
from nussl_transfer.report.style import DARK, LIGHT
from nussl_transfer.runtime.files import written_aside

from .captions import captions
from .figures import curve_figure, gain_figure, score_figure
from .inputs import Study, read_study
from .page import Pictures, page
from .prose import answers_markdown
from .tables import all_tables
from .writing import as_csv, as_markdown

__all__ = ["write_study_report"]

FIGURES = {"figure1": score_figure, "figure2": gain_figure, "figure3": curve_figure}


def write_study_report(folder: str | Path, out: str | Path) -> Path:
    """Makes the report of a study and returns where its page was written.

    Args:
        folder: The study's, with the files named above.
        out: The folder to write.

    Raises:
        DataError: A file is missing or cannot be read; the message names it.
    """
    folder, out = Path(folder), Path(out)
    study = read_study(folder)
    tables, figures = all_tables(study), _draw(study, out / "figures")
    for name, table in tables.items():
        _write(out / "tables" / f"{name}.md", as_markdown(table))
        _write(out / "tables" / f"{name}.csv", as_csv(table))
    _write(out / "answers.md", answers_markdown(study))
    _write(out / "index.html", page(study, tables, figures, captions(study)))
    return out / "index.html"


def _draw(study: Study, out: Path) -> dict[str, Pictures]:
    """Writes the figures as files, and returns those of the page: SVG by (narrow, dark)."""
    found = {}
    for name, draw in FIGURES.items():
        kinds = {(narrow, ground == DARK): (ground, narrow) for narrow in (False, True) for ground in (LIGHT, DARK)}
        figures = {key: draw(study, *kind) for key, kind in kinds.items()}
        found[name] = {key: as_svg(figure, name) for key, figure in figures.items()}
        with written_aside(out / f"{name}.svg") as aside:
            aside.write_bytes(found[name][False, False])
        for kind in ("png", "pdf"):
            with written_aside(out / f"{name}.{kind}") as aside:
                save(figures[False, False], aside, kind)
    return found


def _write(path: Path, text: str) -> None:
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
