"""Evaluation: excerpts from a list, SI-SDR equal to nussl's, and valid tests of significance."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import nussl
import pytest
import scipy.signal
import soundfile
import torch
from noisy_tones import LABELS, RATE, STFT, make_checkpoint, stem
from nussl.evaluation import BSSEvalScale
from nussl.separation.deep import DeepMaskEstimation

from nussl_transfer.audio.si_sdr import si_sdr
from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.errors import CheckpointError, ConfigError, DataError
from nussl_transfer.evaluation.batches import SAMPLES_AT_ONCE, batches, load_excerpts
from nussl_transfer.evaluation.estimators import estimate_sources
from nussl_transfer.evaluation.evaluate import evaluate, write_example
from nussl_transfer.evaluation.excerpts import make_excerpts, songs_of
from nussl_transfer.evaluation.metrics import bss_eval
from nussl_transfer.evaluation.probe import SourceSeparationProbe
from nussl_transfer.evaluation.score import score, score_each
from nussl_transfer.evaluation.statistics import holm, shown_by_our_rule, summarise
from nussl_transfer.report import page, text
from nussl_transfer.store.store import StoreWriter


def masks_of(network):
    """Masks by nussl's own network: its `forward`."""
    network.eval()
    return lambda magnitude: network({"mix_magnitude": magnitude})["mask"]


def as_signal(audio):
    return nussl.AudioSignal(audio_data_array=np.atleast_2d(audio), sample_rate=RATE)


def test_excerpts_lie_side_by_side_and_a_short_track_is_one(store):
    found = make_excerpts(store, 1.0)
    assert [(excerpt.track, excerpt.start, excerpt.frames) for excerpt in found] == [
        ("one", 0, RATE),
        ("one", RATE, RATE),
        ("short", 0, 9000),
        ("two", 0, RATE),
        ("two", RATE, RATE),
    ]
    assert all([source.label for source in excerpt.sources] == list(LABELS) for excerpt in found)
    half = make_excerpts(store.select(names=["one"]), 1.0, hop=0.5)
    assert [excerpt.start for excerpt in half] == [0, 8000, 16000, 24000]


def test_drawn_excerpts_depend_on_the_seed_alone_and_stay_within_their_tracks(store):
    np.random.seed(1)
    first = make_excerpts(store, 1.0, count=200, seed=3)
    np.random.seed(2)
    assert make_excerpts(store, 1.0, count=200, seed=3) == first != make_excerpts(store, 1.0, count=200, seed=4)
    lengths = {track.name: track.frames for track in store.tracks}
    assert all(0 <= e.start and e.start + e.frames <= lengths[e.track] for e in first)
    # A track is drawn in proportion to its length: here 40000 of 89000 samples.
    assert 70 <= sum(e.track == "one" for e in first) <= 110


def test_tracks_of_one_stem_cannot_be_scored_as_mixtures(tmp_path):
    writer = StoreWriter(tmp_path, RATE)
    for label in ("kick", "snare"):
        writer.add(label, None, {label: np.random.default_rng(0).standard_normal(RATE)})
    pool = writer.close()
    with pytest.raises(DataError, match="each of its 2 tracks has one stem. Draw incoherent excerpts"):
        make_excerpts(pool, 0.5, 3)
    assert len(make_excerpts(pool, 0.5, 3, coherent=False)) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"excerpt_seconds": 0}, {"excerpt_seconds": float("nan")}, {"excerpt_seconds": float("inf")},
        {"excerpt_seconds": 1e-5}, {"excerpt_seconds": 1, "hop": -1}, {"excerpt_seconds": 1, "hop": 1e-9},
        {"excerpt_seconds": 1, "count": 0}, {"excerpt_seconds": 1, "count": 3, "seed": -1},
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused_in_a_sentence(store, wrong):
    with pytest.raises(ConfigError, match="expected (a number above 0|0 or more)|shorter than the samples"):
        make_excerpts(store, **wrong)


def through_nussl(store, checkpoint, excerpt):
    """SI-SDR by label of the estimates, and of the mixture, by nussl's separator and nussl's evaluation."""
    track = next(track for track in store.tracks if track.name == excerpt.track)
    references = [as_signal(store.read(track, label, excerpt.start, excerpt.frames)) for label in LABELS]
    mixture = as_signal(sum(reference.audio_data for reference in references))
    estimates = DeepMaskEstimation(mixture, model_path=str(checkpoint))()
    found = BSSEvalScale(references, estimates, source_labels=list(LABELS)).evaluate()
    return {label: (found[label]["SI-SDR"][0], found[label]["MIX-SI-SDR"][0]) for label in LABELS}


@pytest.mark.parametrize("batch_size", [1, 3])
def test_scores_are_those_of_nussls_separator_and_evaluation(store, checkpoint, batch_size):
    excerpts = make_excerpts(store, 1.0)
    ours = score(checkpoint, store, excerpts, name="x", batch_size=batch_size, progress=False)
    mixture = score("mixture", store, excerpts, progress=False)
    assert len(ours) == len(mixture) == 10
    for excerpt in excerpts:
        expected = through_nussl(store, checkpoint, excerpt)
        for rows, which in ((ours, 0), (mixture, 1)):
            found = {
                row["label"]: row["si_sdr"]
                for row in rows
                if (row["track"], row["start"]) == (excerpt.track, excerpt.start)
            }
            assert found == pytest.approx({label: expected[label][which] for label in LABELS}, abs=1e-3)
    assert {row["estimate"] for row in ours} == {"x"}


@pytest.mark.parametrize("gain", [1e-3, 300.0])
def test_loud_and_soft_excerpts_score_as_nussl_scores_them(store, checkpoint, gain):
    excerpt = make_excerpts(store, 1.0)[1]
    changed = replace(excerpt, sources=tuple(replace(source, gain=gain) for source in excerpt.sources))
    references = [as_signal(gain * store.read(s.track, s.label, s.start, s.frames)) for s in excerpt.sources]
    mixture = as_signal(sum(reference.audio_data for reference in references))
    estimates = DeepMaskEstimation(mixture, model_path=str(checkpoint))()
    found = BSSEvalScale(references, estimates, source_labels=list(LABELS)).evaluate()
    for row in score(checkpoint, store, [changed], progress=False):
        expected = [found[row["label"]][name][0] for name in ("SI-SDR", "SI-SDRi")]
        assert [row["si_sdr"], row["improvement"]] == pytest.approx(expected, abs=1e-3)


def test_excerpts_of_one_length_go_together_and_rows_come_in_the_order_of_the_list(store, checkpoint):
    excerpts = make_excerpts(store, 1.0)
    mingled = [excerpts[place] for place in (2, 0, 3, 1, 4)]  # the short one first
    assert list(batches(mingled, 3)) == [[0], [1, 2, 3], [4]]
    assert list(batches(mingled)) == [[0], [1, 2, 3, 4]]
    with pytest.raises(ConfigError, match="batch_size is wrong: got 0"):
        next(batches(mingled, 0))
    assert all(len(places) == 1 for places in batches([replace(excerpts[0], frames=SAMPLES_AT_ONCE + 1)] * 3))
    rows = score(checkpoint, store, excerpts, progress=False)
    expected = {(row["track"], row["start"], row["label"]): row for row in rows}
    found = score(checkpoint, store, mingled, progress=False)
    assert [row["excerpt"] for row in found] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [row["label"] for row in found] == [*LABELS] * 5
    for row in found:
        assert (row["track"], row["start"]) == (mingled[row["excerpt"]].track, mingled[row["excerpt"]].start)
        same = expected[row["track"], row["start"], row["label"]]
        assert row["si_sdr"] == pytest.approx(same["si_sdr"], abs=1e-4)


def test_a_list_of_no_excerpts_is_refused(store):
    with pytest.raises(DataError, match="list of excerpts is empty"):
        score("mixture", store, [], progress=False)


def test_rows_have_the_song_and_the_improvement_over_the_mixture(checkpoint, tmp_path):
    writer = StoreWriter(tmp_path, RATE)
    writer.add("take 1", None, {"bass": stem(0), "voice": stem(1)}, origin="a song")
    writer.add("take 2", None, {"bass": stem(2), "voice": 0 * stem(3)})
    takes = writer.close()
    excerpts = make_excerpts(takes, 2.5)
    found = score_each({"x": checkpoint, "mixture": "mixture"}, takes, excerpts, progress=False)
    assert [row["song"] for row in found["x"]] == ["a song", "a song", "take 2", "take 2"]
    for ours, mixture in zip(found["x"], found["mixture"], strict=True):
        if ours["si_sdr"] is None:
            assert ours["improvement"] is mixture["improvement"] is None and ours["track"] == "take 2"
        else:
            assert ours["improvement"] == ours["si_sdr"] - mixture["si_sdr"] and mixture["improvement"] == 0
    assert summarise(found["x"])[-1]["improvement"] == pytest.approx(
        np.mean([row["improvement"] for row in found["x"] if row["improvement"] is not None])
    )


def test_stems_are_read_once_for_all_estimates_and_scores_alone_leave_the_device(store, checkpoint, monkeypatch):
    excerpts = make_excerpts(store, 1.0)
    fetched, read = [], []
    to_host, read_stem = torch.Tensor.cpu, type(store).read
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: fetched.append(tensor.numel()) or to_host(tensor))
    monkeypatch.setattr(type(store), "read", lambda *given: read.append(given[1:4]) or read_stem(*given))
    score_each({"a": checkpoint, "mixture": "mixture", "oracle": "oracle"}, store, excerpts, progress=False)
    assert 4 <= len(read) == len(set((track.name, *rest) for track, *rest in read)) <= 10  # 5 excerpts, 2 labels
    assert sum(fetched) <= 4 * len(excerpts) * len(LABELS)  # of three estimates, and the mixture's to compare with


def test_musevals_ratios_come_on_request(gappy, checkpoint, tmp_path):
    excerpts = make_excerpts(gappy, 1.0)
    scores = evaluate({"a": checkpoint}, gappy, excerpts=excerpts, out=tmp_path, progress=False, museval=True)
    network, _ = nussl.ml.SeparationModel.load(str(checkpoint))
    references, _ = load_excerpts(gappy, [excerpts[1]])
    estimates = estimate_sources(masks_of(network), torch.from_numpy(references.sum(axis=1)), STFT)[0]
    expected = bss_eval(references[0], estimates[0].numpy())
    found = [row for row in scores["scores"]["a"] if row["excerpt"] == 1]
    for name in ("sdr", "sir", "sar"):
        np.testing.assert_allclose([row[name] for row in found], expected[name], atol=1e-3)
        # museval's ratios leave out the same references as SI-SDR.
        assert all((row[name] is None) == (row["si_sdr"] is None) for row in scores["scores"]["a"])
        values = [row[name] for row in scores["scores"]["a"] if row[name] is not None]
        assert scores["summary"][2][name] == pytest.approx(np.median(values))
    json.dumps(scores, allow_nan=False)
    table = text.text_table(scores)
    assert "SDR/SIR/SAR" in table and "SI-SDRi/dB" in table
    plain = evaluate({"a": checkpoint}, gappy, excerpts=excerpts, out=tmp_path, progress=False)
    assert "sdr" not in plain["summary"][0] and "SIR" not in text.text_table(plain)
    assert "SI-SDRi/dB" in text.text_table(plain)


def test_the_oracle_is_the_best_capped_mask_and_above_the_mixture(store):
    excerpt = make_excerpts(store, 1.0)[0]
    oracle = {row["label"]: row["si_sdr"] for row in score("oracle", store, [excerpt], progress=False)}
    mixture = {row["label"]: row["si_sdr"] for row in score("mixture", store, [excerpt], progress=False)}
    references = np.stack([store.read(store.tracks[0], label, 0, RATE) for label in LABELS])
    window = np.sqrt(scipy.signal.get_window("hann", 512))
    shape = {"window": window, "nperseg": 512, "noverlap": 384}
    spectrum = scipy.signal.stft(references.sum(axis=0), **shape)[2]
    for label, reference in zip(LABELS, references, strict=True):
        mask = np.minimum(np.abs(scipy.signal.stft(reference, **shape)[2]) / np.abs(spectrum), 1)
        expected = si_sdr(reference, scipy.signal.istft(mask * spectrum, **shape)[1][:RATE])
        assert oracle[label] == pytest.approx(float(expected), abs=1e-3)
        assert oracle[label] > mixture[label] + 3


@pytest.fixture
def gappy(tmp_path):
    """A store in which 'voice' is 80 dB quieter in the first second of one track, and missing from the other."""
    writer = StoreWriter(tmp_path / "gappy", RATE)
    voice = stem(1, 2 * RATE)
    voice[:RATE] *= 1e-4
    voice -= voice.mean()
    writer.add("one", None, {"bass": stem(0, 2 * RATE), "voice": voice})
    writer.add("two", None, {"bass": stem(2, RATE)})
    return writer.close()


def test_silent_references_are_left_out_and_counted(gappy, checkpoint, tmp_path):
    scores = evaluate({"a": checkpoint}, gappy, excerpts=make_excerpts(gappy, 1.0), out=tmp_path / "run", progress=False)
    silent = [(row["track"], row["start"], row["label"]) for row in scores["scores"]["a"] if row["si_sdr"] is None]
    assert silent == [("one", 0, "bass"), ("one", 0, "voice"), ("two", 0, "bass"), ("two", 0, "voice")]
    assert [row["left_out"] for row in scores["scores"]["a"] if row["si_sdr"] is None] == [
        "alone in its mixture",
        "silent",
    ] * 2
    assert scores["left_out"] == 4
    entries = {entry["label"]: entry for entry in scores["summary"] if entry["estimate"] == "a"}
    assert {label: (entry["n"], entry["left_out"]) for label, entry in entries.items()} == {
        "bass": (1, 2), "voice": (1, 2), None: (2, 4),
    }  # fmt: skip
    assert scores["comparisons"][0]["n"] == 1
    table = text.text_table(scores)
    assert (
        "Left out of 6 references: 2 alone in its mixture (bass of one at 0.0 s; bass of two at 0.0 s), 2 silent" in table
    )


def test_infinite_ratios_are_in_no_mean_improvement_or_test(tmp_path, checkpoint):
    writer = StoreWriter(tmp_path / "store", RATE)
    silence = np.zeros(RATE, np.float32)
    for number in range(4):
        writer.add(f"both {number}", None, {"bass": stem(2 * number, RATE), "voice": stem(2 * number + 1, RATE)})
    both = make_excerpts(writer.close(), 1.0)
    writer.add("alone", None, {"bass": stem(9, RATE), "voice": silence})
    writer.add("twins", None, {"bass": stem(9, RATE), "voice": stem(9, RATE)})  # the mixture is a louder copy of either
    store = writer.close()
    every = make_excerpts(store, 1.0)
    clean = evaluate({"a": checkpoint}, store, excerpts=both, oracle=True, progress=False)
    found = evaluate({"a": checkpoint}, store, excerpts=every, oracle=True, progress=False)
    for estimate in ("a", "mixture", "oracle"):
        means = [next(e for e in s["summary"] if (e["estimate"], e["label"]) == (estimate, None)) for s in (clean, found)]
        for name in ("n", "mean", "median", "improvement"):
            assert means[0][name] == pytest.approx(means[1][name], abs=1e-4)
        assert abs(means[1]["mean"]) < 60
    assert found["comparisons"][0]["n"] == 4
    assert found["comparisons"][0]["p_value"] == clean["comparisons"][0]["p_value"]
    assert {(one["track"], one["label"], one["why"]) for one in found["left_out_references"]} == {
        ("alone", "bass", "alone in its mixture"), ("alone", "voice", "silent"),
        ("twins", "bass", "alone in its mixture"), ("twins", "voice", "alone in its mixture"),
    }  # fmt: skip
    probe = SourceSeparationProbe(store, every, STFT)
    model, _ = nussl.ml.SeparationModel.load(str(checkpoint))
    assert probe.left_out == 4 and probe(model) == pytest.approx(SourceSeparationProbe(store, both, STFT)(model), abs=1e-4)
    assert abs(probe.mixture_si_sdr) < 60
    write_example({"a": checkpoint}, store, every[0], tmp_path / "example")  # `alone`, whose ratio is infinite
    about = json.loads((tmp_path / "example" / "example.json").read_text())
    assert about["track"] == "alone" and set(about["si_sdr"]["mixture"].values()) == {None}


def test_an_ensemble_is_scored_by_the_mean_of_its_masks(store, checkpoint, tmp_path):
    other = make_checkpoint(tmp_path / "other.pth", seed=1)
    excerpts = make_excerpts(store, 1.0)[1:2]
    references, _ = load_excerpts(store, excerpts)
    mixture = torch.from_numpy(references.sum(axis=1))
    networks = [nussl.ml.SeparationModel.load(str(path))[0] for path in (checkpoint, other)]
    masks = torch.stack([estimate_sources(masks_of(network), mixture, STFT)[1] for network in networks]).mean(dim=0)
    spectrum = torch.stft(mixture[0], 512, 128, window=torch.hann_window(512).sqrt(), return_complex=True)
    audio = torch.istft(masks[0] * spectrum, 512, 128, window=torch.hann_window(512).sqrt(), length=RATE)
    rows = score_each({"both": [checkpoint, other], "one": checkpoint}, store, excerpts, progress=False)
    np.testing.assert_allclose([row["si_sdr"] for row in rows["both"]], si_sdr(references[0], audio), atol=1e-3)
    assert rows["both"][0]["si_sdr"] != pytest.approx(rows["one"][0]["si_sdr"], abs=1e-3)
    for fold, path in enumerate((checkpoint, other), 1):  # the folder of a cross-validation is an ensemble
        (tmp_path / "folds" / f"fold{fold}" / "checkpoints").mkdir(parents=True)
        (tmp_path / "folds" / f"fold{fold}" / "checkpoints" / "best.model.pth").write_bytes(path.read_bytes())
    scores = evaluate([tmp_path / "folds"], store, excerpts=excerpts, progress=False)
    assert len(scores["models"]["folds"]) == 2
    assert [row["si_sdr"] for row in scores["scores"]["folds"]] == pytest.approx([row["si_sdr"] for row in rows["both"]])


def test_labels_in_another_order_are_matched_by_name(store, checkpoint, tmp_path):
    network, _ = nussl.ml.SeparationModel.load(str(checkpoint))
    info = CheckpointInfo(LABELS[::-1], "whole", RATE, STFT)
    turned = write_checkpoint(tmp_path / "turned.pth", network, info)
    excerpts = make_excerpts(store, 1.0)
    expected = {(row["excerpt"], row["label"]): row["si_sdr"] for row in score(checkpoint, store, excerpts, progress=False)}
    other = {"bass": "voice", "voice": "bass"}  # the first mask is the voice's now
    references, _ = load_excerpts(store, excerpts[:1])
    estimates = estimate_sources(masks_of(network), torch.from_numpy(references.sum(axis=1)), STFT)[0][0]
    found = {row["label"]: row["si_sdr"] for row in score(turned, store, excerpts[:1], progress=False)}
    for number, label in enumerate(LABELS):
        assert found[label] == pytest.approx(float(si_sdr(references[0, number], estimates[1 - number])), abs=1e-3)
        assert found[label] != pytest.approx(expected[0, other[label]], abs=1e-3)


def test_without_a_list_the_test_tracks_are_scored_side_by_side(store, checkpoint, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    network, _ = nussl.ml.SeparationModel.load(str(checkpoint))
    write_checkpoint(folder / "best.model.pth", network, CheckpointInfo(LABELS, "whole", RATE, STFT, excerpt_seconds=1.0))
    scores = evaluate(tmp_path / "run", store.folder, out=tmp_path / "out", progress=False)
    assert scores["excerpts"] == [excerpt.plain() for excerpt in make_excerpts(store, 1.0)]
    again = evaluate({"x": tmp_path / "run"}, store, excerpts=tmp_path / "out" / "excerpts.jams", progress=False)
    assert list(again["models"]) == ["x"] and again["excerpts"] == scores["excerpts"]
    with pytest.raises(ConfigError, match="is not a store.*`out`"):
        evaluate(tmp_path / "run", tmp_path, progress=False)


def rows(values, track="t"):
    return [
        {"excerpt": i, "track": track, "start": i, "label": "x", "si_sdr": v, "estimate": "e"}
        | {"improvement": None if v is None else v - 1}
        for i, v in enumerate(values)
    ]


def test_songs_are_the_origins_of_tracks_one_for_each_source(tmp_path):
    writer = StoreWriter(tmp_path / "takes", RATE)
    writer.add("take 1", None, {"bass": stem(0), "voice": stem(1)}, origin="a song")
    writer.add("take 2", None, {"bass": stem(2), "voice": stem(3)}, origin="a song")
    writer.add("other", None, {"bass": stem(4)})
    takes = writer.close()
    songs = songs_of(make_excerpts(takes, 2.5), LABELS)
    # An absent source counts as the excerpt's first song.
    assert songs == {"bass": ["other", "a song", "a song"], "voice": ["other", "a song", "a song"]}
    excerpts = make_excerpts(takes, 1.0, count=20, coherent=False)
    for label, of_label in songs_of(excerpts, LABELS).items():
        tracks = [next(s.track.name for s in excerpt.sources if s.label == label) for excerpt in excerpts]
        assert of_label == [{"other": "other"}.get(track, "a song") for track in tracks]


def test_a_summary_has_entries_for_each_label_and_for_all():
    mixed = rows([1.0, 2.0, None, 6.0])
    mixed[3]["label"] = "y"
    assert summarise(mixed) == [
        {"estimate": "e", "label": "x", "n": 2, "left_out": 1, "mean": 1.5, "median": 1.5, "improvement": 0.5},
        {"estimate": "e", "label": "y", "n": 1, "left_out": 0, "mean": 6.0, "median": 6.0, "improvement": 5.0},
        {"estimate": "e", "label": None, "n": 3, "left_out": 1, "mean": 3.0, "median": 2.0, "improvement": 2.0},
    ]


def test_evaluate_writes_what_it_returns_and_tests_the_first_against_the_rest(store, checkpoint, tmp_path):
    other = make_checkpoint(tmp_path / "other.pth", seed=1)
    excerpts = make_excerpts(store, 1.0)
    models = {"first": checkpoint, "second": other}
    scores = evaluate(models, store, excerpts=excerpts, out=tmp_path / "run", oracle=True, progress=False)
    assert json.loads((tmp_path / "run" / "scores.json").read_text()) == json.loads(json.dumps(scores))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["scores.json"]
    assert scores["excerpts"] == [excerpt.plain() for excerpt in excerpts] and scores["labels"] == list(LABELS)
    pairs = [(entry["better"], entry["than"]) for entry in scores["comparisons"]]
    assert pairs == [("first", "second"), ("first", "mixture"), ("second", "mixture")]
    p_values = [entry["p_value"] for entry in scores["comparisons"]]
    assert [entry["p_holm"] for entry in scores["comparisons"]] == holm(p_values)
    for entry in scores["comparisons"]:
        shown = shown_by_our_rule(entry["p_holm"], entry["interval"])
        assert shown is not None and entry["verdicts"]["ours"]["shown"] is shown
    # The three tracks are three songs.
    assert all(
        entry["songs"] == 3 and entry["interval"][0] <= entry["median_difference"] <= entry["interval"][1]
        for entry in scores["comparisons"]
    )
    assert list(scores["scores"]) == ["first", "second", "mixture", "oracle"]
    expected = np.mean([row["si_sdr"] for row in score(other, store, excerpts, progress=False)])
    found = [e["mean"] for e in scores["summary"] if (e["estimate"], e["label"]) == ("second", None)]
    assert found == pytest.approx([expected])
    # A second call gives the same file.
    before = (tmp_path / "run" / "scores.json").read_bytes()
    evaluate(models, store, excerpts=excerpts, out=tmp_path / "run" / "scores.json", oracle=True, progress=False)
    assert (tmp_path / "run" / "scores.json").read_bytes() == before


def test_a_checkpoint_that_does_not_fit_the_store_is_refused_before_any_scoring(store, checkpoint, tmp_path):
    excerpts = make_excerpts(store, 1.0)
    wrong = {
        "separates guitar, voice, the store holds bass, voice": make_checkpoint(tmp_path / "a", ("guitar", "voice")),
        "works at 44100 Hz, the store at 16000 Hz": make_checkpoint(tmp_path / "b", rate=44100),
        "separates 2 channels together": make_checkpoint(tmp_path / "c", channels=2),
        "without a trained mask head": make_checkpoint(tmp_path / "d", mode="pretrain"),
    }
    for message, path in wrong.items():
        with pytest.raises(CheckpointError, match=message):
            evaluate({"good": checkpoint, "bad": path}, store, excerpts=excerpts, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_names_that_are_taken_and_lists_without_sound_are_refused(store, checkpoint, tmp_path):
    with pytest.raises(ConfigError, match="'mixture'.*taken"):
        evaluate({"mixture": checkpoint}, store, excerpts=make_excerpts(store, 1.0), out=tmp_path, progress=False)
    with pytest.raises(DataError, match="empty"):
        evaluate({"a": checkpoint}, store, excerpts=[], out=tmp_path, progress=False)
    writer = StoreWriter(tmp_path / "silence", RATE)
    writer.add("rest", None, {label: np.zeros(RATE, np.float32) for label in LABELS})
    silence = writer.close()
    with pytest.raises(DataError, match="None of the 1 excerpts.*2 silent, never above -60 dBFS"):
        evaluate({"a": checkpoint}, silence, excerpts=make_excerpts(silence, 1.0), out=tmp_path, progress=False)


def test_an_example_has_all_files_that_the_page_needs(store, checkpoint, tmp_path):
    excerpts = make_excerpts(store, 1.0)
    models = {"fine-tuned": checkpoint, "from scratch": make_checkpoint(tmp_path / "other.pth", seed=1)}
    evaluate(models, store, excerpts=excerpts, out=tmp_path, progress=False)
    write_example(models, store, excerpts[1], tmp_path / "example")
    (tmp_path / "about.json").write_text('{"title": "Try"}')
    curve = {"points": [{"iteration": 0, "test_si_sdr": 1.0}], "mixture_si_sdr": 0.0}
    (tmp_path / "curves.json").write_text(json.dumps(dict.fromkeys(models, curve)))
    assert "<h1>Try</h1>" in page.write_page(tmp_path, tmp_path / "page.html").read_text(encoding="utf-8")
    # The sounds and masks equal nussl's.
    mixture, _ = soundfile.read(tmp_path / "example" / "mixture.wav")
    separator = DeepMaskEstimation(as_signal(mixture), model_path=str(checkpoint))
    masks = np.load(tmp_path / "example" / "fine-tuned" / "masks.npz")
    about = json.loads((tmp_path / "example" / "example.json").read_text())
    for label, estimate, mask in zip(LABELS, separator(), separator.result_masks, strict=True):
        found, rate = soundfile.read(tmp_path / "example" / "fine-tuned" / f"{label}.wav")
        np.testing.assert_allclose(found, estimate.audio_data[0], atol=1e-6)
        np.testing.assert_allclose(masks[label] / 255, mask.mask[..., 0], atol=0.51 / 255)
        assert rate == RATE
    assert set(about["checkpoints"]) == set(about["si_sdr"]) - {"mixture"}
    assert about["si_sdr"]["fine-tuned"] == pytest.approx(
        {label: ratio for label, (ratio, _) in through_nussl(store, checkpoint, excerpts[1]).items()},
        abs=1e-3,
    )


def test_a_model_name_that_cannot_be_a_folder_is_an_error_in_an_example(store, checkpoint, tmp_path):
    for name in ("../up", "references", "a/b", ".."):
        with pytest.raises(ConfigError, match="Call it something else"):
            write_example({name: checkpoint}, store, make_excerpts(store, 1.0)[0], tmp_path / "example")
    assert not (tmp_path / "example").exists()
