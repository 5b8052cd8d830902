"""The report of a study: its tables, figures and answers follow from the numbers and from nothing else."""

from __future__ import annotations

import ast
import base64
import csv
import io
import json
import re
import shutil
from pathlib import Path

import pytest
import soundfile
from html_pages import Page, asks_nothing_of_the_network
from made_up_study import DOWNSTREAMS, FLOOR, PRETRAININGS, make_study, write_study
from matplotlib.figure import Figure

import recipes.study.report.page as report
from nussl_transfer.errors import DataError
from nussl_transfer.report import figures as drawing
from nussl_transfer.report.figures import DARK, LIGHT
from recipes.study.report import paper
from recipes.study.report.answers import answers, efficiency
from recipes.study.report.coverage import extent
from recipes.study.report.figures import curve_figure, gain_figure, score_figure, series_style
from recipes.study.report.findings import OUR_RULE, PAPER_RULE
from recipes.study.report.inputs import Study, read_study
from recipes.study.report.tables import all_tables, as_markdown


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A whole study with its report and its figures."""
    folder = write_study(tmp_path_factory.mktemp("study"), *make_study(seeds=(0, 1)), seconds=0.1)
    report.write_study_report(folder, folder / "report")
    return folder


@pytest.fixture(scope="module")
def html(made):
    return (made / "report" / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def quick(monkeypatch):
    """Reports with empty figures: drawing takes most of the time."""
    empty = dict.fromkeys(report.FIGURES, lambda *_: Figure((1, 1)))
    monkeypatch.setattr(report, "FIGURES", empty)


def study_of(**options) -> Study:
    return Study(*make_study(**options))


def shown(number):
    return f"{number:+.2f}".replace("-", "\u2212")


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_promised_file_is_made(made):
    found = set(contents(made / "report"))
    tables = {f"tables/{name}.{kind}" for name in ("table1", "table2", "statistics") for kind in ("md", "csv")}
    figures = {f"figures/figure{number}.{kind}" for number in (1, 2, 3) for kind in ("png", "pdf", "svg")}
    assert {"index.html", "answers.md"} | tables | figures <= found
    assert not [name for name in found if name.endswith(".part")]


def test_the_page_contains_everything_and_loads_nothing(html):
    assert asks_nothing_of_the_network(html) == 12
    page = Page(html)
    policy = next(m["content"] for m in page.find("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert len(html) < 4_000_000
    # For each set the mixture, and for each source reference, scratch and fine-tuned.
    players = page.find("audio")
    assert len(players) == sum(1 + 3 * sources for sources in (4, 2, 3))
    for player in players:
        sound, _ = soundfile.read(io.BytesIO(base64.b64decode(player["src"].split(",", 1)[1])))
        assert len(sound) == 1600
    assert html.count("Fine-tuned is the network pretrained on Slakh, pitch shift.") == 3
    # Content wider than a narrow screen scrolls within its own box.
    boxes = [element for element in page.find("div") if element.get("class") == "scroll"]
    assert len(boxes) == len(page.tables) == 6
    identifiers = [element["id"] for element in page.elements if "id" in element]
    assert len(identifiers) == len(set(identifiers))
    assert all(image["alt"].strip() for image in page.find("img"))
    assert all(head.get("scope") for head in page.find("th"))


def test_the_same_study_gives_the_same_bytes(made, tmp_path, quick):
    first, second = tmp_path / "first", tmp_path / "second"
    for out in (first, second):
        report.write_study_report(made, out)
    assert contents(first) == contents(second)
    figures = [score_figure(study_of()) for _ in range(2)]
    assert drawing.as_svg(figures[0], "x") == drawing.as_svg(figures[1], "x")
    for figure, path in zip(figures, (first, second), strict=True):
        drawing.save(figure, path / "figure.pdf", "pdf")
    assert (first / "figure.pdf").read_bytes() == (second / "figure.pdf").read_bytes()


def test_a_changed_score_changes_the_page_the_tables_and_the_answers(made, tmp_path, quick):
    plan, analysis = make_study(seeds=(0, 1))
    before = contents(report.write_study_report(made, tmp_path / "before").parent)
    for comparison in analysis["comparisons"]:
        if comparison["question"] == "R2":
            comparison["mean_difference"] = 7.77
            break
    changed = write_study(tmp_path / "study", plan, analysis, seconds=0.1)
    after = contents(report.write_study_report(changed, tmp_path / "after").parent)
    differ = {name for name in before if before[name] != after[name]}
    assert {"index.html", "answers.md", "tables/table2.md", "tables/statistics.csv"} <= differ
    assert "tables/table1.md" not in differ and b"+7.77" in after["index.html"]


def test_a_missing_example_is_named(tmp_path, quick):
    folder = write_study(tmp_path, *make_study(), seconds=0.01)
    shutil.rmtree(folder / "examples" / "choir")
    report.write_study_report(folder, folder / "report")
    assert "* example of choir\n" in (folder / "report" / "answers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "missing",
    ["study.json", "analysis.json", "examples/choir/example.json", "examples/choir/mixture.wav",
     "examples/bach10/references/violin.wav", "examples/remixpacks/fine-tuned/snare.wav"],
)  # fmt: skip
def test_a_missing_file_is_named(tmp_path, missing):
    folder = write_study(tmp_path / "study", *make_study(), seconds=0.01)
    (folder / missing).unlink()
    with pytest.raises(DataError, match=re.escape(str(folder / missing))):
        report.write_study_report(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_that_contradict_each_other_are_named(tmp_path):
    def refused(change, message):
        plan, analysis = make_study()
        change(plan, analysis)
        (tmp_path / "study.json").write_text(json.dumps(plan))
        (tmp_path / "analysis.json").write_text(json.dumps(analysis))
        with pytest.raises(DataError, match=message):
            read_study(tmp_path)

    refused(lambda plan, analysis: plan.update(format=2), "study.json is wrong: got format 2, expected 1")
    refused(lambda plan, analysis: analysis.pop("cells"), "analysis.json lacks cells")
    refused(lambda plan, analysis: analysis["cells"][0].update(downstream="x"), "analysis.json has the downstream 'x'")
    refused(lambda plan, analysis: analysis["missing"].append("x"), "misses 'x', which study.json does not plan")
    refused(lambda plan, analysis: plan["data"].pop("choir"), "study.json: data lacks choir")


def test_table_1_has_the_minutes_measured_beside_the_papers(made):
    rows = list(csv.DictReader((made / "report/tables/table1.csv").open(encoding="utf-8")))
    assert [row["data"] for row in rows] == [*PRETRAININGS, *DOWNSTREAMS]
    assert [(row["train_minutes_paper"], row["test_minutes_paper"]) for row in rows] == [
        ("600", "300"), ("7830", "870"), ("8430", "1170"), ("5", "0.5"), ("70", "7"), ("192", "96"),
    ]  # fmt: skip
    assert [float(row["train_minutes"]) for row in rows] == [12.5 + n for n in range(6)]


def test_table_2_has_mask_minus_whole_beside_the_papers_and_bold_where_significant():
    study = study_of()
    entry = study.comparisons("R2", downstream="choir", pretraining="musdb", condition="pitch")[0]
    other = study.comparisons("R2", downstream="bach10", pretraining="musdb", condition="pitch")[0]
    entry.update(mean_difference=1.5, significant=True, significant_holm=True)
    other.update(mean_difference=1.25, significant=True, significant_holm=False)
    lines = as_markdown(all_tables(study)["table2"]).splitlines()
    row = next(line for line in lines if re.match(r"\| Pitch shift +\| MUSDB +\|", line))
    found = [cell.strip() for cell in row.split("|")[3:-1]]
    third = study.comparisons("R2", downstream="remixpacks", pretraining="musdb", condition="pitch")[0]
    # Bach10, Dagstuhl ChoirSet, Remixpacks; the paper's after each of ours.
    assert found[:5] == ["**+1.25**\u2020", "\u22123.78", "**+1.50**", "**+1.16**", shown(third["mean_difference"])]
    assert len(lines) == 2 + 2 + 12


def test_the_papers_table_2_is_whole_and_its_increases_are_those_that_its_text_names():
    cells = [(d, p, c) for d in paper.DOWNSTREAMS for p in paper.PRETRAININGS for c in paper.CONDITIONS]
    values = {cell: paper.mask_minus_whole(*cell) for cell in cells}
    assert len(values) == 36 and None not in values.values()
    rising = {cell for cell, value in values.items() if paper.is_bold(value)}
    assert rising == {("choir", "musdb", condition) for condition in ("pitch", "stretch", "incoherent")}
    # Column sums of the printed table: Remixpacks, Dagstuhl, Bach10.
    sums = [sum(value for cell, value in values.items() if cell[0] == d) for d in ("remixpacks", "choir", "bach10")]
    assert sums == pytest.approx([-40.41, -10.91, -50.84])


def test_the_statistics_are_all_comparisons_in_full(made):
    rows = list(csv.DictReader((made / "report/tables/statistics.csv").open(encoding="utf-8")))
    comparisons = json.loads((made / "analysis.json").read_text())["comparisons"]
    assert len(rows) == len(comparisons) == 9 + 27 + 36 + 6
    keys = ("question", "downstream", "pretraining", "condition", "mode")
    found = {tuple(row[key] for key in keys) + (row["against_pretraining"],): row for row in rows}
    for entry in comparisons:
        row = found[tuple(entry[key] for key in keys) + (entry["against"]["pretraining"] or "",)]
        for name in ("mean_difference", "median_difference", "p_value", "p_holm", "effect_size", "excerpts", "songs"):
            assert float(row[name]) == pytest.approx(entry[name], rel=1e-8)
        assert [float(row["interval_low"]), float(row["interval_high"])] == pytest.approx(entry["interval"])
        assert row["significant_holm"] == ("true" if entry["significant_holm"] else "false")


def set_all(study, question, **values):
    for entry in study.comparisons(question):
        entry.update(values)


BETTER = {"p_value": 1e-9, "p_holm": 1e-7, "significant": True, "significant_holm": True, "interval": [0.2, 0.6]}
WORSE = {"p_value": 1 - 1e-9, "p_holm": 1.0, "significant": False, "significant_holm": False, "interval": [-0.6, -0.2]}


@pytest.mark.parametrize(("question", "number"), [("H1", 0), ("H2", 1), ("R1", 2), ("R2", 3)])
def test_our_rule_needs_test_and_interval_and_the_papers_rule_the_test_alone(question, number):
    study = study_of()

    def verdicts():
        answer = answers(study)[number]
        return answer.by(PAPER_RULE), answer.by(OUR_RULE)

    set_all(study, question, **BETTER)
    assert verdicts() == ("shown", "shown")
    # Significant, but songs differ too much.
    set_all(study, question, interval=[-0.1, 0.6])
    assert verdicts() == ("shown", "not shown")
    # Clear of zero, but one of many tests.
    set_all(study, question, interval=[0.1, 0.6], significant_holm=False, p_holm=0.02)
    assert verdicts() == ("shown", "not shown")
    # Excerpts of one song have no interval.
    set_all(study, question, **{**BETTER, "interval": None, "songs": 1})
    assert verdicts() == ("shown", "not shown")
    assert any("has one test song, so our rule cannot say" in part.sentence for part in answers(study)[number].parts)
    # Worse by the test in the other direction.
    if question != "R1":
        set_all(study, question, **WORSE)
        assert verdicts() == ("the contrary is shown", "the contrary is shown")
    set_all(study, question, **BETTER)
    study.comparisons(question)[-1].update(interval=[-0.1, 0.6])
    assert verdicts() == ("shown", "partly shown")
    for entry in study.comparisons(question):
        entry["mean_difference"] = None
    assert verdicts() == ("not measured", "not measured")


def test_differences_that_contradict_the_paper_are_named():
    study = study_of()
    for question in ("H1", "R2"):
        set_all(study, question, **WORSE, mean_difference=-0.4)
    first, second, _, fourth = answers(study)
    assert first.by(OUR_RULE) == fourth.by(OUR_RULE) == "the contrary is shown"
    assert "Contrary to it, here (by our rule): MUSDB for Bach10 is worse than from scratch" in first.paper
    # As in the paper, MUSDB does not help on the choir.
    assert "MUSDB for Dagstuhl ChoirSet" not in first.paper
    assert "33 of the 36 differences that it reports too have the same sign here" in fourth.paper
    assert "in the paper +1.16 dB" in fourth.paper and "\u22125.05" not in fourth.paper
    set_all(study, "H1", **BETTER)
    assert "MUSDB for Dagstuhl ChoirSet is better than from scratch" in answers(study)[0].paper
    set_all(study, "H2", **BETTER, median_difference=0.5)
    second = answers(study)[1]
    assert "every augmentation that was measured helped every network" in second.paper
    # No augmentation has a larger gain than incoherent mixing, so this finding is not contradicted.
    assert "has the largest gain" not in second.paper


def test_iterations_are_those_of_the_curves():
    study = study_of()
    best = max(value for _, value in study.curve("bach10", None, None, "scratch")["points"])
    reached = {name: study.curve("bach10", name, "none", "whole")["reaches_baseline_at"] for name in PRETRAININGS}
    first = min(reached, key=reached.get)
    part = efficiency(study)[0]
    assert f"best score from scratch was {shown(best).lstrip('+')} dB, at iteration 2,400" in part.sentence
    assert f"{PRETRAININGS[first]} reached it first, at iteration {reached[first]}" in part.sentence
    for name in PRETRAININGS:
        study.curve("choir", name, "none", "whole")["reaches_baseline_at"] = None
    assert "No fine-tuned network reached it." in efficiency(study)[1].sentence
    study.analysis["curves"].clear()
    assert {part.by_ours for part in efficiency(study)} == {"not measured"}


def test_equal_iterations_are_compared_by_the_curves():
    plan, analysis = make_study()

    def points_of(pretraining, points):
        of = ("choir", pretraining, "none" if pretraining else None)
        for curve in analysis["curves"]:
            if (curve["downstream"], curve["pretraining"], curve["condition"]) == of:
                curve["points"] = points

    points_of(None, [[0, 0.1], [100, 3.04], [200, 5.0], [300, 5.5]])
    for place, pretraining in enumerate(plan["pretrainings"]):
        points_of(pretraining, [[0, 0.0], [100, 3.5 + place], [200, 2.5 + place]])
    sentence = next(part.sentence for part in efficiency(Study(plan, analysis)) if "Choir" in part.name)
    assert sentence.endswith("At iteration 200 it had 5.00 dB, the fine-tuned networks 2.50 to 4.50 dB.")


def test_an_unfinished_study_says_what_is_missing_and_what_was_done(tmp_path, quick):
    missing = [("remixpacks", None, None, None), (None, None, "pitch", None), ("choir", None, None, "mask")]
    plan, analysis = make_study(missing=missing)
    folder = write_study(tmp_path, plan, analysis, seconds=0.05)
    page = report.write_study_report(folder, folder / "report").read_text(encoding="utf-8")
    answered = (folder / "report" / "answers.md").read_text(encoding="utf-8")
    # 25 of Remixpacks; of the two others 6 with pitch shift each, and 9 mask models of the choir.
    done = 75 - 25 - 2 * 6 - 9
    words = " ".join(extent(read_study(folder)))
    assert f"{done} of 75 training runs on downstream sets were scored" in words and len(analysis["missing"]) == 75 - done
    assert "1 of 3 from scratch" not in words and "2 of 3 from scratch" in words
    for name in analysis["missing"]:
        assert f"* {name}\n" in answered and name in page
    assert "* **Remixpacks: not measured.**" in answered and "There is no example yet" in page
    lines = as_markdown(all_tables(read_study(folder))["table2"])
    assert re.search(
        "\\| Pitch shift +\\| MUSDB +\\| +\u2013 \\| +\u22123.78 \\| +\u2013 \\| +\\*\\*\\+1.16\\*\\* \\|", lines
    )


def test_parts_outside_the_plan_are_named_as_such(tmp_path, quick):
    plan, analysis = make_study()

    def kept(cells):
        return [cell for cell in cells if cell["condition"] in (None, "none") and cell["mode"] != "mask"]

    plan |= {"conditions": {"none": "No augmentation"}, "modes": ["whole"], "models": kept(plan["models"])}
    asked = [entry for entry in analysis["comparisons"] if entry["question"] in ("H1", "R1")]
    analysis |= {"cells": kept(analysis["cells"]), "comparisons": asked, "curves": kept(analysis["curves"])}
    folder = write_study(tmp_path, plan, analysis, seconds=0.05)
    html = report.write_study_report(folder, folder / "report").read_text(encoding="utf-8")
    for name in ("augmentation", "mask"):
        part = html.partition(f'<section aria-labelledby="{name}"')[2].partition("</section>")[0]
        assert "Not part of this study." in part and "<figure" not in part and "<table" not in part
    assert html.count("<strong>not measured</strong>") == 4  # H2 and R2, by two rules


def test_a_recorded_downstream_set_is_reported_beside_the_rendered_ones():
    study = study_of(real=True)
    # From scratch, and pretrained without augmentation; each once for each of two folds.
    assert "all 75 kinds of model of the paper, and 4 more" in extent(study)[0]
    assert "83 of 83 training runs" in extent(study)[1]
    # The paper's values for it are those of Bach10.
    assert paper.mask_minus_whole("bach10_recorded", "slakh", "none") == -3.43
    first, _, _, fourth = answers(study)
    assert (
        all("Bach10 (recorded)" in each.detail for each in first.verdicts) and "MUSDB for Bach10 (recorded)" in first.paper
    )
    # Models that were not planned are not called missing.
    assert not [each for each in fourth.verdicts if "recorded" in each.detail or "not measured" in each.detail]
    assert "recorded" not in as_markdown(all_tables(study)["table2"])
    assert [axes.get_title("left") for axes in gain_figure(study).axes] == list(DOWNSTREAMS.values())
    # The others are rendered.
    assert "Remixpacks are rendered stand-ins" in extent(study)[-1] and "recorded" not in extent(study)[-1]


def test_baselines_of_equal_iterations_have_a_question_a_bar_and_rows_of_their_own():
    plan, analysis = make_study()
    assert len(answers(Study(plan, analysis))) == 4
    for downstream in DOWNSTREAMS:
        of_scratch = next(m for m in plan["models"] if (m["downstream"], m["mode"]) == (downstream, "scratch"))
        plan["models"].append({**of_scratch, "name": f"{downstream}-equal", "mode": "scratch_equal", "iterations": 400})
        cell = next(c for c in analysis["cells"] if (c["downstream"], c["mode"]) == (downstream, "scratch"))
        analysis["cells"].append({**cell, "mode": "scratch_equal", "mean": cell["mean"] - 2})
    for entry in [entry for entry in analysis["comparisons"] if entry["question"] == "H1"]:
        against = {**entry["against"], "mode": "scratch_equal"}
        analysis["comparisons"].append({**entry, **BETTER, "question": "H1_equal", "against": against})
    study = Study(plan, analysis)
    equal = answers(study)[1]
    assert equal.title.startswith("H1, equal iterations. ") and equal.by(PAPER_RULE) == equal.by(OUR_RULE) == "shown"
    assert "400 from scratch, 400 fine-tuned" in equal.remark and "no baseline of equal iterations" in equal.paper
    assert "3 of 3 from scratch for as many iterations as the fine-tuned" in extent(study)[1]
    assert [len(bars(axes)) for axes in score_figure(study).axes] == [2 + 3] * 3
    assert as_markdown(all_tables(study)["scores"]).count("from scratch, equal iterations") == 3
    assert as_markdown(all_tables(study)["statistics"]).count("fine-tuned over from scratch, equal iterations") == 9


def test_the_gain_of_an_augmentation_is_the_median_of_figure_2():
    study = study_of()
    entries = study.comparisons("H2", condition="pitch")
    for number, entry in enumerate(entries):
        entry.update(mean_difference=9.0, median_difference=0.1 * number)
    part = answers(study)[1].parts[0]
    assert "from 0.00 to +0.80 dB, +0.40 dB in the middle network" in part.sentence and "9.00" not in part.sentence


def test_sets_that_were_left_out_and_bfloat16_are_named(tmp_path, quick):
    plan, analysis = make_study()
    plan |= {"left_out": {"x": "Gamelan"}, "bf16": True, "body_seeds": [0], "seeds": [0, 1]}
    words = " ".join(extent(Study(plan, analysis)))
    assert "Left out on request (SETS): Gamelan." in words and "bfloat16 mixed precision" in words
    assert "Each body was pretrained once" in words


def test_models_that_lack_a_seed_are_counted():
    plan, analysis = make_study(seeds=(0, 1))
    plan["body_seeds"] = [0]
    assert "Every model was trained with 2 seeds" in " ".join(extent(Study(plan, analysis)))
    for cell in analysis["cells"][:3]:
        del cell["seeds"]["1"]
    words, total = " ".join(extent(Study(plan, analysis))), len(analysis["cells"])
    assert "Every model" not in words and f"{total} kinds of model that were scored" in words
    assert f"{total - 3} were trained with 2 seeds, the others with fewer" in words


def bars(axes):
    return [patch for patch in axes.patches if patch.get_height() > 0.5]


def test_figure_1_has_bars_from_the_mixture_to_the_score_with_a_star_where_significant():
    study = study_of(missing=[("choir", "slakh", None, None)], seeds=(0, 1, 2))
    figure = score_figure(study)
    for axes, downstream in zip(figure.axes, DOWNSTREAMS, strict=True):
        cells = [study.cell(downstream, None, None, "scratch")]
        cells += [study.cell(downstream, name, "none", "whole") for name in PRETRAININGS]
        cells = [cell for cell in cells if cell]
        assert [bar.get_x() for bar in bars(axes)] == pytest.approx([FLOOR[downstream]] * len(cells))
        assert [bar.get_x() + bar.get_width() for bar in bars(axes)] == pytest.approx([cell["mean"] for cell in cells])
        texts = [text.get_text() for text in axes.texts]
        for cell in cells[1:]:
            test = study.comparisons("H1", downstream=downstream, pretraining=cell["pretraining"])[0]
            star = {(True, True): "*", (True, False): "*\u2020", (False, False): ""}
            expected = f"{cell['mean']:.2f}".replace("-", "\u2212") + star[test["significant"], test["significant_holm"]]
            assert expected in texts
        # Whiskers from the lowest to the highest seed.
        spans = [line.get_segments()[0][:, 0] for line in axes.collections]
        lowest = [min(cell["seeds"].values()) for cell in cells]
        highest = [max(cell["seeds"].values()) for cell in cells]
        assert [span[0] for span in spans] == pytest.approx(lowest)
        assert [span[1] for span in spans] == pytest.approx(highest)
        assert ("not done" in " ".join(texts)) == (downstream == "choir")
        assert f"oracle {FLOOR[downstream] + 12:.2f}" in texts


def test_figure_2_has_the_median_gain_of_each_augmentation_and_its_interval():
    study = study_of()
    figure = gain_figure(study, DARK, True)
    for axes, downstream in zip(figure.axes, DOWNSTREAMS, strict=True):
        entries = study.comparisons("H2", downstream=downstream)
        points = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
        spans = [list(line.get_xdata()) for line in axes.lines[1:] if len(line.get_xdata()) == 2]
        assert points == [entry["median_difference"] for entry in entries] and len(points) == 9
        assert spans == [entry["interval"] for entry in entries]


def test_figure_3_has_the_curves_and_where_the_baselines_best_is_reached():
    study = study_of()
    figure = curve_figure(study)
    axes = figure.axes[0]
    curve = study.curve("bach10", "slakh", "none", "whole")
    assert any([list(point) for point in line.get_xydata()] == curve["points"] for line in axes.lines)
    texts = [text.get_text() for text in axes.texts]
    first = min(study.curve("bach10", name, "none", "whole")["reaches_baseline_at"] for name in PRETRAININGS)
    assert "2,400" in texts and str(first) in texts
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["from scratch", *PRETRAININGS.values()]


@pytest.mark.parametrize("ground", [LIGHT, DARK])
def test_pretraining_sets_differ_without_colour(ground):
    study = study_of()
    styles = [series_style(study, name, ground) for name in [None, *PRETRAININGS]]
    assert len({each.hatch for each in styles}) == len({each.marker for each in styles}) == len(styles)
    assert len({str(each.line) for each in styles[1:]}) == len(PRETRAININGS)


def test_text_of_the_files_is_escaped(tmp_path, quick):
    plan, analysis = make_study()
    name = "<b>Bach & co|</b>"
    plan["downstreams"] = {**plan["downstreams"], "bach10": name}
    plan["settings"] = [["<i>", "<script>alert(1)</script>"]]
    folder = write_study(tmp_path, plan, analysis, seconds=0.01)
    page = report.write_study_report(folder, folder / "report").read_text(encoding="utf-8")
    assert "<b>" not in page and "<i>" not in page and page.count("<script>") == 1
    assert "&lt;b&gt;Bach &amp; co|&lt;/b&gt;" in page
    assert "co\\|" in (folder / "report/tables/table2.md").read_text(encoding="utf-8")


def test_the_report_of_a_study_imports_neither_torch_nor_nussl():
    for path in Path(report.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not {name.split(".")[0] for name in names} & {"torch", "nussl"}, path
            ours = {name for name in names if name.startswith("nussl_transfer")}
            allowed = {"nussl_transfer.errors", "nussl_transfer.runtime.files", "nussl_transfer.evaluation.statistics"}
            assert ours <= allowed | {n for n in ours if ".report." in n}
