"""The second tab: check a folder of stems, fine-tune a model on it, and use the result in the first tab."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ...checkpoints import zoo
from ...checkpoints.checkpoint import read_info
from ...datasets.recognise import open_tracks
from ...datasets.validation.check import check
from ...datasets.validation.findings import listed
from ...errors import ConfigError, DataError, TransferError
from ...pipelines.summary import draw_curve, read_trend
from ...report.listen import data_uri
from ..data_commands import check_parser
from ..options import stem_options
from .boxes import error_box, few, note_box, pretty_seconds, rendered
from .separate_tab import Choice
from .training import Training, TrainingStatus

# Number of validations in a whole run. Each adds a point to the curve.
POINTS = 20
SECONDS_BETWEEN_UPDATES = 1.5
ITERATIONS = 300  # minutes on a CPU; the command's own default takes hours there
NO_STEMS = "There is no folder of stems yet. Type its path, such as /home/me/my-stems."
BEGIN = "The curve appears here. A run can be stopped; Start resumes it."


def stems_folder(text: str) -> Path:
    """Return the absolute path of a folder that the user typed.

    Raises:
        ConfigError: Nothing was typed.
    """
    if not text.strip():
        raise ConfigError(NO_STEMS)
    return Path(text.strip()).expanduser().absolute()


def reading_words(ignore: str, groups: str, missing: str) -> list[str]:
    """Return the command-line options for reading the stems."""
    values = {"--ignore": ignore.strip(), "--groups": groups.strip(), "--missing": "" if missing == "error" else missing}
    return [f"{option}={value}" for option, value in values.items() if value]


def training_words(
    stems: Path, run: Path, pretrained: str, iterations: int, mode: str, device: str, reading: Sequence[str]
) -> list[str]:
    """Return the arguments of ``nussl-transfer finetune``; options that have their default are left out.

    >>> training_words(Path("/s"), Path("/r"), "body", 300, "whole", "auto", [])
    ['/s', '--out=/r', '--iterations=300', '--validate-every=15']
    """
    every = max(5, iterations // POINTS)
    words = [str(stems), f"--out={run}", f"--iterations={iterations}", f"--validate-every={every}"]
    for option, value, default in (
        ("--checkpoint", pretrained, "body"), ("--mode", mode, "whole"), ("--device", device, "auto"),
    ):  # fmt: skip
        if value != default:
            words.append(f"{option}={value}")
    return [*words, *reading]


def checked(stems: Path, reading: Sequence[str]) -> tuple[str, bool]:
    """Check a folder of stems as ``nussl-transfer check --deep`` does.

    Returns:
        The result as HTML, and whether one can train on it.

    Raises:
        TransferError: The folder cannot be read, or an option is wrong.
    """
    if not stems.exists():
        raise DataError(f"{stems} is not there. Type the path of a folder on this machine.")
    options = stem_options(check_parser().parse([str(stems), *reading]))
    name, tracks = open_tracks(stems, options)
    found = check(tracks, deep=True, options=options, progress=False)
    minutes: dict[str, float] = {}
    for row in found.rows:
        minutes[row.label] = minutes.get(row.label, 0.0) + row.seconds / 60
    counts = {label: len({row.track for row in found.rows if row.label == label}) for label in minutes}
    can_train = not (found.fatal or found.untrainable)
    html = rendered(
        "check.html",
        folder=str(stems),
        name=name,
        labels=[(label, counts[label], f"{minutes[label]:.1f}") for label in sorted(minutes)],
        excerpts=[str(usable) for usable in found.usable],
        findings=listed(found.findings),
        untrainable=found.untrainable,
        can_train=can_train,
    )
    return html, can_train


def progress_box(status: TrainingStatus) -> str:
    """Return the progress of a training and its curve as HTML."""
    if status.state == "idle":
        return note_box(BEGIN)
    report = status.run / "report.txt"
    return rendered(
        "training.html",
        status=status,
        share=status.iteration / status.iterations,
        left=None if status.seconds_left is None or not status.busy else pretty_seconds(status.seconds_left),
        curve=_curve(status.points),
        report=report_parts(report.read_text(encoding="utf-8")) if status.state == "done" and report.is_file() else [],
    )


def report_parts(text: str) -> list[tuple[str, str]]:
    """Return the parts of a report with their kinds: a 'table' keeps its lines, a 'list' its indents, a 'text' neither.

    >>> report_parts("Ratios of\\ntwo tracks:\\n\\n      all\\nbass  1.0\\n\\nNext:\\n  listen\\n")
    [('text', 'Ratios of two tracks:'), ('table', '      all\\nbass  1.0'), ('list', 'Next:\\n  listen')]
    """
    parts = []
    for part in text.rstrip("\n").split("\n\n"):
        lines = part.split("\n")
        indented = [line.startswith("  ") for line in lines]
        kind = "table" if indented[0] else "list" if any(indented) else "text"
        parts.append((kind, " ".join(lines) if kind == "text" else part))
    return parts


def _curve(points: Sequence[dict]) -> str:
    """Return the curve as a data URI; '' while it has no points."""
    if not points:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "curve.png")
        draw_curve(points, read_trend(points, "mask_loss"), path, "mask_loss")
        return data_uri("image/png", path.read_bytes())


def build(training: Training, models: gr.Dropdown, tabs: gr.Tabs, choices: list[Choice], device: str) -> None:
    """Add the tab's parts and events to the page that is being built.

    Args:
        training: The training of the page.
        models: The first tab's list of models.
        tabs: The tabs of the page.
        choices: The entries of that list; a finished run is added.
        device: Where to train.
    """
    pretrained = [name for name in zoo.models() if name == "body"] + [
        name for name, it in zoo.models().items() if it.get("sources")
    ]
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            stems = gr.Textbox(
                "",
                label="Folder of stems", placeholder="/home/me/my-stems", elem_id="stems",
                info="One folder per track, one audio file per stem, the same names in each track.",
            )  # fmt: skip
            with gr.Accordion("How to read the stems", open=False):
                ignore = gr.Textbox("", label="Stems to skip", placeholder="organ, piano")
                groups = gr.Textbox("", label="Stems to merge", placeholder="male=tenor+bass, female=soprano+alto")
                missing = gr.Dropdown(
                    [("is an error", "error"), ("leaves out its track", "skip"), ("is silent", "silence")],
                    value="error", label="A stem that a track lacks", filterable=False,
                )  # fmt: skip
            check_it = gr.Button("1. Check the stems", variant="primary", elem_id="check")
            run = gr.Textbox(
                "",
                label="Folder of the run",
                elem_id="run",
                info="The trained model goes here. An interrupted run resumes.",
            )
            source = gr.Dropdown(pretrained, value=pretrained[0], label="Pretrained model", filterable=False)
            iterations = gr.Number(ITERATIONS, label="Iterations", precision=0, minimum=1, elem_id="iterations")
            mode = gr.Radio([("the whole network", "whole"), ("its mask head only", "mask")], value="whole", label="Train")
            with gr.Row():
                start = gr.Button("2. Start", variant="primary", elem_id="start-training")
                stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop-training")
            use = gr.Button("3. Separate with the result", interactive=False, elem_id="use")
        with gr.Column(scale=3, min_width=300):
            found = gr.HTML(elem_id="check-result")
            shown = gr.HTML(note_box(BEGIN), elem_id="training")
    reading = [ignore, groups, missing]
    seen = gr.State("")
    clock = gr.Timer(SECONDS_BETWEEN_UPDATES)

    def on_check(folder: str, *reading: str) -> tuple[str, Any]:
        try:
            path = stems_folder(folder)
            html, can_train = checked(path, reading_words(*reading))
            return html, str(path.with_name(f"{path.stem}-run")) if can_train else gr.skip()
        except (TransferError, OSError) as error:
            return error_box(error), gr.skip()

    def on_start(folder: str, out: str, name: str, count: float, which: str, *reading: str) -> str:
        try:
            path = stems_folder(folder)
            run_folder = Path(out.strip()).expanduser().absolute() if out.strip() else path.with_name(f"{path.stem}-run")
            words = training_words(path, run_folder, name, int(count or 0), which, device, reading_words(*reading))
            training.start(words)
        except (TransferError, OSError) as error:
            return error_box(error)
        return note_box("Starting.")

    def on_clock(before: str) -> tuple[Any, ...]:
        status = training.status()
        now = f"{status.state} {status.run} {status.iteration} {status.last_line}"
        if now == before:
            return (gr.skip(),) * 5
        ready = status.state == "done"
        buttons = gr.Button(interactive=not status.busy), gr.Button(interactive=status.state == "running")
        return progress_box(status), *buttons, gr.Button(interactive=ready), now

    def on_use() -> tuple[Any, ...]:
        status = training.status()
        labels = read_info(status.run / "checkpoints" / "best.model.pth").labels
        if str(status.run) not in [model for _, model in choices]:
            choices.append((f"{status.run.name}: {few(labels)}", str(status.run)))
        return gr.Dropdown(choices, value=str(status.run)), gr.Tabs(selected="separate")

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    changed = [shown, start, stop, use, seen]
    check_it.click(on_check, [stems, *reading], [found, run], api_visibility="private", concurrency_limit=1)
    start.click(on_start, [stems, run, source, iterations, mode, *reading], shown, **quiet)
    stop.click(lambda: training.stop(), None, None, queue=False, **quiet)
    clock.tick(on_clock, seen, changed, queue=False, **quiet)
    use.click(on_use, None, [models, tabs], **quiet)
