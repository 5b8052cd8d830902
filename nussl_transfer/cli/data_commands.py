"""The commands on data: `fetch`, `check` and `prepare`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from .options import add_folders, add_stem_options, add_test_seconds, joined_paths, one_or_all, stem_options
from .parsers import PROGRAM, Parser, integer


def fetch_parser() -> Parser:
    """Return the parser of `fetch`."""
    parser = Parser(
        "fetch",
        "[NAME] [options]",
        "Fetch a data set, or say where to request it.\n\n"
        "Without a name, list the data sets. The same command again resumes an\ninterrupted download.",
        "fetch BabySlakh --out data",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="data set: DagstuhlChoirSet, MUSDB18-HQ, Slakh, BabySlakh")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="where to put the data set's folder [.]")
    parser.add_argument("--keep-archive", action="store_true", help="keep the archive beside that folder")
    return parser


def fetch(name: str | None = None, out: Path = Path("."), keep_archive: bool = False) -> None:
    """Fetch a data set, or list them."""
    from ..datasets.download import ARCHIVES, ON_REQUEST, fetch_dataset

    if name is None:
        for known, archive in ARCHIVES.items():
            print(f"{known:<11} {archive.gigabytes:6.1f} GB  licence: {archive.license}")
        for known, sentence in ON_REQUEST.items():
            print(f"{known:<11} {sentence}")
        return
    print(f"Next: {PROGRAM} check {shlex.quote(str(fetch_dataset(name, out, keep_archive)))}")


def check_parser() -> Parser:
    """Return the parser of `check`."""
    parser = Parser(
        "check",
        "DATA [options]",
        "List what a folder of stems holds, and every fault in it.\n\n"
        "The command changes no file. The status is 1 if training on the folder\nwould fail.",
        "check my-stems --deep",
    )
    add_folders(parser, "data", "DATA")
    parser.add_argument("--deep", action="store_true", help="decode every file: finds silence, NaN, clipping, cut files")
    parser.add_argument("--json", dest="json_", metavar="FILE", type=Path, help="write the result as JSON; - is stdout")
    add_stem_options(parser, "dataset", "options", "groups", "ignore", "missing", "rest", "use_mixtures")
    rate = integer(1000, 384_000)
    parser.add_argument("--sample-rate", metavar="HZ", type=rate, help="warn about files with a lower rate")
    add_test_seconds(parser, "count excerpts of this length [10]")
    parser.add_argument("--files", action="store_true", help="list every file, even when there are many")
    return parser


def check(data: list[Path], deep: bool = False, json_: Path | None = None, files: bool = False, **given: Any) -> int:
    """Check a folder of stems, and print a table or JSON."""
    from ..datasets.recognise import open_tracks
    from ..datasets.validation.check import check

    options = stem_options(given)
    name, tracks = open_tracks(one_or_all(data), options)
    if "excerpt_seconds" in given:
        given["seconds"] = given.pop("excerpt_seconds")
    found = check(tracks, deep=deep, options=options, **given)
    as_json = json.dumps({"dataset": name, **found.to_json()}, indent=1)
    if json_ == Path("-"):
        print(as_json)
    else:
        print(f"{joined_paths(data)} is read as {name}.\n{found.table(files or None)}")
        if found.untrainable:
            print(f"Training on it is impossible: {found.untrainable}.")
        if json_ is not None:
            json_.write_text(as_json + "\n", encoding="utf-8")
    return 1 if found.fatal or found.untrainable else 0


def prepare_parser() -> Parser:
    """Return the parser of `prepare`."""
    parser = Parser(
        "prepare",
        "DATA --out STORE [options]",
        "Make a store of stems: mono, at one sample rate, with a manifest.\n\n"
        "The same command again makes only stems that are missing or have changed.",
        "prepare my-stems --out store --ignore organ",
    )
    add_folders(parser, "data", "DATA")
    parser.add_argument("--out", metavar="STORE", type=Path, required=True, help="folder of the store")
    add_stem_options(parser, "dataset", "options", "groups", "ignore")
    parser.add_argument("--sample-rate", metavar="HZ", type=integer(1000, 384_000), help="rate of the store [16000]")
    add_stem_options(parser, "silent", "missing", "rest", "use_mixtures", "length_tolerance")
    parser.add_argument(
        "--workers", metavar="N", type=integer(1, 1024), help="number of threads; by default one per core, at most 4"
    )
    return parser


def prepare(data: list[Path], out: Path, **given: Any) -> None:
    """Make a store, and print its labels."""
    from ..datasets.recognise import open_tracks
    from ..store.prepare import prepare

    options = stem_options(given)
    name, tracks = open_tracks(one_or_all(data), options)
    store = prepare(tracks, out, dataset=name, options=options, **given)
    print(f"{joined_paths(data)} is read as {name}. Store {out}: {len(store.tracks)} tracks at {store.sample_rate} Hz.")
    for label in store.labels:
        print(f"  {label:<20} {store.minutes(label):6.1f} minutes")
    print(f"Next: {PROGRAM} finetune {shlex.quote(str(out))} --out RUN")
