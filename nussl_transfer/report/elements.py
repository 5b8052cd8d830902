"""The small things that the page is put together from."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape

from .style import LABELS
from .text import decibels, probability

# Ends where the oracle may be explained, without a full stop.
ABOUT_SI_SDR = (
    "SI-SDR, the scale-invariant signal-to-distortion ratio, compares an estimate with the true source, whatever the "
    "loudness of either: 0 dB means as much error as signal, each 10 dB more a tenth of the error. As an estimate of "
    "each source the mixture itself is what any separator has to beat"
)
ABOUT_ORACLE = (
    "; the oracle, masks made from the true sources themselves with the phase of the mixture, is about what such masks "
    "can reach"
)


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


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Returns a list of names and what they are; empty where there are none."""
    items = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>" for name, value in pairs)
    return f'<dl class="facts">{items}</dl>' if items else ""
