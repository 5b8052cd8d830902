"""Find the recorded notes that `sampled.json` lists in a folder of libraries, and read them.

The recordings are not part of this project. They are free: CC0 or CC-BY. The authors, and the attribution that CC-BY
requires, are under "libraries" in `sampled.json`: tonejs-instruments (Nick Brosowsky, CC-BY 3.0; most of it
VSCO 2 Community Edition by Versilian Studios and Karoryfer Samples), Weresax, Bear Sax and War Tuba (Karoryfer Samples,
CC0), a double bass (D. Smolken, CC0), MTG Solo Saxophones (Music Technology Group and kinwie, CC-BY 4.0), Discord SFZ
GM Bank (several authors, CC-BY and CC0), MuldjordKit (Lars Muldjord, CC-BY 4.0). The table gives the files of each
instrument in each library, with the subfolder of the library. Missing libraries are left out.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from nussl_transfer.errors import DataError

from .synth import active_rms

TABLE = Path(__file__).with_name("sampled.json")
BANK_RATE = 22_050  # sample rate of the recordings in memory: shifted down by four semitones, they still reach 8 kHz
KEPT_SECONDS = 5.0  # length of each recording in memory
ONSET = 0.1  # a recording is cut to begin 5 ms before it first exceeds this fraction of its peak
SOFTEST_HIT = 0.05  # softest usable hit, relative to the loudest one; some files of a kit are almost silent
STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}


@dataclass(frozen=True)
class Recording:
    """A recorded note: its sounding MIDI pitch and its file."""

    pitch: int
    path: str


@dataclass(frozen=True)
class Voice:
    """The recordings of one instrument in one library, loudness and microphone."""

    label: str
    name: str
    recordings: tuple[Recording, ...]
    release: float  # length of a note's fade-out in seconds


@dataclass(frozen=True)
class Bank:
    """All available recordings: voices by label, and drum hits by General MIDI pitch, as paths and a gain.

    `lacking` lists the instruments of the table without any recording in the folder.
    """

    voices: dict[str, tuple[Voice, ...]]
    drums: dict[int, tuple[tuple[str, ...], float]]
    kit: str
    lacking: tuple[str, ...] = ()


@functools.cache
def open_bank(samples: str) -> Bank:
    """Return the table's recordings that a folder holds. Their audio is not read yet.

    Raises:
        DataError: The folder is missing, or holds fewer than two instruments of the table.
    """
    folder = Path(samples)
    if not folder.is_dir():
        raise DataError(f"The folder of recordings {folder} does not exist. Get the libraries in {TABLE.name} and give the "
                        "folder that holds them.")
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    voices: dict[str, tuple[Voice, ...]] = {}
    for entry in table["instruments"]:
        voices[entry["label"]] = voices.get(entry["label"], ()) + tuple(find_voices(folder, entry))
    lacking = tuple(label for label, found in voices.items() if not found)
    voices = {label: found for label, found in voices.items() if found}
    if len(voices) < 2:
        raise DataError(f"The recordings in {folder} are too few: got {len(voices)} instruments of {TABLE.name}, "
                        "expected 2 or more. Get more of the libraries that it names.")
    hits = {hit["pitch"]: (sorted_paths(folder, hit["files"]), hit["gain"]) for hit in table["drums"]["hits"]}
    return Bank(voices, {pitch: hit for pitch, hit in hits.items() if hit[0]}, table["drums"]["label"], lacking)


def sorted_paths(folder: Path, pattern: str) -> tuple[str, ...]:
    """Return the files below a folder that match a `glob` pattern, sorted."""
    return tuple(sorted(str(path) for path in folder.glob(pattern)))


def find_voices(folder: Path, entry: dict) -> list[Voice]:
    """Return the voices of one line of the table that a folder holds.

    The group `note` or `number` of the line's pattern gives the pitch; the other named groups identify the voice. The
    sounding pitch is `above` semitones higher, except for misnamed notes, whose pitch is in `pitches`.
    """
    pattern = re.compile(entry["pattern"])
    found: dict[str, list[Recording]] = {}
    for path in sorted_paths(folder, entry["files"]):
        match = pattern.search(Path(path).name)
        if not match:
            continue
        groups = match.groupdict()
        note, number = groups.pop("note", None), groups.pop("number", None)
        pitch = (int(number) if note is None else pitch_of(note)) + entry["above"]
        pitch = entry.get("pitches", {}).get(note or number, pitch)
        name = " ".join([entry["library"], *groups.values()])
        found.setdefault(name, []).append(Recording(pitch, path))
    return [Voice(entry["label"], name, tuple(recordings), entry["release"]) for name, recordings in found.items()]


def pitch_of(note: str) -> int:
    """Return the MIDI pitch of a name such as 'C4' (60), 'F#3', 'Fs3' or 'gb3' (54)."""
    name, octave = note[:-1].lower(), int(note[-1])
    return STEPS[name[0]] + {"": 0, "#": 1, "s": 1, "b": -1}[name[1:]] + 12 * (octave + 1)


@functools.cache
def read_recording(path: str) -> np.ndarray:
    """Return a recording without leading silence, mono float32 at `BANK_RATE`, with an RMS of 0.1 while it sounds.

    Raises:
        DataError: The file cannot be read.
    """
    audio = read_from_onset(path)
    return audio * np.float32(0.1 / max(active_rms(audio[: 2 * BANK_RATE], BANK_RATE), 1e-6))


@functools.cache
def read_hits(paths: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """Return the usable hits of one drum from soft to loud; the loudest has a peak of 1.

    Raises:
        DataError: A file cannot be read.
    """
    hits = sorted((read_from_onset(path) for path in paths), key=lambda hit: np.abs(hit).max(initial=0.0))
    loudest = max(np.abs(hits[-1]).max(initial=0.0), 1e-9)
    return tuple(hit / loudest for hit in hits if np.abs(hit).max(initial=0.0) >= SOFTEST_HIT * loudest) or (hits[-1],)


def read_from_onset(path: str) -> np.ndarray:
    """Return the first seconds of a file without leading silence, mono float32 at `BANK_RATE`, faded at both ends.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise DataError(f"The recording {path} cannot be read ({error}). Get its library again.") from error
    audio = audio.mean(axis=1)
    loud = np.flatnonzero(np.abs(audio) > ONSET * np.abs(audio).max(initial=0.0))
    first = max(0, int(loud[0]) - rate // 200) if len(loud) else 0
    audio = soxr.resample(audio[first : first + int(KEPT_SECONDS * rate)], rate, BANK_RATE, quality="HQ")
    ramp, tail = min(len(audio), BANK_RATE // 500), min(len(audio), BANK_RATE // 20)
    audio[:ramp] *= np.linspace(0, 1, ramp)
    audio[len(audio) - tail :] *= np.linspace(1, 0, tail)
    return audio
