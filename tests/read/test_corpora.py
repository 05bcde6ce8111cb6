"""Every file of the corpora of hostile and odd files ends well: rows, counted rejections, or one clear error."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

import pytest

FOLDERS = ("csv-duckdb", "csv-frictionless", "parquet-bad", "parquet-good")
NO_DATA = ("LICENSE", "README.md")
PROCESSES = 2
SECONDS = 20
ROOT = Path(__file__).parents[2]


class Worker(threading.Thread):
    """Feeds one process after the other with files; a process that dies or takes too long is that file's fault."""

    def __init__(self, todo: deque[Path]) -> None:
        super().__init__()
        self.todo = todo
        self.answers: dict[Path, dict[str, object]] = {}

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
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def closed(self, process: subprocess.Popen[str]) -> None:
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        process.wait(SECONDS)


@pytest.fixture(scope="module")
def answers(test_data: Path) -> dict[str, dict[str, object]]:
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


def test_no_file_crashes_hangs_or_surprises(answers: dict[str, dict[str, object]]) -> None:
    assert {name: answer["bug"] for name, answer in answers.items() if "bug" in answer} == {}
    print(f"{len(answers)} files, {sum('error' in answer for answer in answers.values())} refused")


def test_an_error_names_its_file(answers: dict[str, dict[str, object]]) -> None:
    errors = {name: str(answer["error"]) for name, answer in answers.items() if "error" in answer}
    assert [error for name, error in errors.items() if name.split("/")[1] not in error] == []


def test_no_broken_parquet_passes_for_an_empty_one(answers: dict[str, dict[str, object]]) -> None:
    bad = {name: answer for name, answer in answers.items() if name.startswith("parquet-bad/")}
    assert [name for name, answer in bad.items() if answer.get("rows") == 0] == []


def test_most_good_parquet_is_read(answers: dict[str, dict[str, object]]) -> None:
    good = [answer for name, answer in answers.items() if name.startswith("parquet-good/")]
    # Two have wrong checksums, one an illegal map, one a text of 1 GB.
    assert sum("rows" in answer for answer in good) >= len(good) - 4
