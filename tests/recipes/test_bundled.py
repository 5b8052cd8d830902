"""Test the recipe of the bundled separators on tiny stand-ins: checkpoint, model card and entry in the list of models."""

from __future__ import annotations

import json
import shutil

import pytest
from layouts import TREES, choirset, track_major

from nussl_transfer.checkpoints import zoo
from nussl_transfer.checkpoints.checkpoint import read_info
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.store.prepare import prepare
from recipes import bundled


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the package's folder after a tiny quartet was bundled into it."""
    folder = tmp_path_factory.mktemp("bundled")
    package = folder / "package"
    (package / "checkpoints" / "weights").mkdir(parents=True)
    shutil.copyfile(zoo.REGISTRY, package / "checkpoints" / "zoo.json")

    def stores(out, samples):
        tracks = open_tracks(TREES["Bach10"](out / "trees"))[1]
        store = prepare(tracks, out / "store", dataset="rendered chorales", progress=False)
        return {"train": store, "test": store}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bundled.BUNDLED, "quartet", bundled.Bundled(
            "Four players", stores, bundled.quartet_recordings, "Tiny.", "MIT"))  # fmt: skip
        path = bundled.bundle(
            "quartet", recordings=str(TREES["Bach10"](folder / "recorded")), recordings_are="two pieces",
            out=str(folder / "out"), iterations=2, batch_size=2, excerpt_seconds=0.5, package=str(package),
        )  # fmt: skip
    assert path == package / "checkpoints" / "weights" / "quartet.pth"
    return package


def test_the_checkpoint_has_the_labels_of_its_training_stems(made):
    info = read_info(made / "checkpoints" / "weights" / "quartet.pth")
    assert info.labels == ("bassoon", "clarinet", "saxophone", "violin") and info.parent == "body" and info.mode == "whole"


def test_the_model_card_describes_the_model_and_its_scores_on_recordings(made):
    card = (made / "checkpoints" / "weights" / "quartet.md").read_text(encoding="utf-8")
    assert "# quartet\n\nFour players" in card and "**Limits**: Tiny." in card and "rendered chorales" in card
    assert "**On two pieces** (2 pieces, " in card and "python -m recipes.bundled --model quartet" in card


def test_the_new_entry_keeps_the_existing_ones(made):
    known = json.loads((made / "checkpoints" / "zoo.json").read_text(encoding="utf-8"))
    assert {"body", "quartet"} <= set(known)
    assert known["quartet"]["file"] == "quartet.pth" and known["quartet"]["license"] == "MIT"


def test_no_test_chorale_is_in_the_training_data_of_the_quartet():
    from recipes.corpora.choir_works import BACH_TRAIN
    from recipes.corpora.scores import is_work, tested_works

    tested = tested_works()
    assert len(set(BACH_TRAIN)) == len(BACH_TRAIN) >= 120
    assert not [work for work in BACH_TRAIN if is_work(f"bach/{work}", tested)]


def test_the_choir_is_trained_on_singers_and_soundfonts_and_tested_on_the_other_takes(tmp_path, monkeypatch):
    def sung(folder, groups):
        tree = track_major(folder, ("a-sung1", "a-sung2"), ("soprano", "alto", "tenor", "bass"), mixture=None)
        return open_tracks(tree, StemOptions(groups=groups))[1]

    monkeypatch.setattr(bundled, "render_choirset", lambda folder, minutes: choirset(folder / "tree"))
    monkeypatch.setattr(bundled, "sung_tracks", sung)
    stores = bundled.choir_stores(tmp_path, None)
    names = {name: {track.name for track in store.tracks} for name, store in stores.items()}
    sung_takes = {"a-sung1", "a-sung2"}
    played = names["train"] - sung_takes
    assert sung_takes < names["train"] and played and all("LI" in name for name in played)
    assert names["test"] and all("TP" in name for name in names["test"])
    assert {store.labels for store in stores.values()} == {("female", "male")}
    assert not any(track.split for track in stores["train"].tracks)
