"""Render a stand-in for Dagstuhl ChoirSet: choral works, sung by a soundfont or by synthetic singers, under its names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr

from nussl_transfer.errors import ConfigError

from .choir_works import TEST, TRAIN, work_file
from .expression import beats_to_seconds, perform
from .finished import begin, is_finished
from .making import fonts_of, make_tracks, sixteen_bit, sizes, write_about, write_sound
from .rendering import colour
from .scores import load_scores
from .singers import draw_syllables, draw_throat, sing_syllables
from .source_filter import RATE as SINGERS_RATE
from .synth import TAIL, active_rms
from .voices import draw_vowels, sing

CHOIR_RATE = 22_050
TREE, AUDIO = "DagstuhlChoirSet_V1.2.3", "audio_wav_22050_mono"
SCORES = "scores.json"
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
SECTION = 5  # most singers who sing a voice together, where they are synthetic


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
    synthetic: bool = False


def render_choirset(out: str | Path, tracks: int | None = None, minutes: float | None = None, seed: int = 0,
                    soundfont: str | list[str] | None = None, workers: int = 2, synthetic: float = 0.0) -> Path:
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
        synthetic: Share of the takes for training whose singers `singers` synthesizes; they sing syllables, and up to five
            of them sing each voice.

    Raises:
        ConfigError: An option is wrong, or the folder holds other files or a finished corpus made with other options.
    """
    out = Path(out)
    sizes(tracks, minutes, USUAL_SECONDS)
    if not 0 <= synthetic <= 1:
        raise ConfigError(f"synthetic is wrong: got {synthetic}, but it is a share from 0 to 1.")
    fonts = fonts_of(soundfont)
    request = {"kind": "choirset", "tracks": tracks, "minutes": minutes, "seed": seed,
               "soundfonts": [Path(font).name for font in fonts], **({"synthetic": synthetic} if synthetic else {})}
    tree = out / TREE
    if is_finished(out, request):
        return tree
    done = begin(out, request, keep=[SCORES])
    takes = list(plan_takes(out / SCORES, tracks, minutes, seed, fonts, tree / AUDIO, workers, synthetic))
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
               workers: int = 1, synthetic: float = 0.0) -> Iterator[Take]:
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
        chosen = split == "train" and np.random.default_rng([seed, index, 2]).random() < synthetic
        yield Take(name, setting, work, cut, bpm, (seed, index, 1), tuple(fonts), str(folder), chosen)
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
    onsets = np.unique(np.concatenate([part[:, 0] for part in take.parts]))
    syllables = draw_syllables(onsets, rng) if take.synthetic else []
    for singer, notes in played.items():
        if take.synthetic:
            audio = sing_section(notes, voices[singer[0]], singer[0], syllables, seconds, rng)
        else:
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


def sing_section(notes: np.ndarray, part: np.ndarray, voice: str, syllables: Sequence, seconds: float,
                 rng: np.random.Generator) -> np.ndarray:
    """Return the audio of one to five synthetic singers of the same voice, mono float32 at `CHOIR_RATE`.

    Args:
        notes: [notes, 4] of `perform`, in the order of the part.
        part: The part's notes [notes, 4] in quarters.
        voice: S, A, T or B.
        syllables: The text of the whole choir: a syllable for each onset, in quarters, of any part.
        seconds: Length of the result.
        rng: Random generator.
    """
    at = {syllable.start: syllable for syllable in syllables}
    together = np.zeros(round(seconds * SINGERS_RATE), dtype=np.float32)
    for _ in range(int(rng.integers(1, SECTION + 1))):
        late = np.concatenate([np.full((len(notes), 2), rng.normal(0, 0.015)) + rng.normal(0, 0.01, (len(notes), 1)),
                               np.zeros((len(notes), 2))], axis=1)
        own = np.maximum(notes + late, 0)
        text = [replace(at[float(onset)], start=float(now)) for onset, now in zip(part[:, 0], own[:, 0], strict=True)]
        text.sort(key=lambda syllable: syllable.start)
        audio = sing_syllables(own, text, draw_throat(voice, rng), seconds, rng)
        together += audio * np.float32(10 ** (rng.uniform(-4, 0) / 20))
    out = soxr.resample(together, SINGERS_RATE, CHOIR_RATE, quality="HQ").astype(np.float32)
    return np.pad(out, (0, 1))[: round(seconds * CHOIR_RATE)]
