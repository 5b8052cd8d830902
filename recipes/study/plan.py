"""Read the plan of a study: pretrainings, conditions, downstream sets and sizes, as in ``recipes/conf/study.yml``.

::

    pretrainings: {musdb: MUSDB, ...}                            one experiment pretrain_<name><suffix>.yml for each
    conditions: {pitch: {shown: Pitch shift, suffix: _pitch}, ...}
    downstreams: {bach10: {shown: Bach10, experiment: bach10}, ...}   scratch_<experiment>.yml, finetune_<experiment>.yml
    modes: [whole, mask]                                         and finetune_<experiment>_mask.yml
    sizes: {small: {...}, medium: {like: small, ...}, ...}       the same grid with other numbers
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import yaml

from nussl_transfer.errors import ConfigError
from nussl_transfer.pipelines.experiment_reading import build, compose

SCRATCH, SCRATCH_EQUAL = "scratch", "scratch_equal"


@dataclass(frozen=True)
class Condition:
    """A way of drawing mixtures in pretraining.

    Attributes:
        shown: Its name in tables.
        suffix: Suffix of the names of its experiments.
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
        folds: Numbers of the tracks to leave out; None: all that are in its folder.
        dataset: Data set whose folder it is read from; None: the one that its experiment names, or its own folder.
        conditions: Conditions of pretraining that it is run for; None: all.
        modes: Modes of fine-tuning that it is run in; None: all.
        optional: It is run only if a size names it, or its folder is given.
    """

    shown: str
    experiment: str
    leave_one_out: str | None = None
    folds: tuple[str, ...] | None = None
    dataset: str | None = None
    conditions: tuple[str, ...] | None = None
    modes: tuple[Literal["whole", "mask"], ...] | None = None
    optional: bool = False


@dataclass(frozen=True)
class Corpus:
    """A stand-in for a data set, as ``python -m recipes.corpora`` renders it.

    Attributes:
        render: Name of that command's corpus.
        tree: Folder of the data set within the rendered corpus.
        minutes: Minutes of music.
        tracks: Number of tracks.
        held_out: Number of test tracks, for the corpora whose command has that option.
    """

    render: str
    tree: str
    minutes: float | None = None
    tracks: int | None = None
    held_out: int | None = None

    def options(self) -> str:
        """Return the options of the command."""
        given = {"tracks": self.tracks, "minutes": self.minutes, "held_out": self.held_out}
        return " ".join(f"--{name} {value:g}" for name, value in given.items() if value is not None)


@dataclass(frozen=True)
class Resources:
    """Limits of a job: GPUs, memory in MB, and minutes, after which a cluster ends it."""

    gpu: int = 0
    mem_mb: int = 2000
    runtime: int = 60


@dataclass(frozen=True)
class JobResources:
    """Limits of each kind of job."""

    pretrain: Resources = Resources()
    finetune: Resources = Resources()
    score: Resources = Resources()
    data: Resources = Resources()


@dataclass(frozen=True)
class Size:
    """The numbers of a study.

    Attributes:
        about: What it is, in a sentence.
        like: Another size, whose keys this one has unless it sets them. ``folders`` and other mappings are merged key by
            key; ``overrides`` are added to those of the other.
        seeds: Seeds of fine-tuning and of training from scratch; everything is run once for each.
        body_seeds: Seeds of pretraining; None: ``seeds``. The i-th seed fine-tunes from the i-th body; after the last body,
            the first follows.
        baselines: Networks from scratch: 'scratch' trains for its own number of iterations, 'scratch_equal' for as many as
            the fine-tuned.
        pretrainings: Those to run; None: all. Likewise ``conditions``, ``downstreams`` and ``modes``.
        folders: Folders of data sets, by their names.
        corpora: Stand-ins to render, by the names of the data sets.
        overrides: ``section.key=value`` for every experiment.
        threads: Threads of a job.
        resources: Limits of each kind of job.
        seconds_per_iteration: Measured earlier, by 'pretrain', 'scratch', 'scratch_equal', 'whole' and 'mask'; the jobs are
            estimated from it until runs are finished.
    """

    about: str
    like: str | None = None
    seeds: tuple[int, ...] = (0,)
    body_seeds: tuple[int, ...] | None = None
    baselines: tuple[Literal["scratch", "scratch_equal"], ...] = (SCRATCH,)
    pretrainings: tuple[str, ...] | None = None
    conditions: tuple[str, ...] | None = None
    downstreams: tuple[str, ...] | None = None
    modes: tuple[Literal["whole", "mask"], ...] | None = None
    folders: dict[str, str] = field(default_factory=dict)
    corpora: dict[str, Corpus] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    threads: int = 1
    resources: JobResources = JobResources()
    seconds_per_iteration: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """The whole plan; `sizes` by name."""

    pretrainings: dict[str, str]
    conditions: dict[str, Condition]
    downstreams: dict[str, Downstream]
    modes: tuple[Literal["whole", "mask"], ...]
    sizes: dict[str, Size]


def read_study(path: str | Path) -> Study:
    """Read the plan of a study.

    Raises:
        ConfigError: The file cannot be read, has an unknown key or a value of the wrong type, or a size names an unknown
            part of the study.
    """
    try:
        node = compose(Path(path).read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"The plan {path} cannot be read: {error}. Give a YAML file such as study.yml.") from error
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path} is not the plan of a study: expected keys such as `pretrainings:` and `sizes:`.")
    study = build(Study, [node])
    nodes = {size.value: value for key, sizes in node.value if key.value == "sizes" for size, value in sizes.value}
    study = replace(study, sizes={name: _inherit(str(path), study.sizes, nodes, name) for name in study.sizes})
    for name, size in study.sizes.items():
        for part in ("pretrainings", "conditions", "downstreams"):
            _check_known(f"{path}: sizes.{name}.{part}", getattr(size, part) or (), getattr(study, part))
        if SCRATCH not in size.baselines:
            raise ConfigError(f"{path}: sizes.{name}.baselines lacks '{SCRATCH}', which every comparison needs. Add it.")
    for name, downstream in study.downstreams.items():
        _check_known(f"{path}: downstreams.{name}.conditions", downstream.conditions or (), study.conditions)
    return study


def _inherit(path: str, sizes: Mapping[str, Size], nodes: Mapping[str, yaml.Node], name: str) -> Size:
    """Return a size with the keys that it inherits: mappings are merged, overrides are added, all else is replaced."""
    line = [name]
    while parent := sizes[line[0]].like:
        _check_known(f"{path}: sizes.{line[0]}.like", (parent,), sizes)
        if parent in line:
            raise ConfigError(f"{path}: sizes.{line[0]}.like leads back to {parent!r}. Remove one `like:`.")
        line.insert(0, parent)
    whole = build(Size, [nodes[size] for size in line], f"sizes.{name}", Study)
    overrides = tuple(override for size in line for override in sizes[size].overrides)
    merged = {
        key: {part: value for size in line for part, value in getattr(sizes[size], key).items()}
        for key in ("folders", "seconds_per_iteration")
    }
    return replace(whole, overrides=overrides, **merged)


def _check_known(where: str, named: tuple[str, ...], known: Mapping) -> None:
    for name in named:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"Did you mean {near[0]!r}?" if near else f"Known names: {', '.join(known)}."
            raise ConfigError(f"{where} names {name!r}, which the study does not have. {meant}")
