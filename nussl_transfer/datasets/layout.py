"""Which way round a folder of stems is: a folder for each track, or a folder for each stem.

The two are each other's transpose, so structure alone cannot always tell; names can. In this order: a folder
called mix (stem-major) or files called mixture (track-major); the names that the user's groups use, else
names of instruments and voices, on one side and not on the other; a vocabulary of file names much smaller
than the number of folders, which it comes back in (track-major), or the reverse (stem-major). What is left is
a question to the user.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .folders import MIXTURES, AudioFolder, LayoutError, few, is_reserved
from .labels import group_of, normalise, without_number

LAYOUTS = ("track-major", "stem-major", "pool")
STEM_WORDS = frozenset(
    "accordion acoustic alto altos altus backing banjo baritone bass basses basson bassoon bassus bells "
    "brass cantus cello cellos celesta choir chorus clap clarinet claps clav congas cornet cymbal cymbals "
    "drum drums dulcimer fiddle flute fx glockenspiel guitar guitars harmonica harp harpsichord hat hats "
    "hihat horn horns keyboard keyboards keys kick lead mandolin marimba mezzo oboe organ other others "
    "overhead overheads pad pads perc percussion piano piccolo rhodes sax saxophone snare soprano sopranos "
    "speech strings sub sxf synth synths tambourine tenor tenors timpani tom toms trombone trumpet tuba "
    "tubular ukulele vibraphone viola violas violin violins violoncello vocal vocals voice "
    "voices vox whistle winds woodwind woodwinds xylophone".split()
)


def choose_layout(folder: Path, units: Sequence[AudioFolder], members: Mapping[str, str]) -> str:
    """Returns 'track-major', 'stem-major' or 'pool'.

    Args:
        folder: The data set, for the message.
        units: Its folders of audio.
        members: Names that the user's groups ask for: they are names of stems.

    Raises:
        LayoutError: Names and counts do not tell.
    """
    folders = Counter(normalise(unit.place.name) for unit in units)
    files = Counter(normalise(path.stem) for unit in units for path in unit.files)
    # How often a file name comes back: near 1, the folders have nothing in common.
    names = {name: count for name, count in files.items() if not is_reserved(name)}
    come_back = sum(names.values()) / max(1, len(names))
    stem_major = "stem-major" if come_back >= 1.5 else "pool"
    if len(folders) == 1:
        return "track-major"
    if any(name in MIXTURES for name in folders):
        return stem_major
    if any(name in MIXTURES for name in files):
        return "track-major"
    # A group may well leave out most stems: one name found is enough. Words are in titles too: half must fit.
    asked = [_share(these, lambda name: group_of(name, members) is not None) for these in (names, folders)]
    worded = [_share(these, has_stem_word) for these in (names, folders)]
    for (inside, outside), enough in ((asked, 1e-9), (worded, 0.5)):
        if inside >= enough > outside:
            return "track-major"
        if outside >= enough > inside:
            return stem_major
    prefixed = any(normalise(path.stem).startswith(normalise(unit.place.name)) for unit in units for path in unit.files)
    if not prefixed and come_back >= 1.5 and 2 * len(names) <= len(folders):
        return "track-major"
    if not prefixed and 2 * len(folders) <= len(names):
        return stem_major
    raise LayoutError(
        f"Stems were looked for in {folder}: folders such as {few(folders)} hold files such as {few(names)}, "
        "and which of them name the stems is not clear. If each folder is one track, say "
        "layout='track-major'; if each folder is one stem, say layout='stem-major' (the same file name in "
        "each is one track) or layout='pool' (files that do not belong together)."
    )


def _share(names: Mapping[str, int], is_stem: Callable[[str], bool]) -> float:
    """Returns which share of the names, weighted by how often they occur, names a stem."""
    return sum(count for name, count in names.items() if is_stem(name)) / max(1, sum(names.values()))


def has_stem_word(name: str) -> bool:
    """Tells whether a normalised name has a word for an instrument or a voice in it."""
    return any(without_number(word) in STEM_WORDS for word in name.split("_"))
