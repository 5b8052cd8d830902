"""Bach10 v1.1."""

from __future__ import annotations

from pathlib import Path

from .sound import tone, write

BACH10_PIECES = ("01-AchGottundHerr", "02-AchLiebenChristen", "03-ChristederdubistTagundLicht")
BACH10_PARTS = {"violin": 880.0, "clarinet": 440.0, "saxphone": 220.0, "bassoon": 110.0}


def bach10(folder: Path, pieces: int = 2, seconds: float = 1.0, offset: float = 0.01) -> Path:
    """Make Bach10 v1.1 as it is on disk: 'saxphone' in all pieces but the second, DC in three of four parts, mono int16.

    The second piece's mixture has half the level of the sum, only the first has an .asl, and operating systems left
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
