"""Choose scores for the stand-in corpora, and read them as arrays of notes.

The scores come with music21. `BACH10_WORKS` lists all harmonisations of the melodies in the real Bach10; `DEMO_TRAIN` and
`DEMO_TEST` list the chorales of its stand-in. The body must not be pretrained on any of these works, nor on another
harmonisation of their melodies: `body_scores` and `ensembles.read_material` leave them out.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nussl_transfer.runtime.files import written_aside

from .processes import in_order

SCORES = "scores.json"  # file in which parsed scores are cached

# The ten melodies of Bach10, in its order, with the BWV numbers of all their harmonisations in music21's corpus.
BACH10_WORKS: dict[str, tuple[str, ...]] = {
    "Ach Gott und Herr": ("bwv255", "bwv48.3"),
    "Ach lieben Christen, seid getrost": ("bwv256", "bwv114.7", "bwv257", "bwv258", "bwv178.7"),
    "Christe, der du bist Tag und Licht": ("bwv274", "bwv62.6"),  # music21's bwv62.6 has this tune under another title
    "Christe, du Beistand deiner Kreuzgemeine": ("bwv275",),
    "Die Nacht ist kommen": ("bwv296",),
    "Die Sonn hat sich mit ihrem Glanz gewendet": ("bwv297",),
    "Herr Gott, dich loben alle wir": ("bwv326", "bwv130.6", "bwv328"),
    "Vor deinen Thron tret ich hiermit": ("bwv327",),
    "Jesus, meine Zuversicht": ("bwv365", "bwv145-a"),
    "Nun bitten wir den heiligen Geist": ("bwv385", "bwv169.7", "bwv197.5"),
}
# Other titles of those melodies.
BACH10_OTHER_TITLES = ("Für deinen Thron tret ich hiermit", "Wo Gott der Herr nicht bei uns hält",
                       "Herr Gott, dich loben wir")

# The stand-in for Bach10: (title, work), 01 to 10 in each tree. No melody occurs twice.
DEMO_TRAIN = (
    ("AchBleibBeiUns", "bwv253"), ("ChristusDerIstMeinLeben", "bwv281"), ("WoGottZumHaus", "bwv438"),
    ("StrafMichNicht", "bwv115.6"), ("HerrIchHabeMissgehandelt", "bwv330"), ("DasWaltMeinGott", "bwv291"),
    ("NichtSoTraurig", "bwv384"), ("IchHabMeinSach", "bwv351"), ("AufAufMeinHerz", "bwv268"),
    ("IchFreueMichInDir", "bwv133.6"),
)
DEMO_TEST = (
    ("WasBistDuDochOSeele", "bwv424"), ("DerDuBistDreiInEinigkeit", "bwv293"), ("OTraurigkeit", "bwv404"),
    ("MeinenJesumLassIchNicht", "bwv379"), ("JesusChristusUnserHeiland", "bwv363"), ("SchautIhrSuender", "bwv408"),
    ("ErstandenIstDerHeilgeChrist", "bwv306"), ("EsStehnVorGottesThrone", "bwv309"),
    ("GottesSohnIstKommen", "bwv318"), ("IstGottMeinSchild", "bwv85.6"),
)

# Folders of music21's corpus for pretraining. Palestrina is left out because of its licence ("rights to all
# derivative electronic formats reserved"); `tune_scores` reads the collections of tunes.
BODY_FOLDERS = ("bach", "beethoven", "corelli", "haydn", "monteverdi", "mozart", "schumann_clara",
                "schumann_robert", "trecento", "weber", "beach", "lusitano", "luca")
PACKED = {".mxl": 10}  # approximate compression ratio
MELODY_NOTES = 14
MELODY_DISTANCE = 3


def plain(title: str) -> str:
    """Return a title in lower-case letters a to z only, without umlauts, punctuation and spaces."""
    title = title.lower().replace("ß", "ss").replace("ä", "a").replace("ö", "o").replace("ü", "u")
    letters = unicodedata.normalize("NFKD", title)
    return "".join(c for c in letters if "a" <= c <= "z")


def chorale_titles() -> dict[str, str]:
    """Return work -> title for the chorales in music21's own list (by Riemenschneider's numbers)."""
    from music21 import corpus

    listed = corpus.chorales.ChoraleListRKBWV().byRiemenschneider.values()
    return {f"bwv{entry['bwv']}": entry["title"] for entry in listed}


def tested_works() -> frozenset[str]:
    """Return the names of all works that a test plays, and of all works with the same titles."""
    works = {work for group in BACH10_WORKS.values() for work in group}
    works |= {work for _, work in DEMO_TRAIN + DEMO_TEST}
    titles = chorale_titles()
    forbidden = {plain(title) for title in (*BACH10_WORKS, *BACH10_OTHER_TITLES)}
    forbidden |= {plain(titles[work]) for work in works if work in titles}
    works |= {work for work, title in titles.items()
              if any(plain(title).startswith(f) or f.startswith(plain(title)) for f in forbidden)}
    return frozenset(works)


def score_paths(folders: Iterable[str], suffixes: Iterable[str], largest: int = 700_000) -> dict[str, Path]:
    """Return name -> file of the scores in some folders of music21's corpus, sorted, up to `largest` bytes of XML.

    A few quartets by Beethoven and Schumann are larger; music21 takes a minute to read each.
    """
    from music21 import common

    root = Path(common.getCorpusFilePath())
    found = {}
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in suffixes and path.stat().st_size * PACKED.get(path.suffix, 1) <= largest:
                found[path.relative_to(root).with_suffix("").as_posix()] = path
    return found


def body_scores() -> dict[str, Path]:
    """Return name -> file of the scores in parts for pretraining, without those that a test plays."""
    forbidden = tested_works()
    paths = score_paths(BODY_FOLDERS, (".mxl", ".xml", ".musicxml"))
    return {name: path for name, path in paths.items() if not is_work(name, forbidden)}


def tune_scores(step: int = 3) -> dict[str, Path]:
    """Return name -> file of every `step`-th fiddle tune of Ryan's Mammoth Collection (1883), for the bands."""
    paths = score_paths(("ryansMammoth",), (".abc",))
    return dict(list(paths.items())[::step])


def is_work(name: str, works: Iterable[str]) -> bool:
    """Return whether a corpus name such as 'bach/bwv255' or 'bach/bwv18.5-w' is one of the works."""
    if not name.startswith("bach/"):
        return False
    stem = name.split("/")[-1]
    return any(stem == work or stem.startswith(f"{work}-") for work in works)


def work_path(work: str) -> Path:
    """Return the file of one of Bach's chorales in music21's corpus."""
    return score_paths(("bach",), (".mxl", ".xml"))[f"bach/{work}"]


def read_score(path: Path) -> list[np.ndarray]:
    """Return the parts of a score, top first, without repeats and grace notes.

    Shape:
        Each part: [notes, 4] float32: onset and duration in quarter notes, MIDI pitch (sounding), 1 at a fermata.
    """
    from music21 import converter, expressions

    score = converter.parse(path, forceSource=True, storePickle=False)
    parts = []
    for part in list(score.parts) or [score]:
        rows = []
        for element in part.stripTies().flatten().notes:
            if element.duration.isGrace or not element.pitches or element.quarterLength <= 0:
                continue
            held = any(isinstance(mark, expressions.Fermata) for mark in element.expressions)
            rows += [(float(element.offset), float(element.quarterLength), pitch.midi, float(held))
                     for pitch in element.pitches]
        if rows:
            parts.append(np.array(sorted(rows), dtype=np.float32))
    return parts


def load_scores(paths: dict[str, Path], cache: Path, workers: int = 1) -> dict[str, list[np.ndarray]]:
    """Return name -> parts; parse only scores missing from the cache file, and leave out those that cannot be read.

    music21 takes 0.05 to 2 s a score, so the cache lets the second rendering start at once. It is written every hundred
    scores, so that an interrupted run resumes.
    """
    known = json.loads(cache.read_text()) if cache.exists() else {}
    missing = {name: path for name, path in paths.items() if name not in known}
    parsed = in_order(read_or_nothing, missing.values(), workers if len(missing) > 20 else 1)
    bar = tqdm(parsed, "reading scores", len(missing), disable=len(missing) < 20)
    for count, (name, (_, parts)) in enumerate(zip(missing, bar, strict=True), start=1):
        known[name] = parts
        if count % 100 == 0 or count == len(missing):
            with written_aside(cache) as aside:
                aside.write_text(json.dumps(known))
    return {name: [np.array(part, dtype=np.float32) for part in known[name]] for name in paths if known[name]}


def read_or_nothing(path: Path) -> list[list]:
    """Return the parts of a score, or none where music21 cannot parse the file."""
    from xml.etree.ElementTree import ParseError

    from music21.exceptions21 import Music21Exception

    try:
        return [part.tolist() for part in read_score(path)]
    except (Music21Exception, ParseError, ValueError, TypeError, AttributeError, IndexError, KeyError, ZeroDivisionError):
        return []  # a few of a thousand tunes have broken bars


def melody(parts: list[np.ndarray]) -> np.ndarray:
    """Return the tune's fingerprint: the first steps of the top part in semitones, with repeated notes merged."""
    pitches = parts[0][:, 2]
    pitches = pitches[np.concatenate([[True], np.diff(pitches) != 0])]
    return np.diff(pitches)[:MELODY_NOTES]


def same_melody(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two fingerprints are the same tune, apart from a passing note or two (edit distance at most 3)."""
    if sum((Counter(one.tolist()) - Counter(other.tolist())).values()) > MELODY_DISTANCE:
        return False  # a lower bound of the edit distance, which avoids most of the work below
    row = np.arange(len(other) + 1)
    for i, step in enumerate(one, start=1):
        before, row = row, np.empty_like(row)
        row[0] = i
        for j, other_step in enumerate(other, start=1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (step != other_step))
    return int(row[-1]) <= MELODY_DISTANCE
