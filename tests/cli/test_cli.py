"""The command line: what it shows, what it refuses, and one whole session of a newcomer's on tiny material."""

from __future__ import annotations

import inspect
import json
import runpy
import shlex
import sys

import numpy as np
import nussl
import pytest
import soundfile
import yaml
from layouts import tone, write

import nussl_transfer
from nussl_transfer import cli
from nussl_transfer.checkpoints import zoo
from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.cli.parsers import parser_of
from nussl_transfer.datasets.validation import check
from nussl_transfer.evaluation import evaluate as evaluation
from nussl_transfer.pipelines import cross_validation as folds
from nussl_transfer.pipelines import finetune as finetuning
from nussl_transfer.separation import files as separators
from nussl_transfer.store import prepare
from nussl_transfer.store.store import Store
from nussl_transfer.training import run as runs

RATE = 16000


@pytest.fixture
def stems(tmp_path):
    """Two tracks of three seconds, a bass and a flute each."""
    folder = tmp_path / "stems"
    for number, track in enumerate(("one", "two")):
        for label, pitch in (("bass", 110.0), ("flute", 880.0)):
            write(folder / track / f"{label}.wav", tone(pitch * (1 + number / 12), 3.0, RATE), RATE)
    return folder


@pytest.fixture
def body(tmp_path, tiny_model):
    """A pretrained body, too small to separate anything."""
    info = CheckpointInfo((), "pretrain", RATE, nussl.STFTParams(512, 128, "sqrt_hann"), excerpt_seconds=1.0)
    return write_checkpoint(tmp_path / "tiny.pth", tiny_model(), info)


def run(words: str) -> int:
    """Runs a command as typed, and returns its status."""
    try:
        return cli.main(shlex.split(words))
    except SystemExit as left:  # argparse leaves so after help
        return left.code


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_help_fits_a_screen_and_shows_an_example(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(f"{command} --help") == 0
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 80
    assert "example:" in lines and lines[-1].startswith("  nussl-transfer ")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_the_example_of_each_help_is_one_that_the_command_takes(command):
    parser = parser_of(cli.COMMANDS[command])
    program, name, *words = shlex.split(parser.epilog.splitlines()[-1])
    assert (program, name) == ("nussl-transfer", command)
    parser.parse_args(words)


@pytest.mark.parametrize(
    ("command", "function"),
    [
        ("check", check.check),
        ("prepare", prepare.prepare),
        ("finetune", finetuning.finetune),
        ("evaluate", evaluation.evaluate),
        ("evaluate", evaluation.make_excerpts),
        ("separate", separators.separate_files),
    ],
)
def test_what_is_not_given_is_what_the_package_takes(command, function):
    ours = inspect.signature(cli.COMMANDS[command]).parameters
    theirs = inspect.signature(function).parameters
    shared = [name for name in ours.keys() & theirs.keys() if name not in ("out", "groups", "ignore", "dataset", "labels")]
    different = {
        name: (ours[name].default, theirs[name].default)
        for name in shared
        if theirs[name].default is not inspect.Parameter.empty and ours[name].default != theirs[name].default
    }
    assert not different
    assert shared


def test_what_is_not_given_to_finetune_is_what_training_takes():
    ours = inspect.signature(cli.COMMANDS["finetune"]).parameters
    theirs = inspect.signature(runs.FitConfig).parameters
    own = set(inspect.signature(finetuning.finetune).parameters)  # what has a default of its own there
    shared = (ours.keys() & theirs.keys()) - own
    assert {"learning_rate", "body_learning_rate", "stop_after", "ema_decay", "accumulate", "bf16"} <= shared
    assert {name: ours[name].default for name in shared} == {name: theirs[name].default for name in shared}


def test_no_words_at_all_show_the_commands(capsys):
    assert run("") == 0
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in cli.COMMANDS)


def test_version_says_what_it_runs_on(capsys):
    assert run("--version") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"nussl-transfer {nussl_transfer.__version__} (nussl 1.1.9, torch ")
    assert sys.version.split()[0] in said


def test_the_package_runs_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nussl_transfer", "--version"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("nussl_transfer", run_name="__main__")
    assert left.value.code == 0 and "nussl-transfer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("finetun", "no command 'finetun'. Did you mean finetune?"),
        ("finetune", "not given: STEMS, --out."),
        ("finetune a --out b --iteration 3", "no option --iteration. Did you mean --iterations?"),
        ("finetune a --out b --learning_rate=3", "no option --learning_rate. Did you mean --learning-rate?"),
        ("finetune a --out b --iterations many", "--iterations takes int, got 'many'."),
        ("finetune a --out b --mode head", "--mode takes 'whole', 'mask', got 'head'."),
        ("finetune a --out b --from nobody", "the names are body"),
        ("prepare a --out b --workers 1.5", "--workers takes int, got '1.5'."),
        ("prepare a --out", "expected one argument"),
        ("finetune a --out b --repeats 3", "3 repeats were asked for without folds. Give --folds too"),
        ("check a b", "'b' is one word too many."),
        ("check . --groups tenor", "'tenor' is not NAME=STEM+STEM."),
        ("check nowhere", "no such folder"),
        ("check . --dataset Bach11", "Known are Bach10"),
        ("evaluate a", "not given: STEMS."),
        ("separate a.wav --model nobody --out c", "Model 'nobody'"),
    ],
)
def test_a_mistake_is_told_in_one_message_with_status_2(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("nussl-transfer: ") and said in captured.err
    assert not captured.out and "Traceback" not in captured.err
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(monkeypatch, capsys):
    def stopped():
        raise KeyboardInterrupt

    monkeypatch.setattr(zoo, "models", stopped)
    assert run("models") == 130
    assert "same command again" in capsys.readouterr().err


def test_models_are_listed(capsys):
    assert run("models") == 0
    said = capsys.readouterr().out
    assert all(f"\n{name} " in said for name in zoo.models())


def test_check_passes_a_good_folder_and_fails_a_bad_one(stems, capsys):
    assert run(f"check {stems} --deep") == 0
    assert "2 tracks, 4 files" in capsys.readouterr().out
    soundfile.write(stems / "two" / "bass.wav", np.zeros(3 * RATE), RATE)
    assert run(f"check {stems}") == 0
    assert run(f"check {stems} --deep") == 1
    assert "error: two, bass: is silent" in capsys.readouterr().out


def test_check_writes_json_to_a_file_or_the_terminal(stems, tmp_path, capsys):
    assert run(f"check {stems} --json -") == 0
    printed = json.loads(capsys.readouterr().out)
    assert run(f"check {stems} --json {tmp_path / 'found.json'}") == 0
    assert json.loads((tmp_path / "found.json").read_text()) == printed
    assert printed["dataset"] == "StemFolder" and len(printed["rows"]) == 4 and not printed["fatal"]


def test_prepare_takes_groups_and_what_to_ignore(stems, tmp_path, capsys):
    write(stems / "one" / "organ.wav", tone(220.0, 3.0, RATE), RATE)
    out = tmp_path / "store"
    assert run(f"prepare {stems} --out {out} --sample-rate 8000 --ignore organ --groups low=bass,high=flute") == 0
    store = Store(out)
    assert store.labels == ("high", "low") and store.sample_rate == 8000
    assert "finetune" in capsys.readouterr().out


TINY = "--iterations 2 --batch-size 2 --excerpt-seconds 0.5 --workers 0"


def test_finetune_takes_what_goes_beyond_the_paper(stems, body, tmp_path):
    beyond = "--phase-sensitive --body-learning-rate 1e-4 --stop-after 200 --ema-decay 0.9 --accumulate 2 --frame-step 1"
    words = f"finetune {stems} --out {tmp_path / 'run'} --from {body} {TINY} {beyond} --freeze normalization"
    assert run(words) == 0
    config = yaml.safe_load((tmp_path / "run" / "config.yml").read_text())
    expected = {"phase_sensitive": True, "body_learning_rate": 1e-4, "stop_after": 200, "ema_decay": 0.9, "accumulate": 2,
                "frame_step": 1, "frozen": ["normalization"]}  # fmt: skip
    assert {name: config[name] for name in expected} == expected


def test_a_layer_that_is_not_there_is_told_with_those_that_are(stems, body, tmp_path, capsys):
    assert run(f"finetune {stems} --out {tmp_path / 'run'} --from {body} --freeze recurrent {TINY}") == 2
    assert "Layers recurrent were to be frozen: the network has log_spectrogram, normal" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_folds_are_asked_for_and_told_in_one_table(monkeypatch, tmp_path, capsys):
    asked = {}
    rows = [{"repeat": 1, "fold": n, "seed": 7, "tracks": [f"song {n}"], "mean": float(n)} for n in (1, 2)]
    summary = [{"estimate": "fine-tuned", "label": label, "n": 2, "mean": 1.5, "median": 1.5} for label in ("bass", None)]
    scores = {"folds": rows, "labels": ["bass"], "models": {"fine-tuned": ""}, "summary": summary, "comparisons": [],
              "left_out": 0}  # fmt: skip

    def cross_validate(*given, **named):
        asked.update(named, given=given)
        return scores

    monkeypatch.setattr(folds, "cross_validate", cross_validate)
    assert run(f"finetune stems --out {tmp_path} --folds 2 --seed 7 --phase-sensitive --from none --like body") == 0
    assert [str(value) for value in asked["given"]] == ["stems", str(tmp_path), "2", "1"]
    assert (asked["seed"], asked["phase_sensitive"], asked["source"], asked["like"]) == (7, True, None, "body")
    said = capsys.readouterr().out
    assert said.index("song 1") < said.index("song 2") < said.index("1.50 (1.50)") and "leave --folds out" in said


def test_a_newcomer_gets_from_stems_to_separated_files_and_scores(stems, body, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = f"finetune stems --out run --from {body.name} --iterations 2 --batch-size 2 --excerpt-seconds 0.5 --workers 0"
    assert run(command) == 0
    captured = capsys.readouterr()
    assert "separates bass, flute" in captured.out
    assert "No validation tracks were given" in captured.err

    mixture = sum(soundfile.read(stems / "one" / f"{label}.wav")[0] for label in ("bass", "flute"))
    soundfile.write(tmp_path / "song.wav", mixture, RATE)
    assert run("separate song.wav --model run --out separated") == 0
    printed = capsys.readouterr().out.split()
    assert printed == ["separated/song/bass.wav", "separated/song/flute.wav"]
    assert all(soundfile.info(path).frames == len(mixture) for path in printed)

    assert run("evaluate run stems --out scores --seconds 1 --oracle") == 0
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert set(scores["scores"]) == {"run", "mixture", "oracle"} and len(scores["excerpts"]) == 6
    assert run("evaluate run stems --out again --excerpts scores/excerpts.jams") == 0
    assert json.loads((tmp_path / "again" / "scores.json").read_text())["scores"]["run"] == scores["scores"]["run"]
