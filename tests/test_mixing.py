"""An item is a function of (seed, index), its sources sum to it, and every second of music is as likely as any other."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
import scipy.stats
import torch
from torch.utils.data import DataLoader

from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.manifest import StoredStem, StoredTrack
from nussl_transfer.mixing import Mixtures
from nussl_transfer.store import Store, StoreWriter, write_stem

RATE = 1000
LABELS = ("bass", "drums", "voice")
# The samples of a ramp say where they come from: stem number * 10,000 + track number * 1,000,000 + position.
LENGTHS = {"a": 3000, "b": 1500, "c": 6000}
# Seeds are fixed, so a test that fails fails always: the least probable outcome that is still taken for chance.
CHANCE = 0.001


@pytest.fixture(scope="module")
def ramps(tmp_path_factory) -> Store:
    """Stems whose samples say which stem, track and position they are. (`StoreWriter` would take their mean away.)"""
    folder = tmp_path_factory.mktemp("ramps")
    writer = StoreWriter(folder, RATE)
    for number, (name, frames) in enumerate(LENGTHS.items()):
        stems = {}
        for which, label in enumerate(LABELS):
            audio = np.arange(frames, dtype=np.float32) + 10_000 * which + 1_000_000 * (number + 1)
            write_stem(folder / name / f"{label}.wav", audio, RATE)
            stems[label] = StoredStem(f"{name}/{label}.wav", 0.1, 0.1, [[0, frames]])
        writer.tracks.append(StoredTrack(name, None, frames, stems))
    return writer.close()


def read_ramp(sample: float) -> tuple[str, str, int]:
    """Returns track, label and position of a sample of a ramp."""
    track, rest = divmod(round(sample), 1_000_000)
    label, position = divmod(rest, 10_000)
    return list(LENGTHS)[track - 1], LABELS[label], position


def origins(item: dict) -> list[tuple[str, str, int]]:
    """Returns where each source of an item starts."""
    return [read_ramp(float(sample)) for sample in item["source_audio"][0, 0]]


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(torch.as_tensor(one[key]), torch.as_tensor(other[key])) for key in one
    )


@pytest.fixture
def mixtures(tiny_store) -> Mixtures:
    return Mixtures(tiny_store, 0.5, 24, seed=3, coherent=0.5, gain_db=6.0)


# One item ------------------------------------------------------------------------------------------------------------


def test_an_item_has_the_documented_shapes(tiny_store):
    item = Mixtures(tiny_store, 0.5, 4)[2]
    assert item.keys() == {"mix_audio", "source_audio", "index"}
    assert item["mix_audio"].shape == (1, 4000) and item["source_audio"].shape == (1, 4000, 3)
    assert item["mix_audio"].dtype == item["source_audio"].dtype == torch.float32
    assert item["index"] == 2


@pytest.mark.parametrize("coherent", [0.0, 0.5, 1.0])
def test_sources_sum_to_the_mixture(tiny_store, coherent):
    for item in Mixtures(tiny_store, 0.5, 8, coherent=coherent, gain_db=6.0):
        assert item["mix_audio"].abs().max() > 0
        total = item["source_audio"].double().sum(dim=-1)
        assert (total - item["mix_audio"]).abs().max() <= np.finfo(np.float32).eps * item["source_audio"].abs().max() * 3


def test_sources_are_in_alphabetical_order_of_their_labels(ramps):
    for item in Mixtures(ramps, 0.5, 20, coherent=0.5):
        assert [label for _, label, _ in origins(item)] == ["bass", "drums", "voice"]


def test_the_audio_is_that_of_the_store(ramps):
    for item in Mixtures(ramps, 0.5, 20, coherent=0.0):
        for number, (track, label, start) in enumerate(origins(item)):
            entry = ramps.where(names=[track]).tracks[0]
            np.testing.assert_array_equal(item["source_audio"][0, :, number], ramps.read(entry, label, start, 500))


# The same item --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("workers", [1, 4])
def test_items_are_the_same_with_worker_processes_as_without(mixtures, workers):
    loaded = list(DataLoader(mixtures, batch_size=4, num_workers=workers))
    alone = list(DataLoader(mixtures, batch_size=4, num_workers=0))
    assert len(loaded) == 6
    assert all(equal(one, other) for one, other in zip(loaded, alone, strict=True))


def test_items_are_the_same_in_any_order_and_in_another_object(mixtures, tiny_store):
    backwards = [mixtures[index] for index in reversed(range(24))][::-1]
    again = Mixtures(Store(tiny_store.folder), 0.5, 24, seed=3, coherent=0.5, gain_db=6.0)
    assert all(equal(item, again[index]) for index, item in enumerate(backwards))


def test_items_do_not_depend_on_how_many_there_are(tiny_store, mixtures):
    more = Mixtures(tiny_store, 0.5, 1000, seed=3, coherent=0.5, gain_db=6.0)
    assert all(equal(mixtures[index], more[index]) for index in range(24))


def test_another_seed_or_index_is_another_item(tiny_store, mixtures):
    other = Mixtures(tiny_store, 0.5, 24, seed=4, coherent=0.5, gain_db=6.0)
    assert not any(torch.equal(mixtures[i]["mix_audio"], other[i]["mix_audio"]) for i in range(24))
    # (seed 3, index 4) and (seed 4, index 3) are not one and the same.
    assert not torch.equal(mixtures[4]["mix_audio"], other[3]["mix_audio"])
    assert len({mixtures[i]["mix_audio"].numpy().tobytes() for i in range(24)}) == 24


def test_global_random_state_is_neither_read_nor_changed(mixtures):
    first = mixtures[5]
    np.random.seed(123)
    random.seed(123)
    with torch.random.fork_rng():
        torch.manual_seed(123)
        before = np.random.get_state(), random.getstate(), torch.get_rng_state()
        assert equal(mixtures[5], first)
        after = np.random.get_state(), random.getstate(), torch.get_rng_state()
    assert all(np.array_equal(one, other) for one, other in zip(before[0], after[0], strict=True))
    assert before[1] == after[1]
    assert torch.equal(before[2], after[2])


# Coherent and incoherent ----------------------------------------------------------------------------------------------


def test_a_coherent_mixture_takes_one_track_at_one_time(ramps):
    for item in Mixtures(ramps, 0.5, 50, coherent=1.0):
        assert len({(track, start) for track, _, start in origins(item)}) == 1


def test_an_incoherent_mixture_draws_track_and_time_for_each_stem(ramps):
    found = [origins(item) for item in Mixtures(ramps, 0.5, 50, coherent=0.0)]
    assert all(len({start for _, _, start in sources}) > 1 for sources in found)
    assert sum(len({track for track, _, _ in sources}) > 1 for sources in found) > 25


def test_a_share_between_makes_that_share_coherent(ramps):
    found = [origins(item) for item in Mixtures(ramps, 0.5, 400, coherent=0.3)]
    coherent = sum(len({(track, start) for track, _, start in sources}) == 1 for sources in found)
    assert scipy.stats.binomtest(coherent, 400, 0.3).pvalue > CHANCE


# What is drawn --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coherent", [0.0, 1.0])
def test_every_second_of_music_is_as_likely_as_any_other(ramps, coherent):
    # Excerpts of one sample, so that the ends of a track are reached as easily as its middle.
    one_sample = Mixtures(ramps, 1 / RATE, 4000, coherent=coherent)
    excerpts = [one_sample.draw(index)[-1] for index in range(4000)]
    counts = Counter((excerpt.track.name, excerpt.start // 500) for excerpt in excerpts)
    cells = [(track, block) for track, frames in LENGTHS.items() for block in range(frames // 500)]
    assert set(counts) <= set(cells)
    assert scipy.stats.chisquare([counts[cell] for cell in cells]).pvalue > CHANCE


def test_a_number_of_sources_draws_that_many_different_labels(ramps):
    for coherent in (0.0, 1.0):
        pairs = Counter()
        for item in Mixtures(ramps, 0.5, 300, coherent=coherent, num_sources=2):
            assert item["source_audio"].shape == (1, 500, 2)
            pairs[tuple(label for _, label, _ in origins(item))] += 1
        assert set(pairs) == {("bass", "drums"), ("bass", "voice"), ("drums", "voice")}
        assert scipy.stats.chisquare(list(pairs.values())).pvalue > CHANCE


@pytest.mark.parametrize("coherent", [0.0, 1.0])
def test_with_fewest_sources_their_number_is_drawn_too_and_the_rest_is_silence(ramps, coherent):
    counts, labels = Counter(), Counter()
    for item in Mixtures(ramps, 0.1, 300, coherent=coherent, num_sources=3, fewest_sources=1):
        assert item["source_audio"].shape == (1, 100, 3)
        sounding = (item["source_audio"].abs().amax(dim=(0, 1)) > 0).tolist()
        assert sounding == sorted(sounding, reverse=True), "silence comes last"
        counts[sum(sounding)] += 1
        if sum(sounding) == 1:
            labels[origins(item)[0][1]] += 1
    assert set(counts) == {1, 2, 3} and scipy.stats.chisquare(list(counts.values())).pvalue > CHANCE
    assert set(labels) == set(LABELS) and scipy.stats.chisquare(list(labels.values())).pvalue > CHANCE


def test_without_fewest_sources_an_item_is_what_it_was_before_there_was_that(ramps):
    one, other = (Mixtures(ramps, 0.1, 20, num_sources=2, fewest_sources=fewest) for fewest in (None, 2))
    assert all(equal(one[index], other[index]) for index in range(20))


def test_gains_are_drawn_uniformly_in_db_up_to_the_limit(tiny_store):
    mixtures = Mixtures(tiny_store, 0.5, 300, coherent=0.0, gain_db=4.0)
    gains = [20 * np.log10(excerpt.gain) for index in range(300) for excerpt in mixtures.draw(index)]
    assert scipy.stats.kstest(gains, scipy.stats.uniform(-4, 8).cdf).pvalue > CHANCE


def test_each_stem_has_its_own_gain_and_the_mixture_has_them_too(tiny_store):
    loud, plain = (Mixtures(tiny_store, 0.5, 5, coherent=1.0, gain_db=gain) for gain in (6.0, 0.0))
    excerpts, same_place = loud.draw(3), plain.draw(3)
    gains = np.array([excerpt.gain for excerpt in excerpts])
    assert len(set(gains)) == 3
    assert [excerpt.gain for excerpt in same_place] == [1, 1, 1]
    sources = [
        excerpt.gain * tiny_store.read(excerpt.track, excerpt.label, excerpt.start, 4000) for excerpt in excerpts
    ]
    np.testing.assert_allclose(loud[3]["source_audio"][0].T, sources, atol=1e-6)
    np.testing.assert_allclose(loud[3]["mix_audio"][0], np.sum(sources, axis=0), atol=1e-6)


def test_only_the_span_of_each_track_is_used_and_all_of_it(ramps):
    early = Mixtures(ramps, 0.25, 300, coherent=0.0, span=(0.0, 0.75))
    late = Mixtures(ramps, 0.25, 300, coherent=0.0, span=(0.75, 1.0))
    for mixtures, (low, high) in ((early, (0.0, 0.75)), (late, (0.75, 1.0))):
        first, last = dict.fromkeys(LENGTHS, 10**9), dict.fromkeys(LENGTHS, 0)
        for item in mixtures:
            for number, (track, _, start) in enumerate(origins(item)):
                sounding = item["source_audio"][0, :, number]
                end = read_ramp(float(sounding[sounding > 0][-1]))[2] + 1
                first[track], last[track] = min(first[track], start), max(last[track], end)
        for track, frames in LENGTHS.items():
            assert low * frames <= first[track] <= (low + 0.05) * frames
            assert (high - 0.05) * frames <= last[track] <= high * frames


def test_a_track_shorter_than_the_mixture_is_followed_by_silence(ramps):
    for item in Mixtures(ramps.where(names=["b"]), 2.0, 3, coherent=1.0):
        assert origins(item) == [("b", label, 0) for label in LABELS]
        assert item["source_audio"][0, 1499].min() > 0
        assert item["source_audio"][0, 1500:].abs().max() == 0


def test_a_track_as_long_as_the_mixture_is_taken_whole(ramps):
    item = Mixtures(ramps.where(names=["b"]), 1.5, 1)[0]
    assert origins(item) == [("b", label, 0) for label in LABELS]
    assert item["source_audio"].min() > 0


# Tracks that lack stems -----------------------------------------------------------------------------------------------


@pytest.fixture
def incomplete(tmp_path) -> Store:
    writer = StoreWriter(tmp_path / "incomplete", RATE)
    noise = np.random.default_rng(0).standard_normal((4, 2000)).astype(np.float32)
    writer.add("a", None, {"bass": noise[0], "voice": noise[1]})
    writer.add("b", None, {"drums": noise[2]})
    return writer.close()


def test_incoherent_mixtures_need_no_complete_track(incomplete):
    mixtures = Mixtures(incomplete, 1.0, 5, coherent=0.0)
    assert [(e.track.name, e.label) for e in mixtures.draw(0)] == [("a", "bass"), ("b", "drums"), ("a", "voice")]
    assert (mixtures[0]["source_audio"].abs().amax(dim=(0, 1)) > 0).all()


def test_coherent_mixtures_of_all_labels_need_a_complete_track(incomplete):
    with pytest.raises(DataError, match="no track of .*incomplete has all of bass, drums, voice.*coherent to 0"):
        Mixtures(incomplete, 1.0, 5, coherent=0.5)


def test_coherent_mixtures_take_only_complete_tracks(tmp_path):
    writer = StoreWriter(tmp_path / "store", RATE)
    noise = np.random.default_rng(0).standard_normal((2, 2000)).astype(np.float32)
    writer.add("lacks one", None, {"bass": noise[0]})
    writer.add("whole", None, {"bass": noise[0], "voice": noise[1]})
    mixtures = Mixtures(writer.close(), 1.0, 30, coherent=1.0)
    assert {excerpt.track.name for index in range(30) for excerpt in mixtures.draw(index)} == {"whole"}


def test_where_a_track_has_fewer_stems_than_sources_the_last_are_silent(incomplete):
    mixtures = Mixtures(incomplete, 1.0, 40, coherent=1.0, num_sources=2)
    sounding = Counter(tuple((item["source_audio"].abs().amax(dim=(0, 1)) > 0).tolist()) for item in mixtures)
    assert set(sounding) == {(True, True), (True, False)}


# What cannot work -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coherent": 1.5}, "between 0 and 1: got 1.5"),
        ({"coherent": -0.1}, "between 0 and 1: got -0.1"),
        ({"duration": 0}, "above 0 seconds: got 0"),
        ({"duration": float("nan")}, "above 0 seconds: got nan"),
        ({"num_sources": 4}, "of 4 sources.*has 3 labels.*bass, drums, voice.*1 to 3"),
        ({"num_sources": 0}, "of 0 sources.*1 to 3"),
        ({"num_sources": 2, "fewest_sources": 3}, "of 3 to 2 sources"),
        ({"num_sources": 2, "fewest_sources": 0}, "of 0 to 2 sources"),
        ({"fewest_sources": 2}, "of 2 to None sources.*name both"),
        ({"seed": -1}, "seed.*-1"),
        ({"span": (0.5, 0.5)}, r"span.*0\.5"),
        ({"span": (-0.5, 1.0)}, r"span.*-0\.5"),
        ({"gain_db": -3.0}, r"gain.*-3"),
    ],
)
def test_arguments_that_cannot_work_are_refused(tiny_store, arguments, message):
    with pytest.raises(ConfigError, match=message):
        Mixtures(tiny_store, **{"duration": 0.5, "length": 4, **arguments})


@pytest.mark.parametrize("index", [4, -1])
def test_an_item_beyond_the_end_is_an_index_error(tiny_store, index):
    mixtures = Mixtures(tiny_store, 0.5, 4)
    assert len(mixtures) == 4 and len(list(mixtures)) == 4
    with pytest.raises(IndexError, match=f"Item {index} .*there are 4"):
        mixtures[index]
