"""Write performances as MIDI files."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

RESOLUTION = 960  # ticks a quarter; a tick is half a millisecond or less


def midi_file(tracks: Sequence[tuple[np.ndarray, int, bool]], bpm: float) -> bytes:
    """Return a MIDI file.

    Args:
        tracks: For each track: notes [notes, 4] in seconds (see `expression.perform`), General MIDI program, whether it
            is drums.
        bpm: Tempo.
    """
    import pretty_midi

    midi = pretty_midi.PrettyMIDI(resolution=RESOLUTION, initial_tempo=bpm)
    for notes, program, drums in tracks:
        part = pretty_midi.Instrument(0 if drums else program, drums, name=program_name(program, drums))
        part.notes = [pretty_midi.Note(int(velocity), int(pitch), float(start), float(end))
                      for start, end, pitch, velocity in notes]
        midi.instruments.append(part)
    file = io.BytesIO()
    midi.write(file)
    return file.getvalue()


def program_name(program: int, drums: bool) -> str:
    """Return General MIDI's name of a program, 'Drums' for drums."""
    import pretty_midi

    return "Drums" if drums else pretty_midi.program_to_instrument_name(program)
