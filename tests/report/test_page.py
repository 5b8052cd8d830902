"""The page of an evaluation: it shows the numbers of its files, contains all it needs and loads nothing."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from html_pages import Page, asks_nothing_of_the_network
from PIL import Image

import nussl_transfer.report.page as report
from nussl_transfer.errors import DataError
from nussl_transfer.report import figures, inputs, listen, text

LABELS = ["bass", "voice & <air>"]
MODELS = ["fine-tuned", "from scratch"]
RATE = 16000


def make_scores():
    generator = np.random.default_rng(0)
    summary = [
        {"estimate": name, "label": label, "n": 7 if label else 14, "mean": mean, "median": mean - 0.123,
         "improvement": None if name == "mixture" else mean + 3}
        for name in [*MODELS, "mixture", "oracle"]
        for label, mean in zip([*LABELS, None], generator.normal(0, 5, 3), strict=True)
    ]  # fmt: skip
    pairs = [(MODELS[0], MODELS[1], 1.2e-8), (MODELS[0], "mixture", 0.0314), (MODELS[1], "mixture", 0.75)]
    comparisons = [
        {"better": better, "than": than, "n": 14, "n_different": 14, "p_value": p, "mean_difference": d,
         "median_difference": d + 0.5}
        for (better, than, p), d in zip(pairs, generator.normal(0, 3, 3), strict=True)
    ]  # fmt: skip
    return {
        "format": 1, "sample_rate": RATE, "labels": LABELS, "models": dict.fromkeys(MODELS, "x.pth"), "excerpts": [],
        "scores": {}, "summary": summary, "comparisons": comparisons, "left_out": 2,
    }  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    generator = np.random.default_rng(1)
    (folder / "scores.json").write_text(json.dumps(make_scores()))
    curves = {
        name: {
            "points": [
                {"iteration": i, "train_loss": 1.0, "test_si_sdr": None if i == 50 else i / 100 - j} for i in (0, 50, 100)
            ],
            "mixture_si_sdr": -4.5,
        }
        for j, name in enumerate(MODELS)
    }
    (folder / "curves.json").write_text(json.dumps(curves))
    about = {
        "title": "A <title> & more",
        "summary": "What it is.",
        "facts": [["Training", "5.1 minutes"]],
        "commands": ["make demo"],
        "notes": ["A note."],
    }
    (folder / "about.json").write_text(json.dumps(about))
    example = folder / "example"
    ratios = {name: {label: float(generator.normal()) for label in LABELS} for name in ["mixture", *MODELS]}
    about = {
        "track": "t",
        "start": 2 * RATE,
        "frames": RATE,
        "sample_rate": RATE,
        "labels": LABELS,
        "si_sdr": ratios,
    }

    def write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, generator.normal(0, 0.3, RATE), RATE, subtype="FLOAT")

    write(example / "mixture.wav")
    (example / "example.json").write_text(json.dumps(about))
    for label in LABELS:
        write(example / "references" / f"{label}.wav")
        for name in MODELS:
            write(example / name / f"{label}.wav")
    for name in MODELS:
        masks = {label: generator.integers(0, 256, (257, 126), dtype=np.uint8) for label in LABELS}
        np.savez_compressed(example / name / "masks.npz", **masks)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "demo"))


@pytest.fixture(scope="module")
def html(made, tmp_path_factory):
    return report.write_page(made, tmp_path_factory.mktemp("out") / "page.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def shown(number, signed=False):
    return (f"{number:+.2f}" if signed else f"{number:.2f}").replace("-", "\u2212")


def test_the_score_table_is_the_summary(page):
    head, *rows = page.table("scores")
    assert [cell["text"] for cell in head] == [
        "source",
        "Mixture",
        "From scratch",
        "Fine-tuned",
        "Oracle",
        "n",
    ]
    summary = {(entry["estimate"], entry["label"]): entry for entry in make_scores()["summary"]}
    *rows, improvements = rows
    assert [row[0]["text"] for row in rows] == [*LABELS, "all"]
    for row, label in zip(rows, [*LABELS, None], strict=True):
        for cell, name in zip(row[1:-1], ["mixture", "from scratch", "fine-tuned", "oracle"], strict=True):
            entry = summary[name, label]
            assert [float(data["value"]) for data in cell["data"]] == [entry["mean"], entry["median"]]
            assert [data["text"] for data in cell["data"]] == [shown(entry["mean"]), shown(entry["median"])]
        assert row[-1]["text"] == str(summary["mixture", label]["n"])
    found = [cell["data"][0]["value"] for cell in improvements[1:-1]]
    assert found == ["", *(str(summary[name, None]["improvement"]) for name in ["from scratch", "fine-tuned", "oracle"])]
    # The headline shows those of the models as well.
    heads = {element["text"] for element in page.find("dt")}
    assert f"Fine-tuned{shown(summary['fine-tuned', None]['improvement'], signed=True)}" in heads


def test_scores_without_improvements_have_no_row_of_them(folder):
    scores = make_scores()
    for entry in scores["summary"]:
        del entry["improvement"]
    (folder / "scores.json").write_text(json.dumps(scores))
    html = report.write_page(folder, folder / "page.html").read_text(encoding="utf-8")
    assert "over the mixture" not in html.partition("<footer>")[0].partition('id="curves"')[0]


def test_the_table_of_tests_is_the_comparisons(page):
    _, *rows = page.table("tests")
    assert len(rows) == 3
    for row, entry in zip(rows, make_scores()["comparisons"], strict=True):
        assert row[0]["text"].lower() == f"{entry['better']} over {entry['than']}"
        assert row[1]["text"] == shown(entry["mean_difference"], signed=True)
        assert row[2]["text"] == shown(entry["median_difference"], signed=True)
        assert [cell["text"] for cell in row[3:]] == [str(entry["n"]), {
            1.2e-8: "1.2 \u00d7 10\u22128", 0.0314: "0.031", 0.75: "0.750",
        }[entry["p_value"]]]  # fmt: skip


def test_the_curves_are_a_table_as_well(page):
    _, *rows = page.table("curves")
    found = [(row[0]["text"], row[1]["text"], row[2]["text"]) for row in rows]
    assert found == [
        ("fine-tuned", "0", "0.00"), ("fine-tuned", "100", "1.00"),
        ("from scratch", "0", "\u22121.00"), ("from scratch", "100", "0.00"),
        ("mixture", "0", "\u22124.50"), ("mixture", "100", "\u22124.50"),
    ]  # fmt: skip


def test_a_changed_score_changes_the_page_and_equal_scores_give_equal_bytes(folder, html):
    assert report.write_page(folder, folder / "page.html").read_text(encoding="utf-8") == html
    scores = make_scores()
    scores["summary"][0]["mean"] = 12.34
    scores["comparisons"][0].update(mean_difference=-5.67, p_value=0.5)
    (folder / "scores.json").write_text(json.dumps(scores))
    page = Page(report.write_page(folder, folder / "page.html").read_text(encoding="utf-8"))
    assert page.table("scores")[1][3]["data"][0]["text"] == "12.34"
    words = " ".join(element["text"] for element in page.find("p"))
    # The headline also reports a model that is worse.
    assert (
        "Fine-tuned against from scratch: 5.67\u00a0dB worse" in words and "not significant at p\u00a0<\u00a00.001" in words
    )


def test_the_page_loads_nothing(html):
    assert asks_nothing_of_the_network(html) == 4  # drawings: light and dark, wide and narrow


def test_only_the_script_of_the_page_may_run(page, html):
    policy = next(m["content"] for m in page.find("meta") if m.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    script = re.search("<script>(.*?)</script>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["default-src"] == "'none'" and rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == rules["media-src"] == "data:"


def test_the_page_contains_every_clip_and_picture_and_they_can_be_decoded(page, made):
    players = page.find("audio")
    assert len(players) == 1 + len(LABELS) * (1 + len(MODELS))
    named = {player["aria-label"]: player for player in players}
    assert len(named) == len(players) and all("controls" in player for player in players)
    audio = base64.b64decode(named[f"{LABELS[1]}, fine-tuned"]["src"].split(",", 1)[1])
    found, rate = soundfile.read(io.BytesIO(audio))
    expected, _ = soundfile.read(made / "example" / "fine-tuned" / f"{LABELS[1]}.wav")
    assert rate == RATE
    # One gain for all clips prevents clipping.
    loudest = max(np.abs(soundfile.read(path)[0]).max() for path in (made / "example").rglob("*.wav"))
    np.testing.assert_allclose(found, expected * 0.98 / loudest, atol=1e-4)
    pictures = [image for image in page.find("img") if image["src"].startswith("data:image/png")]
    # Each clip has a spectrogram, and each but the mixture a mask.
    assert len(pictures) == 2 * len(players) - 1
    for picture in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(picture["src"].split(",", 1)[1])))
        assert image.size[0] > 50 and len(np.unique(np.asarray(image))) > 20


def test_the_page_is_accessible(page):
    assert page.find("html")[0]["lang"] == "en" and len(page.find("h1")) == 1
    assert all(image["alt"].strip() for image in page.find("img"))
    assert all(head.get("scope") in ("row", "col") for head in page.find("th"))
    identifiers = [element["id"] for element in page.elements if "id" in element]
    assert len(identifiers) == len(set(identifiers)) and {"scores", "curves", "listen", "making"} <= set(identifiers)
    for element in page.elements:
        if "aria-labelledby" in element:
            assert element["aria-labelledby"] in identifiers
    assert "width=device-width" in next(m["content"] for m in page.find("meta") if m.get("name") == "viewport")


def test_text_of_the_files_is_escaped(page, html):
    assert page.find("h1")[0]["text"] == "A <title> & more"
    assert "<title> & more" not in html and "<air>" not in html
    assert [head["text"] for head in page.find("h3")] == LABELS


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("ground", [figures.LIGHT, figures.DARK])
def test_colours_contrast_with_their_background(ground):
    def contrast(pair):
        high, low = sorted([luminance(pair[ground]), luminance(figures.GROUND[ground])], reverse=True)
        return (high + 0.05) / (low + 0.05)

    assert all(contrast(pair) >= 4.5 for pair in (figures.INK, figures.MUTED))
    # The names of the curves are written in their colours.
    assert all(contrast(pair) >= 4.5 for pair in figures.MODELS)
    assert all(contrast(pair) >= 3 for pair in figures.LABELS)


@pytest.mark.parametrize(
    "missing",
    ["about.json", "scores.json", "curves.json", "example/example.json", "example/mixture.wav",
     "example/references/bass.wav", "example/fine-tuned/bass.wav", "example/from scratch/masks.npz"],
)  # fmt: skip
def test_a_missing_file_is_named(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(DataError, match=re.escape(str(folder / missing))):
        report.write_page(folder, folder / "page.html")
    assert not (folder / "page.html").exists()


def test_a_wrong_file_is_named(folder):
    wrong = {
        "about.json": ("[1]", "got a JSON list, expected an object"),
        "scores.json": ('{"format": 1, "labels": []}', "lacks models, summary, comparisons, left_out"),
        "curves.json": (
            '{"fine-tuned": {"points": [{"iteration": 0, "test_si_sdr": null}]}}',
            "has no point with a test_si_sdr",
        ),
    }
    for name, (content, message) in wrong.items():
        before = (folder / name).read_text()
        (folder / name).write_text(content)
        with pytest.raises(DataError, match=message):
            report.write_page(folder, folder / "page.html")
        (folder / name).write_text(before)
    (folder / "curves.json").write_text('{"other": {"points": [{"iteration": 0, "test_si_sdr": 1}]}}')
    with pytest.raises(DataError, match="got a curve 'other', expected the scored models fine-tuned, from scratch"):
        report.write_curves(folder, folder / "curves.png")


def test_a_mask_file_with_a_pickle_is_an_error(folder):
    path = folder / "example" / "fine-tuned" / "masks.npz"
    np.savez(path, **{LABELS[0]: np.array([{"a": 1}], dtype=object)})
    with pytest.raises(DataError, match="masks.npz"):
        report.write_page(folder, folder / "page.html")


def test_long_clips_are_shortened_until_the_page_is_small_enough(made, folder):
    (folder / "listening.html").write_text('{% from "listen.html" import listen %}{{ listen(part) }}')
    example = inputs.read_example(made / "example", MODELS, LABELS, masks=False)
    page = Page(
        report.render("listening.html", folder, title="", part=listen.listening_part(example, MODELS, LABELS, 100_000))
    )
    # Without masks, each clip has one picture.
    assert len(page.find("img")) == len(page.find("audio")) and "mask" not in page.find("p")[0]["text"]
    players = page.find("audio")
    assert sum(len(player["src"]) for player in players) <= 100_000
    lengths = {len(soundfile.read(io.BytesIO(base64.b64decode(p["src"].split(",", 1)[1])))[0]) for p in players}
    assert len(lengths) == 1 and 1000 < lengths.pop() < RATE


def test_the_curves_are_drawn_from_their_file(folder):
    first = report.write_curves(folder, folder / "one.png").read_bytes()
    assert Image.open(io.BytesIO(first)).size[0] > 1000
    curves = json.loads((folder / "curves.json").read_text())
    curves["fine-tuned"]["points"][2]["test_si_sdr"] = 9.0
    (folder / "curves.json").write_text(json.dumps(curves))
    assert report.write_curves(folder, folder / "two.png").read_bytes() != first


def test_curves_may_be_plain_lists_and_lack_the_mixture(folder):
    (folder / "curves.json").write_text('{"fine-tuned": [{"iteration": 5, "test_si_sdr": 1.5}]}')
    assert inputs.read_curves(folder / "curves.json", make_scores()) == {"fine-tuned": [(5, 1.5)]}
    report.write_curves(folder, folder / "curves.png")


def test_the_terminal_shows_the_same_numbers():
    table = text.text_table(make_scores())
    for entry in make_scores()["summary"]:
        assert f"{shown(entry['mean'])} ({shown(entry['median'])})" in table
    assert "fine-tuned over from scratch" in table and "p = 1.2 \u00d7 10\u207b\u2078" in table
    assert "Left out: 2 silent references." in table
    # Columns are aligned: every row of the table is as long as the line below its head.
    lines = table.split("\n\n")[0].splitlines()
    assert len({len(line) for line in lines}) == 1


def test_the_terminal_shows_intervals_and_corrected_p_values_where_there_are_any():
    scores = make_scores()
    plain = text.text_table(scores)
    assert "interval" not in plain and "Holm" not in plain
    found = {"interval": [-0.204, 1.31], "confidence": 0.95, "songs": 5, "p_holm": 3.6e-8}
    scores["comparisons"][0].update(found)
    scores["comparisons"][1].update(found, interval=None, songs=1, p_holm=0.0628)
    first, second, third = text.text_table(scores).splitlines()[-4:-1]
    assert "(95 % interval of 5 songs: \u22120.20 to +1.31)" in first and "(3.6 \u00d7 10\u207b\u2078 after Holm)" in first
    assert "interval" not in second and second.endswith("p = 0.031 (0.063 after Holm)")
    assert third in plain


def test_both_rules_have_their_verdict_in_the_page_and_the_terminal(folder):
    scores = make_scores()
    for entry, ours in zip(scores["comparisons"], (True, None, False), strict=True):
        paper = {"test": "Wilcoxon test, p < 0.001", "shown": entry["p_value"] < 0.001}
        entry["verdicts"] = {"paper": paper, "ours": {"test": "interval over songs", "shown": ours}}
    table = text.text_table(scores)
    assert table.count("; shown by both rules") == table.count("; shown by neither rule") == 1
    assert "not shown by the paper's rule, cannot tell by ours" in table
    assert "The paper's rule: Wilcoxon test, p < 0.001." in table and "Our rule: interval over songs." in table
    (folder / "scores.json").write_text(json.dumps(scores))
    page = Page(report.write_page(folder, folder / "page.html").read_text(encoding="utf-8"))
    _, *rows = page.table("tests")
    assert [[cell["text"] for cell in row[-2:]] for row in rows] == [
        ["shown", "shown"], ["not shown", "cannot tell"], ["not shown", "not shown"],
    ]  # fmt: skip


def test_no_comparison_gives_no_verdict_and_no_p_value():
    scores = make_scores()
    for entry in scores["summary"]:
        entry.update(n=0, mean=None, median=None)
    scores["comparisons"][0].update(n=0, p_value=None, mean_difference=None, median_difference=None)
    assert text.verdict(scores) == ""
    assert "p = \u2013" in text.text_table(scores)


def test_the_report_imports_neither_torch_nor_nussl():
    for path in Path(report.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"torch", "nussl"}, path
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                assert node.module in ("errors", "runtime.files", "evaluation.statistics"), path


def test_folds_are_listed_with_what_each_was_tested_on_and_repeats_with_their_spread():
    means = [[2.0, 4.0], [5.0, 7.0], [8.0, None]]
    rows = [
        {"repeat": repeat, "fold": fold, "seed": 0, "tracks": [f"song {fold}", "last"], "mean": mean}
        for repeat, both in enumerate(means, 1)
        for fold, mean in enumerate(both, 1)
    ]
    lines = text.folds_table({"folds": rows}).splitlines()
    assert lines[0].split() == ["repeat", "fold", "SI-SDR/dB", "tested", "on"] and len(lines) == 2 + 6 + 1
    assert lines[2].split() == ["1", "1", "2.00", "song", "1,", "last"] and lines[7].split()[2] == "\u2013"
    # Means of 3, 6 and 8 dB: 17 / 3, and the root of (7.11 + 0.11 + 5.44) / 2.
    assert lines[-1] == "Mean of the folds over 3 repeats: 5.67 dB, from 3.00 to 8.00 (standard deviation 2.52)."
    once = text.folds_table({"folds": rows[:2]}).splitlines()
    assert once[0].split() == ["fold", "SI-SDR/dB", "tested", "on"] and len(once) == 4
