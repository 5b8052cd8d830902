"""Fake trees with the names and the defects of the real ones, and about a second of audio in each file.

One module a data set; ``TREES`` builds the tree of each for the tests that hold for all.
"""

from __future__ import annotations

from .bach10 import BACH10_PARTS, BACH10_PIECES, bach10
from .choirset import ALL_CHOIRSET_TAKES, CHOIRSET_OTHERS, CHOIRSET_RATE, CHOIRSET_TAKES, choirset, microphones
from .folders import STEMS, pool, stem_audio, stem_list, stem_major, track_major
from .musdb18 import MUSDB18_SONGS, MUSDB18_STEMS, musdb18, musdb18_containers
from .remixpacks import PACKS, remixpacks
from .slakh import SLAKH_TRACKS, slakh, slakh_metadata
from .sound import FORMATS, RATE, tone, write

__all__ = [
    "ALL_CHOIRSET_TAKES",
    "BACH10_PARTS",
    "BACH10_PIECES",
    "CHOIRSET_OTHERS",
    "CHOIRSET_RATE",
    "CHOIRSET_TAKES",
    "FORMATS",
    "MUSDB18_SONGS",
    "MUSDB18_STEMS",
    "PACKS",
    "RATE",
    "SLAKH_TRACKS",
    "STEMS",
    "TREES",
    "bach10",
    "choirset",
    "microphones",
    "musdb18",
    "musdb18_containers",
    "pool",
    "remixpacks",
    "slakh",
    "slakh_metadata",
    "stem_audio",
    "stem_list",
    "stem_major",
    "tone",
    "track_major",
    "write",
]

# data set -> function that builds its tree and returns the folder to open; every data set has one.
TREES = {
    "Bach10": bach10,
    "DagstuhlChoirSet": choirset,
    "MUSDB18": musdb18,
    "Slakh": slakh,
    "Remixpacks": remixpacks,
    "StemFolder": track_major,
    "StemList": stem_list,
}
