"""Cross-validate: test a small set on all of its tracks, each with a network that was not trained on it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..datasets.options import StemOptions
from ..errors import ConfigError
from ..evaluation.estimators import MIXTURE, Model
from ..evaluation.evaluate import collect, evaluate
from ..evaluation.excerpts import MixtureExcerpt, make_excerpts
from ..evaluation.score import score
from ..evaluation.statistics import summarise
from ..mixing.config import MixtureConfig
from ..mixing.split import VALID_ITEMS
from ..runtime.files import write_json
from ..runtime.log import logger
from ..store.open import open_store
from ..store.store import Store
from ..training.config import FitConfig
from ..training.run import lock_run_folder
from .finetune import Start, default_mixtures, default_training, finetune, stem_options

TUNED, SCRATCH, ENSEMBLE = "fine-tuned", "from scratch", "ensemble"


def folds(names: Sequence[str | Sequence[str]], k: int, seed: int = 0) -> list[list[str]]:
    """Divide names into k parts whose sizes differ by at most one.

    Args:
        names: Names of tracks, in any order; or groups of names that stay together, such as those of one song. A group
            counts as one name.
        k: Number of parts; the number of names gives leave-one-out.
        seed: Seed of the division.

    Raises:
        ConfigError: There are fewer names than parts, or fewer than two parts.

    >>> folds(["a", "b", "c", "d", "e"], 2)
    [['c', 'd', 'e'], ['a', 'b']]
    """
    groups = sorted([name] if isinstance(name, str) else sorted(name) for name in names)
    count = sum(map(len, groups))
    if not 2 <= k <= len(groups):
        among = f" of {len(groups)} pieces of music" if len(groups) < count else ""
        raise ConfigError(
            f"{k} folds of {count} tracks{among} cannot be made. Give 2 folds or more, and at least one track for each."
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    return [sorted(name for index in part for name in groups[index]) for part in np.array_split(order, k)]


def cross_validate(
    stems: str | Path | Store | Sequence[str | Path],
    out: str | Path,
    k: int,
    *,
    repeats: int = 1,
    checkpoint: str | Path | None = "body",
    mode: str = "whole",
    training: FitConfig | None = None,
    mixtures: MixtureConfig = default_mixtures(),  # noqa: B008  frozen
    groups: dict[str, list[str]] | None = None,
    ignore: Sequence[str] = (),
    seed: int = 0,
    options: StemOptions | None = None,
    like: str | Path = "body",
    valid_items: int = VALID_ITEMS,
    test: str | Path | Store | None = None,
) -> dict:
    """Fine-tune k networks, each without one k-th of the tracks, and score each network on the tracks that it lacks.

    The best network of a run is chosen on validation tracks from the other folds, so the scored tracks decide nothing.
    Tracks of the same music are in one fold. Splits of the data set are ignored. Calling it again resumes.

    Each iteration draws new mixtures, so a run itself needs no repeats. But a score on few tracks is uncertain.
    ``repeats`` shows how much: it repeats all folds with other seeds, which change the folds, the new layers, the mixtures
    and the validation tracks.

    Args:
        stems: A folder of stems, a stem list (``.csv``), several of these, a store, or the folder of one.
        out: Folder for the runs, ``fold1`` and so on (``repeat1/fold1`` if repeated), and ``scores.json``.
        k: Number of folds.
        repeats: Number of repeats; their seeds are ``seed``, ``seed + 1`` and so on.
        checkpoint: As in :func:`~nussl_transfer.pipelines.finetune.finetune`, like all options below.
        mode: As there.
        training: As there.
        mixtures: As there; the scored excerpts are as long as the mixtures.
        groups: As there.
        ignore: As there.
        seed: Seed of the first repeat.
        options: As there.
        like: As there.
        valid_items: As there.
        test: Other stems, on which the ensemble of all networks and each network alone are scored.

    Returns:
        The same as :func:`~nussl_transfer.evaluation.evaluate.evaluate` over all tracks, and ``folds``: repeat, fold, seed,
        tracks, mean SI-SDR and mean improvement of each run. A score is the mean over the repeats. ``use`` says how to
        use all networks together, as one ensemble; with ``test``, ``ensemble`` holds its scores.

    Raises:
        ConfigError: There are fewer tracks than folds, or ``repeats`` is below 1.
        DataError: A fold holds all tracks of some stem.
    """
    if repeats < 1:
        raise ConfigError(f"repeats is wrong: got {repeats}, expected 1 or more.")
    out = Path(out)
    start = Start.read(checkpoint, like)
    info = start.info
    training = default_training(pretrained=checkpoint is not None) if training is None else training
    seconds = mixtures.excerpt_seconds or info.excerpt_seconds
    mixtures = replace(mixtures, excerpt_seconds=seconds)
    options = stem_options(options, groups, ignore)
    with lock_run_folder(out):
        store = _without_splits(open_store(stems, out / "store", info.sample_rate, options, least_labels=2))
        whole = [track.name for track in store.tracks if len(track.stems) == len(store.labels)]
        if len(whole) < len(store.tracks):
            raise ConfigError(
                f"Folds of {store.folder} cannot be made: {len(store.tracks) - len(whole)} of {len(store.tracks)} tracks "
                f"lack some of {', '.join(store.labels)}. Leave those tracks or stems out, or keep test tracks of your own."
            )
        groups_of_names = [[track.name for track in group] for group in store.tracks_by_origin()]
        plan = [(repeat, folds(groups_of_names, k, seed + repeat)) for repeat in range(repeats)]
        excerpts = make_excerpts(store, seconds)
        name, rows, about = SCRATCH if checkpoint is None else TUNED, [], []
        networks: dict[str, Path] = {}
        for repeat, parts in plan:
            for number, part in enumerate(parts, 1):
                folder = out / f"fold{number}" if repeats == 1 else out / f"repeat{repeat + 1}" / f"fold{number}"
                logger.info("%s: %s are held out", folder, ", ".join(part))
                rest = store.select(names=set(whole) - set(part))
                run = finetune(
                    rest,
                    folder,
                    checkpoint=checkpoint,
                    mode=mode,
                    training=training,
                    mixtures=mixtures,
                    seed=seed + repeat,
                    like=like,
                    valid_items=valid_items,
                    report=False,
                )
                found = list(_scored(run.best, store, excerpts, part, name, training.device))
                total = summarise(found)[-1]
                means = {"mean": total["mean"], "improvement": total["improvement"]}
                about.append({"repeat": repeat + 1, "fold": number, "seed": seed + repeat, "tracks": part, **means})
                networks[folder.relative_to(out).as_posix()] = run.best
                rows += found
        scores = {name: _averaged(rows), MIXTURE: score(MIXTURE, store, excerpts)}
        result = {**collect(scores, store, excerpts, {name: out}), "folds": about}
        result["use"] = (
            f"The {len(networks)} networks can separate together, as one ensemble. A test of the ensemble needs tracks "
            "that none of them was trained on.\n"
            f"Next: nussl-transfer separate AUDIO --model {shlex.quote(str(out))} --out separated"
        )
        if test is not None:
            models: dict[str, Model] = {ENSEMBLE: list(networks.values()), **networks}
            tested = evaluate(models, test, out=out / "ensemble", oracle=True, options=options, device=training.device)
            result["ensemble"] = {key: tested[key] for key in ("summary", "comparisons", "left_out")}
        write_json(out / "scores.json", result)
    return result


def _without_splits(store: Store) -> Store:
    """Return a view of a store in which no track has a split."""
    if any(track.split in ("valid", "test") for track in store.tracks):
        logger.info("The splits of %s are ignored: every track is scored in one fold.", store.folder)
    view = store.select(names=[track.name for track in store.tracks])
    view.tracks = [replace(track, split=None) for track in view.tracks]
    return view


def _scored(
    model: Path, store: Store, excerpts: Sequence[MixtureExcerpt], tracks: Sequence[str], name: str, device: str
) -> Iterator[dict]:
    """Yield the rows of the excerpts of some tracks, with their indices in the whole list."""
    indices = [index for index, excerpt in enumerate(excerpts) if excerpt.track in tracks]
    for row in score(model, store, [excerpts[index] for index in indices], name, device=device):
        yield {**row, "excerpt": indices[row["excerpt"]]}


def _averaged(rows: Sequence[dict]) -> list[dict]:
    """Return one row for each excerpt and label, with the mean over the repeats in which the reference counts.

    So a significance test counts each excerpt once. A reference that is left out in every repeat stays left out.
    """
    found: dict[tuple, list[dict]] = {}
    for row in rows:
        found.setdefault((row["excerpt"], row["label"]), []).append(row)
    averaged = []
    for _, same in sorted(found.items()):
        counting = [row for row in same if row["si_sdr"] is not None]
        first = counting[0] if counting else same[0]
        means = {
            key: float(np.mean([row[key] for row in counting])) if counting else None for key in ("si_sdr", "improvement")
        }
        averaged.append({**first, **means})
    return averaged
