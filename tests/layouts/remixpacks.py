"""Remixpacks, in the layout of the author's scripts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .sound import tone, write

# Names of folders below original_files: artist, dash or en dash, song, kind of stems.
PACKS = (
    "Aurora Lights – North (Stems)",
    "Béla Ünal - Ŝafo (Multitrack)",
    "Dj Zorro feat. Q - (No) More! [Remix Pack]",
    "KITE RUNNER - kite runner (Studio Acapella & Stems)",
    "umbrella",
)
# Fine label -> pitch, seconds, extensions; each pack has one file.
FINE = {
    "Kick_Drum": (60.0, 0.3, (".wav", ".WAV", ".flac", ".ogg", ".wav")),
    "Snare": (200.0, 0.4, (".wav", ".wav", ".wav", ".wav", ".wav")),
    "Cymbals": (3000.0, 1.0, (".wav", ".mp3", ".wav", ".wav", ".wav")),
    "Acoustic_Guitar": (330.0, 0.3, (".wav", ".wav", ".wav", ".wav", ".wav")),
    "Synth_Pad": (440.0, 0.3, (".wav",)),
}


def remixpacks(folder: Path, broken: bool = False) -> Path:
    """Make the author's tree of links: pure and mixed fine labels, coarse labels; and beside them packs and JSON labels.

    It has mono and stereo files of very different length with silent parts; a label with one file; a link that leads back
    up; and, with ``broken``, a link to a file that does not exist.
    """
    root = folder / "RemixPacks"
    links = root / "symlinks_to_files"
    for label, (pitch, seconds, suffixes) in FINE.items():
        for number, (pack, suffix) in enumerate(zip(PACKS, suffixes, strict=False)):
            audio = tone(pitch * (1 + number / 12), seconds * (1 + number), phase=number)
            audio[: len(audio) // 4] = 0
            if number % 2:
                audio = np.stack([audio, 0.5 * audio], axis=1)
            inside = f"{pack}/stems/{label.replace('_', ' ')} {number + 1}{suffix}"
            file = write(root / "original_files" / inside, audio)
            _link(links / "fine" / "Pure" / label, inside, file)
            _link(links / "simple" / ("Drums" if label in ("Kick_Drum", "Snare", "Cymbals") else "Other"), inside, file)
    inside = f"{PACKS[0]}/drum loop.wav"
    file = write(root / "original_files" / inside, tone(100.0))
    for label in ("Kick_Drum", "Snare"):
        _link(links / "fine" / "Mixed" / label, inside, file)
    _link(links / "simple" / "Mix" / "No_Vocals", inside, file)
    (links / "fine" / "Pure" / "loop").symlink_to(links / "fine")
    (links / "fine" / "Pure" / "Snare" / "umbrella Snare 5(symlink).wav.npy").write_bytes(b"excerpts")
    (root / "raw_json_labels").mkdir()
    (root / "raw_json_labels" / "1.json").write_text('{"task_path": "/remixpacks600/train_mp3/x/drums/y.mp3"}')
    if broken:
        _link(links / "fine" / "Pure" / "Snare", f"{PACKS[1]}/gone.wav", root / "original_files" / PACKS[1] / "gone.wav")
    return root


def _link(folder: Path, inside: str, file: Path) -> None:
    """Make a link with the name that the scripts give it: the path below the packs with blanks for slashes, '(symlink)'."""
    folder.mkdir(parents=True, exist_ok=True)
    name, suffix = os.path.splitext(inside.replace("/", " "))
    (folder / f"{name}(symlink){suffix}").symlink_to(file)
