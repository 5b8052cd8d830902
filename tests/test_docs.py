"""Run every code block of the README and the manual, on tiny data and for a few iterations.

Of the tutorial, the commands run here; its Python runs when the manual is built.

Commands of this package run through the command line's own entry point. Other shell lines are checked as far as possible
without running them: targets of make exist, recipes can be imported. A block after the words ``parsed only: REASON``, in a
comment, is only parsed.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from layouts import SLAKH_TRACKS, bach10, choirset, musdb18, slakh, tone, write

from nussl_transfer import cli
from nussl_transfer.pipelines.experiment_reading import read_experiment

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial" / "first_separator.py"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.rst")), TUTORIAL]
RATE = 16000
# Of two values for an option the last counts, so these options shorten the training of a page.
SHORT = {
    "finetune": "--iterations 2 --batch-size 2 --excerpt-seconds 0.5 --workers 0 --validate-every 1 --device cpu",
    "evaluate": "--excerpt-seconds 1",
    "prepare": "--missing skip",  # the trees made here have few tracks, some of which lack sources
}
LABELS = ("alto", "bass", "soprano", "tenor")


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Attributes:
        kind: Its language: 'python', 'sh', 'text', 'yaml', 'json', '' for none.
        code: Its text.
        parsed_only: Whether the page says that it is not to be run.
        line: Its line in the page.
    """

    kind: str
    code: str
    parsed_only: bool
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".py":  # the text of a script of the tutorial is in comments
        text = "\n".join(re.sub("^# ?", "", line) if line.startswith("#") else "" for line in text.splitlines())
    return list(_markdown(text) if page.suffix == ".md" else _restructured(text))


def _markdown(text: str) -> Iterator[Block]:
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        before = text[: found.start()].rstrip().splitlines()[-1]
        yield Block(found[1], found[2], "parsed only:" in before, text[: found.start()].count("\n") + 1)


def _restructured(text: str) -> Iterator[Block]:
    lines = text.splitlines()
    for number, line in enumerate(lines):
        typed = re.match(r"( *)\.\. code-block:: (\w+)$", line)
        literal = re.match(r"( *)(?!\.\. ).*::$", line)
        if not (typed or literal):
            continue
        indent = len((typed or literal)[1])
        body = []
        for following in lines[number + 1 :]:
            if following.strip() and len(following) - len(following.lstrip()) <= indent:
                break
            body.append(following)
        code = textwrap.dedent("\n".join(one for one in body if not re.match(r" *:\w+:", one))).strip() + "\n"
        above = [one for one in lines[:number] if one.strip()]
        yield Block(typed[2] if typed else _guess(code), code, bool(above) and "parsed only:" in above[-1], number + 1)


def _guess(code: str) -> str:
    """Return the language of a literal block without one."""
    first = code.split(maxsplit=1)[0] if code.split() else ""
    return (
        "sh"
        if first in ("nussl-transfer", "make", "pip", "python", "torchrun", "python3.11", "snakemake", "tensorboard")
        else ""
    )


# Data sets that pages name, as small trees of the same form.
TREES = {
    "Bach10_v1.1": lambda here: bach10(here, pieces=4, seconds=3.0),
    "slakh2100_flac_redux": lambda here: slakh(here, tracks=tuple(number for number in SLAKH_TRACKS if number != 357)),
    "musdb18hq": musdb18,
    "corpora/choir": lambda here: choirset(here / "corpora" / "choir"),
}


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """The working folder of a reader: stems and songs."""
    monkeypatch.chdir(tmp_path)
    for folder, tracks in (("my-stems", ("first song", "second song")), ("my-test-stems", ("third song",))):
        for shift, track in enumerate(tracks):
            for number, label in enumerate(LABELS):
                write(
                    tmp_path / folder / track / f"{label}.wav", tone(110.0 * 2**number * (1 + shift / 12), 3.0, RATE), RATE
                )
    mixture = sum(tone(110.0 * 2**number, 3.0, RATE) for number in range(4)) / 4
    for name in ("chorale.wav", "concert.wav", "song.wav"):
        soundfile.write(tmp_path / name, mixture.astype(np.float32), RATE)
    return tmp_path


def commands(code: str) -> list[str]:
    """Return the lines of a shell block, continued lines joined."""
    joined = code.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def run_command(words: list[str]) -> None:
    """Run a command of this package."""
    command = words[0] if words else ""
    extra = shlex.split(SHORT.get(command, ""))
    if command == "evaluate" and "--excerpts" in words:
        extra = []
    needed = words[1:3] if command in ("evaluate", "publish") else []
    if "--model" in words:
        needed = [words[words.index("--model") + 1]]
    for model in needed:
        _make_run(model)
    status = cli.main([*words, *extra])
    assert status == 0, f"nussl-transfer {shlex.join(words)}: status {status}"


def _make_run(name: str) -> None:
    """Train the run that a page assumes to exist."""
    if name in ("run", "another-run", "run-a", "run-b") and not Path(name).exists():
        assert cli.main(["finetune", "my-stems", "--out", name, *shlex.split(SHORT["finetune"])]) == 0


def check_other(words: list[str]) -> None:
    """Check that the targets, modules and files in a shell line of another program exist."""
    words = [word for word in words if not re.fullmatch(r"[A-Z0-9_]+=\S*", word)]
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[1] in targets, f"make {words[1]}"
    elif "-m" in words and words[words.index("-m") + 1].startswith("recipes"):
        module = words[words.index("-m") + 1]
        assert importlib.util.find_spec(module), module
        for word in words:
            if word.startswith("recipes/conf/") and word.endswith(".yml"):
                assert read_experiment(ROOT / word)
    else:
        known = (
            "pip",
            "python3.11",
            ".venv/bin/python",
            "tensorboard",
            "snakemake",
            "torchrun",
            "python",
            "docker",
            "kubectl",
        )
        assert words[0] in known, f"The test knows no command {words[0]!r}."


def shortened(code: str) -> str:
    """Return Python code with its training shortened to one or two iterations."""
    code = re.sub(r"iterations=\d+", "iterations=2, batch_size=2, validate_every=1", code)
    code = re.sub(r"excerpt_seconds=[\d.]+", "excerpt_seconds=0.5", code)
    code = re.sub(r"max_epochs=\d+", "max_epochs=1", code)
    return code.replace("GetExcerpt(250)", "GetExcerpt(60)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_code_block_runs(page, reader):
    names: dict = {"__name__": "__docs__"}
    for folder, make in TREES.items():
        if folder in page.read_text(encoding="utf-8"):
            make(reader)
    for block in blocks_of(page):
        where = f"{page.name}:{block.line}"
        if block.kind == "python":
            compiled = compile(shortened(block.code), where, "exec")
            if not block.parsed_only:
                exec(compiled, names)  # noqa: S102
        elif block.kind in ("sh", "bash", "console"):
            for line in commands(block.code):
                words = shlex.split(re.sub(r"\s#.*", "", line.removeprefix("$ ")))
                if words[0] == "nussl-transfer" and block.parsed_only:
                    parser, _ = cli.COMMANDS[words[1]]
                    parser().parse(words[2:])
                elif words[0] == "nussl-transfer":
                    run_command(words[1:])
                else:
                    check_other(words)
        elif block.kind == "yaml":
            assert yaml.safe_load(block.code) is not None, where
        elif block.kind == "json":
            assert json.loads(block.code) is not None, where
        else:
            assert block.kind in ("", "text"), f"{where}: {block.kind!r}"


def test_blocks_are_found_in_both_formats(tmp_path):
    markdown, rst = tmp_path / "a.md", tmp_path / "a.rst"
    markdown.write_text("Text\n\n```python\nx = 1\n```\n\n<!-- parsed only: no network -->\n```sh\nmake demo\n```\n")
    rst.write_text(
        "Text::\n\n    make demo\n    make test\n\n.. parsed only: no network\n\n.. code-block:: python\n   :linenos:\n\n  "
        " x = 1\n\nEnd.\n"
    )
    assert [(one.kind, one.code, one.parsed_only) for one in blocks_of(markdown)] == [
        ("python", "x = 1\n", False), ("sh", "make demo\n", True),
    ]  # fmt: skip
    assert [(one.kind, one.code, one.parsed_only) for one in blocks_of(rst)] == [
        ("sh", "make demo\nmake test\n", False), ("python", "x = 1\n", True),
    ]  # fmt: skip


def test_the_first_python_block_of_three_pages_separates_with_the_quartet():
    for page in (ROOT / "README.md", ROOT / "docs" / "nussl.rst", ROOT / "docs" / "index.rst"):
        first = next(block for block in blocks_of(page) if block.kind == "python")
        assert 'DeepMaskEstimation(signal, model_path="quartet")' in first.code, page


def test_every_page_is_in_a_table_of_contents():
    index = (ROOT / "docs" / "index.rst").read_text(encoding="utf-8")
    assert f"\n   _tutorial/{TUTORIAL.stem}\n" in index
    for page in (ROOT / "docs").glob("*.rst"):
        assert page.stem == "index" or re.search(rf"^   {page.stem}$", index, re.MULTILINE), page.name
