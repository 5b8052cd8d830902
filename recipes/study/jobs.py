"""List the jobs of a study: what each needs, whether it is done, and its estimated time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from nussl_transfer.errors import DataError
from nussl_transfer.runtime.files import read_json

from .grid import Body, Grid, Model
from .plan import SCRATCH, SCRATCH_EQUAL

CEILINGS = ("mixture", "oracle")
# For each kind of run, the kinds whose time estimates it, the most similar first.
_SIMILAR = {
    "pretrain": ("pretrain", SCRATCH, SCRATCH_EQUAL, "whole"),
    SCRATCH: (SCRATCH, SCRATCH_EQUAL, "whole", "pretrain"),
    SCRATCH_EQUAL: (SCRATCH_EQUAL, SCRATCH, "whole", "pretrain"),
    "whole": ("whole", SCRATCH_EQUAL, SCRATCH, "pretrain"),
    "mask": ("mask", "whole", SCRATCH_EQUAL, SCRATCH, "pretrain"),
}


@dataclass(frozen=True)
class Job:
    """One job of the study.

    Attributes:
        rule: Rule of the Snakefile.
        name: Name of the corpus, set, body or model.
        output: File that is there when the job is done.
        datasets: Names of the data sets that it reads.
        iterations: Iterations of training, None for other jobs.
        seconds: Estimated time; None if no similar run was measured.
        limit: Minutes after which a cluster ends it.
    """

    rule: str
    name: str
    output: Path
    datasets: tuple[str, ...]
    iterations: int | None = None
    seconds: float | None = None
    limit: int | None = None

    @property
    def done(self) -> bool:
        """Whether its output is there."""
        return self.output.is_file()


def list_jobs(grid: Grid) -> list[Job]:
    """Return all jobs of a study in the order of the data."""
    return list(_jobs(grid))


def jobs_table(grid: Grid) -> str:
    """Return tables of the data sets (folder, whether it is there) and of all jobs, as text."""
    folders = _folders(grid)
    states = {name: state for name, (_, state) in folders.items()}
    data = [(name, folder, state) for name, (folder, state) in folders.items()]
    rows = [
        (
            job.rule,
            job.name,
            ", ".join(name if states[name] != "missing" else f"{name} (missing)" for name in job.datasets),
            f"{job.iterations:,}" if job.iterations else "",
            "" if job.done or job.seconds is None else _time(job.seconds),
            "" if job.limit is None else _time(60 * job.limit),
            "yes" if job.done else "no",
        )
        for job in list_jobs(grid)
    ]
    head = ("job", "name", "data sets", "iterations", "estimate", "time limit", "done")
    align = ("left", "left", "left", "right", "right", "right", "left")
    return "\n\n".join(
        [
            tabulate(data, ("data set", "folder", "state"), "simple", disable_numparse=True),
            tabulate(rows, head, "simple", colalign=align, disable_numparse=True),
        ]
    )


def left_to_do(grid: Grid) -> str:
    """Return sentences: how many bodies, models and scores are still to do, the estimated hours, and missing data sets."""
    jobs = list_jobs(grid)
    bodies = [job for job in jobs if job.rule == "pretrain"]
    models = [job for job in jobs if job.rule == "finetune"]
    scores = [job for job in jobs if job.rule == "score" and job.name in grid.models]
    sentences = []
    if all(job.done for job in (*bodies, *models, *scores)):
        counts = f"{len(bodies)} bodies, {len(models)} models, all scored"
        sentences.append(f"The study in {grid.folder} is done: {counts}.")
    else:
        left = [[job for job in kind if not job.done] for kind in (bodies, models, scores)]
        counts = f"{len(left[0])} of {len(bodies)} bodies, {len(left[1])} of {len(models)} models"
        sentence = f"To do in {grid.folder}: {counts}, {len(left[2])} of {len(scores)} scores"
        runs = [job.seconds for job in (*left[0], *left[1])]
        if None in runs or not _rates(grid):
            sentences.append(f"{sentence}. The time can be estimated once a run is finished.")
        else:
            seconds = sum(runs) + sum(job.seconds or 0 for job in left[2])
            source = "the finished ones" if _measured_rates(grid) else "an earlier study"
            sentences.append(f"{sentence}: about {seconds / 3600:.1f} hours of jobs, estimated from {source}.")
    if grid.left_out:
        sentences.append(f"Left out: {', '.join(grid.left_out.values())}.")
    missing = {name: folder for name, (folder, state) in _folders(grid).items() if state == "missing"}
    if missing and not sentences[0].startswith("The study"):
        where = ", ".join(f"{name} ({folder})" for name, folder in missing.items())
        sentences.append(f"Missing data sets: {where}. Give folders with FOLDERS=, or leave sets out with SETS=.")
    return " ".join(sentences)


def _jobs(grid: Grid) -> Iterator[Job]:
    needs, folder = grid.size.resources, grid.folder
    rates, score_seconds = _rates(grid), _mean(_score_seconds(grid))
    items = {**{body.pretraining: body for body in reversed(grid.bodies.values())}, **grid.tests}
    rendered = {name for item in items.values() for name in grid.corpora_of(item)}
    for name, corpus in grid.size.corpora.items():
        if name in rendered:
            output = folder / "corpora" / f"{corpus.render}.ready"
            yield Job("corpus", corpus.render, output, (name,), limit=needs.data.runtime)
    for name, item in items.items():
        yield Job("data", name, folder / "data" / f"{name}.json", _datasets(grid, item), limit=needs.data.runtime)
    for item in [*grid.bodies.values(), *grid.models.values()]:
        rule = "pretrain" if isinstance(item, Body) else "finetune"
        limit = needs.pretrain.runtime if isinstance(item, Body) else needs.finetune.runtime
        iterations = grid.iterations(item)
        rate = next((rates[kind] for kind in _SIMILAR[_kind(item)] if kind in rates), None)
        output = folder / ("bodies" if isinstance(item, Body) else "models") / f"{item.name}.pth"
        seconds = None if rate is None else rate * iterations
        yield Job(rule, item.name, output, _datasets(grid, item), iterations, seconds, limit)
    scored = {model.name: model for model in grid.models.values()}
    scored |= {f"{name}-{ceiling}": item for name, item in grid.tests.items() for ceiling in CEILINGS}
    for name, item in scored.items():
        output = folder / "scores" / f"{name}.json"
        yield Job("score", name, output, _datasets(grid, item), seconds=score_seconds, limit=needs.score.runtime)
    for name, item in grid.tests.items():
        if not item.fold:
            output = folder / "examples" / name / "example.json"
            yield Job("example", name, output, _datasets(grid, item), limit=needs.score.runtime)
    yield Job("report", "report", folder / "report" / "index.html", ())


def _datasets(grid: Grid, item: Body | Model) -> tuple[str, ...]:
    return tuple(grid.dataset_folders(item))


def _folders(grid: Grid) -> dict[str, tuple[Path, str]]:
    """Return the folder and the state of each data set: 'there', 'missing', or 'stand-in' if the study renders it."""
    found: dict[str, tuple[Path, str]] = {}
    for item in [*grid.bodies.values(), *grid.tests.values()]:
        stand_ins = grid.corpora_of(item)
        for name, folder in grid.dataset_folders(item).items():
            there = folder.is_dir() and next(folder.iterdir(), None) is not None
            found.setdefault(name, (folder, "stand-in" if name in stand_ins else "there" if there else "missing"))
    return found


def _rates(grid: Grid) -> dict[str, float]:
    """Return the seconds per iteration of each kind of run: measured here, or else in an earlier study."""
    return {**grid.size.seconds_per_iteration, **_measured_rates(grid)}


def _measured_rates(grid: Grid) -> dict[str, float]:
    """Return the mean seconds per iteration of each kind of run, over the runs that were started."""
    spent: dict[str, list[float]] = {}
    for item in [*grid.bodies.values(), *grid.models.values()]:
        try:
            last = read_json(grid.folder / "runs" / item.name / "curve.json")["points"][-1]
            iterations, seconds = last["iteration"], last["seconds"]
        except (DataError, LookupError, TypeError):
            continue
        if iterations:
            spent.setdefault(_kind(item), []).append(seconds / iterations)
    return {kind: sum(rates) / len(rates) for kind, rates in spent.items()}


def _score_seconds(grid: Grid) -> list[float]:
    found = []
    for name in grid.models:
        try:
            found.append(float(read_json(grid.folder / "scores" / f"{name}.json")["seconds"]))
        except (DataError, LookupError, TypeError, ValueError):
            continue
    return found


def _kind(item: Body | Model) -> str:
    return "pretrain" if isinstance(item, Body) else item.mode


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _time(seconds: float) -> str:
    """Return a duration.

    >>> _time(42), _time(90), _time(7200)
    ('1 min', '2 min', '2.0 h')
    """
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{max(1, round(seconds / 60))} min"
