"""The command on audio: `separate`."""

from __future__ import annotations

import sys
from pathlib import Path

from .options import add_device
from .parsers import Parser, number
from .words import parse_list


def separate_parser() -> Parser:
    """Return the parser of `separate`."""
    parser = Parser(
        "separate",
        "AUDIO ... --model MODEL --out FOLDER [options]",
        "Separate audio files of any length into one file per label.\n\n"
        "The status is 1 if some of the files could not be separated.",
        "separate song.wav --model run --out separated",
    )
    parser.add_argument("audio", metavar="AUDIO", nargs="+", type=Path, help="files to separate, or folders of them")
    parser.add_argument("--model", required=True, help="name, file, run or address: see `nussl-transfer models`")
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="folder to write: FOLDER/SONG/LABEL.wav")
    parser.add_argument("--labels", metavar="NAME,...", type=parse_list, help="labels to write; all when not given")
    parser.add_argument("--residual", action="store_true", help="also write the mixture minus those labels")
    parser.add_argument("--keep-rate", action="store_true", help="write at the sample rate of the file, not of the model")
    parser.add_argument("--format", choices=("wav", "flac", "ogg", "mp3"), help="format of the files written [wav]")
    add_device(parser)
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16: faster on processors that have it")
    seconds = number(0, 86_400, above=True)
    parser.add_argument("--chunk-seconds", metavar="S", type=seconds, help="length of a chunk; the model's when not given")
    return parser


def separate(audio: list[Path], model: str, out: Path, **given) -> int:
    """Separate files, and print the path of each file written."""
    from ..checkpoints.zoo import resolve
    from ..runtime.memory import return_freed_memory
    from ..separation.files import separate_files

    return_freed_memory()
    result = separate_files(audio, resolve(model), out, **given)
    for files in result.written.values():
        for path in files.values():
            print(path)
    for message in result.failed.values():
        print(f"not separated: {message}", file=sys.stderr)
    return 1 if result.failed else 0
