"""The benchmark runs, and shows figures beside what they are compared with; how good they are is for people to judge."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_the_benchmark_measures_and_shows() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.bench", "--quick", "--only", "help"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^\d+ cores .*\n.*Python \d+\.\d+\.\d+.* polars \d", done.stdout)
    for name in ("backfill --help", "python -c pass"):
        assert re.search(rf"^  {name} +\d+\.\d+ ", done.stdout, re.MULTILINE)
