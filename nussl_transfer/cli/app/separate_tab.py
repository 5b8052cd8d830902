"""The first tab: drop a file, choose a model, listen to the stems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import soundfile

from ...audio.io import EXTENSIONS, blocks, header
from ...checkpoints import zoo
from ...errors import ConfigError, TransferError
from ...separation.ensemble import find_checkpoints, open_mask_network
from ...separation.files import safe_name
from ...separation.separate import separate
from ..words import short_names
from .boxes import error_box, few, note_box, pretty_seconds, stems_box
from .visitors import Visitors

FORMATS = [("WAV (32 bits)", "wav"), ("FLAC (24 bits)", "flac"), ("MP3", "mp3")]
FILE_LINK = "/gradio_api/file="
EMPTY = "The stems appear here, each with its spectrogram."
NO_FILE = "There is no file yet. Drop one on the page, or pick an example."
STOPPED = "Stopped. No stem was kept."
# Formats that browsers play; the page plays a copy of any other file.
PLAYED = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3")
Choice = tuple[str, str]


class Stopped(Exception):
    """The visitor pressed Stop, or left."""


@dataclass(frozen=True)
class SeparationOptions:
    """The options of :func:`~nussl_transfer.separation.separate.separate` that the page offers."""

    format: str = "wav"
    keep_rate: bool = True
    residual: bool = False
    device: str = "auto"


def model_choices(models: Sequence[str] | None) -> list[Choice]:
    """Return the entries of the list of models: the text to show, and the model.

    Args:
        models: Names, runs, files, addresses; None for all published separators.

    Raises:
        CheckpointError: A model cannot be read, or has no trained masks.
    """
    if models is None:
        return [(f"{name}: {few(it['sources'])}", name) for name, it in zoo.models().items() if it.get("sources")]
    choices = []
    for name, model in zip(short_names(models), models, strict=True):
        _, info = open_mask_network(find_checkpoints(model)[0])
        choices.append((f"{name}: {few(info.labels)}" if info.labels else name, model))
    return choices


def describe(path: str | None) -> str:
    """Return the length, rate and channels of an uploaded file, or why it cannot be separated, as HTML."""
    if path is None:
        return ""
    try:
        head = header(path)
    except TransferError as error:
        return error_box(error, Path(path))
    channels = {1: "mono", 2: "stereo"}.get(head.channels, f"{head.channels} channels")
    return note_box(f"{pretty_seconds(head.seconds)}, {head.sample_rate / 1000:g} kHz, {channels}")


def separated(
    path: Path, model: str, options: SeparationOptions, folder: Path, advance: Callable[[float, float], None] | None = None
) -> str:
    """Separate a file into a folder, and return players and spectrograms as HTML.

    Args:
        path: The file.
        model: The model.
        options: The options that the visitor chose.
        folder: Where the stems go.
        advance: Called with the seconds done and all seconds; an exception in it ends the separation.

    Raises:
        TransferError: The file or the model cannot be used.
    """
    if path.suffix.lower() not in EXTENSIONS:
        raise ConfigError(f"{path.name} has a format that cannot be read. Take one of {', '.join(EXTENSIONS)}.")
    stems = separate(
        path, model, out=folder, residual=options.residual, device=options.device, progress=advance,
        keep_rate=options.keep_rate, format=options.format,
    )  # fmt: skip
    return stems_box(_playable(path, folder), stems, FILE_LINK)


def _playable(path: Path, folder: Path) -> Path:
    """Return a file that browsers can play: this one, or a FLAC copy of its first two channels."""
    if path.suffix.lower() in PLAYED:
        return path
    copy, head = folder / f"{safe_name(path.stem)}.flac", header(path)
    with soundfile.SoundFile(copy, "w", head.sample_rate, min(2, head.channels), "PCM_16", format="FLAC") as file:
        for block in blocks(path):
            file.write(block[:, :2])
    return copy


def build(visitors: Visitors, choices: Sequence[Choice], device: str, examples: Mapping[str, Path]) -> gr.Dropdown:
    """Add the tab's parts and events to the page that is being built.

    Args:
        visitors: Uploads and stems of each visitor.
        choices: What `model_choices` returns.
        device: Where to compute.
        examples: A file to try for each of some models.

    Returns:
        The list of models, to which the other tab adds its own.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            audio = gr.File(label="Audio file", file_types=list(EXTENSIONS), height=150, elem_id="audio-file")
            about = gr.HTML(elem_id="about-file")
            model = gr.Dropdown(list(choices), value=choices[0][1], label="Model", filterable=False, elem_id="model")
            if examples:
                shown = {value: label for label, value in choices}
                gr.Examples(
                    [[str(path), name] for name, path in examples.items()],
                    [audio, model],
                    example_labels=[f"{path.stem} ({shown[name].partition(':')[0]})" for name, path in examples.items()],
                    label="Examples (synthesised)",
                    api_visibility="private",
                )
            with gr.Accordion("Options", open=False):
                form = gr.Radio(FORMATS, value="wav", label="Format of the stems")
                rate = gr.Checkbox(value=True, label="Keep the sample rate of the file")
                rest = gr.Checkbox(value=False, label="Also write the residual: the mixture minus all stems")
            with gr.Row():
                start = gr.Button("Separate", variant="primary", elem_id="separate")
                stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop-separating")
        with gr.Column(scale=3, min_width=300):
            result = gr.HTML(note_box(EMPTY), elem_id="result", min_height=160)

    def run(
        path: str | None, name: str, form: str, rate: bool, rest: bool, request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds it by its default
    ) -> str:  # fmt: skip
        if path is None:
            return error_box(ConfigError(NO_FILE))
        mine = visitors.visitor(request.session_hash)
        mine.stop.clear()

        def advance(done: float, total: float) -> None:
            if mine.stop.is_set():
                raise Stopped
            progress(done / total, desc=f"{pretty_seconds(done)} of {pretty_seconds(total)}")

        progress(0.0, desc="Opening the model")
        options = SeparationOptions(form, rate, rest, device)
        try:
            return separated(Path(path), name, options, visitors.new_results(request.session_hash), advance)
        except Stopped:
            return note_box(STOPPED)
        except (TransferError, OSError) as error:
            return error_box(error, Path(path))

    def described(path: str | None) -> tuple[str, Any]:
        # A new file was chosen: clear the result of the last one.
        return describe(path), note_box(EMPTY) if path is not None else gr.skip()

    def uploaded(path: str | None, request: gr.Request) -> None:
        visitors.uploaded(request.session_hash, path)

    def cleared(request: gr.Request) -> None:
        visitors.uploaded(request.session_hash, None)

    def stop_it(request: gr.Request) -> None:
        visitors.visitor(request.session_hash).stop.set()

    quick = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    audio.upload(uploaded, audio, None, **quick)
    audio.clear(cleared, None, None, **quick)
    audio.change(described, audio, [about, result], **quick)
    pressed = start.click(
        lambda: (gr.Button(interactive=False), gr.Button(interactive=True), ""), None, [start, stop, result], **quick
    )
    done = pressed.then(
        run,
        [audio, model, form, rate, rest],
        result,
        concurrency_limit=1,
        concurrency_id="compute",
        api_visibility="private",
    )
    done.then(lambda: (gr.Button(interactive=True), gr.Button(interactive=False)), None, [start, stop], **quick)
    stop.click(stop_it, None, None, **quick)
    return model
