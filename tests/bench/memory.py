"""Remembering what was delivered, and asking for it: the ledger, and the plain table that one would write instead.

    python -m tests.bench.memory ledger|plain FOLDER EVENTS [PREFILL]

The ledger holds PREFILL other events before, put in by key in a few seconds. Prints the seconds and CPU seconds of recording, of asking for what is known, and for what is not, as a JSON object.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from backfill.ledger import Ledger, RunInfo, Target, key
from backfill.ledger.accepted import EACH
from backfill.records import Events, Outcome

__all__ = ["REQUEST"]

REQUEST = 100
# So many outcomes wait for the ledger at full speed, give or take.
COMMIT = 10_000
PREFILL_COMMIT = 500_000


def timed(work: Callable[[], int], expected: int) -> tuple[float, float]:
    """(seconds, CPU seconds) of the work, whose result must be the expected one."""
    began, cpu = time.perf_counter(), time.process_time()
    found = work()
    took = time.perf_counter() - began, time.process_time() - cpu
    if found != expected:
        raise SystemExit(f"{found:,} events found where {expected:,} were expected")
    return took


def parts(ids: list[str], size: int) -> Iterable[list[str]]:
    """The ids, so many at a time."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def prefill(ledger: Ledger, count: int) -> None:
    """Puts in so many events, evenly spread over all keys: in their order, because one after the other takes long."""
    connection = ledger._store.connection
    assert connection is not None
    step = 2**128 // max(count, 1)
    connection.execute("INSERT OR IGNORE INTO names (name) VALUES ('Order Shipped')")
    name = connection.execute("SELECT id FROM names WHERE name = 'Order Shipped'").fetchone()[0]
    for start in range(0, count, PREFILL_COMMIT):
        stop = min(count, start + PREFILL_COMMIT)
        keys = b"".join((number * step).to_bytes(16, "big") for number in range(start, stop))
        connection.execute(
            f"""{EACH} INSERT INTO events (target, key, content, name, run, accepted)
            SELECT 1, substr(?1, 16 * i + 1, 16), substr(?1, 16 * i + 1, 16), ?3, 1, 1 FROM each""",
            (keys, stop - start, name),
        )
    connection.execute("INSERT INTO counts VALUES (1, ?, ?)", (name, count))


def with_ledger(folder: Path, known: list[str], unknown: list[str], before: int = 0) -> dict[str, tuple[float, float]]:
    """Digests are made within the time: the plain table needs none."""
    with Ledger.open(folder, Target("http://127.0.0.1", "bench")) as ledger:
        if before:
            prefill(ledger, before)
        run = ledger.begin_run(RunInfo("bench"))

        def record() -> int:
            for part in parts(known, COMMIT):
                outcomes = []
                for ids in parts(part, REQUEST):
                    keys, count = [key(one) for one in ids], len(ids)
                    events = Events([b""] * count, ids, keys, keys, ["Order Placed"] * count, [0] * count, [0] * count)
                    outcomes.append(Outcome(events, accepted=range(count)))
                ledger.record(outcomes, run)
            return len(known)

        def ask(ids: list[str]) -> int:
            return sum(len(ledger.look_up([key(one) for one in part])[0]) for part in parts(ids, COMMIT))

        return {
            "record": timed(record, len(known)),
            "known": timed(lambda: ask(known), len(known)),
            "unknown": timed(lambda: ask(unknown), 0),
        }


def with_plain_table(
    folder: Path, known: list[str], unknown: list[str], before: int = 0
) -> dict[str, tuple[float, float]]:
    """The ids as they are, a commit for each request, a question for each id."""
    if before:
        raise SystemExit("only the ledger can hold events before")
    connection = sqlite3.connect(folder / "sent.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE sent (id TEXT PRIMARY KEY)")

    def record() -> int:
        for ids in parts(known, REQUEST):
            connection.execute("BEGIN")
            connection.executemany("INSERT OR IGNORE INTO sent VALUES (?)", [(one,) for one in ids])
            connection.execute("COMMIT")
        return len(known)

    def ask(ids: list[str]) -> int:
        question = "SELECT 1 FROM sent WHERE id = ?"
        return sum(connection.execute(question, (one,)).fetchone() is not None for one in ids)

    try:
        return {
            "record": timed(record, len(known)),
            "known": timed(lambda: ask(known), len(known)),
            "unknown": timed(lambda: ask(unknown), 0),
        }
    finally:
        connection.close()


if __name__ == "__main__":
    numbers = list(range(int(sys.argv[3])))
    random.Random(7).shuffle(numbers)  # ids of real shops come in no order that a database could use
    before = int(sys.argv[4]) if sys.argv[4:] else 0
    work = {"ledger": with_ledger, "plain": with_plain_table}[sys.argv[1]]
    print(
        json.dumps(work(Path(sys.argv[2]), [f"order:{n}" for n in numbers], [f"return:{n}" for n in numbers], before))
    )
