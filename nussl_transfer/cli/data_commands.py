"""Stage 11, the commands on data: `fetch`, `check` and `prepare`. How a signature becomes options: see `parsers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .parsers import PROGRAM
from .words import parse_groups, parse_list, parse_options

if TYPE_CHECKING:
    from ..datasets.options import StemOptions


def fetch(name: str | None = None, *, out: Path = Path("."), keep_archive: bool = False) -> None:
    """Fetches a data set, or says whom to ask for it.

    Without a name it lists them. The same command again goes on where it was
    broken off.

    Args:
        name: data set: ChoirSet, MUSDB18-HQ, Slakh, BabySlakh
        out: folder to put the data set's own folder into
        keep_archive: keep the archive beside it

    Example:
        nussl-transfer fetch BabySlakh --out data
    """
    from ..datasets.download import ARCHIVES, ON_REQUEST, fetch_dataset

    if name is None:
        for known, archive in ARCHIVES.items():
            print(f"{known:<11} {archive.gigabytes:6.1f} GB  licence: {archive.license}")
        for known, sentence in ON_REQUEST.items():
            print(f"{known:<11} {sentence}")
        return
    print(f"Next: {PROGRAM} check {fetch_dataset(name, out, keep_archive)}")


def check(
    data: Path,
    *,
    deep: bool = False,
    json_: Path | None = None,
    dataset: str | None = None,
    options: str = "",
    groups: str = "",
    ignore: str = "",
    sample_rate: int | None = None,
    seconds: float = 10.0,
    files: bool = False,
) -> int:
    """Says what is in a folder of stems, and what is wrong with it.

    Nothing is changed. The status is 1 where training on it would fail.

    Args:
        data: folder of stems
        deep: decode every file: finds silence, NaN, clipping, cut files
        json_: write what was found as JSON, to a file or (-) the terminal
        dataset: name of the data set; recognised when not given
        options: of the data set: sources=band,split_scheme=redux; layout=pool
        groups: stems to merge: male=tenor+bass,female=soprano+alto
        ignore: stems, files and folders to pass over: organ,piano
        sample_rate: say where files have less than this many Hz
        seconds: length of an excerpt, to count those that there are
        files: list every file, however many

    Example:
        nussl-transfer check my-stems --deep
    """
    from ..datasets.recognise import open_tracks
    from ..datasets.validation.check import check

    stem_options = _stem_options(dataset, options, groups, ignore)
    name, tracks = open_tracks(data, stem_options)
    found = check(tracks, deep=deep, options=stem_options, sample_rate=sample_rate, seconds=seconds)
    as_json = json.dumps({"dataset": name, **found.to_json()}, indent=1)
    if json_ == Path("-"):
        print(as_json)
    else:
        print(f"{data} is read as {name}.\n{found.table(files or None)}")
        if found.untrainable:
            print(f"Nothing can be trained on it: {found.untrainable}.")
        if json_ is not None:
            json_.write_text(as_json + "\n", encoding="utf-8")
    return 1 if found.fatal or found.untrainable else 0


def prepare(
    data: Path,
    *,
    out: Path,
    dataset: str | None = None,
    options: str = "",
    groups: str = "",
    ignore: str = "",
    sample_rate: int = 16000,
    silent: Literal["error", "keep", "skip"] = "error",
    missing: Literal["error", "skip", "silence"] = "error",
    length_tolerance: float = 0.01,
    workers: int | None = None,
) -> None:
    """Makes a store of stems: mono, at one rate, with a manifest.

    Run again, it does only what is missing or has changed.

    Args:
        data: folder of stems
        out: folder of the store
        dataset: name of the data set; recognised when not given
        options: of the data set: sources=band,split_scheme=redux; layout=pool
        groups: stems to merge: male=tenor+bass,female=soprano+alto
        ignore: stems, files and folders to pass over: organ,piano
        sample_rate: rate of the store in Hz
        silent: what to do about a silent stem
        missing: what to do about a missing stem
        length_tolerance: share by which a stem may be too short
        workers: threads; one a core when not given

    Example:
        nussl-transfer prepare my-stems --out store --ignore organ
    """
    from ..datasets.recognise import open_tracks
    from ..store.prepare import prepare

    stem_options = _stem_options(
        dataset, options, groups, ignore, silent=silent, missing=missing, length_tolerance=length_tolerance
    )
    name, tracks = open_tracks(data, stem_options)
    store = prepare(
        tracks,
        out,
        sample_rate=sample_rate,
        dataset=name,
        workers=workers,
        options=stem_options,
    )
    print(f"{data} is read as {name}. Store {out}: {len(store.tracks)} tracks at {store.sample_rate} Hz.")
    for label in store.labels:
        print(f"  {label:<20} {store.minutes(label):6.1f} minutes")
    print(f"Next: nussl-transfer finetune {out} --out RUN")


def _stem_options(dataset: str | None, options: str, groups: str, ignore: str, **others) -> StemOptions:
    from ..datasets.options import StemOptions

    values = parse_options(options)
    if "layout" in values:  # only a stem folder has one
        dataset = dataset or "StemFolder"
    return StemOptions(dataset, values, parse_groups(groups), parse_list(ignore), **others)
