"""A model of a study is scored: one file a model, with a column an excerpt, on a list that all models of a set share."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from nussl_transfer.evaluation.excerpts import songs_of
from nussl_transfer.evaluation.jams import read_excerpts
from nussl_transfer.evaluation.score import MIXTURE, ORACLE, score
from nussl_transfer.runtime.files import write_json
from nussl_transfer.store.store import Store

FORMAT = 1
DIGITS = 4  # of a score in dB: a tenth of what two ways of computing it agree to


def write_scores(
    model: str | Path,
    name: str,
    store: Store,
    excerpt_list: str | Path,
    out: str | Path,
    batch_size: int = 16,
    device: str = "cpu",
    **oracle,
) -> dict:
    """Scores a model on a list of excerpts, and writes what :func:`~recipes.study.results.read_scores` reads.

    Args:
        model: A checkpoint, 'mixture' or 'oracle'.
        name: What it is called in the study.
        store: Where the excerpts lie.
        excerpt_list: The list, in JAMS.
        out: The file to write.
        batch_size: Excerpts through the network at once.
        device: 'cpu' or 'cuda'.
        oracle: ``stft_params`` of the oracle's masks.

    Returns:
        What was written.

    Raises:
        CheckpointError: The checkpoint does not separate what the store holds.
        DataError: The list is not of this store.
    """
    started = time.monotonic()
    excerpts = read_excerpts(excerpt_list, store)
    rows = score(model, store, excerpts, name, batch_size, device, **oracle)
    columns: dict[str, list[float | None]] = {label: [None] * len(excerpts) for label in store.labels}
    for row in rows:
        value = row["si_sdr"]
        columns[row["label"]][row["excerpt"]] = None if value is None else round(value, DIGITS)
    result = {
        "format": FORMAT,
        "model": name,
        "checkpoint": None if model in (MIXTURE, ORACLE) else str(model),
        "excerpts": Path(excerpt_list).name,
        "excerpts_sha256": hashlib.sha256(Path(excerpt_list).read_bytes()).hexdigest(),
        "labels": list(store.labels),
        "songs": songs_of(excerpts, store.labels),
        "si_sdr": columns,
        "left_out": sum(value is None for column in columns.values() for value in column),
        "seconds": round(time.monotonic() - started, 2),
    }
    write_json(Path(out), result)
    return result
