"""MUSDB18: as WAV (HQ), decoded by musdbconvert, and in .stem.mp4 files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .sound import tone, write

# Pitches that make each stem recognisable.
MUSDB18_STEMS = {"drums": 1760.0, "bass": 110.0, "other": 660.0, "vocals": 440.0}
# One of the 14 for validation, and names with an ampersand, a comma, dots, and the spelling mistake of the data set.
MUSDB18_SONGS = (
    "train/Al James - Schoolboy Facination",
    "train/Johnny Lokke - Promises & Lies",
    "train/Jokers, Jacks & Kings - Sea Of Leaves",
    "test/M.E.R.C. Music - Knockout",
)


def musdb18(folder: Path, songs: tuple[str, ...] = MUSDB18_SONGS, decoded: bool = False, top: str = "musdb18hq") -> Path:
    """Make MUSDB18-HQ: stereo int16 at 44.1 kHz, five files a song; the archive has train and test at its top.

    Decoded by musdbconvert there are seven, two of them sums of the others, and the mixture has a noise of its own.
    """
    noise = np.random.default_rng(0)
    for number, song in enumerate(songs):
        stems = {stem: _stereo(pitch, number) for stem, pitch in MUSDB18_STEMS.items()}
        files = {**stems, "mixture": sum(stems.values())}
        if decoded:
            files["linear_mixture"] = files["mixture"]
            files["mixture"] = files["mixture"] + 1e-3 * noise.standard_normal(files["mixture"].shape)
            files["accompaniment"] = files["mixture"] - stems["vocals"]
        for name, audio in files.items():
            write(folder / top / song / f"{name}.wav", audio)
    (folder / top / songs[0] / "._vocals.wav").write_bytes(b"\0\5\26\7")
    return folder / top


def musdb18_containers(
    folder: Path, songs: tuple[str, ...] = MUSDB18_SONGS, content: bytes = b"", top: str = "musdb18"
) -> Path:
    """Make MUSDB18: a .stem.mp4 for each song, with the given content (a real one has five AAC streams)."""
    for song in songs:
        path = folder / top / f"{song}.stem.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / top / "README.md").write_text("MUSDB18")
    return folder / top


def _stereo(pitch: float, number: int) -> np.ndarray:
    audio = tone(pitch * (1 + number / 12), phase=number)
    return np.stack([audio, 0.5 * audio], axis=1)
