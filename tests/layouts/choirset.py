"""Dagstuhl ChoirSet 1.2.3."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .sound import tone, write

CHOIRSET_RATE = 22050
PITCHES = {"S": 587.0, "A": 440.0, "T": 294.0, "B": 147.0}
# setting -> singers with a dynamic microphone, a headset, a larynx microphone. No soprano has a headset. Four of the eight
# singers of the full choir have no dynamic microphone.
SINGERS = {
    "FullChoir": ("S1 A2 T2 B2", "A2 T2 B2", "S1 S2 A1 A2 T1 T2 B1 B2"),
    "QuartetA": ("S2 A1 T1 B1", "A1 T1 B1", "S2 A1 T1 B1"),
    "QuartetB": ("S1 A2 T2 B2", "A2 T2 B2", "S1 A2 T2 B2"),
    "Basses": ("B1 B2 B3 B4", "B2", "B1 B2 B3 B4 B5"),
}
# The takes of the basses in which a microphone is missing.
GAPS = {
    "LI_Basses_Take02": ("B1 B2 B3 B4", "B2", "B1 B2 B4 B5"),
    "LI_Basses_Take03": ("B1 B2 B3 B4", "B2", "B1 B2 B4"),
    "LI_Basses_Take04": ("B1 B2 B3 B4", "B2", "B1 B2 B3"),
    "LI_Basses_Take05": ("B1 B3", "", "B1 B3"),
    "LI_Basses_Take06": ("B1", "", "B1"),
}
# Who sings solo 1, 2, ... of a setting.
SOLOS = {"FullChoir": "B2 B1 T2 T1 A2 A1 S1 S2", "QuartetA": "B1 T1 A1 S2", "QuartetB": "B2 T2 A2 S1"}
# (song, setting) -> kinds of takes, and the number of takes of each; 0: one take without a number.
TAKES = {
    ("LI", "FullChoir"): {"Take": 3, "Solo": 8},
    ("LI", "QuartetA"): {"Take": 6, "Solo": 4, "Overacted": 0},
    ("LI", "QuartetB"): {"Take": 5, "Solo": 4, "Overacted": 0},
    ("LI", "Basses"): {"Take": 6},
    ("TP", "FullChoir"): {"Take": 4, "Outtake": 0},
    ("TP", "QuartetA"): {"Take": 2},
    ("SE", "FullChoir"): {"ScaleUpDown": 24, "ScaleUpDownPiano": 4, "Tuning": 4, "Unison": 1},
    ("SE", "QuartetA"): {"CadenceMajor": 5, "CadenceMajorPiano": 5, "CadenceMinor": 2, "CadenceMinorPiano": 3,
                         "HummingPiano": 8, "Tuning": 2},
    ("SE", "QuartetB"): {"Tuning": 2},
    ("SE", "Basses"): {"Tuning": 2, "Unison": 1},
}  # fmt: skip
ALL_CHOIRSET_TAKES = tuple(
    f"{song}_{setting}_{kind}{number:02d}" if number else f"{song}_{setting}_{kind}"
    for (song, setting), kinds in TAKES.items()
    for kind, count in kinds.items()
    for number in (range(1, count + 1) if count else [0])
)
CHOIRSET_TAKES = ("LI_FullChoir_Take01", "LI_QuartetA_Take01", "LI_QuartetB_Overacted", "TP_FullChoir_Outtake")
CHOIRSET_OTHERS = ("LI_FullChoir_Solo07", "LI_Basses_Take05", "SE_QuartetA_CadenceMajorPiano01")


def microphones(take: str) -> list[tuple[str, str]]:
    """Return the singers of a take and their microphones: ('S2', 'DYN'), ..., ('Stereo', 'STM')."""
    _, setting, kind = take.split("_")
    on = zip(("DYN", "HSM", "LRX"), GAPS.get(take, SINGERS[setting]), strict=True)
    found = [(singer, microphone) for microphone, singers in on for singer in singers.split()]
    if kind.startswith("Solo"):
        alone = SOLOS[setting].split()[int(kind[-2:]) - 1]
        found = [(singer, microphone) for singer, microphone in found if singer == alone]
    found += [("Stereo", "STM"), ("Stereo", "STL"), ("Stereo", "STR"), ("StereoReverb", "STM")]
    return found + [("Piano", "SPL"), ("Piano", "SPR")] * ("Piano" in kind)


def choirset(folder: Path, top: str = "DagstuhlChoirSet_V1.2.3", takes=(*CHOIRSET_TAKES, *CHOIRSET_OTHERS)) -> Path:
    """Make DagstuhlChoirSet as it is on disk: mono int16 at 22,050 Hz; all but larynx microphones record neighbours too.

    It has takes of songs for four voices, and others: a solo, the basses alone, an exercise with a piano. The
    tenors of quartet A end a little early, larynx microphones are louder, annotations lie in folders of their own.
    """
    root = folder / top
    for number, take in enumerate(takes):
        sung = {singer: _voice(singer, number) for singer, microphone in microphones(take) if microphone == "LRX"}
        room = sum(sung.values())
        for singer, microphone in microphones(take):
            audio = 2 * sung[singer] if microphone == "LRX" else sung.get(singer, 0) + 0.05 * room
            early = 40 if (take[3:11], singer, microphone) == ("QuartetA", "T1", "DYN") else 0
            path = root / "audio_wav_22050_mono" / f"DCS_{take}_{singer}_{microphone}.wav"
            write(path, audio[: len(audio) - early], CHOIRSET_RATE)
    for kind, name in (("beat", "Stereo_STM"), ("F0_CREPE", "S2_DYN"), ("scorerepresentation", "Stereo_STM_S")):
        annotation = root / f"annotations_csv_{kind}" / f"DCS_LI_QuartetA_Take01_{name}.csv"
        annotation.parent.mkdir(parents=True, exist_ok=True)
        annotation.write_text("0.01,220.0,0.9\n0.02,-220.0,0.1")
    (root / "README_V1.2.3.md").write_text("# Dagstuhl ChoirSet")
    (root / "audio_wav_22050_mono" / "._DCS_LI_QuartetA_Take01_S2_DYN.wav").write_bytes(b"\0\5\26\7")
    return root


def _voice(singer: str, number: int) -> np.ndarray:
    pitch = PITCHES[singer[0]] * (1 + 0.01 * int(singer[1])) * (1 + number / 12)
    return tone(pitch, 1.0, CHOIRSET_RATE, level=0.08 if singer[0] in "ST" else 0.04, phase=number)
