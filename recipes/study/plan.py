"""What a study is: pretrainings, conditions, downstream sets and sizes, as ``recipes/conf/study.yml`` has them.

::

    pretrainings: {musdb: MUSDB, ...}                            an experiment pretrain_<name><suffix>.yml each
    conditions: {pitch: {shown: Pitch shift, suffix: _pitch}, ...}
    downstreams: {bach10: {shown: Bach10, experiment: bach10}, ...}   scratch_<experiment>.yml, finetune_<experiment>.yml
    modes: [whole, mask]                                         and finetune_<experiment>_mask.yml
    sizes: {small: {...}, ...}                                   the same, with other numbers
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml

from nussl_transfer.errors import ConfigError
from nussl_transfer.pipelines.experiment_checking import Checker
from nussl_transfer.pipelines.experiment_schema import construct


@dataclass(frozen=True)
class Condition:
    """A way of drawing mixtures in pretraining.

    Attributes:
        shown: Its name in tables.
        suffix: What the names of its experiments end in.
    """

    shown: str
    suffix: str = ""


@dataclass(frozen=True)
class Downstream:
    """A set to fine-tune on.

    Attributes:
        shown: Its name in tables.
        experiment: Its experiments are ``finetune_<experiment>`` and ``scratch_<experiment>``.
        leave_one_out: An option of its data set that holds out one track by number. Every model is then trained once for
            each track, without it.
        conditions: Of pretraining that it is done for; None: all.
        modes: Of fine-tuning that it is done in; None: all.
        asked_for: It is done only where its folder is given.
    """

    shown: str
    experiment: str
    leave_one_out: str | None = None
    conditions: tuple[str, ...] | None = None
    modes: tuple[Literal["whole", "mask"], ...] | None = None
    asked_for: bool = False


@dataclass(frozen=True)
class Corpus:
    """A stand-in for a data set, as ``python -m recipes.corpora`` renders it.

    Attributes:
        render: Name of that command's corpus.
        tree: Folder of the data set within what is rendered.
        minutes: Of music.
        tracks: Their number.
        held_out: Tracks for the test, where the command asks for it.
    """

    render: str
    tree: str
    minutes: float | None = None
    tracks: int | None = None
    held_out: int | None = None

    def options(self) -> str:
        """Returns the words of the command that says how much."""
        asked = {"tracks": self.tracks, "minutes": self.minutes, "held_out": self.held_out}
        return " ".join(f"--{name} {value:g}" for name, value in asked.items() if value is not None)


@dataclass(frozen=True)
class Resources:
    """What a job may take: a number of GPUs, memory in MB, and minutes, after which a cluster ends it."""

    gpu: int = 0
    mem_mb: int = 2000
    runtime: int = 60


@dataclass(frozen=True)
class Needs:
    """What each kind of job may take."""

    pretrain: Resources = Resources()
    finetune: Resources = Resources()
    score: Resources = Resources()
    data: Resources = Resources()


@dataclass(frozen=True)
class Size:
    """The numbers of a study.

    Attributes:
        about: What it is, in a sentence.
        seeds: Everything is done once for each.
        pretrainings: Those that are done; None: all. Likewise ``conditions``, ``downstreams`` and ``modes``.
        folders: Where data sets lie, by their names.
        corpora: Stand-ins that are rendered, by the names of the data sets.
        overrides: Of every experiment, ``section.key=value``.
        threads: Of a job.
        resources: What each kind of job may take.
    """

    about: str
    seeds: tuple[int, ...] = (0,)
    pretrainings: tuple[str, ...] | None = None
    conditions: tuple[str, ...] | None = None
    downstreams: tuple[str, ...] | None = None
    modes: tuple[Literal["whole", "mask"], ...] | None = None
    folders: dict[str, str] = field(default_factory=dict)
    corpora: dict[str, Corpus] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    threads: int = 1
    resources: Needs = Needs()


@dataclass(frozen=True)
class Study:
    """All that is done; `sizes` by name."""

    pretrainings: dict[str, str]
    conditions: dict[str, Condition]
    downstreams: dict[str, Downstream]
    modes: tuple[Literal["whole", "mask"], ...]
    sizes: dict[str, Size]


def read_study(path: str | Path) -> Study:
    """Returns the study that a file describes.

    Raises:
        ConfigError: It cannot be read, has a key that there is not or a value of another type, or a size names a part of
            the study that there is not.
    """
    try:
        node = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"The study {path} was asked for: {error}. Give a YAML file, such as study.yml.") from error
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path} is not a study: it should hold keys, such as `pretrainings:` and `sizes:`.")
    study = construct(Study, Checker(Study, str(path)).check(node), str(path))
    for name, size in study.sizes.items():
        for part in ("pretrainings", "conditions", "downstreams"):
            _check_known(f"{path}: sizes.{name}.{part}", getattr(size, part) or (), getattr(study, part))
    for name, downstream in study.downstreams.items():
        _check_known(f"{path}: downstreams.{name}.conditions", downstream.conditions or (), study.conditions)
    return study


def _check_known(where: str, named: tuple[str, ...], known: dict) -> None:
    for name in named:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(known)}."
            raise ConfigError(f"{where} names {name!r}, which the study does not have. {meant}")
