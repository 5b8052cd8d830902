"""The commands on models: `evaluate`, `publish` and `models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .options import add_device, add_seed, add_stem_options, add_test_seconds, stem_options, take
from .parsers import PROGRAM, Parser, integer, number
from .words import short_names


def evaluate_parser() -> Parser:
    """Return the parser of `evaluate`."""
    parser = Parser(
        "evaluate",
        "MODELS ... STEMS [options]",
        "Score models and the mixture on the same excerpts (SI-SDR in dB).\n\n"
        "Put the model that you expect to be best first: a one-sided Wilcoxon\n"
        "signed-rank test asks if each model is better than those after it.\n"
        "If the stems have a split 'test', only that split is scored.",
        "evaluate tuned scratch my-test-stems",
    )
    parser.add_argument("models", metavar="MODELS", nargs="+", help="names, files, runs; a folder of runs is one ensemble")
    parser.add_argument("stems", metavar="STEMS", type=Path, help="folder of stems, or a store")
    add = parser.add_argument
    add("--out", metavar="FOLDER", type=Path, help="folder for scores.json and excerpts.jams [scores]")
    add("--excerpts", metavar="FILE", type=Path, help="list of excerpts to score, such as an earlier excerpts.jams")
    add("--count", metavar="N", type=integer(1, 10**6), help="draw N excerpts; without it, cut the tracks side by side")
    add("--incoherent", action="store_true", help="with --count: draw each source from its own track and time")
    add("--sounding", action="store_true", help="only excerpts in which every source sounds")
    add_test_seconds(parser, "length of an excerpt; the first model's when not given")
    add_stem_options(parser, "groups", "ignore", "dataset", "options", "silent", "missing", "rest", "use_mixtures")
    add("--oracle", action="store_true", help="also score the oracle mask, made from the true stems")
    add("--museval", action="store_true", help="also compute museval's SDR, SIR and SAR: seconds per excerpt")
    add(
        "--batch-size",
        metavar="N",
        type=integer(1, 10**6),
        help="excerpts per batch; 64 s of audio at 16 kHz when not given",
    )
    add_seed(parser, "with --count: seed of the drawn excerpts")
    add_device(parser)
    return parser


def evaluate(
    models: list[str], stems: Path, out: Path = Path("scores"), excerpts: Path | None = None, **given: Any
) -> None:
    """Score models, and print the table."""
    from ..checkpoints.checkpoint import read_info
    from ..evaluation.evaluate import evaluate
    from ..evaluation.excerpts import make_excerpts, silent_excerpts
    from ..evaluation.jams import read_excerpts, write_excerpts
    from ..report.text import text_table
    from ..runtime.device import resolve_device
    from ..separation.ensemble import find_checkpoints
    from ..store.open import open_store

    given["device"] = resolve_device(given.get("device", "auto"))  # before a store is made
    found = [find_checkpoints(model) for model in models]  # a folder of runs has several: they are one ensemble
    checkpoints = {
        name: paths if len(paths) > 1 else paths[0] for name, paths in zip(short_names(models), found, strict=True)
    }
    first = read_info(found[0][0])
    store = open_store(stems, out / "store", first.sample_rate, stem_options(given))
    if any(track.split == "test" for track in store.tracks):
        store = store.select(split="test")
    drawn = take(given, ("count", "seed", "sounding"))
    seconds = given.pop("excerpt_seconds", first.excerpt_seconds)
    coherent = not given.pop("incoherent", False)
    if excerpts is None:
        chosen = make_excerpts(store, seconds, coherent=coherent, **drawn)
        write_excerpts(out / "excerpts.jams", chosen, store.sample_rate)
    else:
        chosen = read_excerpts(excerpts, store)
    scores = evaluate(checkpoints, store, excerpts=chosen, out=out, **given)
    silent = silent_excerpts(chosen, store)
    print(f"{len(chosen)} excerpts, {silent} of them with a silent source; tracks: {len(store.tracks)}.")
    print(f"Every score is in {out / 'scores.json'}.")
    print(text_table(scores))


def publish_parser() -> Parser:
    """Return the parser of `publish`."""
    parser = Parser(
        "publish",
        "MODEL --name NAME --license LICENSE [options]",
        "Make a folder to share a model: weights, model card, hash.",
        "publish run --name quartet --license CC-BY-4.0 --half",
    )
    parser.add_argument("model", metavar="MODEL", help="run, file or name")
    add = parser.add_argument
    add("--name", required=True, help="name of the model")
    add("--license", required=True, help="licence of the weights: MIT, CC-BY-4.0, ...")
    add("--out", metavar="FOLDER", type=Path, help="folder in which the release gets its own folder [releases]")
    add("--what", metavar="TEXT", help="one line on what it is for")
    add("--data-license", metavar="LICENSE", help="licence of the data it was trained on")
    add("--half", action="store_true", help="store the weights in half precision: half the size")
    add("--test", metavar="STEMS", type=Path, help="score the original and the published model on these stems")
    seconds = number(0, 86_400, above=True)
    add(
        "--excerpt-seconds", metavar="S", type=seconds, help="with --test: length of an excerpt; the model's when not given"
    )
    add_stem_options(parser, "groups", "ignore")
    add("--url", help="address at which you will put the file")
    add("--push", metavar="OWNER/NAME", help="upload the folder to this repository of the Hugging Face hub")
    add_device(parser)
    return parser


def publish(
    model: str, name: str, license: str, out: Path = Path("releases"), test: Path | None = None, **given: Any
) -> None:
    """Make a release, print its files, and upload it with ``--push``."""
    import tempfile

    from ..checkpoints.checkpoint import read_info
    from ..checkpoints.zoo import resolve
    from ..pipelines.publish import publish, push
    from ..runtime.device import resolve_device
    from ..runtime.files import read_json
    from ..store.open import open_store

    given["device"] = resolve_device(given.get("device", "auto"))
    repository = given.pop("push", None)
    options = stem_options(given)
    if "excerpt_seconds" in given:
        given["seconds"] = given.pop("excerpt_seconds")
    with tempfile.TemporaryDirectory() as folder:
        store = None
        if test is not None:
            store = open_store(test, Path(folder) / "store", read_info(resolve(model)).sample_rate, options)
        made = publish(model, name, license, out, test=store, **given)
    for path in sorted(made.iterdir()):
        print(path)
    entry = read_json(made / "zoo.json", (name,))[name]
    print(f"SHA-256 {entry['sha256']}, {entry['bytes'] / 1e6:.1f} MB. Read {made / 'README.md'} before you share it.")
    if repository is not None:
        print(f"Uploaded. Anyone can use it as {push(made, repository)}.")


def models_parser() -> Parser:
    """Return the parser of `models`."""
    parser = Parser("models", "[NAME]", "List the published models, or show the card of one.", "models body")
    parser.add_argument("name", metavar="NAME", nargs="?", help="model whose card to show")
    return parser


def models(name: str | None = None) -> None:
    """Print the list of published models, or the card of one."""
    from tabulate import tabulate

    from ..checkpoints import zoo

    if name is not None:
        print(zoo.card(name), end="")
        return
    rows = [("name", "sources", "mode", "from", "trained on", "SI-SDR", "MB", "licence")]
    for known, about in zoo.models().items():
        size = f"{about['bytes'] / 1e6:.1f}" if "bytes" in about else ""
        others = [about.get(key) or "" for key in ("mode", "parent", "data", "score")]
        rows.append((known, ", ".join(about.get("sources") or ["-"]), *map(str, others), size, about.get("license", "")))
    for line in tabulate(rows, tablefmt="plain", disable_numparse=True).splitlines():
        print(line.rstrip())
    print(f"\n{PROGRAM} models NAME shows a card. Every option that takes a model also takes a path or an address.")
