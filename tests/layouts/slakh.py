"""Slakh2100-redux, the original, and BabySlakh, with a track for each of their defects."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import yaml

from .sound import RATE, tone, write

# Stem -> class, General MIDI program, and whether it has audio and MIDI. The stems that most tracks have.
_BAND = {"S00": ("Guitar", 30), "S01": ("Drums", 128), "S02": ("Piano", 1), "S03": ("Bass", 33)}
_WITHOUT_AUDIO = (False, True)
_WITHOUT_BOTH = (False, False)
# Number -> split of redux, and stems.
SLAKH_TRACKS: dict[int, tuple[str, dict[str, tuple]]] = {
    # Two classes that differ only in case, 'Strings (continued)', which is a choir, and an entry without audio and MIDI.
    1: ("train", {**_BAND, "S04": ("Strings (continued)", 52), "S06": ("Sound Effects", 103, *_WITHOUT_BOTH),
                  "S08": ("Sound effects", 122)}),
    4: ("train", _BAND),
    # Does not begin at S00, and has gaps.
    14: ("train", {"S01": ("Drums", 128), "S02": ("Piano", 0), "S05": ("Guitar", 24), "S09": ("Bass", 38),
                   "S11": ("Organ", 19, *_WITHOUT_AUDIO)}),
    # S11 and S12 are the same sound.
    22: ("train", {**_BAND, "S11": ("Piano", 4), "S12": ("Guitar", 27)}),
    # S03 is white noise.
    357: ("train", {"S00": ("Guitar", 29), "S01": ("Drums", 128), "S02": ("Bass", 32), "S03": ("Piano", 5)}),
    # Its audio_dir is a path of another machine.
    616: ("train", _BAND),
    1740: ("omitted", {"S00": ("Guitar", 25, *_WITHOUT_AUDIO), "S01": ("Drums", 128), "S02": ("Piano", 2),
                       "S03": ("Brass", 61, *_WITHOUT_AUDIO), "S04": ("Bass", 35),
                       "S05": ("Reed", 65, *_WITHOUT_AUDIO)}),
    1742: ("validation", _BAND),
    # Has the MIDI file of track 4, rendered anew.
    1939: ("omitted", _BAND),
}  # fmt: skip
_ORIGINAL = {1500: "train", 1875: "validation", 2100: "test"}


def slakh(folder: Path, kind: str = "redux", tracks=tuple(SLAKH_TRACKS), seconds: float = 1.0) -> Path:
    """Make Slakh as it is on disk: mono int16, flac at 44.1 kHz; the kind 'baby' is wav at 16 kHz, without splits.

    Beside the stems of the first track are the files that submixes.py makes, and those that a Mac leaves.
    """
    root = folder / {"redux": "slakh2100_flac_redux", "orig": "slakh2100_flac", "baby": "babyslakh_16k"}[kind]
    suffix, rate = (".wav", 16000) if kind == "baby" else (".flac", RATE)
    for number in tracks:
        split, stems = SLAKH_TRACKS[number]
        if kind == "orig":
            split = next(name for last, name in _ORIGINAL.items() if number <= last)
        track = root / ("" if kind == "baby" else split) / f"Track{number:05d}"
        audio = {stem: _sound(number, stem, entry[1], seconds, rate) for stem, entry in stems.items() if entry[2:] == ()}
        for stem, samples in audio.items():
            write(track / "stems" / f"{stem}{suffix}", samples, rate)
        write(track / f"mix{suffix}", sum(audio.values()), rate)
        _write_midi(track, number, stems)
        (track / "metadata.yaml").write_text(yaml.safe_dump(slakh_metadata(number)))
    first = root / ("" if kind == "baby" else "train") / f"Track{tracks[0]:05d}"
    for name in ("stems/residuals.wav", "stems/band/guitar.wav", "band/residuals.wav"):
        write(first / name, tone(300, seconds, rate), rate)
    (first / "stems" / "._S00.flac").write_bytes(b"\0\5\26\7")
    return root


def slakh_metadata(number: int) -> dict:
    """Return the content of a track's metadata.yaml."""
    name = "/Users/someone/rendered/Track00616" if number == 616 else f"Track{number:05d}"
    return {
        "UUID": hashlib.md5(_midi(number)).hexdigest(),
        "audio_dir": f"{name}/stems",
        "midi_dir": f"{name}/MIDI",
        "normalized": True,
        "overall_gain": 0.18,
        "stems": {stem: _entry(*entry) for stem, entry in SLAKH_TRACKS[number][1].items()},
    }


def _entry(name: str, program: int, rendered: bool = True, saved: bool = True) -> dict:
    entry = {"audio_rendered": rendered, "inst_class": name, "is_drum": program == 128, "midi_program_name": "...",
             "midi_saved": saved, "plugin_name": "patch.nkm" if rendered else "None", "program_num": program}  # fmt: skip
    return {**entry, "integrated_loudness": -13.0} if rendered else entry


def _midi(number: int) -> bytes:
    return f"MThd {4 if number == 1939 else number}".encode()


def _write_midi(track: Path, number: int, stems: dict[str, tuple]) -> None:
    (track / "MIDI").mkdir()
    (track / "all_src.mid").write_bytes(_midi(number))
    for stem, entry in stems.items():
        if entry[2:] != _WITHOUT_BOTH:
            (track / "MIDI" / f"{stem}.mid").write_bytes(b"MThd")


def _sound(number: int, stem: str, program: int, seconds: float, rate: int) -> np.ndarray:
    if (number, stem) == (357, "S03"):
        return 0.1 * np.random.default_rng(0).uniform(-1, 1, round(seconds * rate))
    if number == 22 and stem in ("S11", "S12"):
        program = 4
    return tone(100.0 + 10 * program, seconds, rate, phase=number % 7)
