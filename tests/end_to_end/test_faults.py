"""Servers and networks that misbehave: everything is delivered, once, and the numbers add up."""

from __future__ import annotations

import pytest

from tests.end_to_end.support import STORE, Run, finish

SHARES = "reset_unstored=1%,reset_stored=1%,503=2%,429=2%,seed=58"


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("endpoint", "events", "faults", "words"),
    [
        # At the rate of every run, and with a real API's pauses: each 429 costs a second and 30 % of the rate.
        ("bulk", 25_000, "latency=200±200", ()),
        ("single", 400, "latency=15±15,retry_after=0", ("--rate", "5000", "--concurrency", "32")),
    ],
)
def test_two_percent_of_everything(shop, start, endpoint, events, faults, words):
    box = start(f"{faults},{SHARES}")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(events)
    shop.mapping(delivery={"endpoint": endpoint})
    process = shop.start("run", "orders.yaml", *words)
    done = finish(process, seconds=300)
    (folder,) = shop.run_folders()
    run = Run.read(folder, done)
    assert run.events == {"total": events, "accepted": events}
    seen = box.summary()
    print(seen.faults, run.summary["retries"], "retries of", run.summary["requests"])
    assert box.ids(STORE) == ids
    assert seen.stored == events
    assert seen.differing == 0
    # Twice went only what was stored without an answer that said so.
    a_request = 100 if endpoint == "bulk" else 1
    assert 0 < seen.duplicates <= seen.faults["reset_stored"] * a_request
    assert {"reset_unstored", "reset_stored", "503", "429"} <= seen.faults.keys()
    assert run.summary["rate_limited"] == seen.faults["429"]
    assert run.summary["statuses"]["202"] == run.summary["requests"] - run.summary["retries"]
    again = shop.deliver()
    assert again.events == {"total": events, "already_delivered": events}
    assert again.summary["requests"] == 0


# Shares at which five attempts in a row, after which an event is left for the next run, do not all fail by chance:
# which request meets which fault depends on the order in which they arrive.
@pytest.mark.parametrize("faults", ["fail_first=3,fail_status=500,close=60%", "cut=5%,lie=5%,seed=3"])
def test_other_trouble(shop, start, faults):
    box = start(faults)
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(60)
    shop.mapping()
    run = shop.deliver("--rate", "5000")
    assert run.events == {"total": 60, "accepted": 60}
    assert box.ids(STORE) == ids
    assert box.summary().differing == 0
    # A connection that closes after its answer costs nothing.
    assert "cut" in faults or box.summary().duplicates == 0


def test_answers_that_make_no_sense_stop_the_run(shop, start):
    box = start("204=100%")
    shop.env["REDO_BASE_URL"] = box.base_url
    shop.orders(60)
    shop.mapping()
    # 78 and not 75: where nothing was ever accepted, it is the base URL that is wrong.
    run = shop.deliver("--concurrency", "2", status=78)
    assert run.events == {"total": 60, "pending": 60}
    assert box.summary().requests <= 4
    assert "204" in run.done.err


def test_a_pause_of_hours_ends_the_run(shop, start):
    box = start("429=100%,retry_after=7200")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(20)
    shop.mapping()
    run = shop.deliver(status=75)
    assert run.events == {"total": 20, "pending": 20}
    assert "2 hours" in run.done.err
    box.set_faults(type(box.faults)())
    assert shop.deliver("--endpoint", "bulk").events == {"total": 20, "accepted": 20}
    assert box.ids(STORE) == ids
