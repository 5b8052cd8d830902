"""Render a stand-in for Remixpacks: the snare, kick drum, cymbals and toms of a drum kit, in its author's layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nussl_transfer.errors import ConfigError

from .bands import KICK, SNARE, STICK, TOMS
from .finished import begin, is_finished
from .making import fonts_of, make_tracks, sixteen_bit, sizes, write_about, write_sound
from .songs import compose
from .studio import draw_band, draw_room, in_room, length_of, levelled, panned, perform_role, play_role
from .synth import RATE

TREE, PACKS, LINKS = "RemixPacks", "original_files", "symlinks_to_files/fine/Pure"
USUAL_SECONDS = 240.0
MOST_PACKS = 999
# Folder of a label -> name of the file in a pack, General MIDI percussion notes (None: all others).
PIECES = {"Kick_Drum": ("Kick", (KICK,)), "Snare": ("Snare", (SNARE, STICK)), "Toms": ("Toms", TOMS),
          "Cymbals": ("Cymbals", None)}
NAMED = {note for _, notes in PIECES.values() for note in notes or ()}
FIRST = ("Amber", "Broken", "Copper", "Distant", "Electric", "Falling", "Golden", "Hollow", "Iron", "Midnight",
         "Northern", "Paper", "Quiet", "Silver", "Velvet", "Winter")
SECOND = ("Avenue", "Bridges", "Circles", "Daylight", "Echoes", "Fires", "Gardens", "Harbour", "Letters", "Mirrors",
          "Oceans", "Rivers", "Shadows", "Signals", "Towers", "Windows")
SOURCES = "Randomly generated drum patterns on the drum kits of General MIDI; songs and artists are invented."
DIFFERENCES = """\
* Remixpacks are parts of commercial recordings; here a program plays a kit's kick drum, snare, toms and cymbals (hi-hats,
  ride and crash) one by one.
* Every pack has the same four files, equally long and in time with each other. Only the folder fine/Pure exists.
* Its files are links into `original_files`, so copy the whole tree."""


@dataclass(frozen=True)
class Plan:
    """The plan of one pack."""

    name: str
    seconds: float
    seed: tuple[int, int]
    soundfonts: tuple[str, ...]
    folder: str


def render_remixpacks(out: str | Path, tracks: int | None = None, minutes: float | None = None, seed: int = 0,
                      soundfont: str | list[str] | None = None, workers: int = 2) -> Path:
    """Render a stand-in for Remixpacks; return its tree, <out>/RemixPacks.

    Each pack has the kick drum, snare, toms and cymbals of a song (where it has them) as 16-bit stereo WAV files at 44.1
    kHz in `original_files`. The folders of the labels hold links to them, with names in the style of the data set's author.
    A finished corpus is not rendered again; an interrupted one resumes.

    Args:
        out: Folder of the corpus.
        tracks: Number of packs; None makes packs of four minutes that last `minutes` together.
        minutes: Minutes of music in all packs together; None makes packs of four minutes.
        seed: Seed of every random choice.
        soundfont: Path of a General MIDI soundfont, or several to draw from for each pack; by default all installed ones.
        workers: Number of processes.

    Raises:
        ConfigError: An option is wrong, or the folder holds other files or a finished corpus made with other options.
    """
    out = Path(out)
    count, seconds = sizes(tracks, minutes, USUAL_SECONDS)
    if count > MOST_PACKS:
        raise ConfigError(f"There are too many packs: got {count}, expected at most {MOST_PACKS}. Give fewer tracks or "
                          "minutes.")
    fonts = fonts_of(soundfont)
    request = {"kind": "remixpacks", "tracks": count, "seconds": seconds, "seed": seed,
               "soundfonts": [Path(font).name for font in fonts]}
    tree = out / TREE
    if is_finished(out, request):
        return tree
    done = begin(out, request)
    write_about(tree, "Remixpacks", SOURCES, request, DIFFERENCES)
    rng = np.random.default_rng([seed, count])
    words = rng.permutation(len(FIRST) * len(SECOND))
    packs = []
    for index in range(count):
        title, artist = (divmod(int(words[(index + shift) % len(words)]), len(SECOND)) for shift in (0, 101))
        name = f"The {FIRST[artist[0]]} {SECOND[artist[1]]} {index + 1:03d} - {FIRST[title[0]]} {SECOND[title[1]]} (Stems)"
        packs.append(Plan(name, seconds * rng.uniform(0.8, 1.2), (seed, index), fonts, str(tree)))
    make_tracks(out, request, done, packs, render_pack, workers)
    return tree


def render_pack(plan: Plan) -> dict:
    """Write the files of a pack and the links to them; return its entry for the progress file."""
    rng = np.random.default_rng([*plan.seed, 1])
    song = compose(rng, plan.seconds, ["drums"])
    kit, seconds, room = draw_band(["drums"], rng)["drums"], length_of(song), draw_room(rng)
    notes = perform_role("drums", song, kit, rng)
    made = []
    for label, (file, wanted) in PIECES.items():
        mine = notes[np.isin(notes[:, 2], wanted) if wanted else ~np.isin(notes[:, 2], list(NAMED))]
        if not len(mine):
            continue
        audio, _ = play_role(mine, kit, True, seconds, plan.soundfonts, rng)
        stereo = in_room(panned(levelled(audio, "drums", rng), rng.uniform(-0.3, 0.3)), room)
        whole, _ = sixteen_bit({label: stereo})
        path = Path(plan.folder) / PACKS / plan.name / f"{file}.wav"
        write_sound(path, whole[label], RATE)
        link(Path(plan.folder) / LINKS / label / f"{plan.name} {file}(symlink).wav", path)
        made.append(label)
    return {"seconds": round(seconds * RATE) / RATE, "form": song.form, "bpm": round(song.bpm), "kit": kit, "labels": made}


def link(path: Path, target: Path) -> None:
    """Make a relative link, which stays valid when the whole tree is moved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent))
