"""Fake trees with the real names, and the defects that real trees have: a second or so of audio in each file.

One module a data set; ``TREES`` builds the tree of each for the tests that hold for all.
"""

from __future__ import annotations

from .bach10 import BACH10_PARTS, BACH10_PIECES, bach10
from .choirset import ALL_CHOIRSET_TAKES, CHOIRSET_OTHERS, CHOIRSET_RATE, CHOIRSET_TAKES, choirset, microphones
from .folders import STEMS, pool, stem_audio, stem_major, track_major
from .sound import FORMATS, RATE, tone, write

__all__ = [
    "ALL_CHOIRSET_TAKES",
    "BACH10_PARTS",
    "BACH10_PIECES",
    "CHOIRSET_OTHERS",
    "CHOIRSET_RATE",
    "CHOIRSET_TAKES",
    "FORMATS",
    "RATE",
    "STEMS",
    "TREES",
    "bach10",
    "choirset",
    "microphones",
    "pool",
    "stem_audio",
    "stem_major",
    "tone",
    "track_major",
    "write",
]

# data set -> what builds its tree and returns the folder to open: one for every data set there is.
TREES = {"Bach10": bach10, "ChoirSet": choirset, "StemFolder": track_major}
