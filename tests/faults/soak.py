"""A long import through bad weather: `python -m tests.faults.soak [--events 1000000] [--kills 10] [--seed 1]`.

Sends an export in bulk to the sandbox, in a process of its own, which resets connections (before and after it has
stored the events), refuses, limits and delays. The run is killed with signal 9 at random moments and started again each
time. At the end every event must have arrived, with one content, and the numbers of the last run must balance. Prints
the figures, and ends with 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.bench.export import MAPPING, make_orders
from tests.end_to_end.support import SECRET, STORE, balanced

FAULTS = "latency=200±200,reset=2%,reset_stored=2%,503=2%,429=2%,close=2%,retry_after=0.5"
CONCURRENCY = 64
EVERY = 0.25


@dataclass
class Soak:
    """What came of it. Memory in MB, of one run: when it began to send, and its most after that."""

    kills: int = 0
    resumed: int = 0
    seconds: float = 0.0
    resent: list[int] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from backfill.cli import main; main()", *words]


def resident(process: subprocess.Popen[str]) -> float:
    """The process's memory in MB; 0 when it has gone."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


def counted(database: Path, what: str) -> int:
    """A count of the sandbox's events."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return int(connection.execute(f"SELECT {what} FROM events").fetchone()[0] or 0)


def soak(folder: Path, events: int, kills: int, seed: int, faults: str) -> Soak:
    """Do it, in a folder. Raises AssertionError when something does not hold."""
    chance, done, began = random.Random(seed), Soak(), time.monotonic()
    export = make_orders(folder, events)
    (folder / "orders.yaml").write_text(MAPPING.format(files=export.name), encoding="utf-8")
    database = folder / "sandbox.db"
    goals = sorted(chance.randrange(events) for _ in range(kills))
    with subprocess.Popen(
        command("sandbox", "--port", "0", "--rate", "0", "--database", str(database), "--faults", f"{faults},seed={seed}"),
        stdout=subprocess.PIPE, text=True,
    ) as box:  # fmt: skip
        assert box.stdout is not None
        base_url = box.stdout.readline().removeprefix("base URL: ").strip()
        try:
            while True:
                status = _run(folder, base_url, database, goals, done)
                if status == 75:
                    done.resumed += 1
                elif status != -signal.SIGKILL:
                    break
        finally:
            box.terminate()
    done.seconds = time.monotonic() - began
    done.kills = kills - len(goals)
    newest = max(folder.glob(".backfill/runs/*/summary.json"), key=lambda path: path.stat().st_mtime_ns)
    summary = balanced(json.loads(newest.read_text(encoding="utf-8")))
    assert done.statuses[-1] == 0, summary["stopped_by"]
    assert summary["events"]["accepted"] + summary["events"]["already_delivered"] == events
    assert counted(database, "count(DISTINCT unique_id)") == events
    assert counted(database, "sum(differs)") == 0
    assert goals == [], "it ended before it was killed often enough"
    return done


def _run(folder: Path, base_url: str, database: Path, goals: list[int], done: Soak) -> int:
    """One run, killed when the next goal's number of events has arrived. Its exit status."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "REDO_API_SECRET": SECRET, "REDO_STORE_ID": STORE,
        "REDO_BASE_URL": base_url,
    }  # fmt: skip
    words = ["run", "orders.yaml", "--endpoint", "bulk", "--yes", "--json", "--concurrency", str(CONCURRENCY)]
    log: IO[str]
    with (folder / "last.json").open("w", encoding="utf-8") as log:
        before = counted(database, "count(*)") - counted(database, "count(DISTINCT unique_id)")
        run = subprocess.Popen(command(*words), cwd=folder, env=environment, stdout=log, stderr=subprocess.DEVNULL)
        first = most = 0.0
        while run.poll() is None:
            time.sleep(EVERY)
            if '"type": "sending"' in (folder / "last.json").read_text(encoding="utf-8"):
                first = first or resident(run)
                most = max(most, resident(run))
                if goals and counted(database, "max(seq)") >= goals[0]:
                    run.send_signal(signal.SIGKILL)
                    goals.pop(0)
                    break
        status = run.wait()
    again = counted(database, "count(*)") - counted(database, "count(DISTINCT unique_id)") - before
    done.resent.append(again)
    done.memory.append((first, most))
    done.statuses.append(status)
    print(f"run {len(done.statuses)}: ended with {status}, {counted(database, 'count(DISTINCT unique_id)'):,} events arrived, "
          f"{again:,} once more, memory {first:.0f} to {most:.0f} MB", flush=True)  # fmt: skip
    return status


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", default=FAULTS)
    chosen = parser.parse_args()
    print(f"{chosen.events:,} events, {chosen.kills} kills, seed {chosen.seed}, faults {chosen.faults}", flush=True)
    with tempfile.TemporaryDirectory(prefix="backfill-soak-") as folder:
        try:
            done = soak(Path(folder), chosen.events, chosen.kills, chosen.seed, chosen.faults)
        except AssertionError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    print(f"every event delivered, numbers balanced: {done.kills} kills, {done.resumed} stops with 75, {done.seconds:,.0f} s; "
          f"sent once more {sum(done.resent):,}; most memory {max(most for _, most in done.memory):.0f} MB")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
