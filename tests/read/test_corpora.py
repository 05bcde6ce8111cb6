"""Every file of the corpora of hostile and odd files goes through `check`: all its rows, or counted rejections, or one
clear refusal; and nothing that others can read is refused.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

import pytest

FOLDERS = ("csv-duckdb", "csv-frictionless", "parquet-bad", "parquet-good")
NO_DATA = ("LICENSE", "README.md")
PROCESSES = 2
SECONDS = 30
PEAK_BYTES = 700_000_000
ROOT = Path(__file__).parents[2]
# The limit on memory is one on addresses, and each thread reserves some.
THREADS = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"}

# The CSV files that are refused: what the message says of each, and why reading it would be a guess. A name before a
# colon stands for the files that are called so with each of the numbers after it.
REFUSED = {
    # There is nothing in them.
    "is empty": """
        csv-duckdb/add_escaped_rfc.csv csv-duckdb/empty.csv csv-duckdb/test__empty.csv csv-frictionless/empty.csv
        csv-duckdb/afl__: 1 3 4 11 25
        csv-duckdb/afl__3977__case_: 4
    """,
    # The csv module reads no ZIP archives either; which file inside is meant, the user knows.
    "is a ZIP archive": """
        csv-frictionless/chunk1.csv.zip csv-frictionless/chunk2.csv.zip csv-frictionless/compression__explicit.csv.zip
        csv-frictionless/compression__implicit-zip.csv csv-frictionless/doublequote.csv.zip
        csv-frictionless/table.csv.zip csv-frictionless/without-rows.csv.zip
    """,
    # The csv module takes the rest of the file for one field, and in its strict mode refuses it as well. Ten of them
    # (fuzzed) it reads under another separator than the one most rows have: then each row is ragged, or one field.
    "a quote that opens here never closes": """
        csv-duckdb/segfault.csv csv-duckdb/test__unterminated.csv
        csv-duckdb/rejects__unquoted__unquoted_last_value.csv
        csv-duckdb/multidelimiter__simple_unterminated_quote.csv csv-duckdb/multidelimiter__unterminated_escape.csv
        csv-duckdb/multidelimiter__unterminated_quote_escape.csv
        csv-duckdb/multidelimiter__unterminated_quote_multi_line.csv
        csv-duckdb/afl__: 7 8 10 15 17 18
        csv-duckdb/afl__3977__case_: 5 36 74
        csv-duckdb/afl__ignore_errors__: 1 12 13 14 16 17 18 19 20 21 24 27 28 29 31 32 43 44 45 48 49 51 52 53 54 55
        csv-duckdb/afl__no_parameter__: 1 4 6 7 8 9 12 15 16 17 18 19 20 21 22 23 24
        csv-duckdb/afl__null_padding__: 1 2 3 4 7 8 9 10 11 12 13 17 18 19 20 21 22 23 24 25 29 30 31 32 33 34 37 38 39
        csv-duckdb/afl__null_padding__: 40 41 44 45
        csv-duckdb/afl__skip__: 1 2
        csv-duckdb/fuzzing__: 6 23 35
    """,
    # The header has a byte that does not decode, or a quote that swallowed rows: what the columns are called is unknown.
    "the header can't be read": """
        csv-duckdb/afl__3977__case_: 53 67 70
        csv-duckdb/afl__ignore_errors__: 38
    """,
}
# Valid files that can't be read: two with wrong checksums, a map that may have null for a key, a text of 1 GB.
REFUSED_PARQUET = {
    "parquet-good/datapage_v1-corrupt-checksum.parquet",
    "parquet-good/incorrect_map_schema.parquet",
    "parquet-good/large_string_map.brotli.parquet",
    "parquet-good/rle-dict-uncompressed-corrupt-checksum.parquet",
}
# Its footer counts no rows, and its row group has six.
MISCOUNTED = {"parquet-good/repeated_no_annotation.parquet"}

Answer = dict[str, Any]


class Worker(threading.Thread):
    """Feeds one process after the other with files; a process that dies or takes too long is that file's fault."""

    def __init__(self, todo: deque[Path]) -> None:
        super().__init__()
        self.todo = todo
        self.answers: dict[Path, Answer] = {}

    def run(self) -> None:
        process = self.started()
        while self.todo:
            try:
                path = self.todo.popleft()
            except IndexError:
                break
            assert process.stdin is not None
            assert process.stdout is not None
            timer = threading.Timer(SECONDS, process.kill)
            timer.start()
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            timer.cancel()
            if answer:
                self.answers[path] = json.loads(answer)
            else:
                self.answers[path] = {"bug": f"the process ended with {process.wait()}"}
                self.closed(process)
                process = self.started()
        self.closed(process)

    def started(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.read.corpus_worker"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen(command, cwd=ROOT, text=True, env={**os.environ, **THREADS}, **pipes)

    def closed(self, process: subprocess.Popen[str]) -> None:
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        process.wait(SECONDS)


def faults(name: str, answer: Answer) -> list[str]:
    """What is wrong with how `check` of a file ended; nothing, for most."""
    if "bug" in answer:
        return [answer["bug"]]
    rows, events, problems, error = answer["rows"], answer["events"], answer["problems"], answer["error"]
    if answer["status"] in {65, 78}:
        lines = error.splitlines()
        told = name.split("/")[1] in lines[0] if lines else False
        return [] if told and len(lines) == 2 and rows is None else [f"no clear refusal: {error}"]
    if answer["status"] not in {0, 3}:
        return [f"ended with {answer['status']}: {error}"]
    rejected = sum(problem["count"] for problem in problems)
    true = {
        "nothing is said but results": error == "",
        "rows balance": rows["read"] == rows["unreadable"] + rows["mapped"],
        "events balance": events["total"] == sum(events.values()) - events["total"] == rows["mapped"],
        "each row is an event of its own": events["ready"] == events["total"] - events["invalid"],
        "each rejection has a reason": rejected == rows["unreadable"] + events["invalid"],
        "a rejection ends with 3": (answer["status"] == 3) == (rejected > 0),
        "others count as many rows": name in MISCOUNTED or rows["read"] == answer["others"].get("rows"),
    }
    return [f"not so: {what} ({rows}, {events}, {answer['others']})" for what, holds in true.items() if not holds]


@pytest.fixture(scope="module")
def answers(test_data: Path) -> dict[str, Answer]:
    todo = deque(
        path
        for folder in FOLDERS
        for path in sorted((test_data / "corpora" / folder).iterdir())
        if path.is_file() and path.name not in NO_DATA
    )
    workers = [Worker(todo) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = {path: answer for worker in workers for path, answer in worker.answers.items()}
    return {f"{path.parent.name}/{path.name}": answer for path, answer in sorted(found.items())}


def names(text: str) -> set[str]:
    found: set[str] = set()
    for line in text.strip().splitlines():
        stem, colon, numbers = line.strip().partition(":")
        found |= {f"{stem}{number}.csv" for number in numbers.split()} if colon else set(line.split())
    return found


@pytest.mark.slow
@pytest.mark.timeout(400)  # some 1,000 files, of which the first test waits for all
def test_each_file_ends_well(answers: dict[str, Answer]) -> None:
    assert {name: wrong for name, answer in answers.items() if (wrong := faults(name, answer))} == {}
    slowest = max(answers, key=lambda name: answers[name]["seconds"])
    most = max(answer["peak"] for answer in answers.values())
    print(f"{len(answers)} files, the slowest {slowest}: {answers[slowest]['seconds']} s; {most / 1e6:.0f} MB at most")
    assert len(answers) > 900
    assert most < PEAK_BYTES


@pytest.mark.slow
@pytest.mark.timeout(400)  # some 1,000 files, of which the first test waits for all
def test_no_csv_is_refused_that_can_be_read_without_guessing(answers: dict[str, Answer]) -> None:
    csvs = {name: answer for name, answer in answers.items() if name.startswith("csv-")}
    refused = {name: answer for name, answer in csvs.items() if answer["status"] not in {0, 3}}
    expected = {name: why for why, listed in REFUSED.items() for name in names(listed)}
    assert refused.keys() == expected.keys()
    assert [name for name, why in expected.items() if why not in refused[name]["error"]] == []
    # Python's csv module agrees: of these, and only of these, it says that the last quote is open.
    open_files = {name for name, answer in csvs.items() if answer["others"].get("open")}
    assert open_files == names(REFUSED["a quote that opens here never closes"])


@pytest.mark.slow
@pytest.mark.timeout(400)  # some 1,000 files, of which the first test waits for all
def test_parquet_is_read_where_it_is_good_and_refused_where_it_is_not(answers: dict[str, Answer]) -> None:
    good = {name for name in answers if name.startswith("parquet-good/")}
    assert {name for name in good if answers[name]["status"] == 65} == REFUSED_PARQUET
    bad = {name for name in answers if name.startswith("parquet-bad/")}
    # It was written by the letter of an old wording of the format, and has all its rows.
    assert {name for name in bad if answers[name]["status"] != 65} == {"parquet-bad/ARROW-GH-43605.parquet"}


FINE: Answer = {
    "status": 3,
    "error": "",
    "rows": {"read": 3, "unreadable": 1, "filtered": 0, "mapped": 2},
    "events": {
        "total": 2,
        "invalid": 1,
        "duplicate": 0,
        "already_delivered": 0,
        "changed": 0,
        "refused": 0,
        "ready": 1,
    },
    "problems": [{"count": 1}, {"count": 1}],
    "others": {"rows": 3},
}
REFUSAL: Answer = {
    **FINE,
    "status": 65,
    "rows": None,
    "events": None,
    "problems": None,
    "error": "/x/a.csv: why\nhint\n",
}


def test_what_would_be_a_fault() -> None:
    """The tests above can fail."""
    assert faults("x/a.csv", FINE) == faults("x/a.csv", REFUSAL) == []
    wrong: list[Answer] = [
        {"bug": "the process ended with -11"},
        {**FINE, "status": 70, "error": "an error that was not foreseen\nplease report it\n"},
        {**FINE, "status": 0},
        {**FINE, "others": {"rows": 4}},
        {**FINE, "problems": [{"count": 1}]},
        {**FINE, "rows": {"read": 3, "unreadable": 0, "filtered": 0, "mapped": 2}},
        {**FINE, "events": {**FINE["events"], "duplicate": 1, "ready": 0}},
        {**REFUSAL, "error": "something is wrong\nmend it\n"},
        {**REFUSAL, "error": "Traceback\n  File\n/x/a.csv: why\nhint\n"},
    ]
    assert [answer for answer in wrong if not faults("x/a.csv", answer)] == []
    worker = Worker(deque([Path("/nonexistent/csv-none/a.csv")]))
    worker.start()
    worker.join()
    # A process that dies is told, not passed over: this one can't count the lines of a file that is not there.
    assert [answer["bug"] for answer in worker.answers.values()] == ["the process ended with 1"]
