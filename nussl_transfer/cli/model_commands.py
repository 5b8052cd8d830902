"""Stage 11, the commands on models: `evaluate`, `publish`, `models`. See `parsers`."""

from __future__ import annotations

from pathlib import Path

from .words import parse_groups, parse_list, short_names


def evaluate(
    models: list[str],
    stems: Path,
    *,
    out: Path = Path("scores"),
    excerpts: Path | None = None,
    count: int | None = None,
    seconds: float | None = None,
    groups: str = "",
    ignore: str = "",
    incoherent: bool = False,
    sounding: bool = False,
    oracle: bool = False,
    museval: bool = False,
    batch_size: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Scores models and the mixture on the same excerpts (SI-SDR, dB).

    The model expected to be best comes first: each is tested (one-sided Wilcoxon
    signed-rank) for being better than those after it. Where the stems are split,
    those of split 'test' are scored.

    Args:
        models: names, files or runs
        stems: folder of stems, or a store
        out: folder for scores.json and excerpts.jams
        excerpts: list to score, such as an earlier excerpts.jams
        count: draw this many; all, side by side, when not given
        incoherent: sources of different songs and times, as there is no other in
            some data sets; with --count
        sounding: only excerpts in which every source sounds
        seconds: length of an excerpt; the first model's when not given
        groups: stems to merge: male=tenor+bass,female=soprano+alto
        ignore: stems, files and folders to pass over: organ,piano
        oracle: also score masks made from the references, as a ceiling
        museval: also museval's SDR, SIR and SAR (BSS Eval 4): seconds an excerpt
        batch_size: excerpts through a network at once; 80 s when not given
        seed: of the drawing of excerpts
        device: cpu or cuda

    Example:
        nussl-transfer evaluate tuned scratch my-test-stems
    """
    from ..checkpoints.checkpoint import read_info
    from ..checkpoints.zoo import resolve
    from ..datasets.options import StemOptions
    from ..evaluation.evaluate import evaluate
    from ..evaluation.excerpts import make_excerpts, silent_excerpts
    from ..evaluation.jams import read_excerpts, write_excerpts
    from ..report.text import text_table
    from ..runtime.device import check_device
    from ..store.open import open_store

    check_device(device)  # before a store is made
    checkpoints = {name: resolve(model) for name, model in zip(short_names(models), models, strict=True)}
    first = read_info(next(iter(checkpoints.values())))
    options = StemOptions(groups=parse_groups(groups), ignore=parse_list(ignore))
    store = open_store(stems, out / "store", first.sample_rate, options)
    if any(track.split == "test" for track in store.tracks):
        store = store.select(split="test")
    if excerpts is None:
        how = {"coherent": not incoherent, "sounding": sounding}
        chosen = make_excerpts(store, seconds or first.excerpt_seconds, count, seed, **how)
        write_excerpts(out / "excerpts.jams", chosen, store.sample_rate)
    else:
        chosen = read_excerpts(excerpts, store)
    how = {"oracle": oracle, "museval": museval, "batch_size": batch_size, "device": device}
    scores = evaluate(checkpoints, store, chosen, out, **how)
    silent = silent_excerpts(chosen, store)
    print(f"{len(chosen)} excerpts, {silent} of them with a silent source; tracks: {len(store.tracks)}.")
    print(f"Every score is in {out / 'scores.json'}.")
    print(text_table(scores))


def publish(
    model: str,
    *,
    name: str,
    license: str,
    out: Path = Path("releases"),
    what: str = "",
    data_license: str = "",
    half: bool = False,
    test: Path | None = None,
    seconds: float | None = None,
    groups: str = "",
    ignore: str = "",
    url: str = "",
    device: str = "cpu",
) -> None:
    """Makes a folder of a model to give to others: weights, card, hash.

    Args:
        model: run, file or name
        name: what to call it
        license: of the weights: MIT, CC-BY-4.0, ...
        out: folder to make the release's own folder in
        what: one line on what it is for
        data_license: of what it was trained on
        half: weights in half precision: half the size
        test: stems or store it was not trained on: score it, before and after
        seconds: length of an excerpt of these; as it was trained when not given
        groups: stems of these to merge: male=tenor+bass
        ignore: stems, files and folders of these to pass over
        url: where the file is going to be
        device: where to score: cpu or cuda

    Example:
        nussl-transfer publish run --name quartet --license CC-BY-4.0 --half
    """
    import json
    import tempfile

    from ..checkpoints.checkpoint import read_info
    from ..checkpoints.zoo import resolve
    from ..datasets.options import StemOptions
    from ..pipelines.publish import publish
    from ..store.open import open_store

    with tempfile.TemporaryDirectory() as folder:
        store = None
        if test is not None:
            rate = read_info(resolve(model)).sample_rate
            options = StemOptions(groups=parse_groups(groups), ignore=parse_list(ignore))
            store = open_store(test, Path(folder) / "store", rate, options)
        how = {"half": half, "test": store, "seconds": seconds, "url": url, "device": device}
        made = publish(model, name, license, out, what, data_license, **how)
    for path in sorted(made.iterdir()):
        print(path)
    entry = json.loads((made / "zoo.json").read_text(encoding="utf-8"))[name]
    print(f"SHA-256 {entry['sha256']}, {entry['bytes'] / 1e6:.1f} MB. Read {made / 'README.md'} before you give it away.")


def models(name: str | None = None) -> None:
    """Lists the models that have a name, or shows the card of one.

    Args:
        name: model whose card is shown

    Example:
        nussl-transfer models body
    """
    from ..checkpoints import zoo

    if name is not None:
        print(zoo.card(name), end="")
        return
    rows = [("name", "sources", "mode", "from", "trained on", "SI-SDR", "MB", "licence")]
    for known, about in zoo.models().items():
        size = f"{about['bytes'] / 1e6:.1f}" if "bytes" in about else ""
        others = [about.get(key) or "" for key in ("mode", "parent", "data", "score")]
        rows.append((known, ", ".join(about.get("sources") or ["-"]), *map(str, others), size, about.get("license", "")))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\nnussl-transfer models NAME says more. Where a model is asked for, a path or an address does as well.")
