"""kill -9 at any moment: the next run sends what is missing, and again at most what was in flight."""

from __future__ import annotations

import random

import pytest

from tests.end_to_end.support import STORE, begun, eventually, kill

CONCURRENCY = 6
MOST_IN_FLIGHT = 2 * CONCURRENCY
WORDS = ("--concurrency", str(CONCURRENCY), "--rate", "5000")


@pytest.mark.slow
@pytest.mark.parametrize(("endpoint", "events", "seed"), [("single", 700, 1), ("bulk", 15_000, 2)])
def test_killed_again_and_again(shop, start, endpoint, events, seed):
    chance = random.Random(f"{endpoint} {seed}")
    box = start("latency=4±4")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(events)
    shop.mapping(delivery={"endpoint": endpoint})
    size = 1 if endpoint == "single" else 100
    kills = 0
    for _ in range(4):
        before = box.summary().requests
        goal = before + chance.randrange(events // size // 4)
        process = shop.start("run", "orders.yaml", *WORDS)
        eventually(lambda: box.summary().requests > goal, f"{goal} requests", process)  # noqa: B023
        kills += kill(process)
    assert kills == 4

    resent = box.summary().duplicates
    last = shop.deliver(*WORDS)
    assert last.events["accepted"] + last.events["already_delivered"] == events
    assert box.ids(STORE) == ids
    seen = box.summary()
    print(f"{kills} kills, {seen.duplicates} of {events} events sent twice, {seen.duplicates - resent} by the last run")
    assert seen.stored == events
    assert seen.differing == 0
    assert seen.duplicates <= kills * MOST_IN_FLIGHT * size
    assert shop.deliver(*WORDS).summary["requests"] == 0


def test_killed_while_it_checks(shop, box):
    ids = shop.orders(40_000)
    shop.mapping(delivery={"endpoint": "bulk"})
    process = shop.start("run", "orders.yaml", *WORDS)
    eventually(lambda: begun(shop), "a run in the ledger", process)
    assert kill(process)
    sent = box.summary().stored
    assert "ended without a record (killed, or its disk failed); run it again" in shop.do("status", "orders.yaml").out
    run = shop.deliver("--limit", "100", *WORDS)
    assert run.events["accepted"] == 100
    found = shop.do("report", "orders.yaml")
    assert (found.out, found.err) == (f"{run.folder / 'report.html'}\n", "")
    process = shop.start("run", "orders.yaml", *WORDS)
    eventually(lambda: begun(shop, 3), "a third run in the ledger", process)
    assert kill(process)
    found = shop.do("report", "orders.yaml")
    assert found.out == f"{run.folder / 'report.html'}\n"
    assert "run it again) has no report; this is that of the run before it" in found.err
    assert box.ids(STORE) <= ids
    assert sent <= box.summary().stored
