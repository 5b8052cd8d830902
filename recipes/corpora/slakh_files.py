"""Write the metadata.yaml of a Slakh track: the loudness and the instruments of its stems."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import yaml

from nussl_transfer.runtime.files import written_aside

from .midi import program_name
from .synth import RATE

DRUMS = 128
LOUDNESS, PEAK = -13.0, -1.0  # each stem in LUFS before the common gain; the mixture's peak in dB after it
# Slakh's names of the families of eight programs; two differ only in a capital letter.
CLASSES = ("Piano", "Chromatic Percussion", "Organ", "Guitar", "Bass", "Strings", "Strings (continued)", "Brass", "Reed",
           "Pipe", "Synth Lead", "Synth Pad", "Sound Effects", "Ethnic", "Percussive", "Sound effects")


def class_name(program: int) -> str:
    """Return Slakh's name of the family of a program; 128 is drums."""
    return "Drums" if program == DRUMS else CLASSES[15 if program == 119 else program // 8]


def normalised(audio: np.ndarray) -> tuple[np.ndarray, float]:
    """Return a stem scaled to -13 LUFS (ITU-R BS.1770-4), and its original loudness."""
    import pyloudnorm

    loudness = float(pyloudnorm.Meter(RATE).integrated_loudness(audio))
    return audio * np.float32(10 ** ((LOUDNESS - loudness) / 20)), loudness


def entry(program: int, drums: bool, loudness: float | None = None, plugin: str = "None") -> dict:
    """Return the entry of a stem in metadata.yaml; a stem without a loudness has MIDI but no audio."""
    number = DRUMS if drums else program
    loud = {} if loudness is None else {"integrated_loudness": loudness}
    return {"audio_rendered": loudness is not None, "inst_class": class_name(number), **loud, "is_drum": drums,
            "midi_program_name": program_name(program, drums), "midi_saved": True, "plugin_name": plugin,
            "program_num": number}


def write_metadata(folder: Path, gain: float, entries: dict[str, dict]) -> None:
    """Write metadata.yaml with all of Slakh's fields; `all_src.mid` must exist already."""
    uuid = hashlib.md5((folder / "all_src.mid").read_bytes(), usedforsecurity=False).hexdigest()
    about = {"UUID": uuid, "audio_dir": f"{folder.name}/stems", "lmd_midi_dir": f"generated/{uuid}.mid",
             "midi_dir": f"{folder.name}/MIDI", "normalization_factor": LOUDNESS, "normalized": True, "overall_gain": gain,
             "stems": entries, "target_peak": PEAK}
    with written_aside(folder / "metadata.yaml") as aside:
        aside.write_text(yaml.safe_dump(about), encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with written_aside(path) as aside:
        aside.write_bytes(content)
