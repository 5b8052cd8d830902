"""Colours, the same in curves, tables and pictures, and the style sheet of the page."""

from __future__ import annotations

from collections.abc import Sequence

# One pair a colour: on light ground, on dark ground. Contrast to the ground: at least 3 : 1, of text 4.5 : 1.
GROUND = ("#fcfcfa", "#16181b")
INK = ("#1d1f22", "#e7e5e0")
MUTED = ("#5a5f66", "#a3a8b0")
RULE = ("#dddcd6", "#34383e")
PANEL = ("#f3f3ef", "#1e2125")
MODELS = (("#b3390e", "#ff8d5f"), ("#28599a", "#80b2ef"), ("#1d7a55", "#5fcf9f"), ("#7a4a99", "#c39be6"))
LABELS = (
    ("#0b776c", "#4cc9b8"),
    ("#946400", "#e3b341"),
    ("#92398a", "#e295da"),
    ("#557a12", "#a6cf57"),
    ("#6a5a4c", "#c9b6a2"),
    ("#a53a4c", "#ff93a2"),
    ("#3e55b5", "#97a9ff"),
    ("#2f7891", "#72c4de"),
)
LIGHT, DARK = 0, 1

_SHEET = """
:root { color-scheme: light dark; --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  "Liberation Sans", sans-serif; --serif: Charter, "Bitstream Charter", "Sitka Text", "Iowan Old Style", Cambria,
  Georgia, "Liberation Serif", serif; --mono: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1.0625rem/1.55 var(--serif); }
main, header { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: clamp(2rem, 6vw, 4.5rem); }
h1 { font-size: clamp(1.7rem, 1.2rem + 2.4vw, 2.6rem); line-height: 1.15; letter-spacing: -0.015em; font-weight: 600;
  margin: 0 0 0.9rem; max-width: 26ch; text-wrap: balance; }
h2 { font-size: 1.35rem; line-height: 1.25; font-weight: 600; margin: 0 0 0.9rem; }
h3 { font: 600 1rem/1.3 var(--sans); margin: 0; }
p { margin: 0 0 0.9rem; max-width: 66ch; text-wrap: pretty; }
section { border-top: 1px solid var(--rule); padding: 1.6rem 0 0.6rem; margin-top: 1.6rem; }
a { color: inherit; }
.small, figcaption, caption, footer { font: 0.8125rem/1.5 var(--sans); color: var(--muted); }
.figures { display: flex; flex-wrap: wrap; gap: 0.6rem 2.6rem; margin: 1.6rem 0 1.1rem; padding: 0; }
.figures div { border-left: 3px solid var(--colour); padding-left: 0.75rem; display: flex;
  flex-direction: column-reverse; }
.figures dt { font: 0.8125rem/1.3 var(--sans); color: var(--muted); }
.figures dd { margin: 0; font: 500 1.9rem/1.15 var(--sans); letter-spacing: -0.02em; white-space: nowrap;
  font-variant-numeric: tabular-nums lining-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font: 0.9375rem/1.35 var(--sans); font-variant-numeric: tabular-nums lining-nums;
  margin: 0 0 1.2rem; min-width: min(100%, 36rem); }
caption { text-align: left; caption-side: top; padding-bottom: 0.5rem; }
caption span { display: block; position: sticky; left: 0; max-width: min(66ch, 100vw - 2.5rem); }
th, td { padding: 0.4rem 0 0.4rem 1.25rem; text-align: right; vertical-align: baseline; font-weight: 400; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--muted); font-size: 0.8125rem; vertical-align: bottom; border-bottom: 1px solid var(--muted); }
tbody tr + tr > * { border-top: 1px solid var(--rule); }
tr.all > * { border-top: 1px solid var(--muted) !important; font-weight: 600; }
td .median { display: block; font-size: 0.8125rem; font-weight: 400; color: var(--muted); }
tbody th, td { white-space: nowrap; }
th.words, td.words { text-align: left; white-space: normal; min-width: 9rem; }
tr.group th { font-weight: 600; padding-top: 0.9rem; border-bottom: 1px solid var(--rule); }
tr.group th span { position: sticky; left: 0; }
td strong { font-weight: 700; }
.tests tbody th, .scores tbody th, .statistics tbody th { white-space: normal; min-width: 7rem; }
sup { line-height: 0; font-size: 0.75em; }
td.n, th.n { color: var(--muted); font-weight: 400; }
.verdicts dd { font-size: 1.25rem; letter-spacing: 0; }
.answer { margin: 1.4rem 0 1.8rem; }
.answer h3, .example > h3 { font-size: 1.0625rem; margin-bottom: 0.5rem; text-wrap: balance; }
.answer .beside { color: var(--muted); }
.example + .example { margin-top: 2.6rem; border-top: 1px solid var(--rule); padding-top: 1.4rem; }
ul { margin: 0 0 0.9rem; padding-left: 1.2rem; max-width: 66ch; }
li { margin-bottom: 0.35rem; text-wrap: pretty; }
figure + ul { margin-top: 1.2rem; }
figure + details, details + details { margin-top: 0.4rem; }
.chip { display: inline-block; width: 0.7em; height: 0.7em; border-radius: 2px; background: var(--colour);
  margin-right: 0.5em; }
.line { display: block; border-radius: 0; width: 1.6em; height: 0; background: none; margin: 0 0 0.35em auto;
  border-top: 3px solid var(--colour); }
.dashed { border-top: 2px dashed var(--muted); }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; }
figcaption { margin-top: 0.5rem; max-width: 66ch; }
.source { margin-top: 1.8rem; }
.source h3 { border-bottom: 2px solid var(--colour); padding-bottom: 0.3rem; margin-bottom: 0.7rem; }
.row { display: grid; gap: 1rem 1.1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 13rem), 1fr)); }
.clip { display: grid; grid-row: span 4; grid-template-rows: subgrid; gap: 0; align-content: start; min-width: 0; }
.clip .name { display: flex; justify-content: space-between; align-items: end; gap: 1rem; font: 0.8125rem/1.4 var(--sans);
  margin: 0 0 0.3rem; }
.clip .name span { color: var(--muted); font-variant-numeric: tabular-nums; white-space: nowrap; }
.picture { position: relative; background: #000; border-radius: 3px; overflow: hidden; }
.picture img { display: block; width: 100%; height: 8.25rem; image-rendering: auto; }
.picture span { position: absolute; left: 0.35rem; transform: translateY(50%); font: 0.625rem/1 var(--sans);
  color: #fff; text-shadow: 0 0 3px #000, 0 0 2px #000; }
.picture .what { left: auto; right: 0.4rem; top: 0.4rem; transform: none; }
audio + .picture { margin-top: 0.45rem; }
.mixture .picture img { height: 9.5rem; }
audio { display: block; width: 100%; height: 2.25rem; margin-top: 0.45rem; }
dl.facts { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: 0.3rem 1.5rem; margin: 0 0 1.2rem;
  font: 0.9375rem/1.45 var(--sans); }
dl.facts dt { color: var(--muted); }
dl.facts dd { margin: 0; font-variant-numeric: tabular-nums lining-nums; overflow-wrap: anywhere; }
pre { background: var(--panel); border-radius: 3px; padding: 0.8rem 1rem; overflow-x: auto; margin: 0 0 1.2rem;
  font: 0.8125rem/1.55 var(--mono); }
summary { cursor: pointer; font: 0.8125rem/1.5 var(--sans); color: var(--muted); margin: 0.8rem 0; }
footer { border-top: 1px solid var(--rule); padding-top: 1.2rem; padding-bottom: 3rem; margin-top: 1.6rem; }
:focus-visible { outline: 2px solid var(--ink); outline-offset: 2px; }
@media (max-width: 36rem) {
  body { font-size: 1rem; }
  th, td { padding-left: 0.4rem; }
  table { font-size: 0.8125rem; min-width: 100%; }
  thead th, td .median { font-size: 0.75rem; }
  dl.facts { grid-template-columns: 1fr; gap: 0; }
  dl.facts dd { margin-bottom: 0.6rem; }
  .figures { gap: 0.9rem 1.6rem; }
  .figures dd { font-size: 1.6rem; }
}
@media print { .source { break-inside: avoid; } audio { display: none; } }
"""


def style_sheet() -> str:
    """Returns the page's CSS: the colours as variables, for light ground and for dark, and the rules."""
    return (
        f":root {{ {_variables(LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}{_SHEET}"
    )


def colour_of(names: Sequence[str], colours: Sequence[tuple[str, str]], name: str, ground: int) -> str:
    """Returns the colour of one name among its likes, on light or dark ground; they come round again after the last."""
    return colours[list(names).index(name) % len(colours)][ground]


def _variables(ground: int) -> str:
    fixed = {"ground": GROUND, "ink": INK, "muted": MUTED, "rule": RULE, "panel": PANEL}
    pairs = [(name, pair[ground]) for name, pair in fixed.items()]
    pairs += [(f"model{index}", pair[ground]) for index, pair in enumerate(MODELS)]
    pairs += [(f"label{index}", pair[ground]) for index, pair in enumerate(LABELS)]
    return " ".join(f"--{name}: {colour};" for name, colour in pairs)
