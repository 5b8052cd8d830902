"""The page of `nussl-transfer app`, without a browser: tests/browser tries it in Chromium."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import nussl
import pytest
import requests
import soundfile
from layouts import tone

from nussl_transfer import cli
from nussl_transfer.checkpoints import zoo
from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.cli.app import examples, server
from nussl_transfer.cli.app.boxes import error_box, spectrogram, stems_box
from nussl_transfer.cli.app.finetune_tab import checked, progress_box, reading_words, stems_folder, training_words
from nussl_transfer.cli.app.separate_tab import SeparationOptions, describe, model_choices, separated
from nussl_transfer.cli.app.training import Training, TrainingStatus, _error
from nussl_transfer.cli.app.visitors import Visitors
from nussl_transfer.errors import AudioFileError, CheckpointError, ConfigError, DataError
from nussl_transfer.report import figures

ROOT = Path(__file__).parents[2]
RATE = 16000


@pytest.fixture
def model(tmp_path, tiny_model):
    """A separator of two labels, too small to separate anything."""
    info = CheckpointInfo(("bass", "<b>flute"), "whole", RATE, nussl.STFTParams(512, 128, "sqrt_hann"), excerpt_seconds=1.0)
    return str(write_checkpoint(tmp_path / "tiny.pth", tiny_model(), info))


@pytest.fixture
def song(tmp_path):
    """One second in stereo at 44.1 kHz."""
    path = tmp_path / "my song.wav"
    soundfile.write(path, np.stack([tone(110.0, 1.0, 44100), tone(880.0, 1.0, 44100)], axis=1), 44100)
    return path


# ---------------------------------------------------------------- the command


def test_without_gradio_one_sentence_says_what_to_install(monkeypatch, capsys):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    needed = next(line for line in setup["options.extras_require"]["app"].split("\n") if line.startswith("gradio"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    assert cli.main(["app"]) == 2
    assert capsys.readouterr().err == (
        f'nussl-transfer: The page needs gradio, which is not installed. Run: pip install "{needed.replace(" ", "")}"\n'
    )


def test_a_wrong_model_is_one_sentence(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # restored afterwards
    monkeypatch.setattr(server.os, "environ", dict(os.environ))
    assert cli.main(["app", "--model", "nobody"]) == 2
    assert "There is no model 'nobody'" in capsys.readouterr().err
    assert cli.main(["app", "--model", "body"]) == 2
    assert "is a pretrained model without a trained mask head" in capsys.readouterr().err


# ---------------------------------------------------------------- separating


def test_all_published_separators_are_offered_and_no_pretrained_model():
    offered = [model for _, model in model_choices(None)]
    assert offered == [name for name, about in zoo.models().items() if about["sources"]]
    assert "body" not in offered and ("drums: cymbals, kick, snare", "drums") in model_choices(None)


def test_a_model_is_offered_with_its_labels(model):
    assert model_choices([model]) == [("tiny: bass, <b>flute", model)]
    with pytest.raises(CheckpointError):
        model_choices(["/absent.pth"])


def test_a_file_becomes_players_links_and_spectrograms(song, model, tmp_path):
    out, heard = tmp_path / "out", []
    out.mkdir()
    html = separated(song, model, SeparationOptions(residual=True), out, lambda done, total: heard.append((done, total)))
    stems = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.wav"))
    assert stems == ["my song/_b_flute.wav", "my song/bass.wav", "my song/residual.wav"]
    assert all(soundfile.info(path).frames == 44100 for path in out.rglob("*.wav"))
    assert heard[-1] == (1.0, 1.0)
    links = re.findall(r'<audio [^>]*src="([^"]+)"', html)
    assert links[0].endswith("/my%20song.wav") and len(links) == 4 and html.count("data:image/png;base64,") == 4
    assert "&lt;b&gt;flute" in html and "<b>flute" not in html
    assert re.findall(r'download="([^"]+)"', html) == ["my song.wav", "bass.wav", "_b_flute.wav", "residual.wav"]


def test_the_rate_and_the_format_are_those_that_were_chosen(song, model, tmp_path):
    separated(song, model, SeparationOptions(format="flac", keep_rate=False), tmp_path / "out")
    info = soundfile.info(tmp_path / "out" / "my song" / "bass.flac")
    assert (info.samplerate, info.channels, info.subtype) == (RATE, 2, "PCM_24")


def test_a_mixture_that_no_browser_plays_is_played_from_a_copy(song, model, tmp_path):
    audio, rate = soundfile.read(song)
    soundfile.write(tmp_path / "song.aiff", audio, rate)
    html = separated(tmp_path / "song.aiff", model, SeparationOptions(), tmp_path / "out")
    assert ".aiff" not in html
    copy = soundfile.read(tmp_path / "out" / "song.flac")[0]
    assert np.abs(copy - audio).max() < 2**-15


def test_an_exception_of_the_progress_leaves_no_stem(song, model, tmp_path):
    def advance(done, total):
        raise KeyError

    with pytest.raises(KeyError):
        separated(song, model, SeparationOptions(), tmp_path / "out", advance)
    assert not list((tmp_path / "out").rglob("*.wav"))


def test_a_file_of_another_kind_is_refused_by_its_name(model, tmp_path):
    with pytest.raises(ConfigError, match="notes.pdf has a format that cannot be read"):
        separated(tmp_path / "notes.pdf", model, SeparationOptions(), tmp_path / "out")


def test_an_upload_is_described_and_its_faults_name_no_temporary_folder(song, tmp_path):
    assert "1 s, 44.1 kHz, stereo" in describe(str(song)) and describe(None) == ""
    cut = tmp_path / "cut.wav"
    cut.write_bytes(song.read_bytes()[:-5000])
    said = describe(str(cut))
    assert 'role="alert"' in said and "cut.wav was cut" in said and str(tmp_path) not in said


def test_markup_in_an_error_is_escaped():
    said = error_box(AudioFileError("<script>alert(1)</script>.wav", "is silent", "Replace it."))
    assert "&lt;script&gt;" in said and "<script>" not in said
    assert "the disk is full" in error_box(OSError(28, "No space left on device", "x"))


# ---------------------------------------------------------------- spectrograms


def test_a_spectrogram_shows_a_tone_at_its_place_at_its_level(tmp_path):
    """Half a second of silence, then 1 kHz at -20 dB: in the bin 1000 / (16000 / 512) = 32."""
    sound = np.concatenate([np.zeros(RATE // 2), 0.1 * np.sin(2 * np.pi * 1000 * np.arange(RATE // 2) / RATE)])
    soundfile.write(tmp_path / "tone.wav", sound, RATE, subtype="FLOAT")
    levels = spectrogram(tmp_path / "tone.wav")
    assert levels.shape == (257, RATE // 128)
    assert levels[:, :55].max() < -100
    assert (levels[:, 70:120].argmax(axis=0) == 32).all()
    assert levels[32, 70:120] == pytest.approx(-20, abs=0.1)


def test_a_spectrogram_of_a_long_file_has_a_fixed_number_of_columns_and_the_same_tones(tmp_path):
    """A tone that rises once a minute: each column shows the tone of its time."""
    minutes = [500.0, 1000.0, 2000.0]
    sound = np.concatenate([np.sin(2 * np.pi * hertz * np.arange(60 * RATE) / RATE) for hertz in minutes])
    soundfile.write(tmp_path / "long.flac", 0.5 * sound, RATE)
    levels = spectrogram(tmp_path / "long.flac")
    assert levels.shape == (257, figures.WIDTH)
    bins = levels.argmax(axis=0)
    third = figures.WIDTH / 3
    for number, hertz in enumerate(minutes):
        middle = bins[round(number * third) + 2 : round((number + 1) * third) - 2]
        assert (middle == round(hertz * 512 / RATE)).all()


@pytest.mark.parametrize("frames", [1, 100, 511, 513])
def test_the_shortest_files_have_a_picture(tmp_path, frames):
    soundfile.write(tmp_path / "short.wav", 0.5 * np.ones(frames), RATE)
    assert np.isfinite(spectrogram(tmp_path / "short.wav")).all()
    assert "data:image/png" in stems_box(tmp_path / "short.wav", {"a": tmp_path / "short.wav"}, "/file=")


# ---------------------------------------------------------------- visitors


def test_files_are_removed_when_replaced_and_when_the_visitor_leaves(tmp_path):
    visitors = Visitors(tmp_path)
    one, two, foreign = visitors.uploads / "one.wav", visitors.uploads / "two.wav", tmp_path / "mine.wav"
    for path in (one, two, foreign):
        path.write_bytes(b"sound")
    visitors.uploaded("a", one)
    visitors.uploaded("b", one)  # gradio keeps one copy of equal files
    visitors.uploaded("a", two)
    assert one.exists()
    visitors.uploaded("b", None)
    assert not one.exists() and two.exists()
    first = visitors.new_results("a")
    (first / "bass.wav").write_bytes(b"sound")
    second = visitors.new_results("a")
    assert not first.exists() and second.exists()
    visitors.uploaded("b", foreign)
    stop = visitors.visitor("a").stop
    for session in ("a", "b", "nobody"):
        visitors.leave(session)
    assert stop.is_set() and foreign.exists()
    assert not list(visitors.uploads.iterdir()) and not list(visitors.results.iterdir())


# ---------------------------------------------------------------- examples


@pytest.mark.parametrize("name", examples.EXAMPLES)
def test_an_example_has_the_labels_of_its_model_and_every_stem_sounds(name):
    stems = examples.EXAMPLES[name][1]()
    assert sorted(stems) == zoo.models()[name]["sources"]
    assert len({len(stem) for stem in stems.values()}) == 1
    assert all(np.isfinite(stem).all() and np.sqrt(np.mean(stem**2)) > 0.01 for stem in stems.values())


def test_examples_are_written_for_the_models_that_are_offered(tmp_path):
    found = examples.write_examples(tmp_path, ["run", "drums"])
    assert list(found) == ["drums"] and 5 < soundfile.info(found["drums"]).duration < 20
    assert np.abs(soundfile.read(found["drums"])[0]).max() == pytest.approx(0.7, abs=1e-3)


# ---------------------------------------------------------------- fine-tuning


def test_a_check_says_whether_one_can_train(stems):
    html, can_train = checked(stems, [])
    assert can_train and "<td>flute</td><td>2</td><td>0.1</td>" in html and "can be trained on" in html
    html, can_train = checked(stems, ["--ignore=flute"])
    assert not can_train and "it has one label only" in html
    soundfile.write(stems / "two" / "bass.wav", np.zeros(3 * RATE), RATE)
    html, can_train = checked(stems, [])
    assert not can_train and "error: two, bass: is silent" in html


def test_wrong_stems_and_options_are_one_sentence(stems):
    with pytest.raises(ConfigError, match="There is no folder of stems yet"):
        stems_folder("  ")
    with pytest.raises(DataError, match="is not there. Type the path"):
        checked(stems / "absent", [])
    with pytest.raises(ConfigError, match="--groups"):
        checked(stems, reading_words("", "male", "error"))


def test_the_words_of_the_form_parse_as_the_command_does():
    reading = reading_words(" organ ", "low=bass+tuba", "skip")
    words = training_words(Path("/my stems"), Path("/run"), "quartet", 10, "mask", "cpu", reading)
    given = cli.COMMANDS["finetune"][0]().parse(words)
    expected = {"stems": [Path("/my stems")], "out": Path("/run"), "iterations": 10, "validate_every": 5, "mode": "mask",
                "checkpoint": "quartet", "device": "cpu", "ignore": ["organ"], "groups": {"low": ["bass", "tuba"]},
                "missing": "skip"}  # fmt: skip
    assert given == expected


def wait_until(true, seconds: float = 600.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without a signal that it can catch")
def test_a_training_is_stopped_resumed_and_shown_and_its_model_separates(stems, body, song, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run, training = tmp_path / "run", Training()
    words = training_words(stems, run, str(body), 200, "whole", "cpu", [])
    words += ["--batch-size=2", "--excerpt-seconds=0.5", "--workers=0"]
    assert "appears here" in progress_box(training.status())
    training.start(words)
    with pytest.raises(ConfigError, match="runs already"):
        training.start(words)
    wait_until(lambda: training.status().points)
    training.stop()
    assert training.status().state in ("stopping", "stopped")
    wait_until(lambda: not training.status().busy)
    stopped = training.status()
    assert stopped.state == "stopped" and 10 <= stopped.iteration < 200
    shown = progress_box(stopped)
    assert (
        f"Stopped. Start resumes it</strong>: iteration {stopped.iteration} of 200" in shown and "data:image/png" in shown
    )
    assert shlex.split(stopped.command)[:2] == ["nussl-transfer", "finetune"]

    training.start(words)
    wait_until(lambda: not training.status().busy)
    done = training.status()
    assert (done.state, done.iteration, done.error) == ("done", 200, "")
    assert "Done" in (html := progress_box(done)) and "SI-SDR in dB on" in html
    assert "resuming at iteration" in (run / "run.log").read_text()
    assert "bass" in separated(song, str(run), SeparationOptions(), tmp_path / "out")


def test_a_training_with_a_wrong_word_does_not_start():
    training = Training()
    with pytest.raises(ConfigError, match="--iterations: expected a whole number from 1"):
        training.start(training_words(Path("/s"), Path("/r"), "body", 0, "whole", "auto", []))
    assert training.status() == TrainingStatus()


def test_the_message_of_a_training_that_failed_is_shown_and_its_log_is_not():
    lines = ["Device: cpu.", "nussl-transfer: The data set has 2 errors:", "  two: is silent", "  <b>: is cut"]
    assert _error(lines, 2, Path("run")) == "The data set has 2 errors:\n  two: is silent\n  <b>: is cut"
    assert "perhaps because memory ran out" in _error(["a line"], -9, Path("run"))
    assert "status 1" in _error(["Traceback (most recent call last):", "KeyError: 1"], 1, Path("run"))
    shown = progress_box(TrainingStatus("failed", Path("run"), "nussl-transfer finetune", 10, (), "", "<b>: is cut"))
    assert 'role="alert">&lt;b&gt;: is cut' in shown


def test_the_time_that_is_left_is_that_of_the_mean_pace():
    points = ({"iteration": 0, "seconds": 1.0}, {"iteration": 25, "seconds": 10.0})
    assert TrainingStatus("running", iterations=100, points=points).seconds_left == pytest.approx(30.0)
    assert TrainingStatus("running", iterations=100).seconds_left is None


# ---------------------------------------------------------------- the server


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of a page in a separate process, and its folder for temporary files."""
    temporary = tmp_path_factory.mktemp("served")
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "nussl_transfer", "app", "--model", "drums", "--device", "cpu"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=temporary,
    )  # fmt: skip
    lines = []
    for line in process.stdout:
        lines.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            break
    else:
        pytest.fail("".join(lines))
    yield found[0], temporary
    # Ctrl-C ends it, and nothing is left.
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and "deleted" in said and "Traceback" not in said
    assert not [path for path in temporary.iterdir() if path.name.startswith("nussl-transfer-app")]


def ask(method: str, url: str, **options) -> requests.Response:
    session = requests.Session()
    session.trust_env = False
    return session.request(method, url, timeout=60, **options)


def test_the_page_is_whole_and_names_no_other_host(served):
    address, _ = served
    answer = ask("GET", address)
    assert answer.status_code == 200 and "drums: cymbals, kick, snare" in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="((?:https?:)?//[^"]*)"', answer.text)
    assert all(link.startswith(f"{address}/") for link in loaded), loaded
    assert '"analytics_enabled":false' in answer.text.replace(" ", "")


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}],
)
def test_other_sites_get_no_answer(served, headers):
    address, _ = served
    for method, path in (("GET", "/"), ("POST", "/gradio_api/upload"), ("POST", "/gradio_api/queue/join")):
        assert ask(method, address + path, headers=headers).status_code == 403


def test_an_upload_is_kept_in_the_temporary_folder_under_a_safe_name_and_no_other_file_is_given_out(served, song):
    address, temporary = served
    upload = {"files": ("../../../a b<c>.wav", song.read_bytes(), "audio/wav")}
    path = Path(ask("POST", address + "/gradio_api/upload", files=upload).json()[0])
    assert path.resolve().is_relative_to(temporary.resolve()) and not set("<>/") & set(path.name)
    assert ask("GET", f"{address}/gradio_api/file={path}").content == song.read_bytes()
    for secret in ("/etc/passwd", str(ROOT / "setup.cfg"), str(song), str(path.parent / ".." / ".." / ".." / "x")):
        assert ask("GET", f"{address}/gradio_api/file={secret}").status_code in (403, 404)


def test_the_first_free_port_is_taken_and_an_address_that_cannot_be_opened_is_named():
    with server.listening("127.0.0.1", None) as first, server.listening("127.0.0.1", None) as second:
        one, two = (listener.getsockname()[1] for listener in (first, second))
        assert server.FIRST_PORT <= one < two
        with pytest.raises(ConfigError, match=f"cannot be opened at 127.0.0.1, port {one}: Address already in use"):
            server.listening("127.0.0.1", one)
    with pytest.raises(ConfigError, match="at 203.0.113.1, port 7860"):  # an address for documentation: RFC 5737
        server.listening("203.0.113.1", None)


def test_only_loopback_addresses_are_local():
    assert [server.is_loopback(host) for host in ("127.0.0.2", "::1", "localhost")] == [True] * 3
    assert [server.is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.2", "localhost.evil.example", "")] == [
        False
    ] * 5
