"""The command that separates audio: `separate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .options import add_device
from .parsers import Parser, integer, number
from .words import parse_list


def separate_parser() -> Parser:
    """Return the parser of `separate`."""
    parser = Parser(
        "separate",
        "AUDIO ... --model MODEL --out FOLDER [options]",
        "Separate audio files of any length into one file per label.\n\n"
        "Several models, or the folds of `finetune --folds`, separate together: their\n"
        "masks are averaged. The status is 1 if some files could not be separated.",
        "separate song.wav --model run --out separated",
    )
    add = parser.add_argument
    add("audio", metavar="AUDIO", nargs="*", type=Path, help="files to separate, or folders of them")
    add("--model", metavar="MODEL", nargs="+", required=True, help="names, files, runs, folders of runs, addresses")
    add("--out", metavar="FOLDER", type=Path, required=True, help="folder to write: FOLDER/SONG/LABEL.wav")
    add("--labels", metavar="NAME,...", type=parse_list, help="labels to write; all when not given")
    add("--residual", action="store_true", help="also write the mixture minus those labels")
    add("--keep-rate", action="store_true", help="write at the sample rate of the file, not of the model")
    high = "with --keep-rate: leave out sound above the model's band"
    add("--no-high-band", dest="high_band", action="store_false", help=high)
    add("--format", choices=("wav", "flac", "ogg", "mp3"), help="format of the files written [wav]")
    add("--shifts", metavar="N", type=integer(1, 64), help="average N delayed passes; takes N times as long [1]")
    add("--wiener", metavar="N", type=integer(0, 10), help="stereo: filter channels jointly, in N more passes [0]")
    seconds = number(0, 86_400, above=True)
    add("--chunk-seconds", metavar="S", type=seconds, help="length of a chunk; the model's when not given")
    add_device(parser)
    add("--bf16", action="store_true", help="compute in bfloat16: faster on processors that have it")
    return parser


def separate(model: list[str], out: Path, audio: Sequence[Path] = (), **given: Any) -> int:
    """Separate files, and print the path of each file written."""
    if not audio:  # `separate --model run song.wav`: only the first argument of --model is a model
        model, audio = model[:1], [Path(word) for word in model[1:]]
    if not audio:
        raise ConfigError(
            "AUDIO is missing. Name the files or folders to separate: nussl-transfer separate AUDIO --model ..."
        )
    from ..runtime.memory import return_freed_memory
    from ..separation.files import separate_files

    return_freed_memory()
    result = separate_files(audio, model, out, **given)
    for files in result.written.values():
        for path in files.values():
            print(path)
    for message in result.failed.values():
        print(f"not separated: {message}", file=sys.stderr)
    return 1 if result.failed else 0
