"""Render a stand-in for Dagstuhl ChoirSet: a soundfont's voices sing choral works, under the data set's file names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nussl_transfer.errors import ConfigError

from .choir_works import TEST, TRAIN, work_file
from .expression import beats_to_seconds, perform
from .finished import begin, is_finished
from .making import fonts_of, make_tracks, sixteen_bit, sizes, write_about, write_sound
from .rendering import colour
from .scores import SCORES, load_scores
from .synth import TAIL, active_rms
from .voices import draw_vowels, sing

CHOIR_RATE = 22_050
TREE, AUDIO = "DagstuhlChoirSet_V1.2.3", "audio_wav_22050_mono"
USUAL_SECONDS, LONGEST = 60.0, 120.0
NOTE = 0.8  # mean length of a note in seconds
EVERY_TEST = 5  # every fifth take is for the test
# The singers, and those of them with a dynamic microphone.
SETTINGS = {"QuartetA": ("S2", "A1", "T1", "B1"), "QuartetB": ("S1", "A2", "T2", "B2"),
            "FullChoir": ("S1", "S2", "A1", "A2", "T1", "T2", "B1", "B2")}
MICROPHONES = {"QuartetA": SETTINGS["QuartetA"], "QuartetB": SETTINGS["QuartetB"], "FullChoir": SETTINGS["QuartetB"]}
# The data set is split by song: Locus Iste is for training, Tebe Poem for the test.
SONGS = {"train": ("LI", ("QuartetA", "QuartetB", "FullChoir"), TRAIN), "test": ("TP", ("FullChoir", "QuartetA"), TEST)}
DYN_RMS = 0.06
FEWEST_NOTES = 4  # notes of each voice in an excerpt of a work
ROOM_PEAK = 0.7


@dataclass(frozen=True)
class Take:
    """One take: a work, its singers and its tempo."""

    name: str
    setting: str
    work: str
    parts: tuple[np.ndarray, ...]
    bpm: float
    seed: tuple[int, int, int]
    soundfonts: tuple[str, ...]
    folder: str


def render_choirset(out: str | Path, tracks: int | None = None, minutes: float | None = None, seed: int = 0,
                    soundfont: str | list[str] | None = None, workers: int = 2) -> Path:
    """Render a stand-in for Dagstuhl ChoirSet; return its tree, <out>/DagstuhlChoirSet_V1.2.3.

    Two quartets and a choir of eight sing chorales of Bach and madrigals of Monteverdi on vowels. Each take draws a new
    voice, tuning, vibrato and timing for each singer. Files have the data set's names: a dynamic microphone for each voice,
    and the room. Every take is a different work. One in five is named as the song Tebe Poem, which is in the data set's
    test split; these works share neither a score nor a melody with the others.
    A finished corpus is not rendered again; an interrupted one resumes.

    Args:
        out: Folder of the corpus.
        tracks: Number of takes; None makes as many as `minutes` needs.
        minutes: Minutes of music. With `tracks`, each take is cut to its share. A take is two minutes long at most.
        seed: Seed of every random choice.
        soundfont: Path of a General MIDI soundfont, or several to draw from for each singer; by default all installed ones.
        workers: Number of processes.

    Raises:
        ConfigError: An option is wrong, or the folder holds other files or a finished corpus made with other options.
    """
    out = Path(out)
    sizes(tracks, minutes, USUAL_SECONDS)
    fonts = fonts_of(soundfont)
    request = {"kind": "choirset", "tracks": tracks, "minutes": minutes, "seed": seed,
               "soundfonts": [Path(font).name for font in fonts]}
    tree = out / TREE
    if is_finished(out, request):
        return tree
    done = begin(out, request, keep=[SCORES])
    takes = list(plan_takes(out / SCORES, tracks, minutes, seed, fonts, tree / AUDIO, workers))
    write_about(tree, "Dagstuhl ChoirSet", "Bach's chorales and Monteverdi's third and fourth books of madrigals, from "
                "the corpus of music21, on General MIDI's programs Choir Aahs, Voice Oohs and Synth Voice. `corpus.json` "
                "in the folder above names the work of each take.", request, DIFFERENCES)
    make_tracks(out, request, done, takes, render_take, workers)
    return tree


DIFFERENCES = """\
* Every take is a different work; in the data set, all takes of a song are the same music. LI marks takes for training, TP
  takes for the test. No work and no melody is in both.
* Nobody sings words, breathes or coughs. A microphone records only its own singer and some of the room: no bleed.
* The microphones are DYN (each voice) and Stereo_STM (the room). There are no annotations, exercises or solos.
* Each take has new singers."""


def plan_takes(cache: Path, tracks: int | None, minutes: float | None, seed: int, fonts: Sequence[str], folder: Path,
               workers: int = 1) -> Iterator[Take]:
    """Yield the takes: the first is for training, the second for the test, then one in five.

    Raises:
        ConfigError: There are too few works.
    """
    longest = LONGEST if tracks is None or minutes is None else min(LONGEST, minutes * 60 / tracks)
    works = {split: works_in_order(names, cache, seed, workers) for split, (_, _, names) in SONGS.items()}
    counts = dict.fromkeys(SONGS, 0)
    index, seconds = 0, 0.0
    while index < tracks if tracks is not None else seconds < minutes * 60:
        split = "test" if index % EVERY_TEST == 1 else "train"
        song, settings, names = SONGS[split]
        work, parts = next(works[split], (None, None))
        if work is None:
            option, value = ("tracks", tracks) if tracks else ("minutes", minutes)
            raise ConfigError(f"{option} is wrong: got {value}, but take {index + 1} needs another work to {split}, and "
                              f"there are only {len(TRAIN)} to train and {len(TEST)} to test. Give a smaller number.")
        number, setting = counts[split] // len(settings) + 1, settings[counts[split] % len(settings)]
        counts[split] += 1
        mean_note = np.mean([part[:, 1].mean() for part in parts])  # Monteverdi writes notes twice as long as Bach
        bpm = float(60 * mean_note / NOTE * np.random.default_rng([seed, index, 0]).uniform(0.85, 1.2))
        cut = cut_parts(parts, longest * bpm / 60)
        seconds += max(float((part[:, 0] + part[:, 1]).max()) for part in cut) * 60 / bpm
        name = f"DCS_{song}_{setting}_Take{number:02d}"
        yield Take(name, setting, work, cut, bpm, (seed, index, 1), tuple(fonts), str(folder))
        index += 1


def works_in_order(names: Sequence[str], cache: Path, seed: int, workers: int) -> Iterator[tuple[str, list]]:
    """Yield (work, its four parts), every work once, shuffled. Each score is parsed when it is needed."""
    shuffled = [names[i] for i in np.random.default_rng([seed, len(names)]).permutation(len(names))]
    at_once = 1
    while shuffled:
        some, shuffled = shuffled[:at_once], shuffled[at_once:]
        scores = load_scores({name: work_file(name) for name in some}, cache, workers)
        yield from ((name, four_voices(scores[name])) for name in some if name in scores)
        at_once = min(2 * at_once, 64)


def four_voices(parts: list[np.ndarray]) -> list[np.ndarray]:
    """Return soprano, alto, tenor and bass, by mean pitch; of five voices, the second sopranos are left out."""
    ordered = sorted(parts, key=lambda part: -part[:, 2].mean())
    return ordered if len(ordered) == 4 else [ordered[0], *ordered[2:]]


def cut_parts(parts: list[np.ndarray], quarters: float) -> tuple[np.ndarray, ...]:
    """Return the first stretch of a given number of quarters in which all four voices sing, or else a longer one."""
    length = max(float((part[:, 0] + part[:, 1]).max()) for part in parts)
    if quarters >= length:
        return tuple(parts)
    for start in np.arange(0, max(length - quarters, 1), 4):
        inside = [part[(part[:, 0] >= start) & (part[:, 0] < start + quarters)] for part in parts]
        if min(map(len, inside)) >= FEWEST_NOTES:
            return tuple(part - np.array([start, 0, 0, 0], dtype=np.float32) for part in inside)
    return cut_parts(parts, quarters + 4)


def render_take(take: Take) -> dict:
    """Write the files of one take, each voice's dynamic microphone and the room; return its entry for the progress file."""
    rng = np.random.default_rng(take.seed)
    key = int(rng.integers(-2, 3))
    to_seconds = beats_to_seconds(list(take.parts), take.bpm, hold=rng.uniform(0.3, 1.0))
    breath, room = rng.uniform(0.15, 0.5), rng.uniform(0.4, 1.0)
    voices = dict(zip("SATB", take.parts, strict=True))
    played = {}
    for singer in SETTINGS[take.setting]:
        part = voices[singer[0]] + np.array([0, 0, key, 0], dtype=np.float32)
        played[singer] = perform(part, to_seconds, rng, lag=0.04, jitter=0.02, length=rng.uniform(0.93, 1.0),
                                 loudness=rng.uniform(75, 95), swing=12.0, breath=breath)
    seconds = max(notes[:, 1].max() for notes in played.values()) + TAIL
    sung = {}
    vowels = draw_vowels(np.arange(0, seconds, rng.uniform(0.8, 2.0)), rng)  # the same for all singers
    for singer, notes in played.items():
        audio = sing(notes, singer[0], vowels, seconds, take.soundfonts, rng, CHOIR_RATE)
        audio = colour(audio, room, rng, CHOIR_RATE)
        sung[singer] = audio * np.float32(DYN_RMS * 10 ** (rng.uniform(-2, 2) / 20) / active_rms(audio, CHOIR_RATE))
    dynamic, _ = sixteen_bit({singer: sung[singer] for singer in MICROPHONES[take.setting]})
    whole = colour(sum(sung.values()), 1.2, rng, CHOIR_RATE)
    room_mix, _ = sixteen_bit({"room": whole * (ROOM_PEAK / np.abs(whole).max())})
    for singer, audio in dynamic.items():
        write_sound(Path(take.folder) / f"{take.name}_{singer}_DYN.wav", audio, CHOIR_RATE)
    write_sound(Path(take.folder) / f"{take.name}_Stereo_STM.wav", room_mix["room"], CHOIR_RATE)
    return {"seconds": len(whole) / CHOIR_RATE, "work": take.work, "key": key}
