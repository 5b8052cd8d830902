"""The benchmark of scoring runs to its end, and its last line holds the documented figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "evaluating.py"


def test_a_quick_run_ends_with_its_figures_and_both_sides_give_the_same_scores():
    done = subprocess.run([sys.executable, SCRIPT, "--quick", "--threads", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["speed_ratio"] > 0 and figures["excerpts"] == 16
    assert figures["max_difference_db"] < 1e-3
