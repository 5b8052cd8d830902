"""Excerpts in batches: their audio is what the stems hold, however it is read, and threads change no score."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from nussl_transfer.errors import DataError
from nussl_transfer.evaluation.batches import SAMPLES_AT_ONCE, batches, load_excerpts, map_batches
from nussl_transfer.evaluation.excerpts import make_excerpts
from nussl_transfer.mixing.excerpt import read_excerpt


@pytest.fixture
def reads(tiny_store, monkeypatch):
    """Record the reads of the store's files: (start, frames) by (track, label)."""
    asked = {}
    read = type(tiny_store).read

    def noted(self, track, label, start=0, frames=-1):
        asked.setdefault((track.name, label), []).append((start, frames))
        return read(self, track, label, start, frames)

    monkeypatch.setattr(type(tiny_store), "read", noted)
    return asked


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_nearby_excerpts_are_read_in_one_piece_and_equal_the_stems(tiny_store, reads):
    excerpts = make_excerpts(tiny_store, 0.5, hop=0.1)
    expected = [[read_excerpt(tiny_store, source, 4000) for source in excerpt.sources] for excerpt in excerpts]
    reads.clear()
    references, sounding = load_excerpts(tiny_store, excerpts)
    np.testing.assert_array_equal(references, np.array(expected))
    assert sounding.any() and len(reads) == 12 and all(len(parts) == 1 for parts in reads.values())


def test_distant_excerpts_are_read_one_by_one(tiny_store, reads):
    every = [excerpt for excerpt in make_excerpts(tiny_store, 0.125) if excerpt.track == "song 3"]
    load_excerpts(tiny_store, [every[0], every[-1]])
    assert all(parts == [(0, 1000), (15000, 1000)] for parts in reads.values()) and len(reads) == 3


def test_each_source_has_its_own_gain_pitch_and_tempo_and_the_vocoder_gets_context(tiny_store):
    excerpts = make_excerpts(tiny_store, 0.25, hop=0.125)[:4]
    ways = {"gain": 0.5}, {"pitch": 2.0}, {"stretch": 1.25, "frames": 2500}, {}
    changed = [
        replace(excerpt, sources=tuple(replace(source, **way) for source in excerpt.sources))
        for excerpt, way in zip(excerpts, ways, strict=True)
    ]
    expected = [[read_excerpt(tiny_store, source, 2000) for source in excerpt.sources] for excerpt in changed]
    np.testing.assert_array_equal(load_excerpts(tiny_store, changed)[0], np.array(expected))


@pytest.mark.parametrize(
    ("number", "sizes"),
    [(1, [1]), (2, [1, 1]), (64, [32, 32]), (65, [17, 17, 17, 14]), (200, [25] * 8), (1000, [32] * 31 + [8])],
)
def test_workers_get_equally_many_and_equally_large_batches(tiny_store, number, sizes):
    excerpt = replace(make_excerpts(tiny_store, 1.0)[0], frames=SAMPLES_AT_ONCE // 32)
    assert [len(places) for places in batches([excerpt] * number, workers=2)] == sizes


def test_results_come_in_order_from_threads_in_which_torch_uses_one_thread(threads):
    inside, barrier = [], threading.Barrier(threads)

    def work(item):
        if item < threads:
            barrier.wait(timeout=60)  # passes only when all threads are at work at once
        inside.append((torch.get_num_threads(), threading.current_thread().name))
        return 10 * item

    assert map_batches(work, range(7), "cpu") == [0, 10, 20, 30, 40, 50, 60]
    assert {number for number, _ in inside} == {1} and len({name for _, name in inside}) == threads
    assert torch.get_num_threads() == threads


def test_an_error_in_a_thread_is_raised_and_the_number_of_threads_restored(threads):
    def work(item):
        raise DataError(f"{item} is gone")

    with pytest.raises(DataError, match="0 is gone"):
        map_batches(work, range(7), "cpu")
    assert torch.get_num_threads() == threads


def test_torchs_number_of_threads_is_always_restored(threads, tiny_store):
    # A half-consumed generator would leave torch at one thread.
    def stop(result):
        raise KeyboardInterrupt

    for interrupted in (KeyboardInterrupt, RuntimeError):
        with pytest.raises(interrupted):
            map_batches(lambda item: item, range(7), "cpu", stop if interrupted is KeyboardInterrupt else raise_later)
        assert torch.get_num_threads() == threads
    part = batches(make_excerpts(tiny_store, 0.25), 1)
    next(part)
    assert torch.get_num_threads() == threads
    assert map_batches(lambda item: torch.get_num_threads(), [0], "cpu") == [1] and torch.get_num_threads() == threads


def raise_later(result):
    if result == 3:
        raise RuntimeError


def test_with_one_thread_the_caller_computes(threads):
    torch.set_num_threads(1)
    assert map_batches(lambda item: threading.current_thread(), [1], "cpu") == [threading.current_thread()]
