"""The split into training and validation, and the length of a mixture."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from made_up_stores import make_store, noise

from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.split import (
    TrainValidSplit,
    adapt_to_data,
    fitting_seconds,
    mixtures_of,
    shares_of,
    train_valid_split,
)
from nussl_transfer.store.open import open_store
from nussl_transfer.store.store import Store, StoreWriter

LABELS = ("bass", "drums", "voice")


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, "nussl_transfer")
    return caplog


def names(store: Store) -> list[str]:
    return [track.name for track in store.tracks]


def test_groups_of_a_store_are_refused(tiny_store):
    for options in ({"groups": {"low": ["bass"]}}, {"ignore": ["bass"]}):
        with pytest.raises(ConfigError, match="a store, and its labels are fixed"):
            open_store(tiny_store, "unused", 8000, StemOptions(**options))


def test_tracks_for_testing_are_in_neither_part(tmp_path):
    tracks = {"a": ("train", 2, LABELS), "b": ("train", 2, LABELS), "c": ("valid", 2, LABELS), "d": ("test", 2, LABELS)}
    split = train_valid_split(make_store(tmp_path, tracks))
    assert (names(split.train), names(split.valid)) == (["a", "b"], ["c"])
    assert split.train_span == split.valid_span == (0.0, 1.0)


@pytest.mark.parametrize(("tracks", "held"), [(4, 1), (5, 1), (14, 1), (16, 2), (30, 3)])
def test_without_validation_tracks_one_in_ten_is_held_out(tmp_path, tracks, held):
    store = make_store(tmp_path, {f"track {n:02}": (None, 0.5, ("a", "b")) for n in range(tracks)})
    split = train_valid_split(store)
    assert len(split.valid.tracks) == held
    assert sorted(names(split.train) + names(split.valid)) == names(store)
    assert names(train_valid_split(store).valid) == names(split.valid), "the same seed holds out the same tracks"
    assert len({tuple(names(train_valid_split(store, seed).valid)) for seed in range(20)}) > 1


@pytest.mark.parametrize("tracks", [2, 3])
def test_of_fewer_than_four_tracks_the_end_of_each_is_held_out(tmp_path, log, tracks):
    store = make_store(tmp_path, {f"track {n}": (None, 2, ("a", "b")) for n in range(tracks)})
    split = train_valid_split(store)
    assert names(split.train) == names(split.valid) == names(store)
    assert (split.train_span, split.valid_span) == ((0.0, 0.75), (0.75, 1.0))
    assert "not trained on: the last quarter of every track" in log.text


def test_if_holding_out_a_track_would_lose_a_label_the_end_of_every_track_is_held_out(tmp_path, log):
    tracks = {"a": (None, 2, ("bass",)), "b": (None, 2, ("drums",)), "c": (None, 2, ("bass", "drums"))}
    for seed in range(5):
        split = train_valid_split(make_store(tmp_path, tracks), seed)
        assert split.train.labels == split.valid.labels == ("bass", "drums")
    assert "not trained on: the last quarter of every track" in log.text


def store_of_songs(folder: Path, sizes: dict[str, int]) -> Store:
    """Make a store with a number of tracks for each song; songs whose names begin with '-' have no origin."""
    writer = StoreWriter(folder, 8000, "made up")
    for song, size in sizes.items():
        for take in range(size):
            stems = {label: noise(0.5, 8000, take) for label in LABELS}
            writer.add(f"{song} {take}", "train", stems, origin=None if song.startswith("-") else song)
    return writer.close()


def test_validation_is_never_the_music_that_is_trained_on(tmp_path):
    store = Store(store_of_songs(tmp_path, {"one": 2, "two": 3, "-": 12, "three": 3}).folder)
    held = set()
    for seed in range(20):
        split = train_valid_split(store, seed)
        sides = [{track.origin for track in side.tracks} - {None} for side in (split.train, split.valid)]
        assert not sides[0] & sides[1] and len(split.valid.tracks) <= 2
        held |= sides[1]
    assert held == {"one"}, "a song of three takes is more than one track in ten"


def test_if_every_song_exceeds_the_share_the_smallest_is_held_out(tmp_path):
    split = train_valid_split(store_of_songs(tmp_path, {"one": 6, "two": 2, "three": 4}))
    assert names(split.valid) == ["two 0", "two 1"]


@pytest.mark.parametrize("songs", [{"one": 4}, {"one": 4, "two": 3}])
def test_if_one_song_has_most_tracks_the_end_of_every_track_is_held_out(tmp_path, log, songs):
    split = train_valid_split(store_of_songs(tmp_path, songs))
    assert split.valid_span == (0.75, 1.0) and names(split.train) == names(split.valid)
    assert "not trained on: the last quarter of every track" in log.text


def test_a_store_of_test_tracks_alone_is_an_error(tmp_path):
    store = make_store(tmp_path, {"a": ("test", 2, LABELS), "b": ("valid", 2, LABELS)})
    with pytest.raises(DataError, match="no tracks to train on: all are of split 'valid' or 'test'"):
        train_valid_split(store)


def test_validation_tracks_with_other_stems_are_refused(tmp_path):
    store = make_store(tmp_path, {"a": ("train", 2, LABELS), "b": ("valid", 2, ("bass", "voice"))})
    with pytest.raises(DataError, match="have bass, drums, voice; its validation tracks have bass, voice"):
        train_valid_split(store)


@pytest.mark.parametrize(("given", "seconds"), [(1.0, 1.0), (2.0, 2.0), (2.01, 2.0), (10.0, 2.0)])
def test_mixtures_have_the_given_length_or_that_of_the_longest_track(tmp_path, log, given, seconds):
    store = make_store(tmp_path, {"a": (None, 2.0, LABELS), "b": (None, 1.0, LABELS)})
    assert fitting_seconds(TrainValidSplit(store, store), given) == seconds
    assert ("No track is as long as" in log.text) == (given > seconds)


def test_a_shortened_mixture_is_never_longer_than_the_track(tmp_path):
    for number, seconds in enumerate((1.237, 4.999, 0.5678, 12.3456)):
        store = make_store(tmp_path / str(number), {"a": (None, seconds, LABELS)})
        fitting = fitting_seconds(TrainValidSplit(store, store, (0.0, 0.75), (0.75, 1.0)), 100.0)
        assert 0.25 * seconds - 0.02 < fitting <= 0.25 * seconds


# Several stores -------------------------------------------------------------------------------------------------------


def test_without_shares_stores_are_weighted_by_their_minutes(tmp_path):
    stores = [make_store(tmp_path / str(n), {"a": (None, n + 1.0, LABELS)}) for n in range(3)]
    assert shares_of([TrainValidSplit(store, store) for store in stores]) == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    assert shares_of(
        [TrainValidSplit(store, store, share=share) for store, share in zip(stores, (1, 1, 2), strict=True)]
    ) == [
        0.25,
        0.25,
        0.5,
    ]


def test_a_share_for_some_stores_and_none_for_others_is_refused(tmp_path):
    store = make_store(tmp_path, {"a": (None, 1.0, LABELS)})
    with pytest.raises(ConfigError, match=r"2 stores are \[0.5, None\]. Give all of them a share, or none"):
        shares_of([TrainValidSplit(store, store, share=0.5), TrainValidSplit(store, store)])


def test_the_config_is_adapted_to_the_data(tmp_path, log):
    whole = make_store(tmp_path / "whole", {"a": (None, 2.0, LABELS)})
    pool = make_store(tmp_path / "pool", {"a": (None, 1.0, ("bass",)), "b": (None, 1.0, ("drums",))})
    config = MixtureConfig(0.5, coherent=0.5)
    assert adapt_to_data([TrainValidSplit(whole, whole)], config) == config and not log.text
    assert adapt_to_data(
        [TrainValidSplit(whole, whole), TrainValidSplit(pool, pool)], MixtureConfig(9.0, 0.5)
    ) == MixtureConfig(1.0, 0.0)
    assert "has all of bass, drums: every mixture is incoherent" in log.text


def test_training_and_validation_mixtures_are_drawn_alike_of_different_tracks_and_seeds(tmp_path):
    stores = [make_store(tmp_path / name, {name: (None, 2.0, LABELS)}) for name in ("one", "two")]
    train, valid = mixtures_of([TrainValidSplit(*stores)], MixtureConfig(0.25, coherent=0.5, gain_db=3.0), 20, 5, seed=7)
    assert (len(train), len(valid), train.seed, valid.seed) == (20, 5, 7, 8)
    for name in ("samples", "config", "labels"):
        assert getattr(train, name) == getattr(valid, name)
    assert {excerpt.track.name for index in range(5) for excerpt in valid.draw(index)} == {"two"}
