"""A shop's folder with an export and a mapping in it, the real command run there, and what to expect of its summary."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from backfill.ledger import Ledger
from tests.forked import ROOT, Forked, can_fork

SECRET = "canary-5f1e7c0d9b"
STORE = "64e5a8a1af49a89df37e4ee7"
# Of this checkout, whichever is installed.
CODE = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; from backfill.cli import main; main()"
COMMAND = [sys.executable, "-W", "error", "-c", CODE]
SECONDS = 60.0
# What a process can't be told any more when it has started.
USUAL = {
    "PATH": os.environ["PATH"],
    "LANG": "C.UTF-8",
    # Threads beyond the machine's two cores only wait for each other.
    "POLARS_MAX_THREADS": "2",
}

Row = dict[str, object]


def balanced(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary, after a look at whether its numbers add up: the first promise."""
    rows, events = summary["rows"], summary["events"]
    assert all(count >= 0 for count in [*rows.values(), *events.values()]), summary
    assert rows["read"] == rows["unreadable"] + rows["filtered"] + rows["mapped"], rows
    assert list(events) == [
        "total", "invalid", "duplicate", "already_delivered", "changed", "accepted", "refused", "pending",
    ]  # fmt: skip
    assert events["total"] == sum(count for name, count in events.items() if name != "total"), events
    for column in ("already_delivered", "changed", "duplicate", "accepted"):
        by_name = sum(counts.get(column, 0) for counts in summary["by_event_name"].values())
        assert by_name == events[column], (column, summary["by_event_name"])
    assert sum(summary["problems"].values()) == rows["unreadable"] + events["invalid"], summary["problems"]
    assert summary["requests"] >= summary["retries"] >= 0
    return summary


def eventually(holds: Callable[[], object], what: str, process: subprocess.Popen[str]) -> None:
    """Wait until it holds, while the process goes on; fail when it does not in time."""
    end = time.monotonic() + SECONDS
    while not holds():
        if process.poll() is not None:
            said = "".join(process.communicate()[i] or "" for i in range(2))
            raise AssertionError(f"ended with {process.returncode} before there was {what}; said\n{said}")
        assert time.monotonic() < end, f"after {SECONDS:g} s there is no {what}"
        time.sleep(0.005)


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


@dataclass
class Shop:
    """`folder` holds exports and mappings; commands run in it, with `env` as their whole environment.

    Where `env` has more than `usual` of what counts at a start, each starts by itself.
    """

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    usual: dict[str, str] = field(default_factory=USUAL.copy)

    def __post_init__(self) -> None:
        home = self.folder / "home"
        home.mkdir()
        self.env = {
            **USUAL,
            "HOME": str(home),
            "COLUMNS": "100",
            "REDO_API_SECRET": SECRET,
            # Without a server of its own a test sends to a port where nobody listens: never to the vendor.
            "REDO_BASE_URL": "http://127.0.0.1:9",
        }

    # ------------------------------------------------------------------------------------------------ its files

    @property
    def state(self) -> Path:
        return self.folder / ".backfill"

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def orders(self, count: int, name: str = "orders.csv", start: int = 0, pad: str = "") -> set[str]:
        """An export of orders that are all well; gives the uniqueIds that the plain mapping makes of them."""
        numbers = range(start, start + count)
        lines = ["order_id,at,email,total,note"]
        lines += [
            f"{i},2024-01-{i % 28 + 1:02}T10:00:{i % 60:02}Z,c{i}@example.com,{i % 90}.50,n{i}{pad}" for i in numbers
        ]
        self.write(name, "\n".join(lines) + "\n")
        return {f"order:{i}" for i in numbers}

    def mapping(self, name: str = "orders.yaml", files: object = "orders.csv", **parts: Any) -> Path:
        """The plain mapping; `source`, `event`, `delivery` change it, `events` replaces all its events."""
        event = {
            "eventName": "Order Placed",
            "uniqueId": "order:{order_id}",
            "eventTimestamp": "{at}",
            "value": "{total}",
            "valueCurrency": "USD",
            "customer": {"email": "{email}"},
            "data": {"Note": "{note}"},
        }
        tree = {
            "source": {"files": files, "timezone": "UTC", **parts.get("source", {})},
            "events": parts.get("events") or [_without(event | parts.get("event", {}))],
            "delivery": _without({"store": STORE, "flows": "acknowledged", **parts.get("delivery", {})}),
        }
        return self.write(name, yaml.safe_dump(tree, sort_keys=False))

    def run_folders(self, state: Path | None = None) -> set[Path]:
        return set((state or self.state).glob("runs/*"))

    def rejected(self, run: Path) -> list[dict[str, str]]:
        """The rows of a run's rejected.csv, cells as they are written."""
        import csv

        with (run / "rejected.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    # --------------------------------------------------------------------------------------------- its commands

    def start(self, *words: str | Path, itself: bool = False, **options: Any) -> subprocess.Popen[str]:
        """A command that goes on while the test does; `itself`: it starts by itself, whatever that costs."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options = {"cwd": self.folder, "env": self.env, **pipes, **options}
        texts = list(map(str, words))
        process: subprocess.Popen[str]
        if can_fork(options, self.usual) and not itself:
            process = Forked(texts, self.usual, **options)
        else:
            process = subprocess.Popen([*COMMAND, *texts], text=True, encoding="utf-8", **options)
        self.started.append(process)
        return process

    def close(self) -> None:
        """End what a test that failed left behind."""
        for process in self.started:
            if process.poll() is None:
                kill(process)

    def do(self, *words: str | Path, status: int | None = 0, **options: Any) -> Done:
        """A command from start to end, which has to be with `status`; no traceback, and no secret in what it says."""
        return finish(self.start(*words, **options), status)

    def deliver(self, *words: str | Path, mapping: str = "orders.yaml", status: int = 0, **options: Any) -> Run:
        """`run MAPPING words` to its end, and what it left behind."""
        state = self.state / "sandbox" if "--sandbox" in words else self.state
        before = self.run_folders(state)
        done = self.do("run", mapping, *words, status=status, **options)
        (folder,) = self.run_folders(state) - before
        return Run.read(folder, done)


@dataclass(frozen=True)
class Run:
    """A run that has ended with a summary: its numbers, its folder, what it said."""

    summary: dict[str, Any]
    folder: Path
    done: Done

    @classmethod
    def read(cls, folder: Path, done: Done) -> Run:
        summary = balanced(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
        assert summary["exit"] == done.status
        return cls(summary, folder, done)

    @property
    def events(self) -> dict[str, int]:
        """Counts of events that are not 0."""
        return {name: count for name, count in self.summary["events"].items() if count}

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The objects of one of the run's NDJSON files; none when there is no such file."""
        path = self.folder / name
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def begun(shop: Shop, runs: int = 1) -> bool:
    """Whether the ledger knows of so many runs."""
    with Ledger.read(shop.state) as ledger:
        return len(ledger.runs()) >= runs


def finish(process: subprocess.Popen[str], status: int | None = 0, seconds: float = SECONDS) -> Done:
    """Wait for a command to end; it has to be with `status`, unless that is None."""
    with process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()
            raise AssertionError(f"did not end within {seconds:g} s; said\n{said}") from None
    done = Done(process.returncode, out or "", err or "")
    assert status is None or done.status == status, f"ended with {done.status}, not {status}; said\n{done.said}"
    assert SECRET not in done.said
    return done


def kill(process: subprocess.Popen[str]) -> bool:
    """Send it a signal 9; whether it still ran."""
    with process:
        process.kill()
        process.communicate()
    return process.returncode == -signal.SIGKILL


def stored_ids(database: Path) -> list[str]:
    """The uniqueIds that a sandbox's database holds, each as often as it arrived."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return [row[0] for row in connection.execute("SELECT unique_id FROM events")]
    finally:
        connection.close()


def csv_text(rows: Iterable[Sequence[str]], separator: str = ",") -> str:
    """Rows as CSV, quoted where they must be (a lone CR only where the lines end with one, by Python's lights)."""
    import csv
    import io

    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue().replace("\r\n", "\n")


def _without(tree: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if value is not ...}
