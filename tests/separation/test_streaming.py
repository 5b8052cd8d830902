"""Separation of files: the estimates are nussl's for any rate, length and format; bad files do not stop the others."""

from __future__ import annotations

import logging
import os
import resource
import signal as signals
import time
import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from nussl import STFTParams
from nussl.ml import SeparationModel
from nussl.separation.deep import DeepMaskEstimation

from nussl_transfer import cli
from nussl_transfer.audio import writer as writing
from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.datasets.folders import SEPARATED
from nussl_transfer.errors import CheckpointError, ConfigError, DataError
from nussl_transfer.networks.chimera import build_transfer_chimera
from nussl_transfer.separation import streaming
from nussl_transfer.separation.files import output_folders, safe_name, safe_names, separate_files
from nussl_transfer.separation.masks import TransferMaskEstimation

RATE = 16000


@pytest.fixture
def separate(tmp_path, checkpoint):
    """Return a function that separates one file and gives back its estimates, [nc, frames], and their rate."""

    def run(path, model=checkpoint, **options):
        result = separate_files([path], model, tmp_path / "out", progress=False, **options)
        assert not result.failed
        read = {label: soundfile.read(file, always_2d=True) for label, file in result.written[path].items()}
        return {label: audio.T for label, (audio, _) in read.items()}, {rate for _, rate in read.values()}

    return run


def write(path, audio, rate=RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, rate, **{"subtype": "FLOAT"} | options)
    return path


def files_under(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != SEPARATED
    )


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2), (8000, 3), (192000, 8)])
def test_a_file_of_any_rate_and_channels_is_separated_as_nussl_would(
    tmp_path, checkpoint, separate, noise, signal, rate, channels
):
    audio = noise(channels, rate // 2 + 1)
    estimates, rates = separate(write(tmp_path / "song.wav", audio, rate))
    expected = DeepMaskEstimation(signal(soxr.resample(audio.T, rate, RATE).T), str(checkpoint))()
    assert list(estimates) == ["bass", "voice"] and rates == {RATE}
    for ours, theirs in zip(estimates.values(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.audio_data, atol=1e-6)
    assert files_under(tmp_path / "out") == ["song/bass.wav", "song/voice.wav"]


@pytest.mark.parametrize("seconds", [2.0, 3.001])
def test_a_long_file_gives_the_estimates_of_the_whole_signal(
    tmp_path, short_checkpoint, separate, noise, signal, monkeypatch, seconds
):
    audio = noise(2, int(seconds * RATE))
    expected = TransferMaskEstimation(signal(audio), short_checkpoint)()
    monkeypatch.setattr(streaming, "BLOCK", 1000)
    estimates, _ = separate(write(tmp_path / "song.wav", audio), short_checkpoint)
    for ours, theirs in zip(estimates.values(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.audio_data, atol=1e-6)
    np.testing.assert_allclose(sum(estimates.values()), audio, atol=1e-5)


def test_chunks_have_the_given_length(tmp_path, short_checkpoint, separate, noise, signal):
    audio = noise(1, 2 * RATE)
    expected = TransferMaskEstimation(signal(audio), short_checkpoint, chunk_seconds=0.7)()
    estimates, _ = separate(write(tmp_path / "song.wav", audio), short_checkpoint, chunk_seconds=0.7)
    np.testing.assert_allclose(estimates["bass"], expected[0].audio_data, atol=1e-6)


def test_estimates_at_the_files_own_rate_are_as_long_as_the_file(tmp_path, separate):
    # A tone well below half of either rate comes through both resamplings; the masks add up to one.
    audio = 0.3 * np.sin(2 * np.pi * 440 * np.arange(44101) / 44100)[None]
    estimates, rates = separate(write(tmp_path / "tone.flac", audio, 44100, subtype="PCM_24"), keep_rate=True)
    assert rates == {44100} and {estimate.shape for estimate in estimates.values()} == {(1, 44101)}
    np.testing.assert_allclose(sum(estimates.values())[:, 2000:-2000], audio[:, 2000:-2000], atol=1e-3)


@pytest.mark.parametrize(("keep_rate", "rate"), [(False, RATE), (True, 44100)])
def test_the_residual_is_the_mixture_minus_the_chosen_labels(tmp_path, separate, noise, keep_rate, rate):
    audio = noise(2, 44100)
    estimates, rates = separate(
        write(tmp_path / "song.wav", audio, 44100), labels=["voice"], residual=True, keep_rate=keep_rate
    )
    assert list(estimates) == ["voice", "residual"] and rates == {rate}
    assert files_under(tmp_path / "out") == ["song/residual.wav", "song/voice.wav"]
    mixture = audio if keep_rate else soxr.resample(audio.T, 44100, RATE).T
    np.testing.assert_allclose(estimates["voice"] + estimates["residual"], mixture, atol=1e-6)


def test_a_label_called_residual_keeps_its_name(tmp_path, make_checkpoint, separate, noise):
    model = make_checkpoint(tmp_path / "model.pth", labels=("residual", "voice"))
    estimates, _ = separate(write(tmp_path / "song.wav", noise()), model, residual=True)
    assert list(estimates) == ["residual", "voice", "residual_2"]
    np.testing.assert_allclose(estimates["residual_2"], 0, atol=1e-5)


@pytest.mark.parametrize(("kind", "tolerance"), [("flac", 1e-6), ("ogg", 0.05), ("mp3", 0.05)])
def test_other_formats_are_read_and_written(tmp_path, separate, kind, tolerance):
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)[None].astype(np.float32)
    coding = {"flac": "PCM_24", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}[kind]
    path = write(tmp_path / f"song.{kind}", tone, subtype=coding)
    assert soundfile.info(path).frames == 2 * RATE
    exact, _ = separate(path)
    estimates, _ = separate(path, format=kind)
    assert files_under(tmp_path / "out") == [f"song/{label}.{end}" for label in ("bass", "voice") for end in (kind, "wav")]
    for label in exact:
        assert soundfile.info(tmp_path / "out" / "song" / f"{label}.{kind}").subtype == coding
        np.testing.assert_allclose(estimates[label][:, 1000:-1000], exact[label][:, 1000:-1000], atol=tolerance)


def test_samples_above_full_scale_are_kept_in_a_wav_and_reported_in_a_flac(tmp_path, separate, caplog):
    tone = 3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)[None].astype(np.float32)
    path = write(tmp_path / "loud.wav", tone)
    assert np.abs(separate(path)[0]["bass"]).max() > 1 and not caplog.records
    estimates, _ = separate(path, format="flac")
    assert np.abs(estimates["bass"]).max() <= 1
    assert "samples above full scale were clipped" in caplog.text and "bass.flac" in caplog.text


def test_a_format_that_cannot_hold_the_result_gives_a_one_sentence_error(tmp_path, checkpoint, noise):
    path = write(tmp_path / "song.wav", noise(8, 4000))
    result = separate_files([path], checkpoint, tmp_path / "out", format="mp3", progress=False)
    assert "mp3 does not support 8 channels at 16000 Hz" in result.failed[path]
    assert files_under(tmp_path / "out") == []


def test_a_wav_that_would_be_too_large_for_its_header_is_an_rf64(tmp_path, separate, noise, monkeypatch):
    monkeypatch.setattr(writing, "LARGEST_WAV", 4 * RATE - 1)
    audio = noise()
    estimates, _ = separate(write(tmp_path / "song.wav", audio))
    assert soundfile.info(tmp_path / "out" / "song" / "bass.wav").format == "RF64"
    np.testing.assert_allclose(sum(estimates.values()), audio, atol=1e-5)


@pytest.mark.parametrize("keep_rate", [False, True])
@pytest.mark.parametrize(("rate", "frames"), [(RATE, 8000), (44100, 50000)])
def test_a_silent_file_gives_silent_estimates(tmp_path, separate, rate, frames, keep_rate):
    estimates, _ = separate(write(tmp_path / "rest.wav", np.zeros((2, frames)), rate), keep_rate=keep_rate)
    assert not any(np.any(estimate) for estimate in estimates.values())


@pytest.mark.parametrize("frames", [1, 37, 511])
def test_a_file_shorter_than_a_window_keeps_its_length(tmp_path, separate, noise, frames):
    audio = noise(1, frames)
    estimates, _ = separate(write(tmp_path / "click.wav", audio))
    np.testing.assert_allclose(sum(estimates.values()), audio, atol=1e-5)


def test_one_sample_at_a_high_rate_is_too_short_for_the_models_rate(tmp_path, checkpoint, separate):
    path = write(tmp_path / "one.wav", np.ones((8, 1)), 192000)
    result = separate_files([path], checkpoint, tmp_path / "out", progress=False)
    assert "is too short: 1 samples at 192000 Hz are none at 16000 Hz" in result.failed[path]
    assert files_under(tmp_path / "out") == []
    estimates, _ = separate(path, keep_rate=True)
    assert {estimate.shape for estimate in estimates.values()} == {(8, 1)}


def test_every_bad_file_is_named_and_the_good_ones_are_separated(tmp_path, checkpoint, noise):
    write(tmp_path / "good.wav", noise())
    write(tmp_path / "empty.wav", np.zeros((1, 0)))
    (tmp_path / "nothing.wav").touch()
    (tmp_path / "text.wav").write_text("not audio")
    late = noise(1, 40 * RATE)
    late[0, -5] = np.nan
    write(tmp_path / "nan.wav", late)
    whole = write(tmp_path / "cut.flac", noise(1, 30 * RATE), subtype="PCM_16").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    whole = write(tmp_path / "cut.wav", noise(1, RATE)).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    bad = ["empty.wav", "nothing.wav", "text.wav", "nan.wav", "cut.flac", "cut.wav", "absent.wav"]
    paths = [tmp_path / name for name in (*bad, "good.wav")]
    result = separate_files(paths, checkpoint, tmp_path / "out", progress=False)
    assert list(result.written) == [tmp_path / "good.wav"]
    assert list(result.failed) == paths[:-1]
    for path, said in result.failed.items():
        assert said.startswith(str(path)) and "\n" not in said
    assert "holds NaN or infinite samples, the first at 40.00 s" in result.failed[tmp_path / "nan.wav"]
    assert files_under(tmp_path / "out") == ["good/bass.wav", "good/voice.wav"]


def test_a_file_with_the_wrong_number_of_channels_is_an_error(tmp_path, noise):
    config = build_transfer_chimera(2, hidden_size=6, num_layers=1, embedding_size=4, num_audio_channels=2)
    config["modules"]["recurrent_stack"]["args"]["num_features"] = 2 * 257  # nussl's builder forgets the channels
    info = CheckpointInfo(("a", "b"), "whole", RATE, STFTParams(512, 128, "sqrt_hann"), excerpt_seconds=0.5)
    stereo = write_checkpoint(tmp_path / "stereo.pth", SeparationModel(config), info)
    good, bad = write(tmp_path / "two.wav", noise(2, 2 * RATE)), write(tmp_path / "one.wav", noise(1))
    result = separate_files([bad, good], stereo, tmp_path / "out", progress=False)
    assert "has 1 channels: the model separates 2 channels together" in result.failed[bad]
    estimates = [soundfile.read(path)[0].T for path in result.written[good].values()]
    np.testing.assert_allclose(sum(estimates), noise(2, 2 * RATE), atol=1e-5)


def test_labels_and_file_names_never_leave_the_folder(tmp_path, make_checkpoint, noise):
    labels = ("../../x", "/etc/y", "..", "a/b", "a_b", "A_B")
    model = make_checkpoint(tmp_path / "model.pth", labels=labels)
    song, out = write(tmp_path / "...wav", noise(1, 4000), format="WAV"), tmp_path / "deep" / "er" / "out"
    paths = list(separate_files([song], model, out, residual=True, progress=False).written[song].values())
    assert len(paths) == 7 and all(path.is_file() for path in paths)
    # Each has its own file, even on a disk that ignores case.
    assert len({str(path).casefold() for path in paths}) == 7
    assert [path for path in tmp_path.rglob("*.wav") if out not in path.parents] == [song]
    assert {path.resolve().parent.parent for path in paths} == {out}


def test_letters_of_any_script_stay_and_decomposed_ones_are_composed():
    labels = ["violin", "Lead Vox (dry)", "Flöte", "kick-in", "低音", "हिन्दी", "नि", "e\u0327\u0301", "F♯ 🎸", "ﬁn"]
    assert [unicodedata.normalize("NFC", label) for label in labels] == list(safe_names(labels).values())
    decomposed = [unicodedata.normalize("NFD", label) for label in labels]
    assert list(safe_names(decomposed).values()) == [unicodedata.normalize("NFC", label) for label in labels]
    assert list(safe_names(["Flöte", "Flo\u0308te"]).values()) == ["Flöte", "Flöte_2"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (os.fsdecode(b"fl\xf6te"), "fl_te"),
        ("a\u202eb\0c\n", "a_b_c_"),
        ("...", "source"),
        ("nul", "_nul"),
        ("COM1.x", "_COM1.x"),
        ("é" * 200, "é" * 90),
        ("x" * 200, "x" * 100),
    ],
)
def test_a_name_that_a_disk_would_refuse_is_changed(text, name):
    assert safe_name(text) == name


def test_naming_many_files_takes_time_in_proportion_to_their_number(tmp_path):
    """Equal names are the worst case: comparing each of 20,000 names with all earlier ones would take minutes."""
    started = time.process_time()
    folders = output_folders([tmp_path / f"take {number}" / "mix.wav" for number in range(20_000)], tmp_path / "out")
    assert time.process_time() - started < 10
    names = {folder.name for folder in folders.values()}
    assert len(names) == 20_000 and {"mix", "mix_2", "mix_20000"} <= names


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX systems only")
def test_a_file_whose_name_is_not_utf8_is_separated(tmp_path, checkpoint, noise):
    folder = os.fsencode(tmp_path) + b"/sch\xf6n"
    os.makedirs(folder)
    with open(folder + b"/fl\xf6te.wav", "wb") as file:
        soundfile.write(file, noise().T, RATE, format="WAV")
    path = Path(os.fsdecode(folder))
    result = separate_files([path], checkpoint, path / "out", progress=False)
    assert not result.failed
    assert [paths["bass"].relative_to(path).as_posix() for paths in result.written.values()] == ["out/fl_te/bass.wav"]


def test_audio_that_cannot_be_read_is_named(tmp_path, checkpoint, noise, caplog):
    write(tmp_path / "music" / "a.wav", noise())
    (tmp_path / "music" / "b.m4a").write_bytes(b"\0")
    separate_files([tmp_path / "music"], checkpoint, tmp_path / "out", progress=False)
    assert "Skipped audio in a format that cannot be read" in caplog.text and "b.m4a" in caplog.text


def test_folders_keep_their_structure_and_files_of_one_name_get_folders_of_their_own(tmp_path, checkpoint, noise):
    music = tmp_path / "music"
    for name in ("mix.wav", "mix.flac", "live/mix.wav", "live/take 2/mix.wav", ".hidden/mix.wav"):
        write(music / name, noise(1, 1000), subtype="PCM_16")
    (music / "notes.txt").write_text("not audio")
    other = write(tmp_path / "MIX.wav", noise(1, 1000))
    out = music / "separated"
    inputs = [music, other, music / "mix.wav"]
    for _ in range(2):  # what the first time wrote is not separated the second time
        result = separate_files(inputs, checkpoint, out, labels=["bass"], progress=False)
        found = {path.relative_to(tmp_path).as_posix(): files["bass"] for path, files in result.written.items()}
        assert {name: path.relative_to(out).as_posix() for name, path in found.items()} == {
            "music/mix.flac": "mix/bass.wav",
            "music/mix.wav": "mix_2/bass.wav",
            "music/live/mix.wav": "live/mix/bass.wav",
            "music/live/take 2/mix.wav": "live/take 2/mix/bass.wav",
            "MIX.wav": "MIX_3/bass.wav",
        }


def test_a_folder_without_audio_is_an_error(tmp_path, checkpoint):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no audio file"):
        separate_files([tmp_path / "empty"], checkpoint, tmp_path / "out", progress=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": ["violin", "bass"]}, "Unknown label violin: the model separates bass, voice"),
        ({"format": "aac"}, "Use one of wav, flac, ogg, mp3"),
        ({"device": "tpu"}, "Unknown device 'tpu'"),
        ({"chunk_seconds": 0.01}, "four windows"),
    ],
)
def test_impossible_options_are_errors_before_anything_is_written(tmp_path, checkpoint, noise, options, said):
    path = write(tmp_path / "song.wav", noise())
    with pytest.raises(ConfigError, match=said):
        separate_files([path], checkpoint, tmp_path / "out", progress=False, **options)
    assert not (tmp_path / "out").exists()


def test_a_pretrained_model_is_an_error(tmp_path, make_checkpoint):
    body = make_checkpoint(tmp_path / "body.pth", mode="pretrain")
    with pytest.raises(CheckpointError, match="without a trained mask head"):
        separate_files([tmp_path / "any.wav"], body, tmp_path / "out", progress=False)


def test_without_a_terminal_one_line_gives_the_speed(tmp_path, checkpoint, noise, capfd, caplog):
    paths = [write(tmp_path / f"{name}.wav", noise()) for name in "ab"]
    with caplog.at_level(logging.INFO, "nussl_transfer"):
        separate_files([*paths, tmp_path / "absent.wav"], checkpoint, tmp_path / "out")
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("Separated 2 of 3 files: 2.0 s of audio in ")
    assert caplog.messages[0].endswith("times real time.")
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def command(tmp_path, checkpoint, noise):
    """The words of a command that separates twenty seconds."""
    path = write(tmp_path / "song.wav", noise(1, 20 * RATE))
    return ["separate", str(path), "--model", str(checkpoint), "--out", str(tmp_path / "out")]


def test_a_full_disk_leaves_no_half_file_and_says_so(tmp_path, command, capsys):
    """A limit on the size of files simulates a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        status = cli.main(command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 2
    assert "could not be written" in capsys.readouterr().err
    assert files_under(tmp_path / "out") == []


@pytest.mark.parametrize(("number", "status"), [(signals.SIGINT, 130), (signals.SIGTERM, 143)])
def test_an_interrupt_leaves_no_half_written_file(tmp_path, command, monkeypatch, capsys, number, status):
    at_the_time = []

    def interrupted(writer, audio):
        written(writer, audio)
        writer.file.flush()
        if len(at_the_time) < 1:
            at_the_time.extend(files_under(tmp_path / "out"))
            os.kill(os.getpid(), number)

    written = writing.AudioWriter.write
    monkeypatch.setattr(writing.AudioWriter, "write", interrupted)
    handler = signals.getsignal(signals.SIGTERM)
    # Programs that a shell starts in the background ignore Ctrl-C; these tests may be among them.
    before = signals.signal(signals.SIGINT, signals.default_int_handler)
    try:
        assert cli.main(command) == status
    finally:
        signals.signal(signals.SIGINT, before)
    assert "No file is half written" in capsys.readouterr().err
    assert len(at_the_time) == 2 and all(name.endswith(".part") for name in at_the_time)
    assert files_under(tmp_path / "out") == []
    assert signals.getsignal(signals.SIGTERM) == handler


def test_the_status_says_whether_all_files_were_separated(tmp_path, command, capsys):
    assert cli.main([*command, "--labels", "voice", "--residual", "--format", "flac"]) == 0
    written = [tmp_path / "out" / "song" / f"{name}.flac" for name in ("voice", "residual")]
    assert capsys.readouterr().out.split() == list(map(str, written))
    (tmp_path / "bad.wav").write_text("not audio")
    assert cli.main([command[0], str(tmp_path / "bad.wav"), *command[1:]]) == 1
    captured = capsys.readouterr()
    assert "not separated: " in captured.err and "bad.wav" in captured.err
    assert len(captured.out.split()) == 2


def test_layers_that_masks_do_not_need_are_dropped(short_checkpoint):
    network = streaming.StreamSeparator(short_checkpoint).ensemble.members[0].network
    assert "mask" in network.layers and "embedding" not in network.layers
    assert list(network.layers) == [name for name, *_ in network.connections]
    with torch.no_grad():
        assert list(network({"mix_magnitude": torch.rand(1, 3, 257, 1)})) == ["mask"]


@pytest.mark.parametrize("options", [{}, {"keep_rate": True, "residual": True, "shifts": 2}])
def test_memory_does_not_grow_with_the_file(tmp_path, short_checkpoint, options):
    """Compare NumPy's peak memory for 8 s and for 64 s; test_chunks counts torch's."""
    held = []
    for seconds in (8, 64):
        audio = np.zeros((1, seconds * RATE), np.float32)
        path = write(tmp_path / f"{seconds}.wav", audio, 22050 if options else RATE)
        tracemalloc.start()
        separate_files([path], short_checkpoint, tmp_path / "out", progress=False, **options)
        held.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert held[1] < 1.2 * held[0] + 1e6
