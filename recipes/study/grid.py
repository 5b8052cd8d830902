"""A study's plan unrolled: every body, every model, with the experiment and the overrides that make it.

Names say what a thing is: ``musdb-pitch-0`` is a body, ``choir-musdb-pitch-mask-0`` a model fine-tuned from it,
``choir-scratch-0`` its baseline; ``bach10_recorded.03-...`` leaves out the third piece. The last number is the seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.errors import ConfigError
from nussl_transfer.pipelines.experiment_reading import read_experiment
from nussl_transfer.pipelines.experiment_sections import Experiment, StoreConfig

from .plan import Downstream, Size, Study


@dataclass(frozen=True)
class Body:
    """A network to be pretrained."""

    pretraining: str
    condition: str
    seed: int

    @property
    def name(self) -> str:
        """Its name in file names."""
        return f"{self.pretraining}-{self.condition}-{self.seed}"


@dataclass(frozen=True)
class Model:
    """A network to be fine-tuned, or with neither pretraining nor condition, and mode 'scratch', a baseline."""

    downstream: str
    pretraining: str | None
    condition: str | None
    mode: str
    seed: int
    fold: str | None = None

    @property
    def name(self) -> str:
        """Its name in file names."""
        came_from = () if self.pretraining is None else (self.pretraining, self.condition)
        return "-".join((self.tests, *came_from, self.mode, str(self.seed)))

    @property
    def tests(self) -> str:
        """The set, and fold, that it is trained and tested on."""
        return self.downstream if self.fold is None else f"{self.downstream}.{self.fold}"

    @property
    def body(self) -> Body | None:
        """What it is fine-tuned from."""
        return None if self.pretraining is None else Body(self.pretraining, self.condition, self.seed)


class Grid:
    """A study in one size, in one folder.

    Args:
        study: The plan.
        size: Name of the size.
        folder: Of the study: stores, runs, scores.
        conf: Folder of the experiments.
        folders: Where data sets and downstream sets lie, by name, over those of the size.

    Attributes:
        bodies: By name.
        models: By name, baselines first.

    Raises:
        ConfigError: There is no such size, set or data set.
    """

    def __init__(
        self, study: Study, size: str, folder: str | Path, conf: str | Path, folders: Mapping[str, str] | None = None
    ):
        if size not in study.sizes:
            raise ConfigError(f"A study of size {size!r} was asked for: there are {', '.join(study.sizes)}.")
        self.study, self.size_name, self.folder, self.conf = study, size, Path(folder), Path(conf)
        self.size: Size = study.sizes[size]
        self._read: dict[Path, dict[str, StoreConfig]] = {}
        self.folders = {**self.size.folders, **self.corpus_trees(), **(folders or {})}
        self.pretrainings = {name: study.pretrainings[name] for name in self.size.pretrainings or study.pretrainings}
        self.conditions = {name: study.conditions[name] for name in self.size.conditions or study.conditions}
        self.modes = self.size.modes or study.modes
        self.downstreams = dict(self._downstreams())
        self.folds = {name: self._folds(name, about) for name, about in self.downstreams.items()}
        bodies = (Body(p, c, s) for s in self.size.seeds for c in self.conditions for p in self.pretrainings)
        self.bodies = {body.name: body for body in bodies}
        self.models = {model.name: model for model in self._models()}
        self.tests = {model.tests: model for model in self.models.values() if model.mode == "scratch"}
        if folders:
            self._check_known_folders(folders)

    def corpus_trees(self) -> dict[str, str]:
        """Returns where the stand-ins lie, by data set."""
        return {
            name: str(self.folder / "corpora" / corpus.render / corpus.tree).rstrip("/")
            for name, corpus in self.size.corpora.items()
        }

    def experiment_file(self, item: Body | Model) -> Path:
        """Returns the experiment of a body or a model."""
        if isinstance(item, Body):
            return self.conf / f"pretrain_{item.pretraining}{self.conditions[item.condition].suffix}.yml"
        name = self.downstreams[item.downstream].experiment
        if item.mode == "scratch":
            return self.conf / f"scratch_{name}.yml"
        return self.conf / f"finetune_{name}{'_mask' if item.mode == 'mask' else ''}.yml"

    def overrides(self, item: Body | Model) -> list[str]:
        """Returns what of its experiment is different in this study, ``section.key=value``."""
        told = [*self.size.overrides, f"training.seed={item.seed}", "training.progress=false"]
        prepared = self.folder / "stores"
        if isinstance(item, Body):
            told.append("test.probed=0")
        else:
            prepared = prepared / item.tests
            told.append(f"test.excerpt_list={self.folder / 'excerpts' / f'{item.tests}.jams'}")
            if item.body is not None:
                told.append(f"start.checkpoint={self.folder / 'bodies' / f'{item.body.name}.pth'}")
        told.append(f"data.prepared={prepared}")
        return told + [f"data.stores.{name}.{key}={value}" for name, key, value in self._places(item)]

    def experiment(self, item: Body | Model) -> Experiment:
        """Returns the experiment of a body or a model, as it is done here."""
        return read_experiment(self.experiment_file(item), self.overrides(item))

    def sets_of(self, item: Body | Model) -> list[str]:
        """Returns the names of the data sets that an item is trained on."""
        return sorted({about.dataset for about in self._stores(item).values() if about.dataset})

    def _stores(self, item: Body | Model) -> dict[str, StoreConfig]:
        """Returns the stores of an experiment as its file has them, which is read once."""
        path = self.experiment_file(item)
        if path not in self._read:
            self._read[path] = read_experiment(path).data.stores
        return self._read[path]

    def _places(self, item: Body | Model) -> Iterator[tuple[str, str, str]]:
        """Yields what to say of each store of an experiment: where its data set lies, and how it is split here."""
        own = self.folders.get(item.downstream) if isinstance(item, Model) else None
        leave_one_out = isinstance(item, Model) and self.downstreams[item.downstream].leave_one_out
        for name, about in self._stores(item).items():
            if folder := own or self.folders.get(about.dataset):
                yield name, "folder", folder
            if leave_one_out:
                yield name, "options", f"{{{leave_one_out}: '{item.fold}'}}"
            elif about.dataset in self.size.corpora and "held_out" in about.options:
                # The stand-in has its own pieces to be tested on, in a folder that says so.
                yield name, "options", "{}"

    def _downstreams(self) -> Iterator[tuple[str, Downstream]]:
        for name, about in self.study.downstreams.items():
            chosen = self.size.downstreams is None or name in self.size.downstreams
            if name in self.folders or (chosen and not about.asked_for):
                yield name, about

    def _folds(self, name: str, about: Downstream) -> list[str | None]:
        if about.leave_one_out is None:
            return [None]
        return [track.name.partition("-")[0] for track in open_tracks(self.folders[name])[1]]

    def _models(self) -> Iterator[Model]:
        modes = ("scratch", *self.modes)
        for seed in self.size.seeds:
            for mode in modes:
                for name, about in self.downstreams.items():
                    if mode != "scratch" and about.modes and mode not in about.modes:
                        continue
                    wanted = [c for c in self.conditions if about.conditions is None or c in about.conditions]
                    pairs = [(p, c) for c in wanted for p in self.pretrainings] if mode != "scratch" else [(None, None)]
                    for pretraining, condition in pairs:
                        for fold in self.folds[name]:
                            yield Model(name, pretraining, condition, mode, seed, fold)

    def _check_known_folders(self, folders: Mapping[str, str]) -> None:
        items = [*self.bodies.values(), *self.tests.values()]
        known = {name for item in items for name in self.sets_of(item)} | set(self.study.downstreams)
        for name in folders:
            if name not in known:
                raise ConfigError(f"The folder of {name!r} was given: the study's sets are {', '.join(sorted(known))}.")
