"""Play one part with one program of a soundfont.

Tinysoundfont is about a thousand times faster than real time and gives the same samples for the same notes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soxr

from nussl_transfer.errors import DataError

RATE = 44_100  # the sample rate of soundfonts; the result is resampled once by soxr
TAIL = 1.5  # seconds for the last note to fade out
DRUM_BANK = 128
BEND_STEP = 0.015  # seconds between two pitch bends, too short to be heard as steps


@dataclass(frozen=True)
class Sound:
    """The program and tuning of one part.

    Args:
        soundfont: Path of the .sf2 or .sf3 file.
        program: General MIDI program 0-127, or the preset of the drum bank.
        drums: Whether the program is a drum kit.
        detune: Tuning of the whole part in cents.
        vibrato: Depth of a vibrato in cents and its rate in Hz; depth 0 for none.
        bends: A pitch curve that replaces the vibrato, rows of time in seconds and cents: see `expression.voice_bends`.
    """

    soundfont: str
    program: int
    drums: bool = False
    detune: float = 0.0
    vibrato: tuple[float, float] = (0.0, 5.5)
    bends: np.ndarray | None = field(default=None, compare=False)


def default_soundfont() -> str:
    """Return the path of the General MIDI soundfont that ships with pretty_midi (TimGM6mb, GPL-2)."""
    import pretty_midi

    return str(Path(pretty_midi.__file__).with_name("TimGM6mb.sf2"))


def body_soundfonts() -> list[str]:
    """Return every installed General MIDI soundfont: the default, and those of the system.

    Debian's and Ubuntu's `fluid-soundfont-gm` (FluidR3, MIT) and `musescore-general-soundfont-small` (MIT) are in
    /usr/share/sounds; the one that comes with pretty_midi is always available.
    """
    system = ("/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/sounds/sf3/MuseScore_General_Lite.sf3")
    return [default_soundfont(), *(path for path in system if Path(path).exists())]


@functools.cache
def open_soundfont(path: str):
    """Return a synthesizer with a soundfont loaded. Loading takes 0.02 to 2 s, so each process caches it.

    Raises:
        DataError: The file is missing or is not a soundfont.
    """
    import tinysoundfont

    require_file(path)
    synth = tinysoundfont.Synth(samplerate=RATE, gain=-12.0)
    try:
        synth.sfload(path)
    except RuntimeError as error:
        raise DataError(f"The soundfont {path} cannot be read ({error}). Give an .sf2 or .sf3 file.") from error
    return synth


def require_file(path: str) -> None:
    """Raise a DataError if the soundfont does not exist."""
    if not Path(path).is_file():
        raise DataError(f"The soundfont {path} does not exist. Give the path of an .sf2 or .sf3 file.")


def play(notes: np.ndarray, sound: Sound, seconds: float) -> np.ndarray:
    """Return the audio of `play_stereo` as mono float32 [frames]."""
    left, right = play_stereo(notes, sound, seconds).T
    return (left + right) * np.float32(0.5)


def play_stereo(notes: np.ndarray, sound: Sound, seconds: float) -> np.ndarray:
    """Return the audio of a part, stereo at 44.1 kHz with the soundfont's panning, `seconds` long.

    Args:
        notes: Onset in seconds, end in seconds, MIDI pitch, velocity 1-127.
        sound: Program and tuning.
        seconds: Length of the result.

    Shape:
        [notes, 4] -> float32 [seconds * 44100, 2]
    """
    synth = open_soundfont(sound.soundfont)
    channel = 9 if sound.drums else 0
    synth.sounds_off()  # on all channels: earlier notes fade out within the next tenth of a second
    synth.generate(RATE // 10)
    synth.control_change(channel, 121, 0)  # reset all controllers
    synth.program_select(channel, 0, DRUM_BANK if sound.drums else 0, sound.program, sound.drums)
    synth.pitchbend_range(channel, 2.0)
    synth.pitchbend(channel, 8192)
    synth.set_tuning(channel, sound.detune / 100)
    out = np.zeros((round(seconds * RATE), 2), dtype=np.float32)
    position = 0
    for frame, kind, value, velocity in events(notes, sound):
        stop = min(frame, len(out))
        if stop > position:
            synth.generate(stop - position, memoryview(out[position:stop]).cast("B"))
            position = stop
        if kind == "on":
            synth.noteon(channel, value, velocity)
        elif kind == "off":
            synth.noteoff(channel, value)
        else:
            synth.pitchbend(channel, value)
    if position < len(out):
        synth.generate(len(out) - position, memoryview(out[position:]).cast("B"))
    return out


def events(notes: np.ndarray, sound: Sound) -> list[tuple[int, str, int, int]]:
    """Return (frame, 'on' | 'off' | 'bend', value, velocity) in time order; in one frame, offs come before ons."""
    found = []
    for start, end, pitch, velocity in notes:
        found.append((round(start * RATE), 2, "on", int(pitch), int(velocity)))
        found.append((round(max(end, start + 0.02) * RATE), 0, "off", int(pitch), 0))
    depth, rate = sound.vibrato
    bends = sound.bends
    if bends is None and depth > 0 and len(notes):
        times = np.arange(0, notes[:, 1].max(), BEND_STEP)
        bends = np.column_stack([times, depth * np.sin(2 * np.pi * rate * times)])
    if bends is not None:
        # pitch wheel: 8192 is the middle, +-8192 is +-2 semitones
        wheel = np.clip(8192 + 8192 * bends[:, 1] / 200, 0, 16383)
        found += [(round(t * RATE), 1, "bend", int(bend), 0) for t, bend in zip(bends[:, 0], wheel, strict=True)]
    return [(frame, kind, value, velocity) for frame, _, kind, value, velocity in sorted(found)]


def resample(audio: np.ndarray, rate: int) -> np.ndarray:
    """Return audio [frames] at 44.1 kHz resampled to another rate, float32."""
    return audio if rate == RATE else soxr.resample(audio, RATE, rate, quality="HQ").astype(np.float32)


def active_rms(audio: np.ndarray, rate: int) -> float:
    """Return the RMS over all tenths of a second within 40 dB of the loudest one; 0 for silence."""
    block = rate // 10
    power = np.square(audio[: len(audio) // block * block].reshape(-1, block)).mean(axis=1)
    loud = power > power.max(initial=0.0) * 1e-4
    return float(np.sqrt(power[loud].mean())) if loud.any() else 0.0
