"""Render a stand-in for Slakh2100-redux: generated songs, a stem for each instrument, with MIDI and metadata.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nussl_transfer.datasets.slakh_splits import IDENTICAL, LAST, OMITTED, WHITE_NOISE
from nussl_transfer.errors import ConfigError

from .finished import begin, is_finished
from .making import fonts_of, make_tracks, sixteen_bit, sizes, write_about, write_sound
from .midi import midi_file
from .programs import KITS, PROGRAMS
from .scores import read_or_nothing, tune_scores
from .slakh_files import PEAK, entry, normalised, write_bytes, write_metadata
from .songs import compose
from .studio import draw_band, length_of, other_patch, perform_role, play_role
from .synth import RATE

TREE = "slakh2100_flac_redux"
USUAL_SECONDS = 249.0
TUNE_SHARE = 0.3
TWIN_SHARE = 390 / 2100  # share of tracks with another track's MIDI file; redux keeps them in the folder omitted
VALID_SHARE, TEST_SHARE = 270 / 1710, 151 / 1710
MORE_ROLES = ("pad", "lead", "arpeggio", "guitar 2", "piano 2", "pad 2", "lead 2")
UNRENDERED = 122  # General MIDI's seashore: a stem with MIDI and without audio, as in some tracks of Slakh
SOURCES = ("Randomly generated parts for drums, bass, guitar, piano and more; about one song in three has a tune of Ryan's "
           "Mammoth Collection (1883) from the corpus of music21; the MIDI files are in the tree.")
DIFFERENCES = """\
* Slakh's MIDI files are songs that people arranged, and sampled studio instruments play its stems. Here the songs are
  random, and General MIDI plays them.
* Tracks have Slakh's numbers, in the folders of its splits. Those in `omitted` play the MIDI file of another track with
  other sounds.
* The mixture is exactly the sum of the stems. Some tracks have a stem of MIDI without audio, as in Slakh."""


@dataclass(frozen=True)
class Plan:
    """The plan of one track; tracks of one `song` share their MIDI file."""

    name: str
    song: int
    seconds: float
    seed: int
    tune: Path | None
    twin: bool
    soundfonts: tuple[str, ...]
    folder: str


def render_slakh(out: str | Path, tracks: int | None = None, minutes: float | None = None, seed: int = 0,
                 soundfont: str | list[str] | None = None, workers: int = 2) -> Path:
    """Render a stand-in for Slakh2100-redux; return its tree, <out>/slakh2100_flac_redux.

    Each track has drums, bass, guitar, piano and more as mono FLAC at 44.1 kHz, with MIDI and metadata.yaml. With three
    tracks or more, some play the MIDI file of another track with other sounds. The track numbers have gaps.
    A finished corpus is not rendered again; an interrupted one resumes.

    Args:
        out: Folder of the corpus.
        tracks: Number of tracks, at most 1000; None makes tracks of about four minutes that last `minutes` together.
        minutes: Minutes of music in all tracks together; None makes tracks of about four minutes.
        seed: Seed of every random choice.
        soundfont: Path of a General MIDI soundfont, or several to draw from for each stem; by default all installed ones.
        workers: Number of processes.

    Raises:
        ConfigError: An option is wrong, or the folder holds other files or a finished corpus made with other options.
    """
    out = Path(out)
    count, seconds = sizes(tracks, minutes, USUAL_SECONDS)
    if count > 1000:
        raise ConfigError(f"There are too many tracks: got {count}, expected at most 1000. Give fewer tracks or minutes.")
    fonts = fonts_of(soundfont)
    request = {"kind": "slakh", "tracks": count, "seconds": seconds, "seed": seed,
               "soundfonts": [Path(font).name for font in fonts]}
    tree = out / TREE
    if is_finished(out, request):
        return tree
    done = begin(out, request)
    write_about(tree, "Slakh2100-redux", SOURCES, request, DIFFERENCES)
    make_tracks(out, request, done, list(plan_tracks(count, seconds, seed, fonts, tree)), render_track, workers)
    return tree


def plan_tracks(count: int, seconds: float, seed: int, fonts: tuple[str, ...], tree: Path) -> Iterator[Plan]:
    """Yield the tracks: songs in the folders of the splits, then those in `omitted`, which share another's MIDI file."""
    rng = np.random.default_rng([seed, count])
    twins = max(round(count * TWIN_SHARE), 1) if count > 2 else 0
    songs = count - twins
    tests, valids = (max(round(songs * share), 1) if songs > 2 else 0 for share in (TEST_SHARE, VALID_SHARE))
    tunes = list(tune_scores().values())
    tunes = [tunes[i % len(tunes)] if rng.random() < TUNE_SHARE else None for i in rng.permutation(max(songs, len(tunes)))]
    lengths = seconds * rng.uniform(0.8, 1.2, songs)
    splits = ["train"] * (songs - tests - valids) + ["validation"] * valids + ["test"] * tests
    free = {split: numbers_of(split) for split in ("train", "validation", "test", "omitted")}
    for index in range(count):
        song = index if index < songs else index - songs
        split = splits[index] if index < songs else "omitted"
        name = f"Track{next(free[split]):05d}"
        yield Plan(name, song, float(lengths[song]), seed, tunes[song], index >= songs, fonts, str(tree / split / name))


def numbers_of(split: str) -> Iterator[int]:
    """Yield the track numbers of a split of redux, without every seventh and without tracks with known defects."""
    if split == "omitted":  # from all numbers, so that the original split separates some tracks of one MIDI file
        numbers = sorted(OMITTED)
        yield from (number for pair in zip(numbers, reversed(numbers), strict=True) for number in pair)
        return
    known = {int(stem[:5]) for stem in WHITE_NOISE} | {int(track) for track, *_ in IDENTICAL} | OMITTED
    first = {"train": 0, "validation": LAST["train"], "test": LAST["valid"]}[split]
    last = LAST["valid" if split == "validation" else split]
    yield from (number for number in range(first + 1, last + 1) if number not in known and number % 7 != 5)


def render_track(plan: Plan) -> dict:
    """Write a track's MIDI, stems, mixture and metadata.yaml; return its entry for the progress file."""
    written = np.random.default_rng([plan.seed, plan.song, 0])  # the same for all tracks of one MIDI file
    tune = next(iter(read_or_nothing(plan.tune)), None) if plan.tune else None
    some = written.choice(len(MORE_ROLES), size=int(written.integers(1, len(MORE_ROLES))), replace=False)
    roles = ["guitar", "drums", "piano", "bass", *(MORE_ROLES[i] for i in sorted(some))]
    song = compose(written, plan.seconds, roles, None if tune is None else np.array(tune, dtype=np.float32))
    band = draw_band(roles, written)
    played = {role: perform_role(role, song, band[role], written) for role in roles}
    if plan.song % 3 == 1:
        played["unrendered"] = played["bass"]
        band["unrendered"] = UNRENDERED
    seconds = length_of(song)
    folder = Path(plan.folder)
    tracks = [(played[role], band[role], role == "drums") for role in played]
    write_bytes(folder / "all_src.mid", midi_file(tracks, song.bpm))
    rng = np.random.default_rng([plan.seed, plan.song, 1 + plan.twin])
    sounds, entries = {}, {}
    for number, (role, track) in enumerate(zip(played, tracks, strict=True)):
        stem = f"S{number:02d}"
        write_bytes(folder / "MIDI" / f"{stem}.mid", midi_file([track], song.bpm))
        if role == "unrendered":
            entries[stem] = entry(band[role], False)
            continue
        patch = other_patch(role, band[role], rng) if plan.twin else band[role]
        audio, font = play_role(played[role], patch, role == "drums", seconds, plan.soundfonts, rng)
        sounds[stem], loudness = normalised(audio)
        name = KITS[patch] if role == "drums" else PROGRAMS[patch][0]
        entries[stem] = entry(band[role], role == "drums", loudness, f"{name} ({Path(font).name})")
    gain = 10 ** (PEAK / 20) / max(np.abs(audio).max() for audio in (*sounds.values(), sum(sounds.values())))
    whole, mixture = sixteen_bit({stem: audio * gain for stem, audio in sounds.items()})
    for stem, audio in whole.items():
        write_sound(folder / "stems" / f"{stem}.flac", audio, RATE)
    write_sound(folder / "mix.flac", mixture, RATE)
    write_metadata(folder, float(gain), entries)
    return {"seconds": len(mixture) / RATE, "split": folder.parent.name, "song": plan.song, "form": song.form,
            "bpm": round(song.bpm), "stems": len(whole)}
