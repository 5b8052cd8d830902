"""An item is a function of (seed, index), its sources sum to it, and every second of music is as likely as any other."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter

import numpy as np
import pytest
import scipy.signal
import scipy.stats
import torch
from torch.utils.data import DataLoader

from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.excerpt import sounds
from nussl_transfer.mixing.joined import JoinedMixtures
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.mixing.positions import covered
from nussl_transfer.mixing.split import TrainValidSplit, adapt_to_data, mixtures_of
from nussl_transfer.store.manifest import StoredStem, StoredTrack
from nussl_transfer.store.store import Store, StoreWriter, write_stem

RATE = 1000


def draw_from(
    store: Store, seconds: float, length: int, seed: int = 0, span=(0.0, 1.0), missing=None, **config
) -> Mixtures:
    """Build mixtures that are coherent, unless the options say otherwise."""
    return Mixtures(store, MixtureConfig(seconds, **{"coherent": 1.0, **config}), length, seed, span, missing)


LABELS = ("bass", "drums", "voice")
# A sample of a ramp encodes where it comes from: stem number * 10,000 + track number * 1,000,000 + position.
LENGTHS = {"a": 3000, "b": 1500, "c": 6000}
# The smallest probability of an outcome that a test accepts as chance. Seeds are fixed, so a failing test always fails.
CHANCE = 0.001


@pytest.fixture(scope="module")
def ramps(tmp_path_factory) -> Store:
    """Stems whose samples encode stem, track and position. (`StoreWriter` would remove their mean.)"""
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
    """Return track, label and position of a sample of a ramp."""
    track, rest = divmod(round(sample), 1_000_000)
    label, position = divmod(rest, 10_000)
    return list(LENGTHS)[track - 1], LABELS[label], position


def origins(item: dict) -> list[tuple[str, str, int]]:
    """Return where each source of an item starts."""
    return [read_ramp(float(sample)) for sample in item["source_audio"][0, 0]]


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(torch.as_tensor(one[key]), torch.as_tensor(other[key])) for key in one
    )


CHANGED = {"pitch": (-3.0, 3.0), "stretch": (0.8, 1.2)}


@pytest.fixture(params=[{}, CHANGED], ids=["plain", "augmented"])
def how(request) -> dict:
    return {"seed": 3, "coherent": 0.5, "gain_db": 6.0, **request.param}


@pytest.fixture
def mixtures(tiny_store, how) -> Mixtures:
    return draw_from(tiny_store, 0.5, 24, **how)


# One item ------------------------------------------------------------------------------------------------------------


def test_an_item_has_the_documented_shapes(tiny_store):
    item = draw_from(tiny_store, 0.5, 4)[2]
    assert item.keys() == {"mix_audio", "source_audio", "index"}
    assert item["mix_audio"].shape == (1, 4000) and item["source_audio"].shape == (1, 4000, 3)
    assert item["mix_audio"].dtype == item["source_audio"].dtype == torch.float32
    assert item["index"] == 2


@pytest.mark.parametrize("changed", [{}, {"pitch": (-3, 3)}, {"stretch": (0.8, 1.2)}, CHANGED])
@pytest.mark.parametrize("coherent", [0.0, 0.5, 1.0])
def test_sources_sum_to_the_mixture(tiny_store, coherent, changed):
    for item in draw_from(tiny_store, 0.5, 8, coherent=coherent, gain_db=6.0, **changed):
        assert item["mix_audio"].abs().max() > 0
        total = item["source_audio"].double().sum(dim=-1)
        assert (total - item["mix_audio"]).abs().max() <= np.finfo(np.float32).eps * item["source_audio"].abs().max() * 3
        assert np.array_equal(item["mix_audio"].numpy(), item["source_audio"].numpy().sum(axis=-1))


def test_sources_are_in_alphabetical_order_of_their_labels(ramps):
    for item in draw_from(ramps, 0.5, 20, coherent=0.5):
        assert [label for _, label, _ in origins(item)] == ["bass", "drums", "voice"]


def test_the_audio_is_that_of_the_store(ramps):
    for item in draw_from(ramps, 0.5, 20, coherent=0.0):
        for number, (track, label, start) in enumerate(origins(item)):
            entry = ramps.select(names=[track]).tracks[0]
            np.testing.assert_array_equal(item["source_audio"][0, :, number], ramps.read(entry, label, start, 500))


# The same item --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("workers", [1, 4])
def test_items_are_the_same_with_worker_processes_as_without(mixtures, workers):
    loaded = list(DataLoader(mixtures, batch_size=4, num_workers=workers))
    alone = list(DataLoader(mixtures, batch_size=4, num_workers=0))
    assert len(loaded) == 6
    assert all(equal(one, other) for one, other in zip(loaded, alone, strict=True))


def test_items_are_the_same_in_any_order_and_in_another_object(mixtures, tiny_store, how):
    backwards = [mixtures[index] for index in reversed(range(24))][::-1]
    again = draw_from(Store(tiny_store.folder), 0.5, 24, **how)
    assert all(equal(item, again[index]) for index, item in enumerate(backwards))


def test_items_do_not_depend_on_how_many_there_are(tiny_store, mixtures, how):
    more = draw_from(tiny_store, 0.5, 1000, **how)
    assert all(equal(mixtures[index], more[index]) for index in range(24))


def test_another_seed_or_index_is_another_item(tiny_store, mixtures, how):
    other = draw_from(tiny_store, 0.5, 24, **{**how, "seed": 4})
    assert not any(torch.equal(mixtures[i]["mix_audio"], other[i]["mix_audio"]) for i in range(24))
    # (seed 3, index 4) and (seed 4, index 3) are different items.
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


@pytest.mark.parametrize(
    ("how", "digest"),
    [
        ({"seed": 3, "coherent": 1.0}, "ce892721e609c67be69d4fb7bf0f58f99690523812194a4aaed9cd09598032bc"),
        ({"seed": 3, "coherent": 0.0}, "63e4223b0f3668f6548e0a8896d2cd3434963061427bf1482d0372986e39a529"),
        (
            {"seed": 5, "coherent": 0.5, "num_sources": 2, "fewest_sources": 1},
            "e09e01ab21ff98293ecfc91503e8351ac1c539901ed59e49510fe16cdc3eb0c9",
        ),
        (
            {"seed": 7, "coherent": 0.5, "gain_db": 6.0, "span": (0.25, 0.75)},
            "c7b08ef28bdae82f88aa4d55b5658edb18ee0601e75a4641933eee9579fe2080",
        ),
    ],
)
def test_options_of_earlier_versions_still_give_the_same_items(ramps, how, digest):
    """The digests were recorded before pitch, tempo and ``sounding`` were options."""
    mixtures, found = draw_from(ramps, 0.5, 30, **how), hashlib.sha256()
    for index in range(30):
        excerpts = [[e.track.name, e.label, e.start, round(e.gain, 9)] for e in mixtures.draw(index)]
        found.update(json.dumps(excerpts).encode())
        if "gain_db" not in how:
            item = mixtures[index]
            found.update(item["mix_audio"].numpy().tobytes() + item["source_audio"].numpy().tobytes())
    assert found.hexdigest() == digest


# Coherent and incoherent ----------------------------------------------------------------------------------------------


def test_a_coherent_mixture_takes_one_track_at_one_time(ramps):
    for item in draw_from(ramps, 0.5, 50, coherent=1.0):
        assert len({(track, start) for track, _, start in origins(item)}) == 1


def test_an_incoherent_mixture_draws_track_and_time_for_each_stem(ramps):
    found = [origins(item) for item in draw_from(ramps, 0.5, 50, coherent=0.0)]
    assert all(len({start for _, _, start in sources}) > 1 for sources in found)
    assert sum(len({track for track, _, _ in sources}) > 1 for sources in found) > 25


def test_a_share_between_0_and_1_makes_that_share_coherent(ramps):
    found = [origins(item) for item in draw_from(ramps, 0.5, 400, coherent=0.3)]
    coherent = sum(len({(track, start) for track, _, start in sources}) == 1 for sources in found)
    assert scipy.stats.binomtest(coherent, 400, 0.3).pvalue > CHANCE


# What is drawn --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coherent", [0.0, 1.0])
def test_every_second_of_music_is_as_likely_as_any_other(ramps, coherent):
    # Excerpts of one sample, so that the ends of a track are reached as easily as its middle.
    one_sample = draw_from(ramps, 1 / RATE, 4000, coherent=coherent)
    excerpts = [one_sample.draw(index)[-1] for index in range(4000)]
    counts = Counter((excerpt.track.name, excerpt.start // 500) for excerpt in excerpts)
    cells = [(track, block) for track, frames in LENGTHS.items() for block in range(frames // 500)]
    assert set(counts) <= set(cells)
    assert scipy.stats.chisquare([counts[cell] for cell in cells]).pvalue > CHANCE


def test_a_number_of_sources_draws_that_many_different_labels(ramps):
    for coherent in (0.0, 1.0):
        pairs = Counter()
        for item in draw_from(ramps, 0.5, 300, coherent=coherent, num_sources=2):
            assert item["source_audio"].shape == (1, 500, 2)
            pairs[tuple(label for _, label, _ in origins(item))] += 1
        assert set(pairs) == {("bass", "drums"), ("bass", "voice"), ("drums", "voice")}
        assert scipy.stats.chisquare(list(pairs.values())).pvalue > CHANCE


@pytest.mark.parametrize("coherent", [0.0, 1.0])
def test_with_fewest_sources_the_number_of_sources_is_drawn_and_missing_ones_are_silent(ramps, coherent):
    counts, labels = Counter(), Counter()
    for item in draw_from(ramps, 0.1, 300, coherent=coherent, num_sources=3, fewest_sources=1):
        assert item["source_audio"].shape == (1, 100, 3)
        sounding = (item["source_audio"].abs().amax(dim=(0, 1)) > 0).tolist()
        assert sounding == sorted(sounding, reverse=True), "silence comes last"
        counts[sum(sounding)] += 1
        if sum(sounding) == 1:
            labels[origins(item)[0][1]] += 1
    assert set(counts) == {1, 2, 3} and scipy.stats.chisquare(list(counts.values())).pvalue > CHANCE
    assert set(labels) == set(LABELS) and scipy.stats.chisquare(list(labels.values())).pvalue > CHANCE


def test_fewest_sources_equal_to_num_sources_changes_nothing(ramps):
    one, other = (draw_from(ramps, 0.1, 20, num_sources=2, fewest_sources=fewest) for fewest in (None, 2))
    assert all(equal(one[index], other[index]) for index in range(20))


def test_gains_are_drawn_uniformly_in_db_up_to_the_limit(tiny_store):
    mixtures = draw_from(tiny_store, 0.5, 300, coherent=0.0, gain_db=4.0)
    gains = [20 * np.log10(excerpt.gain) for index in range(300) for excerpt in mixtures.draw(index)]
    assert scipy.stats.kstest(gains, scipy.stats.uniform(-4, 8).cdf).pvalue > CHANCE


def test_each_stem_has_its_own_gain_and_the_mixture_has_them_too(tiny_store):
    loud, plain = (draw_from(tiny_store, 0.5, 5, coherent=1.0, gain_db=gain) for gain in (6.0, 0.0))
    excerpts, same_place = loud.draw(3), plain.draw(3)
    gains = np.array([excerpt.gain for excerpt in excerpts])
    assert len(set(gains)) == 3
    assert [excerpt.gain for excerpt in same_place] == [1, 1, 1]
    sources = [excerpt.gain * tiny_store.read(excerpt.track, excerpt.label, excerpt.start, 4000) for excerpt in excerpts]
    np.testing.assert_allclose(loud[3]["source_audio"][0].T, sources, atol=1e-6)
    np.testing.assert_allclose(loud[3]["mix_audio"][0], np.sum(sources, axis=0), atol=1e-6)


def test_only_the_span_of_each_track_is_used_and_all_of_it(ramps):
    early = draw_from(ramps, 0.25, 300, coherent=0.0, span=(0.0, 0.75))
    late = draw_from(ramps, 0.25, 300, coherent=0.0, span=(0.75, 1.0))
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
    for item in draw_from(ramps.select(names=["b"]), 2.0, 3, coherent=1.0):
        assert origins(item) == [("b", label, 0) for label in LABELS]
        assert item["source_audio"][0, 1499].min() > 0
        assert item["source_audio"][0, 1500:].abs().max() == 0


def test_a_track_as_long_as_the_mixture_is_taken_whole(ramps):
    item = draw_from(ramps.select(names=["b"]), 1.5, 1)[0]
    assert origins(item) == [("b", label, 0) for label in LABELS]
    assert item["source_audio"].min() > 0


# Pitch and tempo ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clicks(tmp_path_factory) -> Store:
    """Three stems of clicks at the same times, each with another sound, and a tone of 1 kHz in a track of its own."""
    writer = StoreWriter(tmp_path_factory.mktemp("clicks"), 8000)
    time = np.arange(80000) / 8000
    ages = time % 0.5
    shapes = {
        "bass": 0.5 * np.sin(2 * np.pi * 300 * ages),
        "drums": 0.4 * np.random.default_rng(0).standard_normal(80000),
        "voice": 0.6 * np.cos(9000 * ages),
    }
    writer.add("clicks", None, {label: (shape * np.exp(-ages / 0.004)) for label, shape in shapes.items()})
    tones = {label: 0.3 * np.sin(2 * np.pi * 1000 * time) for label in shapes}
    writer.add("tones", None, tones)
    return writer.close()


def test_a_coherent_mixture_changes_all_stems_alike_and_an_incoherent_one_each_on_its_own(tiny_store):
    for coherent, numbers in ((1.0, {1}), (0.0, {3})):
        mixtures = draw_from(tiny_store, 0.5, 40, coherent=coherent, **CHANGED)
        for index in range(40):
            excerpts = mixtures.draw(index)
            assert {len({e.pitch for e in excerpts}), len({e.stretch for e in excerpts})} == numbers
            assert all(-3 <= e.pitch <= 3 and 0.8 <= e.stretch <= 1.2 for e in excerpts)


def test_pitch_and_tempo_are_drawn_uniformly_alone_or_together(tiny_store):
    for changed in (CHANGED, {"pitch": (-3.0, 3.0)}, {"stretch": (0.8, 1.2)}):
        mixtures = draw_from(tiny_store, 0.5, 400, coherent=1.0, **changed)
        drawn = [mixtures.draw(index)[0] for index in range(400)]
        for name, neutral in (("pitch", 0.0), ("stretch", 1.0)):
            values = [getattr(excerpt, name) for excerpt in drawn]
            if name in changed:
                low, high = changed[name]
                assert scipy.stats.kstest(values, scipy.stats.uniform(low, high - low).cdf).pvalue > CHANCE
            else:
                assert set(values) == {neutral}


def test_stems_of_a_coherent_mixture_stay_together_within_a_millisecond(clicks):
    mixtures = draw_from(clicks.select(names=["clicks"]), 2.0, 6, coherent=1.0, **CHANGED)
    for index in range(6):
        stretch, start = mixtures.draw(index)[0].stretch, mixtures.draw(index)[0].start
        stems = mixtures[index]["source_audio"][0].T.numpy()  # [ns, samples]
        for at in (np.arange(np.ceil(start / 4000), (start + 16000 * stretch) / 4000 - 0.1) * 4000 - start) / stretch:
            if not 400 < at < 15600:
                continue
            around = np.cumsum(stems[:, int(at) - 200 : int(at) + 200].astype(float) ** 2, axis=1)
            onsets = [np.searchsorted(energy, 0.1 * energy[-1]) - 200 for energy in around]
            assert np.abs(onsets).max() <= 16  # two milliseconds from the expected place
            assert np.ptp(onsets) <= 8  # one millisecond between stems


def test_equal_stems_come_out_equal_bit_for_bit(clicks):
    for item in draw_from(clicks.select(names=["tones"]), 1.0, 4, coherent=1.0, **CHANGED):
        bass, drums, voice = item["source_audio"][0].T
        assert torch.equal(bass, drums) and torch.equal(bass, voice)


def test_the_tempo_decides_how_much_of_the_source_is_read(tiny_store):
    mixtures = draw_from(tiny_store, 0.5, 60, coherent=0.5, span=(0.0, 0.9), **CHANGED)
    for index in range(60):
        for excerpt in mixtures.draw(index):
            assert excerpt.frames == round(4000 * excerpt.stretch)
            assert 0 <= excerpt.start and excerpt.start + excerpt.frames <= round(0.9 * excerpt.track.frames)


def test_a_track_too_short_for_its_tempo_is_followed_by_silence(clicks):
    item = draw_from(clicks.select(names=["tones"]), 10.0, 1, stretch=(1.25, 1.25))[0]
    stem = item["source_audio"][0, :, 0]
    assert stem.shape == (80000,) and stem[63000:63900].abs().max() > 0.25 and not stem[64000:].any()


def test_the_drawn_pitch_is_that_of_the_audio(clicks):
    mixtures = draw_from(clicks.select(names=["tones"]), 1.0, 5, **CHANGED)
    for index in range(5):
        spectrum = np.abs(np.fft.rfft(mixtures[index]["mix_audio"][0].numpy() * np.hanning(8000), 64000))
        cents = 1200 * np.log2(spectrum.argmax() / 8 / (1000 * 2 ** (mixtures.draw(index)[0].pitch / 12)))
        assert abs(cents) < 1


def test_half_of_the_stems_are_transposed_by_whole_semitones_all_equally_often(tiny_store):
    mixtures = draw_from(tiny_store, 0.5, 400, coherent=0.0, transpose=2)
    drawn = [excerpt for index in range(400) for excerpt in mixtures.draw(index)]
    counts = Counter(excerpt.pitch for excerpt in drawn)
    assert set(counts) == {-2, -1, 0, 1, 2}
    shares = {semitones: len(drawn) * (0.5 if semitones == 0 else 0.125) for semitones in counts}
    assert scipy.stats.chisquare(list(counts.values()), [shares[key] for key in counts]).pvalue > CHANCE
    assert all(excerpt.stretch == pytest.approx(2 ** (excerpt.pitch / 12)) for excerpt in drawn)
    together = draw_from(tiny_store, 0.5, 40, coherent=1.0, transpose=2)
    assert all(len({excerpt.pitch for excerpt in together.draw(index)}) == 1 for index in range(40))


def test_a_transposed_stem_is_the_stem_at_another_rate(clicks):
    mixtures = draw_from(clicks.select(names=["clicks"]), 1.0, 12, coherent=1.0, transpose=4)
    changed = 0
    for index in range(12):
        excerpt, item = mixtures.draw(index)[0], mixtures[index]
        semitones = excerpt.pitch
        if excerpt.start == 0 or semitones == 0:
            continue
        changed += 1
        entry = mixtures.store.tracks[0]
        source = mixtures.store.read(entry, "bass", excerpt.start, round(8000 * 2 ** (semitones / 12)))
        expected = scipy.signal.resample(source, 8000)  # Fourier's method; soxr is another
        found = item["source_audio"][0, :, mixtures.labels.index("bass")].numpy() / excerpt.gain
        assert np.corrcoef(found[400:-400], expected[400:-400])[0, 1] > 0.99
    assert changed >= 4


def test_validation_mixtures_are_not_transposed(tiny_store):
    train, valid = mixtures_of([TrainValidSplit(tiny_store, tiny_store)], MixtureConfig(0.5, transpose=2), 40, 40)
    assert {excerpt.pitch for index in range(40) for excerpt in train.draw(index)} > {0.0}
    assert {excerpt.pitch for index in range(40) for excerpt in valid.draw(index)} == {0.0}


# Active excerpts ------------------------------------------------------------------------------------------------------


@pytest.fixture
def gaps(tmp_path) -> Store:
    """Two tracks of 4 s: 'bass' is active from 1 to 3 s, 'voice' from 2 to 4 s; in the second track, 'voice' never is."""
    writer = StoreWriter(tmp_path / "gaps", RATE)
    time = np.arange(4 * RATE) / RATE
    noise = 0.1 * np.sign(np.sin(2 * np.pi * 50 * time))
    bass = noise * ((time >= 1) & (time < 3))
    writer.add("both", None, {"bass": bass, "voice": noise * (time >= 2)})
    writer.add("one", None, {"bass": bass, "voice": 1e-5 * noise})
    return writer.close()


@pytest.mark.parametrize("changed", [{}, CHANGED])
def test_with_sounding_every_source_is_active(gaps, changed):
    mixtures = draw_from(gaps, 0.5, 300, coherent=0.5, sounding=True, **changed)
    for index in range(300):
        assert all(sounds(excerpt) for excerpt in mixtures.draw(index))
    for index in range(30):
        assert (mixtures[index]["source_audio"].abs().amax(dim=(0, 1)) > 0.05).all()


def test_active_excerpts_are_drawn_uniformly(gaps):
    mixtures = draw_from(gaps, 0.5, 2000, sounding=True)
    starts = [mixtures.draw(index)[0].start for index in range(2000)]
    # Both are active from 2 to 3 s, and an excerpt of half a second must contain a tenth of a second of that.
    assert scipy.stats.kstest(starts, scipy.stats.uniform(1600, 1300).cdf).pvalue > CHANCE
    assert min(starts) < 1620 and max(starts) > 2880


def test_with_a_number_of_sources_only_active_ones_are_drawn(gaps):
    mixtures = draw_from(gaps, 0.5, 200, sounding=True, num_sources=2, fewest_sources=1)
    drawn = [mixtures.draw(index) for index in range(200)]
    assert all(sounds(excerpt) for excerpts in drawn for excerpt in excerpts)
    assert {tuple(e.label for e in excerpts) for excerpts in drawn} == {("bass",), ("voice",), ("bass", "voice")}


def test_sounding_share_is_given_with_and_without_sounding(gaps):
    for sounding in (False, True):
        shares = draw_from(gaps, 0.5, 1, coherent=0.5, sounding=sounding).sounding_share()
        # Of 3501 starts in each track, by hand.
        assert shares == pytest.approx({"coherent": 1301 / 7002, "bass": 2 * 2301 / 7002, "voice": 1901 / 7002}, abs=3e-4)


def test_stems_that_are_never_active_together_are_an_error(gaps):
    with pytest.raises(DataError, match="no excerpt of 0.5 s in which bass and voice are active.*set coherent to 0"):
        draw_from(gaps.select(names=["one"]), 0.5, 4, sounding=True)
    with pytest.raises(DataError, match="in which voice is active.*leave voice out"):
        draw_from(gaps.select(names=["one"]), 0.5, 4, sounding=True, coherent=0.0)


def test_covered_intervals_equal_a_brute_force_count():
    rng = np.random.default_rng(0)
    for at_least in (1, 2, 3):
        for _ in range(50):
            intervals = np.sort(rng.integers(0, 30, (rng.integers(1, 8), 2)), axis=1)
            counted = sum((np.arange(31) >= low) & (np.arange(31) < high) for low, high in intervals) >= at_least
            found = np.zeros(31, dtype=bool)
            for low, high in covered(intervals, at_least):
                assert low < high and not found[max(0, low - 1) : high].any(), "apart and in order"
                found[low:high] = True
            np.testing.assert_array_equal(found, counted)


# Joined stores --------------------------------------------------------------------------------------------------------


@pytest.fixture
def other(tmp_path) -> Store:
    """A store with one label more than `tiny_store`; every sample is -0.5 or 0.5."""
    writer = StoreWriter(tmp_path / "other", 8000)
    square = 0.5 * np.sign(np.sin(2 * np.pi * 100.3 * np.arange(16000) / 8000) + 1e-9)
    for name in ("x", "y"):
        stems = {label: square for label in ("bass", "drums", "voice", "zither")}
        for label in stems:
            write_stem(tmp_path / "other" / name / f"{label}.wav", square.astype("f4"), 8000)
        entries = {label: StoredStem(f"{name}/{label}.wav", 0.5, 0.5, [[0, 16000]]) for label in stems}
        writer.tracks.append(StoredTrack(name, None, 16000, entries))
    return writer.close()


@pytest.fixture
def joined(tiny_store, other) -> JoinedMixtures:
    parts = [draw_from(tiny_store, 0.5, 1, **CHANGED), draw_from(other.select(labels=tiny_store.labels), 0.5, 1)]
    return JoinedMixtures(parts, [1, 3], 400, seed=5)


def test_joined_stores_give_their_shares(joined, tiny_store):
    tracks = {track.name for track in tiny_store.tracks}
    first = sum(joined.draw(index)[0].track.name in tracks for index in range(400))
    assert scipy.stats.binomtest(first, 400, 0.25).pvalue > CHANCE
    assert joined.labels == ("bass", "drums", "voice") and joined.samples == 4000 and len(joined) == 400


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_joined_items_are_functions_of_seed_and_index(joined):
    some = torch.utils.data.Subset(joined, range(12))
    alone, loaded = (list(DataLoader(some, batch_size=3, num_workers=workers)) for workers in (0, 4))
    assert all(equal(one, other) for one, other in zip(loaded, alone, strict=True))
    again = JoinedMixtures(joined.parts, [0.25, 0.75], 12, seed=5)
    assert all(equal(joined[index], again[index]) for index in reversed(range(12)))
    assert not equal(joined[0], JoinedMixtures(joined.parts, [1, 3], 12, seed=6)[0])


def test_joined_items_are_items_of_their_parts_and_sum_to_the_mixture(joined, tiny_store):
    for index in range(12):
        item = joined[index]
        total = item["source_audio"].double().sum(dim=-1)
        assert (total - item["mix_audio"]).abs().max() < 1e-6 and item["index"] == index
        if joined.draw(index)[0].track.name in ("x", "y"):
            assert set(item["source_audio"].unique().tolist()) == {-0.5, 0.5}


def test_incoherent_mixtures_combine_stems_of_several_stores(tiny_store, other):
    parts = [draw_from(store, 0.5, 1, coherent=0.5) for store in (tiny_store, other.select(labels=tiny_store.labels))]
    joined, first = JoinedMixtures(parts, [1, 3], 600, seed=5), {track.name for track in tiny_store.tracks}
    found = [[excerpt.track.name in first for excerpt in joined.draw(index)] for index in range(600)]
    mixed = sum(len(set(sources)) == 2 for sources in found)
    # Half are incoherent; of those, all three stems are of one store in (1 / 4)^3 + (3 / 4)^3.
    assert scipy.stats.binomtest(mixed, 600, 0.5 * (1 - 1 / 64 - 27 / 64)).pvalue > CHANCE
    assert scipy.stats.binomtest(sum(sources[1] for sources in found), 600, 0.25).pvalue > CHANCE
    # Samples of the other store are -0.5 or 0.5.
    for index in range(40):
        item = joined[index]
        for number, ours in enumerate(found[index]):
            values = set(item["source_audio"][0, :, number].unique().tolist())
            assert (values == {-0.5, 0.5}) != ours
        assert np.array_equal(item["mix_audio"].numpy(), item["source_audio"].numpy().sum(axis=-1))


def test_a_part_with_only_coherent_mixtures_gives_no_single_stems(tiny_store, other):
    parts = [draw_from(tiny_store, 0.5, 1, coherent=1.0), draw_from(other.select(labels=LABELS), 0.5, 1, coherent=0.0)]
    joined, first = JoinedMixtures(parts, [1, 1], 60, seed=5), {track.name for track in tiny_store.tracks}
    assert {len({excerpt.track.name in first for excerpt in joined.draw(index)}) for index in range(60)} == {1}


def test_stores_with_different_labels_are_an_error_that_names_the_common_ones(tiny_store, other):
    parts = [draw_from(tiny_store, 0.5, 1), draw_from(other, 0.5, 1)]
    with pytest.raises(ConfigError, match=r"labels differ.*zither.*select\(labels=\['bass', 'drums', 'voice'\]\)"):
        JoinedMixtures(parts, [1, 1], 4)


@pytest.mark.parametrize(
    ("shares", "seed", "message"),
    [([1], 0, "2 parts.*1 shares"), ([1, -1], 0, "from 0 up"), ([0, 0], 0, "above 0"), ([1, 1], -1, "seed.*-1")],
)
def test_invalid_shares_are_an_error(tiny_store, shares, seed, message):
    with pytest.raises(ConfigError, match=message):
        JoinedMixtures([draw_from(tiny_store, 0.5, 1)] * 2, shares, 4, seed)


def test_joined_parts_of_other_lengths_are_refused(tiny_store):
    with pytest.raises(ConfigError, match="numbers of samples differ, 4000 and 2000"):
        JoinedMixtures([draw_from(tiny_store, seconds, 1) for seconds in (0.5, 0.25)], [1, 1], 4)


def test_an_item_beyond_the_end_of_joined_stores_is_an_index_error(joined):
    with pytest.raises(IndexError, match="Index 400.*there are 400"):
        joined[400]


def test_a_description_changes_with_all_that_changes_the_items(tiny_store, other, joined):
    plain = draw_from(tiny_store, 0.5, 4)
    others = [
        draw_from(tiny_store, 0.5, 4, **changed)
        for changed in ({"seed": 1}, {"pitch": (-1, 1)}, {"stretch": (0.9, 1.0)}, {"sounding": True}, {"coherent": 0.5})
    ]
    described = [json.dumps(mixtures.describe()) for mixtures in (plain, *others, joined)]
    assert len(set(described)) == len(described)
    assert json.dumps(draw_from(Store(tiny_store.folder), 0.5, 4).describe()) == described[0]
    again = JoinedMixtures(joined.parts, [1, 2], 400, seed=5)
    assert again.describe() != joined.describe()


# Tracks that lack stems -----------------------------------------------------------------------------------------------


@pytest.fixture
def incomplete(tmp_path) -> Store:
    writer = StoreWriter(tmp_path / "incomplete", RATE)
    noise = np.random.default_rng(0).standard_normal((4, 2000)).astype(np.float32)
    writer.add("a", None, {"bass": noise[0], "voice": noise[1]})
    writer.add("b", None, {"drums": noise[2]})
    return writer.close()


def test_incoherent_mixtures_need_no_complete_track(incomplete):
    mixtures = draw_from(incomplete, 1.0, 5, coherent=0.0)
    assert [(e.track.name, e.label) for e in mixtures.draw(0)] == [("a", "bass"), ("b", "drums"), ("a", "voice")]
    assert (mixtures[0]["source_audio"].abs().amax(dim=(0, 1)) > 0).all()


def test_coherent_mixtures_of_all_labels_need_a_complete_track(incomplete):
    with pytest.raises(DataError, match="incomplete has no track with all of bass, drums, voice.*coherent to 0"):
        draw_from(incomplete, 1.0, 5, coherent=0.5)


def test_coherent_mixtures_take_only_complete_tracks(tmp_path):
    writer = StoreWriter(tmp_path / "store", RATE)
    noise = np.random.default_rng(0).standard_normal((2, 2000)).astype(np.float32)
    writer.add("lacks one", None, {"bass": noise[0]})
    writer.add("whole", None, {"bass": noise[0], "voice": noise[1]})
    mixtures = draw_from(writer.close(), 1.0, 30, coherent=1.0)
    assert {excerpt.track.name for index in range(30) for excerpt in mixtures.draw(index)} == {"whole"}


def test_if_a_track_has_fewer_stems_than_sources_the_last_are_silent(incomplete):
    mixtures = draw_from(incomplete, 1.0, 40, coherent=1.0, num_sources=2)
    sounding = Counter(tuple((item["source_audio"].abs().amax(dim=(0, 1)) > 0).tolist()) for item in mixtures)
    assert set(sounding) == {(True, True), (True, False)}


@pytest.fixture
def band(tmp_path) -> Store:
    """A store of tracks that lack stems: 'drums' is in one of six, 'bass' and 'voice' in three. Levels identify labels."""
    writer = StoreWriter(tmp_path / "band", RATE, missing="silence")
    levels = {"bass": 0.1, "drums": 0.2, "voice": 0.4}
    time = np.arange(2000)
    stems = {label: level * np.sign(np.sin(2 * np.pi * time / 20 + 0.1)) for label, level in levels.items()}
    for number, labels in enumerate((("bass", "voice"), ("bass",), ("voice",), ("bass",), ("voice",), ("drums",))):
        writer.add(f"track {number}", None, {label: stems[label] for label in labels})
    return writer.close()


@pytest.mark.parametrize("config", [{}, {"sounding": True}, {"num_sources": 2, "fewest_sources": 1}, {"coherent": 0.5}])
def test_a_label_that_a_track_lacks_is_silent_at_its_own_place(band, config):
    for item in draw_from(Store(band.folder), 0.5, 60, **config):
        assert item["source_audio"].shape == (1, 500, 3)
        levels = item["source_audio"].abs().amax(dim=(0, 1)).tolist()
        assert all(found == 0 or abs(found - level) < 0.03 for found, level in zip(levels, (0.1, 0.2, 0.4), strict=True))
        assert max(levels) > 0
        assert torch.equal(item["source_audio"].sum(dim=-1), item["mix_audio"])


@pytest.mark.parametrize("sounding", [False, True])
def test_rare_labels_are_drawn_about_as_often_as_others(band, sounding):
    mixtures = draw_from(band, 0.5, 1200, sounding=sounding)
    counts = Counter(excerpt.label for index in range(1200) for excerpt in mixtures.draw(index))
    # By hand: a label is drawn first, and one of three tracks with bass has voice as well.
    for label, share in {"bass": 4 / 9, "drums": 3 / 9, "voice": 4 / 9}.items():
        assert scipy.stats.binomtest(counts[label], 1200, share).pvalue > CHANCE


def test_the_store_decides_about_missing_labels_unless_told_otherwise(band, incomplete):
    assert draw_from(incomplete, 0.5, 1, missing="silence")[0]["source_audio"].shape == (1, 500, 3)
    with pytest.raises(DataError, match="Set missing to 'silence'"):
        draw_from(band, 0.5, 1, missing="error")


def test_complete_tracks_give_the_same_items_with_missing_silence(ramps):
    plain, silence = draw_from(ramps, 0.5, 20), draw_from(ramps, 0.5, 20, missing="silence")
    assert all(equal(plain[index], silence[index]) for index in range(20))


# Given mixtures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def mastered(tmp_path) -> Store:
    """Two tracks with a mixture that is not the sum of their stems: it is twice as loud, and clipped."""
    writer = StoreWriter(tmp_path / "mastered", 8000)
    time = np.arange(16000) / 8000
    for number in (1, 2):
        stems = {
            "bass": 0.2 * np.sin(2 * np.pi * 100 * number * time),
            "voice": 0.2 * np.sin(2 * np.pi * 1000 * number * time),
        }
        writer.add(f"song {number}", None, stems, mixture=np.clip(2 * sum(stems.values()), -0.5, 0.5))
    return writer.close()


def test_a_given_mixture_is_the_input_and_its_stems_are_the_sources(mastered):
    mixtures = draw_from(Store(mastered.folder), 0.5, 10)
    for index in range(10):
        first, item = mixtures.draw(index)[0], mixtures[index]
        given = mastered.read(first.track, "mixture", first.start, 4000)
        np.testing.assert_array_equal(item["mix_audio"][0], given)
        expected = [mastered.read(first.track, label, first.start, 4000) for label in ("bass", "voice")]
        np.testing.assert_array_equal(item["source_audio"][0].T, expected)
    assert mixtures.describe()["given_mixtures"]


def test_a_given_mixture_is_shifted_and_stretched_as_its_stems(mastered):
    mixtures = draw_from(mastered.select(names=["song 1"]), 1.0, 5, **CHANGED)
    for index in range(5):
        spectrum = np.abs(np.fft.rfft(mixtures[index]["mix_audio"][0].numpy() * np.hanning(8000), 64000))
        high = spectrum[8 * 700 :].argmax() / 8 + 700
        assert 1200 * np.log2(high / (1000 * 2 ** (mixtures.draw(index)[0].pitch / 12))) == pytest.approx(0, abs=5)


def test_joined_stores_may_have_given_mixtures(mastered, tiny_store):
    parts = [draw_from(mastered, 0.5, 1), draw_from(tiny_store.select(labels=["bass", "voice"]), 0.5, 1, coherent=0.0)]
    joined = JoinedMixtures(parts, [1, 1], 40)
    for index in range(40):
        item = joined[index]
        sums = torch.equal(item["source_audio"].sum(dim=-1), item["mix_audio"])
        assert sums != (joined.draw(index)[0].track.mixture is not None)


@pytest.mark.parametrize("config", [{"coherent": 0.5}, {"gain_db": 3.0}, {"timbre": 0.5}, {"num_sources": 1}])
def test_options_that_change_stems_alone_do_not_fit_given_mixtures(mastered, config):
    with pytest.raises(ConfigError, match="prepared with its own mixtures.*Set coherent to 1, gain_db and timbre to 0"):
        draw_from(mastered, 0.5, 1, **config)
    split = TrainValidSplit(mastered, mastered)
    adapted = adapt_to_data([split], MixtureConfig(0.5, **config))
    assert (adapted.coherent, adapted.gain_db, adapted.timbre, adapted.num_sources) == (1.0, 0.0, 0.0, None)
    assert all(mixtures.given_mixtures for mixtures in mixtures_of([split], adapted, 4, 2))


# Timbre ---------------------------------------------------------------------------------------------------------------


def test_timbre_is_drawn_for_its_share_of_stems_and_changes_nothing_else(tiny_store):
    how = {"coherent": 0.5, "timbre": 0.3, "eq_db": 4.0, "room": 0.5}
    mixtures = draw_from(tiny_store, 0.5, 300, **how)
    drawn = [excerpt for index in range(300) for excerpt in mixtures.draw(index)]
    changed = [excerpt.timbre for excerpt in drawn if excerpt.timbre is not None]
    assert scipy.stats.binomtest(len(changed), len(drawn), 0.3).pvalue > CHANCE
    assert scipy.stats.binomtest(sum(timbre.room is not None for timbre in changed), len(changed), 0.5).pvalue > CHANCE
    gains = [gain for timbre in changed for gain in timbre.gains_db]
    assert scipy.stats.kstest(gains, scipy.stats.norm(0, 4.0).cdf).pvalue > CHANCE
    assert len({timbre.gains_db for timbre in changed}) == len(changed)


@pytest.mark.parametrize("changed", [{}, CHANGED])
def test_sources_of_changed_timbre_sum_to_the_mixture_and_keep_their_level(tiny_store, changed):
    plain = draw_from(tiny_store, 0.5, 12, 3, coherent=0.5, **changed)
    coloured = draw_from(tiny_store, 0.5, 12, 3, coherent=0.5, timbre=1.0, eq_db=6.0, room=0.5, **changed)
    again = draw_from(Store(tiny_store.folder), 0.5, 12, 3, coherent=0.5, timbre=1.0, eq_db=6.0, room=0.5, **changed)
    first = [(plain.draw(index)[0], coloured.draw(index)[0]) for index in range(12)]
    assert all((one.track, one.start, one.pitch) == (other.track, other.start, other.pitch) for one, other in first)
    for index in reversed(range(12)):
        item = coloured[index]
        assert np.array_equal(item["mix_audio"].numpy(), item["source_audio"].numpy().sum(axis=-1))
        assert equal(item, again[index])
        # The first stem is drawn before any timbre is: it is the same excerpt in both.
        one, other = (found["source_audio"][0, :, 0].double() for found in (plain[index], item))
        assert not torch.equal(one, other)
        torch.testing.assert_close(one.square().mean(), other.square().mean(), rtol=1e-5, atol=0)


# Invalid arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coherent": 1.5}, "coherent is 1.5.*between 0 and 1"),
        ({"coherent": -0.1}, "coherent is -0.1.*between 0 and 1"),
        ({"timbre": 1.5}, "timbre is 1.5.*between 0 and 1"),
        ({"room": float("nan")}, "room is nan.*between 0 and 1"),
        ({"eq_db": -1.0}, "eq_db is -1.0"),
        ({"eq_db": 1e9}, "eq_db is 1000000000.0"),
        ({"seconds": 0}, "excerpt_seconds is 0.*above 0"),
        ({"seconds": float("nan")}, "excerpt_seconds is nan.*above 0"),
        ({"seconds": float("inf")}, "excerpt_seconds is inf.*above 0"),
        ({"seconds": 1e-5}, "excerpt_seconds is 1e-05: less than one sample at 8000 Hz"),
        ({"seconds": None}, "excerpt_seconds is None"),
        ({"num_sources": 4}, "num_sources is 4.*has 3 labels.*bass, drums, voice.*1 to 3"),
        ({"num_sources": 0}, "num_sources is 0.*at least 1"),
        ({"num_sources": 2, "fewest_sources": 3}, "fewest_sources is 3 and num_sources is 2"),
        ({"num_sources": 2, "fewest_sources": 0}, "fewest_sources is 0 and num_sources is 2"),
        ({"fewest_sources": 2}, "fewest_sources is 2 and num_sources is None.*both"),
        ({"seed": -1}, "seed is -1"),
        ({"missing": "keep"}, "missing is 'keep'.*'error', 'skip', 'silence'"),
        ({"span": (0.5, 0.5)}, r"span.*0\.5"),
        ({"span": (-0.5, 1.0)}, r"span.*-0\.5"),
        ({"gain_db": -3.0}, r"gain.*-3"),
        ({"pitch": (3, -3)}, "pitch must be a range of two numbers"),
        ({"pitch": (-9, 9), "stretch": (0.6, 1.5)}, "too large a change"),
        ({"stretch": (0.5, 1.0), "transpose": 2}, "too large a change"),
        ({"transpose": 7}, "transpose is 7.*from 0 to 6"),
        ({"transpose": 1.5}, "transpose is 1.5. Give a whole number"),
    ],
)
def test_invalid_arguments_are_refused(tiny_store, arguments, message):
    with pytest.raises(ConfigError, match=message):
        draw_from(tiny_store, **{"seconds": 0.5, "length": 4, **arguments})


@pytest.mark.parametrize("index", [4, -1])
def test_an_item_beyond_the_end_is_an_index_error(tiny_store, index):
    mixtures = draw_from(tiny_store, 0.5, 4)
    assert len(mixtures) == 4 and len(list(mixtures)) == 4
    with pytest.raises(IndexError, match=f"Index {index} .*there are 4"):
        mixtures[index]
