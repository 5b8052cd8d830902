"""What Slakh's metadata.yaml says of a track: which instrument each stem is, and which MIDI file it was made from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..errors import DataError

DRUMS = 128
# The same loader as safe_load's; libyaml's is six times as fast, and there are 2100 files.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class StemEntry:
    """One entry of a track: its General MIDI program (0 to 127, drums 128), and whether audio and MIDI were made."""

    program: int
    rendered: bool
    saved: bool


@dataclass(frozen=True)
class Metadata:
    """What is used of a metadata.yaml: the stems' entries, and the MD5 of the MIDI file, '' where it is not said."""

    stems: dict[str, StemEntry]
    midi: str


def read_metadata(path: Path) -> Metadata:
    """Returns what a metadata.yaml says; its own paths are not read, as some are those of another machine.

    Raises:
        DataError: It is not there or not as Slakh's are; the message is a sentence without the track's name.
    """
    try:
        about = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except FileNotFoundError:
        raise DataError("has no metadata.yaml, which says what its stems are") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise DataError(f"has a metadata.yaml that cannot be read ({why[:200]})") from None
    if not isinstance(about, dict) or not isinstance(about.get("stems"), dict):
        raise DataError("has a metadata.yaml that lists no stems")
    uuid = str(about.get("UUID") or "")
    return Metadata(
        {str(name): _entry(str(name), stem) for name, stem in about["stems"].items()}, "" if uuid == "None" else uuid
    )


def midi_md5(path: Path | None) -> str:
    """Returns the MD5 of a track's all_src.mid, which is its UUID in metadata.yaml; '' where there is no such file."""
    try:
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path else ""
    except OSError:
        return ""


def _entry(name: str, stem: object) -> StemEntry:
    if not isinstance(stem, dict):
        raise DataError(f"has a metadata.yaml that says nothing of {name}")
    # Not by inst_class: 'Sound Effects' and 'Sound effects' are two, and 'Strings (continued)' are choirs.
    program = DRUMS if stem.get("is_drum") is True else stem.get("program_num")
    if isinstance(program, bool) or not isinstance(program, int) or not 0 <= program <= DRUMS:
        raise DataError(f"has a metadata.yaml in which the program_num of {name} is {program!r}, not a number 0 to {DRUMS}")
    return StemEntry(program, stem.get("audio_rendered") is not False, stem.get("midi_saved") is not False)
