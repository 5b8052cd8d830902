"""List the General MIDI programs that the body is pretrained on: names, ranges, families and ensembles."""

from __future__ import annotations

# program (0-127): (label, lowest note, highest note, family). In its range, a program sounds like the instrument.
# Left out: sound effects (120-127), near duplicates of a listed program, and sweeping pads (they have no clear pitch).
PROGRAMS: dict[int, tuple[str, int, int, str]] = {
    0: ("grand-piano", 28, 96, "keys"), 2: ("electric-grand", 28, 96, "keys"), 3: ("honky-tonk-piano", 36, 96, "keys"),
    4: ("electric-piano-1", 33, 96, "keys"), 5: ("electric-piano-2", 33, 96, "keys"),
    6: ("harpsichord", 36, 89, "keys"), 7: ("clavinet", 36, 84, "keys"),
    8: ("celesta", 60, 103, "mallets"), 9: ("glockenspiel", 72, 103, "mallets"), 10: ("music-box", 60, 98, "mallets"),
    11: ("vibraphone", 53, 89, "mallets"), 12: ("marimba", 45, 93, "mallets"), 13: ("xylophone", 60, 103, "mallets"),
    14: ("tubular-bells", 55, 79, "mallets"), 15: ("dulcimer", 48, 86, "plucked"),
    16: ("drawbar-organ", 36, 93, "organ"), 17: ("percussive-organ", 36, 93, "organ"),
    18: ("rock-organ", 36, 93, "organ"), 19: ("church-organ", 36, 96, "organ"), 20: ("reed-organ", 36, 89, "organ"),
    21: ("accordion", 48, 89, "organ"), 22: ("harmonica", 55, 88, "organ"),
    24: ("nylon-guitar", 40, 83, "plucked"), 25: ("steel-guitar", 40, 83, "plucked"),
    26: ("jazz-guitar", 40, 83, "plucked"), 27: ("clean-guitar", 40, 83, "plucked"),
    28: ("muted-guitar", 40, 76, "plucked"), 29: ("overdriven-guitar", 40, 83, "plucked"),
    30: ("distortion-guitar", 40, 83, "plucked"),
    32: ("acoustic-bass", 28, 55, "bass"), 33: ("fingered-bass", 28, 55, "bass"), 34: ("picked-bass", 28, 55, "bass"),
    35: ("fretless-bass", 28, 58, "bass"), 36: ("slap-bass", 28, 55, "bass"), 38: ("synth-bass", 28, 55, "bass"),
    40: ("violin", 55, 96, "strings"), 41: ("viola", 48, 84, "strings"), 42: ("cello", 36, 72, "strings"),
    43: ("contrabass", 28, 55, "strings"), 44: ("tremolo-strings", 40, 88, "strings"),
    45: ("pizzicato-strings", 36, 88, "plucked"), 46: ("harp", 28, 96, "plucked"), 47: ("timpani", 36, 57, "percussion"),
    48: ("string-ensemble", 36, 91, "strings"), 50: ("synth-strings", 36, 91, "strings"),
    52: ("choir-aahs", 43, 81, "choir"), 53: ("voice-oohs", 43, 81, "choir"), 54: ("synth-voice", 43, 81, "choir"),
    56: ("trumpet", 54, 86, "brass"), 57: ("trombone", 40, 72, "brass"), 58: ("tuba", 28, 58, "brass"),
    59: ("muted-trumpet", 54, 84, "brass"), 60: ("french-horn", 41, 77, "brass"), 61: ("brass-section", 40, 84, "brass"),
    62: ("synth-brass", 36, 84, "brass"),
    64: ("soprano-sax", 56, 87, "winds"), 65: ("alto-sax", 49, 80, "winds"), 66: ("tenor-sax", 44, 75, "winds"),
    67: ("baritone-sax", 36, 68, "winds"), 68: ("oboe", 58, 91, "winds"), 69: ("english-horn", 52, 81, "winds"),
    70: ("bassoon", 34, 72, "winds"), 71: ("clarinet", 50, 91, "winds"), 72: ("piccolo", 74, 103, "winds"),
    73: ("flute", 60, 96, "winds"), 74: ("recorder", 60, 96, "winds"), 75: ("pan-flute", 60, 96, "winds"),
    76: ("blown-bottle", 60, 96, "winds"), 77: ("shakuhachi", 55, 84, "winds"), 78: ("whistle", 60, 96, "winds"),
    79: ("ocarina", 60, 84, "winds"),
    80: ("square-lead", 40, 96, "synth"), 81: ("saw-lead", 40, 96, "synth"), 82: ("calliope-lead", 48, 96, "synth"),
    84: ("charang-lead", 40, 88, "synth"), 85: ("voice-lead", 43, 84, "synth"), 87: ("bass-and-lead", 28, 84, "synth"),
    89: ("warm-pad", 40, 88, "synth"), 90: ("polysynth", 40, 88, "synth"), 92: ("bowed-pad", 40, 88, "synth"),
    104: ("sitar", 48, 77, "plucked"), 105: ("banjo", 48, 86, "plucked"), 106: ("shamisen", 50, 79, "plucked"),
    107: ("koto", 48, 86, "plucked"), 108: ("kalimba", 48, 84, "mallets"), 109: ("bagpipe", 55, 79, "winds"),
    110: ("fiddle", 55, 93, "strings"), 111: ("shanai", 54, 84, "winds"), 114: ("steel-drums", 52, 84, "mallets"),
}
# Drum kits of bank 128, which every tested soundfont has: preset -> label.
KITS = {0: "drums-standard", 8: "drums-room", 16: "drums-power", 24: "drums-electronic", 25: "drums-808",
        32: "drums-jazz", 40: "drums-brush"}

# Families of an ensemble, with their weights; `None` draws each part from all programs.
ENSEMBLES: tuple[tuple[str, tuple[str, ...] | None, float], ...] = (
    ("random", None, 6.0), ("strings", ("strings",), 1.0), ("winds", ("winds",), 2.0), ("brass", ("brass",), 1.0),
    ("chamber", ("strings", "winds", "brass"), 3.0), ("keys", ("keys", "organ"), 1.0),
    ("plucked", ("plucked",), 1.0), ("mallets", ("mallets", "keys"), 0.7), ("organ", ("organ", "choir"), 0.7),
    ("choir", ("choir", "organ", "strings"), 0.7), ("synth", ("synth", "bass", "keys"), 0.7),
)
BAND = {"bass": ("bass",), "comp": ("keys", "plucked", "organ"), "arpeggio": ("plucked", "keys", "mallets", "synth"),
        "pad": ("strings", "choir", "synth", "organ", "brass"), "lead": ("winds", "brass", "strings", "synth", "plucked")}


def programs_of(families: tuple[str, ...] | None) -> list[int]:
    """Return the programs of the given families, or all programs for None."""
    return [number for number, entry in PROGRAMS.items() if families is None or entry[3] in families]


# Families of instruments that a pretrained model distinguishes, in the order of its masks.
FAMILIES = (
    "bass",
    "bassoon",
    "bowed",
    "brass",
    "clarinet",
    "drums",
    "flute",
    "keys",
    "mallets",
    "oboe",
    "organ",
    "plucked",
    "sax",
    "synth",
    "voice",
)
_FAMILY_OF_LABEL = {"bassoon": "bassoon", "clarinet": "clarinet", "oboe": "oboe", "english-horn": "oboe", "shanai": "oboe",
                    "bagpipe": "oboe", "timpani": "drums", "saxophone": "sax"}
_FAMILY_OF_GROUP = {"strings": "bowed", "winds": "flute", "choir": "voice", "percussion": "drums"}
_GROUP_OF_LABEL = {label: group for label, _, _, group in PROGRAMS.values()}


def family_of(label: str) -> str:
    """Return the family of a label.

    >>> [family_of(label) for label in ("violin", "alto-sax", "bassoon", "drums-jazz", "choir-aahs")]
    ['bowed', 'sax', 'bassoon', 'drums', 'voice']

    Raises:
        KeyError: The label is neither in `PROGRAMS` nor in `KITS`, nor 'saxophone', as in the quartets.
    """
    if label.startswith("drums"):
        return "drums"
    if label.endswith("-sax"):
        return "sax"
    if label in _FAMILY_OF_LABEL:
        return _FAMILY_OF_LABEL[label]
    group = _GROUP_OF_LABEL[label]
    return _FAMILY_OF_GROUP.get(group, group)
