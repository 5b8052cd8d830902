"""Render a stand-in for MUSDB18-HQ: generated songs of a band and a voice, with the data set's folders and names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nussl_transfer.datasets.musdb18 import TRACKS, VALIDATION
from nussl_transfer.errors import ConfigError

from .finished import begin, is_finished
from .making import fonts_of, make_tracks, sixteen_bit, sizes, write_about, write_sound
from .scores import read_or_nothing, tune_scores
from .songs import compose
from .studio import draw_band, draw_room, in_room, length_of, levelled, panned, perform_role, play_role, sing_role
from .synth import RATE

TREE = "musdb18hq"
USUAL_SECONDS = 236.0
TUNE_SHARE = 0.3
# As in the data set: 50 of 150 songs are for the test, and 14 of the other 100 for validation.
TEST_SHARE, VALID_SHARE = 1 / 3, 14 / 150
STEM_OF = {"drums": "drums", "bass": "bass", "vocals": "vocals", "backing": "vocals"}  # every other role: other
PANS = {"drums": 0.0, "bass": 0.0, "vocals": 0.0}
SOURCES = ("Randomly generated parts for drums, bass, guitar, piano and more; about one song in three has a tune of Ryan's "
           "Mammoth Collection (1883) from the corpus of music21. Vocals are a melody on the programs Choir Aahs, Voice "
           "Oohs and Synth Voice, with vibrato and swells: nobody sings, and there are no words.")
DIFFERENCES = """\
* Songs have the names of the data set's songs, so that programs recognise it and its usual split applies. They contain
  nothing of those songs.
* The mixture is exactly the sum of the stems: no compressor, no mastering.
* Stems are rendered one by one: no bleed. Levels are similar in all songs."""


@dataclass(frozen=True)
class Plan:
    """The plan of one song."""

    name: str
    subset: str
    seconds: float
    seed: tuple[int, int]
    tune: Path | None
    soundfonts: tuple[str, ...]
    folder: str


def render_musdb18(out: str | Path, tracks: int | None = None, minutes: float | None = None, seed: int = 0,
                   soundfont: str | list[str] | None = None, workers: int = 2) -> Path:
    """Render a stand-in for MUSDB18-HQ; return its tree, <out>/musdb18hq.

    Each song has verses, choruses and solos, with its own key, tempo and patterns. Its files are mixture, drums, bass,
    other and vocals, stereo at 44.1 kHz. A finished corpus is not rendered again; an interrupted one resumes.

    Args:
        out: Folder of the corpus.
        tracks: Number of songs, at most 150; None makes songs of about four minutes that last `minutes` together.
        minutes: Minutes of music in all songs together; None makes songs of about four minutes.
        seed: Seed of every random choice.
        soundfont: Path of a General MIDI soundfont, or several to draw from for each part; by default all installed ones.
        workers: Number of processes.

    Raises:
        ConfigError: An option is wrong, or the folder holds other files or a finished corpus made with other options.
    """
    out = Path(out)
    count, seconds = sizes(tracks, minutes, USUAL_SECONDS)
    if count > len(TRACKS):
        raise ConfigError(f"There are too many songs: got {count}, but MUSDB18 has names for {len(TRACKS)}. Give fewer "
                          "tracks or minutes.")
    fonts = fonts_of(soundfont)
    request = {"kind": "musdb18", "tracks": count, "seconds": seconds, "seed": seed,
               "soundfonts": [Path(font).name for font in fonts]}
    tree = out / TREE
    if is_finished(out, request):
        return tree
    done = begin(out, request)
    write_about(tree, "MUSDB18-HQ", SOURCES, request, DIFFERENCES)
    make_tracks(out, request, done, plan_songs(count, seconds, seed, fonts, tree), render_song, workers)
    return tree


def plan_songs(count: int, seconds: float, seed: int, fonts: tuple[str, ...], tree: Path) -> list[Plan]:
    """Return the songs: one in three for the test, one of three or more for validation. No two songs share a tune."""
    rng = np.random.default_rng([seed, count])
    tests = min(count - 1, max(round(count * TEST_SHARE), 1))
    valids = max(round(count * VALID_SHARE), 1) if count > 2 else 0
    names = sorted(TRACKS - VALIDATION)
    names = [names[i] for i in rng.permutation(len(names))]
    valid = [sorted(VALIDATION)[i] for i in rng.permutation(len(VALIDATION))[:valids]]
    chosen = [*((name, "test") for name in names[:tests]), *((name, "train") for name in valid),
              *((name, "train") for name in names[tests : count - valids])]
    tunes = list(tune_scores().values())
    tunes = [tunes[i] for i in rng.permutation(len(tunes))]
    return [Plan(name, subset, seconds * rng.uniform(0.8, 1.2), (seed, index),
                 tunes[index] if rng.random() < TUNE_SHARE else None, fonts, str(tree / subset / name))
            for index, (name, subset) in enumerate(chosen)]


def render_song(plan: Plan) -> dict:
    """Write the mixture and the four stems of a song; return its entry for the progress file."""
    rng = np.random.default_rng([*plan.seed, 1])
    tune = next(iter(read_or_nothing(plan.tune)), None) if plan.tune else None
    more = [role for role in ("pad", "arpeggio", "lead", "backing") if rng.random() < 0.6]
    roles = ["drums", "bass", "guitar", "piano", "vocals", *more]
    song = compose(rng, plan.seconds, roles, None if tune is None else np.array(tune, dtype=np.float32))
    band, voice, seconds, room = draw_band(roles, rng), str(rng.choice(list("SATB"))), length_of(song), draw_room(rng)
    stems = {stem: np.zeros((round(seconds * RATE), 2), dtype=np.float32) for stem in ("bass", "drums", "other", "vocals")}
    for role in roles:
        if role in band:
            notes = perform_role(role, song, band[role], rng)
            audio, _ = play_role(notes, band[role], role == "drums", seconds, plan.soundfonts, rng)
        else:
            audio = sing_role(song, role, voice, seconds, plan.soundfonts, rng)
        pan = PANS.get(role, rng.uniform(-0.7, 0.7))
        stems[STEM_OF.get(role, "other")] += panned(levelled(audio, role, rng), pan)
    whole, mixture = sixteen_bit({stem: in_room(audio, room) for stem, audio in stems.items()})
    for stem, audio in (*whole.items(), ("mixture", mixture)):
        write_sound(Path(plan.folder) / f"{stem}.wav", audio, RATE)
    return {"seconds": len(mixture) / RATE, "form": song.form, "bpm": round(song.bpm), "programs": band,
            "tune": plan.tune.stem if plan.tune and "S" in song.form else None}
