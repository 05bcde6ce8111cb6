"""SIGINT and SIGTERM: what is in flight is waited for and recorded, and the next run goes on from there."""

from __future__ import annotations

import signal
import time

import pytest

from tests.end_to_end.support import STORE, Run, balanced, begun, eventually, finish


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(shop, start, number, status):
    box = start("latency=60±40")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(800)
    shop.mapping()
    process = shop.start("run", "orders.yaml", "--rate", "5000", "--concurrency", "8")
    eventually(lambda: box.summary().requests > 40, "some requests", process)
    process.send_signal(number)
    done = finish(process, status)
    (folder,) = shop.run_folders()
    run = Run.read(folder, done)
    assert number.name in done.err
    assert "again" in done.err

    # All that was in flight was waited for: the server has not a single event that the run does not know of.
    seen = box.summary()
    assert 40 < run.events["accepted"] == seen.stored < 800
    assert run.events == {"total": 800, "accepted": seen.stored, "pending": 800 - seen.stored}
    assert f"exit {status}" in shop.do("status", "orders.yaml").out

    rest = shop.deliver("--endpoint", "bulk")
    assert rest.events == {"total": 800, "already_delivered": seen.stored, "accepted": 800 - seen.stored}
    assert box.ids(STORE) == ids
    assert box.summary().duplicates == 0


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(shop, start, first):
    box = start("hang_stored=100%,hang_seconds=50")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(40)
    shop.mapping()
    process = shop.start("run", "orders.yaml", "--concurrency", "4")
    eventually(lambda: box.summary().stored == 4, "requests in flight", process)
    process.send_signal(first)
    # It waits for the answers; that it has seen the signal shows only by what it does at the second.
    time.sleep(0.3)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    done = finish(process, 128 + first)
    assert time.monotonic() - began < 5
    (folder,) = shop.run_folders()
    assert Run.read(folder, done).events == {"total": 40, "pending": 40}

    box.set_faults(type(box.faults)())
    shop.deliver("--endpoint", "bulk")
    assert box.ids(STORE) == ids
    assert box.summary().duplicates == 4
    assert box.summary().differing == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_while_it_checks(shop, box, number, status):
    shop.orders(200_000)
    shop.mapping(delivery={"endpoint": "bulk"})
    process = shop.start("run", "orders.yaml", "--limit", "100")
    eventually(lambda: begun(shop), "a run in the ledger", process)
    process.send_signal(number)
    done = finish(process, status)
    assert "Traceback" not in done.said
    assert box.summary().requests == 0
    (folder,) = shop.run_folders()
    balanced(Run.read(folder, done).summary)
    assert shop.do("status", "orders.yaml").out.count(f"exit {status}") == 1
