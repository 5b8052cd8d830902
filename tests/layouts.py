"""Fake trees with the real names, and the defects that real trees have: a second or so of audio in each file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
# The names that tests of a generic folder use, and the pitch that makes each stem recognisable.
STEMS = {"bass": 110.0, "drums": 1760.0, "vocals": 440.0}
BACH10_PIECES = ("01-AchGottundHerr", "02-AchLiebenChristen", "03-ChristederdubistTagundLicht")
BACH10_PARTS = {"violin": 880.0, "clarinet": 440.0, "saxphone": 220.0, "bassoon": 110.0}
FORMATS = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III", ".aiff": "PCM_16"}


def tone(pitch: float, seconds: float = 1.0, rate: int = RATE, level: float = 0.1, phase: float = 0.0) -> np.ndarray:
    """A tone that swells, so that no two places in it are alike."""
    time = np.arange(round(seconds * rate)) / rate
    return level * (0.5 + time / (2 * seconds)) * np.sin(2 * np.pi * pitch * time + phase)


def write(path: Path, audio: np.ndarray, rate: int = RATE) -> Path:
    """Writes audio [frames] or [frames, channels] in the format that the extension names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix.lower()
    soundfile.write(path, audio, rate, format="AIFF" if kind == ".aif" else kind[1:], subtype=FORMATS.get(kind))
    return path


def bach10(folder: Path, pieces: int = 2, seconds: float = 1.0, offset: float = 0.01) -> Path:
    """Bach10 v1.1 as it lies on disk: 'saxphone' in all pieces but the second, DC in three of four parts, mono int16.

    The second piece's mixture has half the level of the sum, only the first has an .asl, and systems left
    their traces.
    """
    root = folder / "Bach10_v1.1"
    for number, piece in enumerate(BACH10_PIECES[:pieces]):
        place = root / piece
        parts = {}
        for part, pitch in BACH10_PARTS.items():
            audio = tone(pitch * (1 + number / 12), seconds, phase=number)
            parts[part] = audio - (offset if part != "violin" else 0)
            spelt = "saxophone" if (part, number) == ("saxphone", 1) else part
            write(place / f"{piece}-{spelt}.wav", parts[part])
        write(place / f"{piece}.wav", sum(parts.values()) * (0.5 if number == 1 else 1.0))
        (place / f"{piece}.txt").write_bytes(b"0\t0\t67\t1\r\n500\t480\t69\t1\r\n")
        for name in (f"{piece}.mid", f"{piece}-GTF0s.mat", f"{piece}-GTNotes.mat"):
            (place / name).write_bytes(b"not read")
        (place / "desktop.ini").write_text("[.ShellClassInfo]")
        (place / f"._{piece}-violin.wav").write_bytes(b"\0\5\26\7")
    (root / BACH10_PIECES[0] / f"{BACH10_PIECES[0]}.asl").write_text("")
    trace = folder / "__MACOSX" / "Bach10_v1.1" / BACH10_PIECES[0]
    trace.mkdir(parents=True)
    (trace / f"{BACH10_PIECES[0]}-violin.wav").write_bytes(b"\0\5\26\7")
    return root


def track_major(
    folder: Path,
    tracks: tuple[str, ...] = ("Song A", "Song B"),
    stems=tuple(STEMS),
    mixture: str | None = "mixture",
    suffix: str = ".wav",
    seconds: float = 1.0,
    rate: int = RATE,
) -> Path:
    """A folder for each track, a file for each stem, as MUSDB18-HQ has them; names may hold a split, 'train/Song A'."""
    for number, track in enumerate(tracks):
        audio = {stem: stem_audio(stem, number, seconds, rate) for stem in stems}
        for stem in stems:
            write(folder / track / f"{stem}{suffix}", audio[stem], rate)
        if mixture:
            write(folder / track / f"{mixture}{suffix}", sum(audio.values()), rate)
    return folder


def stem_major(
    folder: Path, tracks: tuple[str, ...] = ("one", "two"), stems=tuple(STEMS), mix: str | None = "mix", prefix: str = ""
) -> Path:
    """A folder for each stem and one for the mixtures, the same file name in each: nussl's MixSourceFolder."""
    for number, track in enumerate(tracks):
        audio = {stem: stem_audio(stem, number) for stem in stems}
        for stem in stems:
            write(folder / prefix / stem / f"{track}.wav", audio[stem])
        if mix:
            write(folder / prefix / mix / f"{track}.wav", sum(audio.values()))
    return folder


def pool(folder: Path, stems=("Bass", "Kick", "Snare"), each: int = 3) -> Path:
    """A folder for each stem, files that have nothing to do with each other: what the RemixPacks scripts make."""
    for stem in stems:
        for number in range(each):
            audio = stem_audio(stem, number, seconds=0.5 + number)
            write(folder / stem / f"Pack {stem[0]}{number} ({stem} take)(symlink).wav", audio)
    return folder


def stem_audio(stem: str, number: int = 0, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """The audio of a stem: its own pitch, another one in each track."""
    return tone(STEMS.get(stem, 330.0) * (1 + number / 12), seconds, rate, phase=number)


# data set -> what builds its tree and returns the folder to open: one for every data set there is.
TREES = {"Bach10": bach10, "StemFolder": track_major}
