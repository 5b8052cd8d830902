"""Make test audio of known pitch and level, and write it to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
FORMATS = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III", ".aiff": "PCM_16"}


def tone(pitch: float, seconds: float = 1.0, rate: int = RATE, level: float = 0.1, phase: float = 0.0) -> np.ndarray:
    """Return a tone that becomes louder, so that no two parts of it are equal."""
    time = np.arange(round(seconds * rate)) / rate
    return level * (0.5 + time / (2 * seconds)) * np.sin(2 * np.pi * pitch * time + phase)


def write(path: Path, audio: np.ndarray, rate: int = RATE) -> Path:
    """Write audio [frames] or [frames, channels] in the format that the extension names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix.lower()
    soundfile.write(path, audio, rate, format="AIFF" if kind == ".aif" else kind[1:], subtype=FORMATS.get(kind))
    return path
