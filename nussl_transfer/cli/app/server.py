"""Serve the page: open its address, keep its temporary folder, and refuse requests of other web sites."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...errors import ConfigError
from ...runtime.device import resolve_device

LOOPBACK = "127.0.0.1"
FIRST_PORT = 7860  # gradio's own
MOST_UPLOAD = "1gb"  # an hour in stereo, at 48 kHz and 24 bits
# The page loads nothing from other hosts, and no other page may show it in a frame.
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'; form-action 'self'; "
    "object-src 'none'"
)


def serve(model: Sequence[str] | None = None, host: str = LOOPBACK, port: int | None = None, device: str = "auto") -> None:
    """Serve the page until Ctrl-C or SIGTERM, and remove every uploaded and separated file at the end.

    Args:
        model: Models to offer: names, runs, files, addresses; None for all published separators.
        host: Address to listen on.
        port: Port; None takes the first free one from 7860.
        device: 'auto', 'cpu', 'cuda' or 'mps'.

    Raises:
        ConfigError: The address cannot be opened.
        CheckpointError: A model cannot be read, or has no trained masks.
    """
    with tempfile.TemporaryDirectory(prefix="nussl-transfer-app-") as folder:
        _prepare_gradio(Path(folder))
        # gradio reads its environment when it is imported.
        from .examples import write_examples
        from .page import build_page
        from .separate_tab import model_choices
        from .training import Training
        from .visitors import Visitors

        # gradio's warnings about other packages mean nothing to the user of the page.
        warnings.filterwarnings("ignore", module=r"gradio\.")
        resolve_device(device)
        local = is_loopback(host)
        choices, visitors, training = model_choices(model), Visitors(Path(folder)), Training()
        examples = write_examples(Path(folder) / "examples", [value for _, value in choices])
        page = build_page(visitors, training, choices, device=device, examples=examples, local=local)
        try:
            run(asgi(page, visitors.results, local), host, port)
        except KeyboardInterrupt:  # SIGTERM, too: `terminated_as_interrupted`
            pass
        finally:
            visitors.stop_all()
            training.close()
    print("\nThe page is closed; all uploaded and separated files are deleted.")


def asgi(page: Any, results: Path, local: bool) -> Guard:
    """Return a page as an ASGI application.

    Args:
        page: The page, from `build_page`.
        results: The folder whose files the server offers for download.
        local: Whether the page is for this machine only.
    """
    import gradio as gr
    from fastapi import FastAPI

    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page.queue(api_open=False),
        path="/",
        footer_links=[],
        allowed_paths=[str(results)],
        show_error=False,
        max_file_size=MOST_UPLOAD,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css_paths=[Path(__file__).parent / "templates" / "page.css"],
    )
    return Guard(app, local)


def run(app: Guard, host: str, port: int | None) -> None:
    """Print the address, and serve an application until SIGINT or SIGTERM.

    Args:
        app: The page.
        host: Address to listen on.
        port: Port; None takes the first free one from 7860.

    Raises:
        ConfigError: The address cannot be opened.
        KeyboardInterrupt: Ctrl-C or SIGTERM stopped it.
    """
    import uvicorn

    with listening(host, port) as listener:
        number = listener.getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        print(f"The page is at http://{name}:{number} . Ctrl-C ends it.", flush=True)
        config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=2)
        uvicorn.Server(config).run(sockets=[listener])


def listening(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        ConfigError: The address cannot be opened.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + 100):
        try:
            return socket.create_server((host, number), family=family)
        except OSError as error:
            if port is None and error.errno == errno.EADDRINUSE:
                continue
            raise ConfigError(
                f"The page cannot be opened at {host}, port {number}: {error.strerror or error}. Choose another --port or "
                "--host."
            ) from error
    raise ConfigError(f"All ports from {FIRST_PORT} to {FIRST_PORT + 99} are in use. Choose a --port.")


def theme() -> Any:
    """Return gradio's default theme with the system's fonts, and with text whose contrast is at least 4.5 : 1."""
    import gradio as gr

    fills = {"primary": ("#b3390e", "#9a3412"), "cancel": ("#b91c1c", "#991b1b")}  # normal, and under the pointer
    colours = {
        f"button_{kind}_background_fill{state}{ground}": colour
        for kind, pair in fills.items()
        for state, colour in zip(("", "_hover"), pair, strict=True)
        for ground in ("", "_dark")
    }
    fonts = {"font": ("system-ui", "sans-serif"), "font_mono": ("ui-monospace", "monospace")}
    hues = {"primary_hue": "orange", "neutral_hue": "stone"}
    return gr.themes.Default(**hues, **fonts).set(**colours, block_info_text_color="*neutral_600")


def is_loopback(host: str) -> bool:
    """Return whether an address reaches this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """Refuse requests that another web site makes through the visitor's browser, and add the page's content policy.

    Any web site can send forms to 127.0.0.1, or point its own name there (DNS rebinding). Such requests have the site's
    name in the header Origin or Host.

    Args:
        app: The page, as an ASGI application.
        local: Whether the page is for this machine only.
    """

    def __init__(self, app: Any, local: bool):
        self.app, self.local = app, local

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not self._allows(headers):
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"This page refuses requests from other web sites."})
            return

        async def send_with_policy(message: dict) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, send_with_policy)

    def _allows(self, headers: dict[str, str]) -> bool:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.local and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            return False
        return origin is None or urlsplit(origin).netloc == host


def _prepare_gradio(folder: Path) -> None:
    """Set gradio's environment: uploads in our folder, nothing sent to anyone."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
