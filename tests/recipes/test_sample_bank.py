"""Test the bank of recorded notes, with sine tones as recordings: instruments, pitches and loudness by file names."""

from __future__ import annotations

import json

import pytest
from sine_samples import PITCHES

from recipes.corpora.programs import PROGRAMS
from recipes.corpora.sample_bank import TABLE, open_bank, pitch_of


@pytest.mark.parametrize("note, pitch", [("C4", 60), ("A4", 69), ("As4", 70), ("A#0", 22), ("gb3", 54), ("b2", 47)])
def test_names_of_notes_are_midi_pitches(note, pitch):
    assert pitch_of(note) == pitch


def test_each_line_of_the_table_names_a_known_instrument_and_a_free_library():
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    labels = {entry[0] for entry in PROGRAMS.values()}
    for entry in table["instruments"]:
        assert entry["label"] in labels
        assert table["libraries"][entry["library"]]["licence"].startswith("CC")


def test_recordings_get_their_sounding_pitch_and_are_grouped_by_loudness(samples):
    bank = open_bank(str(samples))
    assert set(bank.voices) == {*PITCHES, "tenor-sax"}
    for label, pitches in PITCHES.items():
        (voice,) = bank.voices[label]
        assert sorted(recording.pitch for recording in voice.recordings) == list(pitches)
    assert [voice.name for voice in bank.voices["tenor-sax"]] == ["mtg f", "mtg p"]
    assert [recording.pitch for recording in bank.voices["tenor-sax"][0].recordings] == [44, 57, 70]
    assert sorted(bank.drums) == [36, 38]
