"""Memory does not grow with the export: measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource")

ROOT = Path(__file__).parents[2]
READ = """
import resource, sys
from pathlib import Path
from backfill.mapping import Source
from backfill.read import open_export
path = Path(sys.argv[1])
rows = sum(chunk.frame.height for chunk in open_export(Source(files=[path.name]), path.parent).chunks())
status = Path("/proc/self/status")
if status.exists():
    # What getrusage says counts the process before exec too, which was a copy of the tests' own.
    peak = int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(rows, peak)
"""


def peak(path: Path) -> tuple[int, int]:
    """Rows of the file, and the most bytes of memory that reading it took."""
    # The allocator gives pages back at once, so that what counts is what is held.
    environment = {**os.environ, "_RJEM_MALLOC_CONF": "background_thread:false,dirty_decay_ms:0,muzzy_decay_ms:0"}
    run = subprocess.run(
        [sys.executable, "-c", READ, str(path)], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    rows, memory = run.stdout.split()
    return int(rows), int(memory)


def orders(path: Path, megabytes: int) -> int:
    """A CSV of this size; its number of rows."""
    block = "".join(f'{i},customer{i}@example.com,"note, {i}",{i}.50,2024-01-02 03:04:05\n' for i in range(20_000))
    count = megabytes * 1_000_000 // len(block) + 1
    with path.open("w") as out:
        out.write("id,email,note,total,at\n")
        for _ in range(count):
            out.write(block)
    return count * 20_000


@pytest.mark.slow
def test_a_large_csv_takes_no_more_than_a_small_one(tmp_path: Path) -> None:
    orders(tmp_path / "small.csv", 20)
    rows = orders(tmp_path / "large.csv", 200)
    _, small = peak(tmp_path / "small.csv")
    read, large = peak(tmp_path / "large.csv")
    print(f"20 MB: {small / 1e6:.0f} MB, 200 MB: {large / 1e6:.0f} MB")
    assert read == rows
    assert large < small + 60_000_000


@pytest.mark.slow
def test_a_large_row_group_is_not_held(tmp_path: Path) -> None:
    write = (
        "import sys, numpy as np, polars as pl; n = 8_000_000; r = np.random.default_rng(1);"
        "pl.DataFrame({c: r.random(n) for c in 'abcd'}).write_parquet(sys.argv[1], row_group_size=n, compression='uncompressed')"
    )
    subprocess.run([sys.executable, "-c", write, str(tmp_path / "a.parquet")], check=True)
    assert (tmp_path / "a.parquet").stat().st_size > 250_000_000
    rows, memory = peak(tmp_path / "a.parquet")
    print(f"a row group of 256 MB: {memory / 1e6:.0f} MB")
    assert rows == 8_000_000
    assert memory < 330_000_000
