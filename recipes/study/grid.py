"""Expand the plan of a study into its bodies and models, each with its experiment and overrides.

A name says how a network is made: ``musdb-pitch-0`` is a body, ``choir-musdb-pitch-mask-0`` a model fine-tuned from it,
``choir-scratch-0`` its baseline; ``bach10_recorded.03-...`` leaves out the third piece. The last number is the seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.errors import ConfigError
from nussl_transfer.pipelines.experiment import Experiment, StoreConfig
from nussl_transfer.pipelines.experiment_reading import read_experiment

from .plan import SCRATCH, SCRATCH_EQUAL, Downstream, Size, Study

BASELINES = (SCRATCH, SCRATCH_EQUAL)


@dataclass(frozen=True)
class Body:
    """A network to pretrain."""

    pretraining: str
    condition: str
    seed: int

    @property
    def name(self) -> str:
        """Its name in file names."""
        return f"{self.pretraining}-{self.condition}-{self.seed}"


@dataclass(frozen=True)
class Model:
    """A network to fine-tune, or a baseline. A baseline has no pretraining and no condition, and mode 'scratch...'.

    ``fold`` is the track that is left out. ``body_seed`` is the seed of the body, if it differs from the model's seed.
    """

    downstream: str
    pretraining: str | None
    condition: str | None
    mode: str
    seed: int
    fold: str | None = None
    body_seed: int | None = None

    @property
    def name(self) -> str:
        """Its name in file names."""
        parent = () if self.pretraining is None else (self.pretraining, self.condition)
        return "-".join((self.tests, *parent, self.mode, str(self.seed)))

    @property
    def tests(self) -> str:
        """The set (and fold) that it is trained and tested on."""
        return self.downstream if self.fold is None else f"{self.downstream}.{self.fold}"

    @property
    def body(self) -> Body | None:
        """The body that it is fine-tuned from."""
        if self.pretraining is None:
            return None
        return Body(self.pretraining, self.condition, self.seed if self.body_seed is None else self.body_seed)


class Grid:
    """A study in one size and one folder.

    Args:
        study: The plan.
        size: Name of the size.
        folder: Folder of the study: stores, runs, scores.
        conf: Folder of the experiments.
        folders: Folders of data sets and of downstream sets, by name; they replace those of the size.
        sets: Pretraining and downstream sets to run; empty: all of the size. A downstream set is named by its own name or
            by that of its experiment.

    Attributes:
        bodies: By name.
        models: By name, baselines first.
        tests: One baseline for each set and fold, by the name of the set and fold.
        left_out: The sets of the size that ``sets`` leaves out: the names shown in tables, by name.

    Raises:
        ConfigError: The size, a set or a data set is unknown.
    """

    def __init__(
        self,
        study: Study,
        size: str,
        folder: str | Path,
        conf: str | Path,
        folders: Mapping[str, str] | None = None,
        sets: Sequence[str] = (),
    ):
        if size not in study.sizes:
            raise ConfigError(f"The size is wrong: got {size!r}, expected one of {', '.join(study.sizes)}.")
        self.study, self.size_name, self.folder, self.conf = study, size, Path(folder), Path(conf)
        self.size: Size = study.sizes[size]
        self._stores_read: dict[Path, dict[str, StoreConfig]] = {}
        self._iterations_read: dict[tuple[Path, str], int] = {}
        self.folders = {**self.size.folders, **self.corpus_trees(), **(folders or {})}
        self.conditions = {name: study.conditions[name] for name in self.size.conditions or study.conditions}
        self.modes = self.size.modes or study.modes
        pretrainings = {name: study.pretrainings[name] for name in self.size.pretrainings or study.pretrainings}
        downstreams = dict(self._downstreams())
        self.pretrainings, self.downstreams = _choose(pretrainings, downstreams, sets)
        every = {**pretrainings, **{name: about.shown for name, about in downstreams.items()}}
        self.left_out = {
            name: shown for name, shown in every.items() if name not in self.pretrainings and name not in self.downstreams
        }
        self.folds = {name: self._folds(name, about) for name, about in self.downstreams.items()}
        seeds = self.size.body_seeds or self.size.seeds
        bodies = (Body(p, c, s) for s in seeds for c in self.conditions for p in self.pretrainings)
        self.bodies = {body.name: body for body in bodies}
        self.models = {model.name: model for model in self._models()}
        self.tests = {model.tests: model for model in self.models.values() if model.mode == SCRATCH}
        if folders:
            self._check_known_folders(folders)

    def corpus_trees(self) -> dict[str, str]:
        """Return the folders of the stand-ins, by data set."""
        return {
            name: str(self.folder / "corpora" / corpus.render / corpus.tree).rstrip("/")
            for name, corpus in self.size.corpora.items()
        }

    def experiment_file(self, item: Body | Model) -> Path:
        """Return the path of the experiment of a body or a model."""
        if isinstance(item, Body):
            return self.conf / f"pretrain_{item.pretraining}{self.conditions[item.condition].suffix}.yml"
        name = self.downstreams[item.downstream].experiment
        if item.mode in BASELINES:
            return self.conf / f"scratch_{name}.yml"
        return self.conf / f"finetune_{name}{'_mask' if item.mode == 'mask' else ''}.yml"

    def overrides(self, item: Body | Model) -> list[str]:
        """Return the overrides of its experiment, ``section.key=value``."""
        overrides = [*self.size.overrides, f"training.seed={item.seed}", "training.progress=false"]
        prepared = self.folder / "stores"
        if isinstance(item, Body):
            overrides.append("test.probed=0")
        else:
            prepared = prepared / item.tests
            overrides.append(f"test.excerpt_list={self.folder / 'excerpts' / f'{item.tests}.jams'}")
            if item.body is not None:
                overrides.append(f"start.checkpoint={self.folder / 'bodies' / f'{item.body.name}.pth'}")
            if item.mode == SCRATCH_EQUAL:
                overrides.append(f"training.iterations={self.iterations(item)}")
        overrides.append(f"data.prepared={prepared}")
        return overrides + [f"data.stores.{name}.{key}={value}" for name, key, value in self._store_overrides(item)]

    def experiment(self, item: Body | Model) -> Experiment:
        """Return the experiment of a body or a model, with its overrides."""
        return read_experiment(self.experiment_file(item), self.overrides(item))

    def iterations(self, item: Body | Model) -> int:
        """Return the number of iterations that a body or a model is trained for."""
        if isinstance(item, Body):
            kind = "pretrain"
        else:
            kind = "scratch" if item.mode == SCRATCH else "finetune"
        key = self.experiment_file(item), kind
        if key not in self._iterations_read:
            planned = read_experiment(key[0], self.size.overrides).training.iterations
            self._iterations_read[key] = planned if isinstance(planned, int) else getattr(planned, kind)
        return self._iterations_read[key]

    def data_of(self, name: str) -> Body | Model:
        """Return a body or a baseline that is trained on a set (and fold), by the name of the set (and fold).

        Raises:
            ConfigError: The study has no such set.
        """
        item = self.tests.get(name) or next((body for body in self.bodies.values() if body.pretraining == name), None)
        if item is None:
            raise ConfigError(f"There is no set {name!r}: the study has {', '.join([*self.tests, *self.pretrainings])}.")
        return item

    def datasets_of(self, item: Body | Model) -> list[str]:
        """Return the names of the data sets that a body or a model is trained on."""
        return sorted({about.dataset for about in self._stores(item).values() if about.dataset})

    def dataset_folders(self, item: Body | Model) -> dict[str, Path]:
        """Return the folders that a body or a model is trained on, by data set."""
        folders = {about.dataset or name: about.folder for name, about in self._stores(item).items()}
        stores = {name: about.dataset or name for name, about in self._stores(item).items()}
        folders |= {stores[name]: value for name, key, value in self._store_overrides(item) if key == "folder"}
        return {name: Path(folder) for name, folder in sorted(folders.items()) if folder}

    def corpora_of(self, item: Body | Model) -> list[str]:
        """Return the names of the data sets whose stand-ins a body or a model is trained on."""
        if isinstance(item, Model) and item.downstream in self.folders:
            return []  # a downstream set with a folder of its own
        return [name for name in self.datasets_of(item) if name in self.size.corpora]

    def _stores(self, item: Body | Model) -> dict[str, StoreConfig]:
        """Return the stores of an experiment as its file has them; each file is read once."""
        path = self.experiment_file(item)
        if path not in self._stores_read:
            self._stores_read[path] = read_experiment(path).data.stores
        return self._stores_read[path]

    def _store_overrides(self, item: Body | Model) -> Iterator[tuple[str, str, str]]:
        """Yield (store, key, value): the folder of each store, and its split if that differs from the experiment's."""
        downstream = self.downstreams[item.downstream] if isinstance(item, Model) else None
        own = self._own_folder(item.downstream, downstream) if isinstance(item, Model) else None
        for name, about in self._stores(item).items():
            if folder := own or self.folders.get(about.dataset):
                yield name, "folder", folder
            if downstream and downstream.leave_one_out:
                yield name, "options", f"{{{downstream.leave_one_out}: '{item.fold}'}}"
            elif about.dataset in self.size.corpora and "held_out" in about.options:
                # The stand-in has its own test pieces, in a folder named for that.
                yield name, "options", "{}"

    def _own_folder(self, name: str, about: Downstream) -> str | None:
        return self.folders.get(name) or (self.folders.get(about.dataset) if about.dataset else None)

    def _downstreams(self) -> Iterator[tuple[str, Downstream]]:
        for name, about in self.study.downstreams.items():
            named = self.size.downstreams is not None and name in self.size.downstreams
            if name in self.folders or named or (self.size.downstreams is None and not about.optional):
                yield name, about

    def _folds(self, name: str, about: Downstream) -> list[str | None]:
        if about.leave_one_out is None:
            return [None]
        if about.folds is not None:
            return list(about.folds)
        return [track.name.partition("-")[0] for track in open_tracks(self._own_folder(name, about))[1]]

    def _models(self) -> Iterator[Model]:
        body_seeds = self.size.body_seeds or self.size.seeds
        for number, seed in enumerate(self.size.seeds):
            body_seed = body_seeds[number % len(body_seeds)]
            for mode in (*self.size.baselines, *self.modes):
                for name, about in self.downstreams.items():
                    if mode in BASELINES:
                        kinds, parent = [(None, None)], None
                    elif about.modes and mode not in about.modes:
                        continue
                    else:
                        wanted = [c for c in self.conditions if about.conditions is None or c in about.conditions]
                        kinds, parent = [(p, c) for c in wanted for p in self.pretrainings], body_seed
                    for pretraining, condition in kinds:
                        for fold in self.folds[name]:
                            yield Model(name, pretraining, condition, mode, seed, fold, parent)

    def _check_known_folders(self, folders: Mapping[str, str]) -> None:
        items = [*self.bodies.values(), *self.tests.values()]
        known = {name for item in items for name in self.datasets_of(item)}
        known |= {about.dataset for about in self.study.downstreams.values() if about.dataset}
        known |= {*self.study.downstreams, *self.size.folders}
        for name in folders:
            if name not in known:
                raise ConfigError(
                    f"There is no data set {name!r} to give a folder for: expected {', '.join(sorted(known))}."
                )


def _choose(
    pretrainings: Mapping[str, str], downstreams: Mapping[str, Downstream], sets: Sequence[str]
) -> tuple[dict[str, str], dict[str, Downstream]]:
    """Return the named sets; all sets of a kind where none of that kind is named."""
    for name in sets:
        if name not in pretrainings and not any(name in (key, about.experiment) for key, about in downstreams.items()):
            raise ConfigError(f"There is no set {name!r}: this size has {', '.join([*pretrainings, *downstreams])}.")
    of_pretrainings = {name: shown for name, shown in pretrainings.items() if name in sets}
    of_downstreams = {name: about for name, about in downstreams.items() if {name, about.experiment} & set(sets)}
    return of_pretrainings or dict(pretrainings), of_downstreams or dict(downstreams)
