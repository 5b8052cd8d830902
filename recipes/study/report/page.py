"""Make the report of a study: the paper's tables and figures, the answers, and one page.

The folder that it is made from::

    study.json                the plan (recipes.study.study_file)
    analysis.json             the analysis of the scores (recipes.study.analysis)
    examples/<downstream>/    as nussl_transfer.evaluation.evaluate.write_example writes it, of the models 'scratch' and
                              'fine-tuned'

and what is made::

    index.html                         everything, in one file that loads nothing
    answers.md                         the answers to H1, H2, R1 and R2, and the rules behind them
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

from nussl_transfer.report.figures import DARK, LIGHT, as_svg, save
from nussl_transfer.report.inputs import Example
from nussl_transfer.report.listen import listening_part
from nussl_transfer.report.page import Drawings, drawing_versions, render
from nussl_transfer.runtime.files import written_aside

from . import paper
from .answers import answers, answers_markdown, efficiency
from .coverage import extent, missing_parts
from .figures import captions, curve_figure, gain_figure, score_figure
from .findings import rules
from .inputs import FINE_TUNED, SCRATCH, Study, read_study
from .tables import Table, all_tables, as_csv, as_markdown

FIGURES = {"figure1": score_figure, "figure2": gain_figure, "figure3": curve_figure}
TEMPLATES = Path(__file__).parents[1] / "templates"
# Size of all clips of the page together, base64-encoded, and the largest width of a spectrogram in pixels.
AUDIO_BYTES = 5_000_000
PICTURE_WIDTH = 400


def write_study_report(folder: str | Path, out: str | Path) -> Path:
    """Make the report of a study and return the path of its page.

    Args:
        folder: Folder of the study, with the files listed above.
        out: Folder to write.

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
    _write(out / "index.html", page(study, tables, figures))
    return out / "index.html"


def page(study: Study, tables: dict[str, Table], figures: dict[str, Drawings]) -> str:
    """Return the HTML of the page.

    Args:
        study: The results.
        tables: By the name of their files.
        figures: SVG files by the name of the figure, then by (narrow, dark).
    """
    budget = AUDIO_BYTES // max(1, len(study.examples))
    examples = [
        {
            "name": study.plan["downstreams"][downstream],
            "fine_tuned": _fine_tuned(study, example),
            "part": listening_part(example, [SCRATCH, FINE_TUNED], study.labels(downstream), budget, PICTURE_WIDTH),
        }
        for downstream, example in study.examples.items()
    ]
    return render(
        "study.html",
        TEMPLATES,
        title=study.title,
        extent=extent(study),
        answers=answers(study),
        threshold=study.threshold,
        rules=rules(study.analysis["comparisons"], study.threshold),
        tables=tables,
        figures={name: drawing_versions(drawings) for name, drawings in figures.items()},
        captions=captions(study),
        has_augmented=bool(study.augmented()),
        has_masked=bool(study.masked()),
        efficiency=efficiency(study),
        examples=examples,
        settings=study.plan.get("settings", []),
        command=study.plan["command"],
        missing=missing_parts(study),
        source=paper.SOURCE,
    )


def _fine_tuned(study: Study, example: Example) -> str | None:
    """Return the name of the model that an example calls fine-tuned, if the example has its file name."""
    models = {model["name"]: model for model in study.plan["models"]}
    model = models.get(example.checkpoints.get(FINE_TUNED, "").removesuffix(".pth"))
    return None if model is None else study.name(model["pretraining"], model["condition"], model["mode"])


def _draw(study: Study, out: Path) -> dict[str, Drawings]:
    """Write the figures as files, and return those of the page: SVG by (narrow, dark)."""
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
