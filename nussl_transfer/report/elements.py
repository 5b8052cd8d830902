"""The small things that the page is put together from."""

from __future__ import annotations

import base64
import re

from .style import LABELS
from .text import decibels, probability


def shown(name: str) -> str:
    """Returns a name with a capital letter."""
    return name[:1].upper() + name[1:]


def uri(kind: str, content: bytes) -> str:
    """Returns a link that holds a file within itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def number(value: float | None, signed: bool = False) -> str:
    """Returns a number as written, with the number itself in the element's value."""
    return f'<data value="{"" if value is None else repr(value)}">{decibels(value, signed)}</data>'


def chip(labels: list[str], label: str) -> str:
    """Returns a patch of a label's colour."""
    return f'<span class="chip" style="--colour: var(--label{labels.index(label) % len(LABELS)})"></span>'


def p_value(value: float | None) -> str:
    """Returns a p-value as written, with the number itself in the element's value."""
    return f'<data value="{"" if value is None else repr(value)}">{raised(probability(value))}</data>'


def raised(text: str) -> str:
    """Returns text with its powers of ten, which a terminal shows in tiny digits, as HTML writes them."""
    tiny = "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
    plain = str.maketrans(tiny, "\u22120123456789")
    return re.sub(f"[{tiny}]+", lambda match: f"<sup>{match.group().translate(plain)}</sup>", text)
