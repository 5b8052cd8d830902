"""Generate songs: repeated sections with their own chords, and the parts of a band, which may rest in some sections.

Each repetition of a verse or a chorus is the same music; drums play a fill at the end of a section. One of the sections can
be a harmonised fiddle tune of music21's corpus.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .bands import BEATS, DIATONIC, arpeggio, bass, comp, drums, harmonise, lead, near, notes_array, pad, triad
from .expression import perform

LETTERS = "IVCBS"  # introduction, verse, chorus, bridge, solo
FORMS = ("IVVCVCBCC", "IVCVCSCC", "VVCVCBSC", "IVCSVCBC", "VCVCSCVC")
BARS = {"I": 4, "V": 8, "C": 8, "B": 4, "S": 8}
SHORTEST_FORM = 16  # bars; a shorter song is one chorus, in which all play
# Probability that a part plays in each section.
PRESENCE = {"drums": (0.5, 1, 1, 0.8, 1), "bass": (0.5, 1, 1, 0.9, 1), "guitar": (0.8, 0.8, 1, 0.8, 0.9),
            "piano": (0.7, 0.8, 1, 0.8, 0.8), "pad": (0.6, 0.3, 0.9, 0.8, 0.5), "arpeggio": (0.6, 0.4, 0.6, 0.5, 0.5),
            "lead": (0.4, 0, 0.3, 0.4, 1), "vocals": (0, 1, 1, 0.7, 0), "backing": (0, 0, 0.9, 0.3, 0)}
PHRASE = 2  # bars a singer sings before a breath


@dataclass(frozen=True)
class Song:
    """A song: its parts by role, [notes, 4] in quarters, and its tempo."""

    parts: dict[str, np.ndarray]
    bpm: float
    swing: float
    form: str

    def seconds(self, beats: np.ndarray) -> np.ndarray:
        """Return the times of beats (quarters) in seconds; swing delays the second eighth of each."""
        whole = np.floor(beats)
        return (whole + np.interp(beats - whole, [0, 0.5, 1], [0, 0.5 + self.swing, 1])) * 60 / self.bpm


def compose(rng: np.random.Generator, seconds: float, roles: Iterable[str], tune: np.ndarray | None = None) -> Song:
    """Return a song of about the given length, in which every role plays.

    Args:
        rng: Random generator for the key, tempo, form, chords and patterns.
        seconds: Length, rounded to a bar.
        roles: Roles in `PRESENCE`; a second one of a kind has a number, 'guitar 2'.
        tune: Notes [notes, 4] of a tune with four quarters a bar, used for the solos; or None.
    """
    roles = list(roles)
    bpm = float(rng.uniform(72, 150))
    bars = max(2, round(seconds * bpm / 60 / BEATS))
    scale = ("minor" if rng.random() < 0.5 else "major", int(rng.integers(12)))
    sections = {letter: write_section(rng, letter, scale, roles, tune if letter == "S" else None) for letter in LETTERS}
    form = FORMS[rng.integers(len(FORMS))] if bars >= SHORTEST_FORM else "C"
    parts: dict[str, list[np.ndarray]] = {role: [] for role in roles}
    at, letters = 0, ""
    while at < bars:
        letter = form[len(letters) % len(form)]
        length, section = sections[letter]
        for role in roles:
            if form == "C" or rng.random() < PRESENCE[kind_of(role)][LETTERS.index(letter)]:
                parts[role].append(later(section[role], at))
        at, letters = at + length, letters + letter
    swing = float(rng.uniform(0.05, 0.16)) if rng.random() < 0.25 else 0.0
    whole = {role: cut(notes, bars) for role, notes in parts.items()}
    # A role that plays in no section plays the first chorus.
    whole = {role: notes if len(notes) else cut([sections["C"][1][role]], bars) for role, notes in whole.items()}
    return Song(whole, bpm, swing, letters)


def write_section(rng: np.random.Generator, letter: str, scale: tuple[str, int], roles: Iterable[str],
                  tune: np.ndarray | None) -> tuple[int, dict[str, np.ndarray]]:
    """Return the number of bars of a section, and the part of each role in it."""
    if tune is not None:
        bars = int(np.clip(np.ceil(tune[:, 0].max() / BEATS), 4, 16))
        chords = harmonise(tune, bars)
    else:
        bars = BARS[letter]
        chords = draw_chords(rng, *scale, int(rng.choice([4, bars]))) * 2
        chords = chords[:bars]
    melody = tune if tune is not None else lead(rng, chords)
    makers = {"drums": lambda: drums(rng, bars), "bass": lambda: bass(rng, chords), "guitar": lambda: strum(rng, chords),
              "piano": lambda: comp(rng, chords), "pad": lambda: pad(rng, chords), "lead": lambda: melody,
              "arpeggio": lambda: arpeggio(rng, chords), "vocals": lambda: phrases(lead(rng, chords))}
    section = {role: makers[kind_of(role)]() for role in roles if role != "backing"}
    if "backing" in roles:
        section["backing"] = below(section["vocals"], chords)
    return bars, section


def kind_of(role: str) -> str:
    """Return 'guitar' for 'guitar 2'."""
    return role.partition(" ")[0]


def draw_chords(rng: np.random.Generator, mode: str, key: int, bars: int) -> list[tuple[int, int]]:
    """Return a chord for each bar, (root pitch class, 1 if minor); they begin on the tonic and change with each bar."""
    degrees = DIATONIC[mode]
    found = [0]
    while len(found) < bars:
        found.append(int(rng.choice([degree for degree in range(len(degrees)) if degree != found[-1]])))
    return [((degrees[degree][0] + key) % 12, degrees[degree][1]) for degree in found]


def strum(rng: np.random.Generator, chords: list[tuple[int, int]]) -> np.ndarray:
    """Return a guitar's part: strummed triads, fifths with the octave in eighths, or broken chords."""
    style = rng.choice(["strummed", "fifths", "broken"])
    if style == "strummed":
        return comp(rng, chords)
    if style == "broken":
        return arpeggio(rng, chords) - np.array([0, 0, 12, 0], dtype=np.float32)
    gate = float(rng.uniform(0.3, 0.5))
    return notes_array([(bar * BEATS + at / 2, gate, near(root, 46) + step) for bar, (root, _) in enumerate(chords)
                        for at in range(8) for step in (0, 7, 12)])


def phrases(melody: np.ndarray) -> np.ndarray:
    """Return a melody with breaths: the last beat of every second bar is silent."""
    inside = melody[:, 0] % (PHRASE * BEATS)
    sung = melody[inside < PHRASE * BEATS - 1].copy()
    sung[:, 1] = np.minimum(sung[:, 1], PHRASE * BEATS - 0.75 - sung[:, 0] % (PHRASE * BEATS))
    return sung


def below(melody: np.ndarray, chords: list[tuple[int, int]]) -> np.ndarray:
    """Return a second voice: for each note, the nearest chord tone at least three semitones below."""
    second = melody.copy()
    for note in second:
        tones = triad(chords[int(note[0] // BEATS)])
        note[2] = max(pitch for tone in tones for pitch in range(tone, 128, 12) if pitch <= note[2] - 3)
    return second


def later(notes: np.ndarray, bars: int) -> np.ndarray:
    """Return notes moved by some bars."""
    return notes + np.array([bars * BEATS, 0, 0, 0], dtype=np.float32)


def cut(pieces: list[np.ndarray], bars: int) -> np.ndarray:
    """Return the notes of all pieces that begin within the first bars."""
    notes = np.concatenate([np.empty((0, 4), dtype=np.float32), *pieces])
    return notes[notes[:, 0] < bars * BEATS]


def play_part(part: np.ndarray, song: Song, rng: np.random.Generator, **how) -> np.ndarray:
    """Return a part as a player of the band performs it, with louder notes on the beats: see `perform`."""
    sixteenth = np.round(part[:, 0] * 4).astype(int) % 16
    accent = np.select([sixteenth % 8 == 0, sixteenth % 4 == 0, sixteenth % 2 == 0], [8.0, 4.0, -3.0], -10.0)
    return perform(part, song.seconds, rng, accent=accent, **how)
