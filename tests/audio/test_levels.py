"""Where a signal is active, by the closed form of a tone's power."""

from __future__ import annotations

import numpy as np
import pytest

from nussl_transfer.audio.levels import ACTIVITY_DBFS, Activity, active_spans, block_length, block_powers

RATE = 8000


@pytest.mark.parametrize(("dbfs", "active"), [(ACTIVITY_DBFS + 0.1, True), (ACTIVITY_DBFS - 0.1, False)])
def test_a_tone_is_active_above_the_threshold_of_its_power(dbfs, active):
    time = np.arange(RATE) / RATE
    tone = np.sqrt(2) * 10 ** (dbfs / 20) * np.sin(2 * np.pi * 100 * time)  # its power is half the square of its peak
    found = active_spans(block_powers(tone, RATE), RATE, len(tone))
    assert found.tolist() == ([[0, RATE]] if active else [])


def test_spans_start_and_end_with_blocks_and_the_last_with_the_signal():
    audio = np.zeros(2 * RATE + 300)
    audio[RATE // 2 : RATE] = audio[-300:] = 0.5
    found = active_spans(block_powers(audio, RATE), RATE, len(audio))
    assert found.tolist() == [[RATE // 2, RATE], [2 * RATE, 2 * RATE + 300]]


def test_a_rate_below_ten_hertz_has_blocks_of_one_sample():
    assert block_length(4) == 1


@pytest.mark.parametrize(("dbfs", "active"), [(ACTIVITY_DBFS + 0.1, True), (ACTIVITY_DBFS - 0.1, False)])
@pytest.mark.parametrize("length", [1, 799, 800, 8000, 20000])
def test_one_active_block_of_one_channel_is_found_in_pieces_of_any_length(dbfs, active, length):
    audio = np.zeros((2 * RATE + 300, 2), np.float32)
    audio[RATE : RATE + 800, 1] = 10 ** (dbfs / 20)  # one whole block
    activity = Activity(RATE)
    for start in range(0, len(audio), length):
        activity.push(audio[start : start + length])
    assert activity.found() is active


def test_the_last_block_counts_although_it_is_shorter():
    activity = Activity(RATE)
    activity.push(np.zeros((RATE, 1)))
    activity.push(np.full((5, 1), 0.1))
    assert activity.found()


def test_a_signal_without_samples_is_not_active():
    assert not Activity(RATE).found()
