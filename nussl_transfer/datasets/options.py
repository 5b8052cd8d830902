"""Options that decide which stems are read from a folder; passed whole to every function that opens stems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..audio.io import LENGTH_TOLERANCE
from ..errors import ConfigError

# What to do about a track that lacks a label of other tracks.
Missing = Literal["error", "skip", "silence"]
_CHOICES = {"silent": ("error", "keep", "skip"), "missing": ("error", "skip", "silence")}


@dataclass(frozen=True)
class StemOptions:
    """Choose how a folder of stems is read.

    Attributes:
        dataset: Name of the data set, in any spelling; None recognises it.
        options: The data set's own options, such as ``{'layout': 'pool'}`` of StemFolder or ``{'held_out': 10}`` of Bach10.
        groups: Stems to merge, ``{'male': ['tenor', 'bass']}``; stems in no group are left out.
        ignore: Names or patterns of labels, files, folders and tracks to skip.
        silent: A stem without sound: 'error' stops, 'keep' keeps it, 'skip' leaves its track out.
        missing: A track that lacks a label of other tracks: 'error' stops, 'skip' leaves it out, 'silence' keeps it and
            treats the absent stem as silent.
        rest: Accept tracks of one stem and a mixture: the second source, ``rest``, is the mixture minus the stem.
        use_mixtures: Train on the mixture files of the tracks instead of the sums of their stems.
        length_tolerance: How much shorter than the longest stem of its track a stem may be, as a share.

    Raises:
        ConfigError: A value is not one of those listed.

    >>> StemOptions(groups={"male": ["tenor", "bass"]}, ignore=["organ"]).ignore
    ('organ',)
    """

    dataset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, str | Sequence[str]] | None = None
    ignore: Sequence[str] = ()
    silent: Literal["error", "keep", "skip"] = "error"
    missing: Missing = "error"
    rest: bool = False
    use_mixtures: bool = False
    length_tolerance: float = LENGTH_TOLERANCE

    def __post_init__(self) -> None:
        """Check the values; a single pattern of ``ignore`` becomes a tuple."""
        object.__setattr__(self, "ignore", (self.ignore,) if isinstance(self.ignore, str) else tuple(self.ignore))
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        if not 0 <= self.length_tolerance < 1:
            raise ConfigError(f"length_tolerance={self.length_tolerance} is out of range. Give a share from 0 to below 1.")
        if self.rest and self.use_mixtures:
            raise ConfigError(
                "rest and use_mixtures exclude each other: with rest, stem and rest already sum to the mixture. Choose one."
            )


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise ConfigError unless a value is one of its choices.

    Raises:
        ConfigError: The value is not one of them.
    """
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}. Choose one of {', '.join(map(repr, choices))}.")
