"""Slakh's sources: which General MIDI programs make which stem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import ConfigError
from .labels import normalise
from .slakh_metadata import DRUMS

# General MIDI's families, with the class that choirs and ensembles are in, and as Slakh's own end with 118 and 127.
_FAMILIES = (
    "piano chromatic_percussion organ guitar bass strings ensemble brass reed pipe synth_lead synth_pad synth_effects "
    "ethnic percussive sound_effects"
).split()
_CLASSES = {name: frozenset(range(8 * number, 8 * number + 8)) for number, name in enumerate(_FAMILIES)}
_CLASSES["percussive"] -= {119}
_CLASSES["sound_effects"] |= {119}
_CLASSES["drums"] = frozenset({DRUMS})
_BAND = {name: _CLASSES[name] for name in ("bass", "drums", "guitar", "piano")}
_PIANO_GUITAR = _CLASSES["piano"] | _CLASSES["guitar"]
# Label -> program numbers; what is in no source is left out.
SOURCES: dict[str, dict[str, frozenset[int]]] = {
    "paper": {"drums": _CLASSES["drums"], "piano_guitar": _PIANO_GUITAR},
    "paper+bass": {"bass": _CLASSES["bass"], "drums": _CLASSES["drums"], "piano_guitar": _PIANO_GUITAR},
    "band": _BAND,
    "band+other": {**_BAND, "other": frozenset(range(DRUMS)).difference(*_BAND.values())},
    "common": {"bass": _CLASSES["bass"], "drums": _CLASSES["drums"], "other": _PIANO_GUITAR},
    "classes": dict(sorted(_CLASSES.items())),
}


def label_of_programs(sources: str | Mapping[str, Iterable[int]]) -> dict[int, str]:
    """Returns the label of each program number that is in a source.

    Args:
        sources: One of ``SOURCES``, or label -> program numbers.

    Raises:
        ConfigError: There is no such name or number, or a number is in two sources.
    """
    if isinstance(sources, str):
        if sources not in SOURCES:
            raise ConfigError(
                f"sources={sources!r} was asked for of Slakh. It is one of {', '.join(SOURCES)}, or names the program "
                "numbers of each label."
            )
        sources = SOURCES[sources]
    labels: dict[int, str] = {}
    for label, programs in sources.items():
        for program in programs:
            if program not in range(DRUMS + 1):
                raise ConfigError(
                    f"Program {program!r} was put into source {label!r}: it is a number 0 to 127, or 128 for drums."
                )
            if labels.setdefault(program, normalise(label)) != normalise(label):
                both = f"{labels[program]!r} and {label!r}"
                raise ConfigError(f"Program {program} was put into two sources, {both}. Choose one.")
    return labels
