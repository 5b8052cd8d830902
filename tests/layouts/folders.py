"""Folders of stems that belong to no known data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .sound import RATE, tone, write

# The names that tests of a generic folder use, and the pitch that makes each stem recognisable.
STEMS = {"bass": 110.0, "drums": 1760.0, "vocals": 440.0}


def track_major(
    folder: Path,
    tracks: tuple[str, ...] = ("Song A", "Song B"),
    stems=tuple(STEMS),
    mixture: str | None = "mixture",
    suffix: str = ".wav",
    seconds: float = 1.0,
    rate: int = RATE,
) -> Path:
    """Make a folder for each track and a file for each stem, as in MUSDB18-HQ; names may contain a split: 'train/A'."""
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
    """Make a folder for each stem and one for the mixtures, with the same file names: nussl's MixSourceFolder."""
    for number, track in enumerate(tracks):
        audio = {stem: stem_audio(stem, number) for stem in stems}
        for stem in stems:
            write(folder / prefix / stem / f"{track}.wav", audio[stem])
        if mix:
            write(folder / prefix / mix / f"{track}.wav", sum(audio.values()))
    return folder


def pool(folder: Path, stems=("Bass", "Kick", "Snare"), each: int = 3) -> Path:
    """Make a folder for each stem, with unrelated files, as the RemixPacks scripts do."""
    for stem in stems:
        for number in range(each):
            audio = stem_audio(stem, number, seconds=0.5 + number)
            write(folder / stem / f"Pack {stem[0]}{number} ({stem} take)(symlink).wav", audio)
    return folder


def stem_list(folder: Path) -> Path:
    """Write a CSV file that names the stems of two tracks."""
    track_major(folder, mixture=None)
    rows = [f"{track},{stem},{track}/{stem}.wav" for track in ("Song A", "Song B") for stem in STEMS]
    (folder / "stems.csv").write_text("\n".join(["track,label,file", *rows]) + "\n")
    return folder / "stems.csv"


def stem_audio(stem: str, number: int = 0, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """Return the audio of a stem, whose pitch differs for each stem and track."""
    return tone(STEMS.get(stem, 330.0) * (1 + number / 12), seconds, rate, phase=number)
