"""The command line: help, errors, exit status, and one session from stems to scores on tiny data."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from layouts import tone, write

import nussl_transfer
from nussl_transfer import cli
from nussl_transfer.checkpoints import zoo
from nussl_transfer.cli.finetune_command import MIXTURES, TRAINING, arguments
from nussl_transfer.datasets.options import StemOptions
from nussl_transfer.datasets.validation import check
from nussl_transfer.evaluation import evaluate as evaluation
from nussl_transfer.evaluation import excerpts as excerpt_lists
from nussl_transfer.pipelines import cross_validation as folds
from nussl_transfer.pipelines import finetune as finetuning
from nussl_transfer.pipelines import publish as publishing
from nussl_transfer.pipelines.finetune import default_mixtures
from nussl_transfer.separation import files as separators
from nussl_transfer.store import prepare
from nussl_transfer.store.store import Store
from nussl_transfer.training.config import FitConfig

ROOT = Path(__file__).parents[2]
RATE = 16000


def run(words: str) -> int:
    """Run a command as typed, and return its status."""
    try:
        return cli.main(shlex.split(words))
    except SystemExit as ended:  # argparse exits after it has printed help
        return ended.code


def python(code: str, **options) -> subprocess.CompletedProcess:
    """Run code in another process."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, **options)


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_help_fits_80_columns_and_shows_an_example(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(f"{command} --help") == 0
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert max(map(len, lines)) <= 80
    assert "example:" in lines and lines[-1].startswith("  nussl-transfer ")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_the_example_in_each_help_parses(command):
    parser = cli.COMMANDS[command][0]()
    program, name, *words = shlex.split(parser.epilog.splitlines()[-1])
    assert (program, name) == ("nussl-transfer", command)
    parser.parse(words)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_option_has_a_help_text(command):
    for action in cli.COMMANDS[command][0]()._actions:
        assert action.help, action.dest


def defaults_in_help(command: str) -> dict[str, str]:
    """Return the defaults that the help of a command shows, in brackets, by the name of the value."""
    found = {}
    for action in cli.COMMANDS[command][0]()._actions:
        if shown := re.search(r"\[([^\[\]]+)\]", action.help):
            found[action.dest] = shown[1]
    return found


@pytest.mark.parametrize(
    ("command", "functions", "compared"),
    [
        ("fetch", [cli.COMMANDS["fetch"][1]], {"out"}),
        ("check", [check.check], {"excerpt_seconds"}),
        ("prepare", [prepare.prepare, StemOptions], {"sample_rate", "silent", "missing", "length_tolerance"}),
        ("evaluate", [cli.COMMANDS["evaluate"][1], evaluation.evaluate, excerpt_lists.make_excerpts], {"seed", "out"}),
        ("separate", [separators.separate_files], {"format"}),
        ("publish", [publishing.publish, cli.COMMANDS["publish"][1]], {"out"}),
        ("finetune", [{"workers": 1}, finetuning.finetune, dataclasses.asdict(finetuning.default_training()),
                      dataclasses.asdict(default_mixtures()), cli.COMMANDS["finetune"][1]],
         {"iterations", "batch_size", "coherent", "mode", "checkpoint", "learning_rate", "seed", "frame_step",
          "dc_weight", "ema_decay", "timbre", "eq_db", "gain_db", "transpose",
          "choose_by"}),
    ],
)  # fmt: skip
def test_the_defaults_in_the_help_are_those_of_the_functions(command, functions, compared):
    names = {"excerpt_seconds": "seconds"}
    defaults = {}
    for function in reversed(functions):
        if isinstance(function, dict):
            defaults.update(function)
            continue
        parameters = inspect.signature(function).parameters.values()
        defaults.update({one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty})
    shown = {dest: text for dest, text in defaults_in_help(command).items() if names.get(dest, dest) in defaults}
    assert compared <= shown.keys()
    for dest, text in shown.items():
        if dest != "device":
            value = defaults[names.get(dest, dest)]
            assert text == str(value) or float(text) == value, dest


def test_finetune_offers_fields_of_the_dataclasses_only():
    assert set(TRAINING) <= {field.name for field in dataclasses.fields(FitConfig)}
    dests = {action.dest for action in cli.COMMANDS["finetune"][0]()._actions}
    assert set(TRAINING) | set(MIXTURES) <= dests


def test_without_words_the_commands_are_listed(capsys):
    assert run("") == 0
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in cli.COMMANDS)


def test_version_names_the_packages_that_matter(capsys):
    assert run("--version") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"nussl-transfer {nussl_transfer.__version__} (nussl 1.1.9, torch ")
    assert sys.version.split()[0] in said


def test_the_package_runs_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nussl_transfer", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("nussl_transfer", run_name="__main__")
    assert ended.value.code == 0 and "nussl-transfer" in capsys.readouterr().out


# ---------------------------------------------------------------- start


LIGHT = [
    "--help",
    "--version",
    *(f"{name} --help" for name in cli.COMMANDS),
    "finetun",
    "check . --depe",
    "check . --seconds 0",
]


def test_help_versions_and_wrong_options_import_neither_torch_nor_nussl():
    code = (
        "import sys, time\n"
        "from nussl_transfer import cli\n"
        f"for words in {LIGHT!r}:\n"
        "    try:\n"
        "        cli.main(words.split())\n"
        "    except SystemExit:\n"
        "        pass\n"
        "heavy = sorted({'torch', 'nussl', 'ignite', 'librosa', 'numpy', 'scipy', 'jsonargparse'} & set(sys.modules))\n"
        "print('heavy:', heavy, 'seconds:', time.process_time())\n"
    )
    done = python(code, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("heavy: []"), last
    # All these commands together stay below the limit. The limit is wide, because other tests run at the same time.
    assert float(last.split()[-1]) < 1.0, last


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("finetun", "no command 'finetun'. Did you mean finetune?"),
        ("finetune", "required: "),
        ("finetune a", "required: --out"),
        ("finetune a --out b --iteration 3", "no option --iteration. Did you mean --iterations?"),
        ("finetune a --out b --learning_rate=3", "no option --learning_rate. Did you mean --learning-rate?"),
        ("finetune a --out b --freeze mask", "no option --freeze. Did you mean --frozen?"),
        ("finetune a --out b --iterations many", "--iterations: expected a whole number from 1 to 1000000000, got 'many'."),
        ("finetune a --out b --mode head", "--mode: invalid choice: 'head'"),
        ("finetune a --out b --checkpoint nobody", "nobody"),
        ("prepare a --out b --workers 1.5", "--workers: expected a whole number from 1 to 1024, got '1.5'."),
        ("prepare a --out", "expected one argument"),
        ("finetune a --out b --repeats 3", "--repeats 3 needs --folds."),
        ("check a b", "a: there is no such folder."),
        ("check . --groups tenor", "'tenor' is not NAME=STEM+STEM."),
        ("check . --groups a=b=c", "'a=b=c' is not NAME=STEM+STEM."),
        ("check . --options layout", "'layout' is not NAME=VALUE."),
        ("check nowhere", "no such folder"),
        ("check . --dataset Bach11", "Choose one of Bach10"),
        ("evaluate a", "STEMS"),
        ("separate a.wav --model nobody --out c", "nobody"),
        ("separate --model quartet --out c", "AUDIO is missing"),
        ("finetune a --out b --test c", "--test needs --folds"),
        ("finetune a --out b --device tpu", "tpu"),
    ],
)
def test_a_mistake_is_one_message_with_status_2(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    captured = capsys.readouterr()
    assert captured.err.removeprefix("Device: cpu.\n").startswith("nussl-transfer: ") and said in captured.err
    assert not captured.out and "Traceback" not in captured.err
    assert not list(tmp_path.iterdir())


WORDS = {  # what each command needs besides the option under test
    "fetch": "", "check": ".", "prepare": ". --out o", "finetune": ". --out o", "evaluate": "m .",
    "separate": "a.wav --model m --out o", "publish": "m --name n --license MIT", "models": "", "app": "",
}  # fmt: skip


def numeric_options() -> list[tuple[str, str]]:
    """Return every option that takes a number: of all commands, by the type that its parser has."""
    found = []
    for command, (parser, _) in cli.COMMANDS.items():
        for action in parser()._actions:
            if getattr(action.type, "__qualname__", "").startswith(("integer.", "number.")) or action.type in (int, float):
                found.append((command, action.option_strings[0]))
    return found


def test_all_numeric_options_are_found():
    assert len(numeric_options()) >= 25
    assert {("check", "--excerpt-seconds"), ("finetune", "--seed"), ("separate", "--chunk-seconds")} <= set(
        numeric_options()
    )


@pytest.mark.parametrize(("command", "option"), numeric_options())
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e400", "-1e-9", "", "0x10", "9" * 30, "1,5x"])
def test_a_number_out_of_range_is_refused_with_its_option_before_anything_runs(command, option, value, capsys):
    with pytest.raises(cli.ConfigError, match=f"rgument .*{option}.*: expected a"):
        cli.COMMANDS[command][0]().parse([*WORDS[command].split(), f"{option}={value}"])


@pytest.mark.parametrize(
    "words",
    ["check . --seconds 0", "finetune . --out o --excerpt-seconds 0", "separate a --model m --out o --chunk-seconds 0",
     "finetune . --out o --iterations 0", "finetune . --out o --ema-decay 1", "finetune . --out o --coherent 1.01",
     "prepare . --out o --length-tolerance 1", "prepare . --out o --sample-rate 0", "evaluate m . --count 0",
     "finetune . --out o --learning-rate 0", "finetune . --out o --folds 1"],
)  # fmt: skip
def test_impossible_bounds_are_refused(words, capsys):
    assert run(words) == 2
    assert "expected a" in capsys.readouterr().err


def test_ctrl_c_ends_with_130_and_says_how_to_resume(monkeypatch, capsys):
    def stopped():
        raise KeyboardInterrupt

    monkeypatch.setattr(zoo, "models", stopped)
    assert run("models") == 130
    assert "same command again" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
def test_sigterm_ends_with_143(monkeypatch, capsys):
    def stopped():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(zoo, "models", stopped)
    assert run("models") == 143


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGPIPE")
def test_a_closed_pipe_ends_silently():
    read, write = os.pipe()
    os.close(read)
    code = "import sys\nfrom nussl_transfer.cli import main\nsys.exit(main(['--help']))"
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, cwd=ROOT, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1"])
def test_a_table_prints_where_stdout_lacks_its_characters(encoding):
    code = "from nussl_transfer.cli.status import exit_status\nprint(exit_status(lambda: print('−1.50 … ♪ fl\\udcf6te')))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT, timeout=60,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode(encoding)
    assert shown.startswith("-1.50 ") and shown.splitlines()[-1] == "0" and r"fl\xf6te" in shown


def test_a_name_that_is_not_utf8_is_escaped_in_a_message():
    code = (
        "from nussl_transfer.cli.status import exit_status\n"
        "from nussl_transfer.errors import DataError\n"
        "def work(): raise DataError('fl\\udcf6te is silent')\n"
        "raise SystemExit(exit_status(work, 'x'))"
    )
    done = python(code, env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (2, "x: fl\\xf6te is silent\n")


# ---------------------------------------------------------------- commands


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


def test_prepare_takes_groups_and_ignored_labels(stems, tmp_path, capsys):
    write(stems / "one" / "organ.wav", tone(220.0, 3.0, RATE), RATE)
    out = tmp_path / "store"
    assert run(f"prepare {stems} --out {out} --sample-rate 8000 --ignore organ --groups low=bass,high=flute") == 0
    store = Store(out)
    assert store.labels == ("high", "low") and store.sample_rate == 8000
    assert "finetune" in capsys.readouterr().out


TINY = "--iterations 2 --batch-size 2 --excerpt-seconds 0.5 --workers 0"


def test_finetune_takes_options_beyond_the_paper(stems, body, tmp_path):
    beyond = "--phase-sensitive --body-learning-rate 1e-4 --stop-after 200 --ema-decay 0.9 --accumulate 2 --frame-step 1"
    words = f"finetune {stems} --out {tmp_path / 'run'} --checkpoint {body} {TINY} {beyond} --frozen normalization"
    assert run(words) == 0
    config = yaml.safe_load((tmp_path / "run" / "config.yml").read_text())
    expected = {"phase_sensitive": True, "body_learning_rate": 1e-4, "stop_after": 200, "ema_decay": 0.9, "accumulate": 2,
                "frame_step": 1, "frozen": ["normalization"]}  # fmt: skip
    assert {name: config[name] for name in expected} == expected


def test_from_scratch_the_default_learning_rate_is_half_as_high():
    for words, rate in (("", 0.004), ("--checkpoint none", 0.002), ("--checkpoint none --learning-rate 0.01", 0.01)):
        given = cli.COMMANDS["finetune"][0]().parse(shlex.split(f"stems --out run {words}"))
        how = arguments({name: value for name, value in given.items() if name not in ("stems", "out")})
        assert how["training"].learning_rate == rate


def test_paper_sets_the_papers_values_and_options_beside_it_change_them():
    given = cli.COMMANDS["finetune"][0]().parse(shlex.split("stems --out run --paper --batch-size 4 --workers 0"))
    how = arguments({name: value for name, value in given.items() if name not in ("stems", "out")})
    training, mixtures = how["training"], how["mixtures"]
    assert (training.batch_size, training.frame_step, training.learning_rate, training.workers) == (4, 1, 0.001, 0)
    assert (mixtures.excerpt_seconds, mixtures.coherent) == (10.0, 1.0)
    assert "paper" not in how


def test_changes_of_pitch_and_tempo_become_ranges(capsys):
    given = cli.COMMANDS["finetune"][0]().parse(shlex.split("s --out r --pitch 3 --stretch 0.8,1.2 --gain-db 6 --sounding"))
    mixtures = arguments({name: value for name, value in given.items() if name not in ("stems", "out")})["mixtures"]
    assert (mixtures.pitch, mixtures.stretch) == ((-3.0, 3.0), (0.8, 1.2))
    assert (mixtures.gain_db, mixtures.sounding) == (6.0, True)
    for wrong in ("--stretch 0.8", "--stretch a,b", "--stretch 0,1", "--pitch 30", "--pitch -1"):
        assert run(f"finetune s --out r {wrong}") == 2
        assert f"argument {wrong.split()[0]}: expected" in capsys.readouterr().err.lower()


def test_stem_options_become_one_dataclass():
    words = r"stems --out run --ignore 'keys\, left,organ' --groups male=tenor+bass --options layout=pool --missing skip"
    given = cli.COMMANDS["finetune"][0]().parse(shlex.split(words))
    options = arguments({name: value for name, value in given.items() if name not in ("stems", "out")})["options"]
    assert options == StemOptions(
        dataset="StemFolder", options={"layout": "pool"}, groups={"male": ["tenor", "bass"]},
        ignore=("keys, left", "organ"), missing="skip",
    )  # fmt: skip


def test_an_unknown_layer_is_an_error_that_lists_the_layers(stems, body, tmp_path, capsys):
    assert run(f"finetune {stems} --out {tmp_path / 'run'} --checkpoint {body} --frozen recurrent {TINY}") == 2
    error = capsys.readouterr().err
    assert "recurrent" in error and "recurrent_stack" in error
    assert not (tmp_path / "run").exists()


# Files of a folder that cannot be trained on; each of them holds text.
UNUSABLE = {"nothing": (), "text": ("one/bass.wav", "one/flute.wav", "two/bass.wav", "two/flute.wav")}


@pytest.mark.parametrize("what", [*UNUSABLE, "no folder", "truncated"])
@pytest.mark.parametrize("folds", ["", "--folds 2"])
def test_a_finetuning_that_cannot_start_leaves_no_folder(what, folds, stems, body, tmp_path, capsys):
    folder = tmp_path / "unusable"
    for name in UNUSABLE.get(what, ()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("This is text.")
    if what == "nothing":
        folder.mkdir()
    if what == "truncated":  # found only when the files are read to their end
        for path in stems.rglob("*.wav"):
            name = folder / path.relative_to(stems).with_suffix(".flac")
            name.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(name, soundfile.read(path)[0], RATE)
            name.write_bytes(name.read_bytes()[:-2000])
    assert run(f"finetune {folder} --out {tmp_path / 'a' / 'run'} --checkpoint {body} {TINY} {folds}") == 2
    assert not (tmp_path / "a").exists()
    (tmp_path / "mine").mkdir()
    assert run(f"finetune {folder} --out {tmp_path / 'mine'} --checkpoint {body} {TINY} {folds}") == 2
    assert (tmp_path / "mine").is_dir(), "it was there before"


def test_the_report_of_a_run_is_what_the_terminal_shows(stems, body, tmp_path, capsys):
    folder = tmp_path / "my run"
    assert run(f"finetune {stems} --out '{folder}' --checkpoint {body} {TINY}") == 0
    said = capsys.readouterr().out
    assert said.endswith((folder / "report.txt").read_text())
    (command,) = (line.strip() for line in said.splitlines() if "nussl-transfer separate" in line)
    given = cli.COMMANDS["separate"][0]().parse(shlex.split(command)[2:])
    assert given["model"] == [str(folder)]


@pytest.mark.parametrize("level", [0.0, 1e-4])
def test_separating_a_silent_file_says_so_once(level, body, stems, tmp_path, capsys):
    assert run(f"finetune {stems} --out {tmp_path / 'run'} --checkpoint {body} {TINY}") == 0
    write(tmp_path / "quiet.wav", level * np.random.default_rng(0).standard_normal(2 * RATE), RATE)
    write(tmp_path / "song.wav", tone(220.0, 2.0, RATE), RATE)
    capsys.readouterr()
    words = f"separate {tmp_path / 'quiet.wav'} {tmp_path / 'song.wav'} --model {tmp_path / 'run'}"
    assert run(f"{words} --out {tmp_path / 'out'} --residual --shifts 2 --keep-rate") == 0
    said = capsys.readouterr()
    (line,) = (line for line in said.err.splitlines() if "silent" in line)
    quiet = tmp_path / "quiet.wav"
    assert line == f"{quiet} is silent, never above -60 dBFS in any tenth of a second, and so are its stems."
    assert len(said.out.split()) == 6


def test_folds_are_printed_as_one_table(monkeypatch, tmp_path, capsys):
    asked = {}
    rows = [{"repeat": 1, "fold": n, "seed": 7, "tracks": [f"song {n}"], "mean": float(n)} for n in (1, 2)]
    summary = [{"estimate": "fine-tuned", "label": label, "n": 2, "mean": 1.5, "median": 1.5} for label in ("bass", None)]
    scores = {"folds": rows, "labels": ["bass"], "models": {"fine-tuned": ""}, "summary": summary, "comparisons": [],
              "left_out": 0, "use": "Use all, as one ensemble."}  # fmt: skip

    def cross_validate(*given, **named):
        asked.update(named, given=given)
        return scores

    monkeypatch.setattr(folds, "cross_validate", cross_validate)
    assert run(f"finetune stems --out {tmp_path} --folds 2 --seed 7 --phase-sensitive --checkpoint none --like body") == 0
    assert [str(value) for value in asked["given"]] == ["stems", str(tmp_path), "2"] and asked["repeats"] == 1
    assert (asked["seed"], asked["training"].phase_sensitive, asked["checkpoint"], asked["like"]) == (7, True, None, "body")
    said = capsys.readouterr().out
    assert said.index("song 1") < said.index("song 2") < said.index("1.50 (1.50)") and "as one ensemble" in said


def test_a_newcomer_gets_from_stems_to_separated_files_and_scores(stems, body, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = (
        f"finetune stems --out run --checkpoint {body.name} --iterations 2 --batch-size 2 --excerpt-seconds 0.5 --workers 0"
    )
    assert run(command) == 0
    captured = capsys.readouterr()
    assert "separates bass, flute" in captured.out
    assert "not trained on: the last quarter of every track" in captured.err

    mixture = sum(soundfile.read(stems / "one" / f"{label}.wav")[0] for label in ("bass", "flute"))
    soundfile.write(tmp_path / "song.wav", mixture, RATE)
    assert run("separate song.wav --model run --out separated") == 0
    printed = capsys.readouterr().out.split()
    assert printed == ["separated/song/bass.wav", "separated/song/flute.wav"]
    assert all(soundfile.info(path).frames == len(mixture) for path in printed)

    assert run("separate song.wav --model run run --shifts 2 --keep-rate --no-high-band --labels flute --out both") == 0
    assert capsys.readouterr().out.split() == ["both/song/flute.wav"]

    assert run("evaluate run stems --out scores --excerpt-seconds 1 --oracle") == 0
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert set(scores["scores"]) == {"run", "mixture", "oracle"} and len(scores["excerpts"]) == 6
    assert run("evaluate run stems --out again --excerpts scores/excerpts.jams") == 0
    assert json.loads((tmp_path / "again" / "scores.json").read_text())["scores"]["run"] == scores["scores"]["run"]
