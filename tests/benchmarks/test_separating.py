"""The benchmark of separating runs to its end, and its last line holds the documented figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "separating.py"


def test_a_quick_run_without_demucs_ends_with_its_figures(tmp_path):
    absent = tmp_path / "python"
    words = [sys.executable, SCRIPT, "--quick", "--demucs-python", absent]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    figures = json.loads(lines[-1])
    for name in ("speed_ratio_300", "memory_ratio_300", "rss_mb_300", "rss_mb_3600", "rtf_300"):
        assert figures[name] > 0
    assert [row["name"] for row in figures["measured"]] == ["ours", "ours", "nussl", "nussl, OverlapAdd"]
    assert f"HTDemucs: demucs is not installed for {absent}, so it is not measured." in lines
