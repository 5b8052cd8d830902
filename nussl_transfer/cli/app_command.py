"""The command `app`: a page in the browser that separates and fine-tunes on this machine."""

from __future__ import annotations

import importlib.util
from typing import Any

from ..errors import ConfigError
from .options import add_device
from .parsers import Parser, integer


def app_parser() -> Parser:
    """Return the parser of `app`."""
    parser = Parser(
        "app",
        "[--model MODEL ...] [options]",
        "Separate and fine-tune in the browser, on this machine.\n\n"
        "Only this machine can open the page, unless you give --host. Uploads are\n"
        "deleted when you leave the page. Ctrl-C ends the program.",
        "app --model run",
    )
    add = parser.add_argument
    add("--model", metavar="MODEL", nargs="+", help="names, runs or files to offer; by default the separators that ship")
    add("--host", metavar="ADDRESS", help="address to listen on [127.0.0.1]")
    add("--port", metavar="N", type=integer(1, 65_535), help="port; by default the first free one from 7860")
    add_device(parser)
    return parser


def app(**given: Any) -> None:
    """Serve the page until Ctrl-C."""
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError('The page needs gradio, which is not installed. Run: pip install "gradio>=6.10,<6.18"')
    from .app.server import serve

    serve(**given)
