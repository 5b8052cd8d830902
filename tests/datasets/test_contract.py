"""The requirements on every data set: each test runs for all of them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import layouts
import numcodecs
import numpy as np
import nussl
import pytest
import zarr
from nussl.datasets import transforms

from nussl_transfer.audio.io import header
from nussl_transfer.datasets.base import StemDataset
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import DATASETS, open_tracks
from nussl_transfer.datasets.tracks import Track, labels_of
from nussl_transfer.errors import ConfigError, DataError

STFT = nussl.STFTParams(512, 128, "sqrt_hann")


@pytest.fixture(params=sorted(DATASETS))
def dataset(request):
    return DATASETS[request.param]


@pytest.fixture
def folder(dataset, tmp_path):
    return layouts.TREES[dataset.NAME](tmp_path)


def is_pool(tracks):
    """Return whether each track is one file of one stem, so that mixtures can only be incoherent."""
    return all(len(track.stems) == 1 for track in tracks)


def test_it_declares_name_labels_licence_url_and_citation(dataset):
    assert issubclass(dataset, StemDataset) and dataset.__name__ == dataset.NAME
    constants = [name for name in vars(dataset) if name.isupper()]
    assert constants == ["NAME", "LABELS", "LICENSE", "URL", "CITATION"]
    assert dataset.LABELS == tuple(sorted(dataset.LABELS))
    assert all(isinstance(getattr(dataset, name), str) for name in constants if name != "LABELS")


def test_its_tracks_are_sorted_and_unique_and_their_names_are_safe_paths(dataset, folder):
    tracks = dataset.find_tracks(folder)
    names = [track.name for track in tracks]
    assert all(isinstance(track, Track) for track in tracks) and names == sorted(set(names))
    for track in tracks:
        path = PurePosixPath(track.name)
        assert not path.is_absolute() and ".." not in path.parts
        assert list(track.stems) == sorted(track.stems)
        assert all(isinstance(file, Path) and file.is_file() for files in track.stems.values() for file in files)
        if is_pool(tracks):
            assert set(track.stems) <= set(dataset.LABELS)
        else:
            assert not dataset.LABELS or tuple(track.stems) == dataset.LABELS
    assert not dataset.LABELS or labels_of(tracks) == dataset.LABELS


def test_it_is_recognised_and_opened(dataset, folder):
    assert dataset.recognises(folder)
    assert open_tracks(folder) == (dataset.NAME, dataset.find_tracks(str(folder)))
    assert open_tracks(folder, StemOptions(dataset=dataset.NAME.lower()))[0] == dataset.NAME


def test_an_empty_or_absent_folder_is_an_error(dataset, tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        assert not dataset.recognises(folder)
        with pytest.raises(DataError, match=str(folder)):
            dataset(folder)


def test_an_error_names_the_broken_file(dataset, folder):
    path = next(iter(dataset.find_tracks(folder)[0].stems.values()))[0]
    path.write_bytes(b"RIFF, but no more")
    with pytest.raises(DataError, match=re.escape(path.name)):
        dataset(folder)


def test_it_is_registered_in_nussl(dataset):
    # nussl has its own MUSDB18.
    name = "TransferMUSDB18" if dataset.NAME == "MUSDB18" else dataset.NAME
    assert getattr(nussl.datasets, name) is dataset


def test_its_items_have_nussls_form_and_its_sources_sum_to_the_mix(dataset, folder):
    hook = dataset(folder)
    assert isinstance(hook, nussl.datasets.BaseDataset) and isinstance(hook.folder, str)
    tracks = dataset.find_tracks(folder)
    assert len(hook) == len(tracks) > 1
    for item, track in zip(hook, tracks, strict=True):
        assert isinstance(item["mix"], nussl.AudioSignal)
        assert list(item["sources"]) == sorted(item["sources"]) == list(track.stems)
        assert item["metadata"]["labels"] == hook.metadata["labels"] == list(labels_of(tracks))
        total = sum(source.audio_data for source in item["sources"].values())
        assert np.allclose(item["mix"].audio_data, total, atol=1e-6) and np.abs(total).max() > 0.05
        rate = header(next(iter(track.stems.values()))[0]).sample_rate
        assert all(source.sample_rate == item["mix"].sample_rate == rate for source in item["sources"].values())


def test_it_works_with_nussls_transforms_and_a_data_loader(dataset, folder):
    chain = transforms.Compose(
        [
            transforms.MagnitudeSpectrumApproximation(),
            transforms.MagnitudeWeights(),
            transforms.ToSeparationModel(),
            transforms.GetExcerpt(100),
        ]
    )
    hook = dataset(folder, transform=chain, stft_params=STFT, sample_rate=16000, strict_sample_rate=False, num_channels=1)
    item = hook[0]
    sources = 1 if is_pool(hook.items) else len(hook.metadata["labels"])
    assert item["mix_magnitude"].shape == (100, 257, 1)
    assert item["source_magnitudes"].shape == item["ideal_binary_mask"].shape == (100, 257, 1, sources)


def test_nussls_cache_returns_equal_items(dataset, folder, tmp_path):
    options = {"stft_params": STFT, "sample_rate": 8000, "strict_sample_rate": False, "num_channels": 1}
    targets = [transforms.MagnitudeSpectrumApproximation(), transforms.ToSeparationModel()]
    plain = list(dataset(folder, transform=transforms.Compose(targets), **options))
    cache = transforms.Cache(str(tmp_path / "cache"), cache_size=len(plain), overwrite=True)
    hook = dataset(folder, transform=transforms.Compose([*targets, cache]), **options)
    for index in range(len(hook)):
        hook[index]
    for path in {path for track in hook.items for path in track.files}:
        path.unlink()
    hook.cache_populated = True
    for index, item in enumerate(plain):
        cached = hook[index]
        for name in ("mix_magnitude", "source_magnitudes", "ideal_binary_mask"):
            assert np.array_equal(cached[name], item[name])


def test_a_cache_filled_by_plain_nussl_is_an_error(tmp_path):
    items = zarr.open(str(tmp_path / "cache"), mode="w", shape=(1,), dtype=object, object_codec=numcodecs.JSON())
    items[0] = {"mix": 1}
    with pytest.raises(DataError, match="for example by nussl without this package.*Fill it again with overwrite=True"):
        transforms.Cache(str(tmp_path / "cache"), overwrite=False)


def test_groups_ignore_and_splits_work_alike_in_every_data_set(dataset, folder):
    first, second, *others = dataset(folder).labels
    groups = {"two": [first, second], **({"one": others} if others else {})}
    grouped = dataset(folder, groups=groups, split="train")
    assert grouped.metadata["labels"] == sorted(groups) and 0 < len(grouped) < len(dataset(folder))
    assert dataset(folder, ignore=[first]).metadata["labels"] == [second, *others]


def test_an_unknown_option_is_an_error_that_lists_the_known_ones(dataset, folder):
    with pytest.raises(ConfigError, match=f"{dataset.NAME} has no option 'colour'.*(Options: [a-z]|It has no options)"):
        open_tracks(folder, StemOptions(dataset=dataset.NAME, options={"colour": "red"}))
