"""Stage 10, folds: a set as small as Bach10 is tested on all of its tracks, each by a network that has not heard it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..datasets.options import StemOptions
from ..errors import ConfigError
from ..evaluation.estimates import MIXTURE
from ..evaluation.evaluate import collect
from ..evaluation.excerpts import MixtureExcerpt, make_excerpts
from ..evaluation.score import score
from ..evaluation.summary import summarise
from ..mixing.split import open_store
from ..runtime.files import write_json
from ..runtime.log import logger
from ..store.store import Store
from ..training.run import lock_run_folder
from .finetune import Start, finetune

TUNED, SCRATCH = "fine-tuned", "from scratch"


def folds(names: Sequence[str | Sequence[str]], k: int, seed: int = 0) -> list[list[str]]:
    """Returns k parts of these names, each name in one of them, of sizes that differ by one at most.

    Args:
        names: Of tracks; their order does not matter. Or names that stay together, such as those of one song: the sizes
            count each of these groups as one.
        k: Number of parts; as many as there are names leaves one out at a time.
        seed: Of who comes into which part.

    Raises:
        ConfigError: There are fewer names than parts, or fewer than two parts.

    >>> folds(["a", "b", "c", "d", "e"], 2)
    [['c', 'd', 'e'], ['a', 'b']]
    """
    groups = sorted([name] if isinstance(name, str) else sorted(name) for name in names)
    count = sum(map(len, groups))
    if not 2 <= k <= len(groups):
        among = f", which are {len(groups)} different ones," if len(groups) < count else ""
        raise ConfigError(f"{k} folds of {count} tracks{among} were asked for: there are 2 at least, and a track for each.")
    order = np.random.default_rng(seed).permutation(len(groups))
    return [sorted(name for index in part for name in groups[index]) for part in np.array_split(order, k)]


def cross_validate(
    stems: str | Path | Store,
    out: str | Path,
    k: int,
    repeats: int = 1,
    source: str | Path | None = "body",
    like: str | Path = "body",
    excerpt_seconds: float | None = None,
    groups: dict[str, list[str]] | None = None,
    ignore: Sequence[str] = (),
    seed: int = 0,
    device: str = "cpu",
    **tuning,
) -> dict:
    """Fine-tunes k networks, each without one k-th of the tracks, and scores each on the tracks that it lacked.

    Which network of a run is the best is decided on validation tracks out of the others, so the tracks that are scored
    decide nothing. Tracks that are the same music are in one fold. Splits that the tracks have are passed over. Called
    again, it goes on where it was broken off.

    An item is drawn anew each time, however few tracks there are, so a run needs no repeats of its material. What few
    tracks do make uncertain is the score. ``repeats`` measures that: everything is done again with another seed, which
    divides the tracks anew, and changes the new layers, the mixtures and the validation tracks.

    Args:
        stems: A folder of stems, a store, or the folder of one.
        out: Folder for the runs, ``fold1`` and so on (``repeat1/fold1`` where repeated), and ``scores.json``.
        k: Number of folds.
        repeats: How many times, with seeds from ``seed`` on.
        source: As in :func:`~nussl_transfer.pipelines.finetune.finetune`.
        like: As there.
        excerpt_seconds: As there; excerpts that are scored are as long.
        groups: As there.
        ignore: As there.
        seed: Of the first repeat.
        device: 'cpu' or 'cuda'.
        tuning: All else that :func:`~nussl_transfer.pipelines.finetune.finetune` takes.

    Returns:
        What :func:`~nussl_transfer.evaluation.evaluate.evaluate` would, over all tracks, and ``folds``: repeat, fold, seed, tracks
        and mean SI-SDR of each run. A score is the mean over the repeats.

    Raises:
        ConfigError: There are fewer tracks than folds, or ``repeats`` is below 1.
        DataError: A fold holds all tracks that have some stem.
    """
    if repeats < 1:
        raise ConfigError(f"{repeats} repeats were asked for: there is one at least.")
    out = Path(out)
    info = Start.read(source, like).info
    seconds = info.excerpt_seconds if excerpt_seconds is None else excerpt_seconds
    with lock_run_folder(out):
        store = _without_splits(open_store(stems, out / "store", info.sample_rate, StemOptions(groups=groups, ignore=ignore)))
        whole = [track.name for track in store.tracks if len(track.stems) == len(store.labels)]
        if len(whole) < len(store.tracks):
            raise ConfigError(
                f"Folds of {store.folder} were asked for: {len(store.tracks) - len(whole)} of {len(store.tracks)} tracks "
                f"lack some of {', '.join(store.labels)}. Leave those tracks or stems out, or keep test tracks of your own."
            )
        groups_of_names = [[track.name for track in group] for group in store.tracks_by_origin()]
        plan = [(repeat, folds(groups_of_names, k, seed + repeat)) for repeat in range(repeats)]
        excerpts = make_excerpts(store, seconds)
        name, rows, about = SCRATCH if source is None else TUNED, [], []
        for repeat, parts in plan:
            for number, part in enumerate(parts, 1):
                folder = out / f"fold{number}" if repeats == 1 else out / f"repeat{repeat + 1}" / f"fold{number}"
                logger.info("%s: %s are held out", folder, ", ".join(part))
                rest = store.select(names=set(whole) - set(part))
                own = {"source": source, "like": like, "excerpt_seconds": excerpt_seconds, "seed": seed + repeat}
                run = finetune(rest, folder, device=device, **own, **tuning)
                found = list(_scored(run.best, store, excerpts, part, name, device))
                mean = summarise(found)[-1]["mean"]
                about.append({"repeat": repeat + 1, "fold": number, "seed": seed + repeat, "tracks": part, "mean": mean})
                rows += found
        scores = {name: _averaged(rows), MIXTURE: score(MIXTURE, store, excerpts)}
        result = {**collect(scores, store, excerpts, {name: out}), "folds": about}
        write_json(out / "scores.json", result)
    return result


def _without_splits(store: Store) -> Store:
    """Returns a view of all tracks, in no split."""
    if any(track.split in ("valid", "test") for track in store.tracks):
        logger.info("The splits of %s are passed over: every track is tested in one fold.", store.folder)
    view = store.select(names=[track.name for track in store.tracks])
    view.tracks = [replace(track, split=None) for track in view.tracks]
    return view


def _scored(
    model: Path, store: Store, excerpts: Sequence[MixtureExcerpt], tracks: Sequence[str], name: str, device: str
) -> Iterator[dict]:
    """Yields the rows of the excerpts of some tracks, with their places in the whole list."""
    places = [place for place, excerpt in enumerate(excerpts) if excerpt.track in tracks]
    for row in score(model, store, [excerpts[place] for place in places], name, device=device):
        yield {**row, "excerpt": places[row["excerpt"]]}


def _averaged(rows: Sequence[dict]) -> list[dict]:
    """Returns one row an excerpt and label, with the mean of those of all repeats: a test takes each pair once."""
    found: dict[tuple, list[dict]] = {}
    for row in rows:
        found.setdefault((row["excerpt"], row["label"]), []).append(row)
    averaged = []
    for _, same in sorted(found.items()):
        means = {
            key: None if same[0][key] is None else float(np.mean([row[key] for row in same]))
            for key in ("si_sdr", "improvement")
        }
        averaged.append({**same[0], **means})
    return averaged
