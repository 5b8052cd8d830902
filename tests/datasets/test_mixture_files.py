"""The rest of a mixture as a stem, and given mixtures as the input: data set, store, mixtures."""

import layouts
import numpy as np
import pytest

from nussl_transfer.datasets.mixture_files import fit_mixture
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.datasets.stem_folder import StemFolder
from nussl_transfer.datasets.validation.check import check
from nussl_transfer.errors import ConfigError, DataError
from nussl_transfer.mixing.config import MixtureConfig
from nussl_transfer.mixing.mixtures import Mixtures
from nussl_transfer.mixing.split import adapt_to_data, train_valid_split
from nussl_transfer.store.prepare import prepare

RATE = 8000


def noise(seed, seconds=1.0, colour=0.9):
    """Return noise whose spectrum falls with frequency; it is different for each seed."""
    white = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return 0.1 * np.convolve(white, colour ** np.arange(30), "same") / 2


def write_tracks(folder, mixture=lambda stem, rest: stem + rest, tracks="ab"):
    for number, track in enumerate(tracks):
        stem, rest = noise(2 * number), noise(2 * number + 1)
        for name, audio in (("vocals", stem), ("mixture", mixture(stem, rest))):
            layouts.write(folder / track / f"{name}.wav", audio, RATE)
    return folder


def test_the_rest_is_the_mixture_minus_the_stem(tmp_path):
    folder = write_tracks(tmp_path / "set")
    options = StemOptions(rest=True)
    _, tracks = open_tracks(folder, options)
    assert [sorted(track.stems) for track in tracks] == [["rest", "vocals"]] * 2
    store = prepare(tracks, tmp_path / "store", RATE, options=options, progress=False)
    rest = noise(1)
    np.testing.assert_allclose(store.read(store.tracks[0], "rest"), rest - rest.mean(), atol=2e-4)
    item = StemFolder(folder, rest=True)[0]
    np.testing.assert_allclose(item["sources"]["rest"].audio_data[0], rest, atol=2e-4)
    assert not check(tracks, deep=True, options=options, progress=False).fatal


def test_the_check_of_one_stem_and_a_mixture_suggests_rest(tmp_path):
    found = check(open_tracks(write_tracks(tmp_path))[1], progress=False)
    assert "With --rest, the mixture file minus this stem is the second" in found.table()


@pytest.mark.parametrize(
    ("mixture", "sentence"),
    [
        (lambda stem, rest: 0.5 * stem + 0.3 * rest, "-6.. dB in the mixture: change its gain"),
        (lambda stem, rest: np.roll(stem, 80) + 0.3 * rest, "10.0 ms late in the mixture: shift it"),
        (lambda stem, rest: np.roll(stem, -80) + 0.3 * rest, "10.0 ms early in the mixture: shift it"),
        (lambda stem, rest: -stem + 0.3 * rest, "opposite sign in the mixture: invert it"),
        (lambda stem, rest: 0.2 * rest, "louder than the mixture; the stem is"),
    ],
)
def test_a_stem_that_does_not_fit_its_mixture_is_an_error_that_says_why(tmp_path, mixture, sentence):
    folder = write_tracks(tmp_path / "set", mixture)
    options = StemOptions(rest=True)
    _, tracks = open_tracks(folder, options)
    with pytest.raises(DataError, match=sentence):
        prepare(tracks, tmp_path / "store", RATE, options=options, progress=False)
    errors = [finding for finding in check(tracks, deep=True, progress=False).findings if finding.level == "error"]
    assert {finding.track for finding in errors} == {"a", "b"}


def test_residual_correlation_gain_and_lag_are_those_computed_by_hand():
    stem, rest = noise(0), noise(1)
    fit = fit_mixture(0.8 * np.roll(stem, 16) + rest, stem, RATE)
    assert fit.lag == pytest.approx(16 / RATE) and fit.gain == pytest.approx(0.8, abs=0.1)
    fit = fit_mixture(stem + rest, stem, RATE)
    assert fit.residual_db == pytest.approx(10 * np.log10(np.sum(rest**2) / np.sum((stem + rest) ** 2)))
    assert fit.correlation == pytest.approx(rest @ stem / np.sqrt((rest @ rest) * (stem @ stem))) and not fit.fault
    assert not fit_mixture(stem, stem, RATE).fault, "a silent rest is not a fault"


def test_rest_without_mixture_files_is_an_error(tmp_path):
    folder = layouts.track_major(tmp_path, mixture=None, seconds=0.05)
    for options in (StemOptions(rest=True), StemOptions(use_mixtures=True)):
        with pytest.raises(DataError, match="needs? a mixture file in each track"):
            open_tracks(folder, options)


@pytest.fixture
def mastered(tmp_path):
    """Tracks of two stems with a mixture that is not their sum."""
    for number, track in enumerate("abc"):
        one, other = noise(2 * number), noise(2 * number + 1)
        for name, audio in (("bass", one), ("drums", other), ("mixture", np.tanh(3 * (one + other)))):
            layouts.write(tmp_path / "set" / track / f"{name}.wav", audio, RATE)
    return tmp_path / "set"


def test_given_mixtures_are_the_input_and_stems_the_targets(mastered, tmp_path):
    options = StemOptions(use_mixtures=True)
    _, tracks = open_tracks(mastered, options)
    store = prepare(tracks, tmp_path / "store", RATE, options=options, progress=False)
    assert store.has_mixtures and store.labels == ("bass", "drums")
    items = Mixtures(store, MixtureConfig(0.25, coherent=1.0), 6)
    given = {}
    for track in "abc":
        one, other = (noise(2 * "abc".index(track) + k) for k in (0, 1))
        given[track] = np.tanh(3 * (one + other))
    for index in range(6):
        item, drawn = items[index], items.draw(index)[0]
        part = given[drawn.track.name][drawn.start : drawn.start + 2000]
        np.testing.assert_allclose(item["mix_audio"][0], part - given[drawn.track.name].mean(), atol=2e-4)
        assert not np.allclose(item["mix_audio"][0], item["source_audio"][0].sum(-1), atol=0.01)
    item = StemFolder(mastered, use_mixtures=True)[0]
    np.testing.assert_allclose(item["mix"].audio_data[0], given["a"], atol=2e-4)
    # Preparing with the same options keeps the given mixtures; without use_mixtures, the store has none.
    again = prepare(tracks, tmp_path / "store", RATE, options=options, progress=False)
    assert again.fingerprint() == store.fingerprint()
    assert not prepare(open_tracks(mastered)[1], tmp_path / "store", RATE, progress=False).has_mixtures


def test_given_mixtures_allow_coherent_mixtures_only(mastered, tmp_path):
    options = StemOptions(use_mixtures=True)
    store = prepare(open_tracks(mastered, options)[1], tmp_path / "store", RATE, options=options, progress=False)
    with pytest.raises(ConfigError, match="its own mixtures.*Set coherent to 1"):
        Mixtures(store, MixtureConfig(0.25, coherent=0.5), 1)
    adapted = adapt_to_data([train_valid_split(store)], MixtureConfig(0.25, coherent=0.5, gain_db=6.0, timbre=0.5))
    assert (adapted.coherent, adapted.gain_db, adapted.timbre) == (1.0, 0.0, 0.0)


def test_the_check_reports_how_far_a_mixture_is_from_the_sum_of_its_stems(mastered):
    options = StemOptions(use_mixtures=True)
    found = check(open_tracks(mastered, options)[1], deep=True, options=options, progress=False)
    said = [str(finding) for finding in found.findings if "mixture.wav" in str(finding)]
    assert len(said) == 3 and all("x the sum of the stems, residual -" in line for line in said) and not found.fatal
