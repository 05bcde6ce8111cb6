"""The benchmark runs, and shows figures beside what they are compared with; how good they are is for people to judge."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import httpx
import polars as pl
import pytest

from tests.bench.bench import FULL, QUICK, Bench, Sizes
from tests.bench.box import Counted, steady_rate
from tests.bench.export import PIECE, make_files, make_grown, make_orders
from tests.bench.measures import MEASURES
from tests.bench.sink import sink
from tests.bench.table import Line, Section, markdown, section_text
from tests.bench.trace import Calls, busy, chrome, figures, overlapping, timeline, together
from tests.bench.watch import BenchError

TINY = Sizes(
    limit=1, check=1_000, dict_reader=1_000, bulk=1_000, single=200, httpx=10, small=1_000, large=2 * PIECE, known=PIECE,
    new=PIECE, files=3, ledger=1_000, prefill=1_000, trace=30_000, rounds=1,
)  # fmt: skip
# They run the command several times, or for seconds on purpose.
LONG = {"limit", "memory", "rerun", "first"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(TINY, tmp_path, stack)


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
        assert re.search(rf"^\| {name} \| \| \d+\.\d+ \|", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in MEASURES]
)
def test_a_measure_measures(bench: Bench, name: str) -> None:
    """It ends without a BenchError: what was measured did its work."""
    section = MEASURES[name](bench)
    assert section_text(section).startswith(section.title)
    assert all(line.seconds > 0 for line in section.lines)


def test_the_sizes_fit_the_pieces_of_the_export() -> None:
    for sizes in (FULL, QUICK, TINY):
        assert sizes.known < sizes.large
        assert not any(rows % PIECE for rows in (sizes.large, sizes.known, sizes.new))


def test_a_larger_export_begins_as_a_smaller_one_does(tmp_path: Path) -> None:
    def rows_of(path: Path) -> list[tuple[str, ...]]:
        return pl.read_csv(path, infer_schema=False).rows()

    small, large = (rows_of(make_orders(tmp_path, count)) for count in (PIECE, 2 * PIECE))
    grown = rows_of(make_grown(tmp_path, PIECE, PIECE, after=2 * PIECE))
    assert large[:PIECE] == small == grown[:PIECE]
    assert len({row[0] for row in large + grown}) == 3 * PIECE
    files = sorted(make_files(tmp_path, 3, 5).iterdir())
    assert [len(rows_of(file)) for file in files] == [5, 5, 5]
    assert [row for file in files for row in rows_of(file)] == rows_of(make_orders(tmp_path, 15))


def test_the_rate_is_that_of_the_middle() -> None:
    """A second until the first request, 95 a second for ten seconds, and two seconds for the last ones' new attempts."""
    quarters = [0] * 4 + [int(i * 95 / 4) for i in range(41)] + [952] * 8
    counted = [Counted(i / 4, requests) for i, requests in enumerate(quarters)]
    assert steady_rate(counted) == pytest.approx(95, abs=0.5)


def test_there_is_no_rate_of_what_was_counted_once() -> None:
    with pytest.raises(BenchError, match="too few"):
        steady_rate([Counted(0, 0), Counted(1, 50), Counted(2, 100)])
    with pytest.raises(BenchError, match="too few"):
        steady_rate([])


def test_time_in_which_stages_are_at_work() -> None:
    read, send = [(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)], [(2.5, 4.0), (5.5, 9.0)]
    assert busy(read, (0, 10)) == pytest.approx(4)
    assert busy(read, (1, 5.5)) == pytest.approx(2.5)
    assert together([read, send], (0, 10)) == pytest.approx(1)
    assert together([read, send, [(0.0, 10.0)]], (0, 10)) == pytest.approx(3 + 1 + 4.5 - 0.5)
    assert together([read, [(3.0, 5.0)]], (0, 10)) == 0
    assert overlapping(read, send) == 2
    assert overlapping(read, [(3.0, 5.0)]) == 0


def test_a_trace_is_drawn() -> None:
    drawn = timeline({"read": [(0.0, 0.5)], "send": [(0.496, 1.0)]}, (0, 1)).splitlines()
    assert drawn[0] == f"    read |{'#' * 50}{' ' * 50}|"
    assert drawn[1] == f"    send |{' ' * 49}-{'#' * 50}|"


def test_calls_are_timed_and_written_for_the_viewers() -> None:
    calls = Calls()

    def two() -> Iterator[int]:
        yield 1
        yield 2

    assert list(calls.timed_steps("read", two)()) == [1, 2]
    assert calls.timed("shape", len)("abc") == 3
    began = time.perf_counter()
    calls.add("send", began)
    assert [call.stage for call in calls] == ["read", "read", "read", "shape", "send"]
    assert all(one.span[0] <= one.span[1] <= other.span[1] for one, other in pairwise(calls))
    shown = json.loads(json.dumps(chrome(calls)))["traceEvents"]
    assert [event["ph"] for event in shown] == ["M", "X", "X", "X", "X", "b", "e"]
    found, _, sending = figures(calls)
    assert sending[0] == began
    assert found["busy"]["send"] == found["seconds"] > 0
    assert (found["together"], found["ahead"]) == (0, 0)


@pytest.mark.parametrize("nginx", [True, False])
def test_the_sink_knows_when_the_first_request_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, nginx: bool
) -> None:
    if not nginx:
        monkeypatch.setattr("shutil.which", lambda name: None)
    with sink(tmp_path) as server:
        before = time.time() - 0.001
        with httpx.Client(trust_env=False) as client:
            assert [client.post(server.base_url, content=b"{}").status_code for _ in range(2)] == [202, 202]
        assert before <= server.first_request(before) <= time.time() + 0.001
        with pytest.raises(BenchError, match="no request"):
            server.first_request(time.time() + 1)


def test_the_readme_gets_one_table() -> None:
    sections = [
        Section("one", [Line("a", 1_000, 2.0, 0.001, 12.3, "words"), Line("b", 0, 0.05)]),
        Section("two", [Line("c", 500, 1.0)]),
    ]
    assert markdown(sections).splitlines()[2:] == [
        "| **one** | | | | | | |",
        "| a | 1,000 | 2.0 | 500 | 1.0 µs | 12 MB | words |",
        "| b | | 0.050 | | | | |",
        "| **two** | | | | | | |",
        "| c | 500 | 1.0 | 500 | | | |",
    ]
