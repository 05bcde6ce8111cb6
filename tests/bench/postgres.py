"""Remembering and asking on a server, beside the file: what a commit of 10,000 and a look-up of 10,000 take.

    python -m tests.bench.postgres MILLIONS [postgresql://…]

Without a URL it starts a server in a temporary folder, with Debian's settings (it waits for its disk at each commit)
but 512 MB of its own memory. A line for each million: events recorded and looked up (half of them known) in a second.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from backfill.ledger import Ledger, RunInfo, Target
from backfill.records import Events, Outcome
from tests.ledger.server import Server

COMMIT = 10_000
MILLION = 1_000_000
ASKED = 200_000


def measure(name: str, ledger: Ledger, millions: int) -> None:
    """Fills a ledger with events whose keys come in no order, and asks it after each million."""
    run = ledger.begin_run(RunInfo("bench"))
    names, zeros, empty, texts = ["Order Placed"] * COMMIT, [0] * COMMIT, [b""] * COMMIT, [""] * COMMIT
    known: list[bytes] = []
    for million in range(1, millions + 1):
        taken = 0.0
        for _ in range(MILLION // COMMIT):
            digests = os.urandom(16 * COMMIT)
            keys = [digests[at : at + 16] for at in range(0, len(digests), 16)]
            known += keys[: ASKED // 2 * COMMIT // MILLION // millions + 1]
            outcome = Outcome(Events(empty, texts, keys, keys, names, zeros, zeros), accepted=range(COMMIT))
            began = time.perf_counter()
            ledger.record([outcome], run, asked=True)
            taken += time.perf_counter() - began
        wanted = (known * (ASKED // 2 // len(known) + 1))[: ASKED // 2]
        wanted += [os.urandom(16) for _ in range(ASKED - len(wanted))]
        wanted = [wanted[(at * 7919) % ASKED] for at in range(ASKED)]
        began = time.perf_counter()
        found = sum(len(ledger.look_up(wanted[at : at + COMMIT])[0]) for at in range(0, ASKED, COMMIT))
        asking = time.perf_counter() - began
        assert found
        print(f"{name:<10} {million:>4} M  recorded {MILLION / taken:>9,.0f}/s  looked up {ASKED / asking:>9,.0f}/s")
        sys.stdout.flush()


def main() -> None:
    millions = int(sys.argv[1])
    target = Target("http://127.0.0.1", "bench")
    with tempfile.TemporaryDirectory() as folder:
        with Ledger.open(Path(folder), target) as ledger:
            measure("SQLite", ledger, millions)
        print(
            f"SQLite: {sum(path.stat().st_size for path in Path(folder).iterdir()) / millions / MILLION:.0f} bytes an event"
        )
    server = None
    if len(sys.argv) > 2:
        url = sys.argv[2]
    else:
        server = Server(
            "-c fsync=on -c full_page_writes=on -c shared_buffers=512MB -c max_wal_size=4GB -c autovacuum=on"
        )
        url = server.url(server.database())
    try:
        with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder), target, url=url) as ledger:
            measure("PostgreSQL", ledger, millions)
            if server is not None:
                with server.connect("ledger_1") as admin:
                    ((size,),) = admin.execute(
                        "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'backfill.events'::regclass"
                    ).fetchall()
                print(f"PostgreSQL: {int(str(size)) / millions / MILLION:.0f} bytes an event")
    finally:
        if server is not None:
            server.remove()


if __name__ == "__main__":
    main()
