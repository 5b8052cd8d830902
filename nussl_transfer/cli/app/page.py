"""The page: a title and two tabs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import gradio as gr

from . import finetune_tab, separate_tab
from .separate_tab import Choice
from .training import Training
from .visitors import Visitors

TITLE = "nussl-transfer"
HEADING = (
    "# nussl-transfer\nSeparates music into stems, on the machine that this page runs on. What you upload is deleted when "
    "you leave."
)
FINETUNE_ELSEWHERE = (
    "Fine-tuning reads and writes folders of the machine that runs this page, so it is not offered to other machines. "
    "To fine-tune, start `nussl-transfer app` without `--host`."
)


def build_page(
    visitors: Visitors,
    training: Training,
    choices: Sequence[Choice],
    *,
    device: str = "auto",
    examples: Mapping[str, Path] | None = None,
    local: bool = True,
) -> gr.Blocks:
    """Return the page.

    Args:
        visitors: Uploads and stems of each visitor.
        training: The training of the page.
        choices: The entries of the list of models, from `model_choices`.
        device: Where to compute.
        examples: A file to try for each of some models.
        local: Whether only this machine can open the page; otherwise fine-tuning is not offered.
    """
    offered = list(choices)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(HEADING)
        with gr.Tabs() as tabs:
            with gr.Tab("Separate", id="separate"):
                models = separate_tab.build(visitors, offered, device, examples or {})
            with gr.Tab("Fine-tune on your stems", id="finetune"):
                if local:
                    finetune_tab.build(training, models, tabs, offered, device)
                else:
                    gr.Markdown(FINETUNE_ELSEWHERE)

        def leave(request: gr.Request) -> None:
            visitors.leave(request.session_hash)

        page.unload(leave)
        # A page that is opened later offers the models that were trained before.
        page.load(lambda: gr.Dropdown(offered), None, models, show_progress="hidden", api_visibility="private")
    return page
