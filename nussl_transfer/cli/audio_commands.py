"""Stage 11, the command on audio: `separate`. See `parsers`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from ..runtime.signals import terminated_as_interrupted
from .words import parse_list


def separate(
    audio: list[Path],
    *,
    model: str,
    out: Path,
    labels: str = "",
    residual: bool = False,
    keep_rate: bool = False,
    format: Literal["wav", "flac", "ogg", "mp3"] = "wav",
    device: str = "cpu",
    bf16: bool = False,
    chunk_seconds: float | None = None,
) -> int:
    """Separates audio files of any length, into one file a label.

    Status 1: some could not be separated; the others were.

    Args:
        audio: files to separate, or folders of them
        model: name, file or run
        out: folder to write: OUT/SONG/LABEL.wav
        labels: labels to write: violin,cello; all when not given
        residual: also write the mixture minus those labels
        keep_rate: write at the rate of the file, not of the model
        format: of the files written
        device: cpu or cuda
        bf16: compute in bfloat16, faster where the processor has it
        chunk_seconds: of the chunks; the model's when not given

    Example:
        nussl-transfer separate song.wav --model run --out separated
    """
    from ..checkpoints.zoo import resolve
    from ..separation.files import separate_files

    with terminated_as_interrupted():
        result = separate_files(
            audio,
            resolve(model),
            out,
            labels=parse_list(labels),
            residual=residual,
            keep_rate=keep_rate,
            format=format,
            device=device,
            bf16=bf16,
            chunk_seconds=chunk_seconds,
        )
    for files in result.written.values():
        for path in files.values():
            print(path)
    for message in result.failed.values():
        print(f"not separated: {message}", file=sys.stderr)
    return 1 if result.failed else 0
