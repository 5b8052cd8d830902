"""The frame of every page: one HTML file that holds its style, pictures and sound and may load nothing."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from .style import style_sheet

# One player at a time. All that a page does by script; without it everything still works.
_SCRIPT = """
document.addEventListener("play", (event) => {
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
"""


def document(title: str, header: str, main: str) -> str:
    """Returns a whole HTML page.

    A browser is told to load nothing from elsewhere and to run no script but the one above, which it knows by its hash.

    Args:
        title: Plain text.
        header: HTML below the title.
        main: HTML of the sections and the footer.
    """
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{style_sheet()}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{header}
</header>
<main>
{main}
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def section(identifier: str, title: str, content: str) -> str:
    """Returns a section with its heading; ``content`` is HTML."""
    return (
        f'<section aria-labelledby="{identifier}">\n<h2 id="{identifier}">{escape(title)}</h2>\n{content}\n</section>'
    )


def in_colours_and_widths(sources: dict[tuple[bool, bool], str], alt: str) -> str:
    """Returns a picture that is another on narrow screens and in the dark.

    Args:
        sources: Links by (narrow, dark); all four.
        alt: What it says, as text.
    """
    return (
        "<picture>"
        f'<source media="(max-width: 36rem) and (prefers-color-scheme: dark)" srcset="{sources[True, True]}">'
        f'<source media="(max-width: 36rem)" srcset="{sources[True, False]}">'
        f'<source media="(prefers-color-scheme: dark)" srcset="{sources[False, True]}">'
        f'<img src="{sources[False, False]}" alt="{escape(alt, quote=True)}"></picture>'
    )
