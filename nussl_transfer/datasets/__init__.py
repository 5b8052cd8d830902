"""Read data sets as tracks of stems, ``{label: [files to sum]}``, and as nussl hooks; one module per data set."""

from .bach10 import Bach10
from .base import StemDataset
from .choirset import DagstuhlChoirSet
from .musdb18 import MUSDB18
from .options import StemOptions
from .remixpacks import Remixpacks
from .slakh import Slakh
from .stem_folder import StemFolder
from .stem_list import StemList
from .tracks import Track

__all__ = [
    "Bach10",
    "DagstuhlChoirSet",
    "MUSDB18",
    "Remixpacks",
    "Slakh",
    "StemDataset",
    "StemFolder",
    "StemList",
    "StemOptions",
    "Track",
]
