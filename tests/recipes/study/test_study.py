"""The smallest study from one command: from nothing to a page, killed on the way; no finished job runs again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="Snakemake is not made for this Python")

ROOT = Path(__file__).parents[3]
LIMIT = 600  # seconds, of a machine that does other things


def command(folder: Path, *more: str) -> list[str]:
    words = ["-s", str(ROOT / "recipes" / "Snakefile"), "--profile", str(ROOT / "recipes" / "profiles" / "local")]
    config = ["--config", "size=smoke", f"study={folder}", f"plan={ROOT / 'recipes' / 'conf' / 'study.yml'}"]
    return [sys.executable, "-m", "snakemake", *words, "--cores", "2", *more, *config]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}


def call(folder: Path, *more: str) -> subprocess.CompletedProcess:
    words = command(folder / "study", *more)
    done = subprocess.run(words, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return done


def age_of(path: Path) -> float:
    """Return for how many seconds a file has been there."""
    return time.time() - path.stat().st_mtime


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a study that was killed when its first body was there, and called again."""
    folder = tmp_path_factory.mktemp("study")
    words = command(folder / "study")
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(words, cwd=folder, env=environment(folder), start_new_session=True, **silent)
    waited = time.monotonic()
    # A body that has just been written belongs to a job that has not ended yet: Snakemake would make it again.
    while not (bodies := [path for path in (folder / "study" / "bodies").glob("*.pth") if age_of(path) > 6]):
        assert first.poll() is None and time.monotonic() - waited < LIMIT
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    body = bodies[0]
    made = body.stat().st_mtime_ns
    assert not (folder / "study" / "report").exists()
    call(folder)
    assert body.stat().st_mtime_ns == made  # a body finished before the kill was not made again
    return folder


def test_it_ends_in_a_page_the_tables_and_the_figures(done):
    report = done / "study" / "report"
    assert "MUSDB" in (report / "index.html").read_text(encoding="utf-8")
    assert (report / "answers.md").is_file()
    tables = {path.name for path in (report / "tables").iterdir()}
    assert {"table1.md", "table1.csv", "table2.md", "table2.csv", "statistics.csv"} <= tables
    figures = {path.name for path in (report / "figures").iterdir()}
    assert {f"figure{number}.{kind}" for number in (1, 2, 3) for kind in ("png", "pdf", "svg")} <= figures


def test_every_model_was_trained_from_the_body_it_is_named_after(done):
    plan = json.loads((done / "study" / "study.json").read_text(encoding="utf-8"))
    assert len(plan["models"]) == 5
    for model in plan["models"]:
        run = (done / "study" / "runs" / model["name"] / "config.yml").read_text(encoding="utf-8")
        if model["mode"] != "scratch":
            assert f"bodies/{model['pretraining']}-{model['condition']}-0.pth" in run
        assert (done / "study" / "scores" / f"{model['name']}.json").is_file()


def test_nothing_is_done_twice(done):
    said = call(done)
    assert "Nothing to be done" in said.stdout + said.stderr
    assert "is done: 2 bodies, 5 models, all scored." in said.stderr


def test_only_a_removed_score_and_the_files_made_from_it_are_made_again(done):
    score = next((done / "study" / "scores").glob("bach10-*-whole-0.json"))
    aside = score.rename(done / "aside.json")
    try:
        said = call(done, "-n")
    finally:
        aside.rename(score)
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", said.stdout + said.stderr, re.MULTILINE))
    assert jobs == {"score": "1", "example": "1", "report": "1", "everything": "1", "total": "4"}
