"""Generate band parts: drums, bass, chords, arpeggios, pads and a lead, over random chords or under a fiddle tune."""

from __future__ import annotations

import numpy as np

# Triads as (root, minor?) in semitones above the key: I ii iii IV V vi, and i III iv v VI VII in minor.
DIATONIC = {"major": ((0, 0), (2, 1), (4, 1), (5, 0), (7, 0), (9, 1)),
            "minor": ((0, 1), (3, 0), (5, 1), (7, 0), (8, 0), (10, 0))}
SCALE = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
BEATS = 4
KICK, SNARE, STICK, HAT, OPEN_HAT, RIDE, CRASH = 36, 38, 37, 42, 46, 51, 49
TOMS = (45, 47, 50)
# Positions of the hits in a bar of sixteenths: (kick, snare). Each performance varies the pattern at random.
GROOVES = (((0, 8), (4, 12)), ((0, 6, 8), (4, 12)), ((0, 4, 8, 12), (4, 12)), ((0, 10), (4, 12)),
           ((0, 3, 8, 11), (4, 12)), ((0, 7, 10), (4, 12, 15)), ((0,), (8,)), ((0, 6, 12), (4, 10)))


def random_chords(rng: np.random.Generator, bars: int) -> list[tuple[int, int]]:
    """Return a chord for each bar, (root pitch class, 1 if minor): a loop of four or eight, in a random key."""
    mode = "minor" if rng.random() < 0.5 else "major"
    key = int(rng.integers(12))
    degrees = DIATONIC[mode]
    loop = [0, *rng.integers(0, len(degrees), int(rng.choice([3, 7])))]
    return [((degrees[loop[bar % len(loop)]][0] + key) % 12, degrees[loop[bar % len(loop)]][1]) for bar in range(bars)]


def harmonise(tune: np.ndarray, bars: int) -> list[tuple[int, int]]:
    """Return the major or minor triad that fits the tune's notes best, for each bar of four quarters."""
    chords = []
    for bar in range(bars):
        inside = tune[(tune[:, 0] >= bar * BEATS) & (tune[:, 0] < (bar + 1) * BEATS)]
        weight = np.bincount(inside[:, 2].astype(int) % 12, weights=inside[:, 1], minlength=12)
        best = max(((root, minor) for root in range(12) for minor in (0, 1)),
                   key=lambda chord: weight[list(triad(chord))].sum() + 0.4 * weight[chord[0]]
                   + (0.3 if chords and chord == chords[-1] else 0.0))
        chords.append(best)
    return chords


def triad(chord: tuple[int, int]) -> tuple[int, int, int]:
    """Return the pitch classes of a triad."""
    root, minor = chord
    return root % 12, (root + 4 - minor) % 12, (root + 7) % 12


def notes_array(rows: list[tuple[float, float, float]]) -> np.ndarray:
    """Return (onset, duration, pitch) rows as an array of notes without fermatas."""
    return np.array([(*row, 0.0) for row in sorted(rows)], dtype=np.float32)


def near(pitch_class: int, centre: float) -> int:
    """Return the pitch of a pitch class that is nearest to a centre."""
    return int(pitch_class + 12 * round((centre - pitch_class) / 12))


def drums(rng: np.random.Generator, bars: int) -> np.ndarray:
    """Return a drum part: a groove with hats and ghost notes, and a fill every four or eight bars."""
    kicks, snares = GROOVES[rng.integers(len(GROOVES))]
    cymbal = int(rng.choice([HAT, HAT, RIDE]))
    step = int(rng.choice([1, 2, 2, 4]))
    back = int(rng.choice([SNARE, SNARE, SNARE, STICK]))
    fill_every = int(rng.choice([4, 8]))
    rows = []
    for bar in range(bars):
        fill = (bar + 1) % fill_every == 0
        hits = [(at, KICK) for at in kicks] + [(at, back) for at in snares]
        hits += [(at, OPEN_HAT if at == 14 and rng.random() < 0.3 else cymbal) for at in range(0, 16, step)]
        hits += [(int(at), KICK if rng.random() < 0.5 else back) for at in rng.integers(0, 16, rng.integers(0, 3))]
        if fill:
            hits = [hit for hit in hits if hit[0] < 12]
            hits += [(at, int(rng.choice([SNARE, *TOMS]))) for at in range(12, 16)]
        if bar % fill_every == 0:
            hits.append((0, CRASH))
        rows += [(bar * BEATS + at / 4, 0.2, pitch) for at, pitch in set(hits)]
    return notes_array(rows)


def bass(rng: np.random.Generator, chords: list[tuple[int, int]]) -> np.ndarray:
    """Return a bass line: roots and fifths in one of three rhythms, with steps into the next bar."""
    rhythm = [(0, 2), (2, 2)] if rng.random() < 0.3 else [(at / 2, 0.5) for at in range(8)]
    if rng.random() < 0.4:
        rhythm = [(0, 1.5), (1.5, 0.5), (2, 1), (3, 1)]
    rows = []
    for bar, chord in enumerate(chords):
        root, third, fifth = (near(pitch, 38) for pitch in triad(chord))
        for i, (at, length) in enumerate(rhythm):
            pitch = root if i == 0 or rng.random() < 0.6 else int(rng.choice([third, fifth, root + 12]))
            rows.append((bar * BEATS + at, length, pitch))
    return notes_array(rows)


def comp(rng: np.random.Generator, chords: list[tuple[int, int]]) -> np.ndarray:
    """Return chords struck in the same rhythm in every bar."""
    onsets = sorted(rng.choice(8, size=int(rng.integers(2, 6)), replace=False) / 2)
    lengths = np.diff([*onsets, BEATS])
    spread = rng.uniform(0, 0.04)
    return notes_array([(bar * BEATS + at + i * spread, length, near(pitch, 60 + 2 * i))
                        for bar, chord in enumerate(chords) for at, length in zip(onsets, lengths, strict=True)
                        for i, pitch in enumerate(triad(chord))])


def arpeggio(rng: np.random.Generator, chords: list[tuple[int, int]]) -> np.ndarray:
    """Return broken chords in eighths or sixteenths."""
    step = float(rng.choice([0.25, 0.5, 0.5]))
    order = rng.permutation([0, 1, 2, 3, 2, 1])
    rows = []
    for bar, chord in enumerate(chords):
        tones = [near(pitch, 64) for pitch in triad(chord)]
        tones = sorted(tones) + [min(tones) + 12]
        rows += [(bar * BEATS + i * step, step, tones[order[i % len(order)]]) for i in range(int(BEATS / step))]
    return notes_array(rows)


def pad(rng: np.random.Generator, chords: list[tuple[int, int]]) -> np.ndarray:
    """Return held chords, one to three voices."""
    voices = int(rng.integers(1, 4))
    return notes_array([(bar * BEATS, BEATS, near(pitch, 62)) for bar, chord in enumerate(chords)
                        for pitch in triad(chord)[:voices]])


def lead(rng: np.random.Generator, chords: list[tuple[int, int]]) -> np.ndarray:
    """Return a melody: a walk over the scale that lands on tones of the chord, with rests."""
    rows, pitch = [], 72.0
    key, minor = chords[0]
    scale = [(key + step) % 12 for step in SCALE["minor" if minor else "major"]]
    for bar, chord in enumerate(chords):
        at = 0.0
        while at < BEATS:
            length = min(float(rng.choice([0.5, 0.5, 1.0, 1.0, 1.5, 2.0])), BEATS - at)
            classes = triad(chord) if at in (0.0, 2.0) else scale
            pitch = near(int(rng.choice(classes)), np.clip(pitch + rng.normal(0, 3), 62, 82))
            if rng.random() > 0.15:
                rows.append((bar * BEATS + at, length, pitch))
            at += length
    return notes_array(rows)


def band(rng: np.random.Generator, bars: int, tune: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return three to six parts by role: always drums and bass, then a random choice; a tune becomes the lead.

    Shape:
        Each part: [notes, 4]: onset and duration in quarters, pitch, 0.
    """
    chords = harmonise(tune, bars) if tune is not None else random_chords(rng, bars)
    parts = {"drums": drums(rng, bars), "bass": bass(rng, chords)}
    makers = {"comp": comp, "arpeggio": arpeggio, "pad": pad, "lead": lead}
    count = int(rng.integers(1, 5))
    roles = list(rng.choice(list(makers), size=count, replace=False))
    if tune is not None and "lead" not in roles:
        roles[0] = "lead"
    for role in roles:
        if role == "lead" and tune is not None:
            parts["lead"] = tune[tune[:, 0] < bars * BEATS]
        else:
            parts[role] = makers[role](rng, chords)
    return parts
